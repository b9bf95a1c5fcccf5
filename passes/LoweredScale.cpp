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

static std::string findObstacle(Scale scale, bool doubleRound, int64_t low,
                                int64_t high, int64_t outputZp) {
  if (scale.multiplier < 0)
    return "requires a multiplier of at least 0, got " +
           std::to_string(scale.multiplier);
  if (!isLegalShift(scale.shift))
    return "requires a shift from " + fromTo(kMinShift, kMaxShift) + ", got " +
           std::to_string(scale.shift);
  if (!fitsI32(low, high))
    return "requires a value that fits i32, got " + fromTo(low, high);
  if (doubleRound && !roundsAlike(scale, low, high))
    return "requires SINGLE_ROUND, or a shift of at most 31, got DOUBLE_ROUND "
           "with shift " +
           std::to_string(scale.shift);
  const int64_t multiplier = makeCompact(scale).multiplier;
  if (multiplier > kMaxI32 ||
      !fitsI32(Int128(low) * multiplier, Int128(high) * multiplier)) {
    const int64_t limit = kMaxI32 / multiplier;
    return "requires a value from " + fromTo(-limit, limit) +
           " for a 32-bit product with " + std::to_string(multiplier) +
           ", got " + fromTo(low, high);
  }
  if (!fitsI32(applyScale(low, scale, doubleRound) + outputZp,
               applyScale(high, scale, doubleRound) + outputZp))
    return "requires a scaled value that fits i32 with output_zp added, got a "
           "value from " +
           fromTo(low, high);
  return "";
}

LoweredScaleOr lowerScale(Scale scale, bool doubleRound, int64_t low,
                          int64_t high, int64_t outputZp) {
  std::string reason = findObstacle(scale, doubleRound, low, high, outputZp);
  if (!reason.empty())
    return {std::nullopt, std::move(reason)};
  LoweredScale lowered = makeCompact(scale);
  // 32 and more leave nothing of a product that fits i32; 31 does the same
  // below 2^30.
  if (lowered.shift > kMaxLoweredShift) {
    const int64_t limit = int64_t(1) << 30;
    const bool isSmall =
        low * lowered.multiplier >= -limit && high * lowered.multiplier < limit;
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
