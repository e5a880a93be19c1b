/* Pass two of a layer's gradients: through the dilated convolution to the layer's input. */
#ifndef DIFFWAVE_BACKWARD_INPUTS_H
#define DIFFWAVE_BACKWARD_INPUTS_H

#include "backward_parts.h"

/* Rows of gates' gradients around the twins, transformed: as inputs of a convolution, and as outputs of one. */
static void transform_gate_gradients(const Place *at, int64_t dilation) {
    const Backward *b = at->b;
    const int64_t width = 2 * b->shape.channels;
    const Half *origin = b->gate_gradient + row_of(&b->shape, at->example, 0) * width;
    BackwardScratch *scratch = at->scratch;
    const Vec zero = _mm512_setzero_ps();
    for (int64_t i = 0; i < BACK_TWINS; i += 2)
        for (int64_t n = 0; n < width; n += 16) {
            Vec y[2][4];
            for (int r = 0; r < 2; r++) {
                int64_t t = scratch->positions[i + r];
                for (int j = 0; j < 4; j++)
                    y[r][j] = t < 0 ? zero : load_half(origin + (t + (j - 1) * dilation) * width + n);
                const int64_t to = (i + r) * width + n;
                store_half(scratch->transformed[0] + to, _mm512_sub_ps(y[r][0], y[r][2]));
                store_half(scratch->transformed[1] + to, _mm512_add_ps(y[r][1], y[r][2]));
                store_half(scratch->transformed[2] + to, _mm512_sub_ps(y[r][2], y[r][1]));
                store_half(scratch->transformed[3] + to, _mm512_sub_ps(y[r][3], y[r][1]));
            }
            const int64_t to = i / 2 * width + n;
            store_pairs(scratch->outputs[0] + to, y[0][1], y[1][1]);
            store_pairs(scratch->outputs[1] + to, _mm512_add_ps(y[0][1], y[0][2]), _mm512_add_ps(y[1][1], y[1][2]));
            store_pairs(scratch->outputs[2] + to, _mm512_sub_ps(y[0][1], y[0][2]), _mm512_sub_ps(y[1][1], y[1][2]));
            store_pairs(scratch->outputs[3] + to, y[0][2], y[1][2]);
        }
}

static void transform_inputs_in_pairs(const Place *at, int64_t dilation) {
    const Backward *b = at->b;
    const int64_t C = b->shape.channels;
    const float *origin = b->streams + at->layer * b->stream_stride + row_of(&b->shape, at->example, 0) * C;
    const Vec zero = _mm512_setzero_ps();
    for (int64_t i = 0; i < BACK_TWINS; i += 2)
        for (int64_t n = 0; n < C; n += 16) {
            Vec x[2][4];
            for (int r = 0; r < 2; r++) {
                int64_t t = at->scratch->positions[i + r];
                for (int j = 0; j < 4; j++)
                    x[r][j] = t < 0 ? zero : _mm512_loadu_ps(origin + (t + (j - 1) * dilation) * C + n);
            }
            Pair *const *inputs = at->scratch->inputs;
            const int64_t to = i / 2 * C + n;
            store_pairs(inputs[0] + to, _mm512_sub_ps(x[0][0], x[0][2]), _mm512_sub_ps(x[1][0], x[1][2]));
            store_pairs(inputs[1] + to, _mm512_add_ps(x[0][1], x[0][2]), _mm512_add_ps(x[1][1], x[1][2]));
            store_pairs(inputs[2] + to, _mm512_sub_ps(x[0][2], x[0][1]), _mm512_sub_ps(x[1][2], x[1][1]));
            store_pairs(inputs[3] + to, _mm512_sub_ps(x[0][3], x[0][1]), _mm512_sub_ps(x[1][3], x[1][1]));
        }
}

