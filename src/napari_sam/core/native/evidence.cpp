// What the bundled model's score head sees of the masks of a prompt, in one pass over some of their rows: sums over
// four kinds of places (deep inside a mask, either side of its border, the rest of a ring around it).

#include "exponential.h"

#include <stdint.h>
#include <string.h>

namespace {

constexpr int MASKS = 4;
constexpr int KINDS = 4;
constexpr int FINE = 32;               // channels of the features
constexpr int VECTORS = FINE / LANES;
constexpr int AROUND = 2;              // rows above and below that decide what kind a place is

// Which masks each place of some rows is in, a bit a mask: (last - first, stride), zeros where there is no place.
// `within` also has a bit for places beyond the image's border.
void find_inside(uint8_t *inside, uint8_t *within, const float *logits, long area, long height, long width, long first,
                 long last, long stride) {
    memset(inside, 0, (last - first) * stride);
    memset(within, 0xff, (last - first) * stride);
    for (long y = first < 0 ? 0 : first; y < last && y < height; y++) {
        uint8_t *row = inside + (y - first) * stride + AROUND;
        for (int mask = 0; mask < MASKS; mask++) {
            const float *from = logits + mask * area + y * width;
            for (long x = 0; x < width; x++) row[x] |= (from[x] > 0.0f) << mask;
        }
        memcpy(within + (y - first) * stride + AROUND, row, width);
    }
}

// Places whose neighbours within `reach` columns and rows have a bit (or all have it, with ALL), for one row.
template <bool ALL> void spread(uint8_t *to, uint8_t *column, const uint8_t *row, long stride, int reach) {
    for (long x = 0; x < stride; x++) {
        uint8_t bits = row[x];
        for (int dy = 1; dy <= reach; dy++)
            bits = ALL ? bits & row[x - dy * stride] & row[x + dy * stride]
                       : bits | row[x - dy * stride] | row[x + dy * stride];
        column[x] = bits;
    }
    for (long x = AROUND; x < stride - AROUND; x++) {
        uint8_t bits = column[x];
        for (int dx = 1; dx <= reach; dx++)
            bits = ALL ? bits & column[x - dx] & column[x + dx] : bits | column[x - dx] | column[x + dx];
        to[x] = bits;
    }
}

inline __m512 sigmoid(__m512 x) {
    const __m512 one = _mm512_set1_ps(1.0f), zero = _mm512_setzero_ps();
    const __m512 small = power_of_e(_mm512_sub_ps(zero, _mm512_abs_ps(x)));  // never overflows
    const __m512 share = _mm512_div_ps(one, _mm512_add_ps(one, small));
    return _mm512_mask_mul_ps(share, _mm512_cmp_ps_mask(x, zero, _CMP_LT_OQ), share, small);
}

}  // namespace

