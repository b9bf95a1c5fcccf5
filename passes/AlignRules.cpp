//===- AlignRules.cpp - which tensors of an operation share a scale -------===//
//
// Implements AlignRules.h. A new operation: one function, and its row in the
// table at the end.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AlignRules.h"

#include "AlignWeights.h"
#include "Attributes.h"
#include "ConstantProduct.h"
#include "Constants.h"
#include "Convolution.h"
#include "Diagnostics.h"
#include "MovedTables.h"

#include "llvm/ADT/StringMap.h"

#include <cmath>
#include <limits>

using namespace mlir;

namespace tosa_rescale {

//===----------------------------------------------------------------------===//
// Rescales and convolutions
//===----------------------------------------------------------------------===//

static LogicalResult readClippingErrors(AlignNetwork &network,
                                        tosa::RescaleOp op) {
  Attribute attribute = op->getAttr(kClippingAttrName);
  if (!attribute)
    return success();
  auto errors = dyn_cast<DenseElementsAttr>(attribute);
  if (!errors || !errors.getElementType().isF32() ||
      errors.getType().getRank() != 1 || errors.getNumElements() < 2)
    return errorOn(op) << "requires attribute '" << kClippingAttrName
                       << "' to be a tensor of f32 with one dimension "
                       << "and at least 2 elements";
  SmallVector<double> values;
  for (float value : errors.getValues<float>()) {
    if (!(value >= 0) || !std::isfinite(value))
      return errorOn(op) << "requires attribute '" << kClippingAttrName
                         << "' to hold finite numbers of at least 0";
    values.push_back(value);
  }
  network.addClippingErrors(op.getOutput(), std::move(values));
  return success();
}

/// Whether a rescale changes the type alone.
static bool isCast(tosa::RescaleOp op) {
  const std::optional<SmallVector<Scale>> scales = getScales(op);
  return scales && llvm::all_of(*scales, [](Scale scale) {
           return isLegalShift(scale.shift) &&
                  scale.multiplier == int64_t(1) << scale.shift;
         });
}

/// LiteRT's kernels multiply, compare, sum up, and take the maximum of a
/// softmax, after the zero point alone: the scale stays between 8 bits and 32.
static bool isWidened(tosa::RescaleOp op) {
  return isWide(op.getOutput()) && !isWide(op.getInput()) && isCast(op) &&
         llvm::any_of(op.getOutput().getUsers(), [](Operation *user) {
           return isa<tosa::MaximumOp, tosa::MinimumOp, tosa::MulOp,
                      tosa::ReduceMaxOp, tosa::ReduceSumOp>(user);
         });
}

/// MAXIMUM and MINIMUM of LiteRT give one of the integers that they take; the
/// 32 bits in between are TOSA's.
static bool isChosen(tosa::RescaleOp op) {
  return !isWide(op.getOutput()) && isCast(op) &&
         isa_and_nonnull<tosa::MaximumOp, tosa::MinimumOp>(
             op.getInput().getDefiningOp());
}

static LogicalResult alignRescale(AlignNetwork &network, Operation *operation) {
  auto op = cast<tosa::RescaleOp>(operation);
  if (failed(readClippingErrors(network, op)) ||
      failed(getSignificantBits(op, network.getRequest())))
    return failure();
  network.add(op.getInput());
  network.add(op.getOutput());
  if (!isWide(op.getOutput()))
    network.addWeight(op.getOutput(), getErrorWeight(op.getOutput()));
  network.noteZeroPoint(op.getInput(), op.getInputZp());
  // resize leaves a zero point in its result that a rescale of i32 cannot name:
  // that of its input arrives behind it.
  if (op.getInput().getDefiningOp<tosa::ResizeOp>() && isWide(op.getInput()) &&
      op.getInput().hasOneUse())
    network.unite(op.getInput(), op.getOutput());
  else
    network.noteZeroPoint(op.getOutput(), op.getOutputZp());
  if (network.isLitert() && (isWidened(op) || isChosen(op)))
    network.unite(op.getInput(), op.getOutput());
  std::optional<SmallVector<Scale>> scales = getScales(op);
  if (!scales || llvm::any_of(*scales, [](Scale scale) {
        return scale.multiplier < 0 || !isLegalShift(scale.shift);
      }))
    network.pinAll(op, "its rescale requires a constant multiplier and shift");
  else
    network.addRescale(op);
  if (const WeightedMean mean = WeightedMean::match(op))
    network.addMean(mean);
  return success();
}

static LogicalResult alignConvolution(AlignNetwork &network, Operation *op) {
  const Convolution convolution = Convolution::match(op);
  const Value input = convolution.getInput();
  network.noteZeroPoint(input, convolution.getInputZp());
  std::optional<SmallVector<int64_t>> bias =
      getConstantIntegers(convolution.getBias());
  if (!getConstantElements(convolution.getWeights()) || !bias) {
    for (Value value : {input, convolution.getAccumulator()})
      network.pin(value, "its convolution requires constant weights and bias");
    return success();
  }
  network.unite(input, convolution.getAccumulator());
  const int64_t limit = std::numeric_limits<int32_t>::max() *
                        (1 - std::min(network.getClipping(), 0.5));
  if (llvm::any_of(*bias, [&](int64_t b) { return std::abs(b) > limit; }))
    network.pin(input, "its convolution's bias fills int32");
  return success();
}

//===----------------------------------------------------------------------===//
// Operations whose operands and result share a factor
//===----------------------------------------------------------------------===//

/// The first operand and the result; others are shapes, indices and the like.
static LogicalResult alignFirst(AlignNetwork &network, Operation *op) {
  network.unite(op->getOperand(0), op->getResult(0));
  return success();
}

static LogicalResult alignAll(AlignNetwork &network, Operation *op) {
  for (Value operand : op->getOperands())
    network.unite(operand, op->getResult(0));
  return success();
}

static LogicalResult alignPad(AlignNetwork &network, Operation *op) {
  auto pad = cast<tosa::PadOp>(op);
  network.noteZeroPoint(pad.getInput1(), pad.getPadConst());
  return alignFirst(network, op);
}

static LogicalResult alignReduceSum(AlignNetwork &network, Operation *op) {
  // A sum of values with a zero point has another one.
  if (!isWide(op->getOperand(0)))
    network.pinAll(op, "reduce_sum of 8 or 16 bits");
  return alignFirst(network, op);
}

static LogicalResult alignResize(AlignNetwork &network, Operation *op) {
  const Value result = op->getResult(0);
  if (isWide(result) &&
      !(result.hasOneUse() && isa<tosa::RescaleOp>(*result.user_begin())))
    network.pinAll(op, "resize without a rescale");
  return alignFirst(network, op);
}

/// add and sub.
static LogicalResult alignSum(AlignNetwork &network, Operation *op) {
  if (!isWide(op->getResult(0)))
    network.pinAll(op, "an addition of 8 or 16 bits");
  network.addAddition(op);
  return alignAll(network, op);
}

static LogicalResult alignSelect(AlignNetwork &network, Operation *op) {
  auto select = cast<tosa::SelectOp>(op);
  network.unite(select.getOnTrue(), select.getOutput());
  network.unite(select.getOnFalse(), select.getOutput());
  return success();
}

//===----------------------------------------------------------------------===//
// Operations whose result has a scale of its own
//===----------------------------------------------------------------------===//

static LogicalResult pinUnknown(AlignNetwork &network, Operation *op) {
  network.pinAll(op, "read or made by " + op->getName().stripDialect());
  return success();
}

/// The same values in a wider type, as long as they have no zero point.
static LogicalResult alignCast(AlignNetwork &network, Operation *op) {
  const Value input = op->getOperand(0), result = op->getResult(0);
  if (!isInteger(input) || !isInteger(result) || !isWide(result))
    return pinUnknown(network, op);
  if (!isWide(input))
    network.setZeroPoint(input, 0);
  return alignFirst(network, op);
}

/// A shift by a constant divides or multiplies every scale alike.
static LogicalResult alignShift(AlignNetwork &network, Operation *op) {
  if (!isWide(op->getResult(0)) || !getConstantIntegers(op->getOperand(1)))
    return pinUnknown(network, op);
  return alignFirst(network, op);
}

/// An index: the same for every scale.
static LogicalResult alignArgMax(AlignNetwork &network, Operation *op) {
  network.add(op->getOperand(0));
  return success();
}

/// Whether `value` is a constant, perhaps rescaled and moved.
static bool isConstant(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (isa<tosa::ConstOp>(op))
      return true;
    if (!isa<tosa::RescaleOp>(op) && !isDataMovement(op))
      return false;
    value = op->getOperand(0);
  }
  return false;
}

