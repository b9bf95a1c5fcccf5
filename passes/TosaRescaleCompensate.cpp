//===- TosaRescaleCompensate.cpp - fold multipliers into weights ----------===//
//
// Implements tosa-rescale-compensate.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Passes.h"

#include "mlir/IR/Threading.h"
#include "llvm/Support/DebugLog.h"
#include "llvm/Support/FormatVariadic.h"

#include <cmath>
#include <vector>

#define DEBUG_TYPE "tosa-rescale-compensate"

using namespace mlir;

namespace tosa_rescale {

#define GEN_PASS_DEF_TOSARESCALECOMPENSATEPASS
#include "Passes.h.inc"

/// Input statistics of a convolution, consumed by this pass.
static constexpr llvm::StringLiteral kMeanAttrName = "tosa_rescale.input_mean";
static constexpr llvm::StringLiteral kMomentAttrName =
    "tosa_rescale.input_moment";
static constexpr llvm::StringLiteral kSquareAttrName =
    "tosa_rescale.input_square";
static constexpr llvm::StringLiteral kFactorsAttrName =
    "tosa_rescale.input_factors";
static constexpr llvm::StringLiteral kStatisticNames[] = {
    kMeanAttrName, kMomentAttrName, kSquareAttrName, kFactorsAttrName};
/// What became of the layer behind a rescale.
static constexpr llvm::StringLiteral kCompensatedAttrName =
    "tosa_rescale.compensated";

// The operands that all convolutions have, in their order.
static constexpr unsigned kInput = 0, kWeight = 1, kBias = 2, kInputZp = 3,
                          kWeightZp = 4;

namespace {

/// Statistics of a convolution's input; see InputStatistics. For
/// depthwise_conv2d one channel after the other, else the same for all.
struct Statistics {
  std::vector<float> mean, moment, factors, rest, diagonal;
  int64_t rank = 0;
  /// Second moments were measured, not guessed.
  bool hasMoments = true;
};

/// A convolution, its weights and what is to become of them.
struct Layer {
  Operation *op = nullptr;
  int64_t channels = 0;
  /// Weights of one output channel.
  int64_t taps = 0;
  /// depthwise_conv2d: output channels of one input channel, else 0.
  int64_t depthMultiplier = 0;
  int64_t weightZp = 0;
  /// In memory order.
  ArrayRef<int8_t> weights;
  /// Not initialised: the threads that fill it are to touch it first.
  std::unique_ptr<int8_t[]> newWeights;
  /// What `weights` refers to if the constant is stored as one element.
  std::vector<int8_t> splat;
  SmallVector<int64_t> biases;
  const Statistics *statistics = nullptr;
  LayerRules rules;
  std::vector<Compensated> results;

