//===- ValueRange.cpp - which values an integer tensor can hold -----------===//
//
// Implements ValueRange.h.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ValueRange.h"

#include "RescaleOps.h"

#include "llvm/ADT/TypeSwitch.h"

#include <limits>

using namespace mlir;

namespace tosa_rescale {

namespace {

/// An interval before it is confined to a type: sums and products of two
/// int64_t fit.
struct WideInterval {
  Int128 low;
  Int128 high;
};

} // namespace

static WideInterval widen(Interval interval) {
  return {interval.low, interval.high};
}

/// All values of an integer type. `i1` is a truth value, 0 or 1.
static Interval getTypeRange(Type type) {
  auto integer = dyn_cast<IntegerType>(getElementTypeOrSelf(type));
  if (!integer || integer.getWidth() > 63)
    return {std::numeric_limits<int64_t>::min(),
            std::numeric_limits<int64_t>::max()};
  const unsigned width = integer.getWidth();
  if (integer.isUnsigned() || width == 1)
    return {0, (int64_t(1) << width) - 1};
  return {-(int64_t(1) << (width - 1)), (int64_t(1) << (width - 1)) - 1};
}

static bool fits(WideInterval interval, Interval limits) {
  return interval.low >= limits.low && interval.high <= limits.high;
}

/// `interval` if `type` can hold it, else everything: TOSA leaves an overflow
/// undefined, so any value may follow.
static Interval confine(WideInterval interval, Type type) {
  const Interval limits = getTypeRange(type);
  if (!fits(interval, limits))
    return limits;
  return {static_cast<int64_t>(interval.low),
          static_cast<int64_t>(interval.high)};
}

static WideInterval multiply(Interval a, Interval b) {
  const Int128 products[] = {Int128(a.low) * b.low, Int128(a.low) * b.high,
                             Int128(a.high) * b.low, Int128(a.high) * b.high};
  return {*llvm::min_element(products), *llvm::max_element(products)};
}

/// Extremes of a function that is monotone in each of its arguments.
template <typename Function>
static WideInterval atCorners(Interval a, Interval b, Function function) {
  const Int128 corners[] = {function(a.low, b.low), function(a.low, b.high),
                            function(a.high, b.low), function(a.high, b.high)};
  return {*llvm::min_element(corners), *llvm::max_element(corners)};
}

static Interval uniteAll(ArrayRef<Interval> ranges) {
  Interval result = ranges.front();
  for (Interval interval : ranges.drop_front())
    result = Interval::unite(result, interval);
  return result;
}

static Interval at(ArrayRef<Interval> ranges, size_t channel) {
  return ranges.size() == 1 ? ranges.front() : ranges[channel];
}

template <typename Function>
static ChannelRanges mapRanges(ArrayRef<Interval> a, Type type,
                               Function function) {
  ChannelRanges result;
  for (Interval interval : a)
    result.push_back(confine(function(interval), type));
  return result;
}

/// Combines two operands that broadcast against each other.
template <typename Function>
static ChannelRanges zipRanges(ArrayRef<Interval> a, ArrayRef<Interval> b,
                               Type type, Function function) {
  ChannelRanges result;
  for (size_t channel = 0, e = std::max(a.size(), b.size()); channel < e;
       ++channel)
    result.push_back(confine(function(at(a, channel), at(b, channel)), type));
  return result;
}

static ChannelRanges uniteRanges(ArrayRef<Interval> a, ArrayRef<Interval> b) {
  ChannelRanges result;
  for (size_t channel = 0, e = std::max(a.size(), b.size()); channel < e;
       ++channel)
    result.push_back(Interval::unite(at(a, channel), at(b, channel)));
  return result;
}

/// Size of the last dimension; -1 if it is not known or there is none.
static int64_t getChannelCount(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor || tensor.getRank() == 0 ||
      tensor.isDynamicDim(tensor.getRank() - 1))
    return -1;
  return tensor.getShape().back();
}

