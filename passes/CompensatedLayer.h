//===- CompensatedLayer.h - the convolution behind a rescale --------------===//
//
// Finds the convolution whose accumulator a rescale scales, and folds the
// rescale's error into its weights and biases, channel by channel.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef TOSA_RESCALE_COMPENSATEDLAYER_H
#define TOSA_RESCALE_COMPENSATEDLAYER_H

#include "LayerStatistics.h"
#include "RescalePlan.h"

namespace tosa_rescale {

/// How layers are compensated; see `tosa-rescale-compensate`.
struct LayerOptions {
  bool promote = true;
  bool clip = true;
  WeightRounding rounding = WeightRounding::Auto;
  double shrinkage = 0.3;
};

/// A convolution, its weights and what is to become of them.
class CompensatedLayer {
public:
  /// The convolution whose accumulator `plan` scales. If there is none to
  /// compensate in, the result is null and `reason` says why. `measured` finds
  /// the statistics of an operation, or null.
  static std::unique_ptr<CompensatedLayer>
  make(const RescalePlan &plan, const LayerOptions &options,
       llvm::function_ref<const LayerStatistics *(mlir::Operation *)> measured,
       std::string &reason);

  /// Solves the channels from `first` to `last`, the latter excluded. Channels
  /// are independent of one another.
  void solve(llvm::ArrayRef<Scale> scales, int64_t first, int64_t last);

  /// Whether the weights to nearest have a smaller expected error than what
  /// solve() chose: the prior may know less of a layer than its moments do.
  bool isBetterToNearest() const;

  /// Whether the weights of `channel` can stay as they are with the zero point
  /// that the layer gets.
  bool canKeepWeights(int64_t channel) const;

  /// Rewrites weights, their zero point and biases.
  void apply(mlir::OpBuilder &builder) const;

  int64_t getChannels() const { return layout.outputChannels; }
  int64_t getTaps() const { return layout.taps; }
  /// Second moments of its input were measured.
  bool hasMoments() const { return statistics && statistics->hasMoments; }

  LayerRules rules;
  /// What became of each channel, once it is solved.
  std::vector<Compensated> results;

private:
  /// Why the operands do not allow compensation; empty if they do.
  std::string readOperands(const RescalePlan &plan);
  void setRules(const RescalePlan &plan, const LayerOptions &options,
                bool fill);
  int64_t getNewZp() const { return rules.fill ? 0 : weightZp; }

  Convolution convolution;
  WeightLayout layout;
  int64_t inputZp = 0, weightZp = 0, outputZp = 0;
  std::unique_ptr<Weights> weights;
  /// Not initialised: the threads that fill it are to touch it first.
  std::unique_ptr<int8_t[]> newWeights;
  llvm::SmallVector<int64_t> biases;
  const LayerStatistics *statistics = nullptr;
};

} // namespace tosa_rescale

#endif // TOSA_RESCALE_COMPENSATEDLAYER_H
