//===- RangeRules.h - which values an operation can yield -----------------===//
//
// One rule for each kind of operation.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef TOSA_RESCALE_RANGERULES_H
#define TOSA_RESCALE_RANGERULES_H

#include "ValueRange.h"

namespace tosa_rescale {

/// The range of the only result of `op`, from those of its operands.
using RangeRule = ChannelRanges (*)(ValueRanges &ranges, mlir::Operation *op);

/// The rule for operations of this name. One without a rule of its own has the
/// full range of its result's type.
RangeRule getRangeRule(llvm::StringRef name);

//===----------------------------------------------------------------------===//
// Rules of AccumulatorRanges.cpp
//===----------------------------------------------------------------------===//

ChannelRanges inferConvolution(ValueRanges &ranges, mlir::Operation *op);
ChannelRanges inferMatMul(ValueRanges &ranges, mlir::Operation *op);
ChannelRanges inferRescale(ValueRanges &ranges, mlir::Operation *op);

} // namespace tosa_rescale

#endif // TOSA_RESCALE_RANGERULES_H