// logits         (4, height, width); rows from `first` to before `last` are looked at.
// features       (height, width, 32).
// certain        probability from which a place may belong to a mask; it surely does above one less that.
// scratch        (last - first + 8) * (width + 4) bytes, twice.
// count          (4, 4) kinds by masks; probability as well; found (4, 4, 32): sums, zeros before.
// wide, sure     (4), both (4, 4): numbers of places that may, that surely belong, that are in two masks; zeros before.
extern "C" void look_at_masks(const float *logits, const float *features, long height, long width, long first, long last,
                              float certain, uint8_t *scratch, float *count, float *probability, float *found,
                              float *wide, float *sure, float *both) {
    const long stride = width + 2 * AROUND, area = height * width, rows = last - first + 2 * AROUND;
    uint8_t *inside = scratch, *within = inside + rows * stride;
    uint8_t *column = within + rows * stride, *deep = column + stride, *wider = deep + stride, *widest = wider + stride;
    find_inside(inside, within, logits, area, height, width, first - AROUND, last + AROUND, stride);
    long counts[KINDS][MASKS] = {}, pairs[4][1 << MASKS] = {}, likely[2][MASKS] = {};
    __m512 chances[KINDS][MASKS] = {};
    const __m512 may = _mm512_set1_ps(certain), must = _mm512_set1_ps(1.0f - certain);
    for (long y = first; y < last; y++) {
        const long at = (y - first + AROUND) * stride;
        const uint8_t *own = inside + at;
        spread<true>(deep, column, within + at, stride, 1);
        spread<false>(wider, column, own, stride, 1);
        spread<false>(widest, column, own, stride, 2);
        float sums[KINDS][MASKS][FINE] = {};  // of this row alone: one sum over all rows would round more
        for (long x = 0; x < width; x++) {
            const long i = x + AROUND;
            pairs[x & 3][own[i] & 15]++;
            if (!widest[i]) continue;
            const uint8_t kinds[KINDS] = {(uint8_t)(own[i] & deep[i]), (uint8_t)(own[i] & ~deep[i]),
                                          (uint8_t)(wider[i] & ~own[i]), (uint8_t)(widest[i] & ~wider[i])};
            const float *from = features + (y * width + x) * FINE;
            for (int kind = 0; kind < KINDS; kind++)
                for (int bits = kinds[kind]; bits; bits &= bits - 1) {
                    float *to = sums[kind][__builtin_ctz(bits)];
                    for (int k = 0; k < VECTORS; k++)
                        _mm512_storeu_ps(to + k * LANES, _mm512_add_ps(_mm512_loadu_ps(to + k * LANES),
                                                                       _mm512_loadu_ps(from + k * LANES)));
                }
        }
        for (int i = 0; i < KINDS * MASKS * FINE; i++) found[i] += (&sums[0][0][0])[i];
        for (long x = 0; x < width; x += LANES) {
            const long left = width - x;
            const __mmask16 real = left >= LANES ? 0xffff : (__mmask16)((1u << left) - 1);
            const long i = x + AROUND;
            const __m128i own_bits = _mm_maskz_loadu_epi8(real, own + i), deep_bits = _mm_maskz_loadu_epi8(real, deep + i),
                          wider_bits = _mm_maskz_loadu_epi8(real, wider + i),
                          widest_bits = _mm_maskz_loadu_epi8(real, widest + i);
            const __m128i kinds[KINDS] = {
                _mm_and_si128(own_bits, deep_bits), _mm_andnot_si128(deep_bits, own_bits),
                _mm_andnot_si128(own_bits, wider_bits), _mm_andnot_si128(wider_bits, widest_bits)};
            for (int mask = 0; mask < MASKS; mask++) {
                const __m512 chance = sigmoid(_mm512_maskz_loadu_ps(real, logits + mask * area + y * width + x));
                likely[0][mask] += __builtin_popcount(_mm512_mask_cmp_ps_mask(real, chance, may, _CMP_GT_OQ));
                likely[1][mask] += __builtin_popcount(_mm512_mask_cmp_ps_mask(real, chance, must, _CMP_GT_OQ));
                for (int kind = 0; kind < KINDS; kind++) {
                    const __mmask16 here = _mm_test_epi8_mask(kinds[kind], _mm_set1_epi8(1 << mask));
                    counts[kind][mask] += __builtin_popcount(here);
                    chances[kind][mask] = _mm512_mask_add_ps(chances[kind][mask], here, chances[kind][mask], chance);
                }
            }
        }
    }
    for (int kind = 0; kind < KINDS; kind++)
        for (int mask = 0; mask < MASKS; mask++) {
            count[kind * MASKS + mask] = counts[kind][mask];
            probability[kind * MASKS + mask] = _mm512_reduce_add_ps(chances[kind][mask]);
        }
    for (int mask = 0; mask < MASKS; mask++) {
        wide[mask] = likely[0][mask];
        sure[mask] = likely[1][mask];
    }
    for (int bits = 0; bits < 1 << MASKS; bits++)
        for (int one = 0; one < MASKS; one++)
            for (int other = 0; other < MASKS; other++)
                if (bits >> one & 1 && bits >> other & 1)
                    both[one * MASKS + other] += pairs[0][bits] + pairs[1][bits] + pairs[2][bits] + pairs[3][bits];
}
