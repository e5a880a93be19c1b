/* Mel consistency, all iterations: see diffwave/mel/consistency.py for what it is.
 *
 * An example's frames are divided into blocks of sixteen. A block adds its corrected frames up by itself ("piece");
 * when all are done, every sample is summed over the pieces that cover it, from left to right. So neither the threads
 * nor the other examples of a batch change any bit.
 */
#ifndef DIFFWAVE_CONSISTENCY_H
#define DIFFWAVE_CONSISTENCY_H

#include <stdlib.h>
#include <string.h>

#include "spectrum.h"
#include "team.h"

typedef struct {
    int64_t examples, frames, hop, fft, left, right, iterations, threads;
    int64_t reflected; /* whether the padding mirrors the signal; else it is zero */
    int64_t held;      /* samples at the start of each example that are kept near what they were */
    Spectrum spectrum;
    float momentum;
    const float *analysis, *synthesis; /* windows [fft]; the second divided by what the transforms multiply by */
    const float *weight;               /* [N], 1 / sum of squared windows at a sample */
    const float *hold, *given;         /* [held], share of what was, 0 to 1; [B][N], what was */
    const float *goal;                 /* [B][blocks][M][16], log2 */
    float *moved;                      /* [B][left + N + right], what is projected */
    float *projected;                  /* [B][N], the last projection */
    float *pieces;                     /* [B][blocks][15 hop + fft] */
    char *scratch;
    atomic_long *next; /* [iterations][2], the next block of each pass */
} Consistency;

INLINE int64_t count_blocks(const Consistency *c) { return (c->frames + LANES - 1) / LANES; }
INLINE int64_t stride_of(const Consistency *c) { return LANES * c->hop; } /* from block to block */
INLINE int64_t piece_of(const Consistency *c) { return (LANES - 1) * c->hop + c->fft; }
INLINE int64_t padded_of(const Consistency *c) { return c->left + c->frames * c->hop + c->right; }

typedef struct {
    float *z;     /* [fft][16], frames */
    float *bands; /* [M + 1][16] */
    float *sums;  /* [16 hop] */
} ConsistencyScratch;

static ConsistencyScratch consistency_scratch(const Consistency *c, Arena *arena) {
    ConsistencyScratch s;
    s.z = take(arena, c->fft * LANES * (int64_t)sizeof(float));
    s.bands = take(arena, (c->spectrum.bands + 1) * LANES * (int64_t)sizeof(float));
    s.sums = take(arena, stride_of(c) * (int64_t)sizeof(float));
    return s;
}

static int64_t consistency_bytes(const Consistency *c) {
    Arena arena = {0, 0};
    consistency_scratch(c, &arena);
    return arena.used;
}

/* Windowed frames side by side; lanes beyond the last frame repeat it, and nobody reads them. */
static void load_frames(const Consistency *c, const float *from, int64_t count, float *z) {
    for (int64_t next = 0; next < c->fft; next += LANES) {
        /* At the end some are loaded once more, so that nothing beyond is touched. */
        const int64_t t = next < c->fft - LANES ? next : c->fft - LANES;
        Vec v[LANES];
#pragma GCC unroll 16
        for (int r = 0; r < LANES; r++) v[r] = _mm512_loadu_ps(from + (r < count ? r : count - 1) * c->hop + t);
        transpose(v);
#pragma GCC unroll 16
        for (int r = 0; r < LANES; r++) _mm512_store_ps(z + (t + r) * LANES, v[r] * all(c->analysis[t + r]));
    }
}

/* Sixteen samples of every frame from `t` on, without the first `done`. */
INLINE void add_samples(const Consistency *c, const float *z, int64_t t, int64_t done, int64_t count, float *piece) {
    Vec v[LANES];
#pragma GCC unroll 16
    for (int r = 0; r < LANES; r++) {
        v[r] = _mm512_load_ps(z + (t + r) * LANES) * all(c->synthesis[t + r]);
        if (r < done) v[r] = _mm512_setzero_ps();
    }
    transpose(v);
#pragma GCC unroll 16
    for (int r = 0; r < LANES; r++) {
        float *to = piece + r * c->hop + t;
        if (r < count) _mm512_storeu_ps(to, _mm512_loadu_ps(to) + v[r]);
    }
}

