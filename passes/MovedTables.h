//===- MovedTables.h - tables of a function for other scales --------------===//
//
// Which tables can be written for another scale of their input or result, and
// their entries for it.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef TOSA_RESCALE_MOVEDTABLES_H
#define TOSA_RESCALE_MOVEDTABLES_H

#include "Tables.h"

#include "mlir/Dialect/Tosa/IR/TosaOps.h"

namespace tosa_rescale {

class AlignNetwork;

/// A table of constants, whose results another scale may have: 256 entries of
/// 8 bits, or 513 of 16.
bool isMovableTable(mlir::Operation *op);

/// Whoever wrote the table computes it from the scales of its input and result,
/// and does so again: nothing is lost by another scale.
bool isFunction(mlir::Operation *op);

/// Why what `op`, a movable table, reads keeps its scale whatever that costs;
/// empty if it need not. 256 entries must be monotone, or nothing is known
/// between them.
std::string whyInputStays(AlignNetwork &network, mlir::Operation *op);

/// The entries of `op` for the factors that were chosen.
ResampledTable resample(AlignNetwork &network, mlir::tosa::TableOp op);

/// Writes the entries of `op`, a movable table, for the factors that were
/// chosen; a remark says what a new scale of its input may cost, unless the
/// table is a function.
void moveTable(AlignNetwork &network, mlir::tosa::TableOp op);

} // namespace tosa_rescale

#endif // TOSA_RESCALE_MOVEDTABLES_H
