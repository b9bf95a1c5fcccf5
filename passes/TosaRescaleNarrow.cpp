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

/// What one rescale is to become.
struct Plan {
  tosa::RescaleOp op;
  SmallVector<Scale> scales;
  bool scale32;
  tosa::RoundingMode roundingMode;
};

struct TosaRescaleNarrowPass final
    : impl::TosaRescaleNarrowPassBase<TosaRescaleNarrowPass> {
  using Base::Base;

  LogicalResult initialize(MLIRContext *context) override;
  void runOnOperation() override;

private:
  /// Fills `plan` from its op. No value: the op is out of scope, or was left
  /// alone with a remark.
  FailureOr<std::optional<Plan>> makePlan(tosa::RescaleOp op, int64_t bits);

  std::optional<Plan> leaveAlone(tosa::RescaleOp op, const Twine &reason) {
    remarkOn(op) << "left alone: " << reason;
    ++numLeftAlone;
    return std::nullopt;
  }

  BitsRequest request;
};

} // namespace

LogicalResult TosaRescaleNarrowPass::initialize(MLIRContext *context) {
  const Location location = UnknownLoc::get(context);
  if (preset == Preset::Paper) {
    multiplierRounding = MultiplierRounding::Truncate;
    hiddenBit = true;
    roundingMode = ResultRounding::Single;
  }
  request = {bits, elementwiseBits, hiddenBit, scope};
  if (failed(checkBitsRequest(location, getArgument(), request, kMinBits)))
    return failure();

  if (encoding == Encoding::Scale16) {
    const int64_t most =
        std::max(request.bits, request.elementwiseBits) + (hiddenBit ? 1 : 0);
    if (most > kMultiplierBits16)
      return emitError(location)
             << getArgument() << " requires at most " << kMultiplierBits16
             << " significant bits for option 'encoding=scale16', got " << most;
    if (roundingMode == ResultRounding::Double)
      return emitError(location) << getArgument()
                                 << " requires option 'encoding=aligned' with "
                                    "'rounding-mode=double', got scale16";
  }
  return success();
}

FailureOr<std::optional<Plan>>
TosaRescaleNarrowPass::makePlan(tosa::RescaleOp op, int64_t bits) {
  Plan plan{op,
            {},
            op.getScale32() && encoding == Encoding::Aligned,
            op.getRoundingMode()};

  if (roundingMode == ResultRounding::Single)
    plan.roundingMode = tosa::RoundingMode::SINGLE_ROUND;
  if (roundingMode == ResultRounding::Double)
    plan.roundingMode = tosa::RoundingMode::DOUBLE_ROUND;
  if (encoding == Encoding::Scale16) {
    if (bits > kMultiplierBits16)
      return op.emitOpError("requires at most ")
             << kMultiplierBits16
             << " significant bits for encoding=scale16, got " << bits;
    if (plan.roundingMode == tosa::RoundingMode::DOUBLE_ROUND)
      return op.emitOpError(
          "requires SINGLE_ROUND for encoding=scale16, got DOUBLE_ROUND");
  }

  if (plan.roundingMode == tosa::RoundingMode::INEXACT_ROUND)
    return leaveAlone(op, "the result of INEXACT_ROUND is up to the "
                          "implementation; rounding-mode=single replaces it");
  if (plan.roundingMode == tosa::RoundingMode::DOUBLE_ROUND && !plan.scale32)
    return leaveAlone(op,
                      "DOUBLE_ROUND requires scale32, got a 16-bit multiplier");
  if (plan.scale32 && getElementTypeOrSelf(op.getInput()).isInteger(48))
    return leaveAlone(op,
                      "an i48 input requires a 16-bit multiplier, got scale32");
  std::optional<SmallVector<Scale>> scales = getScales(op);
  if (!scales)
    return leaveAlone(op, "requires a constant multiplier and shift");

  for (auto [channel, scale] : llvm::enumerate(*scales))
    if (scale.multiplier < 0)
      return leaveAlone(op, "requires a multiplier of at least 0, got " +
                                Twine(scale.multiplier) + " in channel " +
                                Twine(channel));

  NarrowFormat format;
  format.significantBits = bits;
  format.rounding = multiplierRounding;
  format.containerBits = plan.scale32 ? kMultiplierBits32 : kMultiplierBits16;
  format.leftAligned = encoding == Encoding::Aligned;
  format.doubleRound = plan.roundingMode == tosa::RoundingMode::DOUBLE_ROUND;
  std::optional<SmallVector<Scale>> narrowed = narrowScales(*scales, format);
  if (!narrowed && encoding == Encoding::Scale16 && op.getScale32()) {
    // 15 bits and a shift of at least 2 end at 2^13. A scale beyond that, as
    // where an int8 is widened to int32, still fits 31 bits.
    format.containerBits = kMultiplierBits32;
    format.leftAligned = true;
    narrowed = narrowScales(*scales, format);
    plan.scale32 = true;
    if (narrowed)
      remarkOn(op) << "keeps its 32-bit multiplier: no 16-bit multiplier "
                      "expresses the scale "
                   << describeLargest(*scales);
  }
  if (!narrowed)
    return leaveAlone(op, "no legal shift expresses the scale " +
                              describeLargest(*scales));
  plan.scales = std::move(*narrowed);
  return std::optional<Plan>(std::move(plan));
}

void TosaRescaleNarrowPass::runOnOperation() {
  SmallVector<Plan> plans;
  bool anyFailed = false;
  getOperation().walk([&](tosa::RescaleOp op) {
    FailureOr<std::optional<int64_t>> bits = getSignificantBits(op, request);
    if (failed(bits)) {
      anyFailed = true;
      return;
    }
    if (!*bits)
      return;
    FailureOr<std::optional<Plan>> plan = makePlan(op, **bits);
    if (failed(plan))
      anyFailed = true;
    else if (*plan)
      plans.push_back(std::move(**plan));
  });
  if (anyFailed)
    return signalPassFailure();

  OpBuilder builder(&getContext());
  for (const Plan &plan : plans) {
    if (setScales(builder, plan.op, plan.scales, plan.scale32,
                  plan.roundingMode)) {
      LDBG() << "narrowed " << plan.op;
      ++numNarrowed;
    }
  }
}

} // namespace tosa_rescale
