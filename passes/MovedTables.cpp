//===- MovedTables.cpp - tables of a function for other scales ------------===//
//
// Implements MovedTables.h.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MovedTables.h"

#include "AlignNetwork.h"
#include "Attributes.h"
#include "Constants.h"
#include "Diagnostics.h"

#include "llvm/Support/FormatVariadic.h"

#include <cmath>

using namespace mlir;

namespace tosa_rescale {

static bool hasBytes(Operation *op) {
  return getElementTypeOrSelf(op->getResult(0)).isInteger(8);
}

static std::vector<int64_t> getEntries(tosa::TableOp op) {
  const SmallVector<int64_t> entries = *getConstantIntegers(op.getTable());
  return {entries.begin(), entries.end()};
}

bool isMovableTable(Operation *op) {
  auto table = dyn_cast<tosa::TableOp>(op);
  if (!table || isa<BlockArgument>(table.getTable()))
    return false;
  const auto entries = getConstantIntegers(table.getTable());
  return entries && ((hasBytes(op) && entries->size() == 256) ||
                     (getElementTypeOrSelf(table.getOutput()).isInteger(32) &&
                      entries->size() == 513));
}

bool isFunction(Operation *op) { return op->hasAttr(kFunctionAttrName); }

std::string whyInputStays(AlignNetwork &network, Operation *op) {
  if (isFunction(op))
    return "";
  if (network.isLitert())
    return "read by table";
  const bool refused = network.getReleases().isRefused(op);
  if (!refused &&
      (!hasBytes(op) || isMonotone(getEntries(cast<tosa::TableOp>(op)))))
    return "";
  auto name = op->getLoc()->findInstanceOf<NameLoc>();
  return "read by a table" +
         (name ? " (" + name.getName().str() + ")" : std::string()) +
         (refused ? " that cannot be written anew within 'table-error'"
                  : " that is not monotone");
}

ResampledTable resample(AlignNetwork &network, tosa::TableOp op) {
  const double input = network.getLog2Factor(op.getInput1()),
               output = network.getLog2Factor(op.getOutput());
  if (!hasBytes(op))
    return resampleTable(getEntries(op), input, output);
  return interpolateTable(getEntries(op),
                          {input, output,
                           network.getZeroPoint(op.getInput1()).value_or(0),
                           network.getZeroPoint(op.getOutput()).value_or(0)});
}

void moveTable(AlignNetwork &network, tosa::TableOp op) {
  const double input = network.getLog2Factor(op.getInput1()),
               output = network.getLog2Factor(op.getOutput());
  if (!hasFactor(input) && !hasFactor(output))
    return;
  if (!hasFactor(input) && !hasBytes(op)) {
    scaleConstant(op->getOpOperand(1), /*zeroPoint=*/0, output);
    return;
  }
  const ResampledTable made = resample(network, op);
  if (hasFactor(input) && !isFunction(op))
    remarkOn(op) << "is " << (hasBytes(op) ? "interpolated" : "sampled anew")
                 << " for an input at "
                 << llvm::formatv("{0:F3}", std::exp2(input)).str()
                 << " times its scale; it differs by "
                 << llvm::formatv("{0:F2}", made.error).str()
                 << (hasBytes(op) ? " steps of its entries where entries are "
                                    "left out, and by "
                                  : " steps of its entries, and by ")
                 << llvm::formatv("{0:F2}", made.bound).str() << " at most";
  replaceConstant(op->getOpOperand(1), made.entries);
}

} // namespace tosa_rescale
