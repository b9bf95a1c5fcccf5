//===- CompensatedLayer.cpp - the convolution behind a rescale ------------===//
//
// Implements CompensatedLayer.h.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CompensatedLayer.h"

#include "Diagnostics.h"

#include "llvm/Support/FormatVariadic.h"

using namespace mlir;

namespace tosa_rescale {

//===----------------------------------------------------------------------===//
// Finding and reading
//===----------------------------------------------------------------------===//

/// The values that `value` can hold, whatever the layers before it: their
/// weights are about to change, so only types and clamps count.
static std::pair<int64_t, int64_t> getInputRange(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (auto clamp = dyn_cast<tosa::ClampOp>(op)) {
      auto low = dyn_cast<IntegerAttr>(clamp.getMinValAttr());
      auto high = dyn_cast<IntegerAttr>(clamp.getMaxValAttr());
      auto type = dyn_cast<IntegerType>(getElementTypeOrSelf(value));
      if (low && high && type && !type.isUnsigned())
        return {low.getValue().getSExtValue(), high.getValue().getSExtValue()};
      break;
    }
    if (!isDataMovement(op) && !isa<tosa::MaxPool2dOp>(op))
      break;
    value = op->getOperand(0);
  }
  auto type = cast<IntegerType>(getElementTypeOrSelf(value));
  if (type.isUnsigned())
    return {0, (int64_t(1) << type.getWidth()) - 1};
  return {-(int64_t(1) << (type.getWidth() - 1)),
          (int64_t(1) << (type.getWidth() - 1)) - 1};
}

/// Whether each channel, an index of the last dimension, is the same one before
/// and after `op`.
static bool keepsChannels(Operation *op) {
  auto from = dyn_cast<RankedTensorType>(op->getOperand(0).getType());
  auto to = dyn_cast<RankedTensorType>(op->getResult(0).getType());
  if (!from || !to || from.getRank() == 0 || to.getRank() == 0 ||
      from.getShape().back() != to.getShape().back())
    return false;
  if (auto transpose = dyn_cast<tosa::TransposeOp>(op))
    return transpose.getPerms().back() == to.getRank() - 1;
  return true;
}

/// The convolution whose accumulator `op` alone reads, or none and why.
/// `sameChannels` tells whether the accumulator's channels stay where they are
/// on the way.
static Convolution findConvolution(tosa::RescaleOp op, bool &sameChannels,
                                   std::string &reason) {
  sameChannels = true;
  Value value = op.getInput();
  while (true) {
    Operation *producer = value.getDefiningOp();
    if (!producer) {
      reason = "requires the accumulator of a convolution, got an argument";
      return {};
    }
    const Convolution found = Convolution::match(producer);
    if (!found && !isDataMovement(producer)) {
      reason = ("requires the accumulator of a convolution, got the result "
                "of '" +
                producer->getName().getStringRef() + "'")
                   .str();
      return {};
    }
    if (!value.hasOneUse()) {
      reason = ("requires an accumulator that nothing else reads, got one "
                "with " +
                Twine(value.getNumUses()) + " uses")
                   .str();
      return {};
    }
    if (found)
      return found;
    sameChannels &= keepsChannels(producer);
    value = producer->getOperand(0);
  }
}

/// The only element of a constant.
static std::optional<int64_t> readOne(Value value) {
  std::optional<SmallVector<int64_t>> values = getConstantIntegers(value);
  return values && values->size() == 1 ? std::optional(values->front())
                                       : std::nullopt;
}

