//===- AccumulatorRanges.cpp - ranges of sums of products, and rescales ---===//
//
// Implements the rules of RangeRules.h for convolutions and matrix products,
// whose accumulators may overflow, and for the rescales behind them.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Convolution.h"
#include "RangeRules.h"
#include "RescaleOps.h"

using namespace mlir;

namespace tosa_rescale {

/// Some taps may be missing, at a border or between the strides of a transposed
/// convolution. A missing tap adds nothing, whatever the zero points.
static bool mayMissTaps(Operation *op) {
  if (isa<tosa::TransposeConv2DOp>(op))
    return true;
  return llvm::any_of(op->getAttrOfType<DenseI64ArrayAttr>("pad").asArrayRef(),
                      [](int64_t size) { return size != 0; });
}

/// 17 bits of input and weight, zero points included, leave room for 2^29 taps
/// in int64_t.
static bool isNarrow(Value value) {
  auto integer = dyn_cast<IntegerType>(getElementTypeOrSelf(value));
  return integer && integer.getWidth() <= 16;
}

/// The biases, one for each output channel.
static SmallVector<WideInterval> getBiases(ValueRanges &ranges,
                                           const Convolution &convolution,
                                           const WeightLayout &layout) {
  const ChannelRanges biases = ranges.get(convolution.getBias());
  const bool forEach =
      static_cast<int64_t>(biases.size()) == layout.outputChannels;
  SmallVector<WideInterval> sums;
  for (int64_t channel = 0; channel < layout.outputChannels; ++channel)
    sums.push_back(widen(forEach ? biases[channel] : uniteAll(biases)));
  return sums;
}

ChannelRanges inferConvolution(ValueRanges &ranges, Operation *op) {
  const Convolution convolution = Convolution::match(op);
  const Value weight = convolution.getWeights();
  const ChannelRanges full = {getTypeRange(op->getResult(0).getType())};
  const std::optional<WeightLayout> layout = convolution.getLayout();
  if (!layout || !isNarrow(weight) || !isNarrow(convolution.getInput()))
    return full;

  const Interval inputZp = ranges.getWhole(convolution.getInputZp()),
                 weightZp = ranges.getWhole(convolution.getWeightZp());
  ChannelRanges inputs = ranges.get(convolution.getInput());
  for (Interval &x : inputs)
    x = {x.low - inputZp.high, x.high - inputZp.low};
  const int64_t inputChannels = layout->inputChannels;
  if (layout->outputChannels == 0 || layout->taps == 0 ||
      (inputs.size() != 1 &&
       static_cast<int64_t>(inputs.size()) != inputChannels))
    return full;

  SmallVector<WideInterval> sums = getBiases(ranges, convolution, *layout);
  std::optional<SmallVector<int64_t>> weights = getConstantIntegers(weight);
  const Interval anyWeight = weights ? Interval() : ranges.getWhole(weight);
  const bool depthwise = layout->isDepthwise(), partial = mayMissTaps(op);
  for (int64_t channel = 0; channel < layout->outputChannels; ++channel) {
    Interval sum;
    int64_t inputChannel = layout->getInputChannel(channel);
    for (int64_t tap = 0; tap < layout->taps; ++tap) {
      const size_t index = layout->getIndex(channel, tap);
      const Interval w =
          weights ? Interval{(*weights)[index], (*weights)[index]} : anyWeight;
      const Interval x = at(inputs, inputChannel);
      // Counted instead of divided: weights have millions of taps.
      if (!depthwise && ++inputChannel == inputChannels)
        inputChannel = 0;
      const int64_t wLow = w.low - weightZp.high, wHigh = w.high - weightZp.low;
      auto [low, high] = std::minmax(
          {wLow * x.low, wLow * x.high, wHigh * x.low, wHigh * x.high});
      sum.low += partial ? std::min<int64_t>(low, 0) : low;
      sum.high += partial ? std::max<int64_t>(high, 0) : high;
    }
    sums[channel].low += sum.low;
    sums[channel].high += sum.high;
  }
  return ranges.addAccumulator(op->getResult(0), sums);
}

ChannelRanges inferMatMul(ValueRanges &ranges, Operation *operation) {
  auto op = cast<tosa::MatMulOp>(operation);
  const int64_t depth = getChannelCount(op.getA().getType());
  if (depth < 0 || !isa<IntegerType>(getElementTypeOrSelf(op.getA())))
    return {getTypeRange(op.getType())};
  const Interval aZp = ranges.getWhole(op.getAZp()),
                 bZp = ranges.getWhole(op.getBZp());
  const Interval a = ranges.getWhole(op.getA());
  SmallVector<WideInterval> sums;
  for (Interval b : ranges.get(op.getB())) {
    const WideInterval product = multiply({a.low - aZp.high, a.high - aZp.low},
                                          {b.low - bZp.high, b.high - bZp.low});
    sums.push_back({product.low * depth, product.high * depth});
  }
  return ranges.addAccumulator(op.getResult(), sums);
}

ChannelRanges inferRescale(ValueRanges &ranges, Operation *operation) {
  auto op = cast<tosa::RescaleOp>(operation);
  const Interval full = getTypeRange(op.getType());
  const std::optional<SmallVector<Scale>> scales = getScales(op);
  const FailureOr<int64_t> zp = op.getOutputZeroPoint();
  if (!scales || scales->empty() || failed(zp) ||
      llvm::any_of(*scales, [](const Scale &scale) {
        return scale.multiplier < 0 || !isLegalShift(scale.shift);
      }))
    return {full};

  Interval limits = full;
  if (op.getOutputUnsigned() && limits.low < 0)
    limits = {0, 2 * limits.high + 1};
  const ChannelRanges values = ranges.getScaledValue(op);
  // INEXACT_ROUND is within one of the exact result.
  const int64_t slack =
      op.getRoundingMode() == tosa::RoundingMode::INEXACT_ROUND ? 1 : 0;
  const bool doubleRound =
      op.getRoundingMode() == tosa::RoundingMode::DOUBLE_ROUND;
  ChannelRanges result;
  for (size_t channel = 0, e = std::max(values.size(), scales->size());
       channel < e; ++channel) {
    const Scale scale =
        scales->size() == 1 ? scales->front() : (*scales)[channel];
    const Interval value = at(values, channel);
    // Both roundings are monotone, so the ends stay the ends.
    Interval range = {rescaleValue(value.low, 0, scale, doubleRound,
                                   *zp - slack, limits.low, limits.high),
                      rescaleValue(value.high, 0, scale, doubleRound,
                                   *zp + slack, limits.low, limits.high)};
    result.push_back(confine(widen(range), op.getType()));
  }
  return result;
}

} // namespace tosa_rescale