static LogicalResult alignMul(AlignNetwork &network, Operation *op) {
  auto mul = cast<tosa::MulOp>(op);
  if (!isWide(mul.getInput1()) || !isWide(mul.getInput2()))
    return pinUnknown(network, op);
  if (const ConstantProduct product = ConstantProduct::match(op)) {
    const bool released = network.getReleases().contains(product.getConstant());
    if (network.movesConstants() || released) {
      network.unite(product.getInput(), product.getOutput());
      if (product.isScaled())
        network.pin(product.getFactor(), "a constant");
      return success();
    }
    if (product.isScaled())
      network.addHolder(mul.getOutput(), product.getConstant());
  }
  // A constant that cannot move leaves the other operand's factor to the
  // product.
  for (auto [constant, other] : {std::pair(mul.getInput1(), mul.getInput2()),
                                 std::pair(mul.getInput2(), mul.getInput1())})
    if (isConstant(constant)) {
      network.pin(constant, "a constant");
      network.unite(other, mul.getOutput());
      return success();
    }
  network.addProduct(mul.getInput1(), mul.getInput2(), mul.getOutput());
  return success();
}

static LogicalResult alignMatMul(AlignNetwork &network, Operation *op) {
  auto matmul = cast<tosa::MatMulOp>(op);
  network.addProduct(matmul.getA(), matmul.getB(), matmul.getOutput());
  network.noteZeroPoint(matmul.getA(), matmul.getAZp());
  network.noteZeroPoint(matmul.getB(), matmul.getBZp());
  return success();
}