std::string CompensatedLayer::readOperands(const RescalePlan &plan) {
  auto inputType =
      dyn_cast<IntegerType>(getElementTypeOrSelf(convolution.getInput()));
  const Type weightType = convolution.getWeights().getType();
  if (!isa<IntegerType>(getElementTypeOrSelf(convolution.getAccumulator())) ||
      !inputType || inputType.getWidth() > 16 ||
      !isa<RankedTensorType>(weightType) ||
      !getElementTypeOrSelf(weightType).isSignlessInteger(8))
    return "requires weights of i8, got " +
           llvm::formatv("{0}", weightType).str();
  const std::optional<WeightLayout> found = convolution.getLayout();
  if (found)
    weights = readWeights(convolution.getWeights());
  if (!weights)
    return "requires constant weights";
  layout = *found;

  std::optional<SmallVector<int64_t>> constantBiases =
      getConstantIntegers(convolution.getBias());
  if (!constantBiases)
    return "requires a constant bias";
  const std::optional<int64_t> constantInputZp =
                                   readOne(convolution.getInputZp()),
                               constantWeightZp =
                                   readOne(convolution.getWeightZp());
  // The accumulator has none, but the rescale must say so.
  tosa::RescaleOp op = plan.op;
  const FailureOr<int64_t> accumulatorZp = op.getInputZeroPoint(),
                           constantOutputZp = op.getOutputZeroPoint();
  if (!constantInputZp || !constantWeightZp || failed(accumulatorZp) ||
      failed(constantOutputZp))
    return "requires constant zero points";
  if (weights->elements.empty())
    return "requires weights, got none";
  inputZp = *constantInputZp;
  weightZp = *constantWeightZp;
  outputZp = *constantOutputZp;
  biases = std::move(*constantBiases);
  if (biases.size() == 1)
    biases.resize(layout.outputChannels, biases.front());
  return "";
}

void CompensatedLayer::setRules(const RescalePlan &plan,
                                const LayerOptions &options, bool fill) {
  rules.format = plan.format;
  rules.scale32 = plan.scale32;
  rules.fill = fill;
  rules.clip = options.clip;
  rules.rounding = options.rounding;
  rules.shrinkage = options.shrinkage;
  if (!fill) {
    rules.lowestWeight = -128 - weightZp;
    rules.highestWeight = 127 - weightZp;
  }
  // A tap at the border adds nothing, so 0 is always among the values.
  const auto [low, high] = getInputRange(convolution.getInput());
  rules.lowestInput = std::min<int64_t>(low - inputZp, 0);
  rules.highestInput = std::max<int64_t>(high - inputZp, 0);
  // Without statistics: 16 bits about 0 have no ReLU in front.
  if (!statistics &&
      getElementTypeOrSelf(convolution.getInput()).isInteger(16) &&
      rules.lowestInput < 0 && rules.highestInput > 0)
    rules.correlation = 0;
  if (statistics && statistics->correlation)
    rules.correlation = *statistics->correlation;
  const unsigned width = getElementTypeOrSelf(convolution.getAccumulator())
                             .getIntOrFloatBitWidth();
  rules.highestSum = (int64_t(1) << (width - 1)) - 1;
  rules.lowestSum = -rules.highestSum - 1;
  rules.outputZp = outputZp;
}

std::unique_ptr<CompensatedLayer> CompensatedLayer::make(
    const RescalePlan &plan, const LayerOptions &options,
    function_ref<const LayerStatistics *(Operation *)> measured,
    std::string &reason) {
  bool sameChannels;
  auto layer = std::make_unique<CompensatedLayer>();
  layer->convolution = findConvolution(plan.op, sameChannels, reason);
  if (!layer->convolution)
    return nullptr;
  reason = layer->readOperands(plan);
  if (!reason.empty())
    return nullptr;

  tosa::RescaleOp op = plan.op;
  const bool perTensor = plan.oldScales.size() == 1 && !op.getPerChannel();
  if (!perTensor && !sameChannels) {
    reason = "requires the channels in the last dimension, as the "
             "convolution leaves them";
    return nullptr;
  }
  const bool fill = !perTensor || (options.promote && sameChannels);
  if (!fill && options.promote)
    remarkOn(op) << "stays per tensor: requires the channels in the last "
                    "dimension, as the convolution leaves them";
  layer->statistics = measured(layer->convolution.getOperation());
  layer->setRules(plan, options, fill);
  layer->newWeights.reset(new int8_t[layer->weights->elements.size()]);
  layer->results.resize(layer->layout.outputChannels);
  return layer;
}

