//===- AlignmentTest.cpp - tests of the choice of scales ------------------===//
//
// Compares alignTensors() with exhaustive search over small random networks,
// and multiplyScale() with the product in floating point.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// RUN: %cxx -std=c++17 -O2 -Wall -Wextra -I %passes_src %s \
// RUN:   %passes_src/Alignment.cpp %passes_src/Aligner.cpp \
// RUN:   %passes_src/AlignerFactors.cpp %passes_src/AlignerGrids.cpp \
// RUN:   %passes_src/AlignerProducts.cpp -o %t
// RUN: %t

#include "Alignment.h"
#include "Check.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

using namespace tosa_rescale;

static std::mt19937_64 random64(1);

static int draw(int low, int high) {
  return std::uniform_int_distribution<int>(low, high)(random64);
}

/// The fewest edges that must stay wide at one bit, where all multipliers are
/// multiples of an eighth of an octave: then so may all factors be.
static int countWideExhaustively(const AlignmentProblem &problem) {
  const int count = problem.tensors.size();
  std::vector<int> eighths(count, 0);
  int best = problem.edges.size();
  while (true) {
    int wide = 0;
    for (const AlignedEdge &edge : problem.edges) {
      const int change = static_cast<int>(std::lround(edge.log2Scale * 8)) +
                         eighths[edge.from] - eighths[edge.to];
      wide += change % 8 != 0;
    }
    best = std::min(best, wide);
    int i = 0;
    for (; i < count; ++i) {
      if (problem.tensors[i].pinned)
        continue;
      if (++eighths[i] < 8)
        break;
      eighths[i] = 0;
    }
    if (i == count)
      return best;
  }
}

/// Pinned tensors keep their factor, others stay within an octave above the
/// lowest, an edge called narrow is, and no more of them are wide than must be.
static void testRandomNetworks() {
  int more = 0, cases = 0;
  for (int round = 0; round < 400; ++round) {
    AlignmentProblem problem;
    const int count = draw(2, 5);
    for (int i = 0; i < count; ++i)
      problem.tensors.push_back({draw(0, 3) == 0, draw(0, 1) == 0, {}});
    for (int i = draw(1, 6); i > 0; --i) {
      AlignedEdge edge;
      edge.from = draw(0, count - 1);
      edge.to = (edge.from + draw(1, count - 1)) % count;
      edge.log2Scale = draw(-80, 80) / 8.0;
      problem.edges.push_back(edge);
    }
    const Alignment found = alignTensors(problem);
    for (int i = 0; i < count; ++i) {
      const double factor = found.log2Factors[i];
      const double lowest =
          problem.tensors[i].roomy ? 0 : std::log2(1 - problem.clipping);
      if (problem.tensors[i].pinned)
        CHECK(factor == 0, "round %d: pinned, got 2^%g", round, factor);
      else
        CHECK(factor > lowest - 1e-8 && factor < lowest + 1 + 1e-8,
              "round %d: got 2^%g", round, factor);
    }
    int wide = 0;
    for (size_t i = 0; i < problem.edges.size(); ++i) {
      const AlignedEdge &edge = problem.edges[i];
      const double result = edge.log2Scale + found.log2Factors[edge.from] -
                            found.log2Factors[edge.to];
      const bool narrow = std::abs(result - std::round(result)) < 1e-6;
      CHECK(narrow == found.narrow[i], "round %d, edge %zu", round, i);
      wide += !narrow;
    }
    ++cases;
    more += wide > countWideExhaustively(problem);
  }
  // A local search: it may miss the least set, but hardly ever does.
  CHECK(more * 100 <= cases, "%d of %d cases have more wide edges than needed",
        more, cases);
}

