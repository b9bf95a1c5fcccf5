//===- AlignNetwork.cpp - a function as a problem of alignment ------------===//
//
// Implements AlignNetwork.h.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AlignNetwork.h"

#include "AlignRules.h"
#include "Attributes.h"
#include "ConstantProduct.h"
#include "Constants.h"
#include "Convolution.h"
#include "Diagnostics.h"
#include "MovedTables.h"

#include <cmath>

using namespace mlir;

namespace tosa_rescale {

bool isInteger(Value value) {
  return isa<ShapedType>(value.getType()) &&
         getElementTypeOrSelf(value).isInteger() &&
         !getElementTypeOrSelf(value).isInteger(1);
}

bool isWide(Value value) {
  return getElementTypeOrSelf(value).getIntOrFloatBitWidth() >= 32;
}

static bool isBehindConvolution(tosa::RescaleOp op) {
  Value value = op.getInput();
  while (value.hasOneUse()) {
    Operation *producer = value.getDefiningOp();
    if (const Convolution convolution = Convolution::match(producer)) {
      const Value weights = convolution.getWeights();
      return getElementTypeOrSelf(weights).isInteger(8) &&
             readWeights(weights) && getScales(op);
    }
    if (!isDataMovement(producer))
      break;
    value = producer->getOperand(0);
  }
  return false;
}

static std::optional<int64_t> getConstantInteger(Value value) {
  std::optional<SmallVector<int64_t>> elements = getConstantIntegers(value);
  if (!elements || elements->size() != 1)
    return std::nullopt;
  return elements->front();
}

AlignNetwork::AlignNetwork(func::FuncOp function, const AlignOptions &options,
                           const Releases &releases)
    : function(function), options(options), releases(releases) {
  problem.clipping = options.clipping;
}

bool AlignNetwork::absorbsFactor(tosa::RescaleOp op) const {
  if (isBehindConvolution(op) || isTabulated(op))
    return true;
  if (const WeightedMean mean = WeightedMean::match(op))
    return releases.contains(mean.getSum());
  const ConstantProduct product = ConstantProduct::match(op);
  return product &&
         (options.constants || releases.contains(product.getConstant()));
}

SmallVector<Operation *> AlignNetwork::getChainRoots(tosa::RescaleOp op) const {
  return chainsOf.lookup(op);
}

bool AlignNetwork::isTabulated(tosa::RescaleOp op) const {
  auto found = chainsOf.find(op);
  return found != chainsOf.end() &&
         llvm::all_of(found->second,
                      [&](Operation *root) { return releases.contains(root); });
}

void AlignNetwork::addChains() {
  for (const ByteChain &chain : findByteChains(function))
    for (tosa::RescaleOp op : chain.getRescales()) {
      chainsOf[op].push_back(chain.getRoot());
      for (Value value : {op.getInput(), op.getOutput()})
        addHolder(value, chain.getRoot());
    }
}

int AlignNetwork::getClass(Value value) {
  auto [entry, isNew] = ids.insert({value, static_cast<int>(parent.size())});
  if (isNew)
    parent.push_back(parent.size());
  return find(entry->second);
}

int AlignNetwork::find(int id) {
  while (parent[id] != id)
    id = parent[id] = parent[parent[id]];
  return id;
}

//===----------------------------------------------------------------------===//
// Reading the function
//===----------------------------------------------------------------------===//

void AlignNetwork::pin(Value value, const Twine &reason) {
  pins.emplace_back(value, reason.str());
}

void AlignNetwork::pinAll(Operation *op, const Twine &reason) {
  for (Value operand : op->getOperands())
    if (isInteger(operand))
      pin(operand, reason);
  for (Value result : op->getResults())
    if (isInteger(result))
      pin(result, reason);
}

void AlignNetwork::noteZeroPoint(Value value, Value zeroPoint) {
  setZeroPoint(value, getConstantInteger(zeroPoint));
}

void AlignNetwork::setZeroPoint(Value value, std::optional<int64_t> zeroPoint) {
  if (!isWide(value))
    notedZeroPoints.emplace_back(value, zeroPoint);
}

void AlignNetwork::addProduct(Value first, Value second, Value out) {
  products.emplace_back(first, second, out);
}

void AlignNetwork::addAddition(Operation *op) {
  if (!options.litert)
    return;
  SmallVector<Operation *> scaled;
  for (Value operand : op->getOperands()) {
    // A constant comes in the other operand's rank.
    while (operand.hasOneUse() && isDataMovement(operand.getDefiningOp()))
      operand = operand.getDefiningOp()->getOperand(0);
    if (!operand.getDefiningOp<tosa::RescaleOp>() || !operand.hasOneUse())
      return;
    scaled.push_back(operand.getDefiningOp());
  }
  for (Operation *rescale : scaled)
    additionOf[rescale] = additions;
  ++additions;
}

void AlignNetwork::addClippingErrors(Value value, SmallVector<double> errors) {
  clippingErrors.emplace_back(value, std::move(errors));
}

LogicalResult AlignNetwork::readFixedFactor(Operation *op) {
  Attribute attribute = op->getAttr(kFixedFactorAttrName);
  if (!attribute)
    return success();
  auto factor = dyn_cast<FloatAttr>(attribute);
  if (!factor || !factor.getType().isF64() ||
      !(factor.getValueAsDouble() > 0) ||
      !std::isfinite(factor.getValueAsDouble()))
    return errorOn(op) << "requires attribute '" << kFixedFactorAttrName
                       << "' to be an f64 above 0";
  // What no kernel of LiteRT has, a table has.
  const bool isReleasable =
      options.tabulate && isMovableTable(op) && isFunction(op);
  if (isReleasable && releases.contains(op))
    return success();
  for (Value result : op->getResults())
    if (isInteger(result)) {
      if (isReleasable)
        addHolder(result, op);
      pin(result, "given by '" + kFixedFactorAttrName + "'");
      fixedFactors.emplace_back(result, std::log2(factor.getValueAsDouble()));
    }
  return success();
}

LogicalResult AlignNetwork::visit(Operation *op) {
  if (op == function)
    return success();
  if (failed(readFixedFactor(op)))
    return failure();
  if (isa<tosa::ConstOp, tosa::ConstShapeOp>(op) ||
      (llvm::none_of(op->getOperands(), isInteger) &&
       llvm::none_of(op->getResults(), isInteger)))
    return success();
  return getAlignRule(op->getName().getStringRef())(*this, op);
}

LogicalResult AlignNetwork::build() {
  if (options.tabulate)
    addChains();
  for (Value argument : function.getArguments())
    if (isInteger(argument))
      pin(argument, "an input of the graph");
  WalkResult walked = function.walk([&](Operation *op) {
    return failed(visit(op)) ? WalkResult::interrupt() : WalkResult::advance();
  });
  if (walked.wasInterrupted())
    return failure();

  // Everything is united now, so that classes are final but for products.
  for (auto [first, second, out] : products)
    for (Value value : {first, second, out})
      add(value);
  pinConstantsAndZeroPoints();
  pinMixedProducts();
  return success();
}

void AlignNetwork::pinConstantsAndZeroPoints() {
  SmallVector<Value> known;
  for (auto [value, id] : ids)
    known.push_back(value);
  for (Value value : known)
    if (Operation *constant = value.getDefiningOp<tosa::ConstOp>()) {
      const bool ofKernel = options.litert && isKernelConstant(value);
      const bool moves = ofKernel
                             ? releases.contains(constant)
                             : options.constants && isMovableConstant(value);
      if (!moves)
        pin(value, "a constant");
      if (ofKernel && !moves)
        addHolder(value, constant);
    }
  for (auto [value, zeroPoint] : notedZeroPoints) {
    auto [entry, isNew] = zeroPoints.try_emplace(getClass(value), zeroPoint);
    if (!isNew && entry->second != zeroPoint)
      entry->second = std::nullopt;
  }
  for (Value value : known) {
    if (isWide(value))
      continue;
    auto found = zeroPoints.find(getClass(value));
    if (found == zeroPoints.end() || !found->second)
      pin(value, found == zeroPoints.end() ? "its zero point is not known"
                                           : "its zero points differ");
  }
}

bool AlignNetwork::isRescaledAlone(Value product) {
  SmallVector<Value> forms = {product};
  int64_t known = 0;
  for (size_t i = 0; i < forms.size(); ++i) {
    known += ids.count(forms[i]);
    for (Operation *user : forms[i].getUsers())
      if (isDataMovement(user))
        forms.push_back(user->getResult(0));
      else if (!isa<tosa::RescaleOp>(user))
        return false;
  }
  // Nothing else shares its factor.
  const int root = getClass(product);
  return known == llvm::count_if(ids, [&](const std::pair<Value, int> &each) {
           return find(each.second) == root;
         });
}

void AlignNetwork::pinMixedProducts() {
  // Such a factor is a sum of two others, which no other op may restrict.
  for (auto [first, second, out] : products)
    if (!isRescaledAlone(out))
      for (Value value : {first, second, out})
        pin(value, "a product that is not rescaled");
}

//===----------------------------------------------------------------------===//
// Solving
//===----------------------------------------------------------------------===//

/// What limits a factor from below, and what its errors count for.
void AlignNetwork::limitFactors() {
  auto limit = [&](Value value, double lowest) {
    double &known = problem.tensors[tensorOf(getClass(value))].lowest;
    known = std::max(known, lowest);
  };
  for (auto [value, id] : ids) {
    const int root = find(id);
    // What 16 bits do not hold any more is the outlier of which the network is
    // made; 8 bits were chosen with some of them cut off.
    if (getElementTypeOrSelf(value).isInteger(16) &&
        problem.tensors[tensorOf(root)].clippingErrors.empty())
      limit(value, 0);
    if (value.getDefiningOp<tosa::ConstOp>() && !reasons.count(root))
      limit(value, getLowestFactor(
                       value, isWide(value) ? 0 : *zeroPoints.lookup(root)));
  }
  for (auto [value, lowest] : entries) {
    limit(value, lowest);
    problem.tensors[tensorOf(getClass(value))].roomy = false;
  }
  for (auto [value, weight] : weights) {
    double &known = problem.tensors[tensorOf(getClass(value))].weight;
    known = std::max(known, weight);
  }
}

void AlignNetwork::makeTensors() {
  reasons.clear();
  tensors.clear();
  problem.tensors.clear();
  for (auto &[value, reason] : pins)
    reasons.try_emplace(getClass(value), reason);
  for (auto [value, id] : ids) {
    const int root = find(id);
    auto [entry, isNew] = tensors.try_emplace(root, problem.tensors.size());
    if (isNew)
      problem.tensors.push_back(
          {/*pinned=*/reasons.count(root) != 0, /*roomy=*/true, {}});
    if (!isWide(value))
      problem.tensors[entry->second].roomy = false;
  }
  for (auto [value, factor] : fixedFactors)
    problem.tensors[tensorOf(getClass(value))].log2Factor = factor;
  for (auto &[value, errors] : clippingErrors) {
    // Of tensors with one scale the worst counts: all are cut off alike.
    std::vector<double> &known =
        problem.tensors[tensorOf(getClass(value))].clippingErrors;
    if (known.empty())
      known.assign(errors.begin(), errors.end());
    known.resize(std::min(known.size(), errors.size()));
    for (auto [mine, other] : llvm::zip_first(known, errors))
      mine = std::max(mine, other);
  }
  limitFactors();
}

void AlignNetwork::makeEdges() {
  origins.clear();
  problem.edges.clear();
  problem.products.clear();
  for (tosa::RescaleOp op : rescales) {
    if (absorbsFactor(op))
      continue;
    const int64_t bits = **getSignificantBits(op, options.request);
    const SmallVector<Scale> scales = *getScales(op);
    const auto addition = additionOf.find(op);
    for (const Scale &scale : scales) {
      if (scale.multiplier == 0)
        continue;
      problem.edges.push_back(
          {tensorOf(getClass(op.getInput())),
           tensorOf(getClass(op.getOutput())),
           std::log2(static_cast<double>(scale.multiplier)) - scale.shift,
           static_cast<int>(bits),
           addition == additionOf.end() ? -1 : addition->second});
      origins.push_back(op);
    }
  }
  for (auto [first, second, out] : products)
    problem.products.push_back({tensorOf(getClass(first)),
                                tensorOf(getClass(second)),
                                tensorOf(getClass(out))});
}

void AlignNetwork::solve() {
  makeTensors();
  makeEdges();
  result = alignTensors(problem);
}

} // namespace tosa_rescale
