//===- Interval.h - arithmetic of integer ranges --------------------------===//
//
// Intervals of integers, and what operations make of them; which values an
// integer type can hold.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef TOSA_RESCALE_INTERVAL_H
#define TOSA_RESCALE_INTERVAL_H

#include "RescaleMath.h"

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/TypeUtilities.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"

#include <algorithm>
#include <limits>

namespace tosa_rescale {

/// All integers from `low` to `high`, both included.
struct Interval {
  int64_t low = 0;
  int64_t high = 0;

  static Interval unite(Interval a, Interval b) {
    return {std::min(a.low, b.low), std::max(a.high, b.high)};
  }
};

/// One interval for the whole tensor, or one for each index of its last
/// dimension, which is the channel.
using ChannelRanges = llvm::SmallVector<Interval, 1>;

/// An interval before it is confined to a type: sums and products of two
/// int64_t fit.
struct WideInterval {
  Int128 low;
  Int128 high;
};

inline WideInterval widen(Interval interval) {
  return {interval.low, interval.high};
}

/// All values of an integer type. `i1` is a truth value, 0 or 1.
inline Interval getTypeRange(mlir::Type type) {
  auto integer =
      llvm::dyn_cast<mlir::IntegerType>(mlir::getElementTypeOrSelf(type));
  if (!integer || integer.getWidth() > 63)
    return {std::numeric_limits<int64_t>::min(),
            std::numeric_limits<int64_t>::max()};
  const unsigned width = integer.getWidth();
  if (integer.isUnsigned() || width == 1)
    return {0, (int64_t(1) << width) - 1};
  return {-(int64_t(1) << (width - 1)), (int64_t(1) << (width - 1)) - 1};
}

inline bool fits(WideInterval interval, Interval limits) {
  return interval.low >= limits.low && interval.high <= limits.high;
}

/// `interval` if `type` can hold it, else everything: TOSA leaves an overflow
/// undefined, so any value may follow.
inline Interval confine(WideInterval interval, mlir::Type type) {
  const Interval limits = getTypeRange(type);
  if (!fits(interval, limits))
    return limits;
  return {static_cast<int64_t>(interval.low),
          static_cast<int64_t>(interval.high)};
}

/// Extremes of a function that is monotone in each of its arguments.
template <typename Function>
WideInterval atCorners(Interval a, Interval b, Function function) {
  const Int128 corners[] = {function(a.low, b.low), function(a.low, b.high),
                            function(a.high, b.low), function(a.high, b.high)};
  return {*llvm::min_element(corners), *llvm::max_element(corners)};
}

inline WideInterval multiply(Interval a, Interval b) {
  return atCorners(a, b, [](int64_t x, int64_t y) { return Int128(x) * y; });
}

inline Interval uniteAll(llvm::ArrayRef<Interval> ranges) {
  Interval result = ranges.front();
  for (Interval interval : ranges.drop_front())
    result = Interval::unite(result, interval);
  return result;
}

inline Interval at(llvm::ArrayRef<Interval> ranges, size_t channel) {
  return ranges.size() == 1 ? ranges.front() : ranges[channel];
}

/// `function` of each channel, as far as `type` holds it.
template <typename Function>
ChannelRanges mapRanges(llvm::ArrayRef<Interval> a, mlir::Type type,
                        Function function) {
  ChannelRanges result;
  for (Interval interval : a)
    result.push_back(confine(function(interval), type));
  return result;
}

/// Combines two operands that broadcast against each other.
template <typename Function>
ChannelRanges zipRanges(llvm::ArrayRef<Interval> a, llvm::ArrayRef<Interval> b,
                        mlir::Type type, Function function) {
  ChannelRanges result;
  for (size_t channel = 0, e = std::max(a.size(), b.size()); channel < e;
       ++channel)
    result.push_back(confine(function(at(a, channel), at(b, channel)), type));
  return result;
}

inline ChannelRanges uniteRanges(llvm::ArrayRef<Interval> a,
                                 llvm::ArrayRef<Interval> b) {
  ChannelRanges result;
  for (size_t channel = 0, e = std::max(a.size(), b.size()); channel < e;
       ++channel)
    result.push_back(Interval::unite(at(a, channel), at(b, channel)));
  return result;
}

} // namespace tosa_rescale

#endif // TOSA_RESCALE_INTERVAL_H