/// Two bits reach 2^n and 1.5 * 2^n: 1.4 needs a smaller change than with one.
static void testWiderBudget() {
  for (int bits = 1; bits <= 2; ++bits) {
    AlignmentProblem problem;
    problem.tensors = {{true, false, {}}, {false, false, {}}};
    problem.edges = {{0, 1, std::log2(1.4), bits}};
    problem.clipping = 0.1;
    const double factor = std::exp2(alignTensors(problem).log2Factors[1]);
    const double expected = bits == 1 ? 1.4 : 1.4 / 1.5;
    CHECK(std::abs(factor - expected) < 1e-9, "%d bits: %g", bits, factor);
  }
}

/// A random problem with circles and products; all multipliers are multiples of
/// an eighth of an octave.
static AlignmentProblem drawCircles() {
  AlignmentProblem problem;
  const int count = draw(3, 9);
  for (int i = 0; i < count; ++i)
    problem.tensors.push_back({draw(0, 5) == 0, draw(0, 1) == 0, {}});
  for (int i = draw(0, 2); i > 0; --i) {
    // Its operands are no products, and come before.
    const int out = problem.tensors.size();
    problem.tensors.push_back({false, true, {}});
    problem.products.push_back({draw(0, count - 1), draw(0, count - 1), out});
  }
  const int all = problem.tensors.size();
  for (int i = draw(count - 1, count + 3); i > 0; --i) {
    AlignedEdge edge;
    edge.from = draw(0, all - 1);
    edge.to = draw(0, count - 1);
    if (edge.from == edge.to)
      continue;
    edge.log2Scale = draw(-16, 16) / 8.0;
    problem.edges.push_back(edge);
  }
  return problem;
}

static int countWide(const Alignment &alignment) {
  return std::count(alignment.narrow.begin(), alignment.narrow.end(), false);
}

/// Powers of two are multipliers of any number of bits: with more of them no
/// more edges are wide, and the errors are no larger in all.
static void testMoreBitsLeaveNoMoreWide() {
  int circles = 0;
  double coarse = 0, fine = 0;
  for (int round = 0; round < 1000; ++round) {
    AlignmentProblem problem = drawCircles();
    const Alignment one = alignTensors(problem);
    const int bits = draw(2, 5);
    for (AlignedEdge &edge : problem.edges)
      edge.bits = bits;
    const Alignment several = alignTensors(problem);
    CHECK(countWide(several) <= countWide(one),
          "round %d: %d wide with %d bits, %d with one", round,
          countWide(several), bits, countWide(one));
    circles += problem.edges.size() >= problem.tensors.size();
    for (size_t i = 0; i < problem.edges.size(); ++i) {
      const AlignedEdge &edge = problem.edges[i];
      const double result = edge.log2Scale + several.log2Factors[edge.from] -
                            several.log2Factors[edge.to];
      CHECK(several.narrow[i] ==
                (std::abs(result - narrowLog2(result, bits)) < 1e-6),
            "round %d, edge %zu", round, i);
    }
    for (size_t i = 0; i < problem.tensors.size(); ++i)
      if (!problem.tensors[i].roomy) {
        coarse += std::exp2(2 * one.log2Factors[i]);
        fine += std::exp2(2 * several.log2Factors[i]);
      }
  }
  CHECK(circles > 200, "only %d problems have a circle", circles);
  CHECK(fine < coarse, "errors of %g, with one bit of %g", fine, coarse);
}

/// Two ways from 0 to 3 whose multipliers agree: with 2 bits each of them may
/// be 1.5 times a power of two, but not so that 2.25 is left over. What hangs
/// on to the circle, 4, keeps its second bit.
static void testCircle() {
  AlignmentProblem problem;
  problem.tensors = {{true, false, {}},
                     {false, false, {}},
                     {false, false, {}},
                     {false, false, {}},
                     {false, false, {}}};
  problem.edges = {{0, 1, std::log2(1.4), 2},
                   {0, 2, std::log2(1.2), 2},
                   {1, 3, std::log2(1.7), 2},
                   {2, 3, std::log2(1.4 * 1.7 / 1.2), 2},
                   {3, 4, std::log2(1.4), 2}};
  const Alignment found = alignTensors(problem);
  CHECK(countWide(found) == 0, "%d are wide", countWide(found));
  CHECK(found.log2Factors[4] < std::log2(1.34), "2^%g", found.log2Factors[4]);
}

