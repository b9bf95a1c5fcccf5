//===- RescaleMathTest.cpp - tests of the arithmetic core -----------------===//
//
// Compares RescaleMath with formulas that share nothing with it: every small
// multiplier, and the neighbourhood of every boundary of the wide ones.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// RUN: %cxx -std=c++17 -O2 -Wall -Wextra -I %passes_src %s \
// RUN:   %passes_src/RescaleMath.cpp -o %t
// RUN: %t

#include "RescaleMath.h"
#include "Check.h"

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <vector>

using namespace tosa_rescale;

static long long ll(Int128 value) { return static_cast<long long>(value); }

//===----------------------------------------------------------------------===//
// Oracles: slow, and written from the definition.
//===----------------------------------------------------------------------===//

static Int128 power(int64_t exponent) {
  Int128 result = 1;
  for (int64_t i = 0; i < exponent; ++i)
    result *= 2;
  return result;
}

static Int128 floorDivide(Int128 numerator, Int128 denominator) {
  Int128 quotient = numerator / denominator;
  return quotient * denominator > numerator ? quotient - 1 : quotient;
}

/// The multiples of `step` around `value`, and of those the one that `rounding`
/// asks for.
static Int128 roundTo(Int128 value, Int128 step, MultiplierRounding rounding) {
  const Int128 below = floorDivide(value, step) * step;
  const Int128 above = below == value ? below : below + step;
  switch (rounding) {
  case MultiplierRounding::Truncate:
    return below;
  case MultiplierRounding::Up:
    return above;
  case MultiplierRounding::Nearest:
    return above - value <= value - below ? above : below;
  }
  return 0;
}

/// The narrowed factor, in units of 2^-kUnit; -1 if there is none.
constexpr int64_t kUnit = 76;

static Int128 expectedFactor(Scale scale, const NarrowFormat &format) {
  const Int128 factor = scale.multiplier * power(kUnit - scale.shift);
  if (factor == 0)
    return 0;
  Int128 leading = 1;
  while (leading * 2 <= factor)
    leading *= 2;
  const int64_t width = std::min(format.significantBits, format.containerBits);
  // Neither finer than `width` bits allow, nor than a shift of 62.
  const Int128 step =
      std::max<Int128>({leading / power(width - 1), power(kUnit - 62), 1});
  MultiplierRounding rounding = format.rounding;
  // What float32 scales add does not count as an excess.
  const Int128 below = floorDivide(factor, step) * step;
  if (rounding == MultiplierRounding::Up && width <= 16 && below > 0 &&
      factor - below < (factor + power(22) - 1) / power(22))
    rounding = MultiplierRounding::Truncate;
  const Int128 result = roundTo(factor, step, rounding);
  // The largest that the type and a shift of 2 hold.
  const Int128 limit = power(format.containerBits) * power(kUnit - 2);
  return result < limit ? result : -1;
}

/// RESCALE by the definition of TOSA 1.0: round half up, after a first rounding
/// half away from zero at bit 31 if asked.
static Int128 expectedResult(Int128 value, Scale scale, bool doubleRound) {
  Int128 product = value * scale.multiplier;
  Int128 half = power(scale.shift - 1);
  if (doubleRound && scale.shift > 31)
    half += value >= 0 ? power(30) : -power(30);
  return floorDivide(product + half, power(scale.shift));
}

//===----------------------------------------------------------------------===//
// Narrowing
//===----------------------------------------------------------------------===//

static const MultiplierRounding kRoundings[] = {MultiplierRounding::Nearest,
                                                MultiplierRounding::Up,
                                                MultiplierRounding::Truncate};

