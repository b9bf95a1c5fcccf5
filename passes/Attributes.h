//===- Attributes.h - the attributes that passes read and write -----------===//
//
// Every attribute by which a pass is told something, or tells something.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef TOSA_RESCALE_ATTRIBUTES_H
#define TOSA_RESCALE_ATTRIBUTES_H

#include "llvm/ADT/StringRef.h"

namespace tosa_rescale {

//===----------------------------------------------------------------------===//
// On a rescale
//===----------------------------------------------------------------------===//

/// Integer: overrides the width of one rescale, and puts it in scope. Written
/// by the user, and by `tosa-rescale-align` where a multiplier must stay wide.
inline constexpr llvm::StringLiteral kBitsAttrName = "tosa_rescale.bits";

/// Dictionary: what `tosa-rescale-annotate` found out.
inline constexpr llvm::StringLiteral kInfoAttrName = "tosa_rescale.info";

/// Dictionary: what `tosa-rescale-compensate` did to the layer.
inline constexpr llvm::StringLiteral kCompensatedAttrName =
    "tosa_rescale.compensated";

/// f32 [N]: what cutting off the values of its result costs. Consumed by
/// `tosa-rescale-align`.
inline constexpr llvm::StringLiteral kClippingAttrName =
    "tosa_rescale.clipping_errors";

//===----------------------------------------------------------------------===//
// On a constant
//===----------------------------------------------------------------------===//

/// Integer: bits of the type that it had before its rescale was folded into it.
inline constexpr llvm::StringLiteral kConstantBitsAttrName =
    "tosa_rescale.constant_bits";

//===----------------------------------------------------------------------===//
// On a table
//===----------------------------------------------------------------------===//

/// Integer, 1: the table follows from the scales of what it reads and makes,
/// and whoever runs the passes computes it anew for other ones. Consumed by
/// `tosa-rescale-align`.
inline constexpr llvm::StringLiteral kFunctionAttrName =
    "tosa_rescale.function";

/// Integer, 1: `tosa-rescale-tabulate` made it of element-wise operations.
inline constexpr llvm::StringLiteral kTabulatedAttrName =
    "tosa_rescale.tabulated";

//===----------------------------------------------------------------------===//
// On a convolution: statistics of its input, consumed by
// `tosa-rescale-compensate`; see LayerStatistics.h for their shapes
//===----------------------------------------------------------------------===//

/// f32: E[x].
inline constexpr llvm::StringLiteral kMeanAttrName = "tosa_rescale.input_mean";

/// f32: E[x^2].
inline constexpr llvm::StringLiteral kSquareAttrName =
    "tosa_rescale.input_square";

/// f32: F with E[xx'] = F'F but on the diagonal.
inline constexpr llvm::StringLiteral kFactorsAttrName =
    "tosa_rescale.input_factors";

/// f32: E[xx'].
inline constexpr llvm::StringLiteral kMomentAttrName =
    "tosa_rescale.input_moment";

//===----------------------------------------------------------------------===//
// On any operation: the scale of its results
//===----------------------------------------------------------------------===//

/// f64: what `tosa-rescale-align` multiplied the scale of its result by.
inline constexpr llvm::StringLiteral kFactorAttrName =
    "tosa_rescale.scale_factor";

/// f64: `tosa-rescale-align` is to multiply the scale of its results by this
/// and nothing else. Consumed by it.
inline constexpr llvm::StringLiteral kFixedFactorAttrName =
    "tosa_rescale.fixed_factor";

/// f64: how far above its zero point a clamp cuts off, in steps of its scale; a
/// lower limit below the zero point is as far. More than the type holds where
/// only the type limits, as behind LiteRT's RELU. Consumed by
/// `tosa-rescale-align`.
inline constexpr llvm::StringLiteral kReachAttrName = "tosa_rescale.reach";

//===----------------------------------------------------------------------===//
// On the shift and the product of a lowered rescale, and on a rescale that was
// raised
//===----------------------------------------------------------------------===//

/// Unit: `tosa-rescale-lower` made it, so it belongs to a rescale even where
/// others look like it. On a rescale: `tosa-rescale-raise` made it of such.
inline constexpr llvm::StringLiteral kLoweredAttrName = "tosa_rescale.lowered";

} // namespace tosa_rescale

#endif // TOSA_RESCALE_ATTRIBUTES_H