/// A circle whose multipliers leave 1.13 over is as it would be alone, whatever
/// helps another one.
static void testHopelessCircle() {
  AlignmentProblem alone;
  alone.tensors = {{true, false, {}}, {false, false, {}}, {false, false, {}}};
  alone.edges = {{0, 1, std::log2(1.4), 2},
                 {1, 2, std::log2(1.4), 2},
                 {0, 2, std::log2(1.4 * 1.4 * 1.13), 2}};
  const Alignment expected = alignTensors(alone);
  AlignmentProblem both = alone;
  for (int i = 0; i < 4; ++i)
    both.tensors.push_back({i == 0, false, {}});
  both.edges.insert(both.edges.end(), {{3, 4, std::log2(1.4), 2},
                                       {3, 5, std::log2(1.2), 2},
                                       {4, 6, std::log2(1.7), 2},
                                       {5, 6, std::log2(1.4 * 1.7 / 1.2), 2}});
  const Alignment found = alignTensors(both);
  CHECK(countWide(expected) == 1 && countWide(found) == 1, "%d, %d are wide",
        countWide(expected), countWide(found));
  for (int i = 0; i < 3; ++i)
    CHECK(found.log2Factors[i] == expected.log2Factors[i],
          "tensor %d: 2^%g, alone 2^%g", i, found.log2Factors[i],
          expected.log2Factors[i]);
}

/// A product's factor is that of both; what it leads to follows.
static void testProduct() {
  AlignmentProblem problem;
  problem.clipping = 0;
  // 0 pinned -> 1 (by 0.75) and 0 -> 2 (by 0.75); 3 = 1 * 2; 3 -> 4 by 1.
  problem.tensors = {{true, false, {}},
                     {false, false, {}},
                     {false, false, {}},
                     {false, true, {}},
                     {}};
  const double m = std::log2(0.75);
  problem.edges = {{0, 1, m, 1}, {0, 2, m, 1}, {3, 4, 0, 1}};
  problem.products = {{1, 2, 3}};
  const Alignment found = alignTensors(problem);
  const double expected[] = {0, m + 1, m + 1, 2 * m + 2, 2 * m + 1};
  for (int i = 0; i < 5; ++i)
    CHECK(std::abs(found.log2Factors[i] - expected[i]) < 1e-9,
          "tensor %d: 2^%g", i, found.log2Factors[i]);
  CHECK(found.narrow == std::vector<bool>(3, true), "not all narrow");
}

/// A tensor goes where rounding and cutting off cost least together.
static void testMeasuredErrors() {
  AlignmentProblem problem;
  problem.tensors = {{true, false, {}}, {false, false, {}}};
  problem.edges = {{0, 1, std::log2(1.4), 1}};
  for (const double cost : {0.0, 0.05, 1.0}) {
    problem.tensors[1].clippingErrors.assign(kClippingSteps + 1, cost);
    problem.tensors[1].clippingErrors[0] = 0;
    // 0.7 costs 0.49 / 12 and what is cut off, 1.4 costs 1.96 / 12.
    const double expected = cost < (1.96 - 0.49) / 12 ? 0.7 : 1.4;
    const double factor = std::exp2(alignTensors(problem).log2Factors[1]);
    CHECK(std::abs(factor - expected) < 1e-9, "cost %g: %g", cost, factor);
  }
}

