//===- AlignWeights.h - what the error of a tensor counts for -------------===//
//
// How far the rounding of one element reaches, read from the IR.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef TOSA_RESCALE_ALIGNWEIGHTS_H
#define TOSA_RESCALE_ALIGNWEIGHTS_H

#include "mlir/IR/Value.h"

namespace tosa_rescale {

/// How often the errors of `value` count, at least 1. Where a sum adds up n
/// elements that are not negative, as squares, rounding them goes one way and
/// adds up; where one element multiplies n others, as the deviation of a token
/// its features, its error is in all of them and no later sum averages it out.
double getErrorWeight(mlir::Value value);

} // namespace tosa_rescale

#endif // TOSA_RESCALE_ALIGNWEIGHTS_H
