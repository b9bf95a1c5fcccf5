//===- Alignment.h - scales of tensors that make multipliers narrow -------===//
//
// Chooses for each tensor of a network the factor of its scale, so that the
// multipliers between tensors become narrow; free of MLIR types.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef TOSA_RESCALE_ALIGNMENT_H
#define TOSA_RESCALE_ALIGNMENT_H

#include "RescaleMath.h"

#include <limits>
#include <vector>

namespace tosa_rescale {

/// Values whose scale changes by one common factor.
struct AlignedTensor {
  /// The factor is given: 2^log2Factor.
  bool pinned = false;
  /// Has bits to spare, as the int32 operands of an addition: it never clips,
  /// and a coarser step costs next to nothing.
  bool roomy = false;
  /// Element i: the mean squared error, in steps of the tensor as it is, of
  /// cutting its values off at 2^(-i / kClippingSteps) of its range. Empty
  /// where that was not measured; AlignmentProblem::clipping limits it then.
  std::vector<double> clippingErrors;
  /// Where it is pinned.
  double log2Factor = 0;
  /// The least log2 factor that it may have: constants and the entries of
  /// tables do not saturate, and without measurements nothing of 16 bits does.
  double lowest = -std::numeric_limits<double>::infinity();
  /// What its errors count for, where those of others count 1.
  double weight = 1;
};

/// A multiplier M between two tensors, which becomes M * f[from] / f[to].
struct AlignedEdge {
  int from = 0;
  int to = 0;
  double log2Scale = 0;
  /// Significant bits that the new multiplier may have.
  int bits = 1;
  /// Edges with one number that is not negative scale the operands of one
  /// addition, and the largest of them must be a power of two: LiteRT scales
  /// both to twice the larger operand's scale.
  int addition = -1;
};

/// f[out] = f[first] * f[second]: a product of two tensors.
struct AlignedProduct {
  int first = 0;
  int second = 0;
  int out = 0;
};

struct AlignmentProblem {
  std::vector<AlignedTensor> tensors;
  std::vector<AlignedEdge> edges;
  std::vector<AlignedProduct> products;
  /// A scale of which nothing was measured may shrink to 1 - clipping, so that
  /// values above are cut off.
  double clipping = 0.1;
};

struct Alignment {
  /// log2 of each tensor's factor; 0 where nothing asks for another.
  std::vector<double> log2Factors;
  /// For each edge: its new multiplier has the bits it may have.
  std::vector<bool> narrow;
};

/// Entries of AlignedTensor::clippingErrors for each octave.
inline constexpr int kClippingSteps = 8;

/// Two multipliers that differ by less than this in log2 are the same: what
/// scales in float32 leave.
inline constexpr double kAlignmentTolerance = 0x1p-20;

/// Chooses the factors. As few edges as a local search can find stay wide:
/// those on a cycle, or between two pinned tensors, whose multipliers do not
/// multiply to a narrow one.
Alignment alignTensors(const AlignmentProblem &problem);

/// log2 of the multiplier of `bits` significant bits that is nearest to
/// 2^log2Scale.
double narrowLog2(double log2Scale, int bits);

/// `scale * 2^log2Factor` with as many bits as the container holds, or with
/// `bits` significant bits if that is not 0. No result if no legal shift
/// expresses it, or only at a loss of more than kSlackBits.
std::optional<Scale> multiplyScale(Scale scale, double log2Factor,
                                   int containerBits, int bits = 0);

} // namespace tosa_rescale

#endif // TOSA_RESCALE_ALIGNMENT_H
