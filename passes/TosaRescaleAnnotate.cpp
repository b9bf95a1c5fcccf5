//===- TosaRescaleAnnotate.cpp - describe rescales ------------------------===//
//
// Implements tosa-rescale-annotate.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Attributes.h"
#include "Passes.h"
#include "RescaleRules.h"

using namespace mlir;

namespace tosa_rescale {

#define GEN_PASS_DEF_TOSARESCALEANNOTATEPASS
#include "Passes.h.inc"

namespace {

struct TosaRescaleAnnotatePass final
    : impl::TosaRescaleAnnotatePassBase<TosaRescaleAnnotatePass> {
  using Base::Base;

  void runOnOperation() override {
    ValueRanges ranges(getOperation());
    Builder builder(&getContext());
    getOperation().walk([&](tosa::RescaleOp op) {
      Operation *producer = getDataSource(op.getInput()).getDefiningOp();
      Interval whole = {std::numeric_limits<int64_t>::max(),
                        std::numeric_limits<int64_t>::min()};
      for (Interval interval : ranges.getScaledValue(op))
        whole = Interval::unite(whole, interval);

      SmallVector<Attribute> violations;
      for (const std::string &violation : findViolations(op, ranges))
        violations.push_back(builder.getStringAttr(violation));

      NamedAttrList info;
      info.set("producer",
               builder.getStringAttr(
                   producer ? producer->getName().stripDialect() : "argument"));
      info.set("scope", builder.getStringAttr(isAccumulatorOp(producer)
                                                  ? "accumulator"
                                                  : "elementwise"));
      info.set("value_min", builder.getI64IntegerAttr(whole.low));
      info.set("value_max", builder.getI64IntegerAttr(whole.high));
      info.set("violations", builder.getArrayAttr(violations));
      op->setAttr(kInfoAttrName, info.getDictionary(&getContext()));
    });
  }
};

} // namespace

} // namespace tosa_rescale
