// What one block of the bundled model's decoder does to image cells and what its tokens then find in them, in one
// pass over the cells: attend to the tokens (softmax over few), add, normalise, and answer the tokens' questions
// (softmax over cells, whose sums are put together by the caller). Before the first block the dense prompt joins, a
// product of low rank; after the last one the cells become finer features and are never written.

#include "exponential.h"
#include "gelu.h"

#include <string.h>

namespace {

constexpr int WIDTH = 128;             // of a cell
constexpr int VECTORS = WIDTH / LANES;
constexpr int MOST = 64;               // rows of tokens: heads times tokens
constexpr int TILE = 32;               // cells at once: with all that is made of them they stay near
constexpr int GROUP = 8;               // cells that share a load of the tokens' rows
constexpr int RANK = 64;               // most codes of the dense prompt
constexpr int FINE = WIDTH / 4;        // channels of each of the four quarters that a cell becomes

// The dense prompt: cells get the products of codes (rank, stride) and weights (rank, WIDTH).
struct Dense {
    const float *codes;
    long stride;
    const float *weights;
    long rank;
};

// offers (WIDTH, padded) of heads * tokens rows, bias (padded), gifts (heads * tokens, WIDTH); the norm's weight and
// bias (WIDTH).
struct Exchange {
    const float *offers, *bias, *gifts;
    long heads, tokens;
    const float *norm_weight, *norm_bias;
    float epsilon;
};

// weight (WIDTH, 4 * FINE) and skip (cells, 4 * FINE), whose every quarter has a mean of zero; the norm's weight and
// bias (FINE); to (2 * rows, 2 * columns, FINE).
struct Finer {
    const float *weight, *skip, *norm_weight, *norm_bias;
    float epsilon;
    long columns;
    float *to;
};

// sums[i] += left[i] times right (rows, WIDTH), for some cells i and V of a cell's vectors. The left number of a cell
// lies at `cell` steps, that of a row at `row`.
template <int CELLS, int V>
inline __attribute__((always_inline)) void add_products(__m512 (&sums)[CELLS][V], const float *left, long cell,
                                                        long row, const float *right, long rows) {
    for (long r = 0; r < rows; r++) {
        __m512 values[V];
        for (int v = 0; v < V; v++) values[v] = _mm512_loadu_ps(right + r * WIDTH + v * LANES);
#pragma GCC unroll 8
        for (int i = 0; i < CELLS; i++) {
            const __m512 number = _mm512_set1_ps(left[r * row + i * cell]);
            for (int v = 0; v < V; v++) sums[i][v] = _mm512_fmadd_ps(number, values[v], sums[i][v]);
        }
    }
}

// A tile's cells += left times right; left is (rows, TILE).
inline void add_to_tile(float *tile, const float *left, const float *right, long rows) {
    for (int at = 0; at < WIDTH; at += 2 * LANES)
        for (int first = 0; first < TILE; first += GROUP) {
            __m512 sums[GROUP][2];
            float *to = tile + first * WIDTH + at;
            for (int i = 0; i < GROUP; i++)
                for (int v = 0; v < 2; v++) sums[i][v] = _mm512_load_ps(to + i * WIDTH + v * LANES);
            add_products(sums, left + first, 1, TILE, right + at, rows);
            for (int i = 0; i < GROUP; i++)
                for (int v = 0; v < 2; v++) _mm512_store_ps(to + i * WIDTH + v * LANES, sums[i][v]);
        }
}

// to (TILE, V * LANES) = keys (TILE, WIDTH) times rows (WIDTH, V * LANES), plus bias.
template <int V>
void multiply(float *to, const float *keys, const float *rows, const float *bias) {
    for (int first = 0; first < TILE; first += GROUP) {
        __m512 sums[GROUP][V];
        for (int i = 0; i < GROUP; i++)
            for (int v = 0; v < V; v++) sums[i][v] = _mm512_loadu_ps(bias + v * LANES);
        const float *at = keys + first * WIDTH;
        for (int d = 0; d < WIDTH; d++) {
            __m512 right[V];
            for (int v = 0; v < V; v++) right[v] = _mm512_loadu_ps(rows + (d * V + v) * LANES);
#pragma GCC unroll 8
            for (int i = 0; i < GROUP; i++) {
                const __m512 left = _mm512_set1_ps(at[i * WIDTH + d]);
                for (int v = 0; v < V; v++) sums[i][v] = _mm512_fmadd_ps(left, right[v], sums[i][v]);
            }
        }
        for (int i = 0; i < GROUP; i++)
            for (int v = 0; v < V; v++) _mm512_storeu_ps(to + ((first + i) * V + v) * LANES, sums[i][v]);
    }
}

void multiply(int v, float *to, const float *keys, const float *rows, const float *bias) {
    if (v == 1) multiply<1>(to, keys, rows, bias);
    if (v == 2) multiply<2>(to, keys, rows, bias);
    if (v == 3) multiply<3>(to, keys, rows, bias);
    if (v == 4) multiply<4>(to, keys, rows, bias);
}

// weights (heads * tokens, TILE) from logits (TILE, v * LANES): softmax over the tokens of each head.
void weigh(float *weights, const float *logits, int v, int heads, int tokens) {
    const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i steps = _mm512_mullo_epi32(lanes, _mm512_set1_epi32(v * LANES));
    for (int first = 0; first < TILE; first += LANES)
        for (int head = 0; head < heads; head++) {
            const float *from = logits + first * v * LANES + head * tokens;
            float *to = weights + head * tokens * TILE + first;
            __m512 most = _mm512_set1_ps(-3e38f), sum = _mm512_setzero_ps();
            for (int t = 0; t < tokens; t++) {
                const __m512 value = _mm512_i32gather_ps(steps, from + t, 4);
                _mm512_storeu_ps(to + t * TILE, value);
                most = _mm512_max_ps(most, value);
            }
            for (int t = 0; t < tokens; t++) {
                const __m512 value = power_of_e(_mm512_sub_ps(_mm512_loadu_ps(to + t * TILE), most));
                _mm512_storeu_ps(to + t * TILE, value);
                sum = _mm512_add_ps(sum, value);
            }
            const __m512 share = _mm512_div_ps(_mm512_set1_ps(1.0f), sum);
            for (int t = 0; t < tokens; t++)
                _mm512_storeu_ps(to + t * TILE, _mm512_mul_ps(_mm512_loadu_ps(to + t * TILE), share));
        }
}

// A cell's layer norm.
inline void normalise(float *cell, const Exchange &with) {
    __m512 parts[VECTORS], sum = _mm512_setzero_ps(), squares = _mm512_setzero_ps();
    for (int k = 0; k < VECTORS; k++) {
        parts[k] = _mm512_load_ps(cell + k * LANES);
        sum = _mm512_add_ps(sum, parts[k]);
    }
    const __m512 mean = _mm512_set1_ps(_mm512_reduce_add_ps(sum) / WIDTH);
    for (int k = 0; k < VECTORS; k++) {
        parts[k] = _mm512_sub_ps(parts[k], mean);
        squares = _mm512_fmadd_ps(parts[k], parts[k], squares);
    }
    const float variance = _mm512_reduce_add_ps(squares) / WIDTH + with.epsilon;
    const __m512 factor = _mm512_set1_ps(1.0f / __builtin_sqrtf(variance));
    for (int k = 0; k < VECTORS; k++)
        _mm512_store_ps(cell + k * LANES, _mm512_fmadd_ps(_mm512_mul_ps(parts[k], factor),
                                                          _mm512_loadu_ps(with.norm_weight + k * LANES),
                                                          _mm512_loadu_ps(with.norm_bias + k * LANES)));
}

// Take a tile's cells into the running softmax over cells; logits (TILE, v * LANES) become weights.
void find(float *mixed, float *most, float *sums, float *logits, const float *cells, int v, int rows, int count) {
    for (int j = 0; j < v; j++) {
        const __m512 before = _mm512_loadu_ps(most + j * LANES);
        __m512 now = before;
        for (int i = 0; i < count; i++) now = _mm512_max_ps(now, _mm512_loadu_ps(logits + (i * v + j) * LANES));
        const __m512 factor = power_of_e(_mm512_sub_ps(before, now));
        const __mmask16 moved = _mm512_cmp_ps_mask(before, now, _CMP_NEQ_OQ);
        __m512 sum = _mm512_mul_ps(_mm512_loadu_ps(sums + j * LANES), factor);
        for (int i = 0; i < count; i++) {
            float *at = logits + (i * v + j) * LANES;
            const __m512 share = power_of_e(_mm512_sub_ps(_mm512_loadu_ps(at), now));
            _mm512_storeu_ps(at, share);
            sum = _mm512_add_ps(sum, share);
        }
        _mm512_storeu_ps(sums + j * LANES, sum);
        _mm512_storeu_ps(most + j * LANES, now);
        float factors[LANES];
        _mm512_storeu_ps(factors, factor);
        for (int lane = 0; lane < LANES && j * LANES + lane < rows; lane++)
            if (moved >> lane & 1)
                for (int d = 0; d < WIDTH; d++) mixed[(j * LANES + lane) * WIDTH + d] *= factors[lane];
    }
    for (int row = 0; row < rows; row += 4)  // up to three rows more than there are: they have room
        for (int at = 0; at < WIDTH; at += 4 * LANES) {
            __m512 found[4][4] = {};  // of this tile alone: one sum over all cells would round more
            add_products(found, logits + row, 1, v * LANES, cells + at, count);
            for (int i = 0; i < 4; i++)
                for (int k = 0; k < 4; k++) {
                    float *to = mixed + (row + i) * WIDTH + at + k * LANES;
                    _mm512_storeu_ps(to, _mm512_add_ps(_mm512_loadu_ps(to), found[i][k]));
                }
        }
}

// Some of a tile's cells become four finer places each: product, skip, layer norm and GELU.
inline void refine(const float *cells, long first, int count, const Finer &finer) {
    for (int quarter = 0; quarter < 4; quarter++) {
        __m512 sums[GROUP][FINE / LANES];
        for (int i = 0; i < GROUP; i++)
            for (int k = 0; k < FINE / LANES; k++)
                sums[i][k] = i < count ? _mm512_loadu_ps(finer.skip + (first + i) * WIDTH + quarter * FINE + k * LANES)
                                       : _mm512_setzero_ps();
        add_products(sums, cells, WIDTH, 1, finer.weight + quarter * FINE, WIDTH);
        alignas(64) float spread[LANES] = {};
        for (int i = 0; i < GROUP; i++) {
            __m512 squares = _mm512_setzero_ps();
            for (int k = 0; k < FINE / LANES; k++) squares = _mm512_fmadd_ps(sums[i][k], sums[i][k], squares);
            spread[i] = _mm512_reduce_add_ps(squares);
        }
        const __m512 variance = _mm512_fmadd_ps(_mm512_load_ps(spread), _mm512_set1_ps(1.0f / FINE),
                                                _mm512_set1_ps(finer.epsilon));
        _mm512_store_ps(spread, _mm512_div_ps(_mm512_set1_ps(1.0f), _mm512_sqrt_ps(variance)));
        for (int i = 0; i < count; i++) {
            const long row = (first + i) / finer.columns, column = (first + i) % finer.columns;
            float *to = finer.to + ((2 * row + quarter / 2) * 2 * finer.columns + 2 * column + quarter % 2) * FINE;
            const __m512 factor = _mm512_set1_ps(spread[i]);
            for (int k = 0; k < FINE / LANES; k++)
                _mm512_storeu_ps(to + k * LANES,
                                 gelu(_mm512_fmadd_ps(_mm512_mul_ps(sums[i][k], factor),
                                                      _mm512_loadu_ps(finer.norm_weight + k * LANES),
                                                      _mm512_loadu_ps(finer.norm_bias + k * LANES))));
        }
    }
}

}  // namespace

