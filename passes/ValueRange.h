//===- ValueRange.h - which values an integer tensor can hold -------------===//
//
// Interval analysis of the integer tensors of a function, from weights, biases
// and the types of its arguments. SPDX-License-Identifier: Apache-2.0 WITH
// LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef TOSA_RESCALE_VALUERANGE_H
#define TOSA_RESCALE_VALUERANGE_H

#include "Interval.h"

#include "mlir/Dialect/Tosa/IR/TosaOps.h"
#include "llvm/ADT/DenseMap.h"

namespace tosa_rescale {

/// Sound bounds: whatever the input, no element is ever outside its interval.
/// An operation without a rule (RangeRules.h) has the full range of its type.
class ValueRanges {
public:
  /// Analyses everything in `root`.
  explicit ValueRanges(mlir::Operation *root);

  /// The range of `value`; a tensor without an integer type has the full range
  /// of int64_t.
  ChannelRanges get(mlir::Value value);

  /// The union over all channels.
  Interval getWhole(mlir::Value value);

  /// The range of `get(op.getInput()) - input_zp`, the value that `op` scales.
  ChannelRanges getScaledValue(mlir::tosa::RescaleOp op);

  /// What the accumulator `value` would need, if that is more than its type
  /// holds.
  std::optional<Interval> getOverflow(mlir::Value value) const;

  /// The range of the accumulator `value`, a sum of products for each channel.
  /// Notes what its type does not hold.
  ChannelRanges addAccumulator(mlir::Value value,
                               llvm::ArrayRef<WideInterval> sums);

private:
  llvm::DenseMap<mlir::Value, ChannelRanges> ranges;
  llvm::DenseMap<mlir::Value, Interval> overflows;
};

/// Size of the last dimension; -1 if it is not known or there is none.
int64_t getChannelCount(mlir::Type type);

} // namespace tosa_rescale

#endif // TOSA_RESCALE_VALUERANGE_H
