// What the tokens of the bundled model's decoder find in an image before the first block, where keys and values of the
// image are known and the dense prompt, a product of low rank, is not: its codes are computed on the way. One pass over
// the cells; the sums of the softmax over cells are put together by the caller.

#include "gelu.h"

#include <string.h>

namespace {

constexpr int TILE = 256;              // cells at once: what is made of them stays in the second-level cache
constexpr int GROUP = 4;               // tokens that share a load of the keys
constexpr int MOST = 64;               // rows: heads times tokens, up to whole groups
constexpr int WIDTH = 16;              // of a head
constexpr int CODES = 8;               // codes at once
constexpr int RANK = 64;               // most codes

inline __mmask16 first_of(long count) {
    return count >= LANES ? 0xffff : count > 0 ? (__mmask16)((1u << count) - 1) : 0;
}

// to (rows, TILE) gets some cells of from (rows, all), and zeros. Rows that lie a power of two apart fall on the same
// few lines of a cache: next to one another they stay.
void take(float *to, const float *from, long rows, long all, long at, long count) {
    for (long row = 0; row < rows; row++)
        for (long part = 0; part < TILE; part += LANES)
            _mm512_storeu_ps(to + row * TILE + part,
                             _mm512_maskz_loadu_ps(first_of(count - part), from + row * all + at + part));
}

// codes (hidden, TILE): GELU of weight (hidden, given) times features (given, all) plus bias.
void encode(float *codes, const float *features, const float *weight, const float *bias, long hidden, long given,
            long all, long at, long count) {
    for (long part = 0; part < count; part += LANES) {
        const __mmask16 real = first_of(count - part);
        for (long row = 0; row < hidden; row++) {
            __m512 sum = _mm512_set1_ps(bias[row]);
            for (long i = 0; i < given; i++)
                sum = _mm512_fmadd_ps(_mm512_set1_ps(weight[row * given + i]),
                                      _mm512_maskz_loadu_ps(real, features + i * all + at + part), sum);
            _mm512_storeu_ps(codes + row * TILE + part, _mm512_maskz_mov_ps(real, gelu(sum)));
        }
    }
}

// Logits (GROUP, TILE) of some tokens of a head: queries times keys (WIDTH, TILE), folded times codes (rank, TILE).
void ask(float *logits, const float *queries, const float *keys, const float *folded, const float *codes, long rank,
         long count) {
    for (long part = 0; part < count; part += 2 * LANES) {
        __m512 sums[GROUP][2] = {};
        for (long d = 0; d < WIDTH + rank; d++) {
            const float *right = (d < WIDTH ? keys + d * TILE : codes + (d - WIDTH) * TILE) + part;
            const float *left = d < WIDTH ? queries + d : folded + (d - WIDTH);
            const long step = d < WIDTH ? WIDTH : rank;
            for (int t = 0; t < GROUP; t++)
                for (int k = 0; k < 2; k++)
                    sums[t][k] = _mm512_fmadd_ps(_mm512_set1_ps(left[t * step]), _mm512_loadu_ps(right + k * LANES),
                                                 sums[t][k]);
        }
        for (int t = 0; t < GROUP; t++)
            for (int k = 0; k < 2; k++) _mm512_storeu_ps(logits + t * TILE + part + k * LANES, sums[t][k]);
    }
}

// Logits (TILE) of a row become weights; returns by what the sums so far are to be multiplied.
float weigh(float *logits, float *most, float *sum, long count) {
    const float before = *most;
    __m512 largest = _mm512_set1_ps(before);
    for (long part = 0; part < count; part += LANES)
        largest = _mm512_mask_max_ps(largest, first_of(count - part), largest, _mm512_loadu_ps(logits + part));
    const float now = _mm512_reduce_max_ps(largest);
    __m512 added = _mm512_setzero_ps();
    for (long part = 0; part < TILE; part += LANES) {
        const __m512 weight = _mm512_maskz_mov_ps(
            first_of(count - part), power_of_e(_mm512_sub_ps(_mm512_loadu_ps(logits + part), _mm512_set1_ps(now))));
        _mm512_storeu_ps(logits + part, weight);
        added = _mm512_add_ps(added, weight);
    }
    const float factor = _mm512_cvtss_f32(power_of_e(_mm512_set1_ps(before - now)));
    *sum = *sum * factor + _mm512_reduce_add_ps(added);
    *most = now;
    return factor;
}

// mixed[t] = factor[t] * mixed[t] + weights (GROUP, TILE) times values (all, WIDTH); rows of `stride` numbers.
void mix_values(float *mixed, const float *weights, const float *factors, const float *values, long stride, long at,
                long count) {
    __m512 sums[GROUP] = {};
    for (long i = 0; i < count; i++) {
        const __m512 value = _mm512_loadu_ps(values + (at + i) * WIDTH);
        for (int t = 0; t < GROUP; t++)
            sums[t] = _mm512_fmadd_ps(_mm512_set1_ps(weights[t * TILE + i]), value, sums[t]);
    }
    for (int t = 0; t < GROUP; t++) {
        float *to = mixed + t * stride;
        _mm512_storeu_ps(to, _mm512_fmadd_ps(_mm512_loadu_ps(to), _mm512_set1_ps(factors[t]), sums[t]));
    }
}

// mixed[r] = factor * mixed[r] + weights (TILE) times codes (rank, TILE).
void mix_codes(float *mixed, const float *weights, float factor, const float *codes, long rank) {
    for (long first = 0; first < rank; first += CODES) {
        const int some = rank - first < CODES ? rank - first : CODES;
        __m512 sums[CODES] = {};
        for (long part = 0; part < TILE; part += LANES) {
            const __m512 weight = _mm512_loadu_ps(weights + part);
            for (int i = 0; i < CODES; i++)  // those of rows that are too many are never read
                sums[i] = _mm512_fmadd_ps(weight, _mm512_loadu_ps(codes + (first + i) * TILE + part), sums[i]);
        }
        for (int i = 0; i < some; i++)
            mixed[first + i] = factor * mixed[first + i] + _mm512_reduce_add_ps(sums[i]);
    }
}

}  // namespace

