//===- LoweredRescale.cpp - a rescale as operations of 32 bits ------------===//
//
// Implements LoweredRescale.h.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LoweredRescale.h"

#include "Attributes.h"
#include "RescaleOps.h"
#include "ValueRange.h"

#include "llvm/Support/raw_ostream.h"

using namespace mlir;

namespace tosa_rescale {

static int64_t getWidth(Type type) {
  auto integer = dyn_cast<IntegerType>(getElementTypeOrSelf(type));
  return integer ? integer.getWidth() : 0;
}

/// All values of `width` bits.
static Interval getLimits(int64_t width, bool isUnsigned) {
  const int64_t half = int64_t(1) << (width - 1);
  return isUnsigned ? Interval{0, 2 * half - 1} : Interval{-half, half - 1};
}

//===----------------------------------------------------------------------===//
// Down: operations of 32 bits
//===----------------------------------------------------------------------===//

namespace {

/// Builds operations on i32 tensors of one shape.
class Chain {
public:
  Chain(OpBuilder &builder, Location location, RankedTensorType shape)
      : builder(builder), location(location),
        type(shape.clone(builder.getI32Type())) {}

  /// A constant that broadcasts: one element, or one for each channel.
  Value constant(ArrayRef<int64_t> values) {
    SmallVector<int64_t> shape(type.getRank(), 1);
    if (values.size() > 1)
      shape.back() = values.size();
    const SmallVector<int32_t> elements(values);
    auto tensor = RankedTensorType::get(shape, builder.getI32Type());
    return tosa::ConstOp::create(
        builder, location, tensor,
        DenseElementsAttr::get(tensor, ArrayRef<int32_t>(elements)));
  }

  template <typename Op> Value apply(Value value, int64_t scalar) {
    return Op::create(builder, location, type, value, constant({scalar}));
  }

  Value multiply(Value value, ArrayRef<int64_t> factors) {
    auto tensor = RankedTensorType::get({1}, builder.getI8Type());
    const Value zero = tosa::ConstOp::create(
        builder, location, tensor, DenseElementsAttr::get(tensor, int8_t(0)));
    auto mul = tosa::MulOp::create(builder, location, type, value,
                                   constant(factors), zero);
    return mark(mul);
  }

  Value shift(Value value, ArrayRef<int64_t> steps, bool left) {
    const Value by = constant(steps);
    if (left)
      return mark(
          tosa::LogicalLeftShiftOp::create(builder, location, type, value, by));
    return mark(tosa::ArithmeticRightShiftOp::create(
        builder, location, type, value, by, /*round=*/true));
  }

  Value cast(Value value, Type element) {
    return tosa::CastOp::create(builder, location, type.clone(element), value);
  }

private:
  Value mark(Operation *op) {
    op->setAttr(kLoweredAttrName, builder.getUnitAttr());
    return op->getResult(0);
  }