static LogicalResult alignTable(AlignNetwork &network, Operation *op) {
  if (!isMovableTable(op))
    return pinUnknown(network, op);
  const Value input = op->getOperand(0), result = op->getResult(0);
  if (!network.getReleases().contains(op)) {
    const std::string reason = whyInputStays(network, op);
    network.pin(input, reason.empty() ? "read by table" : reason);
    if (reason.empty())
      network.addHolder(input, op);
  } else if (!getElementTypeOrSelf(input).isInteger(8)) {
    network.addEntries(input, 0);
  } else {
    network.add(input);
  }
  // LiteRT's kernels make tables of 16 bits themselves.
  if (isWide(result) && !network.movesConstants()) {
    network.pin(result, "made by table");
    return success();
  }
  network.add(result);
  if (isWide(result))
    network.addEntries(result,
                       getLowestFactor(op->getOperand(1), /*zeroPoint=*/0));
  return success();
}

static LogicalResult alignReturn(AlignNetwork &network, Operation *op) {
  network.pinAll(op, "an output of the graph");
  return success();
}

//===----------------------------------------------------------------------===//
// The table
//===----------------------------------------------------------------------===//

template <typename... Ops>
static void add(llvm::StringMap<AlignRule> &rules, AlignRule rule) {
  (rules.try_emplace(Ops::getOperationName(), rule), ...);
}

static llvm::StringMap<AlignRule> makeRules() {
  llvm::StringMap<AlignRule> rules;
  add<tosa::RescaleOp>(rules, alignRescale);
  add<tosa::Conv2DOp, tosa::Conv3DOp, tosa::DepthwiseConv2DOp,
      tosa::TransposeConv2DOp>(rules, alignConvolution);
  add<tosa::ReshapeOp, tosa::TransposeOp, tosa::SliceOp, tosa::IdentityOp,
      tosa::ReverseOp, tosa::TileOp, tosa::MaxPool2dOp, tosa::AvgPool2dOp,
      tosa::GatherOp, tosa::ReduceMaxOp, tosa::ReduceMinOp, tosa::ClampOp>(
      rules, alignFirst);
  add<tosa::ReduceSumOp>(rules, alignReduceSum);
  add<tosa::ResizeOp>(rules, alignResize);
  add<tosa::PadOp>(rules, alignPad);
  add<tosa::ConcatOp, tosa::MaximumOp, tosa::MinimumOp>(rules, alignAll);
  add<tosa::AddOp, tosa::SubOp>(rules, alignSum);
  add<tosa::CastOp>(rules, alignCast);
  add<tosa::LogicalLeftShiftOp, tosa::ArithmeticRightShiftOp>(rules,
                                                              alignShift);
  add<tosa::SelectOp>(rules, alignSelect);
  add<tosa::ArgMaxOp>(rules, alignArgMax);
  add<tosa::MulOp>(rules, alignMul);
  add<tosa::MatMulOp>(rules, alignMatMul);
  add<tosa::TableOp>(rules, alignTable);
  add<func::ReturnOp>(rules, alignReturn);
  return rules;
}

AlignRule getAlignRule(StringRef name) {
  static const llvm::StringMap<AlignRule> rules = makeRules();
  const AlignRule rule = rules.lookup(name);
  return rule ? rule : pinUnknown;
}

} // namespace tosa_rescale
