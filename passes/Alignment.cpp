//===- Alignment.cpp - scales of tensors that make multipliers narrow -----===//
//
// Implements Alignment.h.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Alignment.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace tosa_rescale {

/// Steps over the octave in which the free constant of a group is searched.
static constexpr int kOctaveSteps = 256;
/// Wider multipliers than this have a grid so fine that every scale is on it.
static constexpr int kMaxGridBits = 8;
/// Exchanges of edges that the search for a smaller wide set tries.
static constexpr int kMaxExchanges = 4096;

double narrowLog2(double log2Scale, int bits) {
  if (bits > kMaxGridBits)
    return log2Scale;
  const double octave = std::floor(log2Scale);
  const double step = std::ldexp(1.0, bits - 1);
  return octave +
         std::log2(std::round(std::exp2(log2Scale - octave) * step) / step);
}

static bool isNarrow(double log2Scale, int bits) {
  return std::abs(log2Scale - narrowLog2(log2Scale, bits)) <
         kAlignmentTolerance;
}

namespace {

class Aligner {
public:
  explicit Aligner(const AlignmentProblem &problem)
      : problem(problem), factors(problem.tensors.size(), 0),
        decided(problem.tensors.size(), false),
        productOf(problem.tensors.size(), -1), edgesOf(problem.tensors.size()),
        inTree(problem.edges.size(), false), group(problem.tensors.size(), -1) {
  }

  Alignment run();

private:
  int other(int edge, int tensor) const {
    const AlignedEdge &e = problem.edges[edge];
    return e.from == tensor ? e.to : e.from;
  }
  /// The least factor that a tensor may have.
  double lowest(int tensor) const {
    return problem.tensors[tensor].roomy ? 0 : std::log2(1 - problem.clipping);
  }
  bool isFree(int tensor) const {
    return !problem.tensors[tensor].pinned && productOf[tensor] < 0;
  }
  bool isNarrowNow(int edge) const {
    const AlignedEdge &e = problem.edges[edge];
    return isNarrow(e.log2Scale + factors[e.from] - factors[e.to], e.bits);
  }

  void findGroups();
  /// The factor nearest above the lowest one that makes `edge` narrow, given
  /// the factor at its other end.
  double propose(int edge, int tensor) const;
  /// Follows the tree from the tensors in `roots`; false if it does not reach
  /// the whole group.
  bool spread(const std::vector<int> &members, const std::vector<int> &roots);
  double getCost(const std::vector<int> &members) const;
  /// Wide edges of the group, and those among them that were narrow before.
  std::pair<int, int> countWide(const std::vector<int> &edges) const;
  bool isReady(int index) const;
  void solve(int index);

  const AlignmentProblem &problem;
  std::vector<double> factors;
  /// The factor is final.
  std::vector<bool> decided;
  std::vector<int> productOf;
  std::vector<std::vector<int>> edgesOf;
  std::vector<bool> inTree;
  std::vector<int> group;
  std::vector<std::vector<int>> groups, groupEdges;
};

} // namespace

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

double Aligner::propose(int edge, int tensor) const {
  const AlignedEdge &e = problem.edges[edge];
  // The new multiplier with a factor of 1 at `tensor`; a factor above 1 there
  // divides it if the edge ends there, else multiplies it.
  const bool end = e.to == tensor;
  const double rest =
      end ? e.log2Scale + factors[e.from] : e.log2Scale - factors[e.to];
  const double least = lowest(tensor);
  const int width = std::min(e.bits, kMaxGridBits);
  double best = std::numeric_limits<double>::infinity();
  for (int64_t m = int64_t(1) << (width - 1); m < int64_t(1) << width; ++m) {
    const double grid = std::log2(static_cast<double>(m));
    const double factor = end ? rest - grid : grid - rest;
    best = std::min(best, factor - std::floor(factor - least + 1e-9));
  }
  return std::abs(best) < 1e-12 ? 0 : best;
}

bool Aligner::spread(const std::vector<int> &members,
                     const std::vector<int> &roots) {
  std::vector<int> queue = roots;
  std::vector<bool> reached(factors.size(), false);
  for (int root : roots)
    reached[root] = true;
  for (size_t i = 0; i < queue.size(); ++i)
    for (int edge : edgesOf[queue[i]]) {
      const int next = other(edge, queue[i]);
      if (!inTree[edge] || reached[next] || group[next] != group[members[0]])
        continue;
      reached[next] = true;
      factors[next] = propose(edge, next);
      queue.push_back(next);
    }
  return std::all_of(members.begin(), members.end(),
                     [&](int member) { return reached[member]; });
}

