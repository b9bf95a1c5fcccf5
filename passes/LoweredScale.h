//===- LoweredScale.h - a rescale's scale in 32 bits ----------------------===//
//
// Which product and rounding shift of 32-bit integers give, for all values of
// an interval, what a rescale gives in 64 bits; free of MLIR types.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef TOSA_RESCALE_LOWEREDSCALE_H
#define TOSA_RESCALE_LOWEREDSCALE_H

#include "RescaleMath.h"

#include <string>

namespace tosa_rescale {

/// TOSA 1.0, ARITHMETIC_RIGHT_SHIFT of i32: `0 <= shift <= 31`.
constexpr int kMaxLoweredShift = 31;

/// `(value * multiplier) >> shift`, half rounded up, every step in i32; a shift
/// of 0 does nothing. The multiplier is odd or 0 unless the shift is 0.
struct LoweredScale {
  int64_t multiplier = 1;
  int64_t shift = 0;

  bool isRightShift() const { return multiplier == 1; }
  /// A power of two that is multiplied by.
  bool isLeftShift() const {
    return shift == 0 && significantBits(multiplier) == 1;
  }

  friend bool operator==(const LoweredScale &a, const LoweredScale &b) {
    return a.multiplier == b.multiplier && a.shift == b.shift;
  }
};

/// The values of one channel, from `low` to `high`, and what happens to their
/// result: `outputZp` is added, and it saturates at `resultLow` and
/// `resultHigh`.
struct ScaledChannel {
  int64_t low = 0;
  int64_t high = 0;
  int64_t outputZp = 0;
  int64_t resultLow = 0;
  int64_t resultHigh = 0;
};

/// A scale in 32 bits, or why there is none.
struct LoweredScaleOr {
  std::optional<LoweredScale> scale;
  /// "requires X, got Y"; empty where there is a scale.
  std::string reason;
};

/// A scale in 32 bits that gives the same for every value of the channel. It is
/// the same number, but where the channel gives one result whatever the value,
/// as one that always saturates: then it may have fewer bits.
LoweredScaleOr lowerScale(Scale scale, bool doubleRound,
                          const ScaledChannel &channel);

/// The scale with its multiplier at the top of i32, as scale32 has it. No
/// result if no legal shift expresses it.
std::optional<Scale> raiseScale(LoweredScale scale);

/// The scale with a compact multiplier of i16, as scale32 = false has it. No
/// result if i16 or no legal shift expresses it.
std::optional<Scale> raiseScale16(LoweredScale scale);

} // namespace tosa_rescale

#endif // TOSA_RESCALE_LOWEREDSCALE_H
