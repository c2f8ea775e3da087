// What one block of a two-way decoder does to image cells and what its tokens then find in them, in one pass over the
// cells: attend to the tokens (softmax over few), add, normalise, and answer the tokens' questions (softmax over cells,
// whose sums are put together by the caller). For the bundled model the dense prompt, a product of low rank, may join
// before, and the cells may become finer features that are all that is written.

#include "gelu.h"

namespace {

constexpr int MOST = 128;              // rows of tokens: heads times tokens
constexpr int RANK = 64;               // most codes of the dense prompt

// The dense prompt: cells get the products of codes (rank, stride) and weights (rank, width).
struct Dense {
    const float *codes;
    long stride;
    const float *weights;
    long rank;
};

// offers (width, padded) of heads * tokens rows, gifts (heads * tokens, width), both in pairs down a column; bias
// (padded); the norm's weight and bias (width).
struct Exchange {
    const void *offers;
    const float *bias;
    const void *gifts;
    long heads, tokens;
    const float *norm_weight, *norm_bias;
    float epsilon;
};

// weight (width, width) and skip (cells, width) of four quarters, each with a mean of zero; the norm's weight and bias
// (width / 4); to (2 * rows, 2 * columns, width / 4).
struct Finer {
    const float *weight, *skip, *norm_weight, *norm_bias;
    float epsilon;
    long columns;
    float *to;
};

// sums[i] += left[i] times right, for some cells i and V vectors of a row of right. The left pair of a cell lies at
// `cell` steps, that of a row at `row`; a row of right is `width` pairs long.
template <int CELLS, int V, class Number>
inline __attribute__((always_inline)) void add_products(__m512 (&sums)[CELLS][V], const Number *left, long cell,
                                                        long row, const Number *right, long width, long rows) {
    typedef Format<Number> F;
    for (long r = 0; r < rows; r++) {
        decltype(F::load(right)) values[V];
        for (int v = 0; v < V; v++) values[v] = F::load(right + (r * width + v * LANES) * F::PAIR);
#pragma GCC unroll 8
        for (int i = 0; i < CELLS; i++) {
            const auto number = F::spread(left + (r * row + i * cell) * F::PAIR);
            for (int v = 0; v < V; v++) sums[i][v] = F::product(sums[i][v], number, values[v]);
        }
    }
}

template <class Number, int WIDTH> struct Tile {
    typedef Format<Number> F;
    static constexpr int CELLS = 4096 / WIDTH;  // with all that is made of them they stay near
    static constexpr int PARTS = WIDTH / LANES;
    static constexpr int GROUP = 8;             // cells that share a load of the rows' numbers
    static constexpr int FINE = WIDTH / 4;      // channels of the four quarters that a cell becomes

    alignas(64) float cells[CELLS * WIDTH];
    alignas(64) float logits[CELLS * MOST];
    alignas(64) float weights[MOST * CELLS];
    alignas(64) float codes[RANK * CELLS];
    alignas(64) Number keys[CELLS * WIDTH];
    alignas(64) Number pairs[CELLS * WIDTH];          // cells, in pairs down a column
    alignas(64) Number shares[CELLS * MOST];          // of cells or of rows, likewise

    void clear() {
        memset(this, 0, sizeof *this);
    }

    // cells += left times right; left (rows, CELLS), both in pairs down a column.
    template <class N> void add(const N *left, const N *right, long rows) {
        for (int at = 0; at < WIDTH; at += 2 * LANES)
            for (int first = 0; first < CELLS; first += GROUP) {
                __m512 sums[GROUP][2];
                float *to = cells + first * WIDTH + at;
                for (int i = 0; i < GROUP; i++)
                    for (int v = 0; v < 2; v++) sums[i][v] = _mm512_load_ps(to + i * WIDTH + v * LANES);
                add_products(sums, left + first * Format<N>::PAIR, 1, CELLS, right + at * Format<N>::PAIR, WIDTH, rows);
                for (int i = 0; i < GROUP; i++)
                    for (int v = 0; v < 2; v++) _mm512_store_ps(to + i * WIDTH + v * LANES, sums[i][v]);
            }
    }

    // logits (CELLS, V * LANES) = keys times rows (WIDTH, V * LANES), plus bias.
    template <int V> void multiply(const Number *rows, const float *bias) {
        constexpr int SOME = V <= 2 ? 8 : V <= 4 ? 4 : 2;
        for (int first = 0; first < CELLS; first += SOME) {
            __m512 sums[SOME][V];
            for (int i = 0; i < SOME; i++)
                for (int v = 0; v < V; v++) sums[i][v] = _mm512_loadu_ps(bias + v * LANES);
            add_products(sums, keys + first * WIDTH, WIDTH / F::PAIR, 1, rows, V * LANES, WIDTH / F::PAIR);
            for (int i = 0; i < SOME; i++)
                for (int v = 0; v < V; v++) _mm512_store_ps(logits + ((first + i) * V + v) * LANES, sums[i][v]);
        }
    }

    void multiply(int v, const Number *rows, const float *bias) {
        if (v == 1) multiply<1>(rows, bias);
        if (v == 2) multiply<2>(rows, bias);
        if (v == 3) multiply<3>(rows, bias);
        if (v == 4) multiply<4>(rows, bias);
        if (v == 5) multiply<5>(rows, bias);
        if (v == 6) multiply<6>(rows, bias);
        if (v == 7) multiply<7>(rows, bias);
        if (v == 8) multiply<8>(rows, bias);
    }

    // weights (heads * tokens, CELLS) from logits (CELLS, v * LANES): softmax over the tokens of each head; shares are
    // the same in pairs.
    void weigh(int v, int heads, int tokens) {
        const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
        const __m512i steps = _mm512_mullo_epi32(lanes, _mm512_set1_epi32(v * LANES));
        for (int first = 0; first < CELLS; first += LANES)
            for (int head = 0; head < heads; head++) {
                const float *from = logits + first * v * LANES + head * tokens;
                float *to = weights + head * tokens * CELLS + first;
                __m512 most = _mm512_set1_ps(-3e38f), sum = _mm512_setzero_ps();
                for (int t = 0; t < tokens; t++) {
                    const __m512 value = _mm512_i32gather_ps(steps, from + t, 4);
                    _mm512_store_ps(to + t * CELLS, value);
                    most = _mm512_max_ps(most, value);
                }
                for (int t = 0; t < tokens; t++) {
                    const __m512 value = power_of_e(_mm512_sub_ps(_mm512_load_ps(to + t * CELLS), most));
                    _mm512_store_ps(to + t * CELLS, value);
                    sum = _mm512_add_ps(sum, value);
                }
                const __m512 share = _mm512_div_ps(_mm512_set1_ps(1.0f), sum);
                for (int t = 0; t < tokens; t++)
                    _mm512_store_ps(to + t * CELLS, _mm512_mul_ps(_mm512_load_ps(to + t * CELLS), share));
            }
        const int rows = (heads * tokens + F::PAIR - 1) / F::PAIR * F::PAIR;
        for (int row = 0; row < rows; row += F::PAIR)
            for (int first = 0; first < CELLS; first += LANES) {
                __m512 some[F::PAIR];
                for (int i = 0; i < F::PAIR; i++)
                    some[i] = row + i < heads * tokens ? _mm512_load_ps(weights + (row + i) * CELLS + first)
                                                       : _mm512_setzero_ps();
                F::pair(shares + row * CELLS + first * F::PAIR, some);
            }
    }

    void normalise(float *cell, const Exchange &with) {
        __m512 parts[PARTS], sum = _mm512_setzero_ps(), squares = _mm512_setzero_ps();
        for (int k = 0; k < PARTS; k++) {
            parts[k] = _mm512_load_ps(cell + k * LANES);
            sum = _mm512_add_ps(sum, parts[k]);
        }
        const __m512 mean = _mm512_set1_ps(_mm512_reduce_add_ps(sum) / WIDTH);
        for (int k = 0; k < PARTS; k++) {
            parts[k] = _mm512_sub_ps(parts[k], mean);
            squares = _mm512_fmadd_ps(parts[k], parts[k], squares);
        }
        const float variance = _mm512_reduce_add_ps(squares) / WIDTH + with.epsilon;
        const __m512 factor = _mm512_set1_ps(1.0f / __builtin_sqrtf(variance));
        for (int k = 0; k < PARTS; k++)
            _mm512_store_ps(cell + k * LANES, _mm512_fmadd_ps(_mm512_mul_ps(parts[k], factor),
                                                              _mm512_loadu_ps(with.norm_weight + k * LANES),
                                                              _mm512_loadu_ps(with.norm_bias + k * LANES)));
    }

    // Take the cells into the running softmax over cells; logits (CELLS, v * LANES) become weights.
    void find(float *mixed, float *most, float *sums, int v, int rows, int count) {
        for (int i = count * v * LANES; i < (count + F::PAIR - 1) / F::PAIR * F::PAIR * v * LANES; i++)
            logits[i] = -3e38f;  // what makes up a pair weighs nothing
        for (int j = 0; j < v; j++) {
            const __m512 before = _mm512_loadu_ps(most + j * LANES);
            __m512 now = before;
            for (int i = 0; i < count; i++) now = _mm512_max_ps(now, _mm512_load_ps(logits + (i * v + j) * LANES));
            const __m512 factor = power_of_e(_mm512_sub_ps(before, now));
            const __mmask16 moved = _mm512_cmp_ps_mask(before, now, _CMP_NEQ_OQ);
            __m512 sum = _mm512_mul_ps(_mm512_loadu_ps(sums + j * LANES), factor);
            for (int i = 0; i < count; i += F::PAIR) {
                __m512 some[F::PAIR];
                for (int k = 0; k < F::PAIR; k++) {
                    some[k] = power_of_e(_mm512_sub_ps(_mm512_load_ps(logits + ((i + k) * v + j) * LANES), now));
                    if (i + k < count) sum = _mm512_add_ps(sum, some[k]);
                }
                F::pair(shares + (i * v + j * F::PAIR) * LANES, some);
            }
            _mm512_storeu_ps(sums + j * LANES, sum);
            _mm512_storeu_ps(most + j * LANES, now);
            float factors[LANES];
            _mm512_storeu_ps(factors, factor);
            for (int lane = 0; lane < LANES && j * LANES + lane < rows; lane++)
                if (moved >> lane & 1)
                    for (int d = 0; d < WIDTH; d++) mixed[(j * LANES + lane) * WIDTH + d] *= factors[lane];
        }
        for (int i = 0; i < count; i += F::PAIR)
            for (int k = 0; k < PARTS; k++) {
                __m512 some[F::PAIR];
                for (int p = 0; p < F::PAIR; p++) some[p] = _mm512_load_ps(cells + (i + p) * WIDTH + k * LANES);
                F::pair(pairs + i * WIDTH + k * LANES * F::PAIR, some);
            }
        for (int row = 0; row < rows; row += 4)  // up to three rows more than there are: they have room
            for (int at = 0; at < WIDTH; at += 4 * LANES) {
                __m512 found[4][4] = {};  // of this tile alone: one sum over all cells would round more
                add_products(found, shares + row * F::PAIR, 1, v * LANES, pairs + at * F::PAIR, WIDTH,
                             (count + F::PAIR - 1) / F::PAIR);
                for (int i = 0; i < 4; i++)
                    for (int k = 0; k < 4; k++) {
                        float *to = mixed + (row + i) * WIDTH + at + k * LANES;
                        _mm512_storeu_ps(to, _mm512_add_ps(_mm512_loadu_ps(to), found[i][k]));
                    }
            }
    }

    // Some of the cells, of which the first is that of the grid's `first`, become four finer places each.
    void refine(const float *some, long first, int count, const Finer &finer) {
        constexpr int V = FINE / LANES;
        for (int quarter = 0; quarter < 4; quarter++) {
            __m512 sums[GROUP][V];
            for (int i = 0; i < GROUP; i++)
                for (int k = 0; k < V; k++)
                    sums[i][k] = i < count ? _mm512_loadu_ps(finer.skip + (first + i) * WIDTH + quarter * FINE + k * LANES)
                                           : _mm512_setzero_ps();
            add_products(sums, some, WIDTH, 1, finer.weight + quarter * FINE, WIDTH, WIDTH);
            alignas(64) float spread[LANES] = {};
            for (int i = 0; i < GROUP; i++) {
                __m512 squares = _mm512_setzero_ps();
                for (int k = 0; k < V; k++) squares = _mm512_fmadd_ps(sums[i][k], sums[i][k], squares);
                spread[i] = _mm512_reduce_add_ps(squares);
            }
            const __m512 variance =
                _mm512_fmadd_ps(_mm512_load_ps(spread), _mm512_set1_ps(1.0f / FINE), _mm512_set1_ps(finer.epsilon));
            _mm512_store_ps(spread, _mm512_div_ps(_mm512_set1_ps(1.0f), _mm512_sqrt_ps(variance)));
            for (int i = 0; i < count; i++) {
                const long row = (first + i) / finer.columns, column = (first + i) % finer.columns;
                float *to = finer.to + ((2 * row + quarter / 2) * 2 * finer.columns + 2 * column + quarter % 2) * FINE;
                const __m512 factor = _mm512_set1_ps(spread[i]);
                for (int k = 0; k < V; k++)
                    _mm512_storeu_ps(to + k * LANES,
                                     gelu(_mm512_fmadd_ps(_mm512_mul_ps(sums[i][k], factor),
                                                          _mm512_loadu_ps(finer.norm_weight + k * LANES),
                                                          _mm512_loadu_ps(finer.norm_bias + k * LANES))));
            }
        }
    }

    // keys = cells plus positions, and the cells to `to` where it is not null.
    void place(const Number *positions, Number *to, int count) {
        for (int i = 0; i < count * WIDTH; i += LANES) {
            const __m512 cell = _mm512_load_ps(cells + i);
            if (to) store(to + i, cell);
            store(keys + i, _mm512_add_ps(cell, load(positions + i)));
        }
    }

    void renew(const Number *from, Number *to, const Number *positions, long at, int count, const Dense *dense,
               const Exchange &with) {
        for (int i = 0; i < count * WIDTH; i += LANES) _mm512_store_ps(cells + i, load(from + at * WIDTH + i));
        if (dense) {
            for (long r = 0; r < dense->rank; r++)
                memcpy(codes + r * CELLS, dense->codes + r * dense->stride + at, count * sizeof(float));
            add(codes, dense->weights, dense->rank);
        }
        place(positions + at * WIDTH, nullptr, count);
        const int rows = with.heads * with.tokens, v = (rows + LANES - 1) / LANES;
        multiply(v, (const Number *)with.offers, with.bias);
        weigh(v, with.heads, with.tokens);
        add(shares, (const Number *)with.gifts, (rows + F::PAIR - 1) / F::PAIR);
        for (int i = 0; i < count; i++) normalise(cells + i * WIDTH, with);
        place(positions + at * WIDTH, to ? to + at * WIDTH : nullptr, count);
    }
};

template <class Number, int WIDTH>
int pass_over(const Number *from, Number *to, const Number *positions, long first, long last, const Dense *dense,
              const Exchange &with, const Finer *finer, const Number *questions, long asked, float *mixed, float *most,
              float *sums) {
    if (with.heads * with.tokens > MOST || asked > MOST || dense && dense->rank > RANK) return 1;
    typedef Tile<Number, WIDTH> T;
    const float none[MOST] = {};
    const int v = (asked + LANES - 1) / LANES;
    T tile;
    tile.clear();
    for (long at = first; at < last; at += T::CELLS) {
        const int count = last - at < T::CELLS ? last - at : T::CELLS;
        tile.renew(from, to, positions, at, count, dense, with);
        tile.multiply(v, questions, none);
        tile.find(mixed, most, sums, v, asked, count);
        if (finer)
            for (int i = 0; i < count; i += T::GROUP)
                tile.refine(tile.cells + i * WIDTH, at + i, count - i < T::GROUP ? count - i : T::GROUP, *finer);
    }
    return 0;
}

}  // namespace

