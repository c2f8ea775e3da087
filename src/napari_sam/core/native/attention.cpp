// Attention of SAM's image encoder with its decomposed position bias, for CPUs with AVX-512.
//
// One pass over the keys for a tile of queries: logits, softmax and the weighted sum of the values stay in
// registers and the first-level cache. Keys lie in rows of 16 places (padded), so that one vector of logits
// has one row's bias (a scalar) and a vector of columns' biases; no bias matrix is ever formed.
//
// Number formats: float (float products) and bfloat16 (products of pairs, sums in float).
// Needs no library, not even the C++ one: Python hands out the work and brings the threads.

#include "exponential.h"
#include "number.h"

#include <stdlib.h>
#include <string.h>

namespace {

constexpr int STEP = 4;                // vectors of keys at once
constexpr int KEYS = STEP * LANES;     // keys at once: with their values they stay in the L1 cache
constexpr int BLOCKS = 8;              // blocks of queries that share a step's keys; 3 to 6 are a quarter slower in float
constexpr float ROOM = 30.0f;          // how far logits (of base 2) may pass their reference before it moves
constexpr float LOG2_E = 1.44269504088896f;

// 2^x for x below 100; 0 for -infinity. Relative error 1e-7, or 8e-5 where bfloat16 is to follow.
// Polynomials: least squares of the relative error over half a unit on either side of 0.
template <bool COARSE> inline __m512 power_of_two(__m512 x) {
    x = _mm512_max_ps(x, _mm512_set1_ps(-200.0f));
    const __m512 whole = _mm512_roundscale_ps(x, 8);
    const __m512 rest = _mm512_sub_ps(x, whole);
    __m512 sum;
    if (COARSE) {
        sum = _mm512_set1_ps(5.5088680e-2f);
        sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(2.4260405e-1f));
        sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(6.9327624e-1f));
        sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(9.9992894e-1f));
    } else {
        sum = power_of_two_near_one(rest);
    }
    return _mm512_scalef_ps(sum, whole);
}

// sums[i][v] += the product of row i with `count` rows of a packed matrix of V vectors a row.
template <class Number, int ROWS, int V>
inline __attribute__((always_inline)) void multiply(
    __m512 (&sums)[ROWS][V], const Number *const *rows, const Number *matrix, int count) {
    typedef Format<Number> F;
    for (int p = 0; p < count; p++) {
        decltype(F::load(matrix)) right[V];
        for (int v = 0; v < V; v++)
            right[v] = F::load(matrix + (p * V + v) * LANES * F::PAIR);
        for (int i = 0; i < ROWS; i++) {
            const auto left = F::spread(rows[i] + p * F::PAIR);
            for (int v = 0; v < V; v++) sums[i][v] = F::product(sums[i][v], left, right[v]);
        }
    }
}

struct Shape {
    long heads, width;           // width of a head
    long rows, columns;          // of the grid of keys
    long padded;                 // columns, up to whole vectors
    long steps;                  // of KEYS keys
    long distances;              // rows of both tables together
    long chunks;                 // of KEYS distances
    float scale;
};

// Everything that one thread needs, in one piece of memory.
template <class Number> struct Workspace {
    Number *keys, *values, *tables, *weights, *queries;
    float *places, *attended, *sums, *reference;
    void *memory;
};

inline size_t rounded(size_t bytes) { return (bytes + 63) / 64 * 64; }

template <class Number>
bool reserve(Workspace<Number> &space, const Shape &shape, long queries) {
    const size_t number = sizeof(Number), width = shape.width;
    const size_t sizes[] = {
        rounded(number * shape.steps * KEYS * width), rounded(number * shape.steps * KEYS * width),
        rounded(number * shape.chunks * KEYS * width), rounded(number * queries * KEYS),
        rounded(number * queries * width), rounded(4 * queries * (shape.chunks * KEYS + KEYS)),
        rounded(4 * queries * width), rounded(4 * queries * LANES), rounded(4 * queries)};
    size_t total = 0;
    for (size_t size : sizes) total += size;
    char *at = (char *)aligned_alloc(64, total);
    space.memory = at;
    if (!at) return false;
    space.keys = (Number *)at;
    space.values = (Number *)(at += sizes[0]);
    space.tables = (Number *)(at += sizes[1]);
    space.weights = (Number *)(at += sizes[2]);
    space.queries = (Number *)(at += sizes[3]);
    space.places = (float *)(at += sizes[4]);
    space.attended = (float *)(at += sizes[5]);
    space.sums = (float *)(at += sizes[6]);
    space.reference = (float *)(at += sizes[7]);
    return true;
}

