//===- MovedScales.cpp - what changes where a tensor's scale does
//----------===//
//
// Implements MovedScales.h.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MovedScales.h"

#include "AlignNetwork.h"
#include "Attributes.h"
#include "Constants.h"
#include "Convolution.h"
#include "LayerStatistics.h"
#include "MovedTables.h"

#include <cmath>

using namespace mlir;

namespace tosa_rescale {

static int64_t divideRounded(int64_t value, double log2Factor) {
  return std::llround(static_cast<double>(value) * std::exp2(-log2Factor));
}

/// Moves the bounds in proportion about the zero point, within the type.
static void moveBounds(tosa::ClampOp clamp, int64_t zeroPoint,
                       double log2Factor, FloatAttr reach = {}) {
  auto type = cast<IntegerType>(getElementTypeOrSelf(clamp.getOutput()));
  const unsigned width = type.getWidth();
  const int64_t low = type.isUnsigned() ? 0 : -(int64_t(1) << (width - 1));
  const int64_t high = low + (int64_t(1) << width) - 1;
  auto change = [&](Attribute bound) {
    const APInt value = cast<IntegerAttr>(bound).getValue();
    int64_t distance =
        (type.isUnsigned() ? value.getZExtValue() : value.getSExtValue()) -
        zeroPoint;
    // A limit that its type cuts short moves further than what is left of it.
    if (reach && distance != 0)
      distance = std::copysign(
          std::min(std::round(reach.getValueAsDouble() / std::exp2(log2Factor)),
                   double(high - low)),
          distance);
    else
      distance = divideRounded(distance, log2Factor);
    const int64_t moved = zeroPoint + distance;
    return IntegerAttr::get(type, APInt(width, std::clamp(moved, low, high),
                                        /*isSigned=*/!type.isUnsigned()));
  };
  clamp.setMinValAttr(change(clamp.getMinValAttr()));
  clamp.setMaxValAttr(change(clamp.getMaxValAttr()));
}

/// A result that has more room than before would not saturate where it did, and
/// that is part of what the network computes: cuts it off there.
static void keepSaturation(OpBuilder &builder, AlignNetwork &network,
                           tosa::RescaleOp op) {
  const Value result = op.getOutput();
  const double log2Factor = network.getLog2Factor(result);
  const auto isClamp = [](Operation *user) { return isa<tosa::ClampOp>(user); };
  auto type = dyn_cast<IntegerType>(getElementTypeOrSelf(result));
  if (!(log2Factor > 0 && hasFactor(log2Factor)) || !type ||
      type.isUnsigned() || op.getOutputUnsigned() ||
      llvm::all_of(result.getUsers(), isClamp))
    return;
  builder.setInsertionPointAfter(op);
  const unsigned width = type.getWidth();
  auto clamp = tosa::ClampOp::create(
      builder, op.getLoc(), result.getType(), result,
      IntegerAttr::get(type, APInt::getSignedMinValue(width)),
      IntegerAttr::get(type, APInt::getSignedMaxValue(width)));
  moveBounds(clamp, *network.getZeroPoint(result), log2Factor);
  if (Attribute factor = op->getAttr(kFactorAttrName))
    clamp->setAttr(kFactorAttrName, factor);
  op.getOutput().replaceAllUsesExcept(clamp.getOutput(), clamp);
}

/// Writes `operand` at its new scale if it is a constant that has one.
static void moveConstant(AlignNetwork &network, OpOperand &operand) {
  const Value value = operand.get();
  const double factor = network.getLog2Factor(value);
  if (!hasFactor(factor))
    return;
  if (isMovableConstant(value) || isKernelConstant(value))
    scaleConstant(operand, isWide(value) ? 0 : *network.getZeroPoint(value),
                  factor);
}

int64_t moveScales(AlignNetwork &network, func::FuncOp function,
                   bool keepsSaturation) {
  OpBuilder builder(function.getContext());
  int64_t aligned = 0;
  SmallVector<Operation *> ops;
  function.walk([&](Operation *op) { ops.push_back(op); });
  for (Operation *op : ops) {
    op->removeAttr(kClippingAttrName);
    op->removeAttr(kFixedFactorAttrName);
    if (isMovableTable(op))
      moveTable(network, cast<tosa::TableOp>(op));
    op->removeAttr(kFunctionAttrName);
    const auto reach =
        dyn_cast_or_null<FloatAttr>(op->removeAttr(kReachAttrName));
    if (const Convolution convolution = Convolution::match(op)) {
      const double factor = network.getLog2Factor(convolution.getInput());
      if (hasFactor(factor)) {
        scaleConstant(convolution.getBiasOperand(), /*zeroPoint=*/0, factor);
        scaleStatistics(op, std::exp2(-factor));
      }
      continue;
    }
    if (op->getNumResults() != 1 || isa<tosa::ConstOp>(op))
      continue;
    const Value result = op->getResult(0);
    for (OpOperand &operand : op->getOpOperands())
      moveConstant(network, operand);
    const double factor = network.getLog2Factor(result);
    if (!hasFactor(factor) || isWide(result))
      continue;
    if (auto clamp = dyn_cast<tosa::ClampOp>(op))
      moveBounds(clamp, *network.getZeroPoint(result), factor, reach);
    multiplyFactor(op, std::exp2(factor));
    ++aligned;
  }
  // Last: what reads a clamp is known to the network by the rescale before it.
  if (!keepsSaturation)
    return aligned;
  SmallVector<tosa::RescaleOp> rescales;
  function.walk([&](tosa::RescaleOp op) { rescales.push_back(op); });
  for (tosa::RescaleOp op : rescales)
    if (!isWide(op.getOutput()))
      keepSaturation(builder, network, op);
  return aligned;
}

} // namespace tosa_rescale
