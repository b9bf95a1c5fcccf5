//===- TosaRescaleCarry.cpp - 16-bit tensors that stay in 32 bits ---------===//
//
// Implements tosa-rescale-carry.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Alignment.h"
#include "Passes.h"
#include "RescaleOps.h"
#include "ValueRange.h"

#include "llvm/Support/DebugLog.h"

#include <cmath>

#define DEBUG_TYPE "tosa-rescale-carry"

using namespace mlir;

namespace tosa_rescale {

#define GEN_PASS_DEF_TOSARESCALECARRYPASS
#include "Passes.h.inc"

namespace {

/// The limits of i16, and the largest i32.
constexpr int64_t kLow = -(1 << 15), kHigh = (1 << 15) - 1,
                  kLargest = std::numeric_limits<int32_t>::max();
/// A 32-bit multiplier that fills its type takes values up to 2^(shift - 1),
/// and makes this of them.
constexpr int64_t kLargestResult = int64_t(1) << 29;

/// A rescale to 16 bits, whose result is only widened again.
struct Carried {
  tosa::RescaleOp narrowed;
  /// What moves the result before it is widened, in order.
  SmallVector<Operation *> moves;
  SmallVector<tosa::RescaleOp> widened;
  /// What rescales the sums over what is widened, as far as it is summed up.
  SmallVector<tosa::RescaleOp> rescaledSums;
  /// The largest scale by which it is widened.
  double widest = 1;

