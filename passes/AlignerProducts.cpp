//===- AlignerProducts.cpp - factors that products lead to ----------------===//
//
// Implements of Aligner.h what follows the factors of products.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Aligner.h"

#include <algorithm>

namespace tosa_rescale {

void Aligner::multiplyFactors() {
  for (const AlignedProduct &product : problem.products)
    if (productOf[product.out] >= 0)
      factors[product.out] = factors[product.first] + factors[product.second];
}

std::vector<int> Aligner::findFollowers(int index) const {
  std::vector<int> found = {index};
  for (size_t i = 0; i < found.size(); ++i)
    for (const AlignedProduct &product : problem.products)
      if (productOf[product.out] >= 0 && (group[product.first] == found[i] ||
                                          group[product.second] == found[i]))
        for (int edge : edgesOf[product.out]) {
          const int next = group[other(edge, product.out)];
          if (next >= 0 &&
              std::find(found.begin(), found.end(), next) == found.end())
            found.push_back(next);
        }
  found.erase(found.begin());
  return found;
}

double Aligner::moveConstant(int index, const std::vector<int> &followers,
                             double factor) {
  double cost = 0;
  auto follow = [&](int each) {
    const std::vector<int> &members = groups[each];
    for (int member : members)
      decided[member] = false;
    spread(members, rootsOf[each]);
    for (int member : members)
      decided[member] = true;
    cost += getCost(members);
    multiplyFactors();
  };
  factors[rootsOf[index][0]] = factor;
  follow(index);
  for (int next : followers)
    follow(next);
  return cost;
}

void Aligner::refine(int index) {
  const std::vector<int> followers = findFollowers(index);
  if (followers.empty())
    return;
  const int root = rootsOf[index][0];
  std::vector<int> edges = groupEdges[index];
  for (int next : followers)
    edges.insert(edges.end(), groupEdges[next].begin(), groupEdges[next].end());
  const std::pair<int, int> wide = countWide(edges);
  const double before = factors[root];
  std::vector<double> candidates;
  for (int step = 0; step < kOctaveSteps; ++step)
    candidates.push_back(static_cast<double>(step) / kOctaveSteps);
  // Where one of those that follow is at its lowest: a square moves by twice as
  // much as the tensor that is squared.
  for (int next : followers)
    for (int member : groups[next])
      for (double move : {1.0, 0.5})
        for (double half : {0.0, 0.5})
          candidates.push_back(before + half +
                               move * (lowest(member) - factors[member]));
  double best = moveConstant(index, followers, before), chosen = before;
  for (double candidate : candidates) {
    const double factor = chooseOctave(root, candidate);
    const double cost = moveConstant(index, followers, factor);
    if (cost < best * (1 - 1e-9) && countWide(edges) <= wide) {
      best = cost;
      chosen = factor;
    }
  }
  moveConstant(index, followers, chosen);
}

bool Aligner::isSpare(int operand, const AlignedProduct &product) const {
  // Nothing else may depend on it.
  const auto isRead = [&](const AlignedProduct &each) {
    return each.first == operand || each.second == operand;
  };
  return isFree(operand) && edgesOf[operand].empty() &&
         product.first != product.second &&
         std::count_if(problem.products.begin(), problem.products.end(),
                       isRead) == 1;
}

bool Aligner::isRepairable(int tensor) const {
  if (productOf[tensor] < 0)
    return false;
  const AlignedProduct &product = problem.products[productOf[tensor]];
  return isSpare(product.first, product) || isSpare(product.second, product);
}

void Aligner::repair(const AlignedProduct &product) {
  for (int edge : edgesOf[product.out]) {
    if (problem.edges[edge].from != product.out || isNarrowNow(edge))
      continue;
    for (int operand : {product.first, product.second}) {
      if (!isSpare(operand, product))
        continue;
      const double rest = getMultiplier(edge) - factors[operand];
      factors[operand] = chooseOnGrid(operand, grid[edge], rest, /*end=*/false,
                                      [](double, bool) { return true; });
      factors[product.out] = factors[product.first] + factors[product.second];
      break;
    }
  }
}

} // namespace tosa_rescale
