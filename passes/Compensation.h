//===- Compensation.h - weights that absorb a multiplier's error ----------===//
//
// Chooses the narrow multiplier of one output channel and folds the ratio to
// the original one into its weights and bias; free of MLIR types.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef TOSA_RESCALE_COMPENSATION_H
#define TOSA_RESCALE_COMPENSATION_H

#include "RescaleMath.h"

namespace tosa_rescale {

/// How scaled weights become integers. Auto minimises the expected square of
/// the accumulator's error; Nearest looks at each weight alone.
enum class WeightRounding { Auto, Nearest };

/// What all channels of a layer have in common.
struct LayerRules {
  NarrowFormat format;
  /// A multiplier of 32 bits, whose shift limits the accumulator.
  bool scale32 = true;
  /// Fill the range of the weights, which may make them larger. Otherwise the
  /// ratio is at most 1, so that channels can share one multiplier.
  bool fill = true;
  /// With `fill`: let single weights clip where that makes the others more
  /// accurate by more than it costs.
  bool clip = true;
  WeightRounding rounding = WeightRounding::Auto;
  /// Weight of the prior against the measured moments, from 0 to 1.
  double shrinkage = 0.3;
  /// How inputs are correlated in the prior, from 0 to 1/2: behind a ReLU they
  /// are, about a mean of 0 they are not.
  double correlation = 0.5;
  /// Range of a new weight, less its zero point.
  int32_t lowestWeight = -127;
  int32_t highestWeight = 127;
  /// Range of an input value less its zero point; contains 0.
  int64_t lowestInput = 0;
  int64_t highestInput = 0;
  /// Range of the accumulator's type.
  int64_t lowestSum = 0;
  int64_t highestSum = 0;
  int64_t outputZp = 0;
};

/// What is known about the inputs x[i] of a channel's `count` weights.
/// E[x[i] * x[j]] is `moment`, a symmetric matrix, or, if that is null,
/// sum(factors[r][i] * factors[r][j]) plus `rest[i]` on the diagonal.
struct InputStatistics {
  const float *mean = nullptr;
  const float *moment = nullptr;
  const float *factors = nullptr;
  const float *rest = nullptr;
  int64_t rank = 0;
  /// E[x[i]^2]
  const float *diagonal = nullptr;
};

/// One output channel: y = scale * (bias + sum(weights[i] * x[i])).
struct Channel {
  const int16_t *weights = nullptr;
  int64_t count = 0;
  int64_t bias = 0;
  Scale scale;
  /// May be null.
  const InputStatistics *inputs = nullptr;
};

/// What became of a channel.
enum class Outcome {
  /// Nothing to do: the multiplier is narrow already.
  Kept,
  Compensated,
  /// The multiplier is 0 and so is every result.
  ZeroMultiplier,
  /// `bias` is what the accumulator's type cannot hold; weights are unchanged.
  BiasOverflow,
  /// No legal shift expresses the multiplier.
  NoShift,
};

struct Compensated {
  Outcome outcome = Outcome::Kept;
  /// If Kept or Compensated.
  Scale scale;
  /// Original multiplier by new one.
  double ratio = 1;
  int64_t bias = 0;
  /// Number of weights that are not what they were.
  int64_t changed = 0;
  /// With statistics: expected square of the error of the result before it is
  /// rounded, had the weights been rounded to nearest, and as they are.
  double errorNearest = 0;
  double error = 0;
};

/// Writes the new weights of `channel`, less their zero point, to `weights`.
Compensated compensate(const Channel &channel, const LayerRules &rules,
                       int16_t *weights);

} // namespace tosa_rescale

#endif // TOSA_RESCALE_COMPENSATION_H
