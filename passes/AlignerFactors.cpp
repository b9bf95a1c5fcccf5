//===- AlignerFactors.cpp - the factor of one tensor
//-----------------------===//
//
// Implements of Aligner.h what a factor costs, and which one on a grid costs
// least.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Aligner.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tosa_rescale {

/// Octaves about a factor of 1 in which the factor of a tensor is searched.
static constexpr int kLowestOctave = -4, kHighestOctave = 2;
/// Mean square of the error of rounding to a step of 1.
static constexpr double kRoundingError = 1.0 / 12;
/// The square of a roomy tensor's step, where that of others is 1.
static constexpr double kRoomyStep = 0x1p-40;

/// Of an integer of at most kMaxGridBits bits.
static double getLog2(int64_t value) {
  static const std::vector<double> known = [] {
    std::vector<double> made;
    for (int each = 0; each < 1 << kMaxGridBits; ++each)
      made.push_back(std::log2(static_cast<double>(each)));
    return made;
  }();
  return known[value];
}

bool Aligner::isMeasured(int tensor) const {
  const AlignedTensor &t = problem.tensors[tensor];
  return !t.roomy && !t.clippingErrors.empty();
}

double Aligner::getError(int tensor, double factor) const {
  const AlignedTensor &t = problem.tensors[tensor];
  const double rounding =
      kRoundingError * std::exp2(2 * factor) * (t.roomy ? kRoomyStep : 1);
  if (factor < t.lowest - 1e-9)
    return std::numeric_limits<double>::infinity();
  if (!isMeasured(tensor))
    return isAllowed(tensor, factor) ? t.weight * rounding
                                     : std::numeric_limits<double>::infinity();
  const double position = std::max(0.0, -factor * kClippingSteps);
  const size_t step = static_cast<size_t>(position);
  if (step + 1 >= t.clippingErrors.size())
    return std::numeric_limits<double>::infinity();
  const double share = position - static_cast<double>(step);
  return t.weight * (rounding + (1 - share) * t.clippingErrors[step] +
                     share * t.clippingErrors[step + 1]);
}

/// std::floor(), without the call that it is on x86.
static double getFloor(double value) {
  const double whole = static_cast<double>(static_cast<int64_t>(value));
  return whole > value ? whole - 1 : whole;
}

double Aligner::chooseOctave(int tensor, double factor) const {
  const double fraction = factor - getFloor(factor + 1e-9);
  double best = fraction + kHighestOctave;
  if (isMeasured(tensor)) {
    for (int octave = kHighestOctave - 1; octave >= kLowestOctave; --octave)
      // Ties go to the least change.
      if (getError(tensor, fraction + octave) < getError(tensor, best))
        best = fraction + octave;
  } else {
    // Rounding alone costs less the smaller the factor is.
    for (int octave =
             std::max<int>(kLowestOctave, getFloor(lowest(tensor)) - 1);
         octave < kHighestOctave; ++octave)
      if (isAllowed(tensor, fraction + octave)) {
        best = fraction + octave;
        break;
      }
  }
  return std::abs(best) < 1e-12 ? 0 : best;
}

double Aligner::chooseOnGrid(
    int tensor, int bits, double rest, bool end,
    const std::function<bool(double factor, bool isPower)> &isRight) const {
  const int64_t first = int64_t(1) << (std::min(bits, kMaxGridBits) - 1);
  const bool measured = isMeasured(tensor);
  double best = 0, least = std::numeric_limits<double>::infinity();
  for (int64_t m = first; m < 2 * first; ++m) {
    const double place = getLog2(m);
    const double factor =
        chooseOctave(tensor, end ? rest - place : place - rest);
    // As there, rounding alone need not be computed.
    const double error = !measured && isAllowed(tensor, factor)
                             ? factor
                             : getError(tensor, factor);
    if (error < least && isRight(factor, m == first)) {
      least = error;
      best = factor;
    }
  }
  return best;
}

double Aligner::propose(int edge, int tensor) const {
  const AlignedEdge &e = problem.edges[edge];
  // The new multiplier with a factor of 1 at `tensor`; a factor above 1 there
  // divides it if the edge ends there, else multiplies it.
  const bool end = e.to == tensor;
  const double rest =
      end ? e.log2Scale + factors[e.from] : e.log2Scale - factors[e.to];
  return chooseOnGrid(tensor, grid[edge], rest, end,
                      [&](double factor, bool isPower) {
                        // The sum itself follows the operand that it is reached
                        // from.
                        return e.addition < 0 || isPower ||
                               (!end && hasLargerAddend(edge, rest + factor,
                                                        /*onlyReached=*/true));
                      });
}

} // namespace tosa_rescale
