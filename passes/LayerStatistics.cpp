//===- LayerStatistics.cpp - what was measured at a convolution's input ---===//
//
// Implements LayerStatistics.h.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LayerStatistics.h"

#include "Attributes.h"
#include "Diagnostics.h"
#include "RescaleOps.h"

#include <cmath>

using namespace mlir;

namespace tosa_rescale {

static constexpr llvm::StringLiteral kStatisticNames[] = {
    kMeanAttrName, kMomentAttrName, kSquareAttrName, kFactorsAttrName};

bool hasStatistics(Operation *op) {
  return llvm::any_of(kStatisticNames,
                      [&](StringRef name) { return op->hasAttr(name); });
}

void removeStatistics(Operation *op) {
  for (StringRef name : kStatisticNames)
    op->removeAttr(name);
}

InputStatistics LayerStatistics::get(const WeightLayout &layout,
                                     int64_t outputChannel) const {
  const int64_t input = layout.getInputChannel(outputChannel);
  const int64_t taps = layout.taps;
  InputStatistics inputs;
  inputs.mean = mean.data() + input * taps;
  inputs.diagonal = diagonal.data() + input * taps;
  if (!moment.empty()) {
    inputs.moment = moment.data() + input * taps * taps;
  } else {
    inputs.rank = rank;
    inputs.factors = factors.data() + input * rank * taps;
    inputs.rest = rest.data() + input * taps;
  }
  return inputs;
}

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
        errorOn(op) << "requires '" << name << "' to be a "
                    << RankedTensorType::get(shape,
                                             Float32Type::get(op->getContext()))
                    << ", got ";
    // The type says what is wrong; the elements may be millions.
    if (auto elements = dyn_cast<ElementsAttr>(attribute))
      return error << elements.getShapedType();
    return error << attribute;
  }
  for (float value : out)
    if (!std::isfinite(value))
      return errorOn(op) << "requires '" << name << "' to be finite, got "
                         << std::to_string(value);
  return success();
}

void scaleStatistics(Operation *op, double factor) {
  const std::pair<StringRef, double> powers[] = {
      {kMeanAttrName, factor},
      {kFactorsAttrName, factor},
      {kSquareAttrName, factor * factor},
      {kMomentAttrName, factor * factor}};
  for (auto [name, power] : powers) {
    auto elements = op->getAttrOfType<ElementsAttr>(name);
    std::vector<float> values;
    if (!elements ||
        !readFloats(elements, elements.getShapedType().getShape(), values))
      continue;
    for (float &value : values)
      value = static_cast<float>(value * power);
    op->setAttr(name, DenseElementsAttr::get(elements.getShapedType(),
                                             ArrayRef<float>(values)));
  }
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

/// Without squares or moments deviations are not known. That they are as large
/// as the means is as good a guess as any for values on one side of zero.
static void guessMoments(LayerStatistics &statistics, int64_t taps) {
  const std::vector<float> &mean = statistics.mean;
  const int64_t count = mean.size();
  statistics.hasMoments = false;
  statistics.factors = mean;
  statistics.rank = 1;
  statistics.diagonal.resize(count);
  for (int64_t first = 0; first < count; first += taps) {
    float squares = 0;
    for (int64_t i = first; i < first + taps; ++i)
      squares += mean[i] * mean[i];
    for (int64_t i = first; i < first + taps; ++i)
      statistics.diagonal[i] = mean[i] * mean[i] + squares / taps;
  }
}

/// The mean of E[x_i x_j] for i != j, in terms of that of E[x_i^2], as far as a
/// prior takes it.
static double getCorrelation(ArrayRef<float> moment, int64_t taps) {
  double all = 0, trace = 0;
  for (int64_t i = 0, e = moment.size(); i < e; ++i) {
    all += moment[i];
    if (i / taps == i % taps)
      trace += moment[i];
  }
  if (taps < 2 || trace <= 0)
    return 0;
  return std::clamp((all / trace - 1) / (taps - 1), 0.0, 0.5);
}

/// Derives `rest` and `diagonal` for the `taps` weights of one channel after
/// the other.
static void complete(LayerStatistics &statistics, int64_t taps) {
  std::vector<float> &diagonal = statistics.diagonal;
  const int64_t count = statistics.mean.size();
  if (!statistics.moment.empty()) {
    // The channels of a depthwise convolution have a matrix each.
    if (count == taps)
      statistics.correlation = getCorrelation(statistics.moment, taps);
    diagonal.resize(count);
    for (int64_t i = 0; i < count; ++i)
      diagonal[i] = statistics.moment[i * taps + i % taps];
    return;
  }
  if (statistics.factors.empty())
    guessMoments(statistics, taps);
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

/// Whether the attributes that `op` has go together.
static LogicalResult checkTogether(Operation *op) {
  if (!op->hasAttr(kMeanAttrName))
    for (StringRef name : kStatisticNames)
      if (op->hasAttr(name))
        return errorOn(op) << "requires '" << kMeanAttrName << "' beside '"
                           << name << "', got none";
  if (op->hasAttr(kSquareAttrName) != op->hasAttr(kFactorsAttrName))
    return errorOn(op) << "requires '" << kSquareAttrName << "' and '"
                       << kFactorsAttrName << "', got one of them";
  if (op->hasAttr(kMomentAttrName) && op->hasAttr(kFactorsAttrName))
    return errorOn(op) << "requires '" << kMomentAttrName << "' or '"
                       << kFactorsAttrName << "', got both";
  return success();
}

FailureOr<LayerStatistics> readStatistics(Convolution convolution) {
  Operation *op = convolution.getOperation();
  const Type type = convolution.getWeights().getType();
  const std::optional<WeightLayout> layout = convolution.getLayout();
  if (!layout)
    return errorOn(op) << "requires weights of static shape for '"
                       << kMeanAttrName << "', got " << type;
  if (failed(checkTogether(op)))
    return failure();

  LayerStatistics statistics;
  // The rank is for whoever wrote the factors to choose.
  if (auto factors = op->getAttrOfType<ElementsAttr>(kFactorsAttrName))
    if (const ArrayRef<int64_t> dims = factors.getShapedType().getShape();
        dims.size() >= 2)
      statistics.rank = std::max<int64_t>(dims[dims.size() - 2], 1);
  const int64_t rank = std::max<int64_t>(statistics.rank, 1);
  const int64_t taps = layout->taps;
  const ArrayRef<int64_t> shape = cast<ShapedType>(type).getShape();
  SmallVector<int64_t> meanShape(layout->isDepthwise() ? shape.drop_back()
                                                       : shape.drop_front());
  SmallVector<int64_t> momentShape = {taps, taps}, factorsShape = {rank, taps};
  if (layout->isDepthwise()) {
    momentShape.insert(momentShape.begin(), layout->inputChannels);
    factorsShape.insert(factorsShape.begin(), layout->inputChannels);
  }
  if (failed(readStatistic(op, kMeanAttrName, meanShape, statistics.mean)) ||
      failed(
          readStatistic(op, kMomentAttrName, momentShape, statistics.moment)) ||
      failed(
          readStatistic(op, kSquareAttrName, meanShape, statistics.diagonal)) ||
      failed(readStatistic(op, kFactorsAttrName, factorsShape,
                           statistics.factors)))
    return failure();
  if (layout->isDepthwise()) {
    separateChannels(statistics.mean, layout->inputChannels);
    separateChannels(statistics.diagonal, layout->inputChannels);
  }
  complete(statistics, taps);
  return statistics;
}

} // namespace tosa_rescale
