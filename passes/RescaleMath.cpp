//===- RescaleMath.cpp - arithmetic of one multiplier and shift -----------===//
//
// Implements RescaleMath.h in plain integers.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RescaleMath.h"

#include <algorithm>
#include <limits>

namespace tosa_rescale {

bool isSameValue(const Scale &a, const Scale &b) {
  if (a.multiplier == 0 || b.multiplier == 0)
    return a.multiplier == b.multiplier;
  const int64_t shift = std::max(a.shift, b.shift);
  // Both fit 31 bits, and shifts that differ by more cannot make them equal.
  if (shift - std::min(a.shift, b.shift) > kMultiplierBits32)
    return false;
  return a.multiplier << (shift - a.shift) == b.multiplier << (shift - b.shift);
}

/// Bits up to and including the leading one.
static int bitWidth(int64_t value) {
  return value == 0 ? 0 : 64 - __builtin_clzll(static_cast<uint64_t>(value));
}

/// `value / 2^bits`, rounded to an integer.
static int64_t dropBits(int64_t value, int64_t bits,
                        MultiplierRounding rounding) {
  // 62 keeps the sums below in range, and drops every bit of a 31-bit
  // multiplier just as well.
  bits = std::min<int64_t>(bits, 62);
  if (bits <= 0)
    return value;
  switch (rounding) {
  case MultiplierRounding::Nearest:
    return (value + (int64_t(1) << (bits - 1))) >> bits;
  case MultiplierRounding::Up:
    return (value + (int64_t(1) << bits) - 1) >> bits;
  case MultiplierRounding::Truncate:
    return value >> bits;
  }
  __builtin_unreachable();
}

int significantBits(int64_t multiplier) {
  return multiplier == 0
             ? 0
             : bitWidth(multiplier) -
                   __builtin_ctzll(static_cast<uint64_t>(multiplier));
}

std::optional<Scale> narrowScale(Scale scale, const NarrowFormat &format) {
  if (scale.multiplier < 0)
    return std::nullopt;
  if (scale.multiplier == 0)
    return Scale{0, std::clamp<int64_t>(scale.shift, kMinShift, kMaxShift)};

  // Bits below 2^-62 are lost in any case. Dropping them in the same step keeps
  // it one rounding.
  const int64_t width = std::min(format.significantBits, format.containerBits);
  const int64_t drop = std::max<int64_t>(
      {0, bitWidth(scale.multiplier) - width, scale.shift - kMaxShift});
  MultiplierRounding rounding = format.rounding;
  if (rounding == MultiplierRounding::Up && width <= kMaxSlackWidth &&
      drop < bitWidth(scale.multiplier)) {
    const int64_t excess = scale.multiplier & ((int64_t(1) << drop) - 1);
    if (excess << kSlackBits < scale.multiplier)
      rounding = MultiplierRounding::Truncate;
  }
  int64_t multiplier = dropBits(scale.multiplier, drop, rounding);
  int64_t shift = scale.shift - drop;
  if (multiplier == 0)
    return Scale{0, kMaxShift};
  // 0b111.. rounded up to 0b1000..: one bit too long, and the last one is 0.
  if (bitWidth(multiplier) > width) {
    multiplier >>= 1;
    --shift;
  }

  const int64_t room = format.containerBits - bitWidth(multiplier);
  int64_t up = format.leftAligned ? room : width - bitWidth(multiplier);
  up = std::min(up, kMaxShift - shift);
  if (format.doubleRound && scale.shift <= 31)
    up = std::min(up, 31 - shift);
  up = std::max(up, kMinShift - shift);
  if (up > room)
    return std::nullopt;
  return Scale{multiplier << up, shift + up};
}

std::optional<Scale> fillScale(Scale scale, int64_t numerator,
                               int64_t denominator, NarrowFormat format) {
  format.rounding = MultiplierRounding::Up;
  const int64_t width = std::min(format.significantBits, format.containerBits);
  const Int128 dividend = Int128(scale.multiplier) * numerator;
  const auto high = static_cast<int64_t>(dividend >> 62);
  const int64_t dividendBits = high != 0
                                   ? 62 + bitWidth(high)
                                   : bitWidth(static_cast<int64_t>(dividend));

  // multiplier = ceil(dividend / denominator / 2^drop), with the smallest
  // `drop` that leaves `width` bits (or 2^width, which has one) and a shift of
  // at most 62. The first `drop` is never too large; it is at most 2 too small.
  int64_t drop = std::max(dividendBits - 1 - bitWidth(denominator) - width,
                          scale.shift - kMaxShift);
  // A shift far beyond 62 would lead out of the 128 bits below, and the result
  // is 2^-62 all the same.
  if (drop > 126 - 63)
    return narrowScale({1, kMaxShift}, format);
  for (;; ++drop) {
    const Int128 scaled = drop < 0 ? dividend << -drop : dividend;
    const Int128 divisor =
        drop > 0 ? Int128(denominator) << drop : Int128(denominator);
    const Int128 multiplier = (scaled + divisor - 1) / divisor;
    if (multiplier <= Int128(1) << width)
      return narrowScale({static_cast<int64_t>(multiplier), scale.shift - drop},
                         format);
  }
}

Int128 applyScale(Int128 value, Scale scale, bool doubleRound) {
  Int128 round = Int128(1) << (scale.shift - 1);
  if (doubleRound && scale.shift > 31)
    round += value >= 0 ? Int128(1) << 30 : -(Int128(1) << 30);
  return (value * scale.multiplier + round) >> scale.shift;
}

int64_t rescaleValue(int64_t value, int64_t inputZp, Scale scale,
                     bool doubleRound, int64_t outputZp, int64_t low,
                     int64_t high) {
  Int128 result =
      applyScale(Int128(value) - inputZp, scale, doubleRound) + outputZp;
  return static_cast<int64_t>(std::clamp<Int128>(result, low, high));
}

bool isLegalValue32(Int128 value, int64_t shift) {
  const Int128 limit = Int128(1) << (shift - 1);
  return value >= -limit && value < limit;
}

bool isLegalResult(Int128 result) {
  return result >= std::numeric_limits<int32_t>::min() &&
         result <= std::numeric_limits<int32_t>::max();
}

} // namespace tosa_rescale
