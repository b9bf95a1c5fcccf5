//===- AlignerGrids.cpp - fewer bits where a circle needs them ------------===//
//
// Implements of Aligner.h what decides how many bits each multiplier uses.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Aligner.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace tosa_rescale {

/// How often the search may solve the whole problem again.
static constexpr int kMaxSolutions = 32;

//===----------------------------------------------------------------------===//
// What a wide multiplier depends on
//===----------------------------------------------------------------------===//

const std::map<int, double> &Aligner::getCoefficients(int tensor) {
  const auto [entry, isNew] = coefficients.try_emplace(tensor);
  std::map<int, double> &sum = entry->second;
  // One that is not new may be unfinished: a circle of products, which is cut
  // there.
  if (!isNew)
    return sum;
  const auto add = [&](int other) {
    for (auto [edge, coefficient] : getCoefficients(other))
      sum[edge] += coefficient;
  };
  if (const int edge = reachedBy[tensor]; edge >= 0) {
    add(other(edge, tensor));
    sum[edge] += problem.edges[edge].to == tensor ? -1 : 1;
  } else if (productOf[tensor] >= 0) {
    add(problem.products[productOf[tensor]].first);
    add(problem.products[productOf[tensor]].second);
  }
  return sum;
}

std::vector<int> Aligner::findCauses(int edge) {
  std::map<int, double> sum = getCoefficients(problem.edges[edge].from);
  for (auto [cause, coefficient] : getCoefficients(problem.edges[edge].to))
    sum[cause] -= coefficient;
  std::vector<int> causes;
  for (auto [cause, coefficient] : sum)
    if (coefficient != 0)
      causes.push_back(cause);
  return causes;
}

//===----------------------------------------------------------------------===//
// Grids
//===----------------------------------------------------------------------===//

namespace {

/// Solves one problem with several grids, and keeps the best solution.
class GridSearch {
public:
  explicit GridSearch(const AlignmentProblem &problem) : problem(problem) {
    for (const AlignedEdge &edge : problem.edges)
      grid.push_back(edge.bits);
    coarse = grid;
    solve(grid, /*isBetter=*/[](int, double) { return true; });
  }

  /// Gives multipliers that wide ones depend on one bit, until none is wide.
  void coarsen();
  /// Gives `edges` their bits back, all or some, as far as that costs nothing.
  void refine(const std::vector<int> &edges);

  /// Edges with fewer bits than they may have.
  std::vector<int> findCoarse() const {
    std::vector<int> found;
    for (int i = 0, e = grid.size(); i < e; ++i)
      if (grid[i] < problem.edges[i].bits)
        found.push_back(i);
    return found;
  }
  const Alignment &getBest() const { return best; }

private:
  /// Solves with `tried`, and keeps that if it is better.
  bool solve(const std::vector<int> &tried,
             const std::function<bool(int wide, double cost)> &isBetter);

  const AlignmentProblem &problem;
  /// Of the best solution, and of the last one.
  std::vector<int> grid, coarse;
  Alignment best;
  int wide = 0, solutions = 0;
  double cost = 0;
  /// What the wide edges of the last solution depend on.
  std::set<int> causes;
};

} // namespace

bool GridSearch::solve(
    const std::vector<int> &tried,
    const std::function<bool(int wide, double cost)> &isBetter) {
  ++solutions;
  Aligner aligner(problem, tried);
  const Alignment found = aligner.run();
  causes.clear();
  for (int i = 0, e = problem.edges.size(); i < e; ++i)
    if (!found.narrow[i])
      for (int cause : aligner.findCauses(i))
        if (tried[cause] > 1)
          causes.insert(cause);
  if (!isBetter(aligner.countWide(), aligner.getCost()))
    return false;
  best = found;
  grid = tried;
  wide = aligner.countWide();
  cost = aligner.getCost();
  return true;
}

void GridSearch::coarsen() {
  const auto hasFewerWide = [&](int now, double) { return now < wide; };
  while (wide > 0 && !causes.empty() && solutions < kMaxSolutions) {
    for (int cause : causes)
      coarse[cause] = 1;
    solve(coarse, hasFewerWide);
  }
  // Another tree than that of one bit may still be in the way.
  if (wide > 0)
    solve(std::vector<int>(grid.size(), 1), hasFewerWide);
}

void GridSearch::refine(const std::vector<int> &edges) {
  if (edges.empty() || solutions >= kMaxSolutions)
    return;
  std::vector<int> tried = grid;
  for (int edge : edges)
    tried[edge] = problem.edges[edge].bits;
  if (solve(tried,
            [&](int now, double error) {
              return now <= wide && error <= cost;
            }) ||
      edges.size() == 1)
    return;
  const auto middle = edges.begin() + edges.size() / 2;
  refine({edges.begin(), middle});
  refine({middle, edges.end()});
}

Alignment alignOnGrids(const AlignmentProblem &problem) {
  GridSearch search(problem);
  search.coarsen();
  search.refine(search.findCoarse());
  return search.getBest();
}

} // namespace tosa_rescale