// Rows of numbers -> [chunk][pair][KEYS places][PAIR], as products want their right side.
template <class Number>
void pack_rows(Number *to, const Number *const *rows, long count, long width) {
    constexpr int PAIR = Format<Number>::PAIR;
    const long chunks = (count + KEYS - 1) / KEYS;
    for (long chunk = 0; chunk < chunks; chunk++)
        for (long place = 0; place < KEYS; place++) {
            const long row = chunk * KEYS + place;
            Number *out = to + chunk * KEYS * width + place * PAIR;
            for (long pair = 0; pair < width / PAIR; pair++)
                for (int i = 0; i < PAIR; i++)
                    out[pair * KEYS * PAIR + i] =
                        row < count && rows[row] ? rows[row][pair * PAIR + i] : Format<Number>::zero();
        }
}

// Rows of numbers -> [pair of rows][width][PAIR].
template <class Number>
void pack_columns(Number *to, const Number *const *rows, long count, long width) {
    constexpr int PAIR = Format<Number>::PAIR;
    for (long row = 0; row < count; row++) {
        Number *out = to + row / PAIR * PAIR * width + row % PAIR;
        for (long i = 0; i < width; i++)
            out[i * PAIR] = rows[row] ? rows[row][i] : Format<Number>::zero();
    }
}

// Queries of one window (or the whole grid) and one head, against all keys of it.
template <class Number, int ROWS, int V>
struct Attend {
    typedef Format<Number> F;
    static constexpr int TILE = ROWS * BLOCKS;

    const Shape &shape;
    Workspace<Number> &space;

    // Biases of a block of queries towards all distances: their products with both tables.
    void find_places(const Number *const *queries, float *places) {
        const long stride = shape.chunks * KEYS + KEYS;
        for (long chunk = 0; chunk < shape.chunks; chunk++) {
            __m512 sums[ROWS][STEP] = {};
            multiply<Number, ROWS, STEP>(
                sums, queries, space.tables + chunk * KEYS * shape.width, shape.width / F::PAIR);
            for (int i = 0; i < ROWS; i++)
                for (int v = 0; v < STEP; v++)
                    _mm512_storeu_ps(places + i * stride + chunk * KEYS + v * LANES,
                                     _mm512_mul_ps(sums[i][v], _mm512_set1_ps(LOG2_E)));
        }
    }

    // One step of keys for one block of queries.
    void advance(long step, long block, const Number *const *queries, const long *row, const long *column) {
        const long stride = shape.chunks * KEYS + KEYS;
        __m512 logits[ROWS][STEP] = {};
        multiply<Number, ROWS, STEP>(
            logits, queries, space.keys + step * KEYS * shape.width, shape.width / F::PAIR);
        const __m512 scale = _mm512_set1_ps(shape.scale * LOG2_E), nothing = _mm512_set1_ps(-__builtin_inff());
        long key_row[STEP], key_column[STEP];
        __mmask16 real[STEP];
        for (int v = 0; v < STEP; v++) {
            const long place = step * KEYS + v * LANES, row_of_keys = place / shape.padded;
            const bool inside = row_of_keys < shape.rows;
            key_row[v] = inside ? row_of_keys : 0;
            key_column[v] = place % shape.padded;
            const long left = inside ? shape.columns - key_column[v] : 0;
            real[v] = left >= LANES ? 0xffff : (__mmask16)((1u << left) - 1);
        }
        Number *weights = space.weights;
        for (int i = 0; i < ROWS; i++) {
            const long query = block * ROWS + i;
            const float *places = space.places + query * stride;
            const float *by_row = places + shape.rows - 1 - row[i];
            const float *by_column = places + 2 * shape.rows - 1 + shape.columns - 1 - column[i];
            for (int v = 0; v < STEP; v++) {
                const __m512 bias = _mm512_add_ps(
                    _mm512_set1_ps(by_row[key_row[v]]), _mm512_maskz_loadu_ps(real[v], by_column + key_column[v]));
                logits[i][v] = _mm512_mask_mov_ps(nothing, real[v], _mm512_fmadd_ps(logits[i][v], scale, bias));
            }
            __m512 most = logits[i][0];
            for (int v = 1; v < STEP; v++) most = _mm512_max_ps(most, logits[i][v]);
            const __m512 limit = _mm512_set1_ps(space.reference[query] + ROOM);
            if (_mm512_cmp_ps_mask(most, limit, _CMP_GT_OQ)) move_reference(query, _mm512_reduce_max_ps(most));
            const __m512 reference = _mm512_set1_ps(space.reference[query]);
            __m512 sum = _mm512_load_ps(space.sums + query * LANES);
            for (int v = 0; v < STEP; v++) {
                const __m512 weight = power_of_two<F::COARSE>(_mm512_sub_ps(logits[i][v], reference));
                sum = _mm512_add_ps(sum, weight);
                F::store(weights + i * KEYS + v * LANES, weight);
            }
            _mm512_store_ps(space.sums + query * LANES, sum);
        }
        const Number *rows[ROWS];
        for (int i = 0; i < ROWS; i++) rows[i] = weights + i * KEYS;
        float *attended = space.attended + block * ROWS * shape.width;
        __m512 sums[ROWS][V];
        for (int i = 0; i < ROWS; i++)
            for (int v = 0; v < V; v++) sums[i][v] = _mm512_loadu_ps(attended + (i * V + v) * LANES);
        multiply<Number, ROWS, V>(sums, rows, space.values + step * KEYS * shape.width, KEYS / F::PAIR);
        for (int i = 0; i < ROWS; i++)
            for (int v = 0; v < V; v++) _mm512_storeu_ps(attended + (i * V + v) * LANES, sums[i][v]);
    }

