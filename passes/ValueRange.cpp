//===- ValueRange.cpp - which values an integer tensor can hold -----------===//
//
// Implements ValueRange.h.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ValueRange.h"

#include "RangeRules.h"
#include "RescaleOps.h"

using namespace mlir;

namespace tosa_rescale {

int64_t getChannelCount(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor || tensor.getRank() == 0 ||
      tensor.isDynamicDim(tensor.getRank() - 1))
    return -1;
  return tensor.getShape().back();
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
    ranges[result] = getRangeRule(op->getName().getStringRef())(*this, op);
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

ChannelRanges ValueRanges::addAccumulator(Value value,
                                          ArrayRef<WideInterval> sums) {
  const Type type = value.getType();
  ChannelRanges result;
  for (WideInterval sum : sums) {
    result.push_back(confine(sum, type));
    if (fits(sum, getTypeRange(type)))
      continue;
    const Interval needed =
        confine(sum, IntegerType::get(type.getContext(), 64));
    auto [it, isNew] = overflows.try_emplace(value, needed);
    if (!isNew)
      it->second = Interval::unite(it->second, needed);
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

} // namespace tosa_rescale
