//===- ConstantProduct.cpp - products with constants as weights -----------===//
//
// Implements ConstantProduct.h.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ConstantProduct.h"

#include "Attributes.h"
#include "Constants.h"
#include "ScaleChoice.h"
#include "ValueRange.h"

#include <cmath>

using namespace mlir;

namespace tosa_rescale {

/// The use of a constant that `operand` comes from, and its zero point: none if
/// it is no constant, or is scaled by anything but 1 or read elsewhere.
static std::pair<OpOperand *, int64_t> findConstant(OpOperand &operand) {
  if (isIntegerConstant(operand.get()))
    return {&operand, 0};
  Value value = operand.get();
  while (value.hasOneUse() && value.getDefiningOp<tosa::ReshapeOp>())
    value = value.getDefiningOp()->getOperand(0);
  auto rescale = value.getDefiningOp<tosa::RescaleOp>();
  if (!rescale || !value.hasOneUse() || rescale.getInputUnsigned() ||
      !isIntegerConstant(rescale.getInput()))
    return {};
  const std::optional<SmallVector<Scale>> scales = getScales(rescale);
  const auto inputZp = getConstantIntegers(rescale.getInputZp());
  const auto outputZp = getConstantIntegers(rescale.getOutputZp());
  if (!scales || scales->size() != 1 || !inputZp || inputZp->size() != 1 ||
      !outputZp || llvm::any_of(*outputZp, [](int64_t zp) { return zp != 0; }))
    return {};
  const Scale scale = scales->front();
  if (!isLegalShift(scale.shift) || scale.multiplier != int64_t(1)
                                                            << scale.shift)
    return {};
  return {&rescale.getInputMutable(), inputZp->front()};
}

ConstantProduct ConstantProduct::match(Operation *op) {
  ConstantProduct result;
  auto mul = dyn_cast_or_null<tosa::MulOp>(op);
  if (!mul || !getElementTypeOrSelf(mul.getInput1()).isInteger(32) ||
      !mul.getOutput().hasOneUse())
    return result;
  const auto shift = getConstantIntegers(mul.getShift());
  if (!shift || llvm::any_of(*shift, [](int64_t s) { return s != 0; }))
    return result;
  auto rescale = dyn_cast<tosa::RescaleOp>(*mul.getOutput().user_begin());
  if (!rescale || rescale.getPerChannel() || !getScales(rescale) ||
      getScales(rescale)->front().multiplier <= 0 ||
      !isLegalShift(getScales(rescale)->front().shift))
    return result;
  const auto first = findConstant(mul->getOpOperand(0)),
             second = findConstant(mul->getOpOperand(1));
  if (!first.first == !second.first)
    return result;
  const auto [use, zeroPoint] = first.first ? first : second;
  const auto elements = getConstantIntegers(use->get());
  if (!elements ||
      llvm::all_of(*elements, [zp = zeroPoint](int64_t e) { return e == zp; }))
    return result;
  result.mul = mul;
  result.rescale = rescale;
  result.operand = first.first ? 0 : 1;
  result.use = use;
  result.zeroPoint = zeroPoint;
  return result;
}

ConstantProduct ConstantProduct::match(tosa::RescaleOp op) {
  return match(op.getInput().getDefiningOp());
}

Value ConstantProduct::getInput() const { return mul->getOperand(1 - operand); }

Value ConstantProduct::getOutput() const { return mul->getResult(0); }

Value ConstantProduct::getFactor() const { return mul->getOperand(operand); }

Operation *ConstantProduct::getConstant() const {
  return use->get().getDefiningOp();
}

bool ConstantProduct::isScaled() const { return use->getOwner() != mul; }

std::pair<int64_t, int64_t>
ConstantProduct::getPeak(ArrayRef<int64_t> elements,
                         ValueRanges &ranges) const {
  const Interval input = ranges.getWhole(getInput());
  const int64_t inputPeak =
      std::max<int64_t>({1, std::abs(input.low), std::abs(input.high)});
  const int64_t most = std::numeric_limits<int32_t>::max() / inputPeak;
  std::pair<int64_t, int64_t> peak = {0, 1};
  if (isScaled()) {
    const auto [low, high] = getLimits(getElementTypeOrSelf(use->get()),
                                       /*isUnsigned=*/false);
    for (int64_t element : elements) {
      const int64_t room =
          std::min(element < 0 ? zeroPoint - low : high - zeroPoint, most);
      if (std::abs(element) * peak.second > peak.first * room)
        peak = {std::abs(element), room};
    }
    return peak;
  }
  const auto declared =
      getConstant()->getAttrOfType<IntegerAttr>(kConstantBitsAttrName);
  int64_t bits = declared ? declared.getInt() : 32;
  // The one element that scales a whole tensor is its gain: at 8 bits it would
  // be off by up to 0.4 %.
  if (elements.size() == 1)
    bits = std::max<int64_t>(bits, 16);
  for (int64_t element : elements)
    peak.first = std::max(peak.first, std::abs(element));
  peak.second = std::min((int64_t(1) << (bits - 1)) - 1, most);
  return peak;
}

void ConstantProduct::setElements(OpBuilder &builder,
                                  ArrayRef<int64_t> elements, double factor) {
  Operation *before = getConstant();
  const auto type = cast<RankedTensorType>(use->get().getType());
  const auto [low, high] =
      getLimits(type.getElementType(), /*isUnsigned=*/false);
  SmallVector<int64_t> stored;
  for (int64_t element : elements)
    stored.push_back(std::clamp(element + zeroPoint, low, high));
  builder.setInsertionPoint(use->getOwner());
  auto after = tosa::ConstOp::create(builder, before->getLoc(), type,
                                     makeElements(type, stored));
  after->setDiscardableAttrs(before->getDiscardableAttrDictionary());
  if (isScaled())
    multiplyFactor(after, factor);
  use->set(after);
  eraseIfDead(before);
}

bool ConstantProduct::absorb(OpBuilder &builder, ValueRanges &ranges,
                             int64_t bits) {
  const Scale old = getScales(rescale)->front();
  SmallVector<int64_t> elements = *getConstantIntegers(use->get());
  for (int64_t &element : elements)
    element -= zeroPoint;
  NarrowFormat format;
  format.significantBits = bits;
  format.containerBits =
      rescale.getScale32() ? kMultiplierBits32 : kMultiplierBits16;
  const Interval input = ranges.getWhole(getInput());
  const Int128 inputPeak =
      std::max<int64_t>({1, std::abs(input.low), std::abs(input.high)});
  const auto [peak, room] = getPeak(elements, ranges);
  for (int64_t limit = room; limit > 0; limit /= 2) {
    const std::optional<Scale> scale = fillScale(old, peak, limit, format);
    if (!scale)
      return false;
    // A multiplier of scale32 and few shifts takes less than i32.
    if (rescale.getScale32() &&
        !isLegalValue32(inputPeak * limit, scale->shift))
      continue;
    const double ratio = getRatio(old, *scale);
    for (int64_t &element : elements)
      element = std::llround(element * ratio);
    if (!isScaled())
      for (int64_t &element : elements)
        element = std::clamp(element, -limit, limit);
    setElements(builder, elements, 1 / ratio);
    setScales(builder, rescale, {*scale}, rescale.getScale32(),
              rescale.getRoundingMode());
    return true;
  }
  return false;
}

} // namespace tosa_rescale