double Aligner::getCost(const std::vector<int> &members) const {
  double cost = 0;
  // The noise of rounding grows with the square of the step.
  for (int tensor : members)
    if (!problem.tensors[tensor].roomy)
      cost += std::exp2(2 * factors[tensor]);
  return cost;
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

void Aligner::solve(int index) {
  const std::vector<int> &members = groups[index], &edges = groupEdges[index];
  if (edges.empty()) {
    decided[members[0]] = true;
    return;
  }
  std::vector<int> roots;
  for (int edge : edges)
    for (int tensor : {problem.edges[edge].from, problem.edges[edge].to})
      if (decided[tensor] &&
          std::find(roots.begin(), roots.end(), tensor) == roots.end())
        roots.push_back(tensor);
  const bool free = roots.empty();
  if (free) {
    auto narrow = std::find_if(members.begin(), members.end(), [&](int member) {
      return !problem.tensors[member].roomy;
    });
    roots = {narrow == members.end() ? members[0] : *narrow};
  }

  // A spanning tree, breadth first.
  std::vector<int> queue = roots;
  std::vector<bool> reached(factors.size(), false);
  for (int root : roots)
    reached[root] = true;
  for (size_t i = 0; i < queue.size(); ++i)
    for (int edge : edgesOf[queue[i]]) {
      const int next = other(edge, queue[i]);
      if (reached[next] || group[next] != index)
        continue;
      reached[next] = true;
      inTree[edge] = true;
      queue.push_back(next);
    }
  spread(members, roots);

  // Exchange an edge of the tree for a wide one while that leaves fewer wide.
  std::pair<int, int> wide = countWide(edges);
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

  if (free) {
    // With powers of two the whole group moves together, and is best where a
    // tensor is at its lowest. Else an even grid has to do as well.
    const int root = roots[0];
    std::vector<double> candidates;
    for (int member : members) {
      const double from =
          factors[root] - factors[member] + lowest(member) - lowest(root);
      candidates.push_back(lowest(root) + from - std::floor(from + 1e-9));
    }
    for (int step = 0; step < kOctaveSteps; ++step)
      candidates.push_back(lowest(root) +
                           static_cast<double>(step) / kOctaveSteps);
    double best = std::numeric_limits<double>::infinity(), chosen = 0;
    for (double candidate : candidates) {
      factors[root] = std::abs(candidate) < 1e-12 ? 0 : candidate;
      spread(members, roots);
      const double cost = getCost(members);
      if (cost < best - 1e-9 && countWide(edges) <= wide) {
        best = cost;
        chosen = factors[root];
      }
    }
    // Unless nothing is gained over the root's scale as it is.
    factors[root] = 0;
    spread(members, roots);
    if (countWide(edges) > wide || getCost(members) > best * (1 + 1e-9)) {
      factors[root] = chosen;
      spread(members, roots);
    }
  }
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
  for (size_t i = 0; i < decided.size(); ++i)
    decided[i] = problem.tensors[i].pinned;
  findGroups();

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
  for (const AlignedProduct &product : problem.products)
    if (productOf[product.out] >= 0)
      factors[product.out] = factors[product.first] + factors[product.second];

  Alignment result;
  result.log2Factors = factors;
  for (int i = 0, e = problem.edges.size(); i < e; ++i)
    result.narrow.push_back(isNarrowNow(i));
  return result;
}

Alignment alignTensors(const AlignmentProblem &problem) {
  return Aligner(problem).run();
}

std::optional<Scale> multiplyScale(Scale scale, double log2Factor,
                                   int containerBits, int bits) {
  if (scale.multiplier <= 0)
    return scale;
  double wanted = std::log2(static_cast<double>(scale.multiplier)) -
                  scale.shift + log2Factor;
  // Through a logarithm 52 bits shrink to 46, which 31 never see; a whole
  // power of two does not pass through it.
  int exponent;
  double fraction;
  if (bits > 0 && bits <= kMaxGridBits) {
    wanted = narrowLog2(wanted, bits);
    fraction = std::exp2(wanted - std::floor(wanted)) / 2;
    exponent = static_cast<int>(std::floor(wanted)) + 1;
    const double step = std::ldexp(1.0, bits);
    fraction = std::round(fraction * step) / step;
  } else {
    const double whole = std::round(log2Factor);
    const double rest = log2Factor - whole;
    fraction = std::frexp(static_cast<double>(scale.multiplier) *
                              (rest == 0 ? 1.0 : std::exp2(rest)),
                          &exponent);
    exponent += static_cast<int>(whole) - static_cast<int>(scale.shift);
  }
  int64_t multiplier = std::llround(std::ldexp(fraction, containerBits));
  int64_t shift = containerBits - exponent;
  if (multiplier == int64_t(1) << containerBits) {
    multiplier >>= 1;
    --shift;
  }
  while (shift > kMaxShift) {
    // A very small scale keeps what 62 can hold.
    multiplier = (multiplier + 1) >> 1;
    --shift;
  }
  if (shift < kMinShift || multiplier == 0)
    return std::nullopt;
  return Scale{multiplier, shift};
}

} // namespace tosa_rescale
