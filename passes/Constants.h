//===- Constants.h - constants as weights ---------------------------------===//
//
// Constants that no longer need a rescale of their own, and constants at other
// scales.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef TOSA_RESCALE_CONSTANTS_H
#define TOSA_RESCALE_CONSTANTS_H

#include "RescaleOps.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace tosa_rescale {

/// Least and largest element that the type holds.
std::pair<int64_t, int64_t> getLimits(mlir::Type element, bool isUnsigned);

/// Elements of an integer type, in memory order.
mlir::DenseElementsAttr makeElements(mlir::RankedTensorType type,
                                     llvm::ArrayRef<int64_t> values);

/// Whether `value` is a `tosa.const` of signed integers of 8 to 32 bits.
bool isIntegerConstant(mlir::Value value);

/// Replaces every rescale of a constant by the constant that it makes, one for
/// each use, and returns how many there were. A constant of i32 that is no
/// wider than 8 or 16 bits before says so by `kConstantBitsAttrName`.
int64_t foldConstantRescales(mlir::func::FuncOp function);

/// What reads the constants whose reshapes are folded: operations whose
/// operands share a scale, such as the sum with a causal mask, or products,
/// such as those with rotary positions.
enum class ReshapeUse { Shared, Product };

/// Replaces every reshape of a constant that nothing else reads by constants of
/// that shape, one for each use; whether there were any.
bool foldConstantReshapes(mlir::func::FuncOp function, ReshapeUse use);

/// Gives each use of a constant in an operation whose operands share a scale a
/// constant of its own, so that the uses do not tie one another.
void separateConstants(mlir::func::FuncOp function);

/// `op` makes a tensor whose scale is multiplied by `factor` once more: says so
/// by `kFactorAttrName`.
void multiplyFactor(mlir::Operation *op, double factor);

/// Whether the constant may be written at another scale: all that read it take
/// operands of one scale.
bool isMovableConstant(mlir::Value value);

/// Whether the constant, of 8 or 16 bits, is one of those that LiteRT's kernels
/// take at any scale: rescales read it and additions what they make of it, or
/// it joins tensors of its own scale.
bool isKernelConstant(mlir::Value value);

/// Gives each use of `constant` one of its own, and returns all of them.
llvm::SmallVector<mlir::Operation *> separateUses(mlir::Operation *constant);

/// The least log2 factor that the elements of a constant, less the zero point,
/// can be divided by within its type.
double getLowestFactor(mlir::Value constant, int64_t zeroPoint);

/// The elements of `operand`, a constant, less the zero point divided by
/// 2^log2Factor, in a new constant of its own. They saturate. One of 8 or 16
/// bits says its factor by `kFactorAttrName`.
void scaleConstant(mlir::OpOperand &operand, int64_t zeroPoint,
                   double log2Factor);

/// Gives `operand`, a constant, other elements, in a new constant of its own.
void replaceConstant(mlir::OpOperand &operand,
                     llvm::ArrayRef<int64_t> elements);

} // namespace tosa_rescale

#endif // TOSA_RESCALE_CONSTANTS_H
