//===- ConstantProduct.h - products with constants as weights -------------===//
//
// Products with a constant, which take up any multiplier as a convolution does.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef TOSA_RESCALE_CONSTANTPRODUCT_H
#define TOSA_RESCALE_CONSTANTPRODUCT_H

#include "RescaleOps.h"

namespace tosa_rescale {

class ValueRanges;

/// A product of i32 with a constant, read by one rescale alone: the constant
/// takes up whatever the multiplier of that rescale loses. The constant is of
/// i32, or, as LiteRT has it, of 8 or 16 bits before a rescale by 1.
class ConstantProduct {
public:
  /// Null if the input of `op` is no such product.
  static ConstantProduct match(mlir::tosa::RescaleOp op);
  /// Null if `op` is no such product.
  static ConstantProduct match(mlir::Operation *op);

  explicit operator bool() const { return mul; }
  mlir::Value getInput() const;
  mlir::Value getOutput() const;
  /// The operand of the product that the constant leads to.
  mlir::Value getFactor() const;
  /// The constant, a `tosa.const`.
  mlir::Operation *getConstant() const;
  /// It is of 8 or 16 bits.
  bool isScaled() const;

  /// Gives the rescale the smallest multiplier of `bits` bits for which the
  /// constant, multiplied by the ratio of the old one to the new one, still
  /// fits its type and the product i32. False, and nothing is changed, if no
  /// legal shift expresses it.
  bool absorb(mlir::OpBuilder &builder, ValueRanges &ranges, int64_t bits);

private:
  /// The element, less the zero point, that fills most of what an element may
  /// be, as a magnitude, and that magnitude's limit.
  std::pair<int64_t, int64_t> getPeak(llvm::ArrayRef<int64_t> elements,
                                      ValueRanges &ranges) const;
  /// Gives the constant these elements, less the zero point.
  void setElements(mlir::OpBuilder &builder, llvm::ArrayRef<int64_t> elements,
                   double factor);

  mlir::Operation *mul = nullptr;
  mlir::tosa::RescaleOp rescale;
  unsigned operand = 0;
  /// What reads the constant, and its zero point.
  mlir::OpOperand *use = nullptr;
  int64_t zeroPoint = 0;
};

} // namespace tosa_rescale

#endif // TOSA_RESCALE_CONSTANTPRODUCT_H
