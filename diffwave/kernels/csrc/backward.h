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

#include "forward.h"

#define STRETCH 96   /* positions of a block in pass one */
#define BACK_TWINS 48 /* twins of a block in pass two */

typedef struct {
    Shape shape;
    char *scratch;           /* of all threads; set here, not by the caller */
    Packed weights;
    const Half *mel;         /* [B][P][2 pairs_of(M)] */
    const float *streams;    /* of all layers, as forward left them */
    int64_t stream_stride;
    const Half *gates;       /* as forward left them */
    const float *total;      /* gradient of the sum of skip connections, [B][P][C] */
    float *stream_gradient;  /* [B][P][C], zero at first; in the end that of what enters the first layer */
    Half *gate_gradient;     /* one layer's, with margins of zeros: [B][rows][2C] in columns of gates */
    float *mel_gradient;     /* [B][P][M rounded up to 16], zero at first */
    float *shift_gradient;   /* [threads][B][L][C], zero at first */
    float *sums;             /* [threads][L] sums of a layer, zero at first: see `Sums` */
    Parameters *gradients;   /* [L]: where the gradients of the parameters go */
} Backward;

/* Where a layer's sums of one thread lie, in floats. */
typedef struct {
    int64_t dilated;   /* [4][C][2C]: of the transformed taps, columns of gates */
    int64_t output;    /* [2C][C] */
    int64_t condition; /* [2C][M rounded up to 16], rows in the order of gates */
    int64_t gate_bias, output_bias; /* [2C] */
    int64_t size;
} Sums;

static Sums sums_of(const Shape *s) {
    int64_t C = s->channels, columns = round_up(s->bands, 16);
    Sums sums = {.output = 8 * C * C};
    sums.condition = sums.output + 2 * C * C;
    sums.gate_bias = sums.condition + 2 * C * columns;
    sums.output_bias = sums.gate_bias + 2 * C;
    sums.size = sums.output_bias + 2 * C;
    return sums;
}

typedef struct {
    Half *rows;             /* gradients at the output projection, then at the gates, [STRETCH][2C] */
    Pair *output_pairs;     /* the former in pairs of positions, [STRETCH / 2][2C] */
    Pair *pairs;            /* the latter */
    Pair *hidden;           /* [STRETCH / 2][C] */
    Pair *mel;              /* [STRETCH / 2][M rounded up to 16] */
    float *hidden_gradient; /* [STRETCH][C] */
    Half *transformed[4];   /* of the gates' gradients, [BACK_TWINS][2C] */
    Pair *inputs[4];        /* transformed inputs, in pairs of twins, [BACK_TWINS / 2][C] */
    Pair *outputs[4];       /* gradients of the transformed outputs, in pairs of twins, [BACK_TWINS / 2][2C] */
    float *kept[2];         /* a tile each */
    int64_t *positions;
} BackwardScratch;

static BackwardScratch backward_scratch(const Shape *s, Arena *arena) {
    const int64_t C = s->channels, half = STRETCH / 2 * sizeof(Pair), twins = BACK_TWINS / 2 * sizeof(Pair);
    BackwardScratch scratch;
    scratch.rows = take(arena, STRETCH * 2 * C * sizeof(Half));
    scratch.output_pairs = take(arena, half * 2 * C);
    scratch.pairs = take(arena, half * 2 * C);
    scratch.hidden = take(arena, half * C);
    scratch.mel = take(arena, half * round_up(s->bands, 16));
    scratch.hidden_gradient = take(arena, STRETCH * C * sizeof(float));
    for (int j = 0; j < 4; j++) {
        scratch.transformed[j] = take(arena, BACK_TWINS * 2 * C * sizeof(Half));
        scratch.inputs[j] = take(arena, twins * C);
        scratch.outputs[j] = take(arena, twins * 2 * C);
    }
    for (int i = 0; i < 2; i++) scratch.kept[i] = take(arena, ROWS * 16 * WIDTH * sizeof(float));
    scratch.positions = take(arena, 2 * BACK_TWINS * sizeof(int64_t));
    return scratch;
}

static int64_t backward_bytes(const Shape *s) {
    Arena counted = {0, 0};
    backward_scratch(s, &counted);
    return counted.used;
}

/* One thread's place: what it reads and where it adds. */
typedef struct {
    const Backward *b;
    int64_t layer, example, member;
    float *sums;
    BackwardScratch *scratch;
} Place;

INLINE void add_to(float *p, Vec v) { _mm512_storeu_ps(p, _mm512_add_ps(_mm512_loadu_ps(p), v)); }

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
