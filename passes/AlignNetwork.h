//===- AlignNetwork.h - a function as a problem of alignment --------------===//
//
// The integer tensors of a function, which of them share a factor, and the
// multipliers between them: what Alignment.h solves, read from the IR.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef TOSA_RESCALE_ALIGNNETWORK_H
#define TOSA_RESCALE_ALIGNNETWORK_H

#include "Alignment.h"
#include "ByteChains.h"
#include "Releases.h"
#include "RescaleOps.h"
#include "WeightedMean.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/IntEqClasses.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"

#include <cmath>

namespace tosa_rescale {

/// What alignment may do.
struct AlignOptions {
  BitsRequest request;
  /// Part by which a scale may shrink of whose tensor nothing was measured.
  double clipping = 0;
  /// LiteRT computes the network.
  bool litert = false;
  /// Constants may be written at another scale, and products with one take up
  /// any multiplier.
  bool constants = false;
  /// Chains of operations between two tensors of 8 bits may become tables, and
  /// tables may have results that no kernel of LiteRT has.
  bool tabulate = false;
};

/// The tensors of a function, which of them share a factor, and the
/// multipliers between them.
class AlignNetwork {
public:
  /// What `releases` holds keeps no scale.
  AlignNetwork(mlir::func::FuncOp function, const AlignOptions &options,
               const Releases &releases);

  /// Reads the function. Emits an error if an attribute makes no sense.
  llvm::LogicalResult build();
  /// Chooses the factors.
  void solve();

  //===--------------------------------------------------------------------===//
  // What the rules for single operations say; see AlignRules.h
  //===--------------------------------------------------------------------===//

  /// The tensor takes part, even if no rule says more of it.
  void add(mlir::Value value) { getClass(value); }
  /// Both have one scale.
  void unite(mlir::Value a, mlir::Value b) {
    parent[getClass(a)] = getClass(b);
  }
  /// Pins the tensor, and says why, unless it is pinned.
  void pin(mlir::Value value, const llvm::Twine &reason);
  /// Pins all integers that `op` reads and makes.
  void pinAll(mlir::Operation *op, const llvm::Twine &reason);
  /// `zeroPoint` is that of `value`, as a constant.
  void noteZeroPoint(mlir::Value value, mlir::Value zeroPoint);
  /// It is `zeroPoint`, or not known.
  void setZeroPoint(mlir::Value value, std::optional<int64_t> zeroPoint);
  /// The factor of `out` is the product of the other two.
  void addProduct(mlir::Value first, mlir::Value second, mlir::Value out);
  /// The multipliers of `op` are edges, between tensors that are not the same.
  void addRescale(mlir::tosa::RescaleOp op) { rescales.push_back(op); }
  /// If LiteRT computes the network: the operands of `op`, an addition, are
  /// scaled as LiteRT does.
  void addAddition(mlir::Operation *op);
  /// Element i: the error of cutting `value` off at 2^(-i / kClippingSteps) of
  /// its range.
  void addClippingErrors(mlir::Value value, llvm::SmallVector<double> errors);
  /// Errors of `value` count `weight` times; the largest one holds.
  void addWeight(mlir::Value value, double weight) {
    weights.emplace_back(value, weight);
  }
  /// The log2 factor of `value`, the elements of a table, is at least `lowest`.
  void addEntries(mlir::Value value, double lowest) {
    entries.emplace_back(value, lowest);
  }
  /// A mean that might be a sum with weights.
  void addMean(const WeightedMean &mean) { means.push_back(mean); }
  /// `op`, a constant or a table that is not released, keeps the scale of
  /// `value` but need not.
  void addHolder(mlir::Value value, mlir::Operation *op) {
    holders.emplace_back(value, op);
  }
  const Releases &getReleases() const { return releases; }
  bool movesConstants() const { return options.constants; }
  bool isLitert() const { return options.litert; }
  /// Whether weights of a convolution, or of a mean that is released, or a
  /// constant that is multiplied with, which answer to the rescale alone, take
  /// up any factor.
  bool absorbsFactor(mlir::tosa::RescaleOp op) const;
  const BitsRequest &getRequest() const { return options.request; }
  /// Part by which a scale may shrink of whose tensor nothing was measured.
  double getClipping() const { return problem.clipping; }

  //===--------------------------------------------------------------------===//
  // What solve() found
  //===--------------------------------------------------------------------===//

