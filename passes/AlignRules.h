//===- AlignRules.h - which tensors of an operation share a scale ---------===//
//
// One rule for each kind of operation.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef TOSA_RESCALE_ALIGNRULES_H
#define TOSA_RESCALE_ALIGNRULES_H

#include "AlignNetwork.h"

namespace tosa_rescale {

/// Tells the network what an operation says of the scales of its tensors. Emits
/// an error if an attribute makes no sense.
using AlignRule = llvm::LogicalResult (*)(AlignNetwork &network,
                                          mlir::Operation *op);

/// The rule for operations of this name. The tensors of an operation without
/// one of its own all keep their scale.
AlignRule getAlignRule(llvm::StringRef name);

} // namespace tosa_rescale

#endif // TOSA_RESCALE_ALIGNRULES_H
