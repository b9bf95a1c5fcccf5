//===- Releases.h - what gives up its scale where multipliers need it -----===//
//
// Constants of a .tflite and the inputs of tables keep their scale as long as
// no multiplier has to stay wide for it: a constant is rounded twice, and a
// table is read at other places than it was made for. Means, if asked for,
// become sums with weights, whose multiplier is free.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef TOSA_RESCALE_RELEASES_H
#define TOSA_RESCALE_RELEASES_H

#include "mlir/IR/Operation.h"
#include "llvm/ADT/DenseSet.h"

namespace tosa_rescale {

class AlignNetwork;

/// Constants and tables whose scales may move, and sums that get weights.
class Releases {
public:
  /// What is released together, in the order in which it is tried: constants
  /// cost less than tables, and a new table is exact where one that is written
  /// anew is not. Of chains that become tables those with a wide multiplier
  /// come before others that meet one. A mean that gets weights is another
  /// function, and comes last.
  enum class Kind { Constants, WideChains, Chains, Tables, Means };

  bool contains(mlir::Operation *op) const { return ops.contains(op); }
  size_t size() const { return ops.size(); }

  /// Releases what keeps scales that the multipliers of `wide` contradict.
  /// Constants get one copy for each use. False if there was nothing.
  bool add(AlignNetwork &network, const llvm::DenseSet<mlir::Operation *> &wide,
           Kind kind);

  /// `table` cannot be written for another scale within the error allowed, and
  /// keeps the scale of its input.
  void refuse(mlir::Operation *table) {
    ops.erase(table);
    refused.insert(table);
  }
  bool isRefused(mlir::Operation *table) const {
    return refused.contains(table);
  }

private:
  llvm::DenseSet<mlir::Operation *> ops, refused;
};

} // namespace tosa_rescale

#endif // TOSA_RESCALE_RELEASES_H