  /// Whether it is widened in steps of its own, and summed up.
  bool isSummed() const {
    return widest == 1 && rescaledSums.size() == widened.size();
  }
};

struct TosaRescaleCarryPass final
    : impl::TosaRescaleCarryPassBase<TosaRescaleCarryPass> {
  using Base::Base;

  void runOnOperation() override {
    ValueRanges ranges(getOperation());
    SmallVector<tosa::RescaleOp> rescales;
    getOperation().walk([&](tosa::RescaleOp op) { rescales.push_back(op); });
    DenseSet<Operation *> erased;
    for (tosa::RescaleOp op : rescales) {
      if (erased.contains(op))
        continue;
      std::optional<Carried> carried = match(op);
      if (!carried)
        continue;
      const std::optional<double> step = chooseStep(*carried, ranges);
      if (!step)
        continue;
      LDBG() << "carrying " << op << " at 1/" << *step << " of its step";
      erased.insert_range(carried->widened);
      erased.insert(op);
      rewrite(*carried, *step, ranges);
      ++numCarried;
    }
  }

private:
  static std::optional<Carried> match(tosa::RescaleOp op);
  /// Into how many steps a step of the tensor is divided; none where that gains
  /// nothing, or could be more than i32 holds.
  static std::optional<double> chooseStep(const Carried &carried,
                                          ValueRanges &ranges);
  static void rewrite(const Carried &carried, double step, ValueRanges &ranges);
};

} // namespace

static Type getElement(Value value) {
  return getElementTypeOrSelf(value.getType());
}

static double toReal(Scale scale) {
  return std::ldexp(double(scale.multiplier), static_cast<int>(-scale.shift));
}

static std::optional<Scale> multiply(Scale scale, double factor, bool scale32) {
  return multiplyScale(scale, std::log2(factor),
                       scale32 ? kMultiplierBits32 : kMultiplierBits16);
}

/// The only scale of a rescale with zero points of 0.
static std::optional<double> getOnlyScale(tosa::RescaleOp op) {
  const auto scales = getScales(op);
  const auto input = getConstantIntegers(op.getInputZp()),
             output = getConstantIntegers(op.getOutputZp());
  if (!scales || scales->size() != 1 || !input || !output ||
      input->front() != 0 || output->front() != 0)
    return std::nullopt;
  return toReal(scales->front());
}

/// The rescale of the sum over `value`, the only thing that reads it.
static tosa::RescaleOp getRescaledSum(Value value) {
  if (!value.hasOneUse())
    return {};
  auto sum = dyn_cast<tosa::ReduceSumOp>(*value.user_begin());
  if (!sum || !sum.getOutput().hasOneUse())
    return {};
  auto rescale = dyn_cast<tosa::RescaleOp>(*sum.getOutput().user_begin());
  return rescale && getScales(rescale) ? rescale : tosa::RescaleOp();
}

std::optional<Carried> TosaRescaleCarryPass::match(tosa::RescaleOp op) {
  const auto zeroPoint = getConstantIntegers(op.getOutputZp());
  if (!getElement(op.getOutput()).isSignlessInteger(16) ||
      op.getOutputUnsigned() || !getScales(op) || !zeroPoint ||
      zeroPoint->front() != 0 || !isa<RankedTensorType>(op.getType()) ||
      !(getElement(op.getInput()).isSignlessInteger(32) ||
        getElement(op.getInput()).isSignlessInteger(48)))
    return std::nullopt;
  Carried found{op, {}, {}, {}};
  SmallVector<Value> forms = {op.getOutput()};
  for (size_t i = 0; i < forms.size(); ++i)
    for (Operation *user : forms[i].getUsers()) {
      if (isDataMovement(user)) {
        found.moves.push_back(user);
        forms.push_back(user->getResult(0));
        continue;
      }
      auto widened = dyn_cast<tosa::RescaleOp>(user);
      const auto scale = widened ? getOnlyScale(widened) : std::nullopt;
      if (!scale || *scale < 1 ||
          !getElement(widened.getOutput()).isSignlessInteger(32))
        return std::nullopt;
      found.widened.push_back(widened);
      found.widest = std::max(found.widest, *scale);
      if (tosa::RescaleOp sum = getRescaledSum(widened.getOutput()))
        found.rescaledSums.push_back(sum);
    }
  if (found.widened.empty())
    return std::nullopt;
  return found;
}

/// The largest magnitude of the result of `op` before it saturates.
static double getMagnitude(tosa::RescaleOp op, ValueRanges &ranges) {
  const SmallVector<Scale> scales = *getScales(op);
  double most = 0, scale = 0;
  for (Scale each : scales)
    scale = std::max(scale, toReal(each));
  for (Interval interval : ranges.getScaledValue(op))
    most = std::max({most, std::abs(double(interval.low)),
                     std::abs(double(interval.high))});
  return most * scale + 1;
}

/// The largest number of steps for which the sums are what i32 holds, and their
/// scales are legal.
static double getMostForSums(const Carried &carried) {
  double most = std::numeric_limits<double>::infinity();
  for (tosa::RescaleOp rescale : carried.rescaledSums) {
    auto sum = rescale.getInput().getDefiningOp<tosa::ReduceSumOp>();
    const auto type = cast<ShapedType>(sum.getInput().getType());
    if (!type.hasStaticShape())
      return 0;
    const double count = type.getDimSize(sum.getAxis());
    most = std::min(most, kLargest / (count * -kLow));
    const SmallVector<Scale> scales = *getScales(rescale);
    for (Scale scale : scales)
      most = std::min(most, std::exp2(kMaxShift - scale.shift));
  }
  return most;
}

std::optional<double> TosaRescaleCarryPass::chooseStep(const Carried &carried,
                                                       ValueRanges &ranges) {
  tosa::RescaleOp op = carried.narrowed;
  const SmallVector<Scale> scales = *getScales(op);
  const double most = kLargestResult / getMagnitude(op, ranges);
  double step = carried.widest;
  if (carried.isSummed()) {
    step = std::min(most, getMostForSums(carried));
    // Finer than what is rounded is of no use.
    for (Scale scale : scales)
      if (scale.multiplier > 0)
        step = std::min(step, 1 / toReal(scale));
    step = step > 0 ? std::exp2(std::floor(std::log2(step))) : 0;
  }
  const bool isLegal = llvm::all_of(scales, [&](Scale scale) {
    return multiply(scale, step, op.getScale32()).has_value();
  });
  return step >= 2 && step <= most && isLegal ? std::optional(step)
                                              : std::nullopt;
}

/// `value` between the limits of i16 in smaller steps.
static Value saturate(OpBuilder &builder, Value value, double step) {
  const auto type = cast<RankedTensorType>(value.getType());
  const auto makeLimit = [&](int64_t limit) -> Value {
    const SmallVector<int64_t> shape(type.getRank(), 1);
    const auto one = RankedTensorType::get(shape, type.getElementType());
    const APInt element(32, std::llround(limit * step), /*isSigned=*/true);
    return tosa::ConstOp::create(builder, value.getLoc(), one,
                                 DenseElementsAttr::get(one, element));
  };
  const Value low = makeLimit(kLow), high = makeLimit(kHigh);
  value = tosa::MaximumOp::create(builder, value.getLoc(), type, value, low);
  return tosa::MinimumOp::create(builder, value.getLoc(), type, value, high);
}

/// The rescale `op` of `input`, to i32 and at `factor` of its scales.
static Value rescaleToWide(OpBuilder &builder, tosa::RescaleOp op, Value input,
                           double factor) {
  const Location location = op.getLoc();
  const auto makeZero = [&](Type element) -> Value {
    const auto type = RankedTensorType::get({1}, element);
    return tosa::ConstOp::create(
        builder, location, type,
        DenseElementsAttr::get(type,
                               APInt(element.getIntOrFloatBitWidth(), 0)));
  };
  const Type element = getElement(input);
  const Value inputZp = element == getElement(op.getInputZp())
                            ? op.getInputZp()
                            : makeZero(element);
  auto made = tosa::RescaleOp::create(
      builder, location,
      cast<ShapedType>(op.getType()).clone(builder.getI32Type()), input,
      op.getMultiplier(), op.getShift(), inputZp,
      makeZero(builder.getI32Type()), op.getScale32(), op.getRoundingMode(),
      op.getPerChannel(), op.getInputUnsigned(), /*output_unsigned=*/false);
  made->setDiscardableAttrs(op->getDiscardableAttrDictionary());
  SmallVector<Scale> scales = *getScales(op);
  for (Scale &scale : scales)
    scale = *multiply(scale, factor, op.getScale32());
  setScales(builder, made, scales, op.getScale32(), op.getRoundingMode());
  return made.getOutput();
}

void TosaRescaleCarryPass::rewrite(const Carried &carried, double step,
                                   ValueRanges &ranges) {
  tosa::RescaleOp op = carried.narrowed;
  OpBuilder builder(op);
  Value wide = rescaleToWide(builder, op, op.getInput(), step);
  if (getMagnitude(op, ranges) > kHigh)
    wide = saturate(builder, wide, step);
  op.getOutput().replaceAllUsesWith(wide);
  for (Operation *move : carried.moves) {
    const Value moved = move->getResult(0);
    move->getResult(0).setType(
        cast<ShapedType>(moved.getType()).clone(builder.getI32Type()));
  }
  const bool isSummed = carried.isSummed();
  for (tosa::RescaleOp widened : carried.widened) {
    Value same = widened.getInput();
    builder.setInsertionPoint(widened);
    if (!isSummed && *getOnlyScale(widened) != step)
      same = rescaleToWide(builder, widened, same, 1 / step);
    widened.getOutput().replaceAllUsesWith(same);
    eraseIfDead(widened);
  }
  if (isSummed)
    for (tosa::RescaleOp rescale : carried.rescaledSums) {
      SmallVector<Scale> scales = *getScales(rescale);
      for (Scale &scale : scales)
        scale.shift += std::lround(std::log2(step));
      setScales(builder, rescale, scales, rescale.getScale32(),
                rescale.getRoundingMode());
    }
  eraseIfDead(op);
}

} // namespace tosa_rescale
