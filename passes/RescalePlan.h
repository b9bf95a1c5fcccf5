//===- RescalePlan.h - what a rescale is to become ------------------------===//
//
// Decides once, for all passes that narrow, what one rescale is to become: its
// multipliers, their type and the rounding mode, or that it is left alone.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef TOSA_RESCALE_RESCALEPLAN_H
#define TOSA_RESCALE_RESCALEPLAN_H

#include "RescaleOps.h"

namespace tosa_rescale {

/// The form of a narrowed multiplier; see `tosa-rescale-narrow`.
enum class Encoding { Aligned, Scale16 };

/// The rounding mode of a narrowed rescale.
enum class ResultRounding { Single, Double, Keep };

/// What a pass was asked to make of the rescales in its scope.
struct NarrowRequest {
  BitsRequest width;
  Encoding encoding = Encoding::Aligned;
  ResultRounding resultRounding = ResultRounding::Single;
  MultiplierRounding multiplierRounding = MultiplierRounding::Nearest;
};

/// Emits an error in the name of `pass` if the options of `request` contradict
/// each other or are out of range.
llvm::LogicalResult checkNarrowRequest(mlir::Location location,
                                       llvm::StringRef pass,
                                       const NarrowRequest &request);

/// What one rescale is to become.
struct RescalePlan {
  mlir::tosa::RescaleOp op;
  /// What `scales` look like.
  NarrowFormat format;
  bool scale32 = true;
  mlir::tosa::RoundingMode roundingMode =
      mlir::tosa::RoundingMode::SINGLE_ROUND;
  llvm::SmallVector<Scale> oldScales;
  /// The old ones, narrowed.
  llvm::SmallVector<Scale> scales;

  /// Changes the operation; false if it already is what is planned.
  bool apply(mlir::OpBuilder &builder) const {
    return setScales(builder, op, scales, scale32, roundingMode);
  }
};

/// Plans all rescales in `root` that are in scope, in their order, and hands
/// each plan to `take`. What cannot be narrowed gets a remark that says why and
/// no plan; the result is how many these are. Where attributes contradict the
/// options, emits errors for all of them and fails.
llvm::FailureOr<int64_t>
planRescales(mlir::Operation *root, const NarrowRequest &request,
             llvm::function_ref<void(RescalePlan &&)> take);

} // namespace tosa_rescale

#endif // TOSA_RESCALE_RESCALEPLAN_H
