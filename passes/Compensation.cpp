//===- Compensation.cpp - weights that absorb a multiplier's error --------===//
//
// Implements Compensation.h in plain numbers.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Compensation.h"

#include "RoundedWeights.h"
#include "ScaleChoice.h"

#include <algorithm>
#include <cmath>

namespace tosa_rescale {

/// How much larger the sums may be at most, as a factor; below 1 if they are
/// too large.
static double getRoom(int64_t low, int64_t high, int64_t lowest,
                      int64_t highest) {
  double room = std::ldexp(1, 62);
  if (low < 0)
    room = std::min(room, double(lowest) / low);
  if (high > 0)
    room = std::min(room, double(highest) / high);
  return room;
}

namespace {

/// How much larger an accumulator may be at most, as a factor; below 1 if it is
/// too large.
struct Room {
  /// For its type.
  double sum;
  /// For the rescale behind it.
  double scaled;
};

} // namespace

static Room getRoom(const RoundedWeights &rounded, int64_t bias, Scale scale,
                    const LayerRules &rules) {
  int64_t low, high;
  rounded.getSums(low, high);
  low += bias;
  high += bias;
  Room room;
  room.sum = getRoom(low, high, rules.lowestSum, rules.highestSum);
  if (rules.scale32) {
    const int64_t limit = int64_t(1) << (scale.shift - 1);
    room.scaled = getRoom(low, high, -limit, limit - 1);
    return room;
  }
  // The result counts, not the value; its zero point too.
  const double limit = std::ldexp(1, 31) - 1 - std::abs(rules.outputZp);
  const double largest =
      std::max<double>(std::abs(double(low)), std::abs(double(high)));
  room.scaled = largest == 0
                    ? 2
                    : std::ldexp(limit / largest / double(scale.multiplier),
                                 static_cast<int>(scale.shift));
  return room;
}

/// Whether the original weights overflow the accumulator, and the new bias does
/// not.
static bool didOverflow(const Channel &channel, const LayerRules &rules,
                        RoundedWeights &rounded, int64_t newBias) {
  int64_t low, high;
  rounded.start(1);
  rounded.getSums(low, high);
  return getRoom(low + channel.bias, high + channel.bias, rules.lowestSum,
                 rules.highestSum) < 1 &&
         newBias >= rules.lowestSum && newBias <= rules.highestSum;
}

/// Rounds the weights for `scale`, or for a larger one where they would
/// overflow, and says with which outcome.
static Outcome settle(const Channel &channel, const LayerRules &rules,
                      std::optional<Scale> scale, RoundedWeights &rounded,
                      Compensated &result) {
  bool nearest = rules.rounding == WeightRounding::Nearest;
  const double one = 1 + 2.0 / kSlackOne;
  while (scale) {
    result.scale = *scale;
    result.ratio = getRatio(channel.scale, *scale);
    rounded.start(result.ratio);
    if (channel.inputs)
      result.errorNearest = rounded.getError(rounded.getBias());
    if (!nearest)
      rounded.improve();
    result.bias = rounded.getBias();

    const Room room = getRoom(rounded, result.bias, *scale, rules);
    const double least = std::min(room.sum, room.scaled);
    if (least >= 1)
      return Outcome::Compensated;
    if (result.ratio > one) {
      // Strictly smaller, or the multiplier might stay the same.
      const double ratio = std::max(
          std::min(result.ratio * least, result.ratio * 0.999999), 1.0);
      scale = fillScale(channel.scale, kSlackOne - 1,
                        static_cast<int64_t>(ratio * (kSlackOne - 1)),
                        rules.format);
      continue;
    }
    // The original weights were at least as large. If they overflow, or leave
    // the range of the shift, that is not news, and a larger multiplier would
    // not help the latter: its shift is smaller.
    if (room.sum >= 1)
      return Outcome::Compensated;
    if (!nearest) {
      nearest = true;
      continue;
    }
    if (!didOverflow(channel, rules, rounded, result.bias))
      return Outcome::BiasOverflow;
    rounded.start(result.ratio);
    return Outcome::Compensated;
  }
  return Outcome::NoShift;
}

/// The largest magnitude of a weight.
static int32_t getPeak(const Channel &channel) {
  int16_t lowest = 0, highest = 0;
  for (int64_t i = 0; i < channel.count; ++i) {
    lowest = std::min(lowest, channel.weights[i]);
    highest = std::max(highest, channel.weights[i]);
  }
  return std::max<int32_t>(highest, -lowest);
}

Compensated compensate(const Channel &channel, const LayerRules &rules,
                       int16_t *weights) {
  Compensated result;
  result.scale = channel.scale;
  result.bias = channel.bias;
  std::copy(channel.weights, channel.weights + channel.count, weights);
  if (channel.scale.multiplier == 0) {
    result.outcome = Outcome::ZeroMultiplier;
    return result;
  }
  const int32_t peak = getPeak(channel);
  const int64_t bits =
      std::min(rules.format.significantBits, rules.format.containerBits);
  if (significantBits(channel.scale.multiplier) <= bits &&
      channel.scale.shift <= kMaxShift &&
      (!rules.fill || peak <= rules.highestWeight)) {
    const std::optional<Scale> same = narrowScale(channel.scale, rules.format);
    result.outcome = same ? Outcome::Kept : Outcome::NoShift;
    if (same)
      result.scale = *same;
    return result;
  }

  const std::optional<Scale> scale =
      rules.fill && peak > 0
          ? chooseScale(channel, rules, peak)
          : fillScale(channel.scale, kSlackOne - 1, kSlackOne, rules.format);
  RoundedWeights rounded(channel, rules);
  result.outcome = settle(channel, rules, scale, rounded, result);
  if (result.outcome != Outcome::Compensated)
    return result;

  std::copy(rounded.getWeights().begin(), rounded.getWeights().end(), weights);
  int32_t changed = 0;
  for (int64_t i = 0; i < channel.count; ++i)
    changed += weights[i] != channel.weights[i];
  result.changed = changed;
  if (channel.inputs) {
    const double unit = std::ldexp(double(result.scale.multiplier),
                                   -static_cast<int>(result.scale.shift));
    result.errorNearest *= unit * unit;
    result.error = rounded.getError(result.bias) * unit * unit;
  }
  return result;
}

} // namespace tosa_rescale
