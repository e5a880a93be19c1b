/* What forward and backward share: shapes, weights, and where things lie.
 *
 * Letters: B examples, P positions, C channels (a multiple of 32), L layers, M mel bands.
 *
 * The dilated convolution is computed by Winograd's F(2, 3) along time (Lavin and Gray 2016): the outputs at t and
 * t + d share their inputs x0..x3 = x(t - d), x(t), x(t + d), x(t + 2d), and with taps g0, g1, g2
 *
 *     y(t)     = m0 + m1 + m2        m0 = g0 (x0 - x2)            m1 = (g0 + g1 + g2) / 2 (x1 + x2)
 *     y(t + d) = m1 - m2 + m3        m2 = (g0 - g1 + g2) / 2 (x2 - x1)    m3 = g2 (x3 - x1)
 *
 * are 4 products instead of 6. "Twin" is such a couple of positions, "transformed" what stands in brackets.
 *
 * Gate and signal of a channel have to meet in one panel of 64 columns: 32 channels' gates, then their signals.
 */
#ifndef DIFFWAVE_STACK_H
#define DIFFWAVE_STACK_H

#include <stdlib.h>
#include <string.h>

#include "arithmetic.h"
#include "team.h"

/* One layer's parameters as PyTorch stores them: [2C, C, 3], [2C], [2C, M], [2C], [2C, C], [2C]. */
typedef struct {
    float *dilated, *dilated_bias, *condition, *condition_bias, *output, *output_bias;
} Parameters;

typedef struct {
    int64_t layers, examples, positions, channels, bands, threads;
    int64_t reach;            /* the largest dilation */
    const int64_t *dilations; /* [L] */
    const int64_t *lengths;   /* [B], positions of each example; beyond lies zero */
} Shape;

/* Rows of an example with its margins of zeros: `reach` before, twice that after. */
INLINE int64_t padded_rows(const Shape *s) { return s->positions + 3 * s->reach; }
INLINE int64_t row_of(const Shape *s, int64_t example, int64_t position) {
    return example * padded_rows(s) + s->reach + position;
}

/* Twins of a layer: in every whole stretch of 2d positions d of them, and what begins in the rest. */
INLINE int64_t count_twins(int64_t length, int64_t dilation) {
    int64_t whole = length / (2 * dilation), rest = length - whole * 2 * dilation;
    return whole * dilation + (rest < dilation ? rest : dilation);
}
INLINE int64_t first_of_twin(int64_t twin, int64_t dilation) {
    return twin / dilation * 2 * dilation + twin % dilation;
}

/* Whether every thread takes whole examples through all layers: what one layer leaves is then still in its cache for
 * the next, and nobody waits. Else the threads share each example's positions and meet after every layer. */
INLINE int examples_apart(const Shape *s, int64_t threads) {
    return s->examples % threads == 0 || s->examples >= 4 * threads;
}

/* Row of a weight that stands in column n of gates and signals. */
INLINE int64_t gate_row(int64_t n, int64_t channels) {
    int64_t channel = n / 64 * 32 + n % 32;
    return n % 64 < 32 ? channel : channels + channel;
}

INLINE int64_t pairs_of(int64_t count) { return (count + 1) / 2; }
INLINE int64_t round_up(int64_t count, int64_t unit) { return (count + unit - 1) / unit * unit; }

/* Tap or sum of taps that product j of the Winograd form is made with. */
INLINE float transformed_tap(const float *taps, int j) {
    if (j == 0) return taps[0];
    if (j == 3) return taps[2];
    return 0.5f * (j == 1 ? taps[0] + taps[1] + taps[2] : taps[0] - taps[1] + taps[2]);
}

#endif
