//===- CompensationTest.cpp - tests of multiplier choice and folding ------===//
//
// Compares fillScale() and compensate() with exhaustive search over small
// cases, and with bounds that must hold for any case.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// RUN: %cxx -std=c++17 -O2 -Wall -Wextra -I %passes_src %s \
// RUN:   %passes_src/Compensation.cpp %passes_src/RoundedWeights.cpp \
// RUN:   %passes_src/ScaleChoice.cpp %passes_src/RescaleMath.cpp -o %t
// RUN: %t

#include "Compensation.h"
#include "Check.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

using namespace tosa_rescale;

static std::mt19937_64 random64(1);

static int64_t draw(int64_t low, int64_t high) {
  return std::uniform_int_distribution<int64_t>(low, high)(random64);
}

/// `a >= b * numerator / denominator`, in integers.
static bool isAtLeast(Scale a, Scale b, int64_t numerator,
                      int64_t denominator) {
  Int128 left = Int128(a.multiplier) * denominator,
         right = Int128(b.multiplier) * numerator;
  if (a.shift < b.shift)
    left <<= b.shift - a.shift;
  else
    right <<= a.shift - b.shift;
  return left >= right;
}

/// The next smaller scale of `bits` bits, with a shift that may be too large.
static Scale getNextBelow(Scale scale, int bits) {
  int64_t multiplier = scale.multiplier >> __builtin_ctzll(scale.multiplier);
  int64_t shift = scale.shift - __builtin_ctzll(scale.multiplier);
  while (multiplier < int64_t(1) << (bits - 1)) {
    multiplier <<= 1;
    ++shift;
  }
  if (multiplier == int64_t(1) << (bits - 1)) {
    multiplier <<= 1;
    ++shift;
  }
  return {multiplier - 1, shift};
}

static void testFillScale() {
  for (int round = 0; round < 200000; ++round) {
    NarrowFormat format;
    format.significantBits = static_cast<int>(draw(1, 12));
    format.containerBits = draw(0, 1) ? kMultiplierBits32 : kMultiplierBits16;
    format.leftAligned = draw(0, 1);
    const Scale scale = {draw(1, (int64_t(1) << draw(1, 31)) - 1),
                         draw(20, 50)};
    const int64_t numerator = draw(1, int64_t(1) << draw(1, 30)),
                  denominator = draw(1, int64_t(1) << draw(1, 30));
    const std::optional<Scale> filled =
        fillScale(scale, numerator, denominator, format);
    if (!filled)
      continue;
    CHECK(significantBits(filled->multiplier) <= format.significantBits &&
              isLegalShift(filled->shift) &&
              filled->multiplier < int64_t(1) << format.containerBits,
          "%lld * 2^-%lld", (long long)filled->multiplier,
          (long long)filled->shift);
    CHECK(isAtLeast(*filled, scale, numerator, denominator),
          "%lld * 2^-%lld * %lld / %lld: %lld * 2^-%lld",
          (long long)scale.multiplier, (long long)scale.shift,
          (long long)numerator, (long long)denominator,
          (long long)filled->multiplier, (long long)filled->shift);
    const Scale below = getNextBelow(*filled, format.significantBits);
    if (below.shift <= kMaxShift)
      CHECK(
          !isAtLeast(below, scale, numerator, denominator),
          "%lld * 2^-%lld * %lld / %lld: %lld * 2^-%lld is larger than needed",
          (long long)scale.multiplier, (long long)scale.shift,
          (long long)numerator, (long long)denominator,
          (long long)filled->multiplier, (long long)filled->shift);
  }
}

static LayerRules makeRules(int bits) {
  LayerRules rules;
  rules.format.significantBits = bits;
  rules.lowestInput = -255;
  rules.highestInput = 255;
  rules.lowestSum = -(int64_t(1) << 31);
  rules.highestSum = (int64_t(1) << 31) - 1;
  return rules;
}

static double getRatio(Scale scale, Scale narrow) {
  return std::ldexp(double(scale.multiplier) / narrow.multiplier,
                    static_cast<int>(narrow.shift - scale.shift));
}