//===----------------------------------------------------------------------===//
// Solving
//===----------------------------------------------------------------------===//

void CompensatedLayer::solve(ArrayRef<Scale> scales, int64_t first,
                             int64_t last) {
  const int64_t taps = layout.taps;
  const int32_t zp = weightZp, newZp = getNewZp();
  const int8_t *const old = weights->elements.data();
  int8_t *const out = newWeights.get();
  std::vector<int16_t> before(taps), after(taps);
  for (int64_t c = first; c < last; ++c) {
    const int64_t start = layout.getIndex(c, 0), stride = layout.getStride();
    auto load = [&](int64_t stride) {
      for (int64_t tap = 0; tap < taps; ++tap)
        before[tap] = static_cast<int16_t>(old[start + tap * stride] - zp);
    };
    auto store = [&](int64_t stride) {
      for (int64_t tap = 0; tap < taps; ++tap)
        out[start + tap * stride] = static_cast<int8_t>(after[tap] + newZp);
    };
    // A stride that the compiler knows to be 1 makes vectors of it.
    stride == 1 ? load(1) : load(stride);
    Channel channel;
    channel.weights = before.data();
    channel.count = taps;
    channel.bias = biases[c];
    channel.scale = scales.size() == 1 ? scales.front() : scales[c];
    InputStatistics inputs;
    if (statistics) {
      inputs = statistics->get(layout, c);
      channel.inputs = &inputs;
    }
    results[c] = compensate(channel, rules, after.data());
    // Without a zero point of its own a weight may be out of reach;
    // canKeepWeights() tells where that matters.
    stride == 1 ? store(1) : store(stride);
  }
}

bool CompensatedLayer::isBetterToNearest() const {
  if (!hasMoments())
    return false;
  double errorNearest = 0, error = 0;
  for (const Compensated &result : results) {
    errorNearest += result.errorNearest;
    error += result.error;
  }
  return error > errorNearest;
}

bool CompensatedLayer::canKeepWeights(int64_t channel) const {
  for (int64_t tap = 0; tap < layout.taps; ++tap) {
    const int64_t weight = weights->elements[layout.getIndex(channel, tap)] -
                           weightZp + getNewZp();
    if (weight < -128 || weight > 127)
      return false;
  }
  return true;
}

//===----------------------------------------------------------------------===//
// Rewriting
//===----------------------------------------------------------------------===//

void CompensatedLayer::apply(OpBuilder &builder) const {
  const ArrayRef<int8_t> elements(newWeights.get(), weights->elements.size());
  if (weights->elements != elements)
    setWeights(builder, convolution.getWeightsOperand(), elements);
  if (getNewZp() != weightZp) {
    auto type = cast<ShapedType>(convolution.getWeightZp().getType());
    replaceConstant(
        builder, convolution.getWeightZpOperand(),
        DenseElementsAttr::get(
            type, builder.getIntegerAttr(type.getElementType(), 0)));
  }
  SmallVector<int64_t> newBiases = biases;
  for (auto [bias, result] : llvm::zip_equal(newBiases, results))
    if (result.outcome == Outcome::Compensated)
      bias = result.bias;
  if (newBiases == biases)
    return;
  Type element = getElementTypeOrSelf(convolution.getBias());
  SmallVector<APInt> integers;
  for (int64_t bias : newBiases)
    integers.emplace_back(element.getIntOrFloatBitWidth(), bias,
                          /*isSigned=*/true);
  replaceConstant(
      builder, convolution.getBiasOperand(),
      DenseElementsAttr::get(
          RankedTensorType::get({layout.outputChannels}, element), integers));
}

} // namespace tosa_rescale
