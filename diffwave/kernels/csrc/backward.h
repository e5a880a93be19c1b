/* Gradients, from the last layer to the first, in two passes for each.
 *
 * Pass one, stretches of positions: through the output projection and the nonlinearities; the gradient at the gates is
 * kept with margins of zeros, as the streams are. Pass two, twins: through the dilated convolution, which needs the
 * neighbours' gradients. Winograd's form serves both of its products: the gradient of the input is a convolution with
 * reversed, transposed taps, and the gradient of the transformed taps a sum of outer products of transformed inputs
 * with transformed gradients.
 *
 * Threads take fixed shares and add up their own gradients of weights, which are summed at the end: the same number of
 * threads gives the same bits.
 */
#ifndef DIFFWAVE_BACKWARD_H
#define DIFFWAVE_BACKWARD_H

#include "backward_gates.h"
#include "backward_inputs.h"

/* Sum what the threads found, and bring it to the order of the parameters. */
static void gather_gradients(const Backward *b, int64_t layer, int64_t threads) {
    const Shape *s = &b->shape;
    const int64_t C = s->channels, M = s->bands, columns = round_up(M, 16);
    const Sums at = sums_of(s);
    const Parameters *to = b->gradients + layer;
    float *first = b->sums + layer * at.size;
    for (int64_t t = 1; t < threads; t++) {
        const float *other = b->sums + (t * s->layers + layer) * at.size;
        for (int64_t i = 0; i < at.size; i++) first[i] += other[i];
    }
    const float *u[4];
    for (int j = 0; j < 4; j++) u[j] = first + at.dilated + j * 2 * C * C;
    for (int64_t n = 0; n < 2 * C; n++) {
        int64_t row = gate_row(n, C);
        for (int64_t c = 0; c < C; c++) {
            float *taps = to->dilated + (row * C + c) * 3;
            int64_t i = c * 2 * C + n;
            taps[0] = u[0][i] + 0.5f * (u[1][i] + u[2][i]);
            taps[1] = 0.5f * (u[1][i] - u[2][i]);
            taps[2] = u[3][i] + 0.5f * (u[1][i] + u[2][i]);
        }
        memcpy(to->condition + row * M, first + at.condition + n * columns, (size_t)M * sizeof(float));
        to->dilated_bias[row] = to->condition_bias[row] = first[at.gate_bias + n];
        to->output_bias[n] = first[at.output_bias + n];
    }
    memcpy(to->output, first + at.output, (size_t)(2 * C * C) * sizeof(float));
}

INLINE int64_t share(int64_t count, int64_t member, int64_t team) { return count * member / team; }

/* One pass of a layer over this member's blocks of all examples. */
static void share_blocks(Place *at, int64_t team, int64_t block, int64_t dilation,
                         void (*pass)(const Place *, int64_t)) {
    const Shape *s = &at->b->shape;
    /* Positions, or twins where there is a dilation. */
    const int64_t most = ((dilation ? count_twins(s->positions, dilation) : s->positions) + block - 1) / block;
    const int64_t all = most * s->examples;
    for (int64_t i = share(all, at->member, team); i < share(all, at->member + 1, team); i++) {
        at->example = i / most;
        int64_t length = s->lengths[at->example], begin = i % most * block;
        if (begin < (dilation ? count_twins(length, dilation) : length)) pass(at, begin);
    }
}

static void enter_layer(Place *at, int64_t layer) {
    const Shape *s = &at->b->shape;
    at->layer = layer;
    at->sums = at->b->sums + (at->member * s->layers + layer) * sums_of(s).size;
}

static void backward_example(Place *at, int64_t example) {
    const Shape *s = &at->b->shape;
    const int64_t length = s->lengths[example];
    at->example = example;
    for (int64_t layer = s->layers - 1; layer >= 0; layer--) {
        enter_layer(at, layer);
        for (int64_t begin = 0; begin < length; begin += STRETCH) back_to_gates(at, begin);
        const int64_t twins = count_twins(length, s->dilations[layer]);
        for (int64_t begin = 0; begin < twins; begin += BACK_TWINS) back_to_inputs(at, begin);
    }
}

static void run_backward(void *task, Team *team, int64_t member) {
    const Backward *b = task;
    const Shape *s = &b->shape;
    Arena arena = {b->scratch + member * backward_bytes(s), 0};
    BackwardScratch scratch = backward_scratch(s, &arena);
    Place at = {.b = b, .member = member, .scratch = &scratch};
    if (examples_apart(s, team->size)) {
        const int64_t end = share(s->examples, member + 1, team->size);
        for (int64_t i = share(s->examples, member, team->size); i < end; i++) backward_example(&at, i);
        meet(team);
    } else {
        for (int64_t layer = s->layers - 1; layer >= 0; layer--) {
            enter_layer(&at, layer);
            share_blocks(&at, team->size, STRETCH, 0, back_to_gates);
            meet(team);
            share_blocks(&at, team->size, BACK_TWINS, s->dilations[layer], back_to_inputs);
            meet(team);
        }
    }
    for (int64_t layer = member; layer < s->layers; layer += team->size) gather_gradients(b, layer, team->size);
}

#endif
