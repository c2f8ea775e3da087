// Which pixels of an image are inside a mask: low-res logits through the two banded maps of upscale.py, and a
// threshold, without ever holding the image's logits. Rows of cells are stretched along x as they are needed.

#include "number.h"
#include <stdint.h>
#include <stdlib.h>

namespace {

constexpr long MOST_TAPS = 8;  // of a row: two bilinear steps need three

// A row of cells stretched to `width` pixels; weights are (taps, width).
void stretch(float *to, const float *cells, const int32_t *first, const float *weights, long taps, long width) {
    for (long x = 0; x < width; x += LANES) {
        __m512i at = _mm512_loadu_si512(first + x);
        __m512 sum = _mm512_setzero_ps();
        for (long tap = 0; tap < taps; tap++) {
            sum = _mm512_fmadd_ps(_mm512_i32gather_ps(at, cells, 4), _mm512_loadu_ps(weights + tap * width + x), sum);
            at = _mm512_add_epi32(at, _mm512_set1_epi32(1));
        }
        _mm512_storeu_ps(to + x, sum);
    }
}

}  // namespace

// low            (.., low_width) logits.
// row_first      (.., ) where the weights of each row of the image begin; never decreases.
// row_weights    (.., row_taps); column_first, column_weights likewise.
// top .. right   the region of the image, half-open.
// out            (bottom - top, right - left) with `stride` bytes a row: 1 where the logit is above 0, else 0.
// Returns 0; 1 without memory; 2 for more than MOST_TAPS.
extern "C" int threshold(const float *low, long low_width, const int64_t *row_first, const float *row_weights,
                         long row_taps, const int64_t *column_first, const float *column_weights,
                         long column_taps, const long *region, uint8_t *out, long stride) {
    const long top = region[0], bottom = region[1], left = region[2], right = region[3];
    const long width = right - left, padded = (width + LANES - 1) / LANES * LANES;
    if (row_taps > MOST_TAPS) return 2;
    float *memory = (float *)malloc(sizeof(float) * padded * (row_taps + column_taps + 1));
    if (!memory) return 1;
    float *wide = memory, *weights = memory + row_taps * padded;  // wide: a ring of stretched rows
    int32_t *first = (int32_t *)(weights + column_taps * padded);
    for (long x = 0; x < padded; x++) {
        const long from = left + (x < width ? x : width - 1);
        first[x] = (int32_t)column_first[from];
        for (long tap = 0; tap < column_taps; tap++)
            weights[tap * padded + x] = column_weights[from * column_taps + tap];
    }
    long made = row_first[top];
    for (long y = top; y < bottom; y++) {
        const long begin = row_first[y];
        if (made < begin) made = begin;
        for (; made < begin + row_taps; made++)
            stretch(wide + made % row_taps * padded, low + made * low_width, first, weights, column_taps, padded);
        uint8_t *to = out + (y - top) * stride;
        const float *rows[MOST_TAPS];
        __m512 share[MOST_TAPS];
        for (long tap = 0; tap < row_taps; tap++) {
            rows[tap] = wide + (begin + tap) % row_taps * padded;
            share[tap] = _mm512_set1_ps(row_weights[y * row_taps + tap]);
        }
        for (long x = 0; x < width; x += LANES) {
            __m512 sum = _mm512_setzero_ps();
            for (long tap = 0; tap < row_taps; tap++)
                sum = _mm512_fmadd_ps(share[tap], _mm512_loadu_ps(rows[tap] + x), sum);
            const __mmask16 inside = _mm512_cmp_ps_mask(sum, _mm512_setzero_ps(), _CMP_GT_OQ);
            const long rest = width - x;
            const __mmask16 kept = rest >= LANES ? 0xffff : (__mmask16)((1u << rest) - 1);
            _mm_mask_storeu_epi8(to + x, kept, _mm_maskz_set1_epi8(inside, 1));
        }
    }
    free(memory);
    return 0;
}