  double getLog2Factor(mlir::Value value);
  bool isPinned(mlir::Value value) { return reasons.count(getClass(value)); }
  /// The zero point of a tensor of 8 or 16 bits, from what scales and reads it.
  std::optional<int64_t> getZeroPoint(mlir::Value value);
  /// Rescales with a multiplier that must stay wide.
  llvm::DenseSet<mlir::Operation *> getWide() const;
  /// Why tensors keep their scale that multipliers tie to those of `op`, and
  /// how many they are for each reason.
  llvm::MapVector<llvm::StringRef, unsigned> getPins(mlir::tosa::RescaleOp op);
  /// What makes the results of chains that `op` is part of.
  llvm::SmallVector<mlir::Operation *>
  getChainRoots(mlir::tosa::RescaleOp op) const;
  /// The constants, tables and chains that keep scales which multipliers tie to
  /// those of `op`, but need not.
  llvm::SmallVector<mlir::Operation *> getHolders(mlir::tosa::RescaleOp op);
  /// The means around a circle, or between scales that stay, of multipliers
  /// that are tied to those of `op`: with weights they take up what
  /// contradicts.
  llvm::SmallVector<WeightedMean> getMeans(mlir::tosa::RescaleOp op);
  /// What there is to say of them, behind other reasons why `op` stays wide;
  /// `areWeighted` where weights were asked for.
  std::string describeMeans(mlir::tosa::RescaleOp op, bool areWeighted);
  /// The means that are released.
  llvm::SmallVector<WeightedMean> getWeightedMeans() const;

private:
  int getClass(mlir::Value value);
  int find(int id);
  int tensorOf(int id) { return tensors.lookup(find(id)); }
  /// Chains that may become tables.
  void addChains();
  /// Whether `op` is part of chains that become tables.
  bool isTabulated(mlir::tosa::RescaleOp op) const;
  /// The attribute that gives the results of `op` their factor.
  llvm::LogicalResult readFixedFactor(mlir::Operation *op);
  llvm::LogicalResult visit(mlir::Operation *op);
  void pinConstantsAndZeroPoints();
  void limitFactors();
  /// Whether nothing but rescales reads a product, in whatever shape or order.
  bool isRescaledAlone(mlir::Value product);
  void pinMixedProducts();
  /// The tensors that multipliers tie to those of `op`, pinned ones included.
  llvm::SetVector<int> findTied(mlir::tosa::RescaleOp op);
  /// Groups of tensors that multipliers, but for those of `without`, and
  /// products tie to each other; with `joinsPinned` all that stay are tied.
  llvm::IntEqClasses findGroups(mlir::tosa::RescaleOp without,
                                bool joinsPinned) const;
  void makeTensors();
  void makeEdges();

  mlir::func::FuncOp function;
  AlignOptions options;
  Releases releases;

  /// Values as a disjoint set: those of one class share a factor.
  llvm::MapVector<mlir::Value, int> ids;
  llvm::SmallVector<int> parent;
  llvm::SmallVector<std::pair<mlir::Value, std::string>> pins;
  llvm::SmallVector<std::pair<mlir::Value, mlir::Operation *>> holders;
  llvm::SmallVector<std::pair<mlir::Value, std::optional<int64_t>>>
      notedZeroPoints;
  llvm::SmallVector<std::tuple<mlir::Value, mlir::Value, mlir::Value>> products;
  llvm::SmallVector<mlir::tosa::RescaleOp> rescales;
  llvm::SmallVector<WeightedMean> means;
  /// Results of the chains that each rescale is part of.
  llvm::DenseMap<mlir::Operation *, llvm::SmallVector<mlir::Operation *>>
      chainsOf;
  /// Additions whose operands are both made by rescales, by these.
  llvm::DenseMap<mlir::Operation *, int> additionOf;
  int additions = 0;
  llvm::SmallVector<std::pair<mlir::Value, llvm::SmallVector<double>>>
      clippingErrors;
  llvm::SmallVector<std::pair<mlir::Value, double>> fixedFactors, weights,
      entries;

  /// By class.
  llvm::DenseMap<int, std::optional<int64_t>> zeroPoints;
  llvm::DenseMap<int, std::string> reasons;
  llvm::DenseMap<int, int> tensors;

  AlignmentProblem problem;
  /// The rescale of each edge of the problem.
  llvm::SmallVector<mlir::tosa::RescaleOp> origins;
  Alignment result;
};

/// Whether 2^log2Factor is a factor: one this near to 1 is none.
inline bool hasFactor(double log2Factor) {
  return std::abs(log2Factor) >= 1e-11;
}

/// A tensor of integers that are not truth values.
bool isInteger(mlir::Value value);

/// int32 and wider, which have no zero point.
bool isWide(mlir::Value value);

} // namespace tosa_rescale

#endif // TOSA_RESCALE_ALIGNNETWORK_H
