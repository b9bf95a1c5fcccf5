//===- Tables.cpp - tables for another scale of their input ---------------===//
//
// Implements Tables.h.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Tables.h"

#include <algorithm>
#include <cmath>
#include <utility>

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
  result.bound = result.error;
  return result;
}

//===----------------------------------------------------------------------===//
// 256 entries
//===----------------------------------------------------------------------===//

/// The slope of a monotone cubic between two secants of the same width, their
/// harmonic mean; 0 where the direction changes (Fritsch and Butland, A method
/// for constructing local monotone piecewise cubic interpolants, 1984).
static double getSlope(double before, double after) {
  return before * after <= 0 ? 0 : 2 * before * after / (before + after);
}

namespace {

/// A monotone cubic through values at 0, 1, 2 ...
class MonotoneCubic {
public:
  explicit MonotoneCubic(std::vector<double> given)
      : values(std::move(given)), slopes(values.size(), 0) {
    const size_t last = values.size() - 1;
    for (size_t i = 1; i < last; ++i)
      slopes[i] =
          getSlope(values[i] - values[i - 1], values[i + 1] - values[i]);
    slopes[0] = values[1] - values[0];
    slopes[last] = values[last] - values[last - 1];
  }

  /// Beyond the ends what is there.
  double at(double place) const {
    place = std::clamp(place, 0.0, static_cast<double>(values.size() - 1));
    const size_t cell = std::min(static_cast<size_t>(place), values.size() - 2);
    const double t = place - static_cast<double>(cell), u = 1 - t;
    return values[cell] * (1 + 2 * t) * u * u +
           values[cell + 1] * (1 + 2 * u) * t * t +
           (slopes[cell] * u - slopes[cell + 1] * t) * t * u;
  }

private:
  std::vector<double> values, slopes;
};

} // namespace

/// The largest difference of entries from what every other one of the rest
/// gives for them.
static double measureError(const std::vector<int64_t> &entries) {
  double error = 0;
  for (size_t first : {size_t(0), size_t(1)}) {
    std::vector<double> kept;
    for (size_t i = first; i < entries.size(); i += 2)
      kept.push_back(static_cast<double>(entries[i]));
    const MonotoneCubic rest(std::move(kept));
    for (size_t i = first + 1; i + 1 < entries.size(); i += 2)
      error =
          std::max(error, std::abs(rest.at(static_cast<double>(i - first) / 2) -
                                   static_cast<double>(entries[i])));
  }
  return error;
}

ResampledTable interpolateTable(const std::vector<int64_t> &entries,
                                const TableScales &scales) {
  constexpr int64_t kLow = -128, kHigh = 127;
  const double input = std::exp2(scales.inputFactor),
               output = std::exp2(scales.outputFactor);
  const MonotoneCubic old({entries.begin(), entries.end()});
  ResampledTable result;
  result.error = input == 1 ? 0 : measureError(entries);
  for (int64_t code = kLow; code <= kHigh; ++code) {
    double place =
        std::clamp(static_cast<double>(code - scales.inputZeroPoint) * input +
                       static_cast<double>(scales.inputZeroPoint - kLow),
                   0.0, static_cast<double>(kHigh - kLow));
    // A factor that came through a logarithm misses an old entry by a little.
    if (std::abs(place - std::round(place)) < 1e-6)
      place = std::round(place);
    const double value = old.at(place);
    const double before = static_cast<double>(
                     entries[static_cast<size_t>(std::floor(place))]),
                 after = static_cast<double>(
                     entries[static_cast<size_t>(std::ceil(place))]);
    const double zeroPoint = static_cast<double>(scales.outputZeroPoint);
    result.entries.push_back(std::clamp<int64_t>(
        std::llround((value - zeroPoint) / output + zeroPoint), kLow, kHigh));
    // The function was rounded to the old entries, and this one is to the new.
    result.bound = std::max(result.bound, std::max(std::abs(value - before),
                                                   std::abs(value - after)) +
                                              0.5 + output / 2);
  }
  return result;
}

bool isMonotone(const std::vector<int64_t> &entries) {
  return std::is_sorted(entries.begin(), entries.end()) ||
         std::is_sorted(entries.rbegin(), entries.rend());
}

} // namespace tosa_rescale
