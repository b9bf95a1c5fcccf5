//===- RaisedRescale.cpp - rescales out of operations of 32 bits ----------===//
//
// Implements the way up of LoweredRescale.h.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Attributes.h"
#include "LoweredRescale.h"
#include "RescaleOps.h"
#include "ValueRange.h"

using namespace mlir;

namespace tosa_rescale {

/// The elements of a constant that broadcasts along all but the last dimension.
static std::optional<SmallVector<int64_t>> getChannelConstant(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type || !type.hasStaticShape() || type.getNumElements() == 0 ||
      (type.getRank() != 0 && type.getNumElements() != type.getShape().back()))
    return std::nullopt;
  return getConstantIntegers(value);
}

static std::optional<int64_t> getScalar(Value value) {
  const std::optional<SmallVector<int64_t>> elements =
      getChannelConstant(value);
  if (!elements || !llvm::all_equal(*elements))
    return std::nullopt;
  return elements->front();
}

/// The operand of `op` beside the constant `scalar`, whichever stands first.
static Value takeScalar(Operation *op, int64_t &scalar) {
  for (unsigned index : {1u, 0u})
    if (std::optional<int64_t> found = getScalar(op->getOperand(index))) {
      scalar = *found;
      return op->getOperand(1 - index);
    }
  return {};
}

namespace {

/// Reads a lowered rescale from its last operation upwards.
class Reader {
public:
  std::optional<LoweredRescale> read(Operation *last);

  /// The shift that was read has the attribute.
  bool isMarked = false;

private:
  /// The limits and the cast at the end; null if they are not those of a type.
  Value readResult(tosa::CastOp op);
  /// Product and shift; null if they are none.
  Value readScales(Value value);
  /// The half in front of a shift that does not round by itself; null if there
  /// is none.
  Value readHalf(Value value, ArrayRef<int64_t> steps);
  /// The cast and the zero point at the start.
  Value readInput(Value value);

  LoweredRescale found;
};

} // namespace

Value Reader::readResult(tosa::CastOp op) {
  const int64_t width = getWidth(op.getType());
  Value value = op.getInput();
  std::optional<int64_t> low, high;
  while (Operation *limit = value.getDefiningOp()) {
    int64_t scalar = 0;
    std::optional<int64_t> &bound = isa<tosa::MaximumOp>(limit) ? low : high;
    if (!isa<tosa::MaximumOp, tosa::MinimumOp>(limit) || bound)
      break;
    const Value other = takeScalar(limit, scalar);
    if (!other)
      break;
    bound = scalar;
    value = other;
  }
  for (bool isUnsigned : {false, true}) {
    const Interval limits = getLimits(width, isUnsigned);
    if (low != limits.low || high != limits.high)
      continue;
    found.outputUnsigned = isUnsigned;
    if (auto add = value.getDefiningOp<tosa::AddOp>()) {
      int64_t zp = 0;
      const Value other = takeScalar(add, zp);
      if (other && limits.low <= zp && zp <= limits.high) {
        found.outputZp = zp;
        value = other;
      }
    }
    return value;
  }
  return {};
}

Value Reader::readHalf(Value value, ArrayRef<int64_t> steps) {
  SmallVector<int64_t> halves;
  for (int64_t step : steps)
    halves.push_back(step == 0 ? 0 : int64_t(1) << (step - 1));
  if (auto add = value.getDefiningOp<tosa::AddOp>())
    for (unsigned index : {1u, 0u})
      if (const auto constant = getChannelConstant(add->getOperand(index));
          constant && *constant == halves) {
        found.half = HalfPlace::Add;
        return add->getOperand(1 - index);
      }
  for (int64_t &half : halves)
    half = -half;
  OpBuilder builder(value.getContext());
  if (!addToBias(builder, value, halves, /*dryRun=*/true))
    return {};
  found.half = HalfPlace::Bias;
  return value;
}

