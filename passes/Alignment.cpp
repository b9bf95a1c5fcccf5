//===- Alignment.cpp - scales of tensors that make multipliers narrow -----===//
//
// Implements Alignment.h.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Alignment.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>

namespace tosa_rescale {

/// Steps over the octave in which the free constant of a group is searched.
static constexpr int kOctaveSteps = 256;
/// Wider multipliers than this have a grid so fine that every scale is on it.
static constexpr int kMaxGridBits = 8;
/// Octaves about a factor of 1 in which the factor of a tensor is searched.
static constexpr int kLowestOctave = -4, kHighestOctave = 2;
/// Mean square of the error of rounding to a step of 1.
static constexpr double kRoundingError = 1.0 / 12;
/// The square of a roomy tensor's step, where that of others is 1.
static constexpr double kRoomyStep = 0x1p-40;
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
        reached(problem.tensors.size(), false),
        productOf(problem.tensors.size(), -1), edgesOf(problem.tensors.size()),
        inTree(problem.edges.size(), false), group(problem.tensors.size(), -1) {
    for (int i = 0, e = problem.edges.size(); i < e; ++i) {
      const int addition = problem.edges[i].addition;
      if (addition < 0)
        continue;
      if (addition >= static_cast<int>(addends.size()))
        addends.resize(addition + 1);
      addends[addition].push_back(i);
    }
  }

  Alignment run();

private:
  int other(int edge, int tensor) const {
    const AlignedEdge &e = problem.edges[edge];
    return e.from == tensor ? e.to : e.from;
  }
  /// The least factor that a tensor of which nothing was measured may have.
  double lowest(int tensor) const {
    return problem.tensors[tensor].roomy ? 0 : std::log2(1 - problem.clipping);
  }
  /// Mean squared error of a tensor with this factor, in steps of the tensor
  /// as it is: rounding, and values that are cut off.
  double getError(int tensor, double factor) const;
  /// The factor with the least error among those that are whole octaves away.
  double chooseOctave(int tensor, double factor) const;
  bool isFree(int tensor) const {
    return !problem.tensors[tensor].pinned && productOf[tensor] < 0;
  }
  double getMultiplier(int edge) const {
    const AlignedEdge &e = problem.edges[edge];
    return e.log2Scale + factors[e.from] - factors[e.to];
  }
  bool isNarrowNow(int edge) const;
  /// Another operand of the same addition has a power of two above
  /// `log2Scale`. With `onlyReached`, of those whose factor was chosen.
  bool hasLargerAddend(int edge, double log2Scale, bool onlyReached) const;

  void findGroups();
  /// The factor of `tensor` with the least error for which a multiplier of
  /// `bits` bits remains, where that multiplier is 2^rest * factor, or
  /// 2^rest / factor if the edge ends there; 0 if none is allowed.
  double chooseOnGrid(
      int tensor, int bits, double rest, bool end,
      const std::function<bool(double factor, bool isPower)> &isAllowed) const;
  /// The factor with the least error that makes `edge` narrow, given the factor
  /// at its other end.
  double propose(int edge, int tensor) const;
  /// Reaches the tensors of a group from `roots`, breadth first, over the edges
  /// that `enter(edge, next)` takes.
  void walk(int index, const std::vector<int> &roots,
            const std::function<bool(int edge, int next)> &enter);
  /// Follows the tree from the tensors in `roots`; false if it does not reach
  /// the whole group.
  bool spread(const std::vector<int> &members, const std::vector<int> &roots);
  double getCost(const std::vector<int> &members) const;
  /// Wide edges of the group, and those among them that were narrow before.
  std::pair<int, int> countWide(const std::vector<int> &edges) const;
  bool isReady(int index) const;
  void solve(int index);
  /// The factor of an operand that makes what follows the product narrow.
  void repair(const AlignedProduct &product);