/// With several bits, the largest operand of an addition has a power of two.
static void testAdditions() {
  int several = 0;
  for (int round = 0; round < 300; ++round) {
    AlignmentProblem problem;
    problem.clipping = 0.1;
    // 0 and 1 meet in 2, which becomes 3; 0 or 3 may be pinned.
    const int pinned = draw(0, 3);
    problem.tensors = {{pinned == 0, false, {}},
                       {false, false, {}},
                       {false, true, {}},
                       {pinned == 3, false, {}}};
    const int bits = draw(1, 4);
    for (const auto &[from, to] : {std::pair(0, 2), {1, 2}, {2, 3}})
      problem.edges.push_back(
          {from, to, draw(-1000, 1000) / 250.0, bits, to == 2 ? 0 : -1});
    const Alignment found = alignTensors(problem);
    double multipliers[3];
    for (int i = 0; i < 3; ++i) {
      const AlignedEdge &edge = problem.edges[i];
      multipliers[i] = edge.log2Scale + found.log2Factors[edge.from] -
                       found.log2Factors[edge.to];
      CHECK(found.narrow[i], "round %d: edge %d is wide", round, i);
      CHECK(std::abs(multipliers[i] - narrowLog2(multipliers[i], bits)) < 1e-6,
            "round %d: 2^%g", round, multipliers[i]);
    }
    const double larger = std::max(multipliers[0], multipliers[1]);
    CHECK(std::abs(larger - std::round(larger)) < 1e-6, "round %d: 2^%g", round,
          larger);
    const double smaller = std::min(multipliers[0], multipliers[1]);
    several += std::abs(smaller - std::round(smaller)) > 1e-6;
  }
  CHECK(several > 20, "only %d of the smaller ones use their bits", several);
}

/// A product that ends in a tensor with a fixed scale asks an operand.
static void testProductBeforePinned() {
  AlignmentProblem problem;
  problem.clipping = 0;
  problem.tensors = {{false, false, {}},
                     {false, false, {}},
                     {false, true, {}},
                     {true, false, {}}};
  problem.edges = {{2, 3, std::log2(0.75), 1}};
  problem.products = {{0, 1, 2}};
  const Alignment found = alignTensors(problem);
  CHECK(found.narrow[0], "wide");
  CHECK(std::abs(found.log2Factors[0] - std::log2(4.0 / 3)) < 1e-9, "2^%g",
        found.log2Factors[0]);
}

/// Between a product and a pinned tensor lie two multipliers and one tensor:
/// an operand of the product makes up for what that tensor cannot.
static void testProductAndPinnedAround() {
  AlignmentProblem problem;
  problem.clipping = 0;
  problem.tensors = {{false, false, {}},
                     {false, false, {}},
                     {false, true, {}},
                     {false, false, {}},
                     {true, false, {}}};
  problem.edges = {{2, 3, std::log2(0.6), 1}, {3, 4, std::log2(0.75), 1}};
  problem.products = {{0, 1, 2}};
  const Alignment found = alignTensors(problem);
  CHECK(found.narrow == std::vector<bool>(2, true), "not all narrow");
}

/// A tensor between two multipliers alone takes no part: their product counts.
static void testChain() {
  AlignmentProblem problem;
  problem.clipping = 0;
  problem.tensors = {{true, false, {}}, {false, true, {}}, {false, false, {}}};
  problem.edges = {{0, 1, std::log2(0.6), 1}, {1, 2, std::log2(1.25), 1}};
  const Alignment found = alignTensors(problem);
  CHECK(found.narrow == std::vector<bool>(2, true), "not all narrow");
  CHECK(std::abs(found.log2Factors[2] - std::log2(1.5)) < 1e-9, "2^%g",
        found.log2Factors[2]);
}

