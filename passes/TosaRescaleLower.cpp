//===- TosaRescaleLower.cpp - rescales in 32 bits -------------------------===//
//
// Implements tosa-rescale-lower.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Attributes.h"
#include "Diagnostics.h"
#include "Passes.h"
#include "ValueRange.h"

#include "llvm/Support/DebugLog.h"

#define DEBUG_TYPE "tosa-rescale-lower"

using namespace mlir;

namespace tosa_rescale {

#define GEN_PASS_DEF_TOSARESCALELOWERPASS
#include "Passes.h.inc"

namespace {

struct TosaRescaleLowerPass final
    : impl::TosaRescaleLowerPassBase<TosaRescaleLowerPass> {
  using Base::Base;

  void runOnOperation() override {
    // All are judged before one is changed: the analysis knows the values that
    // there are now.
    ValueRanges ranges(getOperation());
    const LowerRequest request = {rounding, wideInputs};
    SmallVector<std::pair<tosa::RescaleOp, LoweredRescale>> found;
    bool anyFailed = false;
    getOperation().walk([&](tosa::RescaleOp op) {
      if (scope == Scope::Accumulator && !isAccumulatorRescale(op))
        return;
      std::string reason;
      if (std::optional<LoweredRescale> lowered =
              lowerRescale(op, ranges, request, reason)) {
        found.emplace_back(op, *std::move(lowered));
        return;
      }
      ++numLeftAlone;
      if (strict)
        errorOn(op) << "cannot be lowered: " << reason;
      else
        remarkOn(op) << "stays a rescale: " << reason;
      anyFailed |= strict;
    });
    if (anyFailed)
      return signalPassFailure();

    OpBuilder builder(&getContext());
    for (auto &[op, lowered] : found) {
      LDBG() << "lowering " << op;
      // An operand may have been the result of one that was lowered before.
      lowered.input = op.getInput();
      builder.setInsertionPoint(op);
      op->removeAttr(kLoweredAttrName);
      const SmallVector<NamedAttribute> attributes(op->getDiscardableAttrs());
      op.getResult().replaceAllUsesWith(
          lowered.build(builder, op.getLoc(), attributes));
      eraseIfDead(op);
      ++numLowered;
    }
  }
};

} // namespace

} // namespace tosa_rescale
