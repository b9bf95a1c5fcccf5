//===- Aligner.h - the search for scales ----------------------------------===//
//
// Walks, exchanges and choices by which alignTensors() finds factors; free of
// MLIR types.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef TOSA_RESCALE_ALIGNER_H
#define TOSA_RESCALE_ALIGNER_H

#include "Alignment.h"

#include <functional>
#include <map>
#include <utility>

namespace tosa_rescale {

/// Wider multipliers than this have a grid so fine that every scale is on it.
inline constexpr int kMaxGridBits = 8;

/// Steps over the octave in which the free constant of a group is searched.
inline constexpr int kOctaveSteps = 256;

/// Solves one problem. Tensors that edges connect form a group; in each, a
/// spanning tree of edges is made narrow, and the rest is narrow or wide as it
/// turns out.
class Aligner {
public:
  /// `grid`: for each edge, how many bits the multipliers have that the search
  /// tries for it. An edge is narrow with the bits of the problem.
  Aligner(const AlignmentProblem &problem, std::vector<int> grid);

  Alignment run();

  /// After run(): how many edges are wide, and the sum of errors of what is
  /// free.
  int countWide() const;
  double getCost() const;
  /// After run(): the edges of trees on whose multipliers that of `edge`
  /// depends.
  std::vector<int> findCauses(int edge);

private:
  int other(int edge, int tensor) const {
    const AlignedEdge &e = problem.edges[edge];
    return e.from == tensor ? e.to : e.from;
  }
  /// The least factor that a tensor of which nothing was measured may have.
  double lowest(int tensor) const { return lowestOf[tensor]; }
  bool isAllowed(int tensor, double factor) const {
    return factor > lowest(tensor) - 1e-9;
  }
  /// What cutting off values of the tensor costs was measured.
  bool isMeasured(int tensor) const;
  /// Mean squared error of a tensor with this factor, in steps of the tensor
  /// as it is: rounding, and values that are cut off.
  double getError(int tensor, double factor) const;
  /// The factor with the least error among those that are whole octaves away.
  double chooseOctave(int tensor, double factor) const;
  bool isFree(int tensor) const {
    return !problem.tensors[tensor].pinned && productOf[tensor] < 0;
  }
  /// What the factor of `tensor` adds up from: a coefficient for the multiplier
  /// of each edge of a tree.
  const std::map<int, double> &getCoefficients(int tensor);
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
      const std::function<bool(double factor, bool isPower)> &isRight) const;
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
  /// Decided tensors at the edges of a group, to which the others adjust.
  std::vector<int> findRoots(const std::vector<int> &edges) const;
  /// Exchanges an edge of the tree for a wide one while that leaves fewer wide
  /// than `wide`.
  void exchangeEdges(const std::vector<int> &members,
                     const std::vector<int> &edges,
                     const std::vector<int> &roots, std::pair<int, int> &wide);
  /// Chooses the factor of `root`, and so of a whole group that nothing else
  /// determines, by the least cost at which no more than `wide` stay wide.
  void chooseConstant(const std::vector<int> &members,
                      const std::vector<int> &edges, int root,
                      std::pair<int, int> wide);
  void solve(int index);
  /// Chooses the constant of a free group again, with the groups that products
  /// lead to from there.
  void refine(int index);
  /// Groups that take their factors from products of those in `index`, or of
  /// one another, in the order in which they follow.
  std::vector<int> findFollowers(int index) const;
  /// Gives the group the factor at its root and lets its followers follow; the
  /// cost of all of them.
  double moveConstant(int index, const std::vector<int> &followers,
                      double factor);
  void multiplyFactors();
  /// Whether the factor of an operand is free to make up for anything.
  bool isSpare(int operand, const AlignedProduct &product) const;
  /// Whether an edge from `tensor`, a product, can be made narrow by repair().
  bool isRepairable(int tensor) const;
  /// The factor of an operand that makes what follows the product narrow.
  void repair(const AlignedProduct &product);

  const AlignmentProblem &problem;
  std::vector<int> grid;
  std::vector<double> lowestOf;
  std::vector<double> factors;
  /// The factor is final.
  std::vector<bool> decided;
  /// The walk along the tree has chosen the factor.
  std::vector<bool> reached;
  std::vector<int> productOf;
  std::vector<std::vector<int>> edgesOf;
  std::vector<bool> inTree;
  /// The edge from which the walk along the tree reached a tensor, or -1.
  std::vector<int> reachedBy;
  std::vector<int> group;
  std::vector<std::vector<int>> addends;
  std::vector<std::vector<int>> groups, groupEdges;
  /// From where the factors of each group were chosen.
  std::vector<std::vector<int>> rootsOf;
  std::map<int, std::map<int, double>> coefficients;
};

/// The factors with which the fewest edges stay wide, and then as many
/// multipliers as possible have all their bits. Around a circle multipliers of
/// several bits do not multiply to one with so few; powers of two do, where
/// what is left over is one.
Alignment alignOnGrids(const AlignmentProblem &problem);

} // namespace tosa_rescale

#endif // TOSA_RESCALE_ALIGNER_H
