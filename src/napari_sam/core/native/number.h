// The two number formats of our C++ files: sixteen at once as floats.

#pragma once

#include <immintrin.h>
#include <stdint.h>

namespace {

typedef uint16_t bfloat16;

inline __m512 load(const float *at) { return _mm512_loadu_ps(at); }
inline __m512 load(const bfloat16 *at) {
    const __m256i halves = _mm256_loadu_si256((const __m256i *)at);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}
inline void store(float *to, __m512 values) { _mm512_storeu_ps(to, values); }
#ifdef __AVX512BF16__
inline void store(bfloat16 *to, __m512 values) {
    _mm256_storeu_si256((__m256i *)to, (__m256i)_mm512_cvtneps_pbh(values));
}
#endif

}  // namespace
