//===- TosaRescaleAlign.cpp - change scales so that multipliers get narrow ===//
//
// Implements tosa-rescale-align.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Alignment.h"
#include "Passes.h"

#include "llvm/ADT/SetVector.h"
#include "llvm/Support/FormatVariadic.h"

#include <cmath>

#define DEBUG_TYPE "tosa-rescale-align"

using namespace mlir;

namespace tosa_rescale {

#define GEN_PASS_DEF_TOSARESCALEALIGNPASS
#include "Passes.h.inc"

/// The factor that a tensor's scale got; on the op that makes the tensor.
static constexpr llvm::StringLiteral kFactorAttrName =
    "tosa_rescale.scale_factor";

/// What cutting off a tensor's values costs; on the rescale that makes it.
static constexpr llvm::StringLiteral kClippingAttrName =
    "tosa_rescale.clipping_errors";

/// On an op whose results get this factor and no other.
static constexpr llvm::StringLiteral kFixedFactorAttrName =
    "tosa_rescale.fixed_factor";

/// A factor this near to 1 is 1.
static constexpr double kNoFactor = 1e-11;

namespace {

/// One multiplier of a rescale, as an edge of the problem.
struct EdgeOrigin {
  tosa::RescaleOp op;
  unsigned channel;
};

/// The tensors of a function, which of them share a factor, and the
/// multipliers between them.
class Network {
public:
  Network(func::FuncOp function, const BitsRequest &request, double clipping,
          bool litert);

  LogicalResult build();
  /// Pins the tensor, and says why, unless it is pinned.
  void pin(Value value, const Twine &reason);
  void solve();
  double getLog2Factor(Value value) {
    auto found = ids.find(value);
    return found == ids.end() ? 0 : result.log2Factors[tensorOf(found->second)];
  }
  /// The zero point of a tensor of 8 or 16 bits, from what scales and reads it.
  std::optional<int64_t> getZeroPoint(Value value) {
    auto found = zeroPoints.find(getClass(value));
    return found == zeroPoints.end() ? std::nullopt : found->second;
  }
  /// Why tensors keep their scale that multipliers tie to those of `op`, and
  /// how many they are for each reason.
  llvm::MapVector<StringRef, unsigned> getPins(tosa::RescaleOp op);
  bool isPinned(Value value) { return reasons.count(getClass(value)); }
  /// Whether the rescale takes up any factor in its weights.
  static bool absorbs(tosa::RescaleOp op);

  Alignment result;
  SmallVector<EdgeOrigin> origins;
  AlignmentProblem problem;

private:
  int getClass(Value value);
  int tensorOf(int id) { return tensors.lookup(find(id)); }
  int find(int id) {
    while (parent[id] != id)
      id = parent[id] = parent[parent[id]];
    return id;
  }
  void unite(Value a, Value b) { parent[getClass(a)] = getClass(b); }
  void pinAll(Operation *op, const Twine &reason);
  LogicalResult visit(Operation *op);
  LogicalResult visitRescale(tosa::RescaleOp op);
  LogicalResult visitClippingErrors(tosa::RescaleOp op);
  void visitConvolution(Operation *op);
  void visitAddition(Operation *op);
  void noteZeroPoint(Value value, Value zeroPoint);

