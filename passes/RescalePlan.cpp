//===- RescalePlan.cpp - what a rescale is to become ----------------------===//
//
// Implements RescalePlan.h.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RescalePlan.h"

#include "Diagnostics.h"

using namespace mlir;

namespace tosa_rescale {

LogicalResult checkNarrowRequest(Location location, StringRef pass,
                                 const NarrowRequest &request) {
  const BitsRequest &width = request.width;
  if (failed(checkBitsRequest(location, pass, width, kMinBits)))
    return failure();
  if (request.encoding != Encoding::Scale16)
    return success();
  const int64_t most =
      std::max(width.bits, width.elementwiseBits) + (width.hiddenBit ? 1 : 0);
  if (most > kMultiplierBits16)
    return emitError(location)
           << pass << " requires at most "
           << countSignificantBits(kMultiplierBits16)
           << " for option 'encoding=scale16', got " << most;
  if (request.resultRounding == ResultRounding::Double)
    return emitError(location) << pass
                               << " requires option 'encoding=aligned' with "
                                  "'rounding-mode=double', got scale16";
  return success();
}

static tosa::RoundingMode getRoundingMode(tosa::RescaleOp op,
                                          ResultRounding rounding) {
  switch (rounding) {
  case ResultRounding::Single:
    return tosa::RoundingMode::SINGLE_ROUND;
  case ResultRounding::Double:
    return tosa::RoundingMode::DOUBLE_ROUND;
  case ResultRounding::Keep:
    return op.getRoundingMode();
  }
  llvm_unreachable("unknown ResultRounding");
}

/// Why `plan.op` cannot be narrowed, whatever its scale; empty if it can.
/// Fills `plan.oldScales`.
static std::string readScales(RescalePlan &plan) {
  tosa::RescaleOp op = plan.op;
  if (plan.roundingMode == tosa::RoundingMode::INEXACT_ROUND)
    return "the result of INEXACT_ROUND is up to the implementation; "
           "rounding-mode=single replaces it";
  if (plan.roundingMode == tosa::RoundingMode::DOUBLE_ROUND && !plan.scale32)
    return "DOUBLE_ROUND requires scale32, got a 16-bit multiplier";
  if (plan.scale32 && getElementTypeOrSelf(op.getInput()).isInteger(48))
    return "an i48 input requires a 16-bit multiplier, got scale32";
  std::optional<SmallVector<Scale>> scales = getScales(op);
  if (!scales)
    return "requires a constant multiplier and shift";
  for (auto [channel, scale] : llvm::enumerate(*scales))
    if (scale.multiplier < 0)
      return ("requires a multiplier of at least 0, got " +
              Twine(scale.multiplier) + " in channel " + Twine(channel))
          .str();
  plan.oldScales = std::move(*scales);
  return "";
}

/// Narrows `plan.oldScales`; false if no legal shift expresses one of them.
static bool narrow(RescalePlan &plan, const NarrowRequest &request,
                   int64_t bits) {
  NarrowFormat &format = plan.format;
  format.significantBits = bits;
  format.rounding = request.multiplierRounding;
  format.containerBits = plan.scale32 ? kMultiplierBits32 : kMultiplierBits16;
  format.leftAligned = request.encoding == Encoding::Aligned;
  format.doubleRound = plan.roundingMode == tosa::RoundingMode::DOUBLE_ROUND;
  std::optional<SmallVector<Scale>> narrowed =
      narrowScales(plan.oldScales, format);
  if (!narrowed && request.encoding == Encoding::Scale16 &&
      plan.op.getScale32()) {
    // 15 bits and a shift of at least 2 end at 2^13. A scale beyond that, as
    // where an int8 is widened to int32, still fits 31 bits.
    format.containerBits = kMultiplierBits32;
    format.leftAligned = true;
    plan.scale32 = true;
    narrowed = narrowScales(plan.oldScales, format);
    if (narrowed)
      remarkOn(plan.op) << "keeps its 32-bit multiplier: no 16-bit multiplier "
                           "expresses the scale "
                        << describeLargest(plan.oldScales);
  }
  if (!narrowed)
    return false;
  plan.scales = std::move(*narrowed);
  return true;
}

/// The plan for one rescale in scope; no value if it was left alone with a
/// remark.
static FailureOr<std::optional<RescalePlan>>
makePlan(tosa::RescaleOp op, const NarrowRequest &request, int64_t bits) {
  RescalePlan plan;
  plan.op = op;
  plan.scale32 = op.getScale32() && request.encoding == Encoding::Aligned;
  plan.roundingMode = getRoundingMode(op, request.resultRounding);
  if (request.encoding == Encoding::Scale16) {
    if (bits > kMultiplierBits16)
      return errorOn(op) << "requires at most "
                         << countSignificantBits(kMultiplierBits16)
                         << " for encoding=scale16, got " << bits;
    if (plan.roundingMode == tosa::RoundingMode::DOUBLE_ROUND)
      return errorOn(op)
             << "requires SINGLE_ROUND for encoding=scale16, got DOUBLE_ROUND";
  }

  std::string reason = readScales(plan);
  if (reason.empty() && !narrow(plan, request, bits))
    reason =
        "no legal shift expresses the scale " + describeLargest(plan.oldScales);
  if (reason.empty())
    return std::optional(std::move(plan));
  remarkOn(op) << "left alone: " << reason;
  return std::optional<RescalePlan>();
}

FailureOr<int64_t> planRescales(Operation *root, const NarrowRequest &request,
                                function_ref<void(RescalePlan &&)> take) {
  int64_t leftAlone = 0;
  bool anyFailed = false;
  root->walk([&](tosa::RescaleOp op) {
    FailureOr<std::optional<int64_t>> bits =
        getSignificantBits(op, request.width);
    if (failed(bits)) {
      anyFailed = true;
      return;
    }
    if (!*bits)
      return;
    FailureOr<std::optional<RescalePlan>> plan = makePlan(op, request, **bits);
    if (failed(plan))
      anyFailed = true;
    else if (*plan)
      take(std::move(**plan));
    else
      ++leftAlone;
  });
  if (anyFailed)
    return failure();
  return leftAlone;
}

} // namespace tosa_rescale
