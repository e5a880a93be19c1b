/* What both passes of backward work on. */
#ifndef DIFFWAVE_BACKWARD_PARTS_H
#define DIFFWAVE_BACKWARD_PARTS_H

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

#endif
