/* Weights in bfloat16 in the order in which products read them: panels of 64 columns, rows in pairs. */
#ifndef DIFFWAVE_PACK_H
#define DIFFWAVE_PACK_H

#include "stack.h"

typedef struct {
    Half *dilated;   /* forward: [L] panels of 2C columns, each [4][C/2][columns] pairs */
    Half *output;    /* forward: [L] panels of 2C columns, each [C/2][columns] */
    Half *condition; /* forward: [L] panels of 2C columns, each [M/2][columns] */
    float *gate_bias, *output_bias; /* [L][2C] */
    /* backward, or NULL: panels of C columns [4][C][columns], of C columns [C][columns], of M columns [C][columns] */
    Half *dilated_back, *output_back, *condition_back;
} Packed;

INLINE Pair both(Half low, Half high) { return (Pair)low | (Pair)high << 16; }

/* Column n, pair k of a matrix in panels of `N` columns over `pairs` pairs. */
INLINE Pair *place(Half *panels, int64_t pairs, int64_t N, int64_t n, int64_t k) {
    int64_t begin = n / 64 * 64, width = N - begin < 64 ? N - begin : 64;
    return (Pair *)panels + panel_at(begin, pairs) + k * width + (n - begin);
}

static void pack_forward(const Shape *s, const Parameters *p, const Packed *to, int64_t layer) {
    const int64_t C = s->channels, M = s->bands, bands = pairs_of(M);
    Half *dilated = to->dilated + layer * 8 * C * C, *output = to->output + layer * 2 * C * C;
    Half *condition = to->condition + layer * 4 * C * bands;
    for (int64_t n = 0; n < 2 * C; n++) {
        int64_t row = gate_row(n, C);
        const float *taps = p->dilated + row * C * 3, *mel = p->condition + row * M, *out = p->output + n * C;
        for (int64_t k = 0; k < C / 2; k++) {
            for (int j = 0; j < 4; j++) {
                /* The four products of a panel follow one another. */
                Pair *at = (Pair *)dilated + panel_at(n / 64 * 64, 2 * C) + (j * (C / 2) + k) * 64 + n % 64;
                *at = both(to_half(transformed_tap(taps + 6 * k, j)), to_half(transformed_tap(taps + 6 * k + 3, j)));
            }
            *place(output, C / 2, 2 * C, n, k) = both(to_half(out[2 * k]), to_half(out[2 * k + 1]));
        }
        for (int64_t k = 0; k < bands; k++)
            *place(condition, bands, 2 * C, n, k) =
                both(to_half(mel[2 * k]), 2 * k + 1 < M ? to_half(mel[2 * k + 1]) : 0);
        to->gate_bias[layer * 2 * C + n] = p->dilated_bias[row] + p->condition_bias[row];
        to->output_bias[layer * 2 * C + n] = p->output_bias[n];
    }
}

/* Transposed, and with the taps reversed: the gradient of a convolution is one. */
static void pack_backward(const Shape *s, const Parameters *p, const Packed *to, int64_t layer) {
    const int64_t C = s->channels, M = s->bands, columns = round_up(M, 16);
    Half *dilated = to->dilated_back + layer * 8 * C * C, *output = to->output_back + layer * 2 * C * C;
    Half *condition = to->condition_back + layer * 2 * C * columns;
    for (int64_t k = 0; k < C; k++) {
        int64_t low = gate_row(2 * k, C), high = gate_row(2 * k + 1, C);
        for (int64_t n = 0; n < C; n++) {
            const float *a = p->dilated + (low * C + n) * 3, *b = p->dilated + (high * C + n) * 3;
            float first[3] = {a[2], a[1], a[0]}, second[3] = {b[2], b[1], b[0]};
            int64_t begin = n / 64 * 64, width = C - begin < 64 ? C - begin : 64;
            for (int j = 0; j < 4; j++)
                ((Pair *)dilated)[panel_at(begin, 4 * C) + (j * C + k) * width + n - begin] =
                    both(to_half(transformed_tap(first, j)), to_half(transformed_tap(second, j)));
            *place(output, C, C, n, k) =
                both(to_half(p->output[2 * k * C + n]), to_half(p->output[(2 * k + 1) * C + n]));
        }
        for (int64_t n = 0; n < columns; n++)
            *place(condition, C, columns, n, k) =
                n < M ? both(to_half(p->condition[low * M + n]), to_half(p->condition[high * M + n])) : 0;
    }
}

#endif
