//===- LayerStatistics.h - what was measured at a convolution's input -----===//
//
// Reads the attributes in which calibration leaves what a convolution saw. For
// K weights of one output channel in their order, and in depthwise_conv2d
// T = KH * KW weights of each of C channels, they are f32 tensors:
//
//   mean, square    [KH, KW, IC], conv3d [KD, KH, KW, IC];  [KH, KW, C]
//   factors         [R, K];                                 [C, R, T]
//   moment          [K, K];                                 [C, T, T]
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef TOSA_RESCALE_LAYERSTATISTICS_H
#define TOSA_RESCALE_LAYERSTATISTICS_H

#include "Compensation.h"
#include "Convolution.h"

namespace tosa_rescale {

/// Statistics of a convolution's input; see InputStatistics. For
/// depthwise_conv2d one channel after the other, else the same for all.
struct LayerStatistics {
  std::vector<float> mean, moment, factors, rest, diagonal;
  int64_t rank = 0;
  /// Mean correlation of two inputs, from 0 to 1/2, where `moment` tells it.
  std::optional<double> correlation;
  /// Second moments were measured, not guessed.
  bool hasMoments = true;

  /// Those of one output channel.
  InputStatistics get(const WeightLayout &layout, int64_t outputChannel) const;
};

/// Whether `op` has an attribute of input statistics.
bool hasStatistics(mlir::Operation *op);

/// Makes the attributes of input statistics those of an input that is `factor`
/// times as large. What is no statistic is left for `readStatistics` to refuse.
void scaleStatistics(mlir::Operation *op, double factor);

/// Removes the attributes of input statistics.
void removeStatistics(mlir::Operation *op);

/// Emits an error if the attributes of `convolution` make no sense together, or
/// one is not of the shape above or not finite.
llvm::FailureOr<LayerStatistics> readStatistics(Convolution convolution);

} // namespace tosa_rescale

#endif // TOSA_RESCALE_LAYERSTATISTICS_H
