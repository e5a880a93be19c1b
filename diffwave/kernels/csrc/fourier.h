/* Complex Fourier transforms of a number of values with small prime factors, sixteen at once, in place.
 *
 * Forwards with decimation in frequency: values in order, spectrum in the order of its reversed digits. Backwards the
 * same passes are undone in reverse (decimation in time), so nothing is ever put in order. Radix 8 takes few passes
 * through memory; after the first, each part is finished before the next is begun, while it lies in the first-level
 * cache.
 *
 * Value i is two vectors at z + 32 i: its real part and its imaginary part.
 */
#ifndef DIFFWAVE_FOURIER_H
#define DIFFWAVE_FOURIER_H

#include "lanes.h"

typedef struct {
    Vec re, im;
} Complex;

/* Radices of the passes (2, 3, 4, 5, 7 or 8), and their twiddles e^(-2 pi i j p / size) for j = 0, 1, ... and
 * p = 1 ... radix - 1, one pass after the other. */
typedef struct {
    const int32_t *radices;
    const float *twiddles;
} Passes;

INLINE Complex fetch(const float *at) { return (Complex){_mm512_load_ps(at), _mm512_load_ps(at + LANES)}; }

INLINE void put(float *at, Complex a) {
    _mm512_store_ps(at, a.re);
    _mm512_store_ps(at + LANES, a.im);
}

INLINE Complex plus(Complex a, Complex b) { return (Complex){a.re + b.re, a.im + b.im}; }
INLINE Complex minus(Complex a, Complex b) { return (Complex){a.re - b.re, a.im - b.im}; }

/* a +- i b. */
INLINE Complex plus_i(Complex a, Complex b) { return (Complex){a.re - b.im, a.im + b.re}; }
INLINE Complex minus_i(Complex a, Complex b) { return (Complex){a.re + b.im, a.im - b.re}; }

/* a times w, or times its conjugate. */
INLINE Complex times(Complex a, Vec re, Vec im, const int conjugate) {
    if (conjugate) return (Complex){a.re * re + a.im * im, a.im * re - a.re * im};
    return (Complex){a.re * re - a.im * im, a.im * re + a.re * im};
}

INLINE Complex twiddle(Complex a, const float *w, const int conjugate) {
    return times(a, all(w[0]), all(w[1]), conjugate);
}

INLINE void transform4(Complex *a, Complex *b, Complex *c, Complex *d, const int back) {
    Complex sum = plus(*a, *c), difference = minus(*a, *c), sum2 = plus(*b, *d), difference2 = minus(*b, *d);
    *a = plus(sum, sum2);
    *b = back ? plus_i(difference, difference2) : minus_i(difference, difference2);
    *c = minus(sum, sum2);
    *d = back ? minus_i(difference, difference2) : plus_i(difference, difference2);
}

/* a (1 -+ i), which is an eighth of a turn and the root of two. */
INLINE Complex eighth(Complex a, const int back) { return back ? plus_i(a, a) : minus_i(a, a); }

/* Sum and difference of two even-numbered and odd-numbered halves; `root`: the odd one is larger by the root of two. */
INLINE void join(Complex even, Complex odd, const int root, Complex *low, Complex *high) {
    const Vec half = all(0.70710678f);
    *low = root ? (Complex){even.re + half * odd.re, even.im + half * odd.im} : plus(even, odd);
    *high = root ? (Complex){even.re - half * odd.re, even.im - half * odd.im} : minus(even, odd);
}

INLINE void transform8(Complex a[8], const int back) {
    transform4(&a[0], &a[2], &a[4], &a[6], back);
    transform4(&a[1], &a[3], &a[5], &a[7], back);
    Complex even0 = a[0], even1 = a[2], even2 = a[4], even3 = a[6];
    Complex odd0 = a[1], one = eighth(a[3], back), odd2 = a[5], three = eighth(a[7], back);
    join(even0, odd0, 0, &a[0], &a[4]);
    join(even1, one, 1, &a[1], &a[5]);
    a[2] = back ? plus_i(even2, odd2) : minus_i(even2, odd2);
    a[6] = back ? minus_i(even2, odd2) : plus_i(even2, odd2);
    /* Three eighths of a turn are one and a quarter. */
    Complex turned = back ? (Complex){_mm512_setzero_ps() - three.im, three.re}
                          : (Complex){three.im, _mm512_setzero_ps() - three.re};
    join(even3, turned, 1, &a[3], &a[7]);
}