  size_t getIndex(int64_t channel, int64_t tap) const {
    return depthMultiplier ? tap * channels + channel : channel * taps + tap;
  }
  int64_t getNewZp() const { return rules.fill ? 0 : weightZp; }
};

/// What one rescale is to become.
struct Plan {
  tosa::RescaleOp op;
  NarrowFormat format;
  bool scale32 = true;
  tosa::RoundingMode roundingMode = tosa::RoundingMode::SINGLE_ROUND;
  SmallVector<Scale> oldScales, scales;
  /// None if only the multiplier is narrowed.
  std::unique_ptr<Layer> layer;
  bool perChannel = false;
  DictionaryAttr report;
};

struct TosaRescaleCompensatePass final
    : impl::TosaRescaleCompensatePassBase<TosaRescaleCompensatePass> {
  using Base::Base;

  LogicalResult initialize(MLIRContext *context) override;
  void runOnOperation() override;

private:
  using StatisticsMap = DenseMap<Operation *, Statistics>;

  /// The rescale without its weights. No value: it was left alone with a
  /// remark.
  FailureOr<std::optional<Plan>> makePlan(tosa::RescaleOp op, int64_t bits);
  /// The convolution whose accumulator `plan` scales, or why there is none to
  /// compensate in.
  std::unique_ptr<Layer> makeLayer(Plan &plan, const StatisticsMap &statistics,
                                   std::string &reason);
  /// Turns the channels' results into scales and remarks.
  void conclude(Plan &plan);
  void apply(Plan &plan);

  std::nullopt_t leaveAlone(tosa::RescaleOp op, const Twine &reason) {
    remarkOn(op) << "left alone: " << reason;
    ++numLeftAlone;
    return std::nullopt;
  }
  void narrowOnly(Plan &plan, const Twine &reason) {
    plan.layer.reset();
    plan.scales = *narrowScales(plan.oldScales, plan.format);
    // Alignment may have left nothing to lose.
    if (!std::equal(plan.scales.begin(), plan.scales.end(),
                    plan.oldScales.begin(), plan.oldScales.end(), isSameValue))
      remarkOn(plan.op) << "narrowed only: " << reason;
  }

  BitsRequest request;
};

} // namespace

static bool isConvolution(Operation *op) {
  return isa_and_nonnull<tosa::Conv2DOp, tosa::Conv3DOp,
                         tosa::DepthwiseConv2DOp, tosa::TransposeConv2DOp>(op);
}

LogicalResult TosaRescaleCompensatePass::initialize(MLIRContext *context) {
  const Location location = UnknownLoc::get(context);
  request = {bits, 0, hiddenBit, Scope::Accumulator};
  if (failed(checkBitsRequest(location, getArgument(), request, kMinBits)))
    return failure();
  const int64_t most = request.bits + (hiddenBit ? 1 : 0);
  if (encoding == Encoding::Scale16 && most > kMultiplierBits16)
    return emitError(location)
           << getArgument() << " requires at most " << kMultiplierBits16
           << " significant bits for option 'encoding=scale16', got " << most;
  if (!(shrinkage >= 0 && shrinkage <= 1))
    return emitError(location)
           << getArgument() << " requires option 'shrinkage' from 0 to 1, got "
           << llvm::formatv("{0}", double(shrinkage)).str();
  return success();
}

//===----------------------------------------------------------------------===//
// Statistics
//===----------------------------------------------------------------------===//

/// The elements of a float attribute, and whether it is one of that shape.
static bool readFloats(Attribute attribute, ArrayRef<int64_t> shape,
                       std::vector<float> &out) {
  auto elements = dyn_cast<ElementsAttr>(attribute);
  if (!elements || !elements.getElementType().isF32() ||
      elements.getShapedType().getShape() != shape)
    return false;
  const size_t count = elements.getNumElements();
  if (auto dense = dyn_cast<DenseElementsAttr>(elements);
      dense && dense.isSplat()) {
    out.assign(count, dense.getSplatValue<float>());
    return true;
  }
  const std::optional<ArrayRef<char>> bytes = getRawData(elements);
  if (!bytes || bytes->size() != count * sizeof(float))
    return false;
  out.resize(count);
  std::memcpy(out.data(), bytes->data(), bytes->size());
  return true;
}

static LogicalResult readStatistic(Operation *op, StringRef name,
                                   ArrayRef<int64_t> shape,
                                   std::vector<float> &out) {
  Attribute attribute = op->getAttr(name);
  if (!attribute)
    return success();
  if (!readFloats(attribute, shape, out)) {
    InFlightDiagnostic error =
        op->emitOpError("requires '")
        << name << "' to be a "
        << RankedTensorType::get(shape, Float32Type::get(op->getContext()))
        << ", got ";
    // The type says what is wrong; the elements may be millions.
    if (auto elements = dyn_cast<ElementsAttr>(attribute))
      return error << elements.getShapedType();
    return error << attribute;
  }
  for (float value : out)
    if (!std::isfinite(value))
      return op->emitOpError("requires '")
             << name << "' to be finite, got " << std::to_string(value);
  return success();
}

/// Makes `[T, C]` of `[C, T]`, the order of a depthwise convolution's weights
/// into one channel after the other.
static void separateChannels(std::vector<float> &values, int64_t channels) {
  std::vector<float> result(values.size());
  const int64_t taps = values.size() / channels;
  for (int64_t tap = 0; tap < taps; ++tap)
    for (int64_t channel = 0; channel < channels; ++channel)
      result[channel * taps + tap] = values[tap * channels + channel];
  values = std::move(result);
}

/// Derives `rest` and `diagonal` for the `taps` weights of one channel after
/// the other.
static void completeStatistics(Statistics &statistics, int64_t taps) {
  const std::vector<float> &mean = statistics.mean;
  std::vector<float> &diagonal = statistics.diagonal;
  const int64_t count = mean.size();
  if (!statistics.moment.empty()) {
    diagonal.resize(count);
    for (int64_t i = 0; i < count; ++i)
      diagonal[i] = statistics.moment[i * taps + i % taps];
    return;
  }
  if (statistics.factors.empty()) {
    // Deviations are not known. That they are as large as the means is as good
    // a guess as any for values on one side of zero.
    statistics.hasMoments = false;
    statistics.factors = mean;
    statistics.rank = 1;
    diagonal.resize(count);
    for (int64_t first = 0; first < count; first += taps) {
      float squares = 0;
      for (int64_t i = first; i < first + taps; ++i)
        squares += mean[i] * mean[i];
      for (int64_t i = first; i < first + taps; ++i)
        diagonal[i] = mean[i] * mean[i] + squares / taps;
    }
  }
  // Factors come from fewer samples than squares, and may claim more.
  const int64_t rank = statistics.rank;
  statistics.rest.resize(count);
  for (int64_t i = 0; i < count; ++i) {
    float explained = 0;
    for (int64_t r = 0; r < rank; ++r) {
      const float factor =
          statistics.factors[(i / taps * rank + r) * taps + i % taps];
      explained += factor * factor;
    }
    diagonal[i] = std::max(diagonal[i], explained);
    statistics.rest[i] = diagonal[i] - explained;
  }
}

static LogicalResult readStatistics(Operation *op, Statistics &statistics) {
  auto type = dyn_cast<RankedTensorType>(op->getOperand(kWeight).getType());
  if (!type || !type.hasStaticShape())
    return op->emitOpError("requires weights of static shape for '")
           << kMeanAttrName << "', got " << op->getOperand(kWeight).getType();
  for (StringRef name : kStatisticNames)
    if (op->hasAttr(name) && !op->hasAttr(kMeanAttrName))
      return op->emitOpError("requires '")
             << kMeanAttrName << "' beside '" << name << "', got none";
  if (op->hasAttr(kSquareAttrName) != op->hasAttr(kFactorsAttrName))
    return op->emitOpError("requires '")
           << kSquareAttrName << "' and '" << kFactorsAttrName
           << "', got one of them";
  if (op->hasAttr(kMomentAttrName) && op->hasAttr(kFactorsAttrName))
    return op->emitOpError("requires '")
           << kMomentAttrName << "' or '" << kFactorsAttrName << "', got both";

  const ArrayRef<int64_t> shape = type.getShape();
  const bool depthwise = isa<tosa::DepthwiseConv2DOp>(op);
  // The rank is for whoever wrote the factors to choose.
  if (auto factors = op->getAttrOfType<ElementsAttr>(kFactorsAttrName))
    if (const ArrayRef<int64_t> dims = factors.getShapedType().getShape();
        dims.size() >= 2)
      statistics.rank = std::max<int64_t>(dims[dims.size() - 2], 1);
  const int64_t rank = std::max<int64_t>(statistics.rank, 1);
  SmallVector<int64_t> meanShape, momentShape, factorsShape;
  int64_t taps;
  if (depthwise) {
    taps = shape[0] * shape[1];
    meanShape = {shape[0], shape[1], shape[2]};
    momentShape = {shape[2], taps, taps};
    factorsShape = {shape[2], rank, taps};
  } else {
    meanShape = llvm::to_vector(shape.drop_front());
    taps = ShapedType::getNumElements(meanShape);
    momentShape = {taps, taps};
    factorsShape = {rank, taps};
  }
  if (failed(readStatistic(op, kMeanAttrName, meanShape, statistics.mean)) ||
      failed(
          readStatistic(op, kMomentAttrName, momentShape, statistics.moment)) ||
      failed(
          readStatistic(op, kSquareAttrName, meanShape, statistics.diagonal)) ||
      failed(readStatistic(op, kFactorsAttrName, factorsShape,
                           statistics.factors)))
    return failure();
  if (depthwise) {
    separateChannels(statistics.mean, shape[2]);
    separateChannels(statistics.diagonal, shape[2]);
  }
  completeStatistics(statistics, taps);
  return success();
}

//===----------------------------------------------------------------------===//
// Planning
//===----------------------------------------------------------------------===//

FailureOr<std::optional<Plan>>
TosaRescaleCompensatePass::makePlan(tosa::RescaleOp op, int64_t bits) {
  Plan plan;
  plan.op = op;
  plan.scale32 = op.getScale32() && encoding == Encoding::Aligned;
  plan.perChannel = op.getPerChannel();
  if (roundingMode == ResultRounding::Keep)
    plan.roundingMode = op.getRoundingMode();
  const bool doubleRound =
      plan.roundingMode == tosa::RoundingMode::DOUBLE_ROUND;
  if (encoding == Encoding::Scale16 && bits > kMultiplierBits16)
    return op.emitOpError("requires at most ")
           << kMultiplierBits16
           << " significant bits for encoding=scale16, got " << bits;
  if (encoding == Encoding::Scale16 && doubleRound)
    return op.emitOpError(
        "requires SINGLE_ROUND for encoding=scale16, got DOUBLE_ROUND");

  if (plan.roundingMode == tosa::RoundingMode::INEXACT_ROUND)
    return std::optional<Plan>(
        leaveAlone(op, "the result of INEXACT_ROUND is up to the "
                       "implementation; rounding-mode=single replaces it"));
  if (doubleRound && !plan.scale32)
    return std::optional<Plan>(leaveAlone(
        op, "DOUBLE_ROUND requires scale32, got a 16-bit multiplier"));
  if (plan.scale32 && getElementTypeOrSelf(op.getInput()).isInteger(48))
    return std::optional<Plan>(leaveAlone(
        op, "an i48 input requires a 16-bit multiplier, got scale32"));
  std::optional<SmallVector<Scale>> scales = getScales(op);
  if (!scales)
    return std::optional<Plan>(
        leaveAlone(op, "requires a constant multiplier and shift"));
  for (auto [channel, scale] : llvm::enumerate(*scales))
    if (scale.multiplier < 0)
      return std::optional<Plan>(leaveAlone(
          op, "requires a multiplier of at least 0, got " +
                  Twine(scale.multiplier) + " in channel " + Twine(channel)));
  plan.oldScales = std::move(*scales);

  plan.format.significantBits = bits;
  plan.format.containerBits =
      plan.scale32 ? kMultiplierBits32 : kMultiplierBits16;
  plan.format.leftAligned = encoding == Encoding::Aligned;
  plan.format.doubleRound = doubleRound;
  std::optional<SmallVector<Scale>> narrowed =
      narrowScales(plan.oldScales, plan.format);
  if (!narrowed && encoding == Encoding::Scale16 && op.getScale32()) {
    // As in tosa-rescale-narrow: what 15 bits cannot express, 31 may.
    plan.format.containerBits = kMultiplierBits32;
    plan.format.leftAligned = true;
    plan.scale32 = true;
    narrowed = narrowScales(plan.oldScales, plan.format);
    if (narrowed)
      remarkOn(op) << "keeps its 32-bit multiplier: no 16-bit multiplier "
                      "expresses the scale "
                   << describeLargest(plan.oldScales);
  }
  if (!narrowed)
    return std::optional<Plan>(
        leaveAlone(op, "no legal shift expresses the scale " +
                           describeLargest(plan.oldScales)));
  plan.scales = std::move(*narrowed);
  return std::optional<Plan>(std::move(plan));
}

/// Finds the weights of `layer` in a constant of i8, also through reshapes.
static bool readWeights(Value value, Layer &layer) {
  const ElementsAttr elements = getConstantElements(value);
  if (!elements)
    return false;
  const size_t count = elements.getNumElements();
  if (auto dense = dyn_cast<DenseElementsAttr>(elements);
      dense && dense.isSplat()) {
    layer.splat.assign(count, dense.getSplatValue<APInt>().getSExtValue());
    layer.weights = layer.splat;
    return true;
  }
  const std::optional<ArrayRef<char>> bytes = getRawData(elements);
  if (!bytes || bytes->size() != count)
    return false;
  layer.weights =
      ArrayRef(reinterpret_cast<const int8_t *>(bytes->data()), count);
  return true;
}

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
    if (!isa<tosa::ReshapeOp, tosa::TransposeOp, tosa::SliceOp,
             tosa::IdentityOp, tosa::MaxPool2dOp>(op))
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

std::unique_ptr<Layer> TosaRescaleCompensatePass::makeLayer(
    Plan &plan, const StatisticsMap &statistics, std::string &reason) {
  auto fail = [&](const Twine &text) {
    reason = text.str();
    return nullptr;
  };
  Value value = plan.op.getInput();
  bool sameChannels = true;
  while (true) {
    Operation *op = value.getDefiningOp();
    if (!op)
      return fail("requires the accumulator of a convolution, got an argument");
    const bool found = isConvolution(op);
    if (!found && !isa<tosa::ReshapeOp, tosa::TransposeOp, tosa::SliceOp,
                       tosa::IdentityOp>(op))
      return fail("requires the accumulator of a convolution, got the result "
                  "of '" +
                  op->getName().getStringRef() + "'");
    if (!value.hasOneUse())
      return fail("requires an accumulator that nothing else reads, got one "
                  "with " +
                  Twine(value.getNumUses()) + " uses");
    if (found)
      break;
    sameChannels &= keepsChannels(op);
    value = op->getOperand(0);
  }

  auto layer = std::make_unique<Layer>();
  Operation *op = layer->op = value.getDefiningOp();
  auto accumulatorType = dyn_cast<IntegerType>(getElementTypeOrSelf(value));
  auto inputType =
      dyn_cast<IntegerType>(getElementTypeOrSelf(op->getOperand(kInput)));
  auto weightType =
      dyn_cast<RankedTensorType>(op->getOperand(kWeight).getType());
  if (!accumulatorType || !inputType || inputType.getWidth() > 16 ||
      !weightType || !weightType.getElementType().isSignlessInteger(8))
    return fail("requires weights of i8, got " +
                llvm::formatv("{0}", op->getOperand(kWeight).getType()).str());
  if (!weightType.hasStaticShape() ||
      !readWeights(op->getOperand(kWeight), *layer))
    return fail("requires constant weights");

  auto readOne = [&](unsigned operand) -> std::optional<int64_t> {
    std::optional<SmallVector<int64_t>> values =
        getConstantIntegers(op->getOperand(operand));
    return values && values->size() == 1 ? std::optional(values->front())
                                         : std::nullopt;
  };
  const std::optional<int64_t> inputZp = readOne(kInputZp),
                               weightZp = readOne(kWeightZp);
  std::optional<SmallVector<int64_t>> biases =
      getConstantIntegers(op->getOperand(kBias));
  if (!biases)
    return fail("requires a constant bias");
  const FailureOr<int64_t> accumulatorZp = plan.op.getInputZeroPoint(),
                           outputZp = plan.op.getOutputZeroPoint();
  if (!inputZp || !weightZp || failed(accumulatorZp) || failed(outputZp))
    return fail("requires constant zero points");

  const ArrayRef<int64_t> shape = weightType.getShape();
  if (isa<tosa::DepthwiseConv2DOp>(op)) {
    layer->depthMultiplier = shape[3];
    layer->channels = shape[2] * shape[3];
  } else {
    layer->channels = shape.front();
  }
  if (layer->weights.empty())
    return fail("requires weights, got none");
  layer->taps = layer->weights.size() / layer->channels;
  layer->weightZp = *weightZp;
  layer->biases = std::move(*biases);
  if (layer->biases.size() == 1)
    layer->biases.resize(layer->channels, layer->biases.front());
  const bool perTensor = plan.oldScales.size() == 1 && !plan.perChannel;
  if (!perTensor && !sameChannels)
    return fail("requires the channels in the last dimension, as the "
                "convolution leaves them");

  LayerRules &rules = layer->rules;
  rules.format = plan.format;
  rules.scale32 = plan.scale32;
  rules.fill = !perTensor || (promote && sameChannels);
  rules.clip = clip;
  rules.rounding = weightRounding;
  rules.shrinkage = shrinkage;
  if (!rules.fill) {
    rules.lowestWeight = -128 - layer->weightZp;
    rules.highestWeight = 127 - layer->weightZp;
    if (promote)
      remarkOn(plan.op)
          << "stays per tensor: requires the channels in the last "
             "dimension, as the convolution leaves them";
  }
  // A tap at the border adds nothing, so 0 is always among the values.
  const auto [low, high] = getInputRange(op->getOperand(kInput));
  rules.lowestInput = std::min<int64_t>(low - *inputZp, 0);
  rules.highestInput = std::max<int64_t>(high - *inputZp, 0);
  rules.highestSum = (int64_t(1) << (accumulatorType.getWidth() - 1)) - 1;
  rules.lowestSum = -rules.highestSum - 1;
  rules.outputZp = *outputZp;
  if (auto it = statistics.find(op); it != statistics.end())
    layer->statistics = &it->second;
  layer->newWeights.reset(new int8_t[layer->weights.size()]);
  layer->results.resize(layer->channels);
  return layer;
}

//===----------------------------------------------------------------------===//
// Compensation
//===----------------------------------------------------------------------===//

/// Solves the channels from `first` to `last`, the latter excluded.
static void solveChannels(Layer &layer, ArrayRef<Scale> scales, int64_t first,
                          int64_t last) {
  const int64_t taps = layer.taps;
  const int32_t zp = layer.weightZp, newZp = layer.getNewZp();
  const int8_t *const old = layer.weights.data();
  int8_t *const out = layer.newWeights.get();
  std::vector<int16_t> weights(taps), newWeights(taps);
  for (int64_t c = first; c < last; ++c) {
    const int64_t start = layer.getIndex(c, 0),
                  stride = layer.depthMultiplier ? layer.channels : 1;
    auto load = [&](int64_t stride) {
      for (int64_t tap = 0; tap < taps; ++tap)
        weights[tap] = static_cast<int16_t>(old[start + tap * stride] - zp);
    };
    auto store = [&](int64_t stride) {
      for (int64_t tap = 0; tap < taps; ++tap)
        out[start + tap * stride] =
            static_cast<int8_t>(newWeights[tap] + newZp);
    };
    // A stride that the compiler knows to be 1 makes vectors of it.
    stride == 1 ? load(1) : load(stride);
    Channel channel;
    channel.weights = weights.data();
    channel.count = taps;
    channel.bias = layer.biases[c];
    channel.scale = scales.size() == 1 ? scales.front() : scales[c];
    InputStatistics inputs;
    if (const Statistics *statistics = layer.statistics) {
      const int64_t input =
          layer.depthMultiplier ? c / layer.depthMultiplier : 0;
      inputs.mean = statistics->mean.data() + input * taps;
      inputs.diagonal = statistics->diagonal.data() + input * taps;
      if (!statistics->moment.empty()) {
        inputs.moment = statistics->moment.data() + input * taps * taps;
      } else {
        inputs.rank = statistics->rank;
        inputs.factors =
            statistics->factors.data() + input * inputs.rank * taps;
        inputs.rest = statistics->rest.data() + input * taps;
      }
      channel.inputs = &inputs;
    }
    layer.results[c] = compensate(channel, layer.rules, newWeights.data());
    // Without a zero point of its own a weight may be out of reach; conclude()
    // looks for that where it matters.
    stride == 1 ? store(1) : store(stride);
  }
}

namespace {

/// Counts channels that share a fate, and remembers the first.
struct ChannelCount {
  int64_t first = -1;
  int64_t count = 0;

