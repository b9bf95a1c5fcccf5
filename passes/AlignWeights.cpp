//===- AlignWeights.cpp - what the error of a tensor counts for -----------===//
//
// Implements AlignWeights.h.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AlignWeights.h"

#include "RescaleOps.h"

#include "llvm/ADT/SetVector.h"

using namespace mlir;

namespace tosa_rescale {

/// Elements of a tensor; 1 if that is not known.
static double countElements(Value value) {
  auto type = dyn_cast<ShapedType>(value.getType());
  return type && type.hasStaticShape()
             ? std::max<int64_t>(1, type.getNumElements())
             : 1;
}

static bool isBinary(Operation *op) {
  return isa<tosa::MulOp, tosa::AddOp, tosa::SubOp>(op);
}

/// Whether each element of the result comes from one of the first operand, up
/// to constants.
static bool isElementwise(Operation *op, Value value) {
  if (isDataMovement(op) ||
      isa<tosa::RescaleOp, tosa::TableOp, tosa::ClampOp>(op))
    return op->getOperand(0) == value;
  return isBinary(op) &&
         llvm::any_of(op->getOperands().take_front(2), [](Value operand) {
           return bool(getConstantElements(operand));
         });
}

/// Squares, and what a table makes of anything if no entry is below 0.
static bool isNeverNegative(Value value) {
  auto skip = [](Value v) {
    while (Operation *op = v.getDefiningOp()) {
      if (!isDataMovement(op) && !isa<tosa::RescaleOp>(op))
        break;
      v = op->getOperand(0);
    }
    return v;
  };
  const Value source = skip(value);
  if (auto mul = source.getDefiningOp<tosa::MulOp>())
    return skip(mul.getInput1()) == skip(mul.getInput2());
  auto table = source.getDefiningOp<tosa::TableOp>();
  if (!table)
    return false;
  const auto entries = getConstantIntegers(table.getTable());
  return entries && getElementTypeOrSelf(table.getTable()).isInteger(16) &&
         llvm::all_of(*entries, [](int64_t entry) { return entry >= 0; });
}

double getErrorWeight(Value value) {
  double weight = 1;
  llvm::SetVector<Value> reached;
  reached.insert(value);
  for (size_t i = 0; i < reached.size(); ++i)
    for (Operation *user : reached[i].getUsers()) {
      if (user->getNumResults() != 1)
        continue;
      const Value result = user->getResult(0);
      if (isElementwise(user, reached[i]))
        reached.insert(result);
      else if (isa<tosa::MulOp>(user))
        weight =
            std::max(weight, countElements(result) / countElements(reached[i]));
      else if (isa<tosa::ReduceSumOp>(user) && isNeverNegative(value))
        weight =
            std::max(weight, countElements(reached[i]) / countElements(result));
    }
  return weight;
}

} // namespace tosa_rescale