static bool isLastAxis(Value value, int64_t axis) {
  auto tensor = dyn_cast<RankedTensorType>(value.getType());
  return !tensor || axis == tensor.getRank() - 1;
}

static ChannelRanges getConstantRanges(ArrayRef<int64_t> elements, Type type) {
  int64_t channels = getChannelCount(type);
  if (channels <= 0 || elements.size() % channels != 0 ||
      llvm::all_equal(elements))
    channels = 1;
  ChannelRanges result;
  for (int64_t channel = 0; channel < channels; ++channel)
    result.push_back({elements[channel], elements[channel]});
  for (auto [i, element] : llvm::enumerate(elements)) {
    Interval &range = result[i % channels];
    range = Interval::unite(range, {element, element});
  }
  return result;
}

ValueRanges::ValueRanges(Operation *root) {
  root->walk<WalkOrder::PreOrder>([&](Operation *op) {
    // Most constants are weights, which nothing asks as a whole.
    if (op->getNumResults() != 1 || isa<tosa::ConstOp, tosa::ConstShapeOp>(op))
      return;
    Value result = op->getResult(0);
    if (!isa<IntegerType>(getElementTypeOrSelf(result)))
      return;
    ranges[result] = infer(op);
  });
}

ChannelRanges ValueRanges::get(Value value) {
  auto it = ranges.find(value);
  if (it != ranges.end())
    return it->second;
  ChannelRanges result = {getTypeRange(value.getType())};
  if (std::optional<SmallVector<int64_t>> elements = getConstantIntegers(value);
      elements && !elements->empty())
    result = getConstantRanges(*elements, value.getType());
  ranges[value] = result;
  return result;
}

Interval ValueRanges::getWhole(Value value) { return uniteAll(get(value)); }

std::optional<Interval> ValueRanges::getOverflow(Value value) const {
  auto it = overflows.find(value);
  return it == overflows.end() ? std::nullopt
                               : std::optional<Interval>(it->second);
}

