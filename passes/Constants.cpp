//===- Constants.cpp - constants as weights -------------------------------===//
//
// Implements Constants.h.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Constants.h"

#include "Attributes.h"

#include <cmath>

using namespace mlir;

namespace tosa_rescale {

std::pair<int64_t, int64_t> getLimits(Type element, bool isUnsigned) {
  const unsigned width = element.getIntOrFloatBitWidth();
  return isUnsigned ? std::pair(int64_t(0), (int64_t(1) << width) - 1)
                    : std::pair(-(int64_t(1) << (width - 1)),
                                (int64_t(1) << (width - 1)) - 1);
}

DenseElementsAttr makeElements(RankedTensorType type,
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

void multiplyFactor(Operation *op, double factor) {
  if (auto before = op->getAttrOfType<FloatAttr>(kFactorAttrName))
    factor *= before.getValueAsDouble();
  op->setAttr(kFactorAttrName,
              Builder(op->getContext()).getF64FloatAttr(factor));
}

/// Whether the operands of `op` share the scale of its result.
static bool sharesScale(Operation *op) {
  return isa<tosa::AddOp, tosa::SubOp, tosa::MaximumOp, tosa::MinimumOp,
             tosa::ConcatOp, tosa::SelectOp>(op);
}

bool isIntegerConstant(Value value) {
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

bool foldConstantReshapes(func::FuncOp function, ReshapeUse use) {
  SmallVector<tosa::ReshapeOp> ops;
  function.walk([&](tosa::ReshapeOp op) {
    auto type = dyn_cast<RankedTensorType>(op.getOutput().getType());
    if (type && type.hasStaticShape() && isIntegerConstant(op.getInput1()) &&
        llvm::all_of(op.getOutput().getUsers(), [&](Operation *user) {
          return use == ReshapeUse::Shared ? sharesScale(user)
                                           : isa<tosa::MulOp>(user);
        }))
      ops.push_back(op);
  });
  bool folded = false;
  for (tosa::ReshapeOp op : ops) {
    auto before = cast<tosa::ConstOp>(op.getInput1().getDefiningOp());
    const auto type = cast<RankedTensorType>(op.getOutput().getType());
    auto elements = dyn_cast<DenseElementsAttr>(before.getValues());
    if (!elements)
      continue;
    folded = true;
    OpBuilder builder(op);
    for (OpOperand &operand :
         llvm::make_early_inc_range(op.getOutput().getUses())) {
      auto after = tosa::ConstOp::create(builder, op.getLoc(), type,
                                         elements.reshape(type));
      after->setDiscardableAttrs(before->getDiscardableAttrDictionary());
      operand.set(after.getResult());
    }
    eraseIfDead(op);
  }
  return folded;
}

/// Whether additions alone read what rescales make of `value`.
static bool isAddend(Value value) {
  return llvm::all_of(value.getUsers(), [](Operation *user) {
    return isa<tosa::AddOp, tosa::SubOp>(user) ||
           (isa<tosa::RescaleOp, tosa::ReshapeOp>(user) &&
            isAddend(user->getResult(0)));
  });
}

bool isKernelConstant(Value value) {
  if (!isIntegerConstant(value) ||
      getElementTypeOrSelf(value).getIntOrFloatBitWidth() > 16 ||
      !getConstantIntegers(value))
    return false;
  return llvm::all_of(value.getUses(), [](OpOperand &use) {
    if (auto rescale = dyn_cast<tosa::RescaleOp>(use.getOwner()))
      return use.getOperandNumber() == 0 && !rescale.getInputUnsigned() &&
             isAddend(rescale.getOutput());
    return isa<tosa::ConcatOp, tosa::MaximumOp, tosa::MinimumOp>(
        use.getOwner());
  });
}

SmallVector<Operation *> separateUses(Operation *constant) {
  SmallVector<Operation *> result = {constant};
  OpBuilder builder(constant);
  while (!constant->hasOneUse()) {
    Operation *own = builder.clone(*constant);
    constant->use_begin()->set(own->getResult(0));
    result.push_back(own);
  }
  return result;
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
  const Attribute before =
      operand.get().getDefiningOp()->getAttr(kFactorAttrName);
  replaceConstant(operand, elements);
  Operation *after = operand.get().getDefiningOp();
  if (before)
    after->setAttr(kFactorAttrName, before);
  if (type.getElementTypeBitWidth() <= 16)
    multiplyFactor(after, std::exp2(log2Factor));
}

void replaceConstant(OpOperand &operand, ArrayRef<int64_t> elements) {
  Operation *old = operand.get().getDefiningOp();
  OpBuilder builder(operand.getOwner());
  operand.set(tosa::ConstOp::create(
      builder, old->getLoc(), operand.get().getType(),
      makeElements(cast<RankedTensorType>(operand.get().getType()), elements)));
  eraseIfDead(old);
}

} // namespace tosa_rescale
