//===- MovedScales.h - what changes where a tensor's scale does
//------------===//
//
// Biases, constants, bounds of clamps, tables and attributes of a function for
// the factors that alignment chose.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef TOSA_RESCALE_MOVEDSCALES_H
#define TOSA_RESCALE_MOVEDSCALES_H

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace tosa_rescale {

class AlignNetwork;

/// Gives everything in `function` but rescales the scales that `network` chose,
/// and removes the attributes that it read. With `keepsSaturation` a tensor
/// whose scale grew is cut off where it saturated before. Returns how many
/// tensors have a new scale.
int64_t moveScales(AlignNetwork &network, mlir::func::FuncOp function,
                   bool keepsSaturation);

} // namespace tosa_rescale

#endif // TOSA_RESCALE_MOVEDSCALES_H