Value Reader::readScales(Value value) {
  Operation *shift = value.getDefiningOp();
  auto right = dyn_cast_or_null<tosa::ArithmeticRightShiftOp>(shift);
  if (!isa_and_nonnull<tosa::LogicalLeftShiftOp>(shift) && !right)
    return {};
  const auto steps = getChannelConstant(shift->getOperand(1));
  if (!steps || llvm::any_of(*steps, [](int64_t step) {
        return step < 0 || step > kMaxLoweredShift;
      }))
    return {};
  isMarked = shift->hasAttr(kLoweredAttrName);
  value = shift->getOperand(0);

  if (right && !right.getRound()) {
    value = readHalf(value, *steps);
    if (!value)
      return {};
  }

  SmallVector<int64_t> factors = {1};
  auto mul = value.getDefiningOp<tosa::MulOp>();
  // A product beside a marked shift is a part of the rescale if marked as well,
  // else one of the network.
  if (mul && right && isMarked == mul->hasAttr(kLoweredAttrName) &&
      getScalar(mul.getShift()) == 0)
    for (unsigned index : {1u, 0u}) {
      auto constant = getChannelConstant(mul->getOperand(index));
      if (!constant ||
          llvm::any_of(*constant, [](int64_t factor) { return factor < 0; }))
        continue;
      factors = *constant;
      value = mul->getOperand(1 - index);
      break;
    }
  const size_t channels = std::max(steps->size(), factors.size());
  if ((steps->size() != 1 && steps->size() != channels) ||
      (factors.size() != 1 && factors.size() != channels))
    return {};
  for (size_t channel = 0; channel < channels; ++channel) {
    const int64_t step = (*steps)[steps->size() == 1 ? 0 : channel],
                  factor = factors[factors.size() == 1 ? 0 : channel];
    found.scales.push_back(right ? LoweredScale{factor, step}
                                 : LoweredScale{int64_t(1) << step, 0});
  }
  found.perChannel = channels > 1;
  return value;
}

Value Reader::readInput(Value value) {
  int64_t zp = 0;
  Value source = value;
  if (auto sub = source.getDefiningOp<tosa::SubOp>())
    if (std::optional<int64_t> scalar = getScalar(sub.getInput2())) {
      zp = *scalar;
      source = sub.getInput1();
    }
  Operation *mask = source.getDefiningOp<tosa::BitwiseAndOp>();
  int64_t bits = 0;
  if (Value other = mask ? takeScalar(mask, bits) : Value())
    source = other;
  auto cast = source.getDefiningOp<tosa::CastOp>();
  const int64_t width = cast ? getWidth(cast.getInput().getType()) : 0;
  if (width == 8 || width == 16) {
    const Interval limits = getLimits(width, bits != 0);
    if (cast.getInput().getType() ==
            cast.getType().clone(getElementTypeOrSelf(cast.getInput())) &&
        getElementTypeOrSelf(cast.getInput()).isSignlessInteger() &&
        (bits == 0 || bits == limits.high) && limits.low <= zp &&
        zp <= limits.high) {
      found.inputUnsigned = bits != 0;
      found.inputZp = zp;
      return cast.getInput();
    }
  }
  // An i48 that was made an i32.
  auto unit = value.getDefiningOp<tosa::RescaleOp>();
  if (unit && getWidth(unit.getInput().getType()) == 48)
    if (const auto scales = getScales(unit);
        scales && llvm::all_of(*scales, [](const Scale &scale) {
          return isSameValue(scale, {1, 0});
        }))
      return unit.getInput();
  return value;
}

std::optional<LoweredRescale> Reader::read(Operation *last) {
  if (last->getNumResults() != 1 ||
      !isa<RankedTensorType>(last->getResult(0).getType()))
    return std::nullopt;
  found.resultType = last->getResult(0).getType();
  const int64_t width = getWidth(found.resultType);
  Value value = last->getResult(0);
  if (auto cast = dyn_cast<tosa::CastOp>(last)) {
    if ((width != 8 && width != 16) ||
        getWidth(cast.getInput().getType()) != 32)
      return std::nullopt;
    value = readResult(cast);
  }
  if (!value || getWidth(value.getType()) != 32)
    return std::nullopt;
  value = readScales(value);
  if (!value)
    return std::nullopt;
  found.input = readInput(value);
  // Between two i32 a shift of the network looks like that of a rescale.
  const bool isNarrow = width != 32 || getWidth(found.input.getType()) != 32;
  auto input = dyn_cast<RankedTensorType>(found.input.getType());
  if ((!isNarrow && !isMarked) || !input ||
      input.getShape() != cast<RankedTensorType>(found.resultType).getShape())
    return std::nullopt;
  return found;
}

