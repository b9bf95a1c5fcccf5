//===- TosaRescaleVerify.cpp - check rescales -----------------------------===//
//
// Implements tosa-rescale-verify.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Diagnostics.h"
#include "Passes.h"
#include "RescaleRules.h"

using namespace mlir;

namespace tosa_rescale {

#define GEN_PASS_DEF_TOSARESCALEVERIFYPASS
#include "Passes.h.inc"

namespace {

struct TosaRescaleVerifyPass final
    : impl::TosaRescaleVerifyPassBase<TosaRescaleVerifyPass> {
  using Base::Base;

  LogicalResult initialize(MLIRContext *context) override {
    request = {bits, elementwiseBits, hiddenBit, scope};
    return checkBitsRequest(UnknownLoc::get(context), getArgument(), request,
                            /*minBits=*/0);
  }

  void runOnOperation() override {
    // In a copy, lowered rescales are rescales again.
    OwningOpRef<func::FuncOp> copy = getOperation().clone();
    raiseRescales(*copy, /*onlyMarked=*/true);
    ValueRanges ranges(*copy);
    bool anyFailed = false;
    copy->walk([&](tosa::RescaleOp op) {
      std::optional<int64_t> maxBits;
      if (bits != 0) {
        FailureOr<std::optional<int64_t>> requested =
            getSignificantBits(op, request);
        anyFailed |= failed(requested);
        if (succeeded(requested))
          maxBits = *requested;
      }
      for (const std::string &violation : findViolations(op, ranges, maxBits)) {
        errorOn(op) << violation;
        anyFailed = true;
      }
    });
    markAllAnalysesPreserved();
    if (anyFailed)
      signalPassFailure();
  }

private:
  BitsRequest request;
};

} // namespace

} // namespace tosa_rescale
