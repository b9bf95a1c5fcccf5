//===- RescaleOps.h - reading and building tosa.rescale -------------------===//
//
// The operands of a tosa.rescale as numbers, and where its input comes from.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef TOSA_RESCALE_RESCALEOPS_H
#define TOSA_RESCALE_RESCALEOPS_H

#include "RescaleMath.h"

#include "mlir/Dialect/Tosa/IR/TosaOps.h"

namespace tosa_rescale {

constexpr int64_t kMinBits = 1;
constexpr int64_t kMaxBits = kMultiplierBits32;

/// Which rescales a pass is about: those of accumulators, or every one.
enum class Scope { Accumulator, All };

/// The elements of a constant; null if `value` is none. Looks through
/// `tosa.reshape`, which keeps the memory order.
mlir::ElementsAttr getConstantElements(mlir::Value value);

/// The bytes of `elements` in memory order. No result where the attribute keeps
/// them in another form, as one element that stands for all.
std::optional<llvm::ArrayRef<char>> getRawData(mlir::ElementsAttr elements);

/// Makes `operand`, which reads a constant, read a new one with `elements`, and
/// erases the old one if nothing else reads it.
void replaceConstant(mlir::OpBuilder &builder, mlir::OpOperand &operand,
                     mlir::DenseElementsAttr elements);

/// Erases `op` if nothing reads it, and then what only `op` read.
void eraseIfDead(mlir::Operation *op);

/// The elements of an integer tensor constant in memory order, extended
/// according to their type (signless ones by sign). No result if `value` is not
/// a constant or not of integers. Looks through `tosa.reshape`.
std::optional<llvm::SmallVector<int64_t>>
getConstantIntegers(mlir::Value value);

/// The scales of `op`, one for each channel or one for all. No result if one of
/// the two operands is not a constant.
std::optional<llvm::SmallVector<Scale>> getScales(mlir::tosa::RescaleOp op);

/// Narrows every scale, or none.
std::optional<llvm::SmallVector<Scale>>
narrowScales(llvm::ArrayRef<Scale> scales, const NarrowFormat &format);

/// The largest scale, as text: the one that a legal shift is least likely to
/// express.
std::string describeLargest(llvm::ArrayRef<Scale> scales);

/// Gives `op` the scales, as new constants of the type that `scale32` asks for,
/// and erases those that became dead. Changes nothing where `op` already is
/// what is asked for, and returns false.
bool setScales(mlir::OpBuilder &builder, mlir::tosa::RescaleOp op,
               llvm::ArrayRef<Scale> scales, bool scale32,
               mlir::tosa::RoundingMode roundingMode);

/// Whether the result of `op` holds elements of its first operand and nothing
/// else, in another shape or order: reshape, transpose, slice and identity.
bool isDataMovement(mlir::Operation *op);

/// The value that `value` holds in another shape or order: looks through data
/// movement, and through concat when all of its operands come from
/// accumulators.
mlir::Value getDataSource(mlir::Value value);

/// A convolution or matrix product, whose output is an accumulator.
bool isAccumulatorOp(mlir::Operation *op);

/// Whether the input of `op` is an accumulator, directly or in another shape.
bool isAccumulatorRescale(mlir::tosa::RescaleOp op);

/// The width that the options and `tosa_rescale.bits` ask of one rescale.
struct BitsRequest {
  int64_t bits = 0;
  /// 0: the same as `bits`.
  int64_t elementwiseBits = 0;
  bool hiddenBit = false;
  Scope scope = Scope::Accumulator;
};

/// Emits an error in the name of `pass` if the options of `request` contradict
/// each other or are out of range; `minBits` is 0 where `bits` is optional.
llvm::LogicalResult checkBitsRequest(mlir::Location location,
                                     llvm::StringRef pass,
                                     const BitsRequest &request,
                                     int64_t minBits);

/// The significant bits that `request` and the attribute of `op` allow its
/// multipliers; nothing if `op` is out of scope. Emits an error if the
/// attribute makes no sense.
llvm::FailureOr<std::optional<int64_t>>
getSignificantBits(mlir::tosa::RescaleOp op, const BitsRequest &request);

} // namespace tosa_rescale

#endif // TOSA_RESCALE_RESCALEOPS_H