  const AlignmentProblem &problem;
  std::vector<double> factors;
  /// The factor is final.
  std::vector<bool> decided;
  /// The walk along the tree has chosen the factor.
  std::vector<bool> reached;
  std::vector<int> productOf;
  std::vector<std::vector<int>> edgesOf;
  std::vector<bool> inTree;
  std::vector<int> group;
  std::vector<std::vector<int>> addends;
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

double Aligner::getError(int tensor, double factor) const {
  const AlignedTensor &t = problem.tensors[tensor];
  const double rounding =
      kRoundingError * std::exp2(2 * factor) * (t.roomy ? kRoomyStep : 1);
  if (t.roomy || t.clippingErrors.empty())
    return factor > lowest(tensor) - 1e-9
               ? rounding
               : std::numeric_limits<double>::infinity();
  const double position = std::max(0.0, -factor * kClippingSteps);
  const size_t step = static_cast<size_t>(position);
  if (step + 1 >= t.clippingErrors.size())
    return std::numeric_limits<double>::infinity();
  const double share = position - static_cast<double>(step);
  return rounding + (1 - share) * t.clippingErrors[step] +
         share * t.clippingErrors[step + 1];
}

double Aligner::chooseOctave(int tensor, double factor) const {
  const double fraction = factor - std::floor(factor + 1e-9);
  double best = fraction + kHighestOctave;
  for (int octave = kHighestOctave - 1; octave >= kLowestOctave; --octave)
    // Ties go to the least change.
    if (getError(tensor, fraction + octave) < getError(tensor, best))
      best = fraction + octave;
  return std::abs(best) < 1e-12 ? 0 : best;
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

double Aligner::chooseOnGrid(
    int tensor, int bits, double rest, bool end,
    const std::function<bool(double factor, bool isPower)> &isAllowed) const {
  const int64_t first = int64_t(1) << (std::min(bits, kMaxGridBits) - 1);
  double best = 0, leastError = std::numeric_limits<double>::infinity();
  for (int64_t m = first; m < 2 * first; ++m) {
    const double grid = std::log2(static_cast<double>(m));
    const double factor = chooseOctave(tensor, end ? rest - grid : grid - rest);
    const double error = getError(tensor, factor);
    if (error < leastError && isAllowed(factor, m == first)) {
      leastError = error;
      best = factor;
    }
  }
  return best;
}

double Aligner::propose(int edge, int tensor) const {
  const AlignedEdge &e = problem.edges[edge];
  // The new multiplier with a factor of 1 at `tensor`; a factor above 1 there
  // divides it if the edge ends there, else multiplies it.
  const bool end = e.to == tensor;
  const double rest =
      end ? e.log2Scale + factors[e.from] : e.log2Scale - factors[e.to];
  return chooseOnGrid(tensor, e.bits, rest, end,
                      [&](double factor, bool isPower) {
                        // The sum itself follows the operand that it is reached
                        // from.
                        return e.addition < 0 || isPower ||
                               (!end && hasLargerAddend(edge, rest + factor,
                                                        /*onlyReached=*/true));
                      });
}

void Aligner::walk(int index, const std::vector<int> &roots,
                   const std::function<bool(int edge, int next)> &enter) {
  std::vector<int> queue = roots;
  reached = decided;
  for (int root : roots)
    reached[root] = true;
  for (size_t i = 0; i < queue.size(); ++i)
    for (int edge : edgesOf[queue[i]]) {
      const int next = other(edge, queue[i]);
      if (reached[next] || group[next] != index || !enter(edge, next))
        continue;
      reached[next] = true;
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

  // A spanning tree.
  walk(index, roots, [&](int edge, int) { return inTree[edge] = true; });
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
    // With powers of two the whole group moves together, and without
    // measurements is best where a tensor is at its lowest. Else an even grid
    // has to do as well.
    const int root = roots[0];
    std::vector<double> candidates;
    for (int member : members)
      candidates.push_back(factors[root] - factors[member] + lowest(member));
    for (int step = 0; step < kOctaveSteps; ++step)
      candidates.push_back(static_cast<double>(step) / kOctaveSteps);
    double best = std::numeric_limits<double>::infinity(), chosen = 0;
    for (double candidate : candidates) {
      factors[root] = chooseOctave(root, candidate);
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

void Aligner::repair(const AlignedProduct &product) {
  for (int edge : edgesOf[product.out]) {
    if (problem.edges[edge].from != product.out || isNarrowNow(edge))
      continue;
    for (int operand : {product.first, product.second}) {
      // Nothing else may depend on it.
      const auto isRead = [&](const AlignedProduct &each) {
        return each.first == operand || each.second == operand;
      };
      if (!isFree(operand) || !edgesOf[operand].empty() ||
          product.first == product.second ||
          std::count_if(problem.products.begin(), problem.products.end(),
                        isRead) > 1)
        continue;
      const double rest = getMultiplier(edge) - factors[operand];
      factors[operand] =
          chooseOnGrid(operand, problem.edges[edge].bits, rest, /*end=*/false,
                       [](double, bool) { return true; });
      factors[product.out] = factors[product.first] + factors[product.second];
      break;
    }
  }
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
  for (const AlignedProduct &product : problem.products)
    if (productOf[product.out] >= 0)
      repair(product);

  Alignment result;
  result.log2Factors = factors;
  for (int i = 0, e = problem.edges.size(); i < e; ++i)
    result.narrow.push_back(isNarrowNow(i));
  return result;
}

Alignment alignTensors(const AlignmentProblem &problem) {
  // A roomy tensor between two edges alone is one edge with a power of two in
  // front: it has nothing to choose.
  const int count = problem.tensors.size();
  std::vector<std::vector<int>> edgesInto(count), edgesFrom(count);
  std::vector<bool> multiplied(count, false);
  for (const AlignedProduct &product : problem.products)
    multiplied[product.first] = multiplied[product.second] =
        multiplied[product.out] = true;
  for (int i = 0, e = problem.edges.size(); i < e; ++i) {
    edgesInto[problem.edges[i].to].push_back(i);
    edgesFrom[problem.edges[i].from].push_back(i);
  }
  AlignmentProblem reduced = problem;
  reduced.edges.clear();
  // For each edge the one of the reduced problem, or -1 for one in front.
  std::vector<int> place(problem.edges.size(), -1);
  std::vector<int> passed;
  auto isPassed = [&](int tensor) {
    if (!problem.tensors[tensor].roomy || problem.tensors[tensor].pinned ||
        multiplied[tensor] || edgesInto[tensor].size() != 1 ||
        edgesFrom[tensor].size() != 1)
      return false;
    const AlignedEdge &in = problem.edges[edgesInto[tensor][0]];
    const AlignedEdge &out = problem.edges[edgesFrom[tensor][0]];
    return in.bits == out.bits && in.bits <= kMaxGridBits && in.addition < 0 &&
           in.from != tensor && !problem.tensors[in.from].roomy;
  };
  for (int i = 0, e = problem.edges.size(); i < e; ++i) {
    const AlignedEdge &edge = problem.edges[i];
    if (isPassed(edge.to)) {
      passed.push_back(edge.to);
      continue;
    }
    AlignedEdge whole = edge;
    if (isPassed(edge.from)) {
      const AlignedEdge &in = problem.edges[edgesInto[edge.from][0]];
      whole.from = in.from;
      // The power of two in front changes no significant bit.
      whole.log2Scale += in.log2Scale;
    }
    place[i] = reduced.edges.size();
    reduced.edges.push_back(whole);
  }
  const Alignment found = Aligner(reduced).run();

  Alignment result;
  result.log2Factors = found.log2Factors;
  for (int tensor : passed) {
    const AlignedEdge &in = problem.edges[edgesInto[tensor][0]];
    const double rest = in.log2Scale - std::round(in.log2Scale);
    const double factor = result.log2Factors[in.from] +
                          (std::abs(rest) < kAlignmentTolerance ? 0 : rest);
    result.log2Factors[tensor] = factor - std::floor(factor + 1e-9);
  }
  for (int edge : place)
    result.narrow.push_back(edge < 0 || found.narrow[edge]);
  return result;
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