// features       (given, all) of the dense prompt, weight (hidden, given) and bias (hidden) of its first layer.
// codes          (rank, all); the first `hidden` rows are written, the others are there.
// keys, values   (heads, 16, all) and (heads, all, 16).
// queries        (heads, tokens, 16), folded (heads, tokens, rank); tokens is a multiple of 4.
// mixed          (heads, tokens, 16 + rank) zeros; gets the sums of values and of codes, each times e^(logit - most).
// most, sums     (heads, tokens) very low, and zeros; get the largest logit and the sum of the weights.
// Returns 1 where there are more than 64 tokens of all heads together, or codes.
extern "C" int ask_first(const float *features, const float *weight, const float *bias, long given, long hidden,
                         float *codes, long rank, const float *keys, const float *values, long all, const float *queries,
                         const float *folded, long heads, long tokens, long first, long last, float *mixed, float *most,
                         float *sums) {
    if (heads * tokens > MOST || tokens % GROUP || rank > RANK) return 1;
    const long stride = WIDTH + rank;
    alignas(64) float logits[GROUP * TILE] = {}, near_codes[RANK * TILE] = {}, near_keys[WIDTH * TILE];
    for (long at = first; at < last; at += TILE) {
        const long count = last - at < TILE ? last - at : TILE;
        encode(near_codes, features, weight, bias, hidden, given, all, at, count);
        for (long row = 0; row < hidden; row++)
            memcpy(codes + row * all + at, near_codes + row * TILE, count * sizeof(float));
        take(near_codes + hidden * TILE, codes + hidden * all, rank - hidden, all, at, count);
        for (long row = 0; row < heads * tokens; row += GROUP) {
            const long head = row / tokens;
            if (row % tokens == 0) take(near_keys, keys + head * WIDTH * all, WIDTH, all, at, count);
            ask(logits, queries + row * WIDTH, near_keys, folded + row * rank, near_codes, rank, count);
            float factors[GROUP];
            for (int t = 0; t < GROUP; t++)
                factors[t] = weigh(logits + t * TILE, most + row + t, sums + row + t, count);
            mix_values(mixed + row * stride, logits, factors, values + head * all * WIDTH, stride, at, count);
            for (int t = 0; t < GROUP; t++)
                mix_codes(mixed + (row + t) * stride + WIDTH, logits + t * TILE, factors[t], near_codes, rank);
        }
    }
    return 0;
}