static void checkNarrow(Scale scale, const NarrowFormat &format) {
  const Int128 expected = expectedFactor(scale, format);
  const std::optional<Scale> result = narrowScale(scale, format);
#define CONTEXT                                                                \
  "m=%lld s=%lld k=%d rounding=%d container=%d aligned=%d double=%d",          \
      ll(scale.multiplier), ll(scale.shift), format.significantBits,           \
      static_cast<int>(format.rounding), format.containerBits,                 \
      format.leftAligned, format.doubleRound
  CHECK(result.has_value() == (expected >= 0), CONTEXT);
  if (!result)
    return;
  const Int128 factor = result->multiplier * power(kUnit - result->shift);
  CHECK(factor == expected, CONTEXT);
  CHECK(isLegalShift(result->shift), CONTEXT);
  CHECK(result->multiplier >= 0 &&
            result->multiplier < power(format.containerBits),
        CONTEXT);
  CHECK(significantBits(result->multiplier) <=
            std::min(format.significantBits, format.containerBits),
        CONTEXT);
  if (format.rounding == MultiplierRounding::Up)
    CHECK(factor + factor / power(22) + 1 >=
              scale.multiplier * power(kUnit - scale.shift),
          CONTEXT);

  const std::optional<Scale> again = narrowScale(*result, format);
  CHECK(again && *again == *result, CONTEXT);

  if (scale.multiplier == 0 || result->multiplier == 0)
    return;
  const bool pinned = format.doubleRound && scale.shift <= 31;
  const int64_t mostShift = pinned ? 31 : kMaxShift;
  if (format.leftAligned) {
    CHECK(result->multiplier * 2 >= power(format.containerBits) ||
              result->shift == mostShift,
          CONTEXT);
    if (pinned)
      CHECK(result->shift <= 31, CONTEXT);
  } else {
    const int64_t width =
        std::min(format.significantBits, format.containerBits);
    CHECK(result->multiplier < power(width) || result->shift == kMinShift,
          CONTEXT);
  }
#undef CONTEXT
}

static void testNarrowSmallMultipliers() {
  // Every multiplier of up to 11 bits, at shifts around both limits and
  // around 31.
  const int64_t shifts[] = {-3, 0,  1,  2,  3,  9,  17, 30, 31,
                            32, 40, 60, 61, 62, 63, 64, 70, 76};
  for (int64_t multiplier = 0; multiplier < 2048; ++multiplier)
    for (int64_t shift : shifts)
      for (int bits = 1; bits <= 12; ++bits)
        for (MultiplierRounding rounding : kRoundings)
          for (int container : {kMultiplierBits16, kMultiplierBits32})
            for (bool aligned : {false, true})
              for (bool doubleRound : {false, true})
                // DOUBLE_ROUND needs scale32, and scale32 is always aligned.
                if (!doubleRound || (aligned && container == kMultiplierBits32))
                  checkNarrow({multiplier, shift}, {bits, rounding, container,
                                                    aligned, doubleRound});
}

static void testNarrowWideMultipliers() {
  // Around every power of two, every half-way point for every width, and the
  // carries 0b111..1.
  std::vector<int64_t> multipliers;
  for (int top = 11; top <= 31; ++top)
    for (int bit = 0; bit < top; ++bit)
      for (int64_t delta = -1; delta <= 1; ++delta)
        for (int64_t base : {int64_t(1) << (top - 1), (int64_t(1) << top) - 1})
          for (int64_t sign : {-1, 1}) {
            const int64_t multiplier =
                base + sign * (int64_t(1) << bit) + delta;
            if (multiplier > 0 && multiplier < (int64_t(1) << 31))
              multipliers.push_back(multiplier);
          }
  std::sort(multipliers.begin(), multipliers.end());
  multipliers.erase(std::unique(multipliers.begin(), multipliers.end()),
                    multipliers.end());
  for (int64_t multiplier : multipliers)
    for (int64_t shift : {1, 2, 31, 32, 40, 62, 63, 75})
      for (int bits = 1; bits <= 31; ++bits)
        for (MultiplierRounding rounding : kRoundings) {
          checkNarrow({multiplier, shift},
                      {bits, rounding, kMultiplierBits32, true, false});
          checkNarrow({multiplier, shift},
                      {bits, rounding, kMultiplierBits32, true, true});
          checkNarrow({multiplier, shift},
                      {bits, rounding, kMultiplierBits16, false, false});
        }
}

