// What one block of the bundled model's decoder does to image cells and what its tokens then find in them, in one
// pass over the cells: attend to the tokens (softmax over few), add, normalise, and answer the tokens' questions
// (softmax over cells, whose sums are put together by the caller).

#include <immintrin.h>
#include <stdint.h>

namespace {

constexpr int LANES = 16;
constexpr int WIDTH = 128;             // of a cell
constexpr int VECTORS = WIDTH / LANES;
constexpr int MOST = 64;               // rows of tokens: heads times tokens
constexpr int TILE = 32;               // cells at once: with all that is made of them they stay near
constexpr int GROUP = 8;               // cells that share a load of the tokens' rows
constexpr float LOG2_E = 1.44269504088896f;
constexpr float LOG2_E_REST = 1.92596299e-8f;  // what float leaves of it

// e^x for x up to 0; relative error 1e-7.
inline __m512 power_of_e(__m512 x) {
    x = _mm512_max_ps(x, _mm512_set1_ps(-97.0f));
    const __m512 whole = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(LOG2_E)), 8);
    // In two steps: rounding the product would cost x times a relative 6e-8.
    __m512 rest = _mm512_fmsub_ps(x, _mm512_set1_ps(LOG2_E), whole);
    rest = _mm512_fmadd_ps(x, _mm512_set1_ps(LOG2_E_REST), rest);
    __m512 sum = _mm512_set1_ps(1.5337577e-4f);
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(1.3399860e-3f));
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(9.6185195e-3f));
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(5.5503290e-2f));
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(2.4022647e-1f));
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(6.9314721e-1f));
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(sum, whole);
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

// Two cells: add their weights times gifts (rows, WIDTH), normalise.
inline void settle(float *cells, const float *weights, const float *gifts, int rows, const float *weight,
                   const float *bias, float epsilon) {
    __m512 sums[2][VECTORS];
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < VECTORS; k++) sums[i][k] = _mm512_loadu_ps(cells + i * WIDTH + k * LANES);
    for (int row = 0; row < rows; row++) {
        const __m512 one = _mm512_set1_ps(weights[row * TILE]), other = _mm512_set1_ps(weights[row * TILE + 1]);
#pragma GCC unroll 8
        for (int k = 0; k < VECTORS; k++) {
            const __m512 gift = _mm512_loadu_ps(gifts + row * WIDTH + k * LANES);
            sums[0][k] = _mm512_fmadd_ps(one, gift, sums[0][k]);
            sums[1][k] = _mm512_fmadd_ps(other, gift, sums[1][k]);
        }
    }
    for (int i = 0; i < 2; i++) {
        __m512 sum = sums[i][0], squares = _mm512_setzero_ps();
        for (int k = 1; k < VECTORS; k++) sum = _mm512_add_ps(sum, sums[i][k]);
        const __m512 mean = _mm512_set1_ps(_mm512_reduce_add_ps(sum) / WIDTH);
        for (int k = 0; k < VECTORS; k++) {
            sums[i][k] = _mm512_sub_ps(sums[i][k], mean);
            squares = _mm512_fmadd_ps(sums[i][k], sums[i][k], squares);
        }
        const float variance = _mm512_reduce_add_ps(squares) / WIDTH + epsilon;
        const __m512 factor = _mm512_set1_ps(1.0f / __builtin_sqrtf(variance));
        for (int k = 0; k < VECTORS; k++)
            _mm512_storeu_ps(cells + i * WIDTH + k * LANES,
                             _mm512_fmadd_ps(_mm512_mul_ps(sums[i][k], factor), _mm512_loadu_ps(weight + k * LANES),
                                             _mm512_loadu_ps(bias + k * LANES)));
    }
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
    for (int row = 0; row < rows; row += 2) {  // one row more than there are is harmless: it has room
        __m512 found[2][VECTORS];  // of this tile alone: one sum over all cells would round more
        for (int i = 0; i < 2; i++)
            for (int k = 0; k < VECTORS; k++) found[i][k] = _mm512_setzero_ps();
        for (int i = 0; i < count; i++) {
            const float *shares = logits + i * v * LANES + row;
            const __m512 one = _mm512_set1_ps(shares[0]), other = _mm512_set1_ps(shares[1]);
#pragma GCC unroll 8
            for (int k = 0; k < VECTORS; k++) {
                const __m512 cell = _mm512_loadu_ps(cells + i * WIDTH + k * LANES);
                found[0][k] = _mm512_fmadd_ps(one, cell, found[0][k]);
                found[1][k] = _mm512_fmadd_ps(other, cell, found[1][k]);
            }
        }
        for (int i = 0; i < 2; i++)
            for (int k = 0; k < VECTORS; k++) {
                float *to = mixed + (row + i) * WIDTH + k * LANES;
                _mm512_storeu_ps(to, _mm512_add_ps(_mm512_loadu_ps(to), found[i][k]));
            }
    }
}

}  // namespace

// from, to       (cells, 128) the cells before and after; may be the same.
// positions      (cells, 128) added to cells where they are keys or queries.
// offers         (128, padded) of heads * tokens rows, and bias (padded); gifts (heads * tokens, 128).
// weight, norm   (128) of the layer norm.
// questions      (128, padded) of `asked` rows.
// mixed          (padded, 128) zeros; gets the sum of the cells, each times e^(logit - most).
// most, sums     (padded) -infinity (or very low) and zeros; get the largest logit and the sum of the weights.
// Padded is up to the next multiple of 16. Returns 1 where there are more than 64 rows.
extern "C" int renew_cells(const float *from, float *to, const float *positions, long cells, const float *offers,
                           const float *bias, const float *gifts, long heads, long tokens, const float *weight,
                           const float *norm, float epsilon, const float *questions, long asked, float *mixed,
                           float *most, float *sums) {
    const int rows = heads * tokens, v = (rows + LANES - 1) / LANES, u = (asked + LANES - 1) / LANES;
    if (rows > MOST || asked > MOST) return 1;
    alignas(64) float keys[TILE * WIDTH], tile[TILE * WIDTH], logits[TILE * MOST], weights[MOST * TILE];
    const float none[MOST] = {};
    for (int i = 0; i < TILE * WIDTH; i++) keys[i] = tile[i] = 0.0f;
    for (long first = 0; first < cells; first += TILE) {
        const int count = cells - first < TILE ? cells - first : TILE;
        const float *place = positions + first * WIDTH;
        for (int i = 0; i < count * WIDTH; i += LANES) {
            const __m512 cell = _mm512_loadu_ps(from + first * WIDTH + i);
            _mm512_store_ps(tile + i, cell);
            _mm512_store_ps(keys + i, _mm512_add_ps(cell, _mm512_loadu_ps(place + i)));
        }
        multiply(v, logits, keys, offers, bias);
        weigh(weights, logits, v, heads, tokens);
        for (int i = 0; i < TILE; i += 2) settle(tile + i * WIDTH, weights + i, gifts, rows, weight, norm, epsilon);
        for (int i = 0; i < count * WIDTH; i += LANES) {
            const __m512 cell = _mm512_load_ps(tile + i);
            _mm512_storeu_ps(to + first * WIDTH + i, cell);
            _mm512_store_ps(keys + i, _mm512_add_ps(cell, _mm512_loadu_ps(place + i)));
        }
        multiply(u, logits, keys, questions, none);
        find(mixed, most, sums, logits, tile, u, asked, count);
    }
    return 0;
}
