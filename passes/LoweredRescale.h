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

#include "Interval.h"
#include "LoweredScale.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tosa/IR/TosaOps.h"

namespace tosa_rescale {

class ValueRanges;

/// Bits of the elements; 0 if they are no integers.
inline int64_t getWidth(mlir::Type type) {
  auto integer =
      llvm::dyn_cast<mlir::IntegerType>(mlir::getElementTypeOrSelf(type));
  return integer ? integer.getWidth() : 0;
}

/// All values of `width` bits.
inline Interval getLimits(int64_t width, bool isUnsigned) {
  const int64_t half = int64_t(1) << (width - 1);
  return isUnsigned ? Interval{0, 2 * half - 1} : Interval{-half, half - 1};
}

/// Who rounds: a shift with `round = true`, or half that is added before, where
/// possible in the bias of the convolution and so for nothing.
enum class ShiftRounding { Shift, Bias };

/// What a rescale in 32 bits may be made of.
struct LowerRequest {
  ShiftRounding rounding = ShiftRounding::Shift;
  /// Inputs of i48, whose range fits i32.
  bool wideInputs = false;
};

/// Where the half is that makes a shift round.
enum class HalfPlace { Shift, Add, Bias };

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
  HalfPlace half = HalfPlace::Shift;
  /// Stands for one scale for each channel, whatever their number.
  bool perChannel = false;

  /// `1 << (shift - 1)` of each scale, 0 for a shift of 0.
  llvm::SmallVector<int64_t> getHalves() const;

  /// Builds the operations at the builder's insertion point; `attributes` go to
  /// the last one, which makes the result. Changes the bias of the
  /// convolution where that holds the half.
  mlir::Value build(mlir::OpBuilder &builder, mlir::Location location,
                    llvm::ArrayRef<mlir::NamedAttribute> attributes) const;

  /// The rescale that ends with `last`, a cast or a shift; nothing if `last`
  /// ends none, or none whose shift has the attribute, with `onlyMarked`.
  static std::optional<LoweredRescale> match(mlir::Operation *last,
                                             bool onlyMarked = false);

  /// Builds the `tosa.rescale`; null if it cannot express a scale. The bias of
  /// the convolution, where that holds the half, is the caller's.
  mlir::tosa::RescaleOp raise(mlir::OpBuilder &builder,
                              mlir::Location location) const;
};

/// `op` in 32 bits, if that is proven to be the same for every input, else why
/// it is not, as "requires X, got Y".
std::optional<LoweredRescale> lowerRescale(mlir::tosa::RescaleOp op,
                                           ValueRanges &ranges,
                                           const LowerRequest &request,
                                           std::string &reason);

/// Adds to the bias of the convolution that makes `accumulator`, one number for
/// each channel or one for all. False, and nothing is changed, if there is no
/// convolution with a constant bias of i32 that nothing else reads, or the sum
/// does not fit. Only asks with `dryRun`.
bool addToBias(mlir::OpBuilder &builder, mlir::Value accumulator,
               llvm::ArrayRef<int64_t> numbers, bool dryRun);

/// Makes a `tosa.rescale` of every lowered one in `function`, and returns how
/// many there were. With `onlyMarked`, and where any shift has the attribute,
/// shifts without it are the network's own.
int64_t raiseRescales(mlir::func::FuncOp function, bool onlyMarked = false);

} // namespace tosa_rescale

#endif // TOSA_RESCALE_LOWEREDRESCALE_H
