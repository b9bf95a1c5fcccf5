//===- ByteChains.cpp - functions of one tensor of 8 bits -----------------===//
//
// Implements ByteChains.h.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ByteChains.h"

#include "Constants.h"
#include "RescaleOps.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace tosa_rescale {

/// One element for each input from -128 to 127.
using Column = SmallVector<int64_t>;

static constexpr int64_t kFirst = -128, kInputs = 256;

static bool isByte(Value value) {
  return isa<RankedTensorType>(value.getType()) &&
         getElementTypeOrSelf(value).isSignlessInteger(8);
}

/// The number that all elements of a constant are.
static std::optional<int64_t> getOnlyElement(Value value) {
  if (!isIntegerConstant(value))
    return std::nullopt;
  const auto elements = getConstantIntegers(value);
  if (!elements || elements->empty() || !llvm::all_equal(*elements))
    return std::nullopt;
  return elements->front();
}

/// Whether `value` is one element, as constants are that broadcast.
static bool isOne(Value value) {
  const auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.hasStaticShape() && type.getNumElements() == 1;
}

/// Whether `value` is a constant, perhaps rescaled and in another shape.
static bool isFromConstant(Value value) {
  while (value.getDefiningOp<tosa::RescaleOp>() ||
         value.getDefiningOp<tosa::ReshapeOp>())
    value = value.getDefiningOp()->getOperand(0);
  return getOnlyElement(value).has_value();
}

/// How many of the first operands are data. None if `op` is not computed here.
static std::optional<unsigned> countData(Operation *op) {
  return llvm::TypeSwitch<Operation *, std::optional<unsigned>>(op)
      .Case([](tosa::RescaleOp rescale) -> std::optional<unsigned> {
        const auto scales = getScales(rescale);
        const auto input = getConstantIntegers(rescale.getInputZp()),
                   output = getConstantIntegers(rescale.getOutputZp());
        if (!scales || scales->size() != 1 || !input || input->size() != 1 ||
            !output || output->size() != 1 || rescale.getInputUnsigned() ||
            rescale.getOutputUnsigned() ||
            rescale.getRoundingMode() == tosa::RoundingMode::INEXACT_ROUND ||
            scales->front().multiplier < 0 ||
            !isLegalShift(scales->front().shift))
          return std::nullopt;
        return 1;
      })
      .Case([](tosa::MulOp mul) -> std::optional<unsigned> {
        const auto shift = getConstantIntegers(mul.getShift());
        if (!shift || llvm::any_of(*shift, [](int64_t s) { return s != 0; }))
          return std::nullopt;
        return 2;
      })
      .Case([](tosa::TableOp table) -> std::optional<unsigned> {
        const auto entries = getConstantIntegers(table.getTable());
        if (!isByte(table.getOutput()) || !entries ||
            entries->size() != kInputs)
          return std::nullopt;
        return 1;
      })
      .Case([](tosa::ReshapeOp reshape) -> std::optional<unsigned> {
        if (!isOne(reshape.getOutput()))
          return std::nullopt;
        return 1;
      })
      .Case<tosa::ClampOp, tosa::AbsOp, tosa::IdentityOp, tosa::CastOp>(
          [](Operation *) { return 1; })
      .Case<tosa::AddOp, tosa::SubOp, tosa::MaximumOp, tosa::MinimumOp,
            tosa::GreaterOp, tosa::GreaterEqualOp, tosa::EqualOp,
            tosa::LogicalLeftShiftOp, tosa::ArithmeticRightShiftOp>(
          [](Operation *) { return 2; })
      .Case([](tosa::SelectOp) { return 3; })
      .Default([](Operation *) { return std::nullopt; });
}

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

bool ByteChain::visit(Value value) {
  if (getOnlyElement(value))
    return true;
  Operation *op = value.getDefiningOp();
  // A table that nothing else reads becomes part of the new one.
  const bool isInner =
      ops.empty() && !input && op && isa<tosa::TableOp>(op) && op->hasOneUse();
  if (isByte(value) && !(isInner && countData(op)) && !isFromConstant(value)) {
    if (input && input != value)
      return false;
    input = value;
    return true;
  }
  return op && visit(op);
}