  OpBuilder &builder;
  Location location;
  RankedTensorType type;
};

} // namespace

/// An i48 that fits i32, as one: the only operation of TOSA 1.0 that reads i48.
static Value truncateWide(OpBuilder &builder, Location location, Value input) {
  LoweredRescale unit;
  unit.input = input;
  unit.resultType =
      cast<RankedTensorType>(input.getType()).clone(builder.getI32Type());
  unit.scales = {LoweredScale()};
  return unit.raise(builder, location).getResult();
}

Value LoweredRescale::build(OpBuilder &builder, Location location,
                            ArrayRef<NamedAttribute> attributes) const {
  auto type = cast<RankedTensorType>(resultType);
  Chain chain(builder, location, type);
  const int64_t inputWidth = getWidth(input.getType()), width = getWidth(type);

  Value value = input;
  if (inputWidth > 32)
    value = truncateWide(builder, location, value);
  else if (inputWidth < 32)
    value = chain.cast(value, builder.getI32Type());
  if (inputUnsigned)
    value = chain.apply<tosa::BitwiseAndOp>(
        value, getLimits(inputWidth, /*isUnsigned=*/true).high);
  if (inputZp != 0)
    value = chain.apply<tosa::SubOp>(value, inputZp);

  SmallVector<int64_t> multipliers, shifts, leftShifts;
  bool right = true, left = true;
  for (const LoweredScale &scale : scales) {
    right &= scale.isRightShift();
    left &= scale.isLeftShift();
    multipliers.push_back(scale.multiplier);
    shifts.push_back(scale.shift);
    leftShifts.push_back(
        scale.multiplier == 0
            ? 0
            : __builtin_ctzll(static_cast<uint64_t>(scale.multiplier)));
  }
  if (left && !right) {
    value = chain.shift(value, leftShifts, /*left=*/true);
  } else {
    if (!right)
      value = chain.multiply(value, multipliers);
    value = chain.shift(value, shifts, /*left=*/false);
  }

  if (outputZp != 0)
    value = chain.apply<tosa::AddOp>(value, outputZp);
  if (width < 32) {
    const Interval limits = getLimits(width, outputUnsigned);
    value = chain.apply<tosa::MaximumOp>(value, limits.low);
    value = chain.apply<tosa::MinimumOp>(value, limits.high);
    value = chain.cast(value, type.getElementType());
  }
  for (NamedAttribute attribute : attributes)
    value.getDefiningOp()->setAttr(attribute.getName(), attribute.getValue());
  return value;
}

/// What the types of `op` and its constants keep from being lowered; empty if
/// nothing.
static std::string findFormObstacle(tosa::RescaleOp op, bool wideInputs) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  const auto isPlain = [](Type type) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    return tensor && tensor.getElementType().isSignlessInteger();
  };
  for (Type type : {op.getInput().getType(), op.getOutput().getType()})
    if (!isPlain(type)) {
      stream << "requires ranked tensors of signless integers, which "
                "tosa.cast takes, got "
             << type;
      return text;
    }
  const int64_t inputWidth = getWidth(op.getInput().getType()),
                width = getWidth(op.getType());
  const auto isOneOf = [](int64_t width, std::initializer_list<int64_t> all) {
    return llvm::is_contained(all, width);
  };
  if (inputWidth == 48 && !wideInputs)
    stream << "requires an input of at most 32 bits, or the option "
              "wide-inputs, got i48";
  else if (!isOneOf(inputWidth, {8, 16, 32, 48}) ||
           !isOneOf(width, {8, 16, 32}))
    stream << "requires elements of 8, 16 or 32 bits, got "
           << getElementTypeOrSelf(op.getInput()) << " and "
           << getElementTypeOrSelf(op.getType());
  else if (op.getRoundingMode() == tosa::RoundingMode::INEXACT_ROUND)
    stream << "requires SINGLE_ROUND or DOUBLE_ROUND, got INEXACT_ROUND";
  else if ((op.getInputUnsigned() && inputWidth > 16) ||
           (op.getOutputUnsigned() && width > 16))
    stream << "requires unsigned values of at most 16 bits";
  else if (!getScales(op))
    stream << "requires a constant multiplier and shift, got a computed one";
  else if (failed(op.getInputZeroPoint()) || failed(op.getOutputZeroPoint()))
    stream << "requires constant zero points, got a computed one";
  return text;
}

