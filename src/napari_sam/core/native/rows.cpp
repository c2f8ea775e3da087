// What a transformer block does to its tokens between two products, in one pass over each row: add what the
// last product gave to the residual stream, normalise, round to the format of the next product.

#include "number.h"

namespace {


// x += added; to = norm(x) * weight + bias. `added` may be null, and `to`: then the rows are only added.
template <class Number>
void add_and_normalise(float *x, const Number *added, Number *to, const float *weight, const float *bias,
                       long width, long first, long last, float epsilon) {
    for (long row = first; row < last; row++) {
        float *at = x + row * width;
        __m512 sum = _mm512_setzero_ps();
        for (long i = 0; i < width; i += LANES) {
            __m512 value = _mm512_loadu_ps(at + i);
            if (added) {
                value = _mm512_add_ps(value, load(added + row * width + i));
                _mm512_storeu_ps(at + i, value);
            }
            sum = _mm512_add_ps(sum, value);
        }
        if (!to) continue;
        const __m512 mean = _mm512_set1_ps(_mm512_reduce_add_ps(sum) / width);
        __m512 squares = _mm512_setzero_ps();
        for (long i = 0; i < width; i += LANES) {
            const __m512 value = _mm512_sub_ps(_mm512_loadu_ps(at + i), mean);
            squares = _mm512_fmadd_ps(value, value, squares);
        }
        const float variance = _mm512_reduce_add_ps(squares) / width + epsilon;
        const __m512 factor = _mm512_set1_ps(1.0f / __builtin_sqrtf(variance));
        for (long i = 0; i < width; i += LANES) {
            const __m512 value = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(at + i), mean), factor);
            store(to + row * width + i, _mm512_fmadd_ps(value, _mm512_loadu_ps(weight + i), _mm512_loadu_ps(bias + i)));
        }
    }
}

}  // namespace

// x (rows, width) float; added and to (rows, width) or null; width is a multiple of 16.
extern "C" void normalise_float(float *x, const float *added, float *to, const float *weight, const float *bias,
                                long width, long first, long last, float epsilon) {
    add_and_normalise(x, added, to, weight, bias, width, first, last, epsilon);
}

#ifdef __AVX512BF16__
extern "C" void normalise_bfloat16(float *x, const bfloat16 *added, bfloat16 *to, const float *weight,
                                   const float *bias, long width, long first, long last, float epsilon) {
    add_and_normalise(x, added, to, weight, bias, width, first, last, epsilon);
}
#endif
