//===- ScaleChoice.h - the narrow multiplier of one channel ---------------===//
//
// Chooses the multiplier that one output channel gets, by what it costs in
// accuracy of the weights; free of MLIR types.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef TOSA_RESCALE_SCALECHOICE_H
#define TOSA_RESCALE_SCALECHOICE_H

#include "Compensation.h"

namespace tosa_rescale {

/// A scale that a file format keeps as a float32 comes back with an error near
/// 2^-24. Rounded up, 1-bit multipliers would double for that; so an excess
/// below 2^-22 does not count. No weight up to 255 moves by it.
inline constexpr int64_t kSlackOne = int64_t(1) << kSlackBits;

/// `scale` by `narrow`: what the weights are multiplied by.
double getRatio(Scale scale, Scale narrow);

/// The multiplier for which the weights fill their range, or a smaller one if
/// clipping some weights then costs less than the finer grid of the others
/// gains.
/// `peak`, the largest magnitude of a weight, is above 0. No result if no legal
/// shift expresses it.
std::optional<Scale> chooseScale(const Channel &channel,
                                 const LayerRules &rules, int32_t peak);

} // namespace tosa_rescale

#endif // TOSA_RESCALE_SCALECHOICE_H
