//===- Tables.cpp - tables of 16 bits for another scale of their input ----===//
//
// Implements Tables.h.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Tables.h"

#include <algorithm>
#include <cmath>

namespace tosa_rescale {

/// Inputs between two entries, and the one of the first entry.
static constexpr int64_t kStep = 128, kFirst = -32768, kLast = 32767;

/// What the table gives for an input that need not be whole (TOSA, TABLE).
static double lookUp(const std::vector<int64_t> &entries, double input) {
  const double place = (input - kFirst) / kStep;
  const int64_t cell = std::clamp<int64_t>(
      static_cast<int64_t>(std::floor(place)), 0, entries.size() - 2);
  const double base = static_cast<double>(entries[cell]);
  return base + (static_cast<double>(entries[cell + 1]) - base) *
                    (place - static_cast<double>(cell));
}

ResampledTable resampleTable(const std::vector<int64_t> &entries,
                             double inputFactor, double outputFactor) {
  const double input = std::exp2(inputFactor), output = std::exp2(outputFactor);
  ResampledTable result;
  for (size_t i = 0; i < entries.size(); ++i) {
    const double at = (kFirst + static_cast<double>(i) * kStep) * input;
    result.entries.push_back(std::clamp<int64_t>(
        std::llround(lookUp(entries, at) / output), kFirst, kLast));
  }
  for (int64_t code = kFirst; code <= kLast; ++code) {
    const double old = static_cast<double>(code) * input;
    if (old < kFirst || old > kLast)
      continue;
    const double made =
        lookUp(result.entries, static_cast<double>(code)) * output;
    result.error =
        std::max(result.error, std::abs(made - lookUp(entries, old)));
  }
  return result;
}

} // namespace tosa_rescale