/* Three, five or seven values: terms q and radix - q have the same cosine, and opposite sines. */
INLINE void transform_odd(Complex *a, const int radix, const int back) {
    /* Of 2 pi j / radix. */
    static const float cosines[][7] = {
        {1, -0.5f, -0.5f},
        {1, 0.30901699f, -0.80901699f, -0.80901699f, 0.30901699f},
        {1, 0.62348980f, -0.22252093f, -0.90096887f, -0.90096887f, -0.22252093f, 0.62348980f},
    };
    static const float sines[][7] = {
        {0, 0.86602540f, -0.86602540f},
        {0, 0.95105652f, 0.58778525f, -0.58778525f, -0.95105652f},
        {0, 0.78183148f, 0.97492791f, 0.43388374f, -0.43388374f, -0.97492791f, -0.78183148f},
    };
    const int pairs = radix / 2;
    const Complex first = a[0];
    Complex sums[4], differences[4];
#pragma GCC unroll 3
    for (int q = 1; q <= pairs; q++) {
        sums[q] = plus(a[q], a[radix - q]);
        differences[q] = minus(a[q], a[radix - q]);
        a[0] = plus(a[0], sums[q]);
    }
#pragma GCC unroll 3
    for (int p = 1; p <= pairs; p++) {
        Complex even = first, odd = {_mm512_setzero_ps(), _mm512_setzero_ps()};
#pragma GCC unroll 3
        for (int q = 1; q <= pairs; q++) {
            const Vec cosine = all(cosines[pairs - 1][p * q % radix]), sine = all(sines[pairs - 1][p * q % radix]);
            even = (Complex){even.re + cosine * sums[q].re, even.im + cosine * sums[q].im};
            odd = (Complex){odd.re + sine * differences[q].re, odd.im + sine * differences[q].im};
        }
        a[p] = back ? plus_i(even, odd) : minus_i(even, odd);
        a[radix - p] = back ? minus_i(even, odd) : plus_i(even, odd);
    }
}

INLINE void transform2(Complex *a, Complex *b) {
    const Complex sum = plus(*a, *b);
    *b = minus(*a, *b);
    *a = sum;
}

/* One pass over radix * step values. `turn`: with twiddles. */
INLINE void pass(float *z, int64_t step, const float *twiddles, const int radix, const int back, const int turn) {
    for (int64_t j = 0; j < step; j++, z += 2 * LANES, twiddles += 2 * (radix - 1)) {
        Complex a[8];
#pragma GCC unroll 8
        for (int q = 0; q < radix; q++) {
            a[q] = fetch(z + 2 * LANES * q * step);
            if (back && turn && q) a[q] = twiddle(a[q], twiddles + 2 * (q - 1), 1);
        }
        if (radix == 8) transform8(a, back);
        else if (radix == 4) transform4(&a[0], &a[1], &a[2], &a[3], back);
        else if (radix == 2) transform2(&a[0], &a[1]);
        else transform_odd(a, radix, back);
#pragma GCC unroll 8
        for (int q = 0; q < radix; q++) {
            if (!back && turn && q) a[q] = twiddle(a[q], twiddles + 2 * (q - 1), 0);
            put(z + 2 * LANES * q * step, a[q]);
        }
    }
}

typedef void (*Pass)(float *, int64_t, const float *);

#define DEFINE_PASS(NAME, RADIX, BACK)                                                                                 \
    static void NAME(float *z, int64_t step, const float *twiddles) {                                                  \
        if (step == 1) pass(z, 1, twiddles, RADIX, BACK, 0);                                                           \
        else pass(z, step, twiddles, RADIX, BACK, 1);                                                                  \
    }
#define DEFINE_PASSES(RADIX)                                                                                           \
    DEFINE_PASS(forward##RADIX, RADIX, 0)                                                                              \
    DEFINE_PASS(back##RADIX, RADIX, 1)
DEFINE_PASSES(2)
DEFINE_PASSES(3)
DEFINE_PASSES(4)
DEFINE_PASSES(5)
DEFINE_PASSES(7)
DEFINE_PASSES(8)

/* Passes from this one on, over `size` values. */
static void transform(Passes passes, float *z, int64_t size, int back) {
    static const Pass runs[2][9] = {{0, 0, forward2, forward3, forward4, forward5, 0, forward7, forward8},
                                    {0, 0, back2, back3, back4, back5, 0, back7, back8}};
    const int64_t radix = passes.radices[0], step = size / radix;
    const Pass run = runs[back][radix];
    const Passes rest = {passes.radices + 1, passes.twiddles + 2 * (radix - 1) * step};
    if (!back) run(z, step, passes.twiddles);
    if (step > 1)
        for (int64_t q = 0; q < radix; q++) transform(rest, z + 2 * LANES * q * step, step, back);
    if (back) run(z, step, passes.twiddles);
}

#endif
