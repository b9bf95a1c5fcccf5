//===- Passes.h - the passes and the types of their options ---------------===//
//
// Creates and registers the passes that Passes.td declares.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef TOSA_RESCALE_PASSES_H
#define TOSA_RESCALE_PASSES_H

#include "Compensation.h"
#include "RescaleMath.h"
#include "RescaleOps.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tosa/IR/TosaOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace tosa_rescale {

/// The form of a narrowed multiplier; see `tosa-rescale-narrow`.
enum class Encoding { Aligned, Scale16 };

/// The rounding mode of a narrowed rescale.
enum class ResultRounding { Single, Double, Keep };

/// Options that go together.
enum class Preset { None, Paper };

#define GEN_PASS_DECL
#include "Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "Passes.h.inc"

} // namespace tosa_rescale

#endif // TOSA_RESCALE_PASSES_H