/// y = 0.75 x^2: with a weight the square keeps its scale and x takes the
/// fraction, by half as much; without one x, which is first, stays.
static void testWeightedSquare() {
  for (double weight : {1.0, 384.0}) {
    AlignmentProblem problem;
    problem.clipping = 0;
    problem.tensors = {{false, false, {}},
                       {false, true, {}},
                       {false, true, {}},
                       {false, false, {}}};
    problem.tensors[3].weight = weight;
    problem.edges = {{0, 1, 0, 1}, {2, 3, std::log2(0.75), 1}};
    problem.products = {{1, 1, 2}};
    const Alignment found = alignTensors(problem);
    const std::vector<double> &f = found.log2Factors;
    CHECK(found.narrow == std::vector<bool>(2, true), "not all narrow");
    CHECK(f[2] == 2 * f[1] && f[1] == f[0], "2^%g, 2^%g, 2^%g", f[0], f[1],
          f[2]);
    // Of x^2 + (0.75 x^2 / 2^n)^2 w the least, for x from 1.
    double best = HUGE_VAL;
    for (int step = 0; step <= 4000; ++step) {
      const double x = step / 4000.0;
      double y = 2 * x + std::log2(0.75);
      y -= std::floor(y + 1e-9);
      best = std::min(best, std::exp2(2 * x) + weight * std::exp2(2 * y));
    }
    const double cost = std::exp2(2 * f[0]) + weight * std::exp2(2 * f[3]);
    CHECK(cost < best * 1.01, "weight %g: %g, possible %g", weight, cost, best);
    CHECK(weight == 1 || std::abs(f[3]) < 0.01, "the square moved by 2^%g",
          f[3]);
  }
}

/// A constant that fills its type cannot get a smaller scale.
static void testLowest() {
  AlignmentProblem problem;
  problem.clipping = 0.5;
  problem.tensors = {{true, false, {}}, {false, false, {}}};
  problem.edges = {{0, 1, std::log2(1.5), 1}};
  CHECK(alignTensors(problem).log2Factors[1] < 0, "may shrink, and does not");
  problem.tensors[1].lowest = 0;
  CHECK(std::abs(alignTensors(problem).log2Factors[1] - std::log2(1.5)) < 1e-9,
        "2^%g", alignTensors(problem).log2Factors[1]);
}

static void testMultiplyScale() {
  for (int round = 0; round < 10000; ++round) {
    const Scale scale{draw(1 << 29, (1 << 30) - 1) * int64_t(2) + draw(0, 1),
                      draw(20, 60)};
    const double log2Factor = draw(-4000, 4000) / 1000.0;
    const std::optional<Scale> found = multiplyScale(scale, log2Factor, 31);
    const double wanted =
        std::ldexp(scale.multiplier, -scale.shift) * std::exp2(log2Factor);
    CHECK(found, "round %d", round);
    if (!found)
      continue;
    const double error =
        std::ldexp(found->multiplier, -found->shift) / wanted - 1;
    const double bound = found->shift == kMaxShift ? 0x1p-26 : 0x1p-30;
    CHECK(std::abs(error) <= bound, "round %d: %g", round, error);
    CHECK(isLegalShift(found->shift) && found->multiplier < int64_t(1) << 31,
          "round %d", round);
  }
  // 0.75 * 4/3 is 1 up to the logarithm, and with one bit exactly that.
  const std::optional<Scale> one =
      multiplyScale({1610612736, 31}, std::log2(4.0 / 3), 31, 1);
  CHECK(one && *one == (Scale{1 << 30, 30}), "not 1");
  // The shift would have to be 1.
  CHECK(!multiplyScale({1 << 30, 2}, 1, 31), "too large, yet expressed");
  CHECK(multiplyScale({0, 40}, 3, 31)->multiplier == 0, "zero grew");
}

int main() {
  testRandomNetworks();
  testWiderBudget();
  testMoreBitsLeaveNoMoreWide();
  testCircle();
  testHopelessCircle();
  testProduct();
  testMeasuredErrors();
  testAdditions();
  testProductBeforePinned();
  testProductAndPinnedAround();
  testChain();
  testWeightedSquare();
  testLowest();
  testMultiplyScale();
  return report();
}