    // Logits are far above what they were measured against: measure what there is against the new.
    void move_reference(long query, float reference) {
        const float before = space.reference[query];
        const __m512 factor = power_of_two<false>(_mm512_set1_ps(before - reference));
        space.reference[query] = reference;
        float *sums = space.sums + query * LANES;
        _mm512_store_ps(sums, _mm512_mul_ps(_mm512_load_ps(sums), factor));
        for (int v = 0; v < V; v++) {
            float *at = space.attended + (query * V + v) * LANES;
            _mm512_storeu_ps(at, _mm512_mul_ps(_mm512_loadu_ps(at), factor));
        }
    }

    // Up to TILE queries; `at` has their places in the grid of keys.
    void run(const Number *const *from, Number *const *to, const int32_t *at, long count) {
        const Number *queries[TILE];
        long row[TILE], column[TILE];
        for (int i = 0; i < TILE; i++) {
            const long place = at[i < count ? i : count - 1];  // the last ones again: never stored
            Number *copy = space.queries + i * shape.width;
            memcpy(copy, from[place], sizeof(Number) * shape.width);  // strided rows share cache sets
            queries[i] = copy;
            row[i] = place / shape.columns;
            column[i] = place % shape.columns;
            space.reference[i] = -__builtin_inff();
        }
        memset(space.sums, 0, sizeof(float) * TILE * LANES);
        memset(space.attended, 0, sizeof(float) * TILE * shape.width);
        const long blocks = (count + ROWS - 1) / ROWS;
        const long stride = shape.chunks * KEYS + KEYS;
        for (long block = 0; block < blocks; block++)
            find_places(queries + block * ROWS, space.places + block * ROWS * stride);
        for (long step = 0; step < shape.steps; step++)
            for (long block = 0; block < blocks; block++)
                advance(step, block, queries + block * ROWS, row + block * ROWS, column + block * ROWS);
        for (long i = 0; i < count; i++) {
            const float total = _mm512_reduce_add_ps(_mm512_load_ps(space.sums + i * LANES));
            const __m512 factor = _mm512_set1_ps(1.0f / total);
            for (int v = 0; v < V; v++)
                F::store(to[at[i]] + v * LANES,
                         _mm512_mul_ps(_mm512_loadu_ps(space.attended + (i * V + v) * LANES), factor));
        }
    }
};

