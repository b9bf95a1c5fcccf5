//===- Constants.cpp - constants as weights -------------------------------===//
//
// Implements Constants.h.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Constants.h"

#include "Attributes.h"
#include "ScaleChoice.h"
#include "ValueRange.h"

#include <cmath>

using namespace mlir;

namespace tosa_rescale {

/// Least and largest element that the type holds.
static std::pair<int64_t, int64_t> getLimits(Type element, bool isUnsigned) {
  const unsigned width = element.getIntOrFloatBitWidth();
  return isUnsigned ? std::pair(int64_t(0), (int64_t(1) << width) - 1)
                    : std::pair(-(int64_t(1) << (width - 1)),
                                (int64_t(1) << (width - 1)) - 1);
}

static DenseElementsAttr makeElements(RankedTensorType type,
                                      ArrayRef<int64_t> values) {
  SmallVector<APInt> elements;
  for (int64_t value : values)
    elements.emplace_back(type.getElementTypeBitWidth(), value,
                          /*isSigned=*/true, /*implicitTrunc=*/true);
  return DenseElementsAttr::get(type, elements);
}

//===----------------------------------------------------------------------===//
// Folding
//===----------------------------------------------------------------------===//

/// What `op`, a rescale of a constant, makes of it; nothing if not everything
/// is known.
static std::optional<SmallVector<int64_t>>
computeRescale(tosa::RescaleOp op, ArrayRef<int64_t> input) {
  const std::optional<SmallVector<Scale>> scales = getScales(op);
  const auto inputZp = getConstantIntegers(op.getInputZp());
  const auto outputZp = getConstantIntegers(op.getOutputZp());
  if (!scales || !inputZp || !outputZp || op.getInputUnsigned() ||
      op.getOutputUnsigned() ||
      op.getRoundingMode() == tosa::RoundingMode::INEXACT_ROUND ||
      llvm::any_of(*scales, [](Scale scale) {
        return scale.multiplier < 0 || !isLegalShift(scale.shift);
      }))
    return std::nullopt;
  const auto [low, high] =
      getLimits(getElementTypeOrSelf(op.getOutput()), /*isUnsigned=*/false);
  const bool doubleRound =
      op.getScale32() &&
      op.getRoundingMode() == tosa::RoundingMode::DOUBLE_ROUND;
  SmallVector<int64_t> result;
  for (auto [i, element] : llvm::enumerate(input)) {
    const Scale scale = (*scales)[i % scales->size()];
    // What the specification leaves open is not ours to decide.
    if (op.getScale32() &&
        !isLegalValue32(element - inputZp->front(), scale.shift))
      return std::nullopt;
    result.push_back(rescaleValue(element, inputZp->front(), scale, doubleRound,
                                  outputZp->front(), low, high));
  }
  return result;
}

int64_t foldConstantRescales(func::FuncOp function) {
  SmallVector<tosa::RescaleOp> ops;
  function.walk([&](tosa::RescaleOp op) {
    auto type = dyn_cast<RankedTensorType>(op.getOutput().getType());
    if (type && type.hasStaticShape() && getConstantElements(op.getInput()))
      ops.push_back(op);
  });
  int64_t folded = 0;
  for (tosa::RescaleOp op : ops) {
    const auto input = getConstantIntegers(op.getInput());
    if (!input)
      continue;
    const auto output = computeRescale(op, *input);
    if (!output)
      continue;
    OpBuilder builder(op);
    const auto type = cast<RankedTensorType>(op.getOutput().getType());
    const DenseElementsAttr elements = makeElements(type, *output);
    const unsigned width =
        getElementTypeOrSelf(op.getInput()).getIntOrFloatBitWidth();
    for (OpOperand &use :
         llvm::make_early_inc_range(op.getOutput().getUses())) {
      auto constant =
          tosa::ConstOp::create(builder, op.getLoc(), type, elements);
      if (width < type.getElementTypeBitWidth())
        constant->setAttr(kConstantBitsAttrName,
                          builder.getI64IntegerAttr(width));
      use.set(constant);
    }
    eraseIfDead(op);
    ++folded;
  }
  return folded;
}

//===----------------------------------------------------------------------===//
// Other scales
//===----------------------------------------------------------------------===//

/// Whether the operands of `op` share the scale of its result.
static bool sharesScale(Operation *op) {
  return isa<tosa::AddOp, tosa::SubOp, tosa::MaximumOp, tosa::MinimumOp,
             tosa::ConcatOp, tosa::SelectOp>(op);
}

static bool isIntegerConstant(Value value) {
  auto constant = value.getDefiningOp<tosa::ConstOp>();
  if (!constant)
    return false;
  auto type = dyn_cast<IntegerType>(getElementTypeOrSelf(value));
  return type && !type.isUnsigned() && type.getWidth() >= 8 &&
         type.getWidth() <= 32 && isa<RankedTensorType>(value.getType());
}

bool isMovableConstant(Value value) {
  return isIntegerConstant(value) &&
         llvm::all_of(value.getUsers(), sharesScale) &&
         getConstantIntegers(value);
}

void foldConstantReshapes(func::FuncOp function) {
  SmallVector<tosa::ReshapeOp> ops;
  function.walk([&](tosa::ReshapeOp op) {
    auto type = dyn_cast<RankedTensorType>(op.getOutput().getType());
    if (type && type.hasStaticShape() && isIntegerConstant(op.getInput1()) &&
        llvm::all_of(op.getOutput().getUsers(), sharesScale))
      ops.push_back(op);
  });
  for (tosa::ReshapeOp op : ops) {
    auto before = cast<tosa::ConstOp>(op.getInput1().getDefiningOp());
    const auto type = cast<RankedTensorType>(op.getOutput().getType());
    auto elements = dyn_cast<DenseElementsAttr>(before.getValues());
    if (!elements)
      continue;
    OpBuilder builder(op);
    auto after = tosa::ConstOp::create(builder, op.getLoc(), type,
                                       elements.reshape(type));
    after->setDiscardableAttrs(before->getDiscardableAttrDictionary());
    op.getOutput().replaceAllUsesWith(after.getResult());
    eraseIfDead(op);
  }
}

void separateConstants(func::FuncOp function) {
  SmallVector<OpOperand *> shared;
  function.walk([&](Operation *op) {
    if (!sharesScale(op))
      return;
    for (OpOperand &operand : op->getOpOperands())
      if (isIntegerConstant(operand.get()))
        shared.push_back(&operand);
  });
  for (OpOperand *operand : shared)
    if (!operand->get().hasOneUse()) {
      Operation *constant = operand->get().getDefiningOp();
      OpBuilder builder(constant);
      operand->set(builder.clone(*constant)->getResult(0));
    }
}

double getLowestFactor(Value constant, int64_t zeroPoint) {
  const auto [low, high] =
      getLimits(getElementTypeOrSelf(constant), /*isUnsigned=*/false);
  double lowest = -HUGE_VAL;
  const SmallVector<int64_t> elements = *getConstantIntegers(constant);
  for (int64_t element : elements) {
    const int64_t value = element - zeroPoint;
    const int64_t room = value < 0 ? zeroPoint - low : high - zeroPoint;
    if (value != 0)
      lowest = std::max(lowest, std::log2(std::abs(double(value))) -
                                    std::log2(std::max<double>(room, 0.5)));
  }
  return lowest;
}

void scaleConstant(OpOperand &operand, int64_t zeroPoint, double log2Factor) {
  auto type = cast<RankedTensorType>(operand.get().getType());
  const auto [low, high] =
      getLimits(type.getElementType(), /*isUnsigned=*/false);
  SmallVector<int64_t> elements = *getConstantIntegers(operand.get());
  for (int64_t &element : elements)
    element =
        std::clamp<int64_t>(zeroPoint + std::llround((element - zeroPoint) *
                                                     std::exp2(-log2Factor)),
                            low, high);
  replaceConstant(operand, elements);
}

void replaceConstant(OpOperand &operand, ArrayRef<int64_t> elements) {
  Operation *old = operand.get().getDefiningOp();
  OpBuilder builder(operand.getOwner());
  operand.set(tosa::ConstOp::create(
      builder, old->getLoc(), operand.get().getType(),
      makeElements(cast<RankedTensorType>(operand.get().getType()), elements)));
  eraseIfDead(old);
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

/// What moves one element to each place and may stand between a product and
/// its rescale.
static bool isRearrangement(Operation *op) {
  return isa_and_nonnull<tosa::ReshapeOp, tosa::TransposeOp>(op);
}

/// The rescale that alone reads `product`, perhaps rearranged; else null.
static tosa::RescaleOp findRescale(Value product) {
  while (product.hasOneUse()) {
    Operation *user = *product.user_begin();
    if (!isRearrangement(user))
      return dyn_cast<tosa::RescaleOp>(user);
    product = user->getResult(0);
  }
  return nullptr;
}

ConstantProduct ConstantProduct::match(Operation *op) {
  ConstantProduct result;
  auto mul = dyn_cast_or_null<tosa::MulOp>(op);
  if (!mul || !getElementTypeOrSelf(mul.getInput1()).isInteger(32))
    return result;
  const auto shift = getConstantIntegers(mul.getShift());
  if (!shift || llvm::any_of(*shift, [](int64_t s) { return s != 0; }))
    return result;
  tosa::RescaleOp rescale = findRescale(mul.getOutput());
  if (!rescale || rescale.getPerChannel() || !getScales(rescale) ||
      getScales(rescale)->front().multiplier <= 0 ||
      !isLegalShift(getScales(rescale)->front().shift))
    return result;
  const bool first = isIntegerConstant(mul.getInput1());
  if (first == isIntegerConstant(mul.getInput2()))
    return result;
  const auto elements = getConstantIntegers(mul->getOperand(first ? 0 : 1));
  if (!elements || llvm::all_of(*elements, [](int64_t e) { return e == 0; }))
    return result;
  result.mul = mul;
  result.rescale = rescale;
  result.operand = first ? 0 : 1;
  return result;
}

ConstantProduct ConstantProduct::match(tosa::RescaleOp op) {
  Operation *product = op.getInput().getDefiningOp();
  while (isRearrangement(product))
    product = product->getOperand(0).getDefiningOp();
  return match(product);
}

Value ConstantProduct::getInput() const { return mul->getOperand(1 - operand); }

Value ConstantProduct::getOutput() const { return mul->getResult(0); }

int64_t ConstantProduct::getLimit(ValueRanges &ranges) const {
  auto elements = cast<tosa::ConstOp>(mul->getOperand(operand).getDefiningOp());
  const auto declared =
      elements->getAttrOfType<IntegerAttr>(kConstantBitsAttrName);
  int64_t bits = declared ? declared.getInt() : 32;
  // The one element that scales a whole tensor is its gain: at 8 bits it would
  // be off by up to 0.4 %.
  if (elements.getValues().getNumElements() == 1)
    bits = std::max<int64_t>(bits, 16);
  const Interval input = ranges.getWhole(getInput());
  const int64_t peak =
      std::max<int64_t>({1, std::abs(input.low), std::abs(input.high)});
  return std::min((int64_t(1) << (bits - 1)) - 1,
                  std::numeric_limits<int32_t>::max() / peak);
}

bool ConstantProduct::absorb(OpBuilder &builder, ValueRanges &ranges,
                             int64_t bits) {
  const Scale old = getScales(rescale)->front();
  const SmallVector<int64_t> elements =
      *getConstantIntegers(mul->getOperand(operand));
  int64_t peak = 0;
  for (int64_t element : elements)
    peak = std::max(peak, std::abs(element));
  NarrowFormat format;
  format.significantBits = bits;
  format.containerBits =
      rescale.getScale32() ? kMultiplierBits32 : kMultiplierBits16;
  const Interval input = ranges.getWhole(getInput());
  const Int128 inputPeak =
      std::max<int64_t>({1, std::abs(input.low), std::abs(input.high)});
  for (int64_t limit = getLimit(ranges); limit > 0; limit /= 2) {
    const std::optional<Scale> scale = fillScale(old, peak, limit, format);
    if (!scale)
      return false;
    // A multiplier of scale32 and few shifts takes less than i32.
    if (rescale.getScale32() &&
        !isLegalValue32(inputPeak * limit, scale->shift))
      continue;
    const double ratio = getRatio(old, *scale);
    SmallVector<int64_t> scaled;
    for (int64_t element : elements)
      scaled.push_back(
          std::clamp<int64_t>(std::llround(element * ratio), -limit, limit));
    OpOperand &constant = mul->getOpOperand(operand);
    Operation *before = constant.get().getDefiningOp();
    builder.setInsertionPoint(mul);
    auto after = tosa::ConstOp::create(
        builder, before->getLoc(), constant.get().getType(),
        makeElements(cast<RankedTensorType>(constant.get().getType()), scaled));
    after->setDiscardableAttrs(before->getDiscardableAttrDictionary());
    constant.set(after);
    eraseIfDead(before);
    setScales(builder, rescale, {*scale}, rescale.getScale32(),
              rescale.getRoundingMode());
    return true;
  }
  return false;
}

} // namespace tosa_rescale
