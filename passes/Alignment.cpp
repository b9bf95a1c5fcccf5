//===- Alignment.cpp - scales of tensors that make multipliers narrow -----===//
//
// Implements Alignment.h.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Alignment.h"

#include "Aligner.h"

#include <algorithm>
#include <cmath>

namespace tosa_rescale {

double narrowLog2(double log2Scale, int bits) {
  if (bits > kMaxGridBits)
    return log2Scale;
  const double octave = std::floor(log2Scale);
  const double step = std::ldexp(1.0, bits - 1);
  return octave +
         std::log2(std::round(std::exp2(log2Scale - octave) * step) / step);
}

Alignment alignTensors(const AlignmentProblem &problem) {
  // A roomy tensor between two edges alone is one edge with a power of two in
  // front: it has nothing to choose.
  const int count = problem.tensors.size();
  std::vector<std::vector<int>> edgesInto(count), edgesFrom(count);
  std::vector<bool> multiplied(count, false);
  for (const AlignedProduct &product : problem.products)
    multiplied[product.first] = multiplied[product.second] =
        multiplied[product.out] = true;
  for (int i = 0, e = problem.edges.size(); i < e; ++i) {
    edgesInto[problem.edges[i].to].push_back(i);
    edgesFrom[problem.edges[i].from].push_back(i);
  }
  AlignmentProblem reduced = problem;
  reduced.edges.clear();
  // For each edge the one of the reduced problem, or -1 for one in front.
  std::vector<int> place(problem.edges.size(), -1);
  std::vector<int> passed;
  auto isPassed = [&](int tensor) {
    if (!problem.tensors[tensor].roomy || problem.tensors[tensor].pinned ||
        multiplied[tensor] || edgesInto[tensor].size() != 1 ||
        edgesFrom[tensor].size() != 1)
      return false;
    const AlignedEdge &in = problem.edges[edgesInto[tensor][0]];
    const AlignedEdge &out = problem.edges[edgesFrom[tensor][0]];
    return in.bits == out.bits && in.bits <= kMaxGridBits && in.addition < 0 &&
           in.from != tensor && !problem.tensors[in.from].roomy;
  };
  for (int i = 0, e = problem.edges.size(); i < e; ++i) {
    const AlignedEdge &edge = problem.edges[i];
    if (isPassed(edge.to)) {
      passed.push_back(edge.to);
      continue;
    }
    AlignedEdge whole = edge;
    if (isPassed(edge.from)) {
      const AlignedEdge &in = problem.edges[edgesInto[edge.from][0]];
      whole.from = in.from;
      // The power of two in front changes no significant bit.
      whole.log2Scale += in.log2Scale;
    }
    place[i] = reduced.edges.size();
    reduced.edges.push_back(whole);
  }
  const Alignment found = alignOnGrids(reduced);

  Alignment result;
  result.log2Factors = found.log2Factors;
  for (int tensor : passed) {
    const AlignedEdge &in = problem.edges[edgesInto[tensor][0]];
    const double rest = in.log2Scale - std::round(in.log2Scale);
    const double factor = result.log2Factors[in.from] +
                          (std::abs(rest) < kAlignmentTolerance ? 0 : rest);
    result.log2Factors[tensor] = factor - std::floor(factor + 1e-9);
  }
  for (int edge : place)
    result.narrow.push_back(edge < 0 || found.narrow[edge]);
  return result;
}

std::optional<Scale> multiplyScale(Scale scale, double log2Factor,
                                   int containerBits, int bits) {
  if (scale.multiplier <= 0)
    return scale;
  double wanted = std::log2(static_cast<double>(scale.multiplier)) -
                  scale.shift + log2Factor;
  // Through a logarithm 52 bits shrink to 46, which 31 never see; a whole
  // power of two does not pass through it.
  int exponent;
  double fraction;
  if (bits > 0 && bits <= kMaxGridBits) {
    wanted = narrowLog2(wanted, bits);
    fraction = std::exp2(wanted - std::floor(wanted)) / 2;
    exponent = static_cast<int>(std::floor(wanted)) + 1;
    const double step = std::ldexp(1.0, bits);
    fraction = std::round(fraction * step) / step;
  } else {
    const double whole = std::round(log2Factor);
    const double rest = log2Factor - whole;
    fraction = std::frexp(static_cast<double>(scale.multiplier) *
                              (rest == 0 ? 1.0 : std::exp2(rest)),
                          &exponent);
    exponent += static_cast<int>(whole) - static_cast<int>(scale.shift);
  }
  int64_t multiplier = std::llround(std::ldexp(fraction, containerBits));
  int64_t shift = containerBits - exponent;
  if (multiplier == int64_t(1) << containerBits) {
    multiplier >>= 1;
    --shift;
  }
  while (shift > kMaxShift) {
    // A very small scale keeps what 62 can hold.
    multiplier = (multiplier + 1) >> 1;
    --shift;
  }
  if (shift < kMinShift || multiplier == 0)
    return std::nullopt;
  return Scale{multiplier, shift};
}

} // namespace tosa_rescale
