//===- LoweredRescale.cpp - a rescale as operations of 32 bits ------------===//
//
// Implements the way down of LoweredRescale.h.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LoweredRescale.h"

#include "Attributes.h"
#include "Convolution.h"
#include "RescaleOps.h"
#include "ValueRange.h"

#include "llvm/Support/raw_ostream.h"

using namespace mlir;

namespace tosa_rescale {

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

  Value add(Value value, ArrayRef<int64_t> numbers) {
    return tosa::AddOp::create(builder, location, type, value,
                               constant(numbers));
  }

  Value shift(Value value, ArrayRef<int64_t> steps, bool left, bool round) {
    const Value by = constant(steps);
    if (left)
      return mark(
          tosa::LogicalLeftShiftOp::create(builder, location, type, value, by));
    return mark(tosa::ArithmeticRightShiftOp::create(builder, location, type,
                                                     value, by, round));
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

SmallVector<int64_t> LoweredRescale::getHalves() const {
  SmallVector<int64_t> halves;
  for (const LoweredScale &scale : scales)
    halves.push_back(scale.shift == 0 ? 0 : int64_t(1) << (scale.shift - 1));
  return halves;
}

bool addToBias(OpBuilder &builder, Value accumulator, ArrayRef<int64_t> numbers,
               bool dryRun) {
  Operation *producer = accumulator.getDefiningOp();
  if (!producer)
    return false;
  const Convolution convolution = Convolution::match(producer);
  const int64_t channels = getChannelCount(accumulator.getType());
  if (!convolution || !accumulator.hasOneUse() || channels <= 0 ||
      getWidth(convolution.getBias().getType()) != 32)
    return false;
  const auto biases = getConstantIntegers(convolution.getBias());
  const auto divides = [&](size_t size) {
    return size == 1 || size == static_cast<size_t>(channels);
  };
  if (!biases || !divides(biases->size()) || !divides(numbers.size()))
    return false;
  SmallVector<int32_t> sums;
  for (size_t i = 0, e = std::max(biases->size(), numbers.size()); i < e; ++i) {
    const int64_t sum = (*biases)[biases->size() == 1 ? 0 : i] +
                        numbers[numbers.size() == 1 ? 0 : i];
    if (sum != static_cast<int32_t>(sum))
      return false;
    sums.push_back(sum);
  }
  if (dryRun)
    return true;
  auto type = RankedTensorType::get({static_cast<int64_t>(sums.size())},
                                    builder.getI32Type());
  replaceConstant(builder, convolution.getBiasOperand(),
                  DenseElementsAttr::get(type, ArrayRef<int32_t>(sums)));
  return true;
}

Value LoweredRescale::build(OpBuilder &builder, Location location,
                            ArrayRef<NamedAttribute> attributes) const {
  if (half == HalfPlace::Bias)
    addToBias(builder, input, getHalves(), /*dryRun=*/false);
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
    value = chain.shift(value, leftShifts, /*left=*/true, /*round=*/false);
  } else {
    if (!right)
      value = chain.multiply(value, multipliers);
    if (half == HalfPlace::Add)
      value = chain.add(value, getHalves());
    value = chain.shift(value, shifts, /*left=*/false,
                        /*round=*/half == HalfPlace::Shift);
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

/// Where the half of `lowered` may stand, if not in the shift: every sum must
/// fit i32.
static HalfPlace placeHalf(const LoweredRescale &lowered,
                           ArrayRef<Interval> values) {
  const SmallVector<int64_t> halves = lowered.getHalves();
  bool isShift = true;
  for (auto [channel, scale] : llvm::enumerate(lowered.scales)) {
    const Int128 product = Int128(at(values, channel).high) * scale.multiplier;
    if (product + halves[channel] > std::numeric_limits<int32_t>::max())
      return HalfPlace::Shift;
    isShift &= scale.isRightShift();
  }
  if (llvm::all_of(lowered.scales,
                   [](const LoweredScale &scale) { return scale.shift == 0; }))
    return HalfPlace::Shift;
  OpBuilder builder(lowered.input.getContext());
  if (isShift && addToBias(builder, lowered.input, halves, /*dryRun=*/true))
    return HalfPlace::Bias;
  return HalfPlace::Add;
}

std::optional<LoweredRescale> lowerRescale(tosa::RescaleOp op,
                                           ValueRanges &ranges,
                                           const LowerRequest &request,
                                           std::string &reason) {
  reason = findFormObstacle(op, request.wideInputs);
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
  if (others >= 0)
    return std::nullopt;
  if (request.rounding == ShiftRounding::Bias)
    lowered.half = placeHalf(lowered, values);
  return lowered;
}

} // namespace tosa_rescale