  void add(int64_t channel) {
    if (count++ == 0)
      first = channel;
  }
  std::string getText() const {
    std::string text = " in channel " + std::to_string(first);
    if (count > 1)
      text += " and in " + std::to_string(count - 1) + " more";
    return text;
  }
};

} // namespace

/// Whether the weights of `channel` can stay as they are with the zero point
/// that the layer gets.
static bool canKeepWeights(const Layer &layer, int64_t channel) {
  for (int64_t tap = 0; tap < layer.taps; ++tap) {
    const int64_t weight = layer.weights[layer.getIndex(channel, tap)] -
                           layer.weightZp + layer.getNewZp();
    if (weight < -128 || weight > 127)
      return false;
  }
  return true;
}

void TosaRescaleCompensatePass::conclude(Plan &plan) {
  Layer &layer = *plan.layer;
  ChannelCount zeros, overflows, stuck, unmatched;
  bool anyCompensated = false;
  double errorNearest = 0, error = 0;
  double ratioMin = HUGE_VAL, ratioMax = 0;
  int64_t changed = 0;
  for (auto [c, result] : llvm::enumerate(layer.results)) {
    switch (result.outcome) {
    case Outcome::Kept:
      break;
    case Outcome::Compensated:
      anyCompensated = true;
      ratioMin = std::min(ratioMin, result.ratio);
      ratioMax = std::max(ratioMax, result.ratio);
      changed += result.changed;
      errorNearest += result.errorNearest / layer.channels;
      error += result.error / layer.channels;
      break;
    case Outcome::ZeroMultiplier:
      zeros.add(c);
      break;
    case Outcome::BiasOverflow:
      overflows.add(c);
      break;
    case Outcome::NoShift:
      stuck.add(c);
      break;
    }
    if (result.outcome != Outcome::Compensated &&
        result.outcome != Outcome::NoShift && !canKeepWeights(layer, c))
      unmatched.add(c);
  }

  const std::string overflowText =
      overflows.count == 0
          ? ""
          : "requires an accumulator that fits " +
                llvm::formatv("{0}", getElementTypeOrSelf(plan.op.getInput()))
                    .str() +
                ", got a bias of " +
                std::to_string(layer.results[overflows.first].bias) +
                overflows.getText();
  if (zeros.count != 0)
    remarkOn(plan.op) << "left alone: a multiplier of 0" << zeros.getText();
  if (stuck.count != 0)
    return narrowOnly(plan, "no legal shift expresses the multiplier" +
                                stuck.getText());
  // One multiplier for all: either every channel follows it, or none.
  if (!layer.rules.fill && overflows.count != 0)
    return narrowOnly(plan, overflowText);
  if (overflows.count != 0)
    remarkOn(plan.op) << "narrowed only: " << overflowText;
  if (!anyCompensated) {
    plan.layer.reset();
    return;
  }
  if (unmatched.count != 0)
    return narrowOnly(plan, "requires weights that fit i8 with a zero point "
                            "of 0" +
                                unmatched.getText());

  SmallVector<Scale> scales;
  for (auto [c, result] : llvm::enumerate(layer.results)) {
    if (result.outcome == Outcome::Compensated ||
        result.outcome == Outcome::Kept)
      scales.push_back(result.scale);
    else
      scales.push_back(plan.scales.size() == 1 ? plan.scales.front()
                                               : plan.scales[c]);
  }
  if (layer.rules.fill) {
    plan.scales = std::move(scales);
    plan.perChannel = true;
  } else {
    plan.scales.assign(1, scales.front());
  }

  Builder builder(&getContext());
  SmallVector<NamedAttribute> entries = {
      builder.getNamedAttr("ratio_min", builder.getF64FloatAttr(ratioMin)),
      builder.getNamedAttr("ratio_max", builder.getF64FloatAttr(ratioMax)),
      builder.getNamedAttr("weights_changed",
                           builder.getI64IntegerAttr(changed))};
  if (layer.statistics && layer.statistics->hasMoments) {
    entries.push_back(builder.getNamedAttr(
        "error_nearest", builder.getF64FloatAttr(errorNearest)));
    entries.push_back(
        builder.getNamedAttr("error", builder.getF64FloatAttr(error)));
  }
  plan.report = builder.getDictionaryAttr(entries);
}

//===----------------------------------------------------------------------===//
// Rewriting
//===----------------------------------------------------------------------===//

/// Gives `operand` new elements through copies of the reshapes that it came
/// through: the constant keeps its shape, and with it everything that knows the
/// graph by its structure.
static void setWeights(OpBuilder &builder, OpOperand &operand,
                       ArrayRef<int8_t> elements) {
  SmallVector<Operation *> reshapes;
  Value source = operand.get();
  while (auto reshape = source.getDefiningOp<tosa::ReshapeOp>()) {
    reshapes.push_back(reshape);
    source = reshape.getInput1();
  }
  Operation *old = operand.get().getDefiningOp();
  builder.setInsertionPoint(source.getDefiningOp());
  auto type = cast<ShapedType>(source.getType());
  auto attribute = DenseElementsAttr::getFromRawBuffer(
      type, ArrayRef(reinterpret_cast<const char *>(elements.data()),
                     elements.size()));
  Value value =
      tosa::ConstOp::create(builder, source.getLoc(), type, attribute);
  for (Operation *reshape : llvm::reverse(reshapes)) {
    builder.setInsertionPoint(reshape);
    Operation *copy = builder.clone(*reshape);
    copy->setOperand(0, value);
    value = copy->getResult(0);
  }
  operand.set(value);
  eraseIfDead(old);
}

void TosaRescaleCompensatePass::apply(Plan &plan) {
  OpBuilder builder(&getContext());
  if (Layer *layer = plan.layer.get()) {
    Operation *op = layer->op;
    const ArrayRef<int8_t> newWeights(layer->newWeights.get(),
                                      layer->weights.size());
    if (layer->weights != newWeights)
      setWeights(builder, op->getOpOperand(kWeight), newWeights);
    if (layer->getNewZp() != layer->weightZp) {
      auto type = cast<ShapedType>(op->getOperand(kWeightZp).getType());
      replaceConstant(
          builder, op->getOpOperand(kWeightZp),
          DenseElementsAttr::get(
              type, builder.getIntegerAttr(type.getElementType(), 0)));
    }
    SmallVector<int64_t> biases = layer->biases;
    for (auto [bias, result] : llvm::zip_equal(biases, layer->results))
      if (result.outcome == Outcome::Compensated)
        bias = result.bias;
    if (biases != layer->biases) {
      Type element = getElementTypeOrSelf(op->getOperand(kBias));
      SmallVector<APInt> elements;
      for (int64_t bias : biases)
        elements.emplace_back(element.getIntOrFloatBitWidth(), bias,
                              /*isSigned=*/true);
      replaceConstant(
          builder, op->getOpOperand(kBias),
          DenseElementsAttr::get(
              RankedTensorType::get({layer->channels}, element), elements));
    }
    plan.op.setPerChannel(plan.perChannel);
    plan.op->setAttr(kCompensatedAttrName, plan.report);
    ++numCompensated;
  }
  if (setScales(builder, plan.op, plan.scales, plan.scale32,
                plan.roundingMode) &&
      !plan.layer)
    ++numNarrowed;
  LDBG() << "became " << plan.op;
}

void TosaRescaleCompensatePass::runOnOperation() {
  bool anyFailed = false;
  StatisticsMap statistics;
  SmallVector<Operation *> measured;
  getOperation().walk([&](Operation *op) {
    if (llvm::none_of(kStatisticNames,
                      [&](StringRef name) { return op->hasAttr(name); }))
      return;
    measured.push_back(op);
    if (!isConvolution(op)) {
      op->emitOpError("requires no input statistics: it is not a convolution");
      anyFailed = true;
    } else if (failed(readStatistics(op, statistics[op]))) {
      anyFailed = true;
    }
  });

  std::vector<Plan> plans;
  getOperation().walk([&](tosa::RescaleOp op) {
    FailureOr<std::optional<int64_t>> width = getSignificantBits(op, request);
    if (failed(width)) {
      anyFailed = true;
      return;
    }
    if (!*width)
      return;
    FailureOr<std::optional<Plan>> plan = makePlan(op, **width);
    if (failed(plan)) {
      anyFailed = true;
      return;
    }
    if (!*plan)
      return;
    std::string reason;
    (*plan)->layer = makeLayer(**plan, statistics, reason);
    if (!(*plan)->layer)
      narrowOnly(**plan, reason);
    plans.push_back(std::move(**plan));
  });
  if (anyFailed)
    return signalPassFailure();

  // Channels are independent of one another, so the result does not depend on
  // who computes them. A few at a time: a depthwise channel is nothing.
  struct Job {
    Plan *plan;
    int64_t first, last;
  };
  auto addJobs = [](std::vector<Job> &jobs, Plan &plan) {
    const int64_t channels = plan.layer->channels;
    const int64_t step = std::max<int64_t>(1, 16384 / plan.layer->taps);
    for (int64_t first = 0; first < channels; first += step)
      jobs.push_back({&plan, first, std::min(first + step, channels)});
  };
  auto run = [&](ArrayRef<Job> jobs) {
    parallelForEach(&getContext(), jobs, [](const Job &job) {
      solveChannels(*job.plan->layer, job.plan->oldScales, job.first, job.last);
    });
  };
  std::vector<Job> jobs, again;
  for (Plan &plan : plans)
    if (plan.layer)
      addJobs(jobs, plan);
  run(jobs);

  // The prior may know less of a layer than its moments do.
  for (Plan &plan : plans) {
    if (!plan.layer || !plan.layer->statistics ||
        !plan.layer->statistics->hasMoments)
      continue;
    double errorNearest = 0, error = 0;
    for (const Compensated &result : plan.layer->results) {
      errorNearest += result.errorNearest;
      error += result.error;
    }
    if (error > errorNearest) {
      plan.layer->rules.rounding = WeightRounding::Nearest;
      addJobs(again, plan);
    }
  }
  run(again);

  for (Plan &plan : plans)
    if (plan.layer)
      conclude(plan);
  for (Plan &plan : plans)
    apply(plan);
  for (Operation *op : measured)
    for (StringRef name : kStatisticNames)
      op->removeAttr(name);
}

} // namespace tosa_rescale
