//===- TosaRescalePlugin.cpp - the passes as a plugin of mlir-opt ---------===//
//
// Entry point of `mlir-opt --load-pass-plugin`.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Passes.h"

#include "mlir/Tools/Plugins/PassPlugin.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/Support/Compiler.h"

extern "C" LLVM_ATTRIBUTE_VISIBILITY_DEFAULT mlir::PassPluginLibraryInfo
mlirGetPassPluginInfo() {
  return {MLIR_PLUGIN_API_VERSION, "TosaRescale", LLVM_VERSION_STRING,
          [] { tosa_rescale::registerTosaRescalePasses(); }};
}
