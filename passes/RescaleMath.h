//===- RescaleMath.h - arithmetic of one multiplier and shift -------------===//
//
// What a TOSA rescale does to one value, and how its scale is narrowed; free of
// MLIR types. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef TOSA_RESCALE_RESCALEMATH_H
#define TOSA_RESCALE_RESCALEMATH_H

#include <cstdint>
#include <optional>

namespace tosa_rescale {

/// Wide enough for a 48-bit value times a 31-bit multiplier, legal or not.
__extension__ typedef __int128 Int128;

/// TOSA 1.0, RESCALE: `2 <= shift <= 62`.
constexpr int kMinShift = 2;
constexpr int kMaxShift = 62;

/// Value bits of the two multiplier types, i32 and i16.
constexpr int kMultiplierBits32 = 31;
constexpr int kMultiplierBits16 = 15;

/// The factor `multiplier * 2^-shift`.
struct Scale {
  int64_t multiplier = 0;
  int64_t shift = kMaxShift;

  friend bool operator==(const Scale &a, const Scale &b) {
    return a.multiplier == b.multiplier && a.shift == b.shift;
  }
  friend bool operator!=(const Scale &a, const Scale &b) { return !(a == b); }
};

/// Whether both stand for one number, however multiplier and shift share it.
bool isSameValue(const Scale &a, const Scale &b);

/// How a multiplier loses bits. Nearest takes ties up; Up never goes below the
/// original, as compensation needs; Truncate needs no arithmetic.
///
/// To Up, what a file's float32 scale adds to a k-bit multiplier is none: at a
/// width of at most kMaxSlackWidth, an excess below 2^-kSlackBits of the
/// multiplier does not count. Else a model that was written to LiteRT and read
/// back would have most of its 1-bit multipliers doubled.
inline constexpr int kSlackBits = 22;
inline constexpr int kMaxSlackWidth = 16;
enum class MultiplierRounding { Nearest, Up, Truncate };

/// What a narrowed scale looks like.
struct NarrowFormat {
  /// Bits from the leading one to the last one that may be set.
  int significantBits = kMultiplierBits32;
  MultiplierRounding rounding = MultiplierRounding::Nearest;
  /// Value bits of the multiplier's type: kMultiplierBits32 or
  /// kMultiplierBits16.
  int containerBits = kMultiplierBits32;
  /// Move the multiplier to the top of its type instead of to the bottom. This
  /// is exact and keeps the shift, and with it the value range `-(1 <<
  /// (shift-1)) <= value < 1 << (shift-1)` of scale32, as large as possible.
  bool leftAligned = true;
  /// The result is used with DOUBLE_ROUND, which rounds a second time where
  /// `shift > 31`: aligning stays on its side.
  bool doubleRound = false;
};

/// Number of bits from the leading one to the last set bit; 0 for 0.
/// `multiplier` must not be negative.
int significantBits(int64_t multiplier);

/// Narrows `scale` to `format`, in one rounding. Doing it again changes
/// nothing. A shift above 62 costs the bits that 62 cannot hold. No result if
/// the multiplier is negative, or if the scale is too large for any legal
/// shift.
std::optional<Scale> narrowScale(Scale scale, const NarrowFormat &format);

/// The smallest scale that `format` can express and that is at least `scale *
/// numerator / denominator`, whatever `format.rounding`. Both are positive and
/// below 2^63; the multiplier of `scale` is positive and below 2^32. No result
/// if it is too large for any legal shift.
std::optional<Scale> fillScale(Scale scale, int64_t numerator,
                               int64_t denominator, NarrowFormat format);

/// TOSA's apply_scale_32 (which alone knows `doubleRound`) and apply_scale_16,
/// without their limits on value and result. The multiplier is not negative,
/// and `1 <= shift <= 126`.
Int128 applyScale(Int128 value, Scale scale, bool doubleRound);

/// One whole RESCALE of an integer tensor element: subtract `inputZp`, scale,
/// add `outputZp`, clip to `[low, high]`.
int64_t rescaleValue(int64_t value, int64_t inputZp, Scale scale,
                     bool doubleRound, int64_t outputZp, int64_t low,
                     int64_t high);

inline bool isLegalShift(int64_t shift) {
  return shift >= kMinShift && shift <= kMaxShift;
}

/// Whether scale32 may be applied: `-(1 << (shift-1)) <= value < 1 <<
/// (shift-1)`. The shift must be legal.
bool isLegalValue32(Int128 value, int64_t shift);

/// Whether scale16 may yield `result`, before the output zero point is added.
bool isLegalResult(Int128 result);

} // namespace tosa_rescale

#endif // TOSA_RESCALE_RESCALEMATH_H
