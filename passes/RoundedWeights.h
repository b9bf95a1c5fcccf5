//===- RoundedWeights.h - scaled weights as integers ----------------------===//
//
// Rounds the scaled weights of one output channel so that the accumulator's
// expected error is small; free of MLIR types.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef TOSA_RESCALE_ROUNDEDWEIGHTS_H
#define TOSA_RESCALE_ROUNDEDWEIGHTS_H

#include "Compensation.h"

#include <vector>

namespace tosa_rescale {

/// `w = t - d` for the scaled weights `t`: integers and what they miss.
///
/// With x the input, the accumulator's error is sum(d[i] * x[i]), and its
/// expected square is d' H d for H = E[x x']. That H is mixed with a prior:
///
///   H = (1 - l) * E[x x'] + l * t * ((1 - c) I + c 1 1'),
///   t = trace(E[x x']) / n
///
/// inputs of one variance and correlation c: 1/2 as behind a ReLU.
/// Moments of a few samples alone do not determine n * n numbers, and rounding
/// then fits their noise. Without statistics l is 1.
class RoundedWeights {
public:
  RoundedWeights(const Channel &channel, const LayerRules &rules);

  /// Starts from the nearest integers to `ratio * weights`.
  void start(double ratio);
  /// Lowers d' H d by single steps.
  void improve();

  /// The bias that makes up for the mean error.
  int64_t getBias() const;
  /// Expected square of the accumulator's error, that of the bias included.
  double getError(int64_t bias) const;
  /// The accumulator's range without its bias.
  void getSums(int64_t &low, int64_t &high) const;

  const std::vector<int16_t> &getWeights() const { return w; }

private:
  void addRow(const float *row, float factor);
  void step(int64_t i, int sign);
  void improveSum();
  void improveByDescent();

  const Channel &channel;
  const LayerRules &rules;
  const InputStatistics *const inputs;
  const int64_t n;
  double ratio = 1;
  /// H in terms of E[x x']: see above.
  float dataWeight = 0, priorWeight = 1;
  std::vector<int16_t> w;
  std::vector<float> d;
  /// E[x x'] d, kept up to date by step(); empty without statistics.
  std::vector<float> g;
};

} // namespace tosa_rescale

#endif // TOSA_RESCALE_ROUNDEDWEIGHTS_H
