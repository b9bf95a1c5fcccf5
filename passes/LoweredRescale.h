//===- LoweredRescale.h - a rescale as operations of 32 bits --------------===//
//
// The form that `tosa-rescale-lower` writes, and that `tosa-rescale-raise`
// finds again:
//
//   cast to i32, bitwise_and where the input counts as unsigned   narrow input
//   sub          input_zp                                         unless it is
//   0 mul          multiplier                                       unless it
//   is 1 arithmetic_right_shift round=true, or logical_left_shift      always
//   one add          output_zp                                        unless it
//   is 0 maximum, minimum, cast to the result's type                   narrow
//   result
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef TOSA_RESCALE_LOWEREDRESCALE_H
#define TOSA_RESCALE_LOWEREDRESCALE_H

#include "LoweredScale.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tosa/IR/TosaOps.h"

namespace tosa_rescale {

class ValueRanges;

/// A rescale whose scales fit 32 bits.
struct LoweredRescale {
  /// Of i8, i16, i32, or i48.
  mlir::Value input;
  mlir::Type resultType;
  bool inputUnsigned = false;
  bool outputUnsigned = false;
  int64_t inputZp = 0;
  int64_t outputZp = 0;
  /// One for each channel, or one for all.
  llvm::SmallVector<LoweredScale> scales;
  /// Stands for one scale for each channel, whatever their number.
  bool perChannel = false;

  /// Builds the operations at the builder's insertion point; `attributes` go to
  /// the last one, which makes the result.
  mlir::Value build(mlir::OpBuilder &builder, mlir::Location location,
                    llvm::ArrayRef<mlir::NamedAttribute> attributes) const;

  /// The rescale that ends with `last`, a cast or a shift; nothing if `last`
  /// ends none.
  static std::optional<LoweredRescale> match(mlir::Operation *last);

  /// Builds the `tosa.rescale`; null if it cannot express a scale.
  mlir::tosa::RescaleOp raise(mlir::OpBuilder &builder,
                              mlir::Location location) const;
};

/// `op` in 32 bits, if that is proven to be the same for every input, else why
/// it is not, as "requires X, got Y". Inputs of i48 only with `wideInputs`.
std::optional<LoweredRescale> lowerRescale(mlir::tosa::RescaleOp op,
                                           ValueRanges &ranges, bool wideInputs,
                                           std::string &reason);

/// Makes a `tosa.rescale` of every lowered one in `function`, and returns how
/// many there were.
int64_t raiseRescales(mlir::func::FuncOp function);

} // namespace tosa_rescale

#endif // TOSA_RESCALE_LOWEREDRESCALE_H
