//===- Releases.cpp - what gives up its scale where multipliers need it ---===//
//
// Implements Releases.h.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Releases.h"

#include "AlignNetwork.h"
#include "Constants.h"
#include "WeightedMean.h"

#include "mlir/Dialect/Tosa/IR/TosaOps.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;

namespace tosa_rescale {

static bool isOfKind(Operation *holder, Releases::Kind kind) {
  if (isa<tosa::ConstOp>(holder))
    return kind == Releases::Kind::Constants;
  if (isa<tosa::TableOp>(holder))
    return kind == Releases::Kind::Tables;
  if (isa<tosa::ReduceSumOp>(holder))
    return kind == Releases::Kind::Means;
  return kind == Releases::Kind::WideChains || kind == Releases::Kind::Chains;
}

bool Releases::add(AlignNetwork &network, const DenseSet<Operation *> &wide,
                   Kind kind) {
  llvm::SetVector<Operation *> found;
  const auto collect = [&](tosa::RescaleOp op) -> SmallVector<Operation *> {
    if (kind == Kind::WideChains)
      return network.getChainRoots(op);
    if (kind != Kind::Means)
      return network.getHolders(op);
    SmallVector<Operation *> sums;
    for (const WeightedMean &mean : network.getMeans(op))
      if (mean.getObstacle().empty())
        sums.push_back(mean.getSum());
    return sums;
  };
  for (Operation *op : wide)
    for (Operation *holder : collect(cast<tosa::RescaleOp>(op)))
      if (isOfKind(holder, kind) && !ops.contains(holder))
        found.insert(holder);
  for (Operation *holder : found) {
    ops.insert(holder);
    if (kind == Kind::Constants)
      for (Operation *own : separateUses(holder))
        ops.insert(own);
  }
  return !found.empty();
}

} // namespace tosa_rescale
