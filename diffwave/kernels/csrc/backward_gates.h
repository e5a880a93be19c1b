/* Pass one of a layer's gradients: through the output projection and the nonlinearities to the gates, and to the mel. */
#ifndef DIFFWAVE_BACKWARD_GATES_H
#define DIFFWAVE_BACKWARD_GATES_H

#include "backward_parts.h"

/* Gradients at the output projection's result: of the residual half, from the stream, and of the skip half. */
static void gather_output_gradients(const Place *at, int64_t begin, int64_t end) {
    const Backward *b = at->b;
    const int64_t C = b->shape.channels, P = b->shape.positions;
    const Vec half = _mm512_set1_ps(0.70710678f), zero = _mm512_setzero_ps();
    float *bias = at->sums + sums_of(&b->shape).output_bias;
    for (int64_t i = 0; i < STRETCH; i += 2)
        for (int64_t n = 0; n < 2 * C; n += 16) {
            const int residual = n < C;
            const float *from = residual ? b->stream_gradient + n : b->total + n - C;
            Vec x[2];
            for (int r = 0; r < 2; r++) {
                x[r] = begin + i + r < end ? _mm512_loadu_ps(from + (at->example * P + begin + i + r) * C) : zero;
                if (residual) x[r] = _mm512_mul_ps(x[r], half);
                store_half(at->scratch->rows + (i + r) * 2 * C + n, x[r]);
            }
            add_to(bias + n, _mm512_add_ps(x[0], x[1]));
            store_pairs(at->scratch->output_pairs + i / 2 * 2 * C + n, x[0], x[1]);
        }
}

/* Gradient of the hidden values; in the last layer only the skip half has one. */
static void through_output_projection(const Place *at, int64_t begin, int64_t end) {
    const Backward *b = at->b;
    const int64_t C = b->shape.channels, skipped = at->layer + 1 == b->shape.layers ? C / 2 : 0;
    const int64_t row = (at->layer * b->shape.examples + at->example) * b->shape.positions + begin;
    memset(at->scratch->hidden_gradient, 0, (size_t)(STRETCH * C) * sizeof(float));
    for (int64_t n = 0; n < C; n += 64) {
        int width = panel_width(n, C);
        const Pair *columns = (const Pair *)(b->weights.output_back + at->layer * 2 * C * C) + panel_at(n, C);
        for (int64_t i = 0; i < STRETCH; i += ROWS) {
            /* What the nonlinearities read next. */
            if (n == 0 && begin + i < end)
                prefetch(b->gates + (row + i) * 2 * C, (end - begin - i < ROWS ? end - begin - i : ROWS) * 4 * C);
            add_tile_6(width, C - skipped, (const Pair *)at->scratch->rows + i * C + skipped, C, 1,
                       columns + skipped * width * 16, width * 16, at->scratch->hidden_gradient + i * C + n, C);
        }
    }
}

/* Gradient at the gates of two positions (or of one and zeros), 16 channels. */
INLINE void through_gates(const Place *at, int64_t begin, int64_t end, int64_t i, int64_t panel, int64_t v) {
    const Backward *b = at->b;
    const int64_t C = b->shape.channels, P = b->shape.positions, n = panel * 64 + 16 * v;
    const Vec one = _mm512_set1_ps(1.0f), zero = _mm512_setzero_ps();
    BackwardScratch *scratch = at->scratch;
    Vec gate[2], signal[2], hidden[2];
    for (int r = 0; r < 2; r++) {
        int64_t position = begin + i + r;
        gate[r] = signal[r] = hidden[r] = zero;
        if (position < end) {
            const Half *kept =
                b->gates + ((at->layer * b->shape.examples + at->example) * P + position) * 2 * C + n;
            Vec a = load_half(kept), t = load_half(kept + 32);
            Vec d = _mm512_loadu_ps(scratch->hidden_gradient + (i + r) * C + panel * 32 + 16 * v);
            Vec da = _mm512_mul_ps(d, a);
            hidden[r] = _mm512_mul_ps(a, t);
            gate[r] = _mm512_mul_ps(_mm512_mul_ps(da, t), _mm512_sub_ps(one, a));
            signal[r] = _mm512_mul_ps(da, _mm512_fnmadd_ps(t, t, one));
            Half *to = b->gate_gradient + row_of(&b->shape, at->example, position) * 2 * C + n;
            store_half(to, gate[r]);
            store_half(to + 32, signal[r]);
        }
        store_half(scratch->rows + (i + r) * 2 * C + n, gate[r]);
        store_half(scratch->rows + (i + r) * 2 * C + n + 32, signal[r]);
    }
    float *bias = at->sums + sums_of(&b->shape).gate_bias + n;
    add_to(bias, _mm512_add_ps(gate[0], gate[1]));
    add_to(bias + 32, _mm512_add_ps(signal[0], signal[1]));
    store_pairs(scratch->pairs + i / 2 * 2 * C + n, gate[0], gate[1]);
    store_pairs(scratch->pairs + i / 2 * 2 * C + n + 32, signal[0], signal[1]);
    store_pairs(scratch->hidden + i / 2 * C + panel * 32 + 16 * v, hidden[0], hidden[1]);
}

static void gather_mel_pairs(const Place *at, int64_t begin, int64_t end) {
    const Backward *b = at->b;
    const int64_t width = 2 * pairs_of(b->shape.bands), columns = round_up(b->shape.bands, 16);
    for (int64_t i = 0; i < STRETCH; i += 2) {
        Pair *to = at->scratch->mel + i / 2 * columns;
        const Half *row = b->mel + (at->example * b->shape.positions + begin + i) * width;
        for (int64_t m = 0; m < columns; m++)
            to[m] = m >= width ? 0
                               : (begin + i < end ? row[m] : 0u) |
                                     (Pair)(begin + i + 1 < end ? row[width + m] : 0) << 16;
    }
}

/* Pass one for up to STRETCH positions. */
static void back_to_gates(const Place *at, int64_t begin) {
    const Backward *b = at->b;
    const int64_t C = b->shape.channels, columns = round_up(b->shape.bands, 16);
    const int64_t length = b->shape.lengths[at->example], end = begin + STRETCH < length ? begin + STRETCH : length;
    const Sums sums = sums_of(&b->shape);
    BackwardScratch *scratch = at->scratch;
    gather_output_gradients(at, begin, end);
    through_output_projection(at, begin, end);
    for (int64_t i = 0; i < STRETCH; i += 2)
        for (int64_t panel = 0; panel < C / 32; panel++)
            for (int v = 0; v < 2; v++) through_gates(at, begin, end, i, panel, v);
    add_outer_product(STRETCH / 2, scratch->output_pairs, 2 * C, 2 * C, scratch->hidden, C, at->sums + sums.output);
    gather_mel_pairs(at, begin, end);
    add_outer_product(STRETCH / 2, scratch->pairs, 2 * C, 2 * C, scratch->mel, columns, at->sums + sums.condition);
    for (int64_t n = 0; n < columns; n += 64) {
        int width = panel_width(n, columns);
        const Pair *weights = (const Pair *)(b->weights.condition_back + at->layer * 2 * C * columns) + panel_at(n, C);
        /* Whole tiles: rows beyond the example's end add zeros to what lies there. */
        for (int64_t i = 0; i < STRETCH && begin + i < end; i += ROWS)
            add_tile_6(width, C, (const Pair *)scratch->rows + i * C, C, 1, weights, width * 16,
                       b->mel_gradient + (at->example * round_up(b->shape.positions, STRETCH) + begin + i) * columns + n,
                       columns);
    }
}

#endif
