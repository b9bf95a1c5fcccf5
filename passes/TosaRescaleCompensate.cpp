//===- TosaRescaleCompensate.cpp - fold multipliers into weights ----------===//
//
// Implements tosa-rescale-compensate.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Attributes.h"
#include "CompensatedLayer.h"
#include "Diagnostics.h"
#include "Passes.h"

#include "mlir/IR/Threading.h"
#include "llvm/Support/DebugLog.h"
#include "llvm/Support/FormatVariadic.h"

#include <cmath>

#define DEBUG_TYPE "tosa-rescale-compensate"

using namespace mlir;

namespace tosa_rescale {

#define GEN_PASS_DEF_TOSARESCALECOMPENSATEPASS
#include "Passes.h.inc"

namespace {

/// What one rescale is to become, and the layer behind it.
struct LayerPlan {
  RescalePlan rescale;
  /// None if only the multiplier is narrowed.
  std::unique_ptr<CompensatedLayer> layer;
  bool perChannel = false;
  DictionaryAttr report;

  /// Gives the weights up; the multiplier is narrowed all the same.
  void narrowOnly(const Twine &reason) {
    layer.reset();
    // Alignment may have left nothing to lose.
    if (!std::equal(rescale.scales.begin(), rescale.scales.end(),
                    rescale.oldScales.begin(), rescale.oldScales.end(),
                    isSameValue))
      remarkOn(rescale.op) << "narrowed only: " << reason;
  }
};

/// Counts channels that share a fate, and remembers the first.
struct ChannelCount {
  int64_t first = -1;
  int64_t count = 0;

  void add(int64_t channel) {
    if (count++ == 0)
      first = channel;
  }
  std::string getText() const {
    std::string text = " in channel " + std::to_string(first);
    if (count > 1)
      text += " and in " + std::to_string(count - 1) + " more";
    return text;
  }
};

/// What became of all channels of a layer.
struct LayerOutcome {
  explicit LayerOutcome(const CompensatedLayer &layer);

