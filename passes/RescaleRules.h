//===- RescaleRules.h - what TOSA asks of a rescale -----------------------===//
//
// The rules of the specification for RESCALE, checked against the proven range
// of its input. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef TOSA_RESCALE_RESCALERULES_H
#define TOSA_RESCALE_RESCALERULES_H

#include "ValueRange.h"

namespace tosa_rescale {

/// Every rule that `op` violates or may violate for some input, each as
/// "requires X, got Y". With `maxBits`, also multipliers that have more
/// significant bits.
llvm::SmallVector<std::string>
findViolations(mlir::tosa::RescaleOp op, ValueRanges &ranges,
               std::optional<int64_t> maxBits = std::nullopt);

} // namespace tosa_rescale

#endif // TOSA_RESCALE_RESCALERULES_H
