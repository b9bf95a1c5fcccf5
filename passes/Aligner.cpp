//===- Aligner.cpp - the search for scales --------------------------------===//
//
// Implements Aligner.h.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Aligner.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tosa_rescale {

/// Exchanges of edges that the search for a smaller wide set tries.
static constexpr int kMaxExchanges = 4096;

static bool isNarrow(double log2Scale, int bits) {
  return std::abs(log2Scale - narrowLog2(log2Scale, bits)) <
         kAlignmentTolerance;
}

Aligner::Aligner(const AlignmentProblem &problem, std::vector<int> grid)
    : problem(problem), grid(std::move(grid)),
      factors(problem.tensors.size(), 0),
      decided(problem.tensors.size(), false),
      reached(problem.tensors.size(), false),
      productOf(problem.tensors.size(), -1), edgesOf(problem.tensors.size()),
      inTree(problem.edges.size(), false),
      reachedBy(problem.tensors.size(), -1), group(problem.tensors.size(), -1) {
  for (const AlignedTensor &t : problem.tensors)
    lowestOf.push_back(
        std::max(t.lowest, t.roomy ? 0 : std::log2(1 - problem.clipping)));
  for (int i = 0, e = problem.edges.size(); i < e; ++i) {
    const int addition = problem.edges[i].addition;
    if (addition < 0)
      continue;
    if (addition >= static_cast<int>(addends.size()))
      addends.resize(addition + 1);
    addends[addition].push_back(i);
  }
}

void Aligner::findGroups() {
  for (int first = 0; first < static_cast<int>(group.size()); ++first) {
    // A pinned tensor joins nothing: its factor is known.
    if (!isFree(first) || group[first] >= 0)
      continue;
    const int index = groups.size();
    groups.push_back({first});
    group[first] = index;
    for (size_t i = 0; i < groups[index].size(); ++i)
      for (int edge : edgesOf[groups[index][i]]) {
        const int next = other(edge, groups[index][i]);
        if (isFree(next) && group[next] < 0) {
          group[next] = index;
          groups[index].push_back(next);
        }
      }
    std::vector<int> &edges = groupEdges.emplace_back();
    for (int tensor : groups[index])
      edges.insert(edges.end(), edgesOf[tensor].begin(), edgesOf[tensor].end());
    std::sort(edges.begin(), edges.end());
    edges.erase(std::unique(edges.begin(), edges.end()), edges.end());
  }
}

bool Aligner::hasLargerAddend(int edge, double log2Scale,
                              bool onlyReached) const {
  for (int other : addends[problem.edges[edge].addition]) {
    if (other == edge || (onlyReached && !reached[problem.edges[other].from]))
      continue;
    const double multiplier = getMultiplier(other);
    if (multiplier > log2Scale && isNarrow(multiplier, 1))
      return true;
  }
  return false;
}

bool Aligner::isNarrowNow(int edge) const {
  const AlignedEdge &e = problem.edges[edge];
  const double multiplier = getMultiplier(edge);
  return isNarrow(multiplier, e.bits) &&
         (e.addition < 0 || isNarrow(multiplier, 1) ||
          hasLargerAddend(edge, multiplier, /*onlyReached=*/false));
}

void Aligner::walk(int index, const std::vector<int> &roots,
                   const std::function<bool(int edge, int next)> &enter) {
  std::vector<int> queue = roots;
  reached = decided;
  for (int root : roots)
    reached[root] = true, reachedBy[root] = -1;
  for (size_t i = 0; i < queue.size(); ++i)
    for (int edge : edgesOf[queue[i]]) {
      const int next = other(edge, queue[i]);
      if (reached[next] || group[next] != index || !enter(edge, next))
        continue;
      reached[next] = true;
      reachedBy[next] = edge;
      queue.push_back(next);
    }
}

bool Aligner::spread(const std::vector<int> &members,
                     const std::vector<int> &roots) {
  walk(group[members[0]], roots, [&](int edge, int next) {
    if (inTree[edge])
      factors[next] = propose(edge, next);
    return inTree[edge];
  });
  return std::all_of(members.begin(), members.end(),
                     [&](int member) { return reached[member]; });
}

double Aligner::getCost(const std::vector<int> &members) const {
  double cost = 0;
  for (int tensor : members)
    cost += getError(tensor, factors[tensor]);
  return cost;
}

double Aligner::getCost() const {
  double cost = 0;
  for (const std::vector<int> &members : groups)
    cost += getCost(members);
  return cost;
}

int Aligner::countWide() const {
  int wide = 0;
  for (int i = 0, e = problem.edges.size(); i < e; ++i)
    wide += !isNarrowNow(i);
  return wide;
}

std::pair<int, int> Aligner::countWide(const std::vector<int> &edges) const {
  int wide = 0, widened = 0;
  for (int edge : edges)
    if (!isNarrowNow(edge)) {
      ++wide;
      widened +=
          isNarrow(problem.edges[edge].log2Scale, problem.edges[edge].bits);
    }
  return {wide, widened};
}

bool Aligner::isReady(int index) const {
  for (int edge : groupEdges[index])
    for (int tensor : {problem.edges[edge].from, problem.edges[edge].to})
      if (productOf[tensor] >= 0 && !decided[tensor])
        return false;
  return true;
}

std::vector<int> Aligner::findRoots(const std::vector<int> &edges) const {
  std::vector<int> roots;
  for (int edge : edges)
    for (int tensor : {problem.edges[edge].from, problem.edges[edge].to})
      if (decided[tensor] &&
          std::find(roots.begin(), roots.end(), tensor) == roots.end())
        roots.push_back(tensor);
  return roots;
}

