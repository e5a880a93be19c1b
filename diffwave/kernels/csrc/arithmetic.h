/* Vectors of 16 numbers and products of small matrices in bfloat16, accumulated in float32 (AVX512-BF16).
 *
 * A pair is two bfloat16 numbers in 32 bits: VDPBF16PS multiplies 16 pairs and adds both products to 16 sums. So the
 * dimension that is summed over is stored in pairs everywhere, and an odd one is filled up with zero.
 */
#ifndef DIFFWAVE_ARITHMETIC_H
#define DIFFWAVE_ARITHMETIC_H

#include <immintrin.h>
#include <stdint.h>

#define INLINE static inline __attribute__((always_inline))
#define ROWS 6  /* rows of a tile: 6 rows of 4 vectors are 24 of the 32 registers */
#define WIDTH 4 /* vectors of a panel: 64 columns */

typedef __m512 Vec;
typedef uint32_t Pair;
typedef uint16_t Half; /* bfloat16: the upper half of a float */

INLINE Vec load_half(const Half *p) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 16));
}

INLINE void store_half(Half *p, Vec v) { _mm256_storeu_si256((__m256i *)p, (__m256i)_mm512_cvtneps_pbh(v)); }

INLINE void store_halves(Half *p, Vec first, Vec second) {
    _mm512_storeu_si512(p, (__m512i)_mm512_cvtne2ps_pbh(second, first));
}

/* Two vectors as 16 pairs: (first[0], second[0]), (first[1], second[1]), ... */
INLINE void store_pairs(Pair *p, Vec first, Vec second) {
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                                           21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    __m512i halves = (__m512i)_mm512_cvtne2ps_pbh(second, first);
    _mm512_storeu_si512(p, _mm512_permutexvar_epi16(order, halves));
}

static inline Half to_half(float value) {
    union { float f; uint32_t u; } bits = {value};
    if ((bits.u & 0x7fffffff) > 0x7f800000) return 0x7fc0; /* NaN stays one */
    return (Half)((bits.u + 0x7fff + ((bits.u >> 16) & 1)) >> 16);
}

/* 2^x: 2^floor(x) times a polynomial in the rest, minimax on [0, 1), relative error 4e-6. NaN stays NaN. */
INLINE Vec power_of_two(Vec x) {
    Vec f = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    Vec p = _mm512_set1_ps(1.353416778e-02f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(5.201146007e-02f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.414427549e-01f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.930038333e-01f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.000002623e+00f));
    return _mm512_scalef_ps(p, x);
}

/* Of a gate g and a signal s: 1 + exp(-g) and exp(-2 s). The first may overflow, which makes a sigmoid of 0; the second
 * is kept below 2^62, where tanh is -1 in any case. The second operand of min is returned if it is NaN. */
INLINE void exponentials(Vec gate, Vec signal, Vec *below, Vec *e) {
    const Vec log2_e = _mm512_set1_ps(1.442695041f);
    Vec a = power_of_two(_mm512_mul_ps(gate, _mm512_sub_ps(_mm512_setzero_ps(), log2_e)));
    Vec b = _mm512_mul_ps(signal, _mm512_mul_ps(log2_e, _mm512_set1_ps(-2.0f)));
    *below = _mm512_add_ps(a, _mm512_set1_ps(1.0f));
    *e = power_of_two(_mm512_min_ps(_mm512_set1_ps(62.0f), b));
}

/* sigmoid(gate) * tanh(signal) with one reciprocal, good to 2^-14: it is rounded to 2^-9 next. */
INLINE Vec gated(Vec gate, Vec signal) {
    const Vec one = _mm512_set1_ps(1.0f);
    Vec below, e;
    exponentials(gate, signal, &below, &e);
    Vec inverse = _mm512_rcp14_ps(_mm512_mul_ps(below, _mm512_add_ps(one, e)));
    return _mm512_mul_ps(_mm512_sub_ps(one, e), inverse);
}

INLINE void activate(Vec gate, Vec signal, Vec *sigmoid, Vec *tangent) {
    const Vec one = _mm512_set1_ps(1.0f);
    Vec below, e;
    exponentials(gate, signal, &below, &e);
    *sigmoid = _mm512_rcp14_ps(below);
    *tangent = _mm512_mul_ps(_mm512_sub_ps(one, e), _mm512_rcp14_ps(_mm512_add_ps(one, e)));
}