  ChannelCount zeros, overflows, stuck, unmatched;
  bool anyCompensated = false;
  double errorNearest = 0, error = 0;
  double ratioMin = HUGE_VAL, ratioMax = 0;
  int64_t changed = 0;
};

struct TosaRescaleCompensatePass final
    : impl::TosaRescaleCompensatePassBase<TosaRescaleCompensatePass> {
  using Base::Base;

  LogicalResult initialize(MLIRContext *context) override;
  void runOnOperation() override;

private:
  using StatisticsMap = DenseMap<Operation *, LayerStatistics>;

  /// The statistics of all convolutions that have some.
  FailureOr<StatisticsMap> readAllStatistics();
  FailureOr<std::vector<LayerPlan>> makePlans(const StatisticsMap &statistics);
  void solve(MutableArrayRef<LayerPlan> plans);
  /// Turns the channels' results into scales and remarks.
  void conclude(LayerPlan &plan);
  DictionaryAttr describe(const CompensatedLayer &layer,
                          const LayerOutcome &outcome);
  void apply(LayerPlan &plan);

  NarrowRequest request;
  LayerOptions layerOptions;
};

} // namespace

LogicalResult TosaRescaleCompensatePass::initialize(MLIRContext *context) {
  const Location location = UnknownLoc::get(context);
  request = {{bits, /*elementwiseBits=*/0, hiddenBit, Scope::Accumulator},
             encoding,
             roundingMode,
             MultiplierRounding::Nearest};
  layerOptions = {promote, clip, weightRounding, shrinkage};
  if (failed(checkNarrowRequest(location, getArgument(), request)))
    return failure();
  if (!(shrinkage >= 0 && shrinkage <= 1))
    return emitError(location)
           << getArgument() << " requires option 'shrinkage' from 0 to 1, got "
           << llvm::formatv("{0}", double(shrinkage)).str();
  return success();
}

//===----------------------------------------------------------------------===//
// Planning
//===----------------------------------------------------------------------===//

FailureOr<TosaRescaleCompensatePass::StatisticsMap>
TosaRescaleCompensatePass::readAllStatistics() {
  StatisticsMap result;
  bool anyFailed = false;
  getOperation().walk([&](Operation *op) {
    if (!hasStatistics(op))
      return;
    if (!useStatistics)
      return removeStatistics(op);
    const Convolution convolution = Convolution::match(op);
    if (!convolution) {
      errorOn(op) << "requires no input statistics: it is not a convolution";
      anyFailed = true;
      return;
    }
    FailureOr<LayerStatistics> statistics = readStatistics(convolution);
    if (failed(statistics))
      anyFailed = true;
    else
      result.try_emplace(op, std::move(*statistics));
  });
  if (anyFailed)
    return failure();
  return result;
}

FailureOr<std::vector<LayerPlan>>
TosaRescaleCompensatePass::makePlans(const StatisticsMap &statistics) {
  auto measured = [&](Operation *op) {
    auto it = statistics.find(op);
    return it == statistics.end() ? nullptr : &it->second;
  };
  std::vector<LayerPlan> plans;
  const FailureOr<int64_t> leftAlone =
      planRescales(getOperation(), request, [&](RescalePlan &&rescale) {
        LayerPlan &plan = plans.emplace_back();
        plan.rescale = std::move(rescale);
        plan.perChannel = plan.rescale.op.getPerChannel();
        std::string reason;
        plan.layer = CompensatedLayer::make(plan.rescale, layerOptions,
                                            measured, reason);
        if (!plan.layer)
          plan.narrowOnly(reason);
      });
  if (failed(leftAlone))
    return failure();
  numLeftAlone += *leftAlone;
  return plans;
}

//===----------------------------------------------------------------------===//
// Solving
//===----------------------------------------------------------------------===//

void TosaRescaleCompensatePass::solve(MutableArrayRef<LayerPlan> plans) {
  // Channels are independent of one another, so the result does not depend on
  // who computes them. A few at a time: a depthwise channel is nothing.
  struct Job {
    LayerPlan *plan;
    int64_t first, last;
  };
  auto addJobs = [](std::vector<Job> &jobs, LayerPlan &plan) {
    const int64_t channels = plan.layer->getChannels();
    const int64_t step = std::max<int64_t>(1, 16384 / plan.layer->getTaps());
    for (int64_t first = 0; first < channels; first += step)
      jobs.push_back({&plan, first, std::min(first + step, channels)});
  };
  auto run = [&](ArrayRef<Job> jobs) {
    parallelForEach(&getContext(), jobs, [](const Job &job) {
      job.plan->layer->solve(job.plan->rescale.oldScales, job.first, job.last);
    });
  };
  std::vector<Job> jobs, again;
  for (LayerPlan &plan : plans)
    if (plan.layer)
      addJobs(jobs, plan);
  run(jobs);

  for (LayerPlan &plan : plans)
    if (plan.layer && plan.layer->isBetterToNearest()) {
      plan.layer->rules.rounding = WeightRounding::Nearest;
      addJobs(again, plan);
    }
  run(again);
}

LayerOutcome::LayerOutcome(const CompensatedLayer &layer) {
  for (auto [c, result] : llvm::enumerate(layer.results)) {
    switch (result.outcome) {
    case Outcome::Kept:
      break;
    case Outcome::Compensated:
      anyCompensated = true;
      ratioMin = std::min(ratioMin, result.ratio);
      ratioMax = std::max(ratioMax, result.ratio);
      changed += result.changed;
      errorNearest += result.errorNearest / layer.getChannels();
      error += result.error / layer.getChannels();
      break;
    case Outcome::ZeroMultiplier:
      zeros.add(c);
      break;
    case Outcome::BiasOverflow:
      overflows.add(c);
      break;
    case Outcome::NoShift:
      stuck.add(c);
      break;
    }
    if (result.outcome != Outcome::Compensated &&
        result.outcome != Outcome::NoShift && !layer.canKeepWeights(c))
      unmatched.add(c);
  }
}

void TosaRescaleCompensatePass::conclude(LayerPlan &plan) {
  CompensatedLayer &layer = *plan.layer;
  RescalePlan &rescale = plan.rescale;
  const LayerOutcome outcome(layer);
  const ChannelCount &overflows = outcome.overflows;
  const std::string overflowText =
      overflows.count == 0
          ? ""
          : "requires an accumulator that fits " +
                llvm::formatv("{0}",
                              getElementTypeOrSelf(rescale.op.getInput()))
                    .str() +
                ", got a bias of " +
                std::to_string(layer.results[overflows.first].bias) +
                overflows.getText();
  if (outcome.zeros.count != 0)
    remarkOn(rescale.op) << "left alone: a multiplier of 0"
                         << outcome.zeros.getText();
  if (outcome.stuck.count != 0)
    return plan.narrowOnly("no legal shift expresses the multiplier" +
                           outcome.stuck.getText());
  // One multiplier for all: either every channel follows it, or none.
  if (!layer.rules.fill && overflows.count != 0)
    return plan.narrowOnly(overflowText);
  if (overflows.count != 0)
    remarkOn(rescale.op) << "narrowed only: " << overflowText;
  if (!outcome.anyCompensated) {
    plan.layer.reset();
    return;
  }
  if (outcome.unmatched.count != 0)
    return plan.narrowOnly(
        "requires weights that fit i8 with a zero point of 0" +
        outcome.unmatched.getText());

  SmallVector<Scale> scales;
  for (auto [c, result] : llvm::enumerate(layer.results)) {
    if (result.outcome == Outcome::Compensated ||
        result.outcome == Outcome::Kept)
      scales.push_back(result.scale);
    else
      scales.push_back(rescale.scales.size() == 1 ? rescale.scales.front()
                                                  : rescale.scales[c]);
  }
  if (layer.rules.fill) {
    rescale.scales = std::move(scales);
    plan.perChannel = true;
  } else {
    rescale.scales.assign(1, scales.front());
  }
  plan.report = describe(layer, outcome);
}

DictionaryAttr
TosaRescaleCompensatePass::describe(const CompensatedLayer &layer,
                                    const LayerOutcome &outcome) {
  Builder builder(&getContext());
  SmallVector<NamedAttribute> entries = {
      builder.getNamedAttr("ratio_min",
                           builder.getF64FloatAttr(outcome.ratioMin)),
      builder.getNamedAttr("ratio_max",
                           builder.getF64FloatAttr(outcome.ratioMax)),
      builder.getNamedAttr("weights_changed",
                           builder.getI64IntegerAttr(outcome.changed))};
  if (layer.hasMoments()) {
    entries.push_back(builder.getNamedAttr(
        "error_nearest", builder.getF64FloatAttr(outcome.errorNearest)));
    entries.push_back(
        builder.getNamedAttr("error", builder.getF64FloatAttr(outcome.error)));
  }
  return builder.getDictionaryAttr(entries);
}

void TosaRescaleCompensatePass::apply(LayerPlan &plan) {
  OpBuilder builder(&getContext());
  tosa::RescaleOp op = plan.rescale.op;
  if (plan.layer) {
    plan.layer->apply(builder);
    op.setPerChannel(plan.perChannel);
    op->setAttr(kCompensatedAttrName, plan.report);
    ++numCompensated;
  }
  if (plan.rescale.apply(builder) && !plan.layer)
    ++numNarrowed;
  LDBG() << "became " << op;
}

void TosaRescaleCompensatePass::runOnOperation() {
  // Both, so that one run tells of all errors.
  const StatisticsMap none;
  FailureOr<StatisticsMap> statistics = readAllStatistics();
  FailureOr<std::vector<LayerPlan>> plans =
      makePlans(succeeded(statistics) ? *statistics : none);
  if (failed(statistics) || failed(plans))
    return signalPassFailure();

  solve(*plans);
  for (LayerPlan &plan : *plans)
    if (plan.layer)
      conclude(plan);
  for (LayerPlan &plan : *plans)
    apply(plan);
  for (auto &[op, measured] : *statistics)
    removeStatistics(op);
}

} // namespace tosa_rescale