template <class Number, int ROWS, int V>
int attend(const Number *qkv, Number *out, const int32_t *index, const Number *padding, const Number *tables,
           Shape shape, long parts, long first, long last) {
    constexpr int TILE = ROWS * BLOCKS;
    const long places = shape.rows * shape.columns, padded = shape.steps * KEYS;
    const long width = shape.width, token = 3 * shape.heads * width;
    Workspace<Number> space;
    if (!reserve(space, shape, TILE)) return 1;
    const size_t pointers = sizeof(void *) * (2 * places + 2 * padded + shape.chunks * KEYS);
    const Number **queries = (const Number **)malloc(pointers + sizeof(int32_t) * places);
    if (!queries) {
        free(space.memory);
        return 1;
    }
    Number **outputs = (Number **)(queries + places);
    const Number **keys = (const Number **)(outputs + places), **values = keys + padded;
    const Number **distances = values + padded;
    int32_t *real = (int32_t *)(distances + shape.chunks * KEYS);

    for (long i = 0; i < shape.distances; i++) distances[i] = tables + i * width;
    pack_rows(space.tables, distances, shape.distances, width);
    long packed = -1;
    for (long item = first; item < last; item++) {
        const long part = item % parts, pair = item / parts;
        const long head = pair % shape.heads, group = pair / shape.heads;
        if (pair != packed) {
            packed = pair;
            for (long i = 0; i < padded; i++) {
                const long row = i / shape.padded, column = i % shape.padded;
                keys[i] = values[i] = 0;
                if (row >= shape.rows || column >= shape.columns) continue;
                const int32_t from = index[group * places + row * shape.columns + column];
                const Number *base = from < 0 ? padding : qkv + from * token;
                keys[i] = base + (shape.heads + head) * width;
                values[i] = base + (2 * shape.heads + head) * width;
            }
            pack_rows(space.keys, keys, padded, width);
            pack_columns(space.values, values, padded, width);
        }
        long count = 0;
        for (long i = 0; i < places; i++) {
            const int32_t from = index[group * places + i];
            if (from < 0) continue;
            queries[i] = qkv + from * token + head * width;
            outputs[i] = out + (from * shape.heads + head) * width;
            real[count++] = i;
        }
        const long tiles = (count + TILE - 1) / TILE;
        const long start = tiles * part / parts * TILE, stop = tiles * (part + 1) / parts * TILE;
        Attend<Number, ROWS, V> work = {shape, space};
        for (long i = start; i < stop && i < count; i += TILE)
            work.run(queries, outputs, real + i, count - i < TILE ? count - i : TILE);
    }
    free(queries);
    free(space.memory);
    return 0;
}

template <class Number>
int choose(const void *qkv, void *out, const int32_t *index, const void *padding, const void *tables,
           const long *sizes, float scale) {
    Shape shape;
    shape.heads = sizes[0], shape.width = sizes[1], shape.rows = sizes[2], shape.columns = sizes[3];
    shape.padded = (shape.columns + LANES - 1) / LANES * LANES;
    shape.steps = (shape.rows * shape.padded + KEYS - 1) / KEYS;
    shape.distances = 2 * (shape.rows + shape.columns) - 2;
    shape.chunks = (shape.distances + KEYS - 1) / KEYS;
    shape.scale = scale;
    const long parts = sizes[4], first = sizes[5], last = sizes[6];
#define WITH(ROWS, V)                                                                                  \
    return attend<Number, ROWS, V>((const Number *)qkv, (Number *)out, index, (const Number *)padding, \
                                   (const Number *)tables, shape, parts, first, last)
    switch (shape.width) {
        case 16: WITH(6, 1);
        case 32: WITH(6, 2);
        case 64: WITH(6, 4);
        case 80: WITH(5, 5);
    }
#undef WITH
    return 2;
}

}  // namespace

// Attention of items first .. last of windows x heads x parts.
//
// qkv      (tokens, 3, heads, width); width is 16, 32, 64 or 80.
// out      (tokens, heads, width).
// index    (windows, rows, columns) the token at each place of a window; -1: a padding token.
// padding  (3, heads, width) what a padding token has for query, key and value.
// tables   (2 * rows - 1 + 2 * columns - 1, width) both position tables, each backwards.
// sizes    heads, width, rows, columns, parts (of a window's queries), first, last.
// Returns 0; 1 without memory; 2 for a width that it does not know.
extern "C" int attend_float(const void *qkv, void *out, const int32_t *index, const void *padding,
                            const void *tables, const long *sizes, float scale) {
    return choose<float>(qkv, out, index, padding, tables, sizes, scale);
}

#ifdef __AVX512BF16__
extern "C" int attend_bfloat16(const void *qkv, void *out, const int32_t *index, const void *padding,
                               const void *tables, const long *sizes, float scale) {
    return choose<bfloat16>(qkv, out, index, padding, tables, sizes, scale);
}
#endif
