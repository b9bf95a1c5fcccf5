//===- WeightedMean.h - means as sums with weights ------------------------===//
//
// A mean of n values multiplies their sum by 1/n. With weights of i8 it is a
// convolution, whose weights add up to what leaves a power of two to multiply
// with.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef TOSA_RESCALE_WEIGHTEDMEAN_H
#define TOSA_RESCALE_WEIGHTEDMEAN_H

#include "RescaleOps.h"

namespace tosa_rescale {

/// The largest weight of i8.
constexpr int64_t kLargestWeight = 127;

/// `count` integers that add up to `sum`: two neighbouring numbers, the larger
/// ones evenly among the others, as the steps of an even ramp are.
llvm::SmallVector<int64_t> makeEvenWeights(int64_t count, int64_t sum);

/// log2 of the largest sum of positive weights with which no values of
/// `element`, i8 or i16, overflow the accumulator of a convolution.
int64_t getLargestSumLog2(mlir::Type element);

/// A rescale of the sum of n values of 8 or 16 bits, where n is no power of
/// two: `reduce_sum` over one or more axes, of integers that were only widened.
class WeightedMean {
public:
  /// Null if `op` rescales no such sum.
  static WeightedMean match(mlir::tosa::RescaleOp op);

  explicit operator bool() const { return rescale; }
  mlir::tosa::RescaleOp getRescale() const { return rescale; }
  /// What adds the values up; the last one of several.
  mlir::Operation *getSum() const { return sum; }
  /// Of how many values it is the mean.
  int64_t getCount() const { return count; }
  /// Why it cannot have weights; empty if it can.
  std::string getObstacle() const;

  /// Makes it a convolution whose rescale is a shift. The weights take up
  /// whatever is left of the multiplier. False, and nothing is changed, if no
  /// legal shift expresses it.
  bool apply(mlir::OpBuilder &builder) const;

private:
  /// How the convolution sees the values: [outer, window, inner].
  struct Layout {
    /// The order of dimensions that brings the values of a mean together; empty
    /// where they are.
    llvm::SmallVector<int32_t> order;
    int64_t outer = 1, inner = 1;
    /// Height and width.
    std::array<int64_t, 2> window = {1, 1};
  };
  /// The weights' sum and the shift behind it.
  struct Numbers {
    int64_t sum;
    Scale scale;
  };

  /// Follows the sum up to the integers that were widened.
  bool readSum();
  Layout getLayout() const;
  std::optional<Numbers> getNumbers() const;
  mlir::Value makeAccumulator(mlir::OpBuilder &builder,
                              int64_t weightSum) const;
  bool isWide() const;

  mlir::tosa::RescaleOp rescale;
  mlir::Operation *sum = nullptr;
  /// What is added up, as it was before it was widened, and the sum as it is
  /// rescaled.
  mlir::Value values, zeroPoint, total;
  /// What widening, and the rescale of the sum, multiply with.
  Scale widened, scale;
  /// Of the values, and which of its dimensions are added up.
  llvm::SmallVector<int64_t> shape;
  llvm::SmallVector<bool> isReduced;
  int64_t count = 1;
};

} // namespace tosa_rescale

#endif // TOSA_RESCALE_WEIGHTEDMEAN_H