/// Without statistics no other rounding has a smaller sum(d^2) + sum(d)^2.
static void testRoundingWithoutStatistics() {
  for (int round = 0; round < 3000; ++round) {
    const int64_t count = draw(1, 7);
    std::vector<int16_t> weights(count), folded(count);
    for (int16_t &weight : weights)
      weight = static_cast<int16_t>(draw(-127, 127));
    LayerRules rules = makeRules(static_cast<int>(draw(1, 4)));
    rules.clip = false;
    Channel channel;
    channel.weights = weights.data();
    channel.count = count;
    channel.scale = {draw(int64_t(1) << 30, (int64_t(1) << 31) - 1), 40};
    const Compensated result = compensate(channel, rules, folded.data());
    if (result.outcome != Outcome::Compensated)
      continue;
    const double ratio = getRatio(channel.scale, result.scale);
    auto measure = [&](const std::vector<int64_t> &candidate) {
      double squares = 0, sum = 0;
      for (int64_t i = 0; i < count; ++i) {
        const double d = weights[i] * ratio - candidate[i];
        squares += d * d;
        sum += d;
      }
      return squares + sum * sum;
    };
    const double found = measure({folded.begin(), folded.end()});
    // Every combination of the four integers around each target.
    double best = found;
    std::vector<int64_t> candidate(count);
    for (int64_t code = 0; code < int64_t(1) << (2 * count); ++code) {
      bool legal = true;
      for (int64_t i = 0; i < count; ++i) {
        candidate[i] = std::llround(std::floor(weights[i] * ratio)) - 1 +
                       (code >> 2 * i) % 4;
        legal &= std::abs(candidate[i]) <= 127;
      }
      if (legal)
        best = std::min(best, measure(candidate));
    }
    CHECK(found <= best + 1e-4, "%f, but %f is possible", found, best);
  }
}

/// What must hold with statistics too: range, width, bias, and an error by the
/// moments that no single step lowers.
static void testWithStatistics() {
  for (int round = 0; round < 3000; ++round) {
    const int64_t count = draw(1, 40), rank = draw(1, 3);
    std::vector<int16_t> weights(count), folded(count);
    for (int16_t &weight : weights)
      weight = static_cast<int16_t>(draw(-127, 127));
    std::vector<float> mean(count), factors(rank * count), rest(count),
        diagonal(count), moment(count * count);
    for (float &value : mean)
      value = static_cast<float>(draw(0, 100));
    for (float &value : factors)
      value = static_cast<float>(draw(-30, 50));
    for (int64_t i = 0; i < count; ++i) {
      rest[i] = static_cast<float>(draw(0, 900));
      for (int64_t j = 0; j < count; ++j) {
        double sum = i == j ? rest[i] : 0;
        for (int64_t r = 0; r < rank; ++r)
          sum += double(factors[r * count + i]) * factors[r * count + j];
        moment[i * count + j] = static_cast<float>(sum);
      }
      diagonal[i] = moment[i * count + i];
    }
    InputStatistics inputs;
    inputs.mean = mean.data();
    inputs.diagonal = diagonal.data();
    if (draw(0, 1)) {
      inputs.moment = moment.data();
    } else {
      inputs.factors = factors.data();
      inputs.rest = rest.data();
      inputs.rank = rank;
    }
    LayerRules rules = makeRules(static_cast<int>(draw(1, 4)));
    rules.shrinkage = draw(0, 10) / 10.0;
    // Without measured moments the sum alone is balanced, as for 1/2.
    rules.correlation = rules.shrinkage < 1 ? draw(0, 5) / 10.0 : 0.5;
    Channel channel;
    channel.weights = weights.data();
    channel.count = count;
    channel.bias = draw(-1000000, 1000000);
    channel.scale = {draw(int64_t(1) << 30, (int64_t(1) << 31) - 1), 40};
    channel.inputs = &inputs;
    const Compensated result = compensate(channel, rules, folded.data());
    if (result.outcome != Outcome::Compensated)
      continue;
    CHECK(significantBits(result.scale.multiplier) <=
              rules.format.significantBits,
          "%lld", (long long)result.scale.multiplier);

    const double ratio = getRatio(channel.scale, result.scale);
    std::vector<double> d(count);
    double bias = channel.bias * ratio, sum = 0, trace = 0;
    for (int64_t i = 0; i < count; ++i) {
      CHECK(std::abs(folded[i]) <= 127, "%d", folded[i]);
      d[i] = weights[i] * ratio - folded[i];
      bias += d[i] * mean[i];
      sum += d[i];
      trace += diagonal[i];
    }
    CHECK(std::abs(bias - result.bias) < 0.51, "%f, got %lld", bias,
          (long long)result.bias);
    const double prior = rules.shrinkage * trace / count;
    const double c = rules.correlation;
    for (int64_t i = 0; i < count; ++i) {
      double slope = prior * ((1 - c) * d[i] + c * sum);
      for (int64_t j = 0; j < count; ++j)
        slope += (1 - rules.shrinkage) * moment[i * count + j] * d[j];
      const double curvature = (1 - rules.shrinkage) * diagonal[i] + prior;
      const bool barred = std::abs(folded[i] + (slope > 0 ? 1 : -1)) > 127;
      CHECK(barred || 2 * std::abs(slope) <= curvature * (1 + 1e-3) + 1,
            "weight %lld of %lld: slope %f, curvature %f", (long long)i,
            (long long)count, slope, curvature);
    }

    // The same channel again has nothing left to do.
    std::vector<int16_t> again(count);
    Channel second = channel;
    second.weights = folded.data();
    second.scale = result.scale;
    second.bias = result.bias;
    CHECK(compensate(second, rules, again.data()).outcome == Outcome::Kept &&
              again == folded,
          "not idempotent");
  }
}

int main() {
  testFillScale();
  testRoundingWithoutStatistics();
  testWithStatistics();
  return report();
}
