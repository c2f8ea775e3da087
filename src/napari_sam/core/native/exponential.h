// e^x and 2^x for sixteen numbers at once; for our C++ files.

#pragma once

#include "number.h"

namespace {

// 2^rest for rest in -0.5 to 0.5; relative error 1e-7.
inline __m512 power_of_two_near_one(__m512 rest) {
    __m512 sum = _mm512_set1_ps(1.5337577e-4f);
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(1.3399860e-3f));
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(9.6185195e-3f));
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(5.5503290e-2f));
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(2.4022647e-1f));
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(6.9314721e-1f));
    return _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(1.0f));
}

// e^x for x up to 88; relative error 1e-7.
inline __m512 power_of_e(__m512 x) {
    constexpr float LOG2_E = 1.44269504088896f, LOG2_E_REST = 1.92596299e-8f;  // and what float leaves of it
    x = _mm512_max_ps(x, _mm512_set1_ps(-97.0f));
    const __m512 whole = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(LOG2_E)), 8);
    // In two steps: rounding the product would cost x times a relative 6e-8.
    __m512 rest = _mm512_fmsub_ps(x, _mm512_set1_ps(LOG2_E), whole);
    rest = _mm512_fmadd_ps(x, _mm512_set1_ps(LOG2_E_REST), rest);
    return _mm512_scalef_ps(power_of_two_near_one(rest), whole);
}

}  // namespace