std::optional<LoweredRescale> LoweredRescale::match(Operation *last,
                                                    bool onlyMarked) {
  Reader reader;
  std::optional<LoweredRescale> found = reader.read(last);
  if (onlyMarked && !reader.isMarked)
    return std::nullopt;
  return found;
}

tosa::RescaleOp LoweredRescale::raise(OpBuilder &builder,
                                      Location location) const {
  const bool isWide = getWidth(input.getType()) > 32;
  SmallVector<APInt> multipliers, steps;
  const unsigned width = isWide ? 16 : 32;
  for (const LoweredScale &scale : scales) {
    const std::optional<Scale> raised =
        isWide ? raiseScale16(scale) : raiseScale(scale);
    if (!raised)
      return {};
    multipliers.emplace_back(width, raised->multiplier);
    steps.emplace_back(8, raised->shift);
  }
  const auto makeConstant = [&](Type element, ArrayRef<APInt> values) -> Value {
    auto type =
        RankedTensorType::get({static_cast<int64_t>(values.size())}, element);
    return tosa::ConstOp::create(builder, location, type,
                                 DenseElementsAttr::get(type, values));
  };
  const auto makeZeroPoint = [&](Type tensor, int64_t zp) {
    auto element = cast<IntegerType>(getElementTypeOrSelf(tensor));
    return makeConstant(element,
                        APInt(element.getWidth(), zp, /*isSigned=*/true,
                              /*implicitTrunc=*/true));
  };
  const Value multiplier =
      makeConstant(builder.getIntegerType(width), multipliers);
  const Value shift = makeConstant(builder.getI8Type(), steps);
  const Value inputZero = makeZeroPoint(input.getType(), inputZp);
  const Value outputZero = makeZeroPoint(resultType, outputZp);
  return tosa::RescaleOp::create(
      builder, location, resultType, input, multiplier, shift, inputZero,
      outputZero, /*scale32=*/!isWide, tosa::RoundingMode::SINGLE_ROUND,
      perChannel, inputUnsigned, outputUnsigned);
}

int64_t raiseRescales(func::FuncOp function, bool onlyMarked) {
  int64_t count = 0;
  OpBuilder builder(function.getContext());
  // Where attributes were kept, other shifts are the network's own.
  onlyMarked |=
      function
          .walk([](Operation *op) {
            return isa<tosa::ArithmeticRightShiftOp, tosa::LogicalLeftShiftOp>(
                       op) &&
                           op->hasAttr(kLoweredAttrName)
                       ? WalkResult::interrupt()
                       : WalkResult::advance();
          })
          .wasInterrupted();
  const auto raiseAll = [&](auto isLast) {
    SmallVector<Operation *> candidates;
    function.walk([&](Operation *op) {
      if (isLast(op))
        candidates.push_back(op);
    });
    for (Operation *last : candidates) {
      if (last->use_empty())
        continue;
      const std::optional<LoweredRescale> lowered =
          LoweredRescale::match(last, onlyMarked);
      if (!lowered)
        continue;
      builder.setInsertionPoint(last);
      tosa::RescaleOp raised = lowered->raise(builder, last->getLoc());
      if (!raised)
        continue;
      for (NamedAttribute attribute : last->getDiscardableAttrs())
        if (attribute.getName() != kLoweredAttrName)
          raised->setDiscardableAttr(attribute.getName(), attribute.getValue());
      raised->setAttr(kLoweredAttrName, builder.getUnitAttr());
      last->getResult(0).replaceAllUsesWith(raised.getResult());
      // What it erases stands before, so no candidate to come is among it.
      eraseIfDead(last);
      if (lowered->half == HalfPlace::Bias) {
        SmallVector<int64_t> halves = lowered->getHalves();
        for (int64_t &half : halves)
          half = -half;
        addToBias(builder, lowered->input, halves, /*dryRun=*/false);
      }
      ++count;
    }
  };
  // Casts first: a shift may belong to one.
  raiseAll([](Operation *op) { return isa<tosa::CastOp>(op); });
  raiseAll([](Operation *op) {
    return isa<tosa::ArithmeticRightShiftOp, tosa::LogicalLeftShiftOp>(op);
  });
  return count;
}

} // namespace tosa_rescale
