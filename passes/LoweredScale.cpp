//===- LoweredScale.cpp - a rescale's scale in 32 bits --------------------===//
//
// Implements LoweredScale.h in plain integers.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LoweredScale.h"

#include <algorithm>
#include <limits>

namespace tosa_rescale {

static constexpr int64_t kMinI32 = std::numeric_limits<int32_t>::min();
static constexpr int64_t kMaxI32 = std::numeric_limits<int32_t>::max();

/// So many values are tried one by one, where no rule says that both roundings
/// agree.
static constexpr int64_t kMaxTried = int64_t(1) << 17;

static bool fitsI32(Int128 low, Int128 high) {
  return low >= kMinI32 && high <= kMaxI32;
}

static std::string fromTo(int64_t low, int64_t high) {
  return std::to_string(low) + " to " + std::to_string(high);
}

/// Whether DOUBLE_ROUND gives what SINGLE_ROUND does.
static bool roundsAlike(Scale scale, int64_t low, int64_t high) {
  if (scale.shift <= 31 || scale.multiplier == 0)
    return true;
  if (Int128(high) - low >= kMaxTried)
    return false;
  for (int64_t value = low; value <= high; ++value)
    if (applyScale(value, scale, /*doubleRound=*/true) !=
        applyScale(value, scale, /*doubleRound=*/false))
      return false;
  return true;
}

/// The same number with an odd multiplier, or with a shift of 0.
static LoweredScale makeCompact(Scale scale) {
  if (scale.multiplier == 0)
    return {0, 0};
  const int64_t zeros =
      __builtin_ctzll(static_cast<uint64_t>(scale.multiplier));
  const LoweredScale compact = {scale.multiplier >> zeros, scale.shift - zeros};
  if (compact.shift < 0)
    return {compact.multiplier << -compact.shift, 0};
  return compact;
}

/// `value` by the lowered scale.
static Int128 applyLowered(int64_t value, LoweredScale scale) {
  const Int128 product = Int128(value) * scale.multiplier;
  return scale.shift == 0
             ? product
             : (product + (Int128(1) << (scale.shift - 1))) >> scale.shift;
}

static int64_t saturate(Int128 result, const ScaledChannel &channel) {
  return static_cast<int64_t>(std::clamp<Int128>(
      result + channel.outputZp, channel.resultLow, channel.resultHigh));
}

/// Whether every step fits i32.
static bool isComputable(LoweredScale scale, const ScaledChannel &channel) {
  return scale.multiplier <= kMaxI32 &&
         fitsI32(Int128(channel.low) * scale.multiplier,
                 Int128(channel.high) * scale.multiplier) &&
         fitsI32(applyLowered(channel.low, scale) + channel.outputZp,
                 applyLowered(channel.high, scale) + channel.outputZp);
}

/// A scale of fewer bits, for a channel that gives one result for all values.
/// Rounding and saturating are monotone, so its ends stand for all of it.
static std::optional<LoweredScale> shorten(LoweredScale scale,
                                           const ScaledChannel &channel) {
  const int64_t result = saturate(applyLowered(channel.low, scale), channel);
  if (result != saturate(applyLowered(channel.high, scale), channel))
    return std::nullopt;
  for (LoweredScale each = scale; each.multiplier > 1 && each.shift > 0;) {
    each = {(each.multiplier + 1) >> 1, each.shift - 1};
    const bool isSame =
        saturate(applyLowered(channel.low, each), channel) == result &&
        saturate(applyLowered(channel.high, each), channel) == result;
    if (isSame && isComputable(each, channel))
      return makeCompact({each.multiplier, each.shift});
  }
  return std::nullopt;
}

static std::string findObstacle(Scale scale, bool doubleRound,
                                const ScaledChannel &channel) {
  if (scale.multiplier < 0)
    return "requires a multiplier of at least 0, got " +
           std::to_string(scale.multiplier);
  if (!isLegalShift(scale.shift))
    return "requires a shift from " + fromTo(kMinShift, kMaxShift) + ", got " +
           std::to_string(scale.shift);
  if (!fitsI32(channel.low, channel.high))
    return "requires a value that fits i32, got " +
           fromTo(channel.low, channel.high);
  if (doubleRound && !roundsAlike(scale, channel.low, channel.high))
    return "requires SINGLE_ROUND, or a shift of at most 31, got DOUBLE_ROUND "
           "with shift " +
           std::to_string(scale.shift);
  return "";
}

LoweredScaleOr lowerScale(Scale scale, bool doubleRound,
                          const ScaledChannel &channel) {
  std::string reason = findObstacle(scale, doubleRound, channel);
  if (!reason.empty())
    return {std::nullopt, std::move(reason)};
  LoweredScale lowered = makeCompact(scale);
  if (!isComputable(lowered, channel)) {
    const std::optional<LoweredScale> shorter = shorten(lowered, channel);
    if (!shorter) {
      const int64_t limit = kMaxI32 / lowered.multiplier;
      return {std::nullopt, "requires a value from " + fromTo(-limit, limit) +
                                " for a 32-bit product with " +
                                std::to_string(lowered.multiplier) + ", got " +
                                fromTo(channel.low, channel.high)};
    }
    lowered = *shorter;
  }
  // 32 and more leave nothing of a product that fits i32; 31 does the same
  // below 2^30.
  if (lowered.shift > kMaxLoweredShift) {
    const int64_t limit = int64_t(1) << 30;
    const bool isSmall = channel.low * lowered.multiplier >= -limit &&
                         channel.high * lowered.multiplier < limit;
    lowered = isSmall ? LoweredScale{lowered.multiplier, kMaxLoweredShift}
                      : LoweredScale{0, 0};
  }
  return {lowered, ""};
}

/// `scale` with its multiplier `up` bits further up, as far as a shift of 62
/// allows.
static std::optional<Scale> moveUp(LoweredScale scale, int64_t up) {
  up = std::min(up, kMaxShift - scale.shift);
  const Scale raised = {scale.multiplier << up, scale.shift + up};
  return isLegalShift(raised.shift) ? std::optional(raised) : std::nullopt;
}

static int64_t bitWidth(int64_t value) {
  return value == 0 ? 0 : 64 - __builtin_clzll(static_cast<uint64_t>(value));
}

std::optional<Scale> raiseScale(LoweredScale scale) {
  if (scale.multiplier == 0)
    return Scale{0, kMaxShift};
  const int64_t up = kMultiplierBits32 - bitWidth(scale.multiplier);
  return up < 0 ? std::nullopt : moveUp(scale, up);
}

std::optional<Scale> raiseScale16(LoweredScale scale) {
  if (scale.multiplier == 0)
    return Scale{0, kMaxShift};
  const int64_t up = std::max<int64_t>(0, kMinShift - scale.shift);
  return bitWidth(scale.multiplier) + up > kMultiplierBits16
             ? std::nullopt
             : moveUp(scale, up);
}

} // namespace tosa_rescale
