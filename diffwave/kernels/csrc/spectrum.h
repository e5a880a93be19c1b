/* From sixteen frames' half-length transforms to their mel bands, and the corrected spectra back.
 *
 * A frame of n real samples is taken for h = n / 2 complex ones, even-numbered samples real, odd-numbered imaginary. Of
 * its transform Z and the wanted spectrum X (both of h values, and X(h)), with W = e^(-2 pi i / n),
 *
 *     2 X(k) = E + T    2 X(h - k) = conj(E - T)    E = Z(k) + conj Z(h - k)    T = -i W^k (Z(k) - conj Z(h - k))
 *
 * and the same sums lead back from X to 4 Z. A bin's factor follows from all bins of its frame, so all are visited
 * twice; X is made anew then, which costs less than to store it.
 */
#ifndef DIFFWAVE_SPECTRUM_H
#define DIFFWAVE_SPECTRUM_H

#include "fourier.h"

/* A bin's share in bands `band` and `band + 1`, or theirs in the bin; one band more than there are is always there. */
typedef struct {
    int32_t band;
    float first, second;
} Share;

typedef struct {
    int64_t half, bands;
    Passes passes;
    const float *twiddles;    /* W^k, k = 0 ... h / 2, each the real part and the imaginary part */
    const int32_t *places;    /* [h], where bin k is found */
    const Share *own;         /* [h + 1], of 2 |X|, or 2 |X|^2, in bands */
    const Share *spread;      /* [h + 1], of bands' corrections in a bin's */
    float limit;              /* of a bin's correction, in powers of two */
    float floor, ceiling;     /* of a band */
    int32_t squared;          /* whether bands are of power; else of magnitude */
} Spectrum;

typedef struct {
    Complex low, high; /* bins k and h - k */
} Couple;

/* From (Z(k), Z(h - k)) to (2 X(k), 2 X(h - k)). */
INLINE Couple separate(Couple z, const float *w) {
    Complex e = {z.low.re + z.high.re, z.low.im - z.high.im}, d = {z.low.im + z.high.im, z.high.re - z.low.re};
    Complex t = twiddle(d, w, 0);
    return (Couple){plus(e, t), {e.re - t.re, t.im - e.im}};
}

/* From (X(k), X(h - k)) to (2 Z(k), 2 Z(h - k)). */
INLINE Couple unite(Couple x, const float *w) {
    Complex e = {x.low.re + x.high.re, x.low.im - x.high.im}, d = {x.low.re - x.high.re, x.low.im + x.high.im};
    Complex t = twiddle(d, w, 1);
    return (Couple){plus_i(e, t), {e.re + t.im, t.re - e.im}};
}

INLINE Couple fetch_couple(const Spectrum *s, const float *z, int64_t k) {
    return (Couple){fetch(z + 2 * LANES * s->places[k]), fetch(z + 2 * LANES * s->places[s->half - k])};
}

INLINE void add_bin(const Share *share, Vec size, float *bands) {
    float *at = bands + LANES * share->band;
    _mm512_store_ps(at, _mm512_fmadd_ps(all(share->first), size, _mm512_load_ps(at)));
    _mm512_store_ps(at + LANES, _mm512_fmadd_ps(all(share->second), size, _mm512_load_ps(at + LANES)));
}

INLINE Complex scaled(Complex a, Vec by) { return (Complex){a.re * by, a.im * by}; }

/* 2 |X|, or 2 |X|^2 if bands are of power, of 2 X. */
INLINE Vec size_of(Complex x, const int squared) {
    const Vec power = x.re * x.re + x.im * x.im;
    if (squared) return power * all(0.5f);
    return _mm512_sqrt_ps(power);
}

INLINE void add_bins(const Spectrum *s, const float *z, float *bands, const int squared) {
    const int64_t h = s->half;
    const Vec zero = _mm512_setzero_ps();
    for (int64_t i = 0; i <= s->bands; i++) _mm512_store_ps(bands + LANES * i, zero);
    /* The two real bins share a place, and one in the middle, if there is one, is its own partner. */
    Complex ends = scaled(fetch(z), all(2)), middle = scaled(fetch(z + 2 * LANES * s->places[h / 2]), all(2));
    add_bin(s->own, size_of((Complex){ends.re + ends.im, zero}, squared), bands);
    add_bin(s->own + h, size_of((Complex){ends.re - ends.im, zero}, squared), bands);
    if (h % 2 == 0) add_bin(s->own + h / 2, size_of(middle, squared), bands);
    for (int64_t k = 1; 2 * k < h; k++) {
        Couple x = separate(fetch_couple(s, z, k), s->twiddles + 2 * k);
        add_bin(s->own + k, size_of(x.low, squared), bands);
        add_bin(s->own + h - k, size_of(x.high, squared), bands);
    }
}

/* Bands [M + 1][16] of transforms. */
static void sum_bands(const Spectrum *s, const float *z, float *bands) {
    if (s->squared) add_bins(s, z, bands, 1);
    else add_bins(s, z, bands, 0);
}

/* From bands to log2 of their magnitudes' corrections, given log2 of the goal [M][16]. */
static void find_corrections(const Spectrum *s, const float *goal, float *bands) {
    const Vec most = all(s->limit), least = all(-s->limit), floor = all(s->floor), ceiling = all(s->ceiling);
    const Vec root = all(s->squared ? 0.5f : 1);
    for (int64_t i = 0; i < s->bands; i++) {
        /* The second operand is returned if it is NaN. */
        Vec own = _mm512_min_ps(ceiling, _mm512_max_ps(floor, _mm512_load_ps(bands + LANES * i)));
        Vec change = (_mm512_loadu_ps(goal + LANES * i) - log2_lanes(own)) * root;
        _mm512_store_ps(bands + LANES * i, _mm512_max_ps(least, _mm512_min_ps(most, change)));
    }
}

INLINE Vec factor(const Share *share, const float *bands) {
    const float *at = bands + LANES * share->band;
    return exp2_lanes(all(share->first) * _mm512_load_ps(at) + all(share->second) * _mm512_load_ps(at + LANES));
}

/* Multiply all bins by 2^correction; transforms come out 4 times as large. */
static void correct_bins(const Spectrum *s, const float *bands, float *z) {
    const int64_t h = s->half;
    Complex ends = fetch(z);
    Vec first = (ends.re + ends.im) * factor(s->spread, bands) * all(2);
    Vec last = (ends.re - ends.im) * factor(s->spread + h, bands) * all(2);
    put(z, (Complex){first + last, first - last});
    if (h % 2 == 0) {
        float *middle = z + 2 * LANES * s->places[h / 2];
        put(middle, scaled(fetch(middle), factor(s->spread + h / 2, bands) * all(4)));
    }
    for (int64_t k = 1; 2 * k < h; k++) {
        Couple x = separate(fetch_couple(s, z, k), s->twiddles + 2 * k);
        x.low = scaled(x.low, factor(s->spread + k, bands));
        x.high = scaled(x.high, factor(s->spread + h - k, bands));
        x = unite(x, s->twiddles + 2 * k);
        put(z + 2 * LANES * s->places[k], x.low);
        put(z + 2 * LANES * s->places[h - k], x.high);
    }
}

/* Correct the frames' bands: z [h] complex to the same, 4 h times as large. `bands`: room for [M + 1][16]. */
static void correct_frames(const Spectrum *s, const float *goal, float *z, float *bands) {
    transform(s->passes, z, s->half, 0);
    sum_bands(s, z, bands);
    find_corrections(s, goal, bands);
    correct_bins(s, bands, z);
    transform(s->passes, z, s->half, 1);
}

#endif
