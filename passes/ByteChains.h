//===- ByteChains.h - functions of one tensor of 8 bits -------------------===//
//
// Element-wise operations whose result, of i8, depends on one tensor of i8
// alone: a table of 256 entries says all of it.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef TOSA_RESCALE_BYTECHAINS_H
#define TOSA_RESCALE_BYTECHAINS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tosa/IR/TosaOps.h"
#include "llvm/ADT/DenseSet.h"

namespace tosa_rescale {

/// What lies between a tensor of i8 and the next one.
class ByteChain {
public:
  /// None if the result of `op` is not of i8, or anything but constants and one
  /// tensor of i8 goes into it.
  static std::optional<ByteChain> match(mlir::Operation *op);

  mlir::Value getInput() const { return input; }
  mlir::Value getOutput() const { return ops.back()->getResult(0); }
  /// The operation that makes the result.
  mlir::Operation *getRoot() const { return ops.back(); }
  /// Those of what depends on the input; constants have theirs.
  llvm::SmallVector<mlir::tosa::RescaleOp> getRescales() const;

  /// The result for each input from -128 to 127; none where the specification
  /// leaves one open.
  std::optional<llvm::SmallVector<int64_t>> compute() const;

private:
  /// Adds what makes `value` to the chain; false if that is no chain.
  bool visit(mlir::Value value);
  bool visit(mlir::Operation *op);

  mlir::Value input;
  /// What makes an operand before what reads it.
  llvm::SmallVector<mlir::Operation *> ops;
  /// Of these, what depends on the input.
  llvm::DenseSet<mlir::Operation *> dependent;
};

/// The chains of a function that have rescales which no other operation needs,
/// and a result for every input.
llvm::SmallVector<ByteChain> findByteChains(mlir::func::FuncOp function);

} // namespace tosa_rescale

#endif // TOSA_RESCALE_BYTECHAINS_H
