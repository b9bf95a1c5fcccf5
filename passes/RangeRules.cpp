//===- RangeRules.cpp - which values an operation can yield ---------------===//
//
// Implements RangeRules.h. A new operation: one function, and its row in the
// table at the end.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RangeRules.h"

#include "RescaleOps.h"

#include "mlir/IR/Matchers.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;

namespace tosa_rescale {

static ChannelRanges inferFull(ValueRanges &, Operation *op) {
  return {getTypeRange(op->getResult(0).getType())};
}

/// `function` of the first operand.
template <typename Function>
static ChannelRanges mapFirst(ValueRanges &ranges, Operation *op,
                              Function function) {
  return mapRanges(ranges.get(op->getOperand(0)), op->getResult(0).getType(),
                   function);
}

/// `function` of the first two operands.
template <typename Function>
static ChannelRanges zipFirst(ValueRanges &ranges, Operation *op,
                              Function function) {
  return zipRanges(ranges.get(op->getOperand(0)), ranges.get(op->getOperand(1)),
                   op->getResult(0).getType(), function);
}

static bool isLastAxis(Value value, int64_t axis) {
  auto tensor = dyn_cast<RankedTensorType>(value.getType());
  return !tensor || axis == tensor.getRank() - 1;
}

/// The first operand's elements in a new order, or a part of them. Channels
/// survive if the last dimension has the same size, in memory order.
static ChannelRanges keepElements(ValueRanges &ranges, Operation *op,
                                  bool sameChannels) {
  const Value input = op->getOperand(0);
  if (sameChannels && getChannelCount(op->getResult(0).getType()) ==
                          getChannelCount(input.getType()))
    return ranges.get(input);
  return {ranges.getWhole(input)};
}

//===----------------------------------------------------------------------===//
// Arithmetic of one operand
//===----------------------------------------------------------------------===//

static ChannelRanges inferClamp(ValueRanges &ranges, Operation *op) {
  auto clamp = cast<tosa::ClampOp>(op);
  auto low = dyn_cast<IntegerAttr>(clamp.getMinVal()),
       high = dyn_cast<IntegerAttr>(clamp.getMaxVal());
  if (!low || !high)
    return inferFull(ranges, op);
  const bool isUnsigned =
      getElementTypeOrSelf(clamp.getType()).isUnsignedInteger();
  auto read = [&](IntegerAttr attribute) {
    return isUnsigned
               ? static_cast<int64_t>(attribute.getValue().getZExtValue())
               : attribute.getValue().getSExtValue();
  };
  const Interval limits = {read(low), read(high)};
  if (limits.low > limits.high)
    return inferFull(ranges, op);
  return mapFirst(ranges, op, [&](Interval x) {
    return WideInterval{std::clamp(x.low, limits.low, limits.high),
                        std::clamp(x.high, limits.low, limits.high)};
  });
}

static ChannelRanges inferAbs(ValueRanges &ranges, Operation *op) {
  return mapFirst(ranges, op, [](Interval x) {
    const Int128 low = Int128(x.low) < 0 ? -Int128(x.low) : Int128(x.low);
    const Int128 high = Int128(x.high) < 0 ? -Int128(x.high) : Int128(x.high);
    return WideInterval{x.low <= 0 && x.high >= 0 ? Int128(0)
                                                  : std::min(low, high),
                        std::max(low, high)};
  });
}

static ChannelRanges inferNegate(ValueRanges &ranges, Operation *op) {
  const Interval inputZp = ranges.getWhole(op->getOperand(1)),
                 outputZp = ranges.getWhole(op->getOperand(2));
  return mapFirst(ranges, op, [&](Interval x) {
    return WideInterval{Int128(inputZp.low) - x.high + outputZp.low,
                        Int128(inputZp.high) - x.low + outputZp.high};
  });
}

static ChannelRanges inferBitwiseNot(ValueRanges &ranges, Operation *op) {
  return mapFirst(ranges, op, [](Interval x) {
    return WideInterval{-Int128(x.high) - 1, -Int128(x.low) - 1};
  });
}

static ChannelRanges inferClz(ValueRanges &ranges, Operation *op) {
  return mapFirst(ranges, op, [](Interval x) {
    auto countZeros = [](int64_t value) {
      return value < 0 ? 0 : llvm::countl_zero(static_cast<uint32_t>(value));
    };
    // Never fewer zeros than the largest value has; a negative value has none.
    return WideInterval{x.low < 0 ? 0 : countZeros(x.high),
                        x.high < 0 ? 0
                                   : countZeros(std::max<int64_t>(x.low, 0))};
  });
}

static ChannelRanges inferCast(ValueRanges &ranges, Operation *op) {
  if (!isa<IntegerType>(getElementTypeOrSelf(op->getOperand(0))))
    return inferFull(ranges, op);
  return mapFirst(ranges, op, widen);
}

static ChannelRanges inferTable(ValueRanges &ranges, Operation *op) {
  auto table = cast<tosa::TableOp>(op);
  const std::optional<SmallVector<int64_t>> entries =
      getConstantIntegers(table.getTable());
  if (!entries || entries->empty())
    return inferFull(ranges, op);
  const Interval range = {*llvm::min_element(*entries),
                          *llvm::max_element(*entries)};
  // 16-bit tables interpolate between two entries, with 7 bits of fraction.
  if (getElementTypeOrSelf(table.getInput1()).isInteger(16))
    return {confine({Int128(range.low) * 128, Int128(range.high) * 128},
                    table.getType())};
  return {range};
}

//===----------------------------------------------------------------------===//
// Arithmetic of two operands
//===----------------------------------------------------------------------===//

static ChannelRanges inferAdd(ValueRanges &ranges, Operation *op) {
  return zipFirst(ranges, op, [](Interval a, Interval b) {
    return WideInterval{Int128(a.low) + b.low, Int128(a.high) + b.high};
  });
}

static ChannelRanges inferSub(ValueRanges &ranges, Operation *op) {
  return zipFirst(ranges, op, [](Interval a, Interval b) {
    return WideInterval{Int128(a.low) - b.high, Int128(a.high) - b.low};
  });
}

static ChannelRanges inferMul(ValueRanges &ranges, Operation *op) {
  const Interval shift = ranges.getWhole(op->getOperand(2));
  if (shift.low != shift.high || shift.low < 0 || shift.low > 63)
    return inferFull(ranges, op);
  const Int128 round = shift.low == 0 ? 0 : Int128(1) << (shift.low - 1);
  return zipFirst(ranges, op, [&](Interval a, Interval b) {
    const WideInterval product = multiply(a, b);
    return WideInterval{(product.low + round) >> shift.low,
                        (product.high + round) >> shift.low};
  });
}

static ChannelRanges inferIntDiv(ValueRanges &ranges, Operation *op) {
  const Interval divisor = ranges.getWhole(op->getOperand(1));
  if (divisor.low <= 0 && divisor.high >= 0)
    return inferFull(ranges, op);
  return zipFirst(ranges, op, [](Interval a, Interval b) {
    return atCorners(a, b, [](int64_t x, int64_t y) { return Int128(x) / y; });
  });
}

static ChannelRanges inferBitwiseAnd(ValueRanges &ranges, Operation *op) {
  const Interval a = ranges.getWhole(op->getOperand(0)),
                 b = ranges.getWhole(op->getOperand(1));
  // Each operand that is never negative bounds the result from above.
  if (a.low < 0 && b.low < 0)
    return inferFull(ranges, op);
  const int64_t high = a.low < 0   ? b.high
                       : b.low < 0 ? a.high
                                   : std::min(a.high, b.high);
  return {{0, high}};
}

static ChannelRanges inferMaximum(ValueRanges &ranges, Operation *op) {
  return zipFirst(ranges, op, [](Interval a, Interval b) {
    return WideInterval{std::max(a.low, b.low), std::max(a.high, b.high)};
  });
}

static ChannelRanges inferMinimum(ValueRanges &ranges, Operation *op) {
  return zipFirst(ranges, op, [](Interval a, Interval b) {
    return WideInterval{std::min(a.low, b.low), std::min(a.high, b.high)};
  });
}

static ChannelRanges inferLeftShift(ValueRanges &ranges, Operation *op) {
  const Interval shift = ranges.getWhole(op->getOperand(1));
  if (shift.low < 0 || shift.high > 31)
    return inferFull(ranges, op);
  return zipFirst(ranges, op, [](Interval a, Interval b) {
    return atCorners(a, b, [](int64_t x, int64_t y) {
      return Int128(x) * (Int128(1) << y);
    });
  });
}

static ChannelRanges inferRightShift(ValueRanges &ranges, Operation *op) {
  // TOSA requires the amount to lie in 0 to 31. Rounding half up keeps the
  // result monotone in each operand.
  const bool round = cast<tosa::ArithmeticRightShiftOp>(op).getRound();
  return zipFirst(ranges, op, [round](Interval a, Interval b) {
    const Interval amount = {std::clamp<int64_t>(b.low, 0, 31),
                             std::clamp<int64_t>(b.high, 0, 31)};
    return atCorners(a, amount, [round](int64_t x, int64_t y) {
      const Int128 half = round && y > 0 ? Int128(1) << (y - 1) : Int128(0);
      return (Int128(x) + half) >> y;
    });
  });
}

//===----------------------------------------------------------------------===//
// Elements of operands, in another order or number
//===----------------------------------------------------------------------===//

/// reshape, slice, max_pool2d and the like.
static ChannelRanges inferSame(ValueRanges &ranges, Operation *op) {
  return keepElements(ranges, op, /*sameChannels=*/true);
}

static ChannelRanges inferTranspose(ValueRanges &ranges, Operation *op) {
  const ArrayRef<int32_t> perms = cast<tosa::TransposeOp>(op).getPerms();
  return keepElements(
      ranges, op,
      !perms.empty() && perms.back() == static_cast<int32_t>(perms.size()) - 1);
}

/// reverse, reduce_max and reduce_min: elements along one axis.
template <typename Op>
static ChannelRanges inferAlongAxis(ValueRanges &ranges, Operation *op) {
  return keepElements(ranges, op,
                      !isLastAxis(op->getOperand(0), cast<Op>(op).getAxis()));
}

static ChannelRanges inferReduceSum(ValueRanges &ranges, Operation *op) {
  auto reduce = cast<tosa::ReduceSumOp>(op);
  auto type = dyn_cast<RankedTensorType>(reduce.getInput().getType());
  if (!type || type.isDynamicDim(reduce.getAxis()))
    return inferFull(ranges, op);
  const int64_t count = type.getDimSize(reduce.getAxis());
  return mapRanges(inferAlongAxis<tosa::ReduceSumOp>(ranges, op),
                   reduce.getType(),
                   [&](Interval x) { return multiply(x, {count, count}); });
}

/// Results in the input's type are its elements. Others are interpolated: the
/// weights of the elements around a place add up to the size of the grid.
static ChannelRanges inferResize(ValueRanges &ranges, Operation *op) {
  if (getElementTypeOrSelf(op->getOperand(0)) ==
      getElementTypeOrSelf(op->getResult(0)))
    return inferSame(ranges, op);
  DenseIntElementsAttr scale;
  if (!matchPattern(op->getOperand(1), m_Constant(&scale)) ||
      scale.getNumElements() != 4)
    return inferFull(ranges, op);
  const auto numbers = llvm::to_vector(scale.getValues<APInt>());
  const int64_t grid = numbers[0].getSExtValue() * numbers[2].getSExtValue();
  return mapRanges(inferSame(ranges, op), op->getResult(0).getType(),
                   [&](Interval x) { return multiply(x, {grid, grid}); });
}

static ChannelRanges inferPad(ValueRanges &ranges, Operation *op) {
  return uniteRanges(inferSame(ranges, op),
                     {ranges.getWhole(cast<tosa::PadOp>(op).getPadConst())});
}

static ChannelRanges inferScatter(ValueRanges &ranges, Operation *op) {
  return uniteRanges(ranges.get(op->getOperand(0)),
                     ranges.get(op->getOperand(2)));
}

static ChannelRanges inferSelect(ValueRanges &ranges, Operation *op) {
  return uniteRanges(ranges.get(op->getOperand(1)),
                     ranges.get(op->getOperand(2)));
}

static ChannelRanges inferConcat(ValueRanges &ranges, Operation *op) {
  const bool alongChannels =
      isLastAxis(op->getResult(0), cast<tosa::ConcatOp>(op).getAxis());
  ChannelRanges result;
  for (Value input : op->getOperands()) {
    const ChannelRanges part = ranges.get(input);
    const int64_t channels = getChannelCount(input.getType());
    if (alongChannels && channels < 0)
      return inferFull(ranges, op);
    if (alongChannels)
      for (int64_t channel = 0; channel < channels; ++channel)
        result.push_back(at(part, channel));
    else
      result = result.empty() ? part : uniteRanges(result, part);
  }
  return result.empty() ? inferFull(ranges, op) : result;
}

static ChannelRanges inferAvgPool(ValueRanges &ranges, Operation *op) {
  // The mean lies between the ends; its division by a multiplication may be off
  // by one.
  const Interval inputZp = ranges.getWhole(op->getOperand(1)),
                 outputZp = ranges.getWhole(op->getOperand(2)),
                 limits = getTypeRange(op->getResult(0).getType());
  return mapFirst(ranges, op, [&](Interval x) {
    return WideInterval{
        std::max(x.low - inputZp.high + outputZp.low - 1, limits.low),
        std::min(x.high - inputZp.low + outputZp.high + 1, limits.high)};
  });
}

static ChannelRanges inferArgMax(ValueRanges &ranges, Operation *op) {
  auto argMax = cast<tosa::ArgMaxOp>(op);
  auto type = dyn_cast<RankedTensorType>(argMax.getInput().getType());
  if (!type || type.isDynamicDim(argMax.getAxis()))
    return inferFull(ranges, op);
  return {{0, std::max<int64_t>(type.getDimSize(argMax.getAxis()) - 1, 0)}};
}

//===----------------------------------------------------------------------===//
// The table
//===----------------------------------------------------------------------===//

template <typename... Ops>
static void add(llvm::StringMap<RangeRule> &rules, RangeRule rule) {
  (rules.try_emplace(Ops::getOperationName(), rule), ...);
}

static llvm::StringMap<RangeRule> makeRules() {
  llvm::StringMap<RangeRule> rules;
  add<tosa::Conv2DOp, tosa::Conv3DOp, tosa::DepthwiseConv2DOp,
      tosa::TransposeConv2DOp>(rules, inferConvolution);
  add<tosa::MatMulOp>(rules, inferMatMul);
  add<tosa::RescaleOp>(rules, inferRescale);
  add<tosa::ClampOp>(rules, inferClamp);
  add<tosa::AbsOp>(rules, inferAbs);
  add<tosa::NegateOp>(rules, inferNegate);
  add<tosa::BitwiseNotOp>(rules, inferBitwiseNot);
  add<tosa::ClzOp>(rules, inferClz);
  add<tosa::CastOp>(rules, inferCast);
  add<tosa::TableOp>(rules, inferTable);
  add<tosa::AddOp>(rules, inferAdd);
  add<tosa::SubOp>(rules, inferSub);
  add<tosa::MulOp>(rules, inferMul);
  add<tosa::IntDivOp>(rules, inferIntDiv);
  add<tosa::BitwiseAndOp>(rules, inferBitwiseAnd);
  add<tosa::MaximumOp>(rules, inferMaximum);
  add<tosa::MinimumOp>(rules, inferMinimum);
  add<tosa::LogicalLeftShiftOp>(rules, inferLeftShift);
  add<tosa::ArithmeticRightShiftOp>(rules, inferRightShift);
  add<tosa::ReshapeOp, tosa::SliceOp, tosa::TileOp, tosa::IdentityOp,
      tosa::MaxPool2dOp, tosa::GatherOp>(rules, inferSame);
  add<tosa::TransposeOp>(rules, inferTranspose);
  add<tosa::ReverseOp>(rules, inferAlongAxis<tosa::ReverseOp>);
  add<tosa::ReduceMaxOp>(rules, inferAlongAxis<tosa::ReduceMaxOp>);
  add<tosa::ReduceMinOp>(rules, inferAlongAxis<tosa::ReduceMinOp>);
  add<tosa::ReduceSumOp>(rules, inferReduceSum);
  add<tosa::ResizeOp>(rules, inferResize);
  add<tosa::PadOp>(rules, inferPad);
  add<tosa::ScatterOp>(rules, inferScatter);
  add<tosa::SelectOp>(rules, inferSelect);
  add<tosa::ConcatOp>(rules, inferConcat);
  add<tosa::AvgPool2dOp>(rules, inferAvgPool);
  add<tosa::ArgMaxOp>(rules, inferArgMax);
  return rules;
}

RangeRule getRangeRule(StringRef name) {
  static const llvm::StringMap<RangeRule> rules = makeRules();
  const RangeRule rule = rules.lookup(name);
  return rule ? rule : inferFull;
}

} // namespace tosa_rescale
