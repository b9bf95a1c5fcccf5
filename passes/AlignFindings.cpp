//===- AlignFindings.cpp - what an alignment found ------------------------===//
//
// Implements the part of AlignNetwork.h that says what solve() found.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AlignNetwork.h"

using namespace mlir;

namespace tosa_rescale {

double AlignNetwork::getLog2Factor(Value value) {
  auto found = ids.find(value);
  return found == ids.end() ? 0 : result.log2Factors[tensorOf(found->second)];
}

std::optional<int64_t> AlignNetwork::getZeroPoint(Value value) {
  auto found = zeroPoints.find(getClass(value));
  return found == zeroPoints.end() ? std::nullopt : found->second;
}

DenseSet<Operation *> AlignNetwork::getWide() const {
  DenseSet<Operation *> wide;
  for (auto [op, narrow] : llvm::zip_equal(origins, result.narrow))
    if (!narrow)
      wide.insert(op);
  return wide;
}

llvm::SetVector<int> AlignNetwork::findTied(tosa::RescaleOp op) {
  llvm::SetVector<int> tied;
  tied.insert(tensorOf(getClass(op.getInput())));
  tied.insert(tensorOf(getClass(op.getOutput())));
  for (size_t i = 0; i < tied.size(); ++i) {
    if (problem.tensors[tied[i]].pinned)
      continue;
    for (const AlignedEdge &edge : problem.edges)
      if (edge.from == tied[i] || edge.to == tied[i])
        tied.insert(edge.from == tied[i] ? edge.to : edge.from);
  }
  return tied;
}

llvm::MapVector<StringRef, unsigned> AlignNetwork::getPins(tosa::RescaleOp op) {
  SmallVector<StringRef> reasonOf(problem.tensors.size());
  for (auto &[root, tensor] : tensors)
    if (auto found = reasons.find(root); found != reasons.end())
      reasonOf[tensor] = found->second;
  llvm::SetVector<int> tied = findTied(op);
  // A product has the scale of its factors.
  for (const AlignedProduct &product : problem.products)
    if (tied.contains(product.out))
      for (int factor : {product.first, product.second})
        if (problem.tensors[factor].pinned)
          tied.insert(factor);
  llvm::MapVector<StringRef, unsigned> pinned;
  for (int tensor : tied)
    if (problem.tensors[tensor].pinned)
      ++pinned[reasonOf[tensor]];
  return pinned;
}

SmallVector<Operation *> AlignNetwork::getHolders(tosa::RescaleOp op) {
  llvm::SetVector<int> tied = findTied(op);
  // A product has the scale of its factors, and so of the tables that make
  // them.
  if (options.tabulate)
    for (const AlignedProduct &product : problem.products)
      if (tied.contains(product.out)) {
        tied.insert(product.first);
        tied.insert(product.second);
      }
  SmallVector<Operation *> found;
  for (auto [value, holder] : holders)
    if (tied.contains(tensorOf(getClass(value))))
      found.push_back(holder);
  return found;
}

llvm::IntEqClasses AlignNetwork::findGroups(tosa::RescaleOp without,
                                            bool joinsPinned) const {
  const auto pinned = static_cast<unsigned>(problem.tensors.size());
  llvm::IntEqClasses groups(pinned + 1);
  for (auto [edge, origin] : llvm::zip_equal(problem.edges, origins))
    if (origin != without)
      groups.join(edge.from, edge.to);
  for (const AlignedProduct &product : problem.products) {
    groups.join(product.first, product.out);
    groups.join(product.second, product.out);
  }
  for (auto [tensor, about] : llvm::enumerate(problem.tensors))
    if (joinsPinned && about.pinned)
      groups.join(tensor, pinned);
  return groups;
}

SmallVector<WeightedMean> AlignNetwork::getMeans(tosa::RescaleOp op) {
  const llvm::IntEqClasses groups =
      findGroups(/*without=*/{}, /*joinsPinned=*/false);
  const unsigned group = groups.findLeader(tensorOf(getClass(op.getInput())));
  SmallVector<WeightedMean> found;
  for (const WeightedMean &mean : means) {
    tosa::RescaleOp rescale = mean.getRescale();
    const int from = tensorOf(getClass(rescale.getInput())),
              to = tensorOf(getClass(rescale.getOutput()));
    if (absorbsFactor(rescale) || groups.findLeader(from) != group)
      continue;
    // Something else ties both ends too: it is on a circle.
    const llvm::IntEqClasses others = findGroups(rescale, /*joinsPinned=*/true);
    if (others.findLeader(from) == others.findLeader(to))
      found.push_back(mean);
  }
  return found;
}

std::string AlignNetwork::describeMeans(tosa::RescaleOp op, bool areWeighted) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  const SmallVector<WeightedMean> found = getMeans(op);
  const auto *able = llvm::find_if(found, [](const WeightedMean &mean) {
    return mean.getObstacle().empty();
  });
  if (able != found.end() && !areWeighted)
    stream << "; option 'weighted-means' frees the multiplier of the mean of "
           << able->getCount() << " values among them";
  else if (able == found.end() && !found.empty() && areWeighted)
    stream << "; the mean of " << found.front().getCount()
           << " values among them gets no weights: it "
           << found.front().getObstacle();
  return text;
}

SmallVector<WeightedMean> AlignNetwork::getWeightedMeans() const {
  SmallVector<WeightedMean> found;
  for (const WeightedMean &mean : means)
    if (releases.contains(mean.getSum()))
      found.push_back(mean);
  return found;
}

} // namespace tosa_rescale