/* Ask for memory that will be read or written some thousand cycles later. */
INLINE void prefetch(const void *begin, int64_t bytes) {
    for (int64_t i = 0; i < bytes; i += 64) _mm_prefetch((const char *)begin + i, _MM_HINT_T1);
}

/* sums[r][v] += sum over k of rows[r][k] * columns[k][v]. R and V are constants where it is called.
 *
 * rows: pair k of row r is rows[r * row + k * step]; columns: vector v of pair k is columns[k * stride + 16 v]. */
INLINE void multiply(const int R, const int V, int64_t pairs, const Pair *rows, int64_t row, int64_t step,
                     const Pair *columns, int64_t stride, Vec sums[ROWS][WIDTH]) {
    for (int64_t k = 0; k < pairs; k++) {
        __m512i b[WIDTH];
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) b[v] = _mm512_loadu_si512(columns + k * stride + 16 * v);
#pragma GCC unroll 6
        for (int r = 0; r < R; r++) {
            __m512bh a = (__m512bh)_mm512_set1_epi32((int)rows[r * row + k * step]);
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) sums[r][v] = _mm512_dpbf16_ps(sums[r][v], a, (__m512bh)b[v]);
        }
    }
}

INLINE void clear(Vec sums[ROWS][WIDTH]) {
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 4
        for (int v = 0; v < WIDTH; v++) sums[r][v] = _mm512_setzero_ps();
}

/* out[r][v] += rows * columns, a tile of R rows and V vectors with `ld` floats from row to row. */
INLINE void add_tile(const int R, const int V, int64_t pairs, const Pair *rows, int64_t row, int64_t step,
                     const Pair *columns, int64_t stride, float *out, int64_t ld) {
    Vec sums[ROWS][WIDTH];
#pragma GCC unroll 6
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) sums[r][v] = _mm512_loadu_ps(out + r * ld + 16 * v);
    multiply(R, V, pairs, rows, row, step, columns, stride, sums);
#pragma GCC unroll 6
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) _mm512_storeu_ps(out + r * ld + 16 * v, sums[r][v]);
}

/* The same for a number of vectors that is not a constant. */
#define DEFINE_ADD_TILE(R)                                                                                             \
    static void add_tile_##R(int V, int64_t pairs, const Pair *rows, int64_t row, int64_t step, const Pair *columns,   \
                             int64_t stride, float *out, int64_t ld) {                                                 \
        if (V == 4) add_tile(R, 4, pairs, rows, row, step, columns, stride, out, ld);                                  \
        else if (V == 3) add_tile(R, 3, pairs, rows, row, step, columns, stride, out, ld);                             \
        else if (V == 2) add_tile(R, 2, pairs, rows, row, step, columns, stride, out, ld);                             \
        else add_tile(R, 1, pairs, rows, row, step, columns, stride, out, ld);                                         \
    }
DEFINE_ADD_TILE(6)
DEFINE_ADD_TILE(4)

/* out[M][N] += transposed(left[pairs][M]) * right[pairs][N], with both stored in pairs of what is summed over.
 * M is a multiple of 4, N of 16. */
static void add_outer_product(int64_t pairs, const Pair *left, int64_t M, int64_t left_stride, const Pair *right,
                              int64_t N, float *out) {
    for (int64_t n = 0; n < N; n += 16 * WIDTH) {
        int V = N - n < 16 * WIDTH ? (int)((N - n) / 16) : WIDTH;
        /* Tiles of 6 rows, and of 4 for a rest of 4 or, with one tile of 6 less, of 2. */
        int64_t sixes = 6 * (M / 6 - (M % 6 == 2)), m = 0;
        for (; m < sixes; m += 6)
            add_tile_6(V, pairs, left + m, 1, left_stride, right + n, N, out + m * N + n, N);
        for (; m < M; m += 4) add_tile_4(V, pairs, left + m, 1, left_stride, right + n, N, out + m * N + n, N);
    }
}

/* Columns of a packed matrix are stored in panels of up to 64; where the panel of column n (a multiple of 64) begins. */
INLINE int64_t panel_at(int64_t n, int64_t pairs) { return n * pairs; }
INLINE int panel_width(int64_t n, int64_t N) { return N - n < 16 * WIDTH ? (int)((N - n) / 16) : WIDTH; }

#endif
