/* The layers from first to last; see kernels/reference.py for what they compute. */
#ifndef DIFFWAVE_FORWARD_H
#define DIFFWAVE_FORWARD_H

#include "pack.h"

#define TWINS 24 /* of a block: its intermediate values stay in the second-level cache */

typedef struct {
    Shape shape;
    char *scratch; /* of all threads; set here, not by the caller */
    Packed weights;
    const float *constants; /* [B][L][C]: what a layer adds to (its input with shift + product) / sqrt(2) for the next */
    const Half *conditions; /* [L][B][P][2C] with the gates' biases added, in columns of gates; or NULL */
    const Half *mel;        /* [B][P][2 pairs_of(M)], read where there are no conditions */
    float *streams;         /* input of layer l, shift added, with margins of zeros: [B][rows][C] at l * stream_stride */
    int64_t stream_stride;  /* in floats; streams of all layers are kept (training), or two take turns */
    int64_t stream_count;   /* L + 1 or 2 */
    float *total;           /* [B][P][C]: the sum of the skip connections */
    Half *gates;            /* [L][B][P][2C]: sigmoid and tanh, kept for backward; or NULL */
    atomic_long *next;      /* [L]: the next block of each layer */
} Forward;

typedef struct {
    Half *transformed[4]; /* [TWINS][C] */
    Half *mel;            /* [2 TWINS][2 pairs_of(M)] */
    Half *hidden;         /* [2 TWINS][C] */
    float *kept[2], *gates[2]; /* a tile each */
    int64_t *positions;   /* first of every twin, then second; -1 where there is none */
} ForwardScratch;

static ForwardScratch forward_scratch(const Shape *s, Arena *arena) {
    const int64_t tile = ROWS * 16 * WIDTH * sizeof(float);
    ForwardScratch scratch;
    for (int j = 0; j < 4; j++) scratch.transformed[j] = take(arena, TWINS * s->channels * sizeof(Half));
    scratch.mel = take(arena, 2 * TWINS * 2 * pairs_of(s->bands) * sizeof(Half));
    scratch.hidden = take(arena, 2 * TWINS * s->channels * sizeof(Half));
    for (int i = 0; i < 2; i++) scratch.kept[i] = take(arena, tile), scratch.gates[i] = take(arena, tile);
    scratch.positions = take(arena, 2 * TWINS * sizeof(int64_t));
    return scratch;
}

static int64_t forward_bytes(const Shape *s) {
    Arena counted = {0, 0};
    forward_scratch(s, &counted);
    return counted.used;
}

static void place_twins(const Shape *s, int64_t example, int64_t dilation, int64_t begin, int64_t count,
                        int64_t *positions) {
    int64_t length = s->lengths[example], twins = count_twins(length, dilation);
    for (int64_t i = 0; i < count; i++) {
        int64_t first = begin + i < twins ? first_of_twin(begin + i, dilation) : -1;
        positions[i] = first;
        positions[count + i] = first >= 0 && first + dilation < length ? first + dilation : -1;
    }
}

static void transform_inputs(const float *stream, int64_t C, int64_t dilation, ForwardScratch *scratch) {
    for (int64_t i = 0; i < TWINS; i++) {
        int64_t t = scratch->positions[i];
        Half *to[4];
        for (int j = 0; j < 4; j++) to[j] = scratch->transformed[j] + i * C;
        if (t < 0) {
            for (int j = 0; j < 4; j++) memset(to[j], 0, (size_t)C * sizeof(Half));
            continue;
        }
        const float *x0 = stream + (t - dilation) * C, *x1 = x0 + dilation * C, *x2 = x1 + dilation * C;
        const float *x3 = x2 + dilation * C;
        for (int64_t c = 0; c < C; c += 32) {
            Vec a[4], b[4];
            const float *x[4] = {x0, x1, x2, x3};
            for (int j = 0; j < 4; j++) a[j] = _mm512_loadu_ps(x[j] + c), b[j] = _mm512_loadu_ps(x[j] + c + 16);
            store_halves(to[0] + c, _mm512_sub_ps(a[0], a[2]), _mm512_sub_ps(b[0], b[2]));
            store_halves(to[1] + c, _mm512_add_ps(a[1], a[2]), _mm512_add_ps(b[1], b[2]));
            store_halves(to[2] + c, _mm512_sub_ps(a[2], a[1]), _mm512_sub_ps(b[2], b[1]));
            store_halves(to[3] + c, _mm512_sub_ps(a[3], a[1]), _mm512_sub_ps(b[3], b[1]));
        }
    }
}

