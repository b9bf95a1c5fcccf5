//===- Diagnostics.h - where and how much, for people ---------------------===//
//
// Errors and remarks that name the operation they are about.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef TOSA_RESCALE_DIAGNOSTICS_H
#define TOSA_RESCALE_DIAGNOSTICS_H

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Operation.h"

#include <string>

namespace tosa_rescale {

/// The name that a converter gave what stands at `location`: that of the first
/// of fused operations. Empty if there is none, or a line of a text to point
/// at.
llvm::StringRef getConvertedName(mlir::Location location);

/// An error on `op`, beginning with the kind of operation, or a remark on it.
///
/// A module that was converted has no lines. Its operations are named as in the
/// source model, and a rescale without a name as `tosa-rescale info` does, by
/// its position among those that the function has now: `rescale12`.
mlir::InFlightDiagnostic errorOn(mlir::Operation *op);
mlir::InFlightDiagnostic remarkOn(mlir::Operation *op);

/// `1 significant bit`, `4 significant bits`.
std::string countSignificantBits(int64_t bits);

} // namespace tosa_rescale

#endif // TOSA_RESCALE_DIAGNOSTICS_H