// from           (all, 128) the cells before; those from `first` to before `last` are taken.
// to             (all, 128) the cells after, or null; may be `from`.
// positions      (all, 128) added to cells where they are keys or queries.
// dense, finer   may be null.
// questions      (128, padded) of `asked` rows.
// mixed          (padded, 128) zeros; gets the sum of the cells, each times e^(logit - most).
// most, sums     (padded) very low, and zeros; get the largest logit and the sum of the weights.
// Padded is up to the next multiple of 16. Returns 1 where there are more than 64 rows or codes.
extern "C" int renew_cells(const float *from, float *to, const float *positions, long first, long last,
                           const Dense *dense, const Exchange *with, const Finer *finer, const float *questions,
                           long asked, float *mixed, float *most, float *sums) {
    const int rows = with->heads * with->tokens, v = (rows + LANES - 1) / LANES, u = (asked + LANES - 1) / LANES;
    if (rows > MOST || asked > MOST || dense && dense->rank > RANK) return 1;
    alignas(64) float keys[TILE * WIDTH], tile[TILE * WIDTH], logits[TILE * MOST], weights[MOST * TILE];
    alignas(64) float codes[RANK * TILE] = {};
    const float none[MOST] = {};
    for (int i = 0; i < TILE * WIDTH; i++) keys[i] = tile[i] = 0.0f;
    for (long at = first; at < last; at += TILE) {
        const int count = last - at < TILE ? last - at : TILE;
        const float *place = positions + at * WIDTH;
        for (int i = 0; i < count * WIDTH; i += LANES)
            _mm512_store_ps(tile + i, _mm512_loadu_ps(from + at * WIDTH + i));
        if (dense) {
            for (long r = 0; r < dense->rank; r++)
                memcpy(codes + r * TILE, dense->codes + r * dense->stride + at, count * sizeof(float));
            add_to_tile(tile, codes, dense->weights, dense->rank);
        }
        for (int i = 0; i < count * WIDTH; i += LANES)
            _mm512_store_ps(keys + i, _mm512_add_ps(_mm512_load_ps(tile + i), _mm512_loadu_ps(place + i)));
        multiply(v, logits, keys, with->offers, with->bias);
        weigh(weights, logits, v, with->heads, with->tokens);
        add_to_tile(tile, weights, with->gifts, rows);
        for (int i = 0; i < count; i++) normalise(tile + i * WIDTH, *with);
        for (int i = 0; i < count * WIDTH; i += LANES) {
            const __m512 cell = _mm512_load_ps(tile + i);
            if (to) _mm512_storeu_ps(to + at * WIDTH + i, cell);
            _mm512_store_ps(keys + i, _mm512_add_ps(cell, _mm512_loadu_ps(place + i)));
        }
        multiply(u, logits, keys, questions, none);
        find(mixed, most, sums, logits, tile, u, asked, count);
        if (finer)
            for (int i = 0; i < count; i += GROUP)
                refine(tile + i * WIDTH, at + i, count - i < GROUP ? count - i : GROUP, *finer);
    }
    return 0;
}
