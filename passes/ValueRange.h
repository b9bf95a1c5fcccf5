//===- ValueRange.h - which values an integer tensor can hold -------------===//
//
// Interval analysis of the integer tensors of a function, from weights, biases
// and the types of its arguments. SPDX-License-Identifier: Apache-2.0 WITH
// LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef TOSA_RESCALE_VALUERANGE_H
#define TOSA_RESCALE_VALUERANGE_H

#include "mlir/Dialect/Tosa/IR/TosaOps.h"
#include "llvm/ADT/DenseMap.h"

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

/// Sound bounds: whatever the input, no element is ever outside its interval.
/// An operation that the analysis does not know has the full range of its type.
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

private:
  ChannelRanges infer(mlir::Operation *op);
  ChannelRanges inferConvolution(mlir::Operation *op, bool partial);
  ChannelRanges inferMatMul(mlir::tosa::MatMulOp op);
  ChannelRanges inferRescale(mlir::tosa::RescaleOp op);
  ChannelRanges inferTable(mlir::tosa::TableOp op);

  llvm::DenseMap<mlir::Value, ChannelRanges> ranges;
  llvm::DenseMap<mlir::Value, Interval> overflows;
};

} // namespace tosa_rescale

#endif // TOSA_RESCALE_VALUERANGE_H
