/* Projections of the mel for all layers at once, kept for every step of synthesis. */
#ifndef DIFFWAVE_CONDITIONS_H
#define DIFFWAVE_CONDITIONS_H

#include "forward.h"

/* Projections of the mel for every layer, as `Forward.conditions`. */
typedef struct {
    Shape shape;
    Packed weights;
    const Half *mel;  /* [B][P rounded up to 6][2 pairs_of(M)] */
    Half *conditions; /* [L][B][P][2C] */
} Conditions;

static void run_conditions(void *task, Team *team, int64_t member) {
    const Conditions *c = task;
    const int64_t C = c->shape.channels, bands = pairs_of(c->shape.bands), rows = c->shape.examples * c->shape.positions;
    int64_t tiles = (rows + ROWS - 1) / ROWS;
    for (int64_t tile = tiles * member / team->size; tile < tiles * (member + 1) / team->size; tile++)
        for (int64_t layer = 0; layer < c->shape.layers; layer++)
            for (int64_t n = 0; n < 2 * C; n += 64) {
                const Pair *columns = (const Pair *)(c->weights.condition + layer * 4 * C * bands) + panel_at(n, bands);
                const float *bias = c->weights.gate_bias + layer * 2 * C + n;
                Vec sums[ROWS][WIDTH];
                clear(sums);
                multiply(ROWS, WIDTH, bands, (const Pair *)c->mel + tile * ROWS * bands, bands, 1, columns, 64, sums);
#pragma GCC unroll 6
                for (int r = 0; r < ROWS; r++) {
                    int64_t row = tile * ROWS + r;
                    if (row >= rows) break;
                    Half *to = c->conditions + (layer * rows + row) * 2 * C + n;
#pragma GCC unroll 2
                    for (int v = 0; v < WIDTH; v += 2)
                        store_halves(to + 16 * v, _mm512_add_ps(sums[r][v], _mm512_loadu_ps(bias + 16 * v)),
                                     _mm512_add_ps(sums[r][v + 1], _mm512_loadu_ps(bias + 16 * v + 16)));
                }
            }
}

#endif
