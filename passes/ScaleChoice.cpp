//===- ScaleChoice.cpp - the narrow multiplier of one channel -------------===//
//
// Implements ScaleChoice.h in plain numbers.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ScaleChoice.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

namespace tosa_rescale {

double getRatio(Scale scale, Scale narrow) {
  return std::ldexp(double(scale.multiplier) / double(narrow.multiplier),
                    static_cast<int>(narrow.shift - scale.shift));
}

namespace {

/// What a multiplier costs in accuracy of the weights.
class ClippingCost {
public:
  ClippingCost(const Channel &channel, int32_t limit)
      : channel(channel), limit(limit) {}

  /// Error in units of the original weights, or anything above `bound` if it is
  /// that much. What is cut off counts by the prior's metric: rounding errors
  /// can be balanced, clipping goes one way.
  double measure(double ratio, double bound) {
    if (counts.empty())
      count();
    const double scale = 1 / (ratio * ratio);
    double cut = 0, cutSquares = 0, squares = 0;
    auto entry = counts.begin();
    for (; entry != counts.end(); ++entry) {
      const double over = entry->magnitude * ratio - limit;
      if (over <= 0.5)
        break;
      cut += entry->net * over;
      cutSquares += entry->number * over * over;
    }
    const double clipping = (cutSquares + cut * cut) / 2;
    if (clipping * scale >= bound)
      return clipping * scale;
    for (; entry != counts.end(); ++entry) {
      const double target = entry->magnitude * ratio;
      const double miss = target - static_cast<int32_t>(target + 0.5);
      squares += entry->number * (miss * miss);
    }
    return (squares + clipping) * scale;
  }

private:
  struct Count {
    double magnitude, number;
    /// Positive ones less negative ones.
    double net;
  };

  /// Weights have 8 bits, so most of them share their magnitude with others.
  /// The largest come first.
  void count() {
    std::array<int32_t, 511> all = {};
    for (int64_t i = 0; i < channel.count; ++i)
      ++all[255 + channel.weights[i]];
    for (int32_t magnitude = 255; magnitude > 0; --magnitude) {
      const int32_t positive = all[255 + magnitude],
                    negative = all[255 - magnitude];
      if (positive + negative != 0)
        counts.push_back({double(magnitude), double(positive + negative),
                          double(positive - negative)});
    }
  }

  const Channel &channel;
  const int32_t limit;
  std::vector<Count> counts;
};

} // namespace

/// The next multiplier below `scale`, as a value; at least as large as what
/// fillScale() can give.
static double getNextBelow(Scale scale, const NarrowFormat &format) {
  int exponent;
  const double fraction = std::frexp(double(scale.multiplier), &exponent);
  const int width = std::min(format.significantBits, format.containerBits);
  const double unit = std::ldexp(1, fraction == 0.5 ? -width - 1 : -width);
  return std::ldexp(fraction - unit, exponent - static_cast<int>(scale.shift));
}

std::optional<Scale> chooseScale(const Channel &channel,
                                 const LayerRules &rules, int32_t peak) {
  const int64_t numerator = peak * (kSlackOne - 1),
                denominator = rules.highestWeight * kSlackOne;
  const std::optional<Scale> full =
      fillScale(channel.scale, numerator, denominator, rules.format);
  if (!full || !rules.clip)
    return full;

  const double value = std::ldexp(double(channel.scale.multiplier),
                                  static_cast<int>(-channel.scale.shift));
  const double limit = rules.highestWeight;
  // The largest weight alone may cost too much: no rounding error is above 1/2,
  // and with random ones the mean square is 1/12.
  const double fullRatio = getRatio(channel.scale, *full);
  double bestError = channel.count / 4.0 / (fullRatio * fullRatio);
  auto isTooDear = [&](double ratio) {
    const double over = std::max(peak - limit / ratio, 0.0);
    return over * over >= bestError;
  };
  double next = getNextBelow(*full, rules.format);
  if (isTooDear(value / next))
    return full;

  ClippingCost cost(channel, rules.highestWeight);
  bestError = cost.measure(fullRatio, HUGE_VAL);
  std::optional<Scale> best = full;
  for (int percent :
       {101, 102, 103, 105, 107, 110, 115, 120, 130, 140, 160, 200}) {
    if (isTooDear(value / next))
      break;
    // Nothing between this bound and the last multiplier: a division saved.
    if (next * 1.000001 < value * peak / limit * 100 / percent)
      continue;
    const std::optional<Scale> scale = fillScale(
        channel.scale, numerator * 100, denominator * percent, rules.format);
    if (!scale)
      break;
    next = getNextBelow(*scale, rules.format);
    const double ratio = getRatio(channel.scale, *scale);
    const double error = cost.measure(ratio, bestError);
    if (error < 0.999 * bestError) {
      best = scale;
      bestError = error;
    }
  }
  return best;
}

} // namespace tosa_rescale
