//===- Diagnostics.cpp - where and how much, for people -------------------===//
//
// Implements Diagnostics.h.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Diagnostics.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tosa/IR/TosaOps.h"

using namespace mlir;

namespace tosa_rescale {

static bool hasLine(Location location) {
  auto file = location->findInstanceOf<FileLineColLoc>();
  return file && file.getLine() != 0;
}

StringRef getConvertedName(Location location) {
  auto name = location->findInstanceOf<NameLoc>();
  if (!name || hasLine(location))
    return "";
  return name.getName().getValue().split(';').first;
}

/// Where people find `op`: its line, else its name, else its position.
static Location getPlace(Operation *op) {
  Location location = op->getLoc();
  if (hasLine(location))
    return location;
  StringRef name = getConvertedName(location);
  if (!name.empty())
    return NameLoc::get(StringAttr::get(op->getContext(), name));
  auto function = op->getParentOfType<func::FuncOp>();
  if (!function || !isa<tosa::RescaleOp>(op))
    return location;
  size_t position = 0;
  function.walk([&](tosa::RescaleOp each) {
    if (each == op)
      return WalkResult::interrupt();
    ++position;
    return WalkResult::advance();
  });
  return NameLoc::get(
      StringAttr::get(op->getContext(), "rescale" + Twine(position)));
}

InFlightDiagnostic errorOn(Operation *op) {
  return emitError(getPlace(op)) << "'" << op->getName() << "' op ";
}

InFlightDiagnostic remarkOn(Operation *op) { return emitRemark(getPlace(op)); }

std::string countSignificantBits(int64_t bits) {
  return std::to_string(bits) + " significant bit" + (bits == 1 ? "" : "s");
}

} // namespace tosa_rescale