/* The mel of a block's positions, row by row. */
static void gather_mel(const Forward *f, int64_t example, ForwardScratch *scratch) {
    const int64_t width = 2 * pairs_of(f->shape.bands);
    for (int64_t i = 0; i < 2 * TWINS; i++) {
        int64_t position = scratch->positions[i];
        if (position < 0) memset(scratch->mel + i * width, 0, (size_t)width * sizeof(Half));
        else
            memcpy(scratch->mel + i * width, f->mel + (example * f->shape.positions + position) * width,
                   (size_t)width * sizeof(Half));
    }
}

INLINE void keep_tile(float *to, Vec sums[ROWS][WIDTH]) {
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 4
        for (int v = 0; v < WIDTH; v++) _mm512_storeu_ps(to + (r * WIDTH + v) * 16, sums[r][v]);
}

/* Gates and signals of 6 twins in one panel, before their nonlinearities, into scratch->gates. */
static void convolve_tile(const Forward *f, const Pair *taps, const Pair *mel_taps, int64_t tile,
                          ForwardScratch *scratch) {
    const int64_t C = f->shape.channels, pairs = C / 2, bands = pairs_of(f->shape.bands);
    const Pair *x[4], *mel = (const Pair *)scratch->mel + tile * ROWS * bands;
    for (int j = 0; j < 4; j++) x[j] = (const Pair *)scratch->transformed[j] + tile * ROWS * pairs;
    Vec sums[ROWS][WIDTH];
    clear(sums);
    multiply(ROWS, WIDTH, pairs, x[1], pairs, 1, taps + pairs * 64, 64, sums);
    keep_tile(scratch->kept[0], sums);
    multiply(ROWS, WIDTH, pairs, x[0], pairs, 1, taps, 64, sums);
    if (mel_taps) multiply(ROWS, WIDTH, bands, mel, bands, 1, mel_taps, 64, sums);
    keep_tile(scratch->kept[1], sums);
    clear(sums);
    multiply(ROWS, WIDTH, pairs, x[2], pairs, 1, taps + 2 * pairs * 64, 64, sums);
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 4
        for (int v = 0; v < WIDTH; v++) {
            int64_t at = (r * WIDTH + v) * 16;
            _mm512_storeu_ps(scratch->gates[0] + at, _mm512_add_ps(_mm512_loadu_ps(scratch->kept[1] + at), sums[r][v]));
            sums[r][v] = _mm512_sub_ps(_mm512_loadu_ps(scratch->kept[0] + at), sums[r][v]);
        }
    multiply(ROWS, WIDTH, pairs, x[3], pairs, 1, taps + 3 * pairs * 64, 64, sums);
    if (mel_taps) multiply(ROWS, WIDTH, bands, mel + TWINS * bands, bands, 1, mel_taps, 64, sums);
    keep_tile(scratch->gates[1], sums);
}

