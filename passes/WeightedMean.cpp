//===- WeightedMean.cpp - means as sums with weights ----------------------===//
//
// Implements WeightedMean.h.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "WeightedMean.h"

#include "Attributes.h"

#include "llvm/Support/MathExtras.h"
#include "llvm/Support/raw_ostream.h"

#include <cmath>

using namespace mlir;

namespace tosa_rescale {

/// TOSA 1.0, level 8K: MAX_KERNEL.
constexpr int64_t kMaxKernel = 8192;

SmallVector<int64_t> makeEvenWeights(int64_t count, int64_t sum) {
  SmallVector<int64_t> weights;
  for (int64_t i = 0; i < count; ++i)
    weights.push_back((i + 1) * sum / count - i * sum / count);
  return weights;
}

int64_t getLargestSumLog2(Type element) {
  // 32 bits for i8, whose values less their zero point have 9; 48 for i16.
  return element.isSignlessInteger(8) ? 32 - 1 - 8 : 48 - 1 - 16;
}

//===----------------------------------------------------------------------===//
// Finding
//===----------------------------------------------------------------------===//

/// The scale of a rescale that has one for all channels.
static std::optional<Scale> getOnlyScale(tosa::RescaleOp op) {
  const std::optional<SmallVector<Scale>> scales = getScales(op);
  if (!scales || scales->size() != 1 || op.getPerChannel() ||
      scales->front().multiplier <= 0 || !isLegalShift(scales->front().shift))
    return std::nullopt;
  return scales->front();
}

/// Whether `op` makes i8 or i16 i32, less the zero point and perhaps shifted to
/// the left: no value is rounded.
static bool isWidening(tosa::RescaleOp op) {
  const Type from = getElementTypeOrSelf(op.getInput());
  const std::optional<Scale> scale = getOnlyScale(op);
  const FailureOr<int64_t> outputZp = op.getOutputZeroPoint();
  return scale && (from.isSignlessInteger(8) || from.isSignlessInteger(16)) &&
         getElementTypeOrSelf(op.getOutput()).isSignlessInteger(32) &&
         llvm::isPowerOf2_64(scale->multiplier) &&
         scale->multiplier >= int64_t(1) << scale->shift &&
         succeeded(op.getInputZeroPoint()) && succeeded(outputZp) &&
         *outputZp == 0 && !op.getInputUnsigned();
}

bool WeightedMean::readSum() {
  Value value = total;
  while (auto reshape = value.getDefiningOp<tosa::ReshapeOp>()) {
    if (!value.hasOneUse())
      return false;
    value = reshape.getInput1();
  }
  for (; auto reduce = value.getDefiningOp<tosa::ReduceSumOp>();
       value = reduce.getInput()) {
    auto type = dyn_cast<RankedTensorType>(reduce.getInput().getType());
    if (!type || !value.hasOneUse())
      return false;
    if (!sum)
      sum = reduce;
    isReduced.resize(type.getRank());
    isReduced[reduce.getAxis()] = true;
    shape.assign(type.getShape().begin(), type.getShape().end());
  }
  if (!sum)
    return false;
  // What else reads the values goes on doing so.
  while (auto reshape = value.getDefiningOp<tosa::ReshapeOp>())
    value = reshape.getInput1();
  auto widening = value.getDefiningOp<tosa::RescaleOp>();
  if (!widening || !isWidening(widening))
    return false;
  values = widening.getInput();
  zeroPoint = widening.getInputZp();
  widened = *getOnlyScale(widening);
  return true;
}

WeightedMean WeightedMean::match(tosa::RescaleOp op) {
  WeightedMean mean;
  const std::optional<Scale> scale = getOnlyScale(op);
  if (!scale)
    return {};
  mean.rescale = op;
  mean.total = op.getInput();
  mean.scale = *scale;
  if (!mean.readSum() ||
      getElementTypeOrSelf(op.getOutput()) != getElementTypeOrSelf(mean.values))
    return {};
  for (auto [extent, reduced] : llvm::zip_equal(mean.shape, mean.isReduced)) {
    if (reduced && ShapedType::isDynamic(extent))
      return {};
    if (reduced)
      mean.count *= extent;
  }
  return mean.count < 1 || llvm::isPowerOf2_64(mean.count) ? WeightedMean()
                                                           : mean;
}

bool WeightedMean::isWide() const {
  return getElementTypeOrSelf(values).isSignlessInteger(16);
}

std::string WeightedMean::getObstacle() const {
  std::string text;
  llvm::raw_string_ostream reason(text);
  auto type = dyn_cast<RankedTensorType>(values.getType());
  auto result = dyn_cast<RankedTensorType>(total.getType());
  const int64_t most =
      (int64_t(1) << getLargestSumLog2(getElementTypeOrSelf(values))) /
      kLargestWeight;
  if (!type || !type.hasStaticShape() || !result || !result.hasStaticShape() ||
      ShapedType::isDynamicShape(shape))
    reason << "requires known extents, got " << values.getType();
  else if (count > most)
    reason << "requires a mean of at most " << most << " values, got " << count;
  else if (const Layout layout = getLayout();
           layout.inner > 1 &&
           std::max(layout.window[0], layout.window[1]) > kMaxKernel)
    reason << "requires at most " << kMaxKernel
           << " values in front of other dimensions, got " << count;
  return text;
}

//===----------------------------------------------------------------------===//
// Rewriting
//===----------------------------------------------------------------------===//

WeightedMean::Layout WeightedMean::getLayout() const {
  Layout layout;
  SmallVector<int64_t> extents; // of the window, but for those of 1
  SmallVector<int32_t> kept, reduced;
  bool isTogether = true;
  for (auto [axis, extent] : llvm::enumerate(shape)) {
    (isReduced[axis] ? reduced : kept).push_back(axis);
    if (extent == 1)
      continue;
    if (isReduced[axis]) {
      isTogether &= layout.inner == 1;
      extents.push_back(extent);
    } else {
      (extents.empty() ? layout.outer : layout.inner) *= extent;
    }
  }
  if (!isTogether) {
    layout.order = kept;
    layout.order.append(reduced);
    layout.outer *= layout.inner;
    layout.inner = 1;
  }
  layout.window = {count, 1};
  if (layout.inner > 1 && extents.size() == 2)
    layout.window = {extents[0], extents[1]};
  return layout;
}

std::optional<WeightedMean::Numbers> WeightedMean::getNumbers() const {
  // What the mean is multiplied with: a ratio of scales.
  const double factor = std::ldexp(double(scale.multiplier) * double(count),
                                   int(llvm::Log2_64(widened.multiplier)) -
                                       int(widened.shift) - int(scale.shift));
  const double most = double(kLargestWeight) * double(count);
  int shift = int(std::floor(std::log2(most / factor))) + 1;
  while (std::round(std::ldexp(factor, shift)) > most)
    --shift;
  NarrowFormat format;
  format.significantBits = 1;
  format.containerBits = isWide() ? kMultiplierBits16 : kMultiplierBits32;
  const std::optional<Scale> narrow =
      shift > kMaxShift ? std::nullopt : narrowScale({1, shift}, format);
  const int64_t weightSum = std::llround(std::ldexp(factor, shift));
  if (!narrow)
    return std::nullopt;
  if (!isWide()) {
    const int64_t zero = getConstantIntegers(zeroPoint)->front();
    for (int64_t value : {-128 - zero, 127 - zero})
      if (!isLegalValue32(Int128(value) * weightSum, narrow->shift))
        return std::nullopt;
  }
  return Numbers{weightSum, *narrow};
}

static Value makeConstant(OpBuilder &builder, Location location,
                          ArrayRef<int64_t> shape, unsigned bits,
                          ArrayRef<APInt> values) {
  auto type = RankedTensorType::get(shape, builder.getIntegerType(bits));
  return tosa::ConstOp::create(builder, location, type,
                               DenseElementsAttr::get(type, values));
}

/// `value` in another shape, or itself where it has that.
static Value reshaped(OpBuilder &builder, Location location, Value value,
                      ArrayRef<int64_t> shape) {
  auto type = cast<RankedTensorType>(value.getType());
  if (type.getShape() == shape)
    return value;
  const auto rank = static_cast<int64_t>(shape.size());
  const Value extents = tosa::ConstShapeOp::create(
      builder, location, tosa::shapeType::get(builder.getContext(), rank),
      builder.getIndexTensorAttr(shape));
  return tosa::ReshapeOp::create(builder, location, type.clone(shape), value,
                                 extents);
}

Value WeightedMean::makeAccumulator(OpBuilder &builder,
                                    int64_t weightSum) const {
  const Location location = tosa::RescaleOp(rescale).getLoc();
  const Layout layout = getLayout();
  const bool isDepthwise = layout.inner > 1;
  Value input = values;
  if (!layout.order.empty()) {
    input = reshaped(builder, location, input, shape);
    auto type = cast<RankedTensorType>(input.getType());
    SmallVector<int64_t> extents;
    for (int32_t axis : layout.order)
      extents.push_back(shape[axis]);
    input = tosa::TransposeOp::create(builder, location, type.clone(extents),
                                      input, layout.order);
  }
  const std::array<int64_t, 2> window = layout.window;
  input =
      reshaped(builder, location, input,
               isDepthwise ? ArrayRef<int64_t>({layout.outer, window[0],
                                                window[1], layout.inner})
                           : ArrayRef<int64_t>({layout.outer, 1, 1, count}));
  SmallVector<APInt> weights;
  for (int64_t weight : makeEvenWeights(count, weightSum))
    weights.append(layout.inner, APInt(8, weight));
  const unsigned bits = isWide() ? 48 : 32;
  const Type accumulator = builder.getIntegerType(bits);
  const auto type =
      RankedTensorType::get({layout.outer, 1, 1, layout.inner}, accumulator);
  // One after the other: C++ leaves open in which order arguments are built.
  const Value taps = makeConstant(
      builder, location,
      isDepthwise ? ArrayRef<int64_t>({window[0], window[1], layout.inner, 1})
                  : ArrayRef<int64_t>({1, 1, 1, count}),
      8, weights);
  const Value bias =
      makeConstant(builder, location, {layout.inner}, bits,
                   SmallVector<APInt>(layout.inner, APInt(bits, 0)));
  const Value weightZp = makeConstant(builder, location, {1}, 8, APInt(8, 0));
  const auto make = [&](auto op) -> Value {
    return decltype(op)::create(
        builder, location, type, input, taps, bias, zeroPoint, weightZp,
        builder.getDenseI64ArrayAttr({0, 0, 0, 0}),
        builder.getDenseI64ArrayAttr({1, 1}),
        builder.getDenseI64ArrayAttr({1, 1}), TypeAttr::get(accumulator),
        /*local_bound=*/BoolAttr());
  };
  return isDepthwise ? make(tosa::DepthwiseConv2DOp()) : make(tosa::Conv2DOp());
}

bool WeightedMean::apply(OpBuilder &builder) const {
  const std::optional<Numbers> numbers = getNumbers();
  if (!numbers)
    return false;
  tosa::RescaleOp old = rescale;
  builder.setInsertionPoint(old);
  const Location location = old.getLoc();
  const unsigned multiplierBits = isWide() ? 16 : 32,
                 sumBits = isWide() ? 48 : 32;
  const Value accumulator = makeAccumulator(builder, numbers->sum);
  const Value multiplier =
      makeConstant(builder, location, {1}, multiplierBits,
                   APInt(multiplierBits, numbers->scale.multiplier));
  const Value shift =
      makeConstant(builder, location, {1}, 8, APInt(8, numbers->scale.shift));
  const Value sumZp =
      makeConstant(builder, location, {1}, sumBits, APInt(sumBits, 0));
  const auto type = cast<RankedTensorType>(old.getType());
  auto made = tosa::RescaleOp::create(
      builder, location,
      type.clone(cast<ShapedType>(accumulator.getType()).getShape()),
      accumulator, multiplier, shift, sumZp, old.getOutputZp(),
      /*scale32=*/!isWide(),
      isWide() ? tosa::RoundingMode::SINGLE_ROUND : old.getRoundingMode(),
      /*per_channel=*/false, /*input_unsigned=*/false, old.getOutputUnsigned());
  made->setDiscardableAttrs(old->getDiscardableAttrDictionary());
  // Not in front of the rescale: TOSA reshapes no i48.
  const Value result =
      reshaped(builder, location, made.getOutput(), type.getShape());
  if (Attribute factor = old->getAttr(kFactorAttrName))
    result.getDefiningOp()->setAttr(kFactorAttrName, factor);
  old.getOutput().replaceAllUsesWith(result);
  eraseIfDead(old);
  return true;
}

} // namespace tosa_rescale
