// The two number formats of our C++ files: float, and bfloat16 whose products are of pairs, with sums in float.

#pragma once

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

namespace {

constexpr int LANES = 16;

typedef uint16_t bfloat16;

// Sixteen numbers as floats.
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

// How products are made: of PAIR numbers that lie together, on both sides.
template <class Number> struct Format;

template <> struct Format<float> {
    static constexpr int PAIR = 1;
    static constexpr bool COARSE = false;
    static float zero() { return 0.0f; }
    static __m512 spread(const float *at) { return _mm512_set1_ps(*at); }
    static __m512 load(const float *at) { return _mm512_loadu_ps(at); }
    static __m512 product(__m512 sum, __m512 a, __m512 b) { return _mm512_fmadd_ps(a, b, sum); }
    static void store(float *to, __m512 values) { _mm512_storeu_ps(to, values); }
    // The only one of PAIR vectors, side by side with itself.
    static void pair(float *to, const __m512 (&values)[1]) { _mm512_storeu_ps(to, values[0]); }
};

#ifdef __AVX512BF16__
template <> struct Format<bfloat16> {
    static constexpr int PAIR = 2;
    static constexpr bool COARSE = true;
    static bfloat16 zero() { return 0; }
    static __m512i spread(const bfloat16 *at) {
        int pair;
        memcpy(&pair, at, sizeof pair);
        return _mm512_set1_epi32(pair);
    }
    static __m512i load(const bfloat16 *at) { return _mm512_loadu_si512(at); }
    static __m512 product(__m512 sum, __m512i a, __m512i b) {
        return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
    }
    static void store(bfloat16 *to, __m512 values) { ::store(to, values); }
    // Two vectors with their numbers in turn.
    static void pair(bfloat16 *to, const __m512 (&values)[2]) {
        const __m512i even = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(values[0]));
        const __m512i odd = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(values[1]));
        _mm512_storeu_si512(to, _mm512_or_si512(even, _mm512_slli_epi32(odd, 16)));
    }
};
#endif

}  // namespace