/// Convolutions differ in where a weight's channels are found. `partial`: some
/// taps may be missing, at a border or between the strides of a transposed
/// convolution. A missing tap adds nothing, whatever the zero points.
ChannelRanges ValueRanges::inferConvolution(Operation *op, bool partial) {
  const Type type = op->getResult(0).getType();
  const Value input = op->getOperand(0), weight = op->getOperand(1);
  const Interval full = getTypeRange(type);
  auto weightType = dyn_cast<RankedTensorType>(weight.getType());
  // 17 bits of each leave room for 2^29 taps in the sums below.
  auto isNarrow = [](Type type) {
    auto integer = dyn_cast<IntegerType>(getElementTypeOrSelf(type));
    return integer && integer.getWidth() <= 16;
  };
  if (!weightType || !weightType.hasStaticShape() || !isNarrow(weightType) ||
      !isNarrow(input.getType()))
    return {full};

  const Interval inputZp = getWhole(op->getOperand(3)),
                 weightZp = getWhole(op->getOperand(4));
  ChannelRanges inputs = get(input);
  for (Interval &x : inputs)
    x = {x.low - inputZp.high, x.high - inputZp.low};

  const ArrayRef<int64_t> shape = weightType.getShape();
  const bool depthwise = isa<tosa::DepthwiseConv2DOp>(op);
  const int64_t inputChannels = depthwise ? shape[2] : shape.back();
  const int64_t outputChannels =
      depthwise ? shape[2] * shape[3] : shape.front();
  const int64_t count = weightType.getNumElements();
  if (count == 0 || (inputs.size() != 1 &&
                     static_cast<int64_t>(inputs.size()) != inputChannels))
    return {full};
  const int64_t taps = count / outputChannels;

  const ChannelRanges biases = get(op->getOperand(2));
  const bool biasForEach =
      static_cast<int64_t>(biases.size()) == outputChannels;
  SmallVector<WideInterval> sums;
  for (int64_t channel = 0; channel < outputChannels; ++channel)
    sums.push_back(widen(biasForEach ? biases[channel] : uniteAll(biases)));

  std::optional<SmallVector<int64_t>> weights = getConstantIntegers(weight);
  const Interval anyWeight = weights ? Interval() : getWhole(weight);
  for (int64_t channel = 0; channel < outputChannels; ++channel) {
    Interval sum;
    int64_t inputChannel = depthwise ? channel / shape[3] : 0;
    for (int64_t tap = 0; tap < taps; ++tap) {
      const int64_t index =
          depthwise ? tap * outputChannels + channel : channel * taps + tap;
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

  ChannelRanges result;
  for (WideInterval sum : sums) {
    result.push_back(confine(sum, type));
    if (fits(sum, full))
      continue;
    const Interval needed =
        confine(sum, IntegerType::get(op->getContext(), 64));
    auto [it, isNew] = overflows.try_emplace(op->getResult(0), needed);
    if (!isNew)
      it->second = Interval::unite(it->second, needed);
  }
  return result;
}

ChannelRanges ValueRanges::inferMatMul(tosa::MatMulOp op) {
  const Type type = op.getType();
  const int64_t depth = getChannelCount(op.getA().getType());
  if (depth < 0 || !isa<IntegerType>(getElementTypeOrSelf(op.getA())))
    return {getTypeRange(type)};
  const Interval aZp = getWhole(op.getAZp()), bZp = getWhole(op.getBZp());
  const Interval a = getWhole(op.getA());
  ChannelRanges result;
  for (Interval b : get(op.getB())) {
    WideInterval sum = multiply({a.low - aZp.high, a.high - aZp.low},
                                {b.low - bZp.high, b.high - bZp.low});
    sum = {sum.low * depth, sum.high * depth};
    result.push_back(confine(sum, type));
    if (!fits(sum, getTypeRange(type)))
      overflows[op] = confine(sum, IntegerType::get(op->getContext(), 64));
  }
  return result;
}

ChannelRanges ValueRanges::getScaledValue(tosa::RescaleOp op) {
  ChannelRanges result = get(op.getInput());
  const FailureOr<int64_t> constantZp = op.getInputZeroPoint();
  const Interval zp = succeeded(constantZp) ? Interval{*constantZp, *constantZp}
                                            : getWhole(op.getInputZp());
  const auto type = dyn_cast<IntegerType>(getElementTypeOrSelf(op.getInput()));
  for (Interval &range : result) {
    // A signless type read as unsigned: the negative half lies above the other
    // one.
    if (op.getInputUnsigned() && type && range.low < 0) {
      const int64_t modulus = int64_t(1) << std::min(type.getWidth(), 62u);
      range = range.high < 0
                  ? Interval{range.low + modulus, range.high + modulus}
                  : Interval{0, modulus - 1};
    }
    const WideInterval scaled = {Int128(range.low) - zp.high,
                                 Int128(range.high) - zp.low};
    range = confine(scaled, IntegerType::get(op->getContext(), 64));
  }
  return result;
}

ChannelRanges ValueRanges::inferRescale(tosa::RescaleOp op) {
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
  const ChannelRanges values = getScaledValue(op);
  ChannelRanges result;
  for (size_t channel = 0, e = std::max(values.size(), scales->size());
       channel < e; ++channel) {
    const Scale scale =
        scales->size() == 1 ? scales->front() : (*scales)[channel];
    const Interval value = at(values, channel);
    // INEXACT_ROUND is within one of the exact result.
    const int64_t slack =
        op.getRoundingMode() == tosa::RoundingMode::INEXACT_ROUND ? 1 : 0;
    const bool doubleRound =
        op.getRoundingMode() == tosa::RoundingMode::DOUBLE_ROUND;
    // Both roundings are monotone, so the ends stay the ends.
    Interval range = {rescaleValue(value.low, 0, scale, doubleRound,
                                   *zp - slack, limits.low, limits.high),
                      rescaleValue(value.high, 0, scale, doubleRound,
                                   *zp + slack, limits.low, limits.high)};
    result.push_back(confine(widen(range), op.getType()));
  }
  return result;
}

ChannelRanges ValueRanges::inferTable(tosa::TableOp op) {
  const std::optional<SmallVector<int64_t>> table =
      getConstantIntegers(op.getTable());
  if (!table || table->empty())
    return {getTypeRange(op.getType())};
  Interval entries = {*llvm::min_element(*table), *llvm::max_element(*table)};
  // 16-bit tables interpolate between two entries, with 7 bits of fraction.
  if (getElementTypeOrSelf(op.getInput1()).isInteger(16))
    return {confine({Int128(entries.low) * 128, Int128(entries.high) * 128},
                    op.getType())};
  return {entries};
}

ChannelRanges ValueRanges::infer(Operation *op) {
  const Value output = op->getResult(0);
  const Type type = output.getType();
  const ChannelRanges full = {getTypeRange(type)};
  auto operand = [&](unsigned index) { return get(op->getOperand(index)); };
  auto whole = [&](unsigned index) { return getWhole(op->getOperand(index)); };
  // A new order or a part of the same elements. Channels survive if the last
  // dimension has the same size, in memory order.
  auto sameOrUnited = [&](bool sameChannels) {
    return sameChannels && getChannelCount(type) ==
                               getChannelCount(op->getOperand(0).getType())
               ? operand(0)
               : ChannelRanges{whole(0)};
  };
  auto hasPadding = [](ArrayRef<int64_t> pad) {
    return llvm::any_of(pad, [](int64_t size) { return size != 0; });
  };

  return TypeSwitch<Operation *, ChannelRanges>(op)
      .Case<tosa::Conv2DOp, tosa::Conv3DOp, tosa::DepthwiseConv2DOp>(
          [&](auto conv) {
            return inferConvolution(conv, hasPadding(conv.getPad()));
          })
      .Case([&](tosa::TransposeConv2DOp conv) {
        return inferConvolution(conv, /*partial=*/true);
      })
      .Case([&](tosa::MatMulOp matMul) { return inferMatMul(matMul); })
      .Case([&](tosa::RescaleOp rescale) { return inferRescale(rescale); })
      .Case([&](tosa::TableOp table) { return inferTable(table); })
      .Case([&](tosa::ClampOp clamp) -> ChannelRanges {
        auto low = dyn_cast<IntegerAttr>(clamp.getMinVal()),
             high = dyn_cast<IntegerAttr>(clamp.getMaxVal());
        if (!low || !high)
          return full;
        const bool isUnsigned = getElementTypeOrSelf(type).isUnsignedInteger();
        auto read = [&](IntegerAttr attribute) {
          return isUnsigned
                     ? static_cast<int64_t>(attribute.getValue().getZExtValue())
                     : attribute.getValue().getSExtValue();
        };
        const Interval limits = {read(low), read(high)};
        if (limits.low > limits.high)
          return full;
        return mapRanges(operand(0), type, [&](Interval x) {
          return WideInterval{std::clamp(x.low, limits.low, limits.high),
                              std::clamp(x.high, limits.low, limits.high)};
        });
      })
      .Case([&](tosa::AddOp) {
        return zipRanges(operand(0), operand(1), type,
                         [](Interval a, Interval b) {
                           return WideInterval{Int128(a.low) + b.low,
                                               Int128(a.high) + b.high};
                         });
      })
      .Case([&](tosa::SubOp) {
        return zipRanges(operand(0), operand(1), type,
                         [](Interval a, Interval b) {
                           return WideInterval{Int128(a.low) - b.high,
                                               Int128(a.high) - b.low};
                         });
      })
      .Case([&](tosa::MulOp) -> ChannelRanges {
        const Interval shift = whole(2);
        if (shift.low != shift.high || shift.low < 0 || shift.low > 63)
          return full;
        const Int128 round = shift.low == 0 ? 0 : Int128(1) << (shift.low - 1);
        return zipRanges(
            operand(0), operand(1), type, [&](Interval a, Interval b) {
              const WideInterval product = multiply(a, b);
              return WideInterval{(product.low + round) >> shift.low,
                                  (product.high + round) >> shift.low};
            });
      })
      .Case([&](tosa::IntDivOp) -> ChannelRanges {
        const Interval divisor = whole(1);
        if (divisor.low <= 0 && divisor.high >= 0)
          return full;
        return zipRanges(operand(0), operand(1), type,
                         [](Interval a, Interval b) {
                           return atCorners(a, b, [](int64_t x, int64_t y) {
                             return Int128(x) / y;
                           });
                         });
      })
      .Case([&](tosa::MaximumOp) {
        return zipRanges(operand(0), operand(1), type,
                         [](Interval a, Interval b) {
                           return WideInterval{std::max(a.low, b.low),
                                               std::max(a.high, b.high)};
                         });
      })
      .Case([&](tosa::MinimumOp) {
        return zipRanges(operand(0), operand(1), type,
                         [](Interval a, Interval b) {
                           return WideInterval{std::min(a.low, b.low),
                                               std::min(a.high, b.high)};
                         });
      })
      .Case([&](tosa::AbsOp) {
        return mapRanges(operand(0), type, [](Interval x) {
          const Int128 low = Int128(x.low) < 0 ? -Int128(x.low) : Int128(x.low);
          const Int128 high =
              Int128(x.high) < 0 ? -Int128(x.high) : Int128(x.high);
          return WideInterval{x.low <= 0 && x.high >= 0 ? Int128(0)
                                                        : std::min(low, high),
                              std::max(low, high)};
        });
      })
      .Case([&](tosa::NegateOp) {
        const Interval inputZp = whole(1), outputZp = whole(2);
        return mapRanges(operand(0), type, [&](Interval x) {
          return WideInterval{Int128(inputZp.low) - x.high + outputZp.low,
                              Int128(inputZp.high) - x.low + outputZp.high};
        });
      })
      .Case([&](tosa::BitwiseNotOp) {
        return mapRanges(operand(0), type, [](Interval x) {
          return WideInterval{-Int128(x.high) - 1, -Int128(x.low) - 1};
        });
      })
      .Case([&](tosa::LogicalLeftShiftOp) -> ChannelRanges {
        const Interval shift = whole(1);
        if (shift.low < 0 || shift.high > 31)
          return full;
        return zipRanges(operand(0), operand(1), type,
                         [](Interval a, Interval b) {
                           return atCorners(a, b, [](int64_t x, int64_t y) {
                             return Int128(x) * (Int128(1) << y);
                           });
                         });
      })
      .Case([&](tosa::ArithmeticRightShiftOp shift) {
        // TOSA requires the amount to lie in 0 to 31. Rounding half up keeps
        // the result monotone in each operand.
        const bool round = shift.getRound();
        return zipRanges(
            operand(0), operand(1), type, [round](Interval a, Interval b) {
              const Interval amount = {std::clamp<int64_t>(b.low, 0, 31),
                                       std::clamp<int64_t>(b.high, 0, 31)};
              return atCorners(a, amount, [round](int64_t x, int64_t y) {
                const Int128 half =
                    round && y > 0 ? Int128(1) << (y - 1) : Int128(0);
                return (Int128(x) + half) >> y;
              });
            });
      })
      .Case([&](tosa::ClzOp) {
        return mapRanges(operand(0), type, [](Interval x) {
          auto countZeros = [](int64_t value) {
            return value < 0 ? 0
                             : llvm::countl_zero(static_cast<uint32_t>(value));
          };
          // Never fewer zeros than the largest value has; a negative value has
          // none.
          return WideInterval{
              x.low < 0 ? 0 : countZeros(x.high),
              x.high < 0 ? 0 : countZeros(std::max<int64_t>(x.low, 0))};
        });
      })
      .Case([&](tosa::ReduceSumOp reduce) -> ChannelRanges {
        auto inputType =
            dyn_cast<RankedTensorType>(reduce.getInput().getType());
        if (!inputType || inputType.isDynamicDim(reduce.getAxis()))
          return full;
        const int64_t count = inputType.getDimSize(reduce.getAxis());
        return mapRanges(
            sameOrUnited(!isLastAxis(reduce.getInput(), reduce.getAxis())),
            type, [&](Interval x) { return multiply(x, {count, count}); });
      })
      .Case<tosa::ReduceMaxOp, tosa::ReduceMinOp, tosa::ReverseOp>(
          [&](auto reduce) {
            return sameOrUnited(
                !isLastAxis(op->getOperand(0), reduce.getAxis()));
          })
      .Case([&](tosa::TransposeOp transpose) {
        const ArrayRef<int32_t> perms = transpose.getPerms();
        return sameOrUnited(!perms.empty() &&
                            perms.back() ==
                                static_cast<int32_t>(perms.size()) - 1);
      })
      .Case<tosa::ReshapeOp, tosa::SliceOp, tosa::TileOp, tosa::IdentityOp,
            tosa::MaxPool2dOp, tosa::GatherOp>(
          [&](auto) { return sameOrUnited(true); })
      .Case([&](tosa::ResizeOp resize) {
        // Bilinear results are scaled up by the size of the grid.
        return getElementTypeOrSelf(resize.getInput()) ==
                       getElementTypeOrSelf(type)
                   ? sameOrUnited(true)
                   : full;
      })
      .Case([&](tosa::PadOp pad) {
        return uniteRanges(sameOrUnited(true), {getWhole(pad.getPadConst())});
      })
      .Case(
          [&](tosa::ScatterOp) { return uniteRanges(operand(0), operand(2)); })
      .Case([&](tosa::SelectOp) { return uniteRanges(operand(1), operand(2)); })
      .Case([&](tosa::ConcatOp concat) {
        const bool alongChannels = isLastAxis(output, concat.getAxis());
        ChannelRanges result;
        for (Value input : concat->getOperands()) {
          const ChannelRanges part = get(input);
          const int64_t channels = getChannelCount(input.getType());
          if (alongChannels && channels < 0)
            return ChannelRanges(full);
          if (alongChannels)
            for (int64_t channel = 0; channel < channels; ++channel)
              result.push_back(at(part, channel));
          else
            result = result.empty() ? part : uniteRanges(result, part);
        }
        return result.empty() ? ChannelRanges(full) : result;
      })
      .Case([&](tosa::AvgPool2dOp) {
        // The mean lies between the ends; its division by a multiplication may
        // be off by one.
        const Interval inputZp = whole(1), outputZp = whole(2),
                       limits = full.front();
        return mapRanges(operand(0), type, [&](Interval x) {
          return WideInterval{
              std::max(x.low - inputZp.high + outputZp.low - 1, limits.low),
              std::min(x.high - inputZp.low + outputZp.high + 1, limits.high)};
        });
      })
      .Case([&](tosa::ArgMaxOp argMax) -> ChannelRanges {
        auto inputType =
            dyn_cast<RankedTensorType>(argMax.getInput().getType());
        if (!inputType || inputType.isDynamicDim(argMax.getAxis()))
          return full;
        return {{0, std::max<int64_t>(
                        inputType.getDimSize(argMax.getAxis()) - 1, 0)}};
      })
      .Case([&](tosa::CastOp cast) -> ChannelRanges {
        if (!isa<IntegerType>(getElementTypeOrSelf(cast.getInput())))
          return full;
        return mapRanges(operand(0), type, widen);
      })
      .Default([&](Operation *) { return full; });
}

} // namespace tosa_rescale
