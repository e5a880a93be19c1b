/* Sixteen frames side by side: lane i of every vector belongs to frame i, so no arithmetic crosses lanes. */
#ifndef DIFFWAVE_LANES_H
#define DIFFWAVE_LANES_H

#include "arithmetic.h"

#define LANES 16

INLINE Vec all(float value) { return _mm512_set1_ps(value); }

/* 2^x with a relative error of 1e-7: minimax in x minus the nearest integer. */
INLINE Vec exp2_lanes(Vec x) {
    Vec whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), f = x - whole;
    Vec p = all(1.327647207e-03f);
    p = _mm512_fmadd_ps(p, f, all(9.675541407e-03f));
    p = _mm512_fmadd_ps(p, f, all(5.550713274e-02f));
    p = _mm512_fmadd_ps(p, f, all(2.402211972e-01f));
    p = _mm512_fmadd_ps(p, f, all(6.931469671e-01f));
    p = _mm512_fmadd_ps(p, f, all(1.000000072e+00f));
    return _mm512_scalef_ps(p, whole);
}

/* log2 of positive numbers: the exponent, and of m in [.75, 1.5) the series of 2 artanh((m - 1) / (m + 1)). */
INLINE Vec log2_lanes(Vec x) {
    Vec exponent = _mm512_getexp_ps(x * all(4.0f / 3.0f));
    Vec m = _mm512_scalef_ps(x, _mm512_setzero_ps() - exponent);
    Vec s = (m - all(1.0f)) / (m + all(1.0f)), square = s * s;
    Vec p = all(2.885390082f / 9.0f);
    p = _mm512_fmadd_ps(p, square, all(2.885390082f / 7.0f));
    p = _mm512_fmadd_ps(p, square, all(2.885390082f / 5.0f));
    p = _mm512_fmadd_ps(p, square, all(2.885390082f / 3.0f));
    p = _mm512_fmadd_ps(p, square, all(2.885390082f));
    return _mm512_fmadd_ps(p, s, exponent);
}

/* Rows become columns: afterwards element r of vector c is what was element c of vector r. */
INLINE void transpose(Vec v[LANES]) {
    Vec a[LANES], b[LANES];
    /* In blocks of 4 x 4, ... */
#pragma GCC unroll 4
    for (int i = 0; i < LANES; i += 4) {
        __m512d low = (__m512d)_mm512_unpacklo_ps(v[i], v[i + 1]), high = (__m512d)_mm512_unpackhi_ps(v[i], v[i + 1]);
        __m512d low2 = (__m512d)_mm512_unpacklo_ps(v[i + 2], v[i + 3]);
        __m512d high2 = (__m512d)_mm512_unpackhi_ps(v[i + 2], v[i + 3]);
        a[i] = (Vec)_mm512_unpacklo_pd(low, low2);
        a[i + 1] = (Vec)_mm512_unpackhi_pd(low, low2);
        a[i + 2] = (Vec)_mm512_unpacklo_pd(high, high2);
        a[i + 3] = (Vec)_mm512_unpackhi_pd(high, high2);
    }
    /* ... then the blocks: block k of a[4 i + j] goes to block i of v[4 k + j]. */
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        b[j] = _mm512_shuffle_f32x4(a[j], a[4 + j], 0x88);
        b[4 + j] = _mm512_shuffle_f32x4(a[j], a[4 + j], 0xdd);
        b[8 + j] = _mm512_shuffle_f32x4(a[8 + j], a[12 + j], 0x88);
        b[12 + j] = _mm512_shuffle_f32x4(a[8 + j], a[12 + j], 0xdd);
        v[j] = _mm512_shuffle_f32x4(b[j], b[8 + j], 0x88);
        v[4 + j] = _mm512_shuffle_f32x4(b[4 + j], b[12 + j], 0x88);
        v[8 + j] = _mm512_shuffle_f32x4(b[j], b[8 + j], 0xdd);
        v[12 + j] = _mm512_shuffle_f32x4(b[4 + j], b[12 + j], 0xdd);
    }
}

#endif