/* Gradient of the layer's input at 6 twins in V vectors of a panel: to the stream's gradient, and to the shift's. */
INLINE void input_gradient_tile(const int V, const Place *at, int64_t tile, int64_t n, float *shift) {
    const Backward *b = at->b;
    const int64_t C = b->shape.channels, P = b->shape.positions;
    const Pair *taps = (const Pair *)(b->weights.dilated_back + at->layer * 8 * C * C) + panel_at(n, 4 * C);
    const Pair *y[4];
    for (int j = 0; j < 4; j++) y[j] = (const Pair *)at->scratch->transformed[j] + tile * ROWS * C;
    Vec sums[ROWS][WIDTH], shifts[WIDTH];
    float *const *kept = at->scratch->kept;
    clear(sums);
    multiply(ROWS, V, C, y[1], C, 1, taps + C * 16 * V, 16 * V, sums);
    keep_tile(kept[0], sums);
    multiply(ROWS, V, C, y[0], C, 1, taps, 16 * V, sums);
    keep_tile(kept[1], sums);
    clear(sums);
    multiply(ROWS, V, C, y[2], C, 1, taps + 2 * C * 16 * V, 16 * V, sums);
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) shifts[v] = _mm512_loadu_ps(shift + n + 16 * v);
    for (int half = 0; half < 2; half++) {
        if (half) multiply(ROWS, V, C, y[3], C, 1, taps + 3 * C * 16 * V, 16 * V, sums);
#pragma GCC unroll 6
        for (int r = 0; r < ROWS; r++) {
            int64_t position = at->scratch->positions[half * BACK_TWINS + tile * ROWS + r];
            float *to = b->stream_gradient + (at->example * P + (position < 0 ? 0 : position)) * C + n;
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) {
                const int64_t k = (r * WIDTH + v) * 16;
                Vec x = half ? sums[r][v] : _mm512_add_ps(_mm512_loadu_ps(kept[1] + k), sums[r][v]);
                if (!half) sums[r][v] = _mm512_sub_ps(_mm512_loadu_ps(kept[0] + k), sums[r][v]);
                if (position < 0) continue;
                shifts[v] = _mm512_add_ps(shifts[v], x);
                _mm512_storeu_ps(to + 16 * v, _mm512_fmadd_ps(_mm512_loadu_ps(to + 16 * v),
                                                              _mm512_set1_ps(0.70710678f), x));
            }
        }
    }
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) _mm512_storeu_ps(shift + n + 16 * v, shifts[v]);
}

/* The inputs of the next twins come from main memory: forward kept them for every layer. */
static void prefetch_twins(const Place *at, int64_t begin, int64_t dilation) {
    const Shape *s = &at->b->shape;
    const int64_t C = s->channels, twins = count_twins(s->lengths[at->example], dilation);
    const float *origin = at->b->streams + at->layer * at->b->stream_stride + row_of(s, at->example, 0) * C;
    for (int64_t i = begin; i < begin + BACK_TWINS && i < twins; i++) {
        const float *row = origin + first_of_twin(i, dilation) * C;
        prefetch(row, C * 4);
        prefetch(row + dilation * C, C * 4);
    }
}

/* Pass two for BACK_TWINS twins. */
static void back_to_inputs(const Place *at, int64_t begin) {
    const Backward *b = at->b;
    const int64_t C = b->shape.channels, dilation = b->shape.dilations[at->layer];
    float *shift = b->shift_gradient + ((at->member * b->shape.examples + at->example) * b->shape.layers + at->layer) * C;
    place_twins(&b->shape, at->example, dilation, begin, BACK_TWINS, at->scratch->positions);
    transform_gate_gradients(at, dilation);
    transform_inputs_in_pairs(at, dilation);
    prefetch_twins(at, begin + BACK_TWINS, dilation);
    for (int64_t n = 0; n < C; n += 64) {
        int width = panel_width(n, C); /* 4, or 2 in the last panel of an odd number of 32 channels */
        for (int64_t tile = 0; tile < BACK_TWINS / ROWS; tile++) {
            if (width == 4) input_gradient_tile(4, at, tile, n, shift);
            else input_gradient_tile(2, at, tile, n, shift);
        }
    }
    for (int j = 0; j < 4; j++)
        add_outer_product(BACK_TWINS / 2, at->scratch->inputs[j], C, C, at->scratch->outputs[j], 2 * C,
                          at->sums + sums_of(&b->shape).dilated + j * 2 * C * C);
}

#endif