  func::FuncOp function;
  BitsRequest request;
  bool litert;
  /// Additions whose operands are both made by rescales, by these.
  DenseMap<Operation *, int> additionOf;
  int additions = 0;
  SmallVector<std::pair<Value, SmallVector<double>>> clippingErrors;
  SmallVector<std::pair<Value, double>> fixedFactors;
  llvm::MapVector<Value, int> ids;
  SmallVector<int> parent;
  SmallVector<std::pair<Value, std::string>> pins;
  SmallVector<std::pair<Value, std::optional<int64_t>>> notedZeroPoints;
  SmallVector<std::tuple<Value, Value, Value>> products;
  SmallVector<tosa::RescaleOp> rescales;
  DenseMap<int, std::optional<int64_t>> zeroPoints;
  DenseMap<int, std::string> reasons;
  DenseMap<int, int> tensors;
};

struct TosaRescaleAlignPass final
    : impl::TosaRescaleAlignPassBase<TosaRescaleAlignPass> {
  using Base::Base;

  LogicalResult initialize(MLIRContext *context) override;
  void runOnOperation() override;

private:
  /// New scales of a rescale, or none if no legal shift expresses them.
  static std::optional<SmallVector<Scale>>
  rewriteScales(tosa::RescaleOp op, double log2Factor, int64_t snapBits);

  BitsRequest request;
};

} // namespace

static bool isInteger(Value value) {
  return isa<ShapedType>(value.getType()) &&
         getElementTypeOrSelf(value).isInteger() &&
         !getElementTypeOrSelf(value).isInteger(1);
}

/// int32 and wider, which have no zero point.
static bool isWide(Value value) {
  return getElementTypeOrSelf(value).getIntOrFloatBitWidth() >= 32;
}

static bool isConvolution(Operation *op) {
  return isa_and_nonnull<tosa::Conv2DOp, tosa::Conv3DOp,
                         tosa::DepthwiseConv2DOp, tosa::TransposeConv2DOp>(op);
}

static std::optional<int64_t> getConstantInteger(Value value) {
  std::optional<SmallVector<int64_t>> elements = getConstantIntegers(value);
  if (!elements || elements->size() != 1)
    return std::nullopt;
  return elements->front();
}

Network::Network(func::FuncOp function, const BitsRequest &request,
                 double clipping, bool litert)
    : function(function), request(request), litert(litert) {
  problem.clipping = clipping;
}

int Network::getClass(Value value) {
  auto [entry, isNew] = ids.insert({value, static_cast<int>(parent.size())});
  if (isNew)
    parent.push_back(parent.size());
  return find(entry->second);
}

void Network::pin(Value value, const Twine &reason) {
  pins.emplace_back(value, reason.str());
}

void Network::pinAll(Operation *op, const Twine &reason) {
  for (Value operand : op->getOperands())
    if (isInteger(operand))
      pin(operand, reason);
  for (Value result : op->getResults())
    if (isInteger(result))
      pin(result, reason);
}

void Network::noteZeroPoint(Value value, Value zeroPoint) {
  if (!isWide(value))
    notedZeroPoints.emplace_back(value, getConstantInteger(zeroPoint));
}

bool Network::absorbs(tosa::RescaleOp op) {
  // The weights answer to one rescale alone.
  Value value = op.getInput();
  while (value.hasOneUse()) {
    Operation *producer = value.getDefiningOp();
    if (isConvolution(producer))
      return getConstantIntegers(producer->getOperand(1)) &&
             getElementTypeOrSelf(producer->getOperand(1)).isInteger(8) &&
             getScales(op);
    if (!isa_and_nonnull<tosa::ReshapeOp, tosa::TransposeOp, tosa::SliceOp,
                         tosa::IdentityOp>(producer))
      break;
    value = producer->getOperand(0);
  }
  return false;
}

LogicalResult Network::visitClippingErrors(tosa::RescaleOp op) {
  Attribute attribute = op->getAttr(kClippingAttrName);
  if (!attribute)
    return success();
  auto errors = dyn_cast<DenseElementsAttr>(attribute);
  if (!errors || !errors.getElementType().isF32() ||
      errors.getType().getRank() != 1 || errors.getNumElements() < 2)
    return op.emitOpError("requires attribute '")
           << kClippingAttrName << "' to be a tensor of f32 with one dimension "
           << "and at least 2 elements";
  SmallVector<double> values;
  for (float value : errors.getValues<float>()) {
    if (!(value >= 0) || !std::isfinite(value))
      return op.emitOpError("requires attribute '")
             << kClippingAttrName << "' to hold finite numbers of at least 0";
    values.push_back(value);
  }
  clippingErrors.emplace_back(op.getOutput(), std::move(values));
  return success();
}

LogicalResult Network::visitRescale(tosa::RescaleOp op) {
  if (failed(visitClippingErrors(op)))
    return failure();
  FailureOr<std::optional<int64_t>> bits = getSignificantBits(op, request);
  if (failed(bits))
    return failure();
  getClass(op.getInput());
  getClass(op.getOutput());
  noteZeroPoint(op.getInput(), op.getInputZp());
  // resize leaves a zero point in its result that a rescale of i32 cannot name:
  // that of its input arrives behind it.
  if (op.getInput().getDefiningOp<tosa::ResizeOp>() && isWide(op.getInput()) &&
      op.getInput().hasOneUse())
    unite(op.getInput(), op.getOutput());
  else
    noteZeroPoint(op.getOutput(), op.getOutputZp());
  std::optional<SmallVector<Scale>> scales = getScales(op);
  if (!scales || llvm::any_of(*scales, [](Scale scale) {
        return scale.multiplier < 0 || !isLegalShift(scale.shift);
      })) {
    pinAll(op, "its rescale requires a constant multiplier and shift");
    return success();
  }
  rescales.push_back(op);
  return success();
}

void Network::visitConvolution(Operation *op) {
  Value input = op->getOperand(0), accumulator = op->getResult(0);
  noteZeroPoint(input, op->getOperand(3));
  std::optional<SmallVector<int64_t>> bias =
      getConstantIntegers(op->getOperand(2));
  if (!getConstantIntegers(op->getOperand(1)) || !bias) {
    pin(input, "its convolution requires constant weights and bias");
    pin(accumulator, "its convolution requires constant weights and bias");
    return;
  }
  unite(input, accumulator);
  const int64_t limit = std::numeric_limits<int32_t>::max() *
                        (1 - std::min(problem.clipping, 0.5));
  if (llvm::any_of(*bias, [&](int64_t b) { return std::abs(b) > limit; }))
    pin(input, "its convolution's bias fills int32");
}

void Network::visitAddition(Operation *op) {
  if (!litert || !llvm::all_of(op->getOperands(), [](Value operand) {
        return operand.getDefiningOp<tosa::RescaleOp>() && operand.hasOneUse();
      }))
    return;
  for (Value operand : op->getOperands())
    additionOf[operand.getDefiningOp()] = additions;
  ++additions;
}

/// A table of 256 entries, whose results another scale may have.
static bool isByteTable(Operation *op) {
  auto table = dyn_cast<tosa::TableOp>(op);
  return table && getElementTypeOrSelf(table.getOutput()).isInteger(8) &&
         getConstantIntegers(table.getTable());
}

LogicalResult Network::visit(Operation *op) {
  if (isa<func::FuncOp>(op))
    return success();
  if (Attribute attribute = op->getAttr(kFixedFactorAttrName)) {
    auto factor = dyn_cast<FloatAttr>(attribute);
    if (!factor || !factor.getType().isF64() ||
        !(factor.getValueAsDouble() > 0) ||
        !std::isfinite(factor.getValueAsDouble()))
      return op->emitOpError("requires attribute '")
             << kFixedFactorAttrName << "' to be an f64 above 0";
    for (Value result : op->getResults())
      if (isInteger(result)) {
        pin(result, "given by 'tosa_rescale.fixed_factor'");
        fixedFactors.emplace_back(result, std::log2(factor.getValueAsDouble()));
      }
  }
  if (isa<tosa::ConstOp, tosa::ConstShapeOp>(op))
    return success();
  if (auto rescale = dyn_cast<tosa::RescaleOp>(op))
    return visitRescale(rescale);
  if (isConvolution(op)) {
    visitConvolution(op);
    return success();
  }
  if (llvm::none_of(op->getOperands(), isInteger) &&
      llvm::none_of(op->getResults(), isInteger))
    return success();

  const bool one = op->getNumResults() == 1;
  if (isa<tosa::ReshapeOp, tosa::TransposeOp, tosa::SliceOp, tosa::IdentityOp,
          tosa::ReverseOp, tosa::TileOp, tosa::MaxPool2dOp, tosa::AvgPool2dOp,
          tosa::GatherOp, tosa::ReduceMaxOp, tosa::ReduceMinOp,
          tosa::ReduceSumOp, tosa::ClampOp, tosa::ResizeOp, tosa::PadOp>(op) &&
      one) {
    unite(op->getOperand(0), op->getResult(0));
    if (auto pad = dyn_cast<tosa::PadOp>(op))
      noteZeroPoint(pad.getInput1(), pad.getPadConst());
    // A sum of values with a zero point has another one.
    if (isa<tosa::ReduceSumOp>(op) && !isWide(op->getOperand(0)))
      pinAll(op, "reduce_sum of 8 or 16 bits");
    if (isa<tosa::ResizeOp>(op) && isWide(op->getResult(0)) &&
        !(op->getResult(0).hasOneUse() &&
          isa<tosa::RescaleOp>(*op->getResult(0).user_begin())))
      pinAll(op, "resize without a rescale");
    return success();
  }
  if (isa<tosa::ConcatOp, tosa::AddOp, tosa::SubOp, tosa::MaximumOp,
          tosa::MinimumOp>(op)) {
    for (Value operand : op->getOperands())
      unite(operand, op->getResult(0));
    if (isa<tosa::AddOp, tosa::SubOp>(op)) {
      if (!isWide(op->getResult(0)))
        pinAll(op, "an addition of 8 or 16 bits");
      visitAddition(op);
    }
    return success();
  }
  if (auto select = dyn_cast<tosa::SelectOp>(op)) {
    unite(select.getOnTrue(), select.getOutput());
    unite(select.getOnFalse(), select.getOutput());
    return success();
  }
  if (isa<tosa::ArgMaxOp>(op)) {
    getClass(op->getOperand(0));
    return success();
  }
  if (auto mul = dyn_cast<tosa::MulOp>(op);
      mul && isWide(mul.getInput1()) && isWide(mul.getInput2())) {
    products.emplace_back(mul.getInput1(), mul.getInput2(), mul.getOutput());
    return success();
  }
  if (auto matmul = dyn_cast<tosa::MatMulOp>(op)) {
    products.emplace_back(matmul.getA(), matmul.getB(), matmul.getOutput());
    noteZeroPoint(matmul.getA(), matmul.getAZp());
    noteZeroPoint(matmul.getB(), matmul.getBZp());
    return success();
  }
  if (isByteTable(op)) {
    // What lies between two entries is not known, so the input stays.
    pin(op->getOperand(0), "read by table");
    getClass(op->getResult(0));
    return success();
  }
  if (isa<func::ReturnOp>(op))
    pinAll(op, "an output of the graph");
  else
    pinAll(op, "read or made by " + op->getName().stripDialect());
  return success();
}

LogicalResult Network::build() {
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
      getClass(value);
  SmallVector<Value> known;
  for (auto [value, id] : ids)
    known.push_back(value);
  DenseMap<int, unsigned> sizes;
  for (Value value : known) {
    ++sizes[getClass(value)];
    if (value.getDefiningOp<tosa::ConstOp>())
      pin(value, "a constant");
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
  for (auto [first, second, out] : products) {
    // Such a factor is a sum of two others, which no other op may restrict.
    const bool plain = sizes[getClass(out)] == 1 &&
                       llvm::all_of(out.getUsers(), [](Operation *user) {
                         return isa<tosa::RescaleOp>(user);
                       });
    if (plain)
      continue;
    for (Value value : {first, second, out})
      pin(value, "a product that is not rescaled");
  }
  return success();
}

void Network::solve() {
  reasons.clear();
  tensors.clear();
  origins.clear();
  problem.tensors.clear();
  problem.edges.clear();
  problem.products.clear();
  for (auto &[value, reason] : pins)
    reasons.try_emplace(getClass(value), reason);
  for (auto [value, id] : ids) {
    const int root = find(id);
    auto [entry, isNew] = tensors.try_emplace(root, problem.tensors.size());
    if (isNew)
      problem.tensors.push_back(
          {reasons.count(root) != 0, /*roomy=*/true, {}, 0});
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
  for (tosa::RescaleOp op : rescales) {
    if (absorbs(op))
      continue;
    const int64_t bits = **getSignificantBits(op, request);
    const SmallVector<Scale> scales = *getScales(op);
    for (auto [channel, scale] : llvm::enumerate(scales)) {
      if (scale.multiplier == 0)
        continue;
      problem.edges.push_back(
          {tensorOf(getClass(op.getInput())),
           tensorOf(getClass(op.getOutput())),
           std::log2(static_cast<double>(scale.multiplier)) - scale.shift,
           static_cast<int>(bits),
           additionOf.count(op) ? additionOf.lookup(op) : -1});
      origins.push_back({op, static_cast<unsigned>(channel)});
    }
  }
  for (auto [first, second, out] : products)
    problem.products.push_back({tensorOf(getClass(first)),
                                tensorOf(getClass(second)),
                                tensorOf(getClass(out))});
  result = alignTensors(problem);
}

llvm::MapVector<StringRef, unsigned> Network::getPins(tosa::RescaleOp op) {
  SmallVector<StringRef> reasonOf(problem.tensors.size());
  for (auto &[root, tensor] : tensors)
    if (auto found = reasons.find(root); found != reasons.end())
      reasonOf[tensor] = found->second;
  llvm::SetVector<int> tied;
  tied.insert(tensorOf(getClass(op.getInput())));
  tied.insert(tensorOf(getClass(op.getOutput())));
  llvm::MapVector<StringRef, unsigned> pinned;
  for (size_t i = 0; i < tied.size(); ++i) {
    if (problem.tensors[tied[i]].pinned) {
      ++pinned[reasonOf[tied[i]]];
      continue;
    }
    for (const AlignedEdge &edge : problem.edges)
      if (edge.from == tied[i] || edge.to == tied[i])
        tied.insert(edge.from == tied[i] ? edge.to : edge.from);
  }
  return pinned;
}

LogicalResult TosaRescaleAlignPass::initialize(MLIRContext *context) {
  const Location location = UnknownLoc::get(context);
  request = {bits, 0, hiddenBit, Scope::All};
  if (failed(checkBitsRequest(location, getArgument(), request, kMinBits)))
    return failure();
  if (!(clipping >= 0 && clipping <= 0.5))
    return emitError(location)
           << getArgument() << " requires option 'clipping' from 0 to 0.5, got "
           << llvm::formatv("{0}", double(clipping)).str();
  return success();
}

std::optional<SmallVector<Scale>>
TosaRescaleAlignPass::rewriteScales(tosa::RescaleOp op, double log2Factor,
                                    int64_t snapBits) {
  SmallVector<Scale> scales = *getScales(op);
  const int container = op.getScale32() ? kMultiplierBits32 : kMultiplierBits16;
  for (Scale &scale : scales) {
    std::optional<Scale> changed =
        multiplyScale(scale, log2Factor, container, snapBits);
    if (!changed)
      return std::nullopt;
    scale = *changed;
  }
  return scales;
}

/// The constant `value` with each element replaced.
static Value changeConstant(OpBuilder &builder, Value value,
                            function_ref<int64_t(int64_t)> change) {
  auto type = cast<RankedTensorType>(value.getType());
  const unsigned width = type.getElementTypeBitWidth();
  const SmallVector<int64_t> old = *getConstantIntegers(value);
  SmallVector<APInt> elements;
  for (int64_t element : old)
    elements.emplace_back(width, change(element), /*isSigned=*/true);
  return tosa::ConstOp::create(builder, value.getLoc(), type,
                               DenseElementsAttr::get(type, elements));
}

static int64_t divideRounded(int64_t value, double log2Factor) {
  return std::llround(static_cast<double>(value) * std::exp2(-log2Factor));
}

void TosaRescaleAlignPass::runOnOperation() {
  func::FuncOp function = getOperation();
  Network network(function, request, clipping, litert);
  if (failed(network.build()))
    return signalPassFailure();

  SmallVector<tosa::RescaleOp> rescales;
  function.walk([&](tosa::RescaleOp op) { rescales.push_back(op); });
  llvm::MapVector<Operation *, SmallVector<Scale>> plans;
  DenseSet<Operation *> wide;
  for (bool again = true; again;) {
    again = false;
    plans.clear();
    wide.clear();
    network.solve();
    for (auto [origin, narrow] :
         llvm::zip_equal(network.origins, network.result.narrow))
      if (!narrow)
        wide.insert(origin.op);
    for (tosa::RescaleOp op : rescales) {
      const double change = network.getLog2Factor(op.getInput()) -
                            network.getLog2Factor(op.getOutput());
      const bool still = std::abs(change) < kNoFactor;
      const int64_t width = **getSignificantBits(op, request);
      std::optional<SmallVector<Scale>> scales;
      if (!Network::absorbs(op) && !wide.contains(op) && getScales(op)) {
        if (still && network.isPinned(op.getInput()) &&
            network.isPinned(op.getOutput()))
          continue;
        scales = rewriteScales(op, change, width);
      } else if (still) {
        continue;
      } else {
        scales = rewriteScales(op, change, 0);
      }
      if (scales) {
        plans.insert({op, std::move(*scales)});
        continue;
      }
      for (Value value : {op.getInput(), op.getOutput()})
        if (!network.isPinned(value)) {
          network.pin(value, "no legal shift expresses a new multiplier");
          again = true;
        }
    }
  }

  // What keeps its scale matters where a multiplier had to stay wide.
  bool anyFailed = false;
  for (tosa::RescaleOp op : rescales) {
    if (!wide.contains(op))
      continue;
    ++numWide;
    const int64_t width = **getSignificantBits(op, request);
    InFlightDiagnostic diagnostic = strict ? op.emitOpError() : remarkOn(op);
    diagnostic << (strict ? "requires a multiplier of at most "
                          : "keeps a multiplier of more than ");
    diagnostic << width
               << " significant bits: the scales that meet here contradict "
                  "each other";
    for (auto &[reason, count] : network.getPins(op))
      diagnostic << "; " << count
                 << (count == 1 ? " tensor keeps its" : " tensors keep their")
                 << " scale: " << reason;
    anyFailed |= strict;
  }
  if (anyFailed)
    return signalPassFailure();

  OpBuilder builder(&getContext());
  for (auto &[op, scales] : plans) {
    auto rescale = cast<tosa::RescaleOp>(op);
    if (setScales(builder, rescale, scales, rescale.getScale32(),
                  rescale.getRoundingMode()))
      ++numRewritten;
  }
  for (Operation *op : wide)
    if (!op->hasAttr(kBitsAttrName))
      op->setAttr(kBitsAttrName, builder.getI64IntegerAttr(kMaxBits));

  SmallVector<Operation *> ops;
  function.walk([&](Operation *op) { ops.push_back(op); });
  for (Operation *op : ops) {
    op->removeAttr(kClippingAttrName);
    op->removeAttr(kFixedFactorAttrName);
    if (isConvolution(op)) {
      const double factor = network.getLog2Factor(op->getOperand(0));
      if (std::abs(factor) < kNoFactor)
        continue;
      builder.setInsertionPoint(op);
      op->setOperand(
          2, changeConstant(builder, op->getOperand(2), [&](int64_t bias) {
            return divideRounded(bias, factor);
          }));
      continue;
    }
    if (op->getNumResults() != 1 || isa<tosa::ConstOp>(op))
      continue;
    const double factor = network.getLog2Factor(op->getResult(0));
    if (std::abs(factor) < kNoFactor)
      continue;
    if (isWide(op->getResult(0)))
      continue;
    if (auto clamp = dyn_cast<tosa::ClampOp>(op)) {
      const int64_t zeroPoint = *network.getZeroPoint(op->getResult(0));
      auto type = cast<IntegerType>(getElementTypeOrSelf(op->getResult(0)));
      const unsigned width = type.getWidth();
      auto change = [&](Attribute bound) -> Attribute {
        const APInt value = cast<IntegerAttr>(bound).getValue();
        const int64_t old =
            type.isUnsigned() ? value.getZExtValue() : value.getSExtValue();
        const int64_t low =
            type.isUnsigned() ? 0 : -(int64_t(1) << (width - 1));
        const int64_t high = low + (int64_t(1) << width) - 1;
        const int64_t moved =
            zeroPoint + divideRounded(old - zeroPoint, factor);
        return IntegerAttr::get(type, APInt(width, std::clamp(moved, low, high),
                                            /*isSigned=*/!type.isUnsigned()));
      };
      clamp.setMinValAttr(cast<IntegerAttr>(change(clamp.getMinValAttr())));
      clamp.setMaxValAttr(cast<IntegerAttr>(change(clamp.getMaxValAttr())));
    }
    if (isByteTable(op)) {
      builder.setInsertionPoint(op);
      const int64_t zeroPoint = *network.getZeroPoint(op->getResult(0));
      op->setOperand(
          1, changeConstant(builder, op->getOperand(1), [&](int64_t entry) {
            return std::clamp<int64_t>(
                zeroPoint + divideRounded(entry - zeroPoint, factor), -128,
                127);
          }));
    }
    double total = std::exp2(factor);
    if (auto before = op->getAttrOfType<FloatAttr>(kFactorAttrName))
      total *= before.getValueAsDouble();
    op->setAttr(kFactorAttrName, builder.getF64FloatAttr(total));
    ++numAligned;
  }
}

} // namespace tosa_rescale