static void testNarrowExamples() {
  auto check = [](Scale scale, NarrowFormat format, Scale expected) {
    const std::optional<Scale> result = narrowScale(scale, format);
    CHECK(result && *result == expected, "got %lld, %lld; expected %lld, %lld",
          result ? ll(result->multiplier) : -1, result ? ll(result->shift) : -1,
          ll(expected.multiplier), ll(expected.shift));
  };
  NarrowFormat format;
  // 31 bits change nothing.
  check({2147483647, 40}, format, {2147483647, 40});
  // 168 * 2^-17 in both encodings.
  format.significantBits = 8;
  check({1409286144, 40}, format, {1409286144, 40});
  format.leftAligned = false;
  format.containerBits = kMultiplierBits16;
  check({1409286144, 40}, format, {168, 17});
  // A half is 1 * 2^-1; the shift must be 2.
  format.significantBits = 1;
  check({1 << 30, 31}, format, {2, 2});
  // 0b1111 at 3 bits carries into 0b100, one shift less.
  check({0x78000000, 40}, {3, MultiplierRounding::Nearest, 31, true, false},
        {1 << 30, 39});
  check({0x78000000, 40}, {3, MultiplierRounding::Truncate, 31, true, false},
        {0x70000000, 40});
  // 2^30 + 255 is 2^30 with less than 2^-22 in excess; 2^30 + 257 is not. At 17
  // bits every excess counts.
  check({(1 << 30) + 255, 40}, {1, MultiplierRounding::Up, 31, true, false},
        {1 << 30, 40});
  check({(1 << 30) + 257, 40}, {1, MultiplierRounding::Up, 31, true, false},
        {1 << 30, 39});
  check({(1 << 30) + 255, 40}, {17, MultiplierRounding::Up, 31, true, false},
        {(1 << 30) + (1 << 14), 40});
  // 0 stays 0, and keeps a legal shift.
  check({0, 17}, format, {0, 17});
  check({0, 1}, format, {0, 2});
  // 3 * 2^-64 is 0.75 * 2^-62.
  check({3, 64}, {31, MultiplierRounding::Nearest, 31, true, false}, {1, 62});
  check({3, 64}, {31, MultiplierRounding::Truncate, 31, true, false}, {0, 62});
  check({1, 127}, {31, MultiplierRounding::Up, 31, true, false}, {1, 62});
  check({1, 127}, {31, MultiplierRounding::Nearest, 31, true, false}, {0, 62});
  // DOUBLE_ROUND starts at a shift of 32: aligning stops before it.
  check({168, 17}, {8, MultiplierRounding::Nearest, 31, true, true},
        {168 << 14, 31});
  CHECK(!narrowScale({-1, 17}, format), "negative");
  CHECK(!narrowScale({0x7fffffff, 1},
                     {31, MultiplierRounding::Nearest, 31, true, false}),
        "2^30 - 2^-1");
}

//===----------------------------------------------------------------------===//
// Applying
//===----------------------------------------------------------------------===//

static void testApplySmallValues() {
  // Every int8 with every multiplier of 7 bits.
  for (int64_t value = -256; value <= 255; ++value)
    for (int64_t multiplier = 0; multiplier < 128; ++multiplier)
      for (int64_t shift : {2, 3, 7, 8, 30, 31, 32, 33, 62})
        for (bool doubleRound : {false, true}) {
          const Scale scale{multiplier, shift};
          CHECK(applyScale(value, scale, doubleRound) ==
                    expectedResult(value, scale, doubleRound),
                "v=%lld m=%lld s=%lld double=%d", ll(value), ll(multiplier),
                ll(shift), doubleRound);
        }
}