bool ByteChain::visit(Operation *op) {
  if (llvm::is_contained(ops, op))
    return true;
  const std::optional<unsigned> data = countData(op);
  if (!data || op->getNumResults() != 1 ||
      !isa<IntegerType>(getElementTypeOrSelf(op->getResult(0))))
    return false;
  for (Value operand : op->getOperands().take_front(*data)) {
    if (!visit(operand))
      return false;
    if (operand == input || dependent.contains(operand.getDefiningOp()))
      dependent.insert(op);
  }
  ops.push_back(op);
  return true;
}

std::optional<ByteChain> ByteChain::match(Operation *op) {
  ByteChain chain;
  if (op->getNumResults() != 1 || !isByte(op->getResult(0)) ||
      !chain.visit(op) || !chain.input ||
      llvm::any_of(chain.ops, [&](Operation *each) {
        const Value result = each->getResult(0);
        return chain.dependent.contains(each)
                   ? cast<ShapedType>(result.getType()).getShape() !=
                         cast<ShapedType>(chain.input.getType()).getShape()
                   : !isOne(result);
      }))
    return std::nullopt;
  return chain;
}

SmallVector<tosa::RescaleOp> ByteChain::getRescales() const {
  SmallVector<tosa::RescaleOp> found;
  for (Operation *op : ops)
    if (auto rescale = dyn_cast<tosa::RescaleOp>(op);
        rescale && dependent.contains(op))
      found.push_back(rescale);
  return found;
}

//===----------------------------------------------------------------------===//
// Computing
//===----------------------------------------------------------------------===//

/// What `op`, a rescale, makes of a value; none if that is left open.
static std::optional<int64_t> rescaleOne(tosa::RescaleOp op, int64_t value) {
  const Scale scale = getScales(op)->front();
  const int64_t inputZp = getConstantIntegers(op.getInputZp())->front(),
                outputZp = getConstantIntegers(op.getOutputZp())->front();
  const bool doubleRound =
      op.getScale32() &&
      op.getRoundingMode() == tosa::RoundingMode::DOUBLE_ROUND;
  const Int128 centred = Int128(value) - inputZp;
  if ((op.getScale32() && !isLegalValue32(centred, scale.shift)) ||
      !isLegalResult(applyScale(centred, scale, doubleRound)))
    return std::nullopt;
  const auto [low, high] =
      getLimits(getElementTypeOrSelf(op.getOutput()), /*isUnsigned=*/false);
  return rescaleValue(value, inputZp, scale, doubleRound, outputZp, low, high);
}

static std::optional<int64_t> shiftRight(tosa::ArithmeticRightShiftOp op,
                                         int64_t value, int64_t by) {
  if (by < 0 || by > 31)
    return std::nullopt;
  const int64_t half = op.getRound() && by > 0 ? (value >> (by - 1)) & 1 : 0;
  return (value >> by) + half;
}