std::optional<LoweredRescale> lowerRescale(tosa::RescaleOp op,
                                           ValueRanges &ranges, bool wideInputs,
                                           std::string &reason) {
  reason = findFormObstacle(op, wideInputs);
  if (!reason.empty())
    return std::nullopt;
  LoweredRescale lowered;
  lowered.input = op.getInput();
  lowered.resultType = op.getType();
  lowered.inputUnsigned = op.getInputUnsigned();
  lowered.outputUnsigned = op.getOutputUnsigned();
  lowered.inputZp = *op.getInputZeroPoint();
  lowered.outputZp = *op.getOutputZeroPoint();
  lowered.perChannel = op.getPerChannel();

  const SmallVector<Scale> scales = *getScales(op);
  const bool doubleRound =
      op.getRoundingMode() == tosa::RoundingMode::DOUBLE_ROUND;
  ChannelRanges values = ranges.getScaledValue(op);
  if (scales.size() == 1 ||
      (values.size() != 1 && values.size() != scales.size()))
    values = {uniteAll(values)};
  const Interval limits =
      getLimits(getWidth(op.getType()), op.getOutputUnsigned());
  int64_t others = -1;
  for (auto [channel, scale] : llvm::enumerate(scales)) {
    const Interval value = at(values, channel);
    const LoweredScaleOr found = lowerScale(
        scale, doubleRound,
        {value.low, value.high, lowered.outputZp, limits.low, limits.high});
    if (found.scale) {
      lowered.scales.push_back(*found.scale);
      continue;
    }
    if (++others == 0)
      reason = scales.size() == 1
                   ? found.reason
                   : found.reason + " in channel " + std::to_string(channel);
  }
  if (others > 0)
    reason += " and in " + std::to_string(others) + " more";
  return others < 0 ? std::optional(lowered) : std::nullopt;
}

//===----------------------------------------------------------------------===//
// Up: the rescale again
//===----------------------------------------------------------------------===//

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

private:
  /// The limits and the cast at the end; null if they are not those of a type.
  Value readResult(tosa::CastOp op);
  /// Product and shift; null if they are none.
  Value readScales(Value value);
  /// The cast and the zero point at the start.
  Value readInput(Value value);

  LoweredRescale found;
  bool isMarked = false;
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

Value Reader::readScales(Value value) {
  Operation *shift = value.getDefiningOp();
  auto right = dyn_cast_or_null<tosa::ArithmeticRightShiftOp>(shift);
  if (!isa_and_nonnull<tosa::LogicalLeftShiftOp>(shift) &&
      !(right && right.getRound()))
    return {};
  const auto steps = getChannelConstant(shift->getOperand(1));
  if (!steps || llvm::any_of(*steps, [](int64_t step) {
        return step < 0 || step > kMaxLoweredShift;
      }))
    return {};
  isMarked = shift->hasAttr(kLoweredAttrName);
  value = shift->getOperand(0);

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

std::optional<LoweredRescale> LoweredRescale::match(Operation *last) {
  return Reader().read(last);
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

int64_t raiseRescales(func::FuncOp function) {
  int64_t count = 0;
  OpBuilder builder(function.getContext());
  const auto raiseAll = [&](auto isLast) {
    SmallVector<Operation *> candidates;
    function.walk([&](Operation *op) {
      if (isLast(op))
        candidates.push_back(op);
    });
    for (Operation *last : candidates) {
      if (last->use_empty())
        continue;
      const std::optional<LoweredRescale> lowered = LoweredRescale::match(last);
      if (!lowered)
        continue;
      builder.setInsertionPoint(last);
      tosa::RescaleOp raised = lowered->raise(builder, last->getLoc());
      if (!raised)
        continue;
      for (NamedAttribute attribute : last->getDiscardableAttrs())
        if (attribute.getName() != kLoweredAttrName)
          raised->setDiscardableAttr(attribute.getName(), attribute.getValue());
      last->getResult(0).replaceAllUsesWith(raised.getResult());
      ++count;
    }
    // Last ones first: nothing else reads what made them, unless it was shared.
    for (Operation *last : llvm::reverse(candidates))
      if (isOpTriviallyDead(last))
        eraseIfDead(last);
  };
  // Casts first: a shift may belong to one.
  raiseAll([](Operation *op) { return isa<tosa::CastOp>(op); });
  raiseAll([](Operation *op) {
    return isa<tosa::ArithmeticRightShiftOp, tosa::LogicalLeftShiftOp>(op);
  });
  return count;
}

} // namespace tosa_rescale