/* Windowed frames, added up where they belong. */
static void add_frames(const Consistency *c, const float *z, int64_t count, float *piece) {
    const int64_t last = c->fft - LANES;
    int64_t t = 0;
    memset(piece, 0, (size_t)piece_of(c) * sizeof(float));
    for (; t <= last; t += LANES) add_samples(c, z, t, 0, count, piece);
    if (t < c->fft) add_samples(c, z, last, t - last, count, piece);
}

/* Pass one: a block of frames from `moved` to `pieces`. */
static void correct_block(const Consistency *c, int64_t index, const ConsistencyScratch *s) {
    const int64_t blocks = count_blocks(c), example = index / blocks, block = index % blocks;
    const int64_t left = c->frames - block * LANES, count = left < LANES ? left : LANES;
    load_frames(c, c->moved + example * padded_of(c) + block * stride_of(c), count, s->z);
    correct_frames(&c->spectrum, c->goal + index * c->spectrum.bands * LANES, s->z, s->bands);
    add_frames(c, s->z, count, c->pieces + index * piece_of(c));
}

/* Sum of the pieces of an example from `begin` to `end`, both counted from the start of its padding. */
static void sum_pieces(const Consistency *c, int64_t example, int64_t begin, int64_t end, float *sums) {
    const int64_t blocks = count_blocks(c), stride = stride_of(c), piece = piece_of(c);
    memset(sums, 0, (size_t)(end - begin) * sizeof(float));
    int64_t block = begin < piece ? 0 : (begin - piece) / stride;
    for (; block < blocks && block * stride < end; block++) {
        const int64_t first = block * stride, last = first + piece;
        const int64_t from = first < begin ? begin : first, to = last < end ? last : end;
        const float *values = c->pieces + (example * blocks + block) * piece - first;
        for (int64_t i = from; i < to; i++) sums[i - begin] += values[i];
    }
}

/* Mirror samples `begin` to `end` of a padded signal into its padding, as far as they belong there. */
static void reflect(const Consistency *c, float *padded, int64_t begin, int64_t end) {
    const int64_t samples = c->frames * c->hop, last = samples - 1;
    float *signal = padded + c->left;
    for (int64_t i = begin > 1 ? begin : 1; i < end && i <= c->left; i++) signal[-i] = signal[i];
    const int64_t from = last - c->right;
    for (int64_t i = begin > from ? begin : from; i < end && i < last; i++) signal[2 * last - i] = signal[i];
}

/* Pass two: a block of samples of `projected` and `moved`. */
static void move_block(const Consistency *c, int64_t index, const ConsistencyScratch *s) {
    const int64_t blocks = count_blocks(c), example = index / blocks, samples = c->frames * c->hop;
    const int64_t begin = index % blocks * stride_of(c);
    const int64_t end = begin + stride_of(c) < samples ? begin + stride_of(c) : samples;
    float *padded = c->moved + example * padded_of(c), *moved = padded + c->left + begin;
    float *projected = c->projected + example * samples + begin;
    const float *weight = c->weight + begin;
    const float *given = c->given + example * samples + begin, *hold = c->hold + begin;
    const int64_t held = c->held - begin;
    sum_pieces(c, example, c->left + begin, c->left + end, s->sums);
    for (int64_t i = 0; i < end - begin; i++) s->sums[i] *= weight[i];
    /* Exactly what was, where all of it is held. */
    for (int64_t i = 0; i < held && i < end - begin; i++)
        s->sums[i] = given[i] - (given[i] - s->sums[i]) * (1 - hold[i]);
    for (int64_t i = 0; i < end - begin; i++) {
        float value = s->sums[i];
        moved[i] = value + c->momentum * (value - projected[i]);
        projected[i] = value;
    }
    if (c->reflected) reflect(c, padded, begin, end);
}

static void run_consistency(void *task, Team *team, int64_t member) {
    const Consistency *c = task;
    Arena arena = {c->scratch + member * consistency_bytes(c), 0};
    const ConsistencyScratch scratch = consistency_scratch(c, &arena);
    const int64_t all_blocks = c->examples * count_blocks(c);
    for (int64_t i = 0; i < c->iterations; i++) {
        /* Whoever is free takes the next block. */
        long block;
        while ((block = atomic_fetch_add(&c->next[2 * i], 1)) < all_blocks) correct_block(c, block, &scratch);
        meet(team);
        while ((block = atomic_fetch_add(&c->next[2 * i + 1], 1)) < all_blocks) move_block(c, block, &scratch);
        meet(team);
    }
}

#endif