// from           (all, width) the cells before; those from `first` to before `last` are taken.
// to             (all, width) the cells after, or null; may be `from`.
// positions      (all, width) added to cells where they are keys or queries.
// width          128 or 256; bfloat16: 256.
// dense, finer   may be null; finer only with a width of 128.
// questions      (width, padded) of `asked` rows, in pairs down a column.
// mixed          (padded, width) zeros; gets the sum of the cells, each times e^(logit - most).
// most, sums     (padded) very low, and zeros; get the largest logit and the sum of the weights.
// Padded is up to the next multiple of 16. Returns 1 where there are more than 128 rows, 64 codes, or another width.
extern "C" int renew_cells_float(const float *from, float *to, const float *positions, long width, long first, long last,
                                 const Dense *dense, const Exchange *with, const Finer *finer, const float *questions,
                                 long asked, float *mixed, float *most, float *sums) {
    if (width == 128)
        return pass_over<float, 128>(from, to, positions, first, last, dense, *with, finer, questions, asked, mixed, most, sums);
    if (width == 256 && !finer)
        return pass_over<float, 256>(from, to, positions, first, last, dense, *with, nullptr, questions, asked, mixed, most, sums);
    return 1;
}

#ifdef __AVX512BF16__
extern "C" int renew_cells_bfloat16(const bfloat16 *from, bfloat16 *to, const bfloat16 *positions, long width, long first,
                                    long last, const Dense *dense, const Exchange *with, const Finer *finer,
                                    const bfloat16 *questions, long asked, float *mixed, float *most, float *sums) {
    if (width != 256 || finer) return 1;
    return pass_over<bfloat16, 256>(from, to, positions, first, last, dense, *with, nullptr, questions, asked, mixed, most, sums);
}
#endif
