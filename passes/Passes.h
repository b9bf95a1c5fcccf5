//===- Passes.h - the passes and the types of their options ---------------===//
//
// Creates and registers the passes that Passes.td declares.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef TOSA_RESCALE_PASSES_H
#define TOSA_RESCALE_PASSES_H

#include "Compensation.h"
#include "LoweredRescale.h"
#include "RescalePlan.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tosa/IR/TosaOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace tosa_rescale {

/// Options that go together.
enum class Preset { None, Paper };

#define GEN_PASS_DECL
#include "Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "Passes.h.inc"

} // namespace tosa_rescale

#endif // TOSA_RESCALE_PASSES_H
