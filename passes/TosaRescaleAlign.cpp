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
#include "Diagnostics.h"
#include "MovedScales.h"
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

/// Of a step: what rounding a multiplier may move a result by for it to count
/// as narrow. Rounding the result moves it by up to half a step.
constexpr double kNearlyNarrow = 1.0 / 16;

/// The multipliers of a function for the factors that were chosen.
struct Multipliers {
  /// Only of rescales that change.
  llvm::MapVector<Operation *, SmallVector<Scale>> scales;
  /// Rescales that must stay wide.
  DenseSet<Operation *> wide;
};

/// A function as a problem, and its multipliers.
struct Solution {
  std::shared_ptr<AlignNetwork> network;
  Multipliers chosen;
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
  /// Reads the function and chooses. Emits an error if an attribute makes no
  /// sense.
  FailureOr<Solution> solve(const AlignOptions &options,
                            const Releases &releases,
                            ArrayRef<tosa::RescaleOp> rescales);
  /// Releases constants, inputs of tables and then means, where multipliers
  /// stay wide for them; the solution with the fewest wide ones.
  FailureOr<Solution> release(const AlignOptions &options,
                              ArrayRef<tosa::RescaleOp> rescales);
  /// Says why rescales stay wide, as an error if `strict`.
  LogicalResult reportWide(AlignNetwork &network,
                           ArrayRef<tosa::RescaleOp> rescales,
                           const DenseSet<Operation *> &wide);
  /// Makes multipliers behind products with constants, and behind means that
  /// are released, narrow.
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

/// Whether narrow multipliers give the results of the exact ones but for less
/// than kNearlyNarrow of a step of the narrower end.
static bool areNearlyNarrow(tosa::RescaleOp op, ArrayRef<Scale> exact,
                            ArrayRef<Scale> narrow) {
  const unsigned bits =
      std::min(getElementTypeOrSelf(op.getInput()).getIntOrFloatBitWidth(),
               getElementTypeOrSelf(op.getOutput()).getIntOrFloatBitWidth());
  constexpr unsigned kWidest = 16; // more bits are no values of a tensor's own
  if (bits > kWidest)
    return false;
  const double miss = std::ldexp(kNearlyNarrow, -static_cast<int>(bits));
  return llvm::all_of(llvm::zip_equal(exact, narrow), [&](auto pair) {
    auto [from, to] = pair;
    const double before = std::ldexp(from.multiplier, -from.shift);
    return std::abs(std::ldexp(to.multiplier, -to.shift) - before) <=
           miss * before;
  });
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
      // LiteRT derives multipliers from scales, and would not round them.
      bool isRounded = false;
      if (!litert && chosen.wide.contains(op) && !network.absorbsFactor(op)) {
        const auto exact = multiplyScales(op, change, 0);
        const auto narrow = multiplyScales(op, change, getWidth(op));
        isRounded = exact && narrow && areNearlyNarrow(op, *exact, *narrow);
        if (isRounded)
          chosen.wide.erase(op);
      }
      if (!network.absorbsFactor(op) && !chosen.wide.contains(op) &&
          getScales(op)) {
        if (still && !isRounded && network.isPinned(op.getInput()) &&
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

FailureOr<Solution>
TosaRescaleAlignPass::solve(const AlignOptions &options,
                            const Releases &releases,
                            ArrayRef<tosa::RescaleOp> rescales) {
  auto network =
      std::make_shared<AlignNetwork>(getOperation(), options, releases);
  if (failed(network->build()))
    return failure();
  Multipliers chosen = choose(*network, rescales);
  return Solution{std::move(network), std::move(chosen)};
}

FailureOr<Solution>
TosaRescaleAlignPass::release(const AlignOptions &options,
                              ArrayRef<tosa::RescaleOp> rescales) {
  refused.clear();
  Releases tried, kept;
  FailureOr<Solution> last = solve(options, tried, rescales), best = last;
  // A solution knows the constants that there were.
  bool isStale = false;
  for (Releases::Kind kind :
       {Releases::Kind::Constants, Releases::Kind::WideChains,
        Releases::Kind::Chains, Releases::Kind::Tables,
        Releases::Kind::Means}) {
    const bool isConstant = kind == Releases::Kind::Constants;
    if (!isStale && succeeded(last)) {
      last = best;
      tried = kept;
    }
    while (succeeded(last) &&
           (kind != Releases::Kind::Tables || tableError > 0) &&
           (kind != Releases::Kind::Means || weightedMeans) &&
           tried.add(*last->network, last->chosen.wide, kind)) {
      isStale |= isConstant;
      last = solve(options, tried, rescales);
      if (failed(last) || last->chosen.wide.size() >= best->chosen.wide.size())
        continue;
      best = last;
      kept = tried;
      isStale = false;
    }
  }
  if (failed(last) || (!isStale && refused.empty()))
    return failed(last) ? last : best;
  for (Operation *table : refused)
    kept.refuse(table);
  return solve(options, kept, rescales);
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
    diagnostic << network.describeMeans(op, weightedMeans);
  }
  return failure(strict && !wide.empty());
}

//===----------------------------------------------------------------------===//
// The module with them
//===----------------------------------------------------------------------===//

LogicalResult
TosaRescaleAlignPass::absorbRatios(const AlignNetwork &network,
                                   ArrayRef<tosa::RescaleOp> rescales) {
  OpBuilder builder(&getContext());
  std::optional<ValueRanges> ranges;
  bool anyFailed = false;
  const auto leaveWide = [&](tosa::RescaleOp op, StringRef companion) {
    ++numWide;
    anyFailed = strict;
    InFlightDiagnostic diagnostic = strict ? errorOn(op) : remarkOn(op);
    diagnostic << (strict ? "requires a multiplier of at most "
                          : "keeps a multiplier of more than ")
               << countSignificantBits(getWidth(op))
               << ": no legal shift expresses one beside " << companion;
    op->setAttr(kBitsAttrName, builder.getI64IntegerAttr(kMaxBits));
  };
  for (tosa::RescaleOp op : rescales) {
    ConstantProduct product = ConstantProduct::match(op);
    if (!product || !network.absorbsFactor(op) ||
        significantBits(getScales(op)->front().multiplier) <= getWidth(op))
      continue;
    if (!ranges)
      ranges.emplace(getOperation());
    if (product.absorb(builder, *ranges, getWidth(op)))
      ++numAbsorbed;
    else
      leaveWide(op, "the constant that it is multiplied with");
  }
  for (const WeightedMean &mean : network.getWeightedMeans())
    if (mean.apply(builder))
      ++numWeighted;
    else
      leaveWide(mean.getRescale(), "the weights of its mean");
  return failure(anyFailed);
}

void TosaRescaleAlignPass::runOnOperation() {
  func::FuncOp function = getOperation();
  const bool moves = constants && !litert;
  if (moves) {
    numFolded += foldConstantRescales(function);
    foldConstantReshapes(function, ReshapeUse::Shared);
    separateConstants(function);
  }
  SmallVector<tosa::RescaleOp> rescales;
  function.walk([&](tosa::RescaleOp op) { rescales.push_back(op); });
  const AlignOptions options = {request, clipping, litert, moves, tabulate};
  FailureOr<Solution> solution = release(options, rescales);
  // A product with a constant of its own takes up any multiplier, but rounds
  // the constant anew.
  if (succeeded(solution) && moves && !solution->chosen.wide.empty() &&
      foldConstantReshapes(function, ReshapeUse::Product))
    solution = release(options, rescales);
  if (failed(solution))
    return signalPassFailure();
  AlignNetwork &network = *solution->network;
  const Multipliers &chosen = solution->chosen;
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
  numAligned += moveScales(network, function, saturation && !litert);
  if (failed(absorbRatios(network, rescales)))
    signalPassFailure();
}

} // namespace tosa_rescale
