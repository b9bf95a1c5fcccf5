//===- Constants.h - constants as weights ---------------------------------===//
//
// Constants that no longer need a rescale of their own, and products with a
// constant, which take up any multiplier as a convolution does.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef TOSA_RESCALE_CONSTANTS_H
#define TOSA_RESCALE_CONSTANTS_H

#include "RescaleOps.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace tosa_rescale {

class ValueRanges;

/// Replaces every rescale of a constant by the constant that it makes, one for
/// each use, and returns how many there were. A constant of i32 that is no
/// wider than 8 or 16 bits before says so by `kConstantBitsAttrName`.
int64_t foldConstantRescales(mlir::func::FuncOp function);

/// Replaces every reshape of a constant that is read by operations whose
/// operands share a scale, such as a causal mask, by the constant of that
/// shape.
void foldConstantReshapes(mlir::func::FuncOp function);

/// Gives each use of a constant in an operation whose operands share a scale a
/// constant of its own, so that the uses do not tie one another.
void separateConstants(mlir::func::FuncOp function);

/// Whether the constant may be written at another scale: all that read it take
/// operands of one scale.
bool isMovableConstant(mlir::Value value);

/// The least log2 factor that the elements of a constant, less the zero point,
/// can be divided by within its type.
double getLowestFactor(mlir::Value constant, int64_t zeroPoint);

/// The elements of `operand`, a constant, less the zero point divided by
/// 2^log2Factor, in a new constant of its own. They saturate.
void scaleConstant(mlir::OpOperand &operand, int64_t zeroPoint,
                   double log2Factor);

/// Gives `operand`, a constant, other elements, in a new constant of its own.
void replaceConstant(mlir::OpOperand &operand,
                     llvm::ArrayRef<int64_t> elements);

/// A product of i32 with a constant, read by one rescale alone, perhaps behind
/// reshapes and transposes: the constant takes up whatever the multiplier of
/// that rescale loses.
class ConstantProduct {
public:
  /// Null if the input of `op` is no such product.
  static ConstantProduct match(mlir::tosa::RescaleOp op);
  /// Null if `op` is no such product.
  static ConstantProduct match(mlir::Operation *op);

  explicit operator bool() const { return mul; }
  mlir::Value getInput() const;
  mlir::Value getOutput() const;

  /// Gives the rescale the smallest multiplier of `bits` bits for which the
  /// constant, multiplied by the ratio of the old one to the new one, still
  /// fits its type and the product i32. False, and nothing is changed, if no
  /// legal shift expresses it.
  bool absorb(mlir::OpBuilder &builder, ValueRanges &ranges, int64_t bits);

private:
  /// Magnitudes that an element of the constant may have.
  int64_t getLimit(ValueRanges &ranges) const;

  mlir::Operation *mul = nullptr;
  mlir::tosa::RescaleOp rescale;
  unsigned operand = 0;
};

} // namespace tosa_rescale

#endif // TOSA_RESCALE_CONSTANTS_H