/* Nonlinearities of 6 positions in one panel: 32 channels of the hidden values. */
static void gate_rows(const Forward *f, int64_t layer, int64_t example, int64_t panel, const float *sums,
                      const int64_t *positions, Half *hidden) {
    const int64_t C = f->shape.channels, plane = f->shape.examples * f->shape.positions;
    const float *bias = f->weights.gate_bias + layer * 2 * C + panel * 64;
    for (int r = 0; r < ROWS; r++, sums += 64, hidden += C) {
        if (positions[r] < 0) {
            memset(hidden, 0, 32 * sizeof(Half));
            continue;
        }
        int64_t at = (layer * plane + example * f->shape.positions + positions[r]) * 2 * C + panel * 64;
        Vec gate[2], signal[2];
        for (int v = 0; v < 2; v++) {
            gate[v] = _mm512_loadu_ps(sums + 16 * v), signal[v] = _mm512_loadu_ps(sums + 32 + 16 * v);
            if (f->conditions) {
                gate[v] = _mm512_add_ps(gate[v], load_half(f->conditions + at + 16 * v));
                signal[v] = _mm512_add_ps(signal[v], load_half(f->conditions + at + 32 + 16 * v));
            } else {
                gate[v] = _mm512_add_ps(gate[v], _mm512_loadu_ps(bias + 16 * v));
                signal[v] = _mm512_add_ps(signal[v], _mm512_loadu_ps(bias + 32 + 16 * v));
            }
        }
        if (!f->gates) {
            store_halves(hidden, gated(gate[0], signal[0]), gated(gate[1], signal[1]));
            continue;
        }
        Vec sigmoid[2], tangent[2];
        for (int v = 0; v < 2; v++) activate(gate[v], signal[v], &sigmoid[v], &tangent[v]);
        store_halves(hidden, _mm512_mul_ps(sigmoid[0], tangent[0]), _mm512_mul_ps(sigmoid[1], tangent[1]));
        store_halves(f->gates + at, sigmoid[0], sigmoid[1]);
        store_halves(f->gates + at + 32, tangent[0], tangent[1]);
    }
}

/* 16 channels of one position: the stream of the next layer, or the sum of skip connections. */
INLINE void finish(const Forward *f, int64_t layer, int64_t example, int64_t position, int64_t n, Vec z) {
    const int64_t C = f->shape.channels;
    if (n >= C) {
        Vec bias = _mm512_loadu_ps(f->weights.output_bias + layer * 2 * C + n);
        float *total = f->total + (example * f->shape.positions + position) * C + n - C;
        _mm512_storeu_ps(total, _mm512_add_ps(z, layer ? _mm512_add_ps(bias, _mm512_loadu_ps(total)) : bias));
        return;
    }
    if (layer + 1 == f->shape.layers) return;
    int64_t at = row_of(&f->shape, example, position) * C + n;
    const float *from = f->streams + layer % f->stream_count * f->stream_stride + at;
    float *to = f->streams + (layer + 1) % f->stream_count * f->stream_stride + at;
    Vec constant = _mm512_loadu_ps(f->constants + (example * f->shape.layers + layer) * C + n);
    Vec sum = _mm512_add_ps(_mm512_loadu_ps(from), z);
    _mm512_storeu_ps(to, _mm512_fmadd_ps(sum, _mm512_set1_ps(0.70710678f), constant));
}

static void project_block(const Forward *f, int64_t layer, int64_t example, ForwardScratch *scratch) {
    const int64_t C = f->shape.channels, pairs = C / 2;
    /* The last layer's residual goes nowhere. */
    int64_t begin = layer + 1 == f->shape.layers ? C / 64 * 64 : 0;
    for (int64_t n = begin; n < 2 * C; n += 64) {
        const Pair *columns = (const Pair *)(f->weights.output + layer * 2 * C * C) + panel_at(n, pairs);
        for (int64_t i = 0; i < 2 * TWINS; i += ROWS) {
            Vec sums[ROWS][WIDTH];
            clear(sums);
            multiply(ROWS, WIDTH, pairs, (const Pair *)scratch->hidden + i * pairs, pairs, 1, columns, 64, sums);
#pragma GCC unroll 6
            for (int r = 0; r < ROWS; r++) {
                if (scratch->positions[i + r] < 0) continue;
#pragma GCC unroll 4
                for (int v = 0; v < WIDTH; v++)
                    finish(f, layer, example, scratch->positions[i + r], n + 16 * v, sums[r][v]);
            }
        }
    }
}

/* Ask for what the nonlinearities of these 12 positions read in one panel, and for as much of what `finish` will:
 * the products of a tile take longer than memory does. */