/// What `op` makes of its data operands, before it is held to its type.
static std::optional<int64_t> computeOne(Operation *op, ArrayRef<int64_t> x) {
  return llvm::TypeSwitch<Operation *, std::optional<int64_t>>(op)
      .Case([&](tosa::RescaleOp rescale) { return rescaleOne(rescale, x[0]); })
      .Case([&](tosa::TableOp table) {
        return (*getConstantIntegers(table.getTable()))[x[0] - kFirst];
      })
      .Case([&](tosa::ClampOp clamp) {
        const int64_t low = cast<IntegerAttr>(clamp.getMinVal()).getInt(),
                      high = cast<IntegerAttr>(clamp.getMaxVal()).getInt();
        return std::min(std::max(x[0], low), high);
      })
      .Case<tosa::IdentityOp, tosa::CastOp, tosa::ReshapeOp>(
          [&](Operation *) { return x[0]; })
      .Case([&](tosa::AbsOp) { return std::abs(x[0]); })
      .Case([&](tosa::AddOp) { return x[0] + x[1]; })
      .Case([&](tosa::SubOp) { return x[0] - x[1]; })
      .Case([&](tosa::MulOp) { return x[0] * x[1]; })
      .Case([&](tosa::MaximumOp) { return std::max(x[0], x[1]); })
      .Case([&](tosa::MinimumOp) { return std::min(x[0], x[1]); })
      .Case([&](tosa::GreaterOp) { return int64_t(x[0] > x[1]); })
      .Case([&](tosa::GreaterEqualOp) { return int64_t(x[0] >= x[1]); })
      .Case([&](tosa::EqualOp) { return int64_t(x[0] == x[1]); })
      .Case([&](tosa::SelectOp) { return x[0] ? x[1] : x[2]; })
      .Case([&](tosa::LogicalLeftShiftOp) -> std::optional<int64_t> {
        if (x[1] < 0 || x[1] > 31)
          return std::nullopt;
        return x[0] * (int64_t(1) << x[1]);
      })
      .Case([&](tosa::ArithmeticRightShiftOp shift) {
        return shiftRight(shift, x[0], x[1]);
      })
      .Default([](Operation *) { return std::nullopt; });
}

/// Whether a result of `op` is one that its type holds.
static bool isHeld(Operation *op, int64_t result) {
  const Type element = getElementTypeOrSelf(op->getResult(0));
  if (element.isInteger(1))
    return result == 0 || result == 1;
  const auto [low, high] = getLimits(element, /*isUnsigned=*/false);
  return result >= low && result <= high;
}

std::optional<Column> ByteChain::compute() const {
  DenseMap<Value, Column> columns;
  for (int64_t i = 0; i < kInputs; ++i)
    columns[input].push_back(kFirst + i);
  for (Operation *op : ops) {
    Column results;
    for (int64_t i = 0; i < kInputs; ++i) {
      SmallVector<int64_t> data;
      for (Value operand : op->getOperands().take_front(*countData(op))) {
        auto known = columns.find(operand);
        data.push_back(known == columns.end() ? *getOnlyElement(operand)
                                              : known->second[i]);
      }
      const std::optional<int64_t> result = computeOne(op, data);
      if (!result || !isHeld(op, *result))
        return std::nullopt;
      results.push_back(*result);
    }
    columns[op->getResult(0)] = std::move(results);
  }
  return columns[getOutput()];
}

//===----------------------------------------------------------------------===//
// The chains of a function
//===----------------------------------------------------------------------===//

/// Whether all that comes of `op` ends in `roots`.
static bool endsIn(Operation *op, const DenseSet<Operation *> &roots) {
  if (roots.contains(op))
    return true;
  if (isByte(op->getResult(0)))
    return false;
  return llvm::all_of(op->getUsers(), [&](Operation *user) {
    return user->getNumResults() == 1 && countData(user) && endsIn(user, roots);
  });
}

SmallVector<ByteChain> findByteChains(func::FuncOp function) {
  SmallVector<ByteChain> chains;
  DenseSet<Operation *> roots;
  function.walk([&](Operation *op) {
    if (isa<tosa::TableOp>(op))
      return;
    std::optional<ByteChain> chain = ByteChain::match(op);
    if (!chain || chain->getRescales().empty() || !chain->compute())
      return;
    roots.insert(op);
    chains.push_back(std::move(*chain));
  });
  for (bool again = true; again;) {
    again = false;
    llvm::erase_if(chains, [&](const ByteChain &chain) {
      if (llvm::all_of(chain.getRescales(),
                       [&](tosa::RescaleOp op) { return endsIn(op, roots); }))
        return false;
      roots.erase(chain.getRoot());
      return again = true;
    });
  }
  return chains;
}

} // namespace tosa_rescale
