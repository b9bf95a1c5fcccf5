//===- LoweredScaleTest.cpp - tests of scales in 32 bits ------------------===//
//
// Computes lowered scales as TOSA says it of mul and arithmetic_right_shift,
// every step held to 32 bits, and compares with the rescale: every value of
// small ranges, ends and ties of wide ones.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

// RUN: %cxx -std=c++17 -O2 -Wall -Wextra -I %passes_src %s -o %t \
// RUN:   %passes_src/LoweredScale.cpp %passes_src/RescaleMath.cpp
// RUN: %t

#include "LoweredScale.h"
#include "Check.h"

#include <algorithm>
#include <vector>

using namespace tosa_rescale;

static constexpr int64_t kMin = -(int64_t(1) << 31), kMax = -(kMin + 1);

static long long ll(Int128 value) { return static_cast<long long>(value); }

/// TOSA: MUL with shift 0, then ARITHMETIC_RIGHT_SHIFT with round, with what
/// they REQUIRE.
static int64_t runLowered(int64_t value, LoweredScale scale) {
  const Int128 product = Int128(value) * scale.multiplier;
  CHECK(product >= kMin && product <= kMax, "product %lld", ll(product));
  CHECK(scale.multiplier >= 0 && scale.multiplier <= kMax, "multiplier %lld",
        ll(scale.multiplier));
  CHECK(scale.shift >= 0 && scale.shift <= 31, "shift %lld", ll(scale.shift));
  const int64_t p = static_cast<int64_t>(product);
  int64_t result = p >> scale.shift;
  if (scale.shift > 0 && ((p >> (scale.shift - 1)) & 1) != 0)
    ++result;
  return result;
}

static int64_t clamped(Int128 value, const ScaledChannel &channel) {
  return static_cast<int64_t>(std::clamp<Int128>(
      value + channel.outputZp, channel.resultLow, channel.resultHigh));
}

/// Values to try: all of a small range; of a wide one its ends, those around 0
/// and around some ties.
static std::vector<int64_t> getValues(Scale scale,
                                      const ScaledChannel &channel) {
  std::vector<int64_t> values;
  if (channel.high - channel.low < 600) {
    for (int64_t v = channel.low; v <= channel.high; ++v)
      values.push_back(v);
    return values;
  }
  const auto add = [&](int64_t around) {
    for (int64_t v = around - 2; v <= around + 2; ++v)
      if (v >= channel.low && v <= channel.high)
        values.push_back(v);
  };
  add(channel.low);
  add(channel.high);
  add(0);
  for (int64_t half = -9; half <= 9; half += 2)
    if (scale.multiplier > 0 && scale.shift < 60)
      add(half * (int64_t(1) << (scale.shift - 1)) / scale.multiplier);
  for (int bit = 0; bit < 31; ++bit) {
    add(int64_t(1) << bit);
    add(-(int64_t(1) << bit));
  }
  return values;
}

/// Whether it is lowered; if so, compares all values.
static bool tryScale(Scale scale, bool doubleRound, ScaledChannel channel) {
  const LoweredScaleOr found = lowerScale(scale, doubleRound, channel);
  CHECK(found.scale.has_value() == found.reason.empty(), "%s",
        found.reason.c_str());
  if (!found.scale)
    return false;
  for (int64_t v : getValues(scale, channel)) {
    const int64_t ours = clamped(runLowered(v, *found.scale), channel),
                  theirs = clamped(applyScale(v, scale, doubleRound), channel);
    CHECK(ours == theirs, "%lld * %lld * 2^-%lld: %lld, not %lld", ll(v),
          ll(scale.multiplier), ll(scale.shift), ll(ours), ll(theirs));
  }
  return true;
}

static constexpr ScaledChannel i8(int64_t low, int64_t high, int64_t zp = 0) {
  return {low, high, zp, -128, 127};
}

static void testPowersOfTwo() {
  // One bit needs no range, wherever it stands in its type.
  for (int64_t shift = 2; shift <= 62; ++shift)
    for (int bit = 0; bit <= 30; ++bit) {
      const Scale scale = {int64_t(1) << bit, shift};
      CHECK(tryScale(scale, false, i8(-128, 127, 5)) == (bit - shift <= 24),
            "%d, %lld", bit, ll(shift));
      const bool any = tryScale(scale, false, i8(kMin, kMax));
      CHECK(any == (shift >= bit), "%d, %lld", bit, ll(shift));
    }
}