static void prefetch_tile(const Forward *f, int64_t layer, int64_t example, int64_t panel, int64_t tile,
                          const ForwardScratch *scratch) {
    const Shape *s = &f->shape;
    const int64_t C = s->channels, plane = s->examples * s->positions;
    float *next = f->streams + (layer + 1) % f->stream_count * f->stream_stride;
    for (int64_t i = 0; i < 2 * ROWS; i++) {
        int64_t position = scratch->positions[i % 2 * TWINS + tile * ROWS + i / 2];
        if (position < 0) continue;
        int64_t row = example * s->positions + position;
        if (f->gates) prefetch(f->gates + (layer * plane + row) * 2 * C + panel * 64, 128);
        if (f->conditions) prefetch(f->conditions + (layer * plane + row) * 2 * C + panel * 64, 128);
        prefetch(f->total + row * C + panel * 32, 128);
        prefetch(next + row_of(s, example, position) * C + panel * 32, 128);
    }
}

static void forward_block(const Forward *f, int64_t layer, int64_t example, int64_t begin, ForwardScratch *scratch) {
    const Shape *s = &f->shape;
    const int64_t C = s->channels, dilation = s->dilations[layer], bands = pairs_of(s->bands);
    const float *stream = f->streams + layer % f->stream_count * f->stream_stride + row_of(s, example, 0) * C;
    place_twins(s, example, dilation, begin, TWINS, scratch->positions);
    transform_inputs(stream, C, dilation, scratch);
    if (!f->conditions) gather_mel(f, example, scratch);
    for (int64_t panel = 0; panel < C / 32; panel++) {
        const Pair *taps = (const Pair *)(f->weights.dilated + layer * 8 * C * C) + panel * 64 * 2 * C;
        const Pair *mel_taps = (const Pair *)(f->weights.condition + layer * 4 * C * bands) + panel * 64 * bands;
        for (int64_t tile = 0; tile < TWINS / ROWS; tile++) {
            prefetch_tile(f, layer, example, panel, tile, scratch);
            convolve_tile(f, taps, f->conditions ? NULL : mel_taps, tile, scratch);
            for (int half = 0; half < 2; half++) {
                int64_t row = half * TWINS + tile * ROWS;
                gate_rows(f, layer, example, panel, scratch->gates[half], scratch->positions + row,
                          scratch->hidden + row * C + panel * 32);
            }
        }
    }
    project_block(f, layer, example, scratch);
}

static void forward_example(const Forward *f, int64_t example, ForwardScratch *scratch) {
    for (int64_t layer = 0; layer < f->shape.layers; layer++) {
        int64_t twins = count_twins(f->shape.lengths[example], f->shape.dilations[layer]);
        for (int64_t begin = 0; begin < twins; begin += TWINS) forward_block(f, layer, example, begin, scratch);
    }
}

static void run_forward(void *task, Team *team, int64_t member) {
    const Forward *f = task;
    Arena arena = {f->scratch + member * forward_bytes(&f->shape), 0};
    ForwardScratch scratch = forward_scratch(&f->shape, &arena);
    /* Whoever is free takes the next example or block: which thread does it changes no bit. */
    if (examples_apart(&f->shape, team->size)) {
        long example;
        while ((example = atomic_fetch_add(&f->next[0], 1)) < f->shape.examples) forward_example(f, example, &scratch);
        return;
    }
    for (int64_t layer = 0; layer < f->shape.layers; layer++) {
        int64_t most = (count_twins(f->shape.positions, f->shape.dilations[layer]) + TWINS - 1) / TWINS;
        long block;
        while ((block = atomic_fetch_add(&f->next[layer], 1)) < most * f->shape.examples) {
            int64_t example = block / most, begin = block % most * TWINS;
            if (begin < count_twins(f->shape.lengths[example], f->shape.dilations[layer]))
                forward_block(f, layer, example, begin, &scratch);
        }
        meet(team);
    }
}

#endif
