// Between the products of SAM's mask upscaling: norm and GELU after the first transposed convolution, and after the
// second the logits, put in their places on the canvas.

#include "gelu.h"
#include "number.h"

namespace {

constexpr int NORM = 64;               // numbers after the first convolution, of a place
constexpr int FINE = 32;               // and after the second
constexpr int SIDE = 2;                // of each transposed convolution

// The layer norm and GELU of rows of 64 numbers, in place.
template <class Number> void refine(Number *x, long rows, const float *weight, const float *bias, float epsilon) {
    constexpr int V = NORM / LANES;
    for (long row = 0; row < rows; row++) {
        Number *at = x + row * NORM;
        __m512 parts[V];
        for (int i = 0; i < V; i++) parts[i] = load(at + i * LANES);
        const __m512 sum = _mm512_add_ps(_mm512_add_ps(parts[0], parts[1]), _mm512_add_ps(parts[2], parts[3]));
        const __m512 mean = _mm512_set1_ps(_mm512_reduce_add_ps(sum) / NORM);
        __m512 squares = _mm512_setzero_ps();
        for (int i = 0; i < V; i++) {
            parts[i] = _mm512_sub_ps(parts[i], mean);
            squares = _mm512_fmadd_ps(parts[i], parts[i], squares);
        }
        const __m512 factor = _mm512_set1_ps(1.0f / __builtin_sqrtf(_mm512_reduce_add_ps(squares) / NORM + epsilon));
        for (int i = 0; i < V; i++)
            store(at + i * LANES, gelu(_mm512_fmadd_ps(_mm512_mul_ps(parts[i], factor), _mm512_loadu_ps(weight + i * LANES),
                                                       _mm512_loadu_ps(bias + i * LANES))));
    }
}

// The product of one place's features and a kernel, still to be summed over the lanes.
inline __m512 product(const float *place, const float *kernel) {
    const __m512 half = _mm512_mul_ps(_mm512_loadu_ps(place), _mm512_loadu_ps(kernel));
    return _mm512_fmadd_ps(_mm512_loadu_ps(place + LANES), _mm512_loadu_ps(kernel + LANES), half);
}

#ifdef __AVX512BF16__
inline __m512 product(const bfloat16 *place, const bfloat16 *kernel) {
    return _mm512_dpbf16_ps(_mm512_setzero_ps(), (__m512bh)_mm512_loadu_si512(place),
                            (__m512bh)_mm512_loadu_si512(kernel));
}
#endif

// The sums over the lanes of sixteen vectors: those of the first in the first lane.
inline __m512 sums_of(__m512 (&x)[LANES]) {
    __m512d two[8];
    for (int i = 0; i < 8; i++)
        two[i] = _mm512_castps_pd(
            _mm512_add_ps(_mm512_unpacklo_ps(x[2 * i], x[2 * i + 1]), _mm512_unpackhi_ps(x[2 * i], x[2 * i + 1])));
    __m512 four[4], eight[2];
    for (int i = 0; i < 4; i++)
        four[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(two[2 * i], two[2 * i + 1])),
                                _mm512_castpd_ps(_mm512_unpackhi_pd(two[2 * i], two[2 * i + 1])));
    for (int i = 0; i < 2; i++)
        eight[i] = _mm512_add_ps(_mm512_shuffle_f32x4(four[2 * i], four[2 * i + 1], 0x44),
                                 _mm512_shuffle_f32x4(four[2 * i], four[2 * i + 1], 0xee));
    return _mm512_add_ps(_mm512_shuffle_f32x4(eight[0], eight[1], 0x88), _mm512_shuffle_f32x4(eight[0], eight[1], 0xdd));
}

// One row of what each cell becomes: fine by cell, column, row and column of the second convolution.
template <class Number>
void place(const Number *fine, const Number *kernels, long masks, long rows, long columns, float *canvas, long area) {
    const long length = columns * SIDE * SIDE;  // of a row of the canvas
    for (long row = 0; row < rows; row++)
        for (long inner = 0; inner < SIDE; inner++) {
            float *to = canvas + (row * SIDE * SIDE + inner) * length;
            for (long x = 0; x < length; x += LANES) {
                const long count = length - x < LANES ? length - x : LANES;
                const Number *places[LANES];
                for (long i = 0; i < LANES; i++) {
                    const long column = x + (i < count ? i : 0), at = row * columns * SIDE + column / SIDE;
                    places[i] = fine + ((at * SIDE + inner) * SIDE + column % SIDE) * FINE;
                }
                const __mmask16 real = count == LANES ? 0xffff : (__mmask16)((1u << count) - 1);
                for (long mask = 0; mask < masks; mask++) {
                    __m512 products[LANES];
                    for (int i = 0; i < LANES; i++) products[i] = product(places[i], kernels + mask * FINE);
                    _mm512_mask_storeu_ps(to + mask * area + x, real, sums_of(products));
                }
            }
        }
}

}  // namespace

// x              (rows, 64), weight and bias (64).
extern "C" void refine_float(float *x, long rows, const float *weight, const float *bias, float epsilon) {
    refine(x, rows, weight, bias, epsilon);
}

// fine           (rows, columns, 2, 2, 2, 32): cells, and column, row and column of what they become.
// kernels        (masks, 32).
// canvas         the first of the rows (rows, 2, 2, 4 * columns) of `masks` canvases, `area` numbers apart; of the second
//                axis the first place is written.
extern "C" void place_float(const float *fine, const float *kernels, long masks, long rows, long columns, float *canvas,
                            long area) {
    place(fine, kernels, masks, rows, columns, canvas, area);
}

#ifdef __AVX512BF16__
extern "C" void refine_bfloat16(bfloat16 *x, long rows, const float *weight, const float *bias, float epsilon) {
    refine(x, rows, weight, bias, epsilon);
}

extern "C" void place_bfloat16(const bfloat16 *fine, const bfloat16 *kernels, long masks, long rows, long columns,
                               float *canvas, long area) {
    place(fine, kernels, masks, rows, columns, canvas, area);
}
#endif