static void testSmallMultipliers() {
  for (int64_t m = 0; m <= 300; ++m)
    for (int64_t shift = 2; shift <= 20; ++shift)
      for (int64_t zp : {-128, 0, 127}) {
        CHECK(tryScale({m, shift}, false, i8(-255, 255, zp)), "%lld", ll(m));
        tryScale({m << 20, shift + 20}, false, i8(-300, 299, zp));
        // Wide ones: as far as the product fits, and no farther.
        const int64_t limit = m == 0 ? kMax : kMax / m;
        tryScale({m, shift}, false, i8(-limit, limit));
      }
}

static void testLimits() {
  const int64_t limit = kMax / 3;
  CHECK(tryScale({3, 10}, false, i8(-limit, limit)), "fits");
  const LoweredScaleOr wide = lowerScale({3, 10}, false, i8(0, limit + 1));
  CHECK(wide.reason == "requires a value from -715827882 to 715827882 for a "
                       "32-bit product with 3, got 0 to 715827883",
        "%s", wide.reason.c_str());
  CHECK(lowerScale({1, 10}, false, {kMin - 1, 0, 0, -128, 127}).reason ==
            "requires a value that fits i32, got -2147483649 to 0",
        "i48");
  CHECK(lowerScale({1, 63}, false, i8(0, 1)).reason ==
            "requires a shift from 2 to 62, got 63",
        "shift");
  CHECK(lowerScale({-1, 40}, false, i8(0, 1)).reason ==
            "requires a multiplier of at least 0, got -1",
        "sign");
  // The zero point must not carry the result out of i32.
  CHECK(!tryScale({4, 2}, false, {kMin, kMax, 1, -128, 127}), "zero point");
}

static void testShiftsFrom31() {
  for (int64_t shift = 30; shift <= 62; ++shift) {
    CHECK(tryScale({1, shift}, false, i8(kMin, kMax)), "%lld", ll(shift));
    CHECK(tryScale({1, shift}, false, i8(-(1 << 30), (1 << 30) - 1)), "%lld",
          ll(shift));
    CHECK(tryScale({5, shift}, false, i8(kMin / 5, kMax / 5)), "%lld",
          ll(shift));
  }
  // Below 2^30 the multiplier stays what it is, and is found again.
  CHECK(*lowerScale({1, 40}, false, i8(-1000, 1000)).scale ==
            (LoweredScale{1, 31}),
        "40 is 31");
}

/// A channel whose bias saturates the result needs no exact multiplier.
static void testConstantChannels() {
  const int64_t bias = -(int64_t(1) << 30);
  CHECK(tryScale({125, 20}, false, i8(bias - 500, bias + 500)), "saturates");
  CHECK(!tryScale({125, 31}, false, i8(bias - 500, bias + 500)), "two results");
  CHECK(tryScale({243, 30}, false, {bias, bias, 0, -128, 127}), "one value");
}

static void testDoubleRound() {
  int lowered = 0, refused = 0;
  for (int64_t m : {int64_t(1) << 30, int64_t(3) << 29, int64_t(1518500250)})
    for (int64_t shift = 24; shift <= 44; ++shift) {
      const bool done = tryScale({m, shift}, true, i8(-255, 255));
      lowered += done;
      refused += !done;
      CHECK(tryScale({m, shift}, true, i8(kMin, kMax)) <= (shift <= 31),
            "%lld, %lld", ll(m), ll(shift));
    }
  CHECK(lowered > 10 && refused > 10, "%d, %d", lowered, refused);
}

static void testRaising() {
  for (int64_t m = 0; m <= 70000; m = m < 300 ? m + 1 : m * 2 - 5)
    for (int64_t shift = 2; shift <= 31; ++shift) {
      const LoweredScaleOr found = lowerScale({m, shift}, false, i8(-16, 16));
      if (!found.scale)
        continue;
      const auto raised = raiseScale(*found.scale);
      CHECK(raised && isLegalShift(raised->shift) &&
                raised->multiplier <= kMax && isSameValue(*raised, {m, shift}),
            "%lld * 2^-%lld", ll(m), ll(shift));
      const auto raised16 = raiseScale16(*found.scale);
      CHECK(!raised16 || (raised16->multiplier < 1 << 15 &&
                          isSameValue(*raised16, {m, shift})),
            "%lld * 2^-%lld", ll(m), ll(shift));
      CHECK(raised16 || m > 1 << 12, "%lld", ll(m));
    }
}

int main() {
  testPowersOfTwo();
  testSmallMultipliers();
  testLimits();
  testShiftsFrom31();
  testConstantChannels();
  testDoubleRound();
  testRaising();
  return report();
}