void Aligner::exchangeEdges(const std::vector<int> &members,
                            const std::vector<int> &edges,
                            const std::vector<int> &roots,
                            std::pair<int, int> &wide) {
  int exchanges = 0;
  for (bool improved = true; improved && wide.first > 0;) {
    improved = false;
    for (int added : edges) {
      if (inTree[added] || isNarrowNow(added))
        continue;
      for (int removed : edges) {
        if (!inTree[removed] || ++exchanges > kMaxExchanges)
          continue;
        inTree[added] = true;
        inTree[removed] = false;
        if (spread(members, roots)) {
          const std::pair<int, int> now = countWide(edges);
          if (now < wide) {
            wide = now;
            improved = true;
            break;
          }
        }
        inTree[added] = false;
        inTree[removed] = true;
      }
      spread(members, roots);
    }
  }
}

void Aligner::chooseConstant(const std::vector<int> &members,
                             const std::vector<int> &edges, int root,
                             std::pair<int, int> wide) {
  // With powers of two the whole group moves together, and without
  // measurements is best where a tensor is at its lowest. Else an even grid has
  // to do as well.
  std::vector<double> candidates;
  for (int member : members)
    candidates.push_back(factors[root] - factors[member] + lowest(member));
  for (int step = 0; step < kOctaveSteps; ++step)
    candidates.push_back(static_cast<double>(step) / kOctaveSteps);
  double best = std::numeric_limits<double>::infinity(), chosen = 0;
  for (double candidate : candidates) {
    factors[root] = chooseOctave(root, candidate);
    spread(members, {root});
    const double cost = getCost(members);
    if (cost < best - 1e-9 && countWide(edges) <= wide) {
      best = cost;
      chosen = factors[root];
    }
  }
  // Unless nothing is gained over the root's scale as it is.
  factors[root] = 0;
  spread(members, {root});
  if (countWide(edges) > wide || getCost(members) > best * (1 + 1e-9)) {
    factors[root] = chosen;
    spread(members, {root});
  }
}

void Aligner::solve(int index) {
  const std::vector<int> &members = groups[index], &edges = groupEdges[index];
  if (edges.empty()) {
    factors[members[0]] = std::max(0.0, problem.tensors[members[0]].lowest);
    decided[members[0]] = true;
    rootsOf[index] = {members[0]};
    return;
  }
  std::vector<int> roots = findRoots(edges);
  const bool free = roots.empty();
  if (free) {
    auto narrow = std::find_if(members.begin(), members.end(), [&](int member) {
      return !problem.tensors[member].roomy;
    });
    roots = {narrow == members.end() ? members[0] : *narrow};
  }

  // A spanning tree. Between two roots one edge stays wide: better one that
  // repair() can help.
  std::vector<int> firm;
  std::copy_if(roots.begin(), roots.end(), std::back_inserter(firm),
               [&](int root) { return !isRepairable(root); });
  walk(index, firm.empty() ? roots : firm,
       [&](int edge, int) { return inTree[edge] = true; });
  spread(members, roots);
  std::pair<int, int> wide = countWide(edges);
  exchangeEdges(members, edges, roots, wide);
  if (free)
    chooseConstant(members, edges, roots[0], wide);
  rootsOf[index] = roots;
  for (int member : members)
    decided[member] = true;
}

Alignment Aligner::run() {
  for (int i = 0, e = problem.products.size(); i < e; ++i)
    if (!problem.tensors[problem.products[i].out].pinned)
      productOf[problem.products[i].out] = i;
  for (int i = 0, e = problem.edges.size(); i < e; ++i) {
    // An edge from a tensor to itself cannot be helped, and a fine grid needs
    // no help.
    if (problem.edges[i].from == problem.edges[i].to ||
        problem.edges[i].bits > kMaxGridBits)
      continue;
    edgesOf[problem.edges[i].from].push_back(i);
    edgesOf[problem.edges[i].to].push_back(i);
  }
  for (size_t i = 0; i < decided.size(); ++i) {
    decided[i] = problem.tensors[i].pinned;
    if (decided[i])
      factors[i] = problem.tensors[i].log2Factor;
  }
  findGroups();
  rootsOf.resize(groups.size());

  // A group that a product leads to comes after the factors of the product. A
  // circle of products is cut where it is entered.
  std::vector<bool> solved(groups.size(), false);
  for (size_t rest = groups.size(); rest > 0; --rest) {
    for (const AlignedProduct &product : problem.products)
      if (productOf[product.out] >= 0 && decided[product.first] &&
          decided[product.second]) {
        factors[product.out] = factors[product.first] + factors[product.second];
        decided[product.out] = true;
      }
    int next = -1;
    for (int i = 0, e = groups.size(); i < e; ++i)
      if (!solved[i] && (next < 0 || (isReady(i) && !isReady(next))))
        next = i;
    solve(next);
    solved[next] = true;
  }
  multiplyFactors();
  for (int i = 0, e = groups.size(); i < e; ++i)
    if (group[rootsOf[i][0]] == i)
      refine(i);
  for (const AlignedProduct &product : problem.products)
    if (productOf[product.out] >= 0)
      repair(product);

  Alignment result;
  result.log2Factors = factors;
  for (int i = 0, e = problem.edges.size(); i < e; ++i)
    result.narrow.push_back(isNarrowNow(i));
  return result;
}

} // namespace tosa_rescale
