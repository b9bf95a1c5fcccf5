//===- TablesTest.cpp - tests of tables for another scale of their input --===//
//
// Compares resampleTable() with lines, for which it is exact up to rounding,
// and its error with a direct search over all inputs.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// RUN: %cxx -std=c++17 -O2 -Wall -Wextra -I %passes_src %s \
// RUN:   %passes_src/Tables.cpp -o %t
// RUN: %t

#include "Tables.h"
#include "Check.h"

#include <algorithm>
#include <cmath>
#include <functional>

using namespace tosa_rescale;

static std::vector<int64_t>
makeTable(const std::function<double(double)> &function) {
  std::vector<int64_t> entries;
  for (int64_t i = 0; i < 513; ++i)
    entries.push_back(std::llround(
        std::clamp(function(i * 128.0 - 32768), -32768.0, 32767.0)));
  return entries;
}

/// TABLE of the specification, which has 7 fractional bits, in entries.
static double apply(const std::vector<int64_t> &entries, int64_t input) {
  const int64_t index = (input + 32768) >> 7, fraction = input & 127;
  return ((entries[index] << 7) +
          (entries[index + 1] - entries[index]) * fraction) /
         128.0;
}

/// The same scales give the same table.
static void testSame() {
  const auto entries = makeTable([](double x) { return 1e5 / (1 + x * x); });
  const ResampledTable same = resampleTable(entries, 0, 0);
  CHECK(same.entries == entries, "entries differ");
  CHECK(same.error < 1e-9, "%g", same.error);
}

/// A line is a line at any scale.
static void testLine() {
  const auto line = makeTable([](double x) { return x / 8 + 64; });
  for (double input : {-0.4, 0.415, 1.0, 1.7}) {
    const ResampledTable found = resampleTable(line, input, 0);
    CHECK(found.error <= 0.5 + 1e-9, "%g: %g", input, found.error);
    const double factor = std::exp2(input);
    for (int64_t i = 200; i < 313; ++i)
      CHECK(std::abs(found.entries[i] -
                     ((i * 128 - 32768) * factor / 8 + 64)) <= 0.5 + 1e-9,
            "entry %lld", (long long)i);
  }
  // Results at twice the scale have half the entries.
  const ResampledTable half = resampleTable(line, 0, 1);
  for (size_t i = 0; i < line.size(); ++i)
    CHECK(std::abs(half.entries[i] - line[i] / 2.0) <= 0.5, "entry %zu", i);
}

/// The error is the largest one of all inputs whose old one is whole.
static void testError() {
  const auto bent =
      makeTable([](double x) { return 20000 / (1 + x * x / 9e4); });
  const ResampledTable found = resampleTable(bent, 1, 0);
  double largest = 0;
  for (int64_t input = -16384; input < 16384; ++input)
    largest = std::max(largest, std::abs(apply(found.entries, input) -
                                         apply(bent, 2 * input)));
  CHECK(largest > 100, "%g", largest);
  CHECK(std::abs(found.error - largest) < 1e-9, "%g, not %g", found.error,
        largest);
}

static std::vector<int64_t>
makeBytes(const std::function<double(double)> &function) {
  std::vector<int64_t> entries;
  for (int64_t i = -128; i < 128; ++i)
    entries.push_back(std::llround(std::clamp(function(i), -128.0, 127.0)));
  return entries;
}

/// A line about zero points is a line at any scale, and ends where the old
/// inputs do.
static void testByteLine() {
  const auto line = makeBytes([](double x) { return (x - 10) / 2 - 20; });
  for (double input : {-0.5, 0.415, 1.0}) {
    const double factor = std::exp2(input);
    const ResampledTable found = interpolateTable(line, {input, 0, 10, -20});
    CHECK(found.bound <= 2 && found.error <= 1, "%g, %g", found.bound,
          found.error);
    for (int64_t i = -128; i < 128; ++i) {
      const double at = std::clamp(factor * (i - 10), -138.0, 117.0);
      CHECK(std::abs(found.entries[i + 128] - (at / 2 - 20)) <= 1, "%lld: %lld",
            (long long)i, (long long)found.entries[i + 128]);
    }
  }
  // Results at twice the scale are half as far from their zero point.
  const ResampledTable half = interpolateTable(line, {0, 1, 10, -20});
  CHECK(half.error == 0, "%g", half.error);
  for (size_t i = 0; i < line.size(); ++i)
    CHECK(std::abs(half.entries[i] + 20 - (line[i] + 20) / 2.0) <= 0.5,
          "entry %zu", i);
}

/// Of functions that are known, the table is never further off than the bound
/// says, and a smooth one's is nearly that of the function.
static void testBound() {
  struct Known {
    std::function<double(double)> function;
    double most;
  };
  const Known known[] = {
      {[](double x) { return 256 / (1 + std::exp(-x / 20)) - 128; }, 1.1},
      {[](double x) { return 500 / std::sqrt(x + 129) - 128; }, 60},
      {[](double x) { return x < 3 ? -100.0 : 100.0; }, 200},
  };
  for (const Known &each : known) {
    const auto entries = makeBytes(each.function);
    for (double input : {-0.152, 0.3, 0.585, 0.9}) {
      const double factor = std::exp2(input);
      const ResampledTable found = interpolateTable(entries, {input, 0, 5, 0});
      double largest = 0;
      for (int64_t i = -128; i < 128; ++i) {
        const double at = factor * (i - 5) + 5;
        if (at >= -128 && at <= 127)
          largest = std::max(
              largest, std::abs(found.entries[i + 128] -
                                std::clamp(each.function(at), -128.0, 127.0)));
      }
      CHECK(largest <= found.bound + 1e-9, "%g above %g", largest, found.bound);
      CHECK(largest <= each.most, "%g above %g", largest, each.most);
    }
  }
}

/// What is left out and interpolated is off by this much.
static void testLeftOut() {
  const auto step = makeBytes([](double x) { return x < 0 ? -100 : 100; });
  CHECK(interpolateTable(step, {0.5, 0, 0, 0}).error == 100, "of a step");
  const auto line = makeBytes([](double x) { return x; });
  CHECK(interpolateTable(line, {0.5, 0, 0, 0}).error < 1e-9, "of a line");
}

static void testMonotone() {
  CHECK(isMonotone(makeBytes([](double x) { return std::floor(x / 9); })),
        "up");
  CHECK(isMonotone(makeBytes([](double x) { return -x; })), "down");
  CHECK(!isMonotone(makeBytes([](double x) { return std::abs(x); })), "both");
}

int main() {
  testSame();
  testLine();
  testError();
  testByteLine();
  testBound();
  testLeftOut();
  testMonotone();
  return report();
}
