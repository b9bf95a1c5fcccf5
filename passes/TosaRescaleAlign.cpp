//===- TosaRescaleAlign.cpp - change scales so that multipliers get narrow ===//
//
// Implements tosa-rescale-align.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AlignNetwork.h"
#include "Attributes.h"
#include "ConstantProduct.h"
#include "Constants.h"
#include "Convolution.h"
#include "Diagnostics.h"
#include "LayerStatistics.h"
#include "MovedTables.h"
#include "Passes.h"
#include "ValueRange.h"

#include "llvm/Support/FormatVariadic.h"

#include <cmath>

#define DEBUG_TYPE "tosa-rescale-align"

using namespace mlir;

namespace tosa_rescale {

#define GEN_PASS_DEF_TOSARESCALEALIGNPASS
#include "Passes.h.inc"

namespace {

/// The multipliers of a function for the factors that were chosen.
struct Multipliers {
  /// Only of rescales that change.
  llvm::MapVector<Operation *, SmallVector<Scale>> scales;
  /// Rescales that must stay wide.
  DenseSet<Operation *> wide;
};

struct TosaRescaleAlignPass final
    : impl::TosaRescaleAlignPassBase<TosaRescaleAlignPass> {
  using Base::Base;

  LogicalResult initialize(MLIRContext *context) override;
  void runOnOperation() override;

private:
  /// Chooses factors and multipliers; pins what no legal shift can follow.
  Multipliers choose(AlignNetwork &network, ArrayRef<tosa::RescaleOp> rescales);
  /// Pins what tables read that cannot be written anew for the scale that was
  /// chosen; whether there were any.
  bool pinTables(AlignNetwork &network);
  /// Releases constants, and then inputs of tables, where multipliers stay wide
  /// for them, and holds in `releases` what left the fewest wide. Emits an
  /// error if an attribute makes no sense.
  LogicalResult release(const AlignOptions &options,
                        ArrayRef<tosa::RescaleOp> rescales, Releases &releases);
  /// Says why rescales stay wide, as an error if `strict`.
  LogicalResult reportWide(AlignNetwork &network,
                           ArrayRef<tosa::RescaleOp> rescales,
                           const DenseSet<Operation *> &wide);
  /// Gives everything but rescales the scales that were chosen.
  void moveScales(AlignNetwork &network);
  /// Makes multipliers behind products with constants narrow.
  LogicalResult absorbRatios(const AlignNetwork &network,
                             ArrayRef<tosa::RescaleOp> rescales);

  int64_t getWidth(tosa::RescaleOp op) {
    return **getSignificantBits(op, request);
  }

  BitsRequest request;
  /// Tables that cannot be written anew within `tableError`.
  DenseSet<Operation *> refused;
};

} // namespace

LogicalResult TosaRescaleAlignPass::initialize(MLIRContext *context) {
  const Location location = UnknownLoc::get(context);
  request = {bits, 0, hiddenBit, Scope::All};
  if (failed(checkBitsRequest(location, getArgument(), request, kMinBits)))
    return failure();
  if (!(clipping >= 0 && clipping <= 0.5))
    return emitError(location)
           << getArgument() << " requires option 'clipping' from 0 to 0.5, got "
           << llvm::formatv("{0}", double(clipping)).str();
  if (!(tableError >= 0))
    return emitError(location)
           << getArgument()
           << " requires option 'table-error' to be at least 0, got "
           << llvm::formatv("{0}", double(tableError)).str();
  return success();
}

//===----------------------------------------------------------------------===//
// Multipliers
//===----------------------------------------------------------------------===//

/// New scales of a rescale, or none if no legal shift expresses them. With
/// `bits` above 0 they get that width.
static std::optional<SmallVector<Scale>>
multiplyScales(tosa::RescaleOp op, double log2Factor, int64_t bits) {
  SmallVector<Scale> scales = *getScales(op);
  const int container = op.getScale32() ? kMultiplierBits32 : kMultiplierBits16;
  for (Scale &scale : scales) {
    std::optional<Scale> changed =
        multiplyScale(scale, log2Factor, container, bits);
    if (!changed)
      return std::nullopt;
    scale = *changed;
  }
  return scales;
}

bool TosaRescaleAlignPass::pinTables(AlignNetwork &network) {
  bool pinned = false;
  for (tosa::TableOp op : getOperation().getOps<tosa::TableOp>())
    if (network.getReleases().contains(op) && !isFunction(op) &&
        !network.isPinned(op.getInput1()) &&
        hasFactor(network.getLog2Factor(op.getInput1())) &&
        resample(network, op).error > tableError) {
      network.pin(op.getInput1(), "read by table");
      refused.insert(op);
      pinned = true;
    }
  return pinned;
}

Multipliers TosaRescaleAlignPass::choose(AlignNetwork &network,
                                         ArrayRef<tosa::RescaleOp> rescales) {
  Multipliers chosen;
  for (bool again = true; again;) {
    network.solve();
    again = pinTables(network);
    chosen.scales.clear();
    chosen.wide = network.getWide();
    for (tosa::RescaleOp op : rescales) {
      const double change = network.getLog2Factor(op.getInput()) -
                            network.getLog2Factor(op.getOutput());
      const bool still = !hasFactor(change);
      std::optional<SmallVector<Scale>> scales;
      if (!network.absorbsFactor(op) && !chosen.wide.contains(op) &&
          getScales(op)) {
        if (still && network.isPinned(op.getInput()) &&
            network.isPinned(op.getOutput()))
          continue;
        scales = multiplyScales(op, change, getWidth(op));
      } else if (still) {
        continue;
      } else {
        scales = multiplyScales(op, change, 0);
      }
      if (scales) {
        chosen.scales.insert({op, std::move(*scales)});
        continue;
      }
      for (Value value : {op.getInput(), op.getOutput()})
        if (!network.isPinned(value)) {
          network.pin(value, "no legal shift expresses a new multiplier");
          again = true;
        }
    }
  }
  return chosen;
}

LogicalResult TosaRescaleAlignPass::release(const AlignOptions &options,
                                            ArrayRef<tosa::RescaleOp> rescales,
                                            Releases &releases) {
  size_t fewest = rescales.size() + 1;
  refused.clear();
  Releases tried;
  for (Releases::Kind kind :
       {Releases::Kind::Constants, Releases::Kind::Tables}) {
    for (bool more = true; more;) {
      AlignNetwork network(getOperation(), options, tried);
      if (failed(network.build()))
        return failure();
      const Multipliers chosen = choose(network, rescales);
      if (chosen.wide.size() < fewest) {
        fewest = chosen.wide.size();
        releases = tried;
      }
      more = (kind == Releases::Kind::Constants || tableError > 0) &&
             tried.add(network, chosen.wide, kind);
    }
  }
  for (Operation *table : refused)
    releases.refuse(table);
  return success();
}

LogicalResult
TosaRescaleAlignPass::reportWide(AlignNetwork &network,
                                 ArrayRef<tosa::RescaleOp> rescales,
                                 const DenseSet<Operation *> &wide) {
  // What keeps its scale matters where a multiplier had to stay wide.
  for (tosa::RescaleOp op : rescales) {
    if (!wide.contains(op))
      continue;
    ++numWide;
    InFlightDiagnostic diagnostic = strict ? errorOn(op) : remarkOn(op);
    diagnostic << (strict ? "requires a multiplier of at most "
                          : "keeps a multiplier of more than ")
               << countSignificantBits(getWidth(op))
               << ": the scales that meet here contradict "
                  "each other";
    const auto pins = network.getPins(op);
    if (pins.empty())
      diagnostic << "; no tensor that they are tied to keeps its scale, but "
                    "around a circle of multipliers they do not cancel out";
    for (auto &[reason, count] : pins)
      diagnostic << "; " << count
                 << (count == 1 ? " tensor keeps its" : " tensors keep their")
                 << " scale: " << reason;
  }
  return failure(strict && !wide.empty());
}

//===----------------------------------------------------------------------===//
// Scales of tensors
//===----------------------------------------------------------------------===//

static int64_t divideRounded(int64_t value, double log2Factor) {
  return std::llround(static_cast<double>(value) * std::exp2(-log2Factor));
}

/// Moves the bounds in proportion about the zero point, within the type.
static void moveBounds(tosa::ClampOp clamp, int64_t zeroPoint,
                       double log2Factor, FloatAttr reach = {}) {
  auto type = cast<IntegerType>(getElementTypeOrSelf(clamp.getOutput()));
  const unsigned width = type.getWidth();
  const int64_t low = type.isUnsigned() ? 0 : -(int64_t(1) << (width - 1));
  const int64_t high = low + (int64_t(1) << width) - 1;
  auto change = [&](Attribute bound) {
    const APInt value = cast<IntegerAttr>(bound).getValue();
    int64_t distance =
        (type.isUnsigned() ? value.getZExtValue() : value.getSExtValue()) -
        zeroPoint;
    // A limit that its type cuts short moves further than what is left of it.
    if (reach && distance != 0)
      distance = std::copysign(
          std::min(std::round(reach.getValueAsDouble() / std::exp2(log2Factor)),
                   double(high - low)),
          distance);
    else
      distance = divideRounded(distance, log2Factor);
    const int64_t moved = zeroPoint + distance;
    return IntegerAttr::get(type, APInt(width, std::clamp(moved, low, high),
                                        /*isSigned=*/!type.isUnsigned()));
  };
  clamp.setMinValAttr(change(clamp.getMinValAttr()));
  clamp.setMaxValAttr(change(clamp.getMaxValAttr()));
}

/// A result that has more room than before would not saturate where it did, and
/// that is part of what the network computes: cuts it off there.
static void keepSaturation(OpBuilder &builder, AlignNetwork &network,
                           tosa::RescaleOp op) {
  const Value result = op.getOutput();
  const double log2Factor = network.getLog2Factor(result);
  const auto isClamp = [](Operation *user) { return isa<tosa::ClampOp>(user); };
  auto type = dyn_cast<IntegerType>(getElementTypeOrSelf(result));
  if (!(log2Factor > 0 && hasFactor(log2Factor)) || !type ||
      type.isUnsigned() || op.getOutputUnsigned() ||
      llvm::all_of(result.getUsers(), isClamp))
    return;
  builder.setInsertionPointAfter(op);
  const unsigned width = type.getWidth();
  auto clamp = tosa::ClampOp::create(
      builder, op.getLoc(), result.getType(), result,
      IntegerAttr::get(type, APInt::getSignedMinValue(width)),
      IntegerAttr::get(type, APInt::getSignedMaxValue(width)));
  moveBounds(clamp, *network.getZeroPoint(result), log2Factor);
  if (Attribute factor = op->getAttr(kFactorAttrName))
    clamp->setAttr(kFactorAttrName, factor);
  op.getOutput().replaceAllUsesExcept(clamp.getOutput(), clamp);
}

/// Writes `operand` at its new scale if it is a constant that has one.
static void moveConstant(AlignNetwork &network, OpOperand &operand) {
  const Value value = operand.get();
  const double factor = network.getLog2Factor(value);
  if (!hasFactor(factor))
    return;
  if (isMovableConstant(value) || isKernelConstant(value))
    scaleConstant(operand, isWide(value) ? 0 : *network.getZeroPoint(value),
                  factor);
}

void TosaRescaleAlignPass::moveScales(AlignNetwork &network) {
  OpBuilder builder(&getContext());
  SmallVector<Operation *> ops;
  getOperation().walk([&](Operation *op) { ops.push_back(op); });
  for (Operation *op : ops) {
    op->removeAttr(kClippingAttrName);
    op->removeAttr(kFixedFactorAttrName);
    if (isMovableTable(op))
      moveTable(network, cast<tosa::TableOp>(op));
    op->removeAttr(kFunctionAttrName);
    const auto reach =
        dyn_cast_or_null<FloatAttr>(op->removeAttr(kReachAttrName));
    if (const Convolution convolution = Convolution::match(op)) {
      const double factor = network.getLog2Factor(convolution.getInput());
      if (hasFactor(factor)) {
        scaleConstant(convolution.getBiasOperand(), /*zeroPoint=*/0, factor);
        scaleStatistics(op, std::exp2(-factor));
      }
      continue;
    }
    if (op->getNumResults() != 1 || isa<tosa::ConstOp>(op))
      continue;
    const Value result = op->getResult(0);
    for (OpOperand &operand : op->getOpOperands())
      moveConstant(network, operand);
    const double factor = network.getLog2Factor(result);
    if (!hasFactor(factor) || isWide(result))
      continue;
    if (auto clamp = dyn_cast<tosa::ClampOp>(op))
      moveBounds(clamp, *network.getZeroPoint(result), factor, reach);
    multiplyFactor(op, std::exp2(factor));
    ++numAligned;
  }
  // Last: what reads a clamp is known to the network by the rescale before it.
  if (!saturation || litert)
    return;
  SmallVector<tosa::RescaleOp> rescales;
  getOperation().walk([&](tosa::RescaleOp op) { rescales.push_back(op); });
  for (tosa::RescaleOp op : rescales)
    if (!isWide(op.getOutput()))
      keepSaturation(builder, network, op);
}

LogicalResult
TosaRescaleAlignPass::absorbRatios(const AlignNetwork &network,
                                   ArrayRef<tosa::RescaleOp> rescales) {
  OpBuilder builder(&getContext());
  std::optional<ValueRanges> ranges;
  bool anyFailed = false;
  for (tosa::RescaleOp op : rescales) {
    ConstantProduct product = ConstantProduct::match(op);
    if (!product || !network.absorbsFactor(op) ||
        significantBits(getScales(op)->front().multiplier) <= getWidth(op))
      continue;
    if (!ranges)
      ranges.emplace(getOperation());
    if (product.absorb(builder, *ranges, getWidth(op))) {
      ++numAbsorbed;
      continue;
    }
    ++numWide;
    anyFailed = strict;
    InFlightDiagnostic diagnostic = strict ? errorOn(op) : remarkOn(op);
    diagnostic << (strict ? "requires a multiplier of at most "
                          : "keeps a multiplier of more than ")
               << countSignificantBits(getWidth(op))
               << ": no legal shift expresses one beside the "
                  "constant that it is multiplied with";
    op->setAttr(kBitsAttrName, builder.getI64IntegerAttr(kMaxBits));
  }
  return failure(anyFailed);
}

void TosaRescaleAlignPass::runOnOperation() {
  func::FuncOp function = getOperation();
  const bool moves = constants && !litert;
  if (moves) {
    numFolded += foldConstantRescales(function);
    foldConstantReshapes(function);
    separateConstants(function);
  }
  SmallVector<tosa::RescaleOp> rescales;
  function.walk([&](tosa::RescaleOp op) { rescales.push_back(op); });
  const AlignOptions options = {request, clipping, litert, moves};
  Releases releases;
  if (failed(release(options, rescales, releases)))
    return signalPassFailure();
  AlignNetwork network(function, options, releases);
  if (failed(network.build()))
    return signalPassFailure();
  const Multipliers chosen = choose(network, rescales);
  if (failed(reportWide(network, rescales, chosen.wide)))
    return signalPassFailure();

  OpBuilder builder(&getContext());
  for (auto &[op, scales] : chosen.scales) {
    auto rescale = cast<tosa::RescaleOp>(op);
    if (setScales(builder, rescale, scales, rescale.getScale32(),
                  rescale.getRoundingMode()))
      ++numRewritten;
  }
  for (Operation *op : chosen.wide)
    if (!op->hasAttr(kBitsAttrName))
      op->setAttr(kBitsAttrName, builder.getI64IntegerAttr(kMaxBits));
  moveScales(network);
  if (failed(absorbRatios(network, rescales)))
    signalPassFailure();
}

} // namespace tosa_rescale