static void testApplyAtRoundingBoundaries() {
  const int64_t multipliers[] = {1,       3,          168,        32767,
                                 1 << 30, 1409286144, 0x7ffffffe, 0x7fffffff};
  for (int64_t multiplier : multipliers)
    for (int64_t shift = kMinShift; shift <= kMaxShift; ++shift) {
      const Scale scale{multiplier, shift};
      const int64_t limit =
          std::min<int64_t>(int64_t(1) << (shift - 1), int64_t(1) << 31);
      std::vector<int64_t> values = {-limit, -limit + 1, -1,       0,
                                     1,      limit - 2,  limit - 1};
      // Where the result steps from n - 1 to n: value * m = n * 2^s - 2^(s-1).
      for (int64_t n = -130; n <= 130; ++n) {
        const Int128 step =
            floorDivide(n * power(shift) - power(shift - 1), multiplier);
        for (int64_t delta = -1; delta <= 2; ++delta)
          if (step + delta >= -limit && step + delta < limit)
            values.push_back(static_cast<int64_t>(step + delta));
      }
      for (int64_t value : values)
        for (bool doubleRound : {false, true}) {
          const Int128 result = applyScale(value, scale, doubleRound);
          CHECK(result == expectedResult(value, scale, doubleRound),
                "v=%lld m=%lld s=%lld double=%d", ll(value), ll(multiplier),
                ll(shift), doubleRound);
          // The promise of scale32: within its value range nothing leaves i32,
          // nor the 64-bit product.
          CHECK(isLegalValue32(value, shift), "v=%lld s=%lld", ll(value),
                ll(shift));
          CHECK(isLegalResult(result), "v=%lld m=%lld s=%lld", ll(value),
                ll(multiplier), ll(shift));
        }
      CHECK(!isLegalValue32(Int128(1) << (shift - 1), shift), "s=%lld",
            ll(shift));
      CHECK(!isLegalValue32(-(Int128(1) << (shift - 1)) - 1, shift), "s=%lld",
            ll(shift));
    }
}

static void testAligningIsExact() {
  // SINGLE_ROUND does not see where the multiplier lies in its type.
  for (int64_t multiplier : {1, 5, 21, 168, 255})
    for (int64_t shift : {2, 9, 17})
      for (int64_t up : {1, 14, 23})
        for (int64_t value = -70000; value <= 70000; value += 7)
          CHECK(applyScale(value, {multiplier, shift}, false) ==
                    applyScale(value, {multiplier << up, shift + up}, false),
                "v=%lld m=%lld s=%lld up=%lld", ll(value), ll(multiplier),
                ll(shift), ll(up));
  // DOUBLE_ROUND does: one half below zero goes up to 0, or away from zero to
  // -1.
  CHECK(applyScale(-1, {1 << 30, 31}, true) == 0, "no double rounding at 31");
  CHECK(applyScale(-1, {int64_t(1) << 31, 32}, true) == -1,
        "double rounding at 32");
}

static void testRescaleValue() {
  // (100 - -3) * 168 * 2^-17 * 2^10 = 135.2: rounded, zero point added,
  // clipped.
  CHECK(rescaleValue(100, -3, {168, 7}, false, 5, -1000, 1000) == 140,
        "unclipped");
  CHECK(rescaleValue(100, -3, {168, 7}, false, 5, -128, 127) == 127,
        "clipped above");
  CHECK(rescaleValue(-128, 3, {168, 7}, false, 5, -128, 127) == -128,
        "clipped below");
  CHECK(rescaleValue(200, 128, {1 << 30, 30}, false, 0, -128, 127) == 72,
        "unsigned input");
}

static void testPredicates() {
  CHECK(significantBits(0) == 0, "0");
  CHECK(significantBits(1) == 1 && significantBits(1 << 30) == 1,
        "powers of two");
  CHECK(significantBits(168) == 5 && significantBits(0x7fffffff) == 31,
        "others");
  CHECK(!isLegalShift(1) && isLegalShift(2) && isLegalShift(62) &&
            !isLegalShift(63),
        "shifts");
  const Int128 most = std::numeric_limits<int32_t>::max(),
               least = std::numeric_limits<int32_t>::min();
  CHECK(isLegalResult(most) && !isLegalResult(most + 1), "above");
  CHECK(isLegalResult(least) && !isLegalResult(least - 1), "below");
}

int main() {
  testNarrowSmallMultipliers();
  testNarrowWideMultipliers();
  testNarrowExamples();
  testApplySmallValues();
  testApplyAtRoundingBoundaries();
  testAligningIsExact();
  testRescaleValue();
  testPredicates();
  return report();
}
