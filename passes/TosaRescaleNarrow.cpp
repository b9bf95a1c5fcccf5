//===- TosaRescaleNarrow.cpp - narrow multipliers -------------------------===//
//
// Implements tosa-rescale-narrow.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Passes.h"

#include "llvm/Support/DebugLog.h"

#define DEBUG_TYPE "tosa-rescale-narrow"

using namespace mlir;

namespace tosa_rescale {

#define GEN_PASS_DEF_TOSARESCALENARROWPASS
#include "Passes.h.inc"

namespace {

struct TosaRescaleNarrowPass final
    : impl::TosaRescaleNarrowPassBase<TosaRescaleNarrowPass> {
  using Base::Base;

  LogicalResult initialize(MLIRContext *context) override;
  void runOnOperation() override;

private:
  NarrowRequest request;
};

} // namespace

LogicalResult TosaRescaleNarrowPass::initialize(MLIRContext *context) {
  if (preset == Preset::Paper) {
    multiplierRounding = MultiplierRounding::Truncate;
    hiddenBit = true;
    roundingMode = ResultRounding::Single;
  }
  request = {{bits, elementwiseBits, hiddenBit, scope},
             encoding,
             roundingMode,
             multiplierRounding};
  return checkNarrowRequest(UnknownLoc::get(context), getArgument(), request);
}

void TosaRescaleNarrowPass::runOnOperation() {
  SmallVector<RescalePlan> plans;
  const FailureOr<int64_t> leftAlone =
      planRescales(getOperation(), request, [&](RescalePlan &&plan) {
        plans.push_back(std::move(plan));
      });
  if (failed(leftAlone))
    return signalPassFailure();
  numLeftAlone += *leftAlone;

  OpBuilder builder(&getContext());
  for (const RescalePlan &plan : plans) {
    if (plan.apply(builder)) {
      LDBG() << "narrowed " << plan.op;
      ++numNarrowed;
    }
  }
}

} // namespace tosa_rescale
