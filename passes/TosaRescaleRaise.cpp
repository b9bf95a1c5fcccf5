//===- TosaRescaleRaise.cpp - rescales out of 32-bit operations -----------===//
//
// Implements tosa-rescale-raise.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Passes.h"

using namespace mlir;

namespace tosa_rescale {

#define GEN_PASS_DEF_TOSARESCALERAISEPASS
#include "Passes.h.inc"

namespace {

struct TosaRescaleRaisePass final
    : impl::TosaRescaleRaisePassBase<TosaRescaleRaisePass> {
  using Base::Base;

  void runOnOperation() override { numRaised += raiseRescales(getOperation()); }
};

} // namespace

} // namespace tosa_rescale
