//===- Compensation.cpp - weights that absorb a multiplier's error --------===//
//
// Implements Compensation.h in plain numbers.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Compensation.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <vector>

namespace tosa_rescale {

/// A scale that a file format keeps as a float32 comes back with an error near
/// 2^-24. Rounded up, 1-bit multipliers would double for that; so an excess
/// below 2^-22 does not count. No weight up to 255 moves by it.
static constexpr int64_t kSlackOne = int64_t(1) << 22;

/// The sum of `function` over 16-bit weights, which may yield 16 bits.
template <typename Function>
static int64_t addUp(const int16_t *weights, int64_t count, Function function) {
  int64_t sum = 0;
  // In 32 bits as long as that is safe: twice as many fit a vector.
  for (int64_t first = 0; first < count; first += 1 << 15) {
    const int64_t last = std::min<int64_t>(first + (1 << 15), count);
    int32_t part = 0;
    for (int64_t i = first; i < last; ++i)
      part += function(weights[i]);
    sum += part;
  }
  return sum;
}

namespace {

/// `w = t - d` for the scaled weights `t`: integers and what they miss.
///
/// With x the input, the accumulator's error is sum(d[i] * x[i]), and its
/// expected square is d' H d for H = E[x x']. That H is mixed with a prior:
///
///   H = (1 - l) * E[x x'] + l * t * (I + 1 1') / 2,  t = trace(E[x x']) / n
///
/// inputs of one variance that are positively correlated, as behind a ReLU.
/// Moments of a few samples alone do not determine n * n numbers, and rounding
/// then fits their noise. Without statistics l is 1.
class Rounding {
public:
  Rounding(const Channel &channel, const LayerRules &rules);

  /// Starts from the nearest integers to `ratio * weights`.
  void start(double ratio);
  /// Lowers d' H d by single steps.
  void improve();

  /// The bias that makes up for the mean error.
  int64_t getBias() const;
  /// Expected square of the accumulator's error, that of the bias included.
  double getError(int64_t bias) const;
  /// The accumulator's range without its bias.
  void getSums(int64_t &low, int64_t &high) const;

  const std::vector<int16_t> &getWeights() const { return w; }

private:
  void addRow(const float *row, float factor);
  void step(int64_t i, int sign);
  void improveSum();
  void improveByDescent();

  const Channel &channel;
  const LayerRules &rules;
  const InputStatistics *const inputs;
  const int64_t n;
  double ratio = 1;
  /// H in terms of E[x x']: see above.
  float dataWeight = 0, priorWeight = 1;
  std::vector<int16_t> w;
  std::vector<float> d;
  /// E[x x'] d, kept up to date by step(); empty without statistics.
  std::vector<float> g;
};

} // namespace

Rounding::Rounding(const Channel &channel, const LayerRules &rules)
    : channel(channel), rules(rules), inputs(channel.inputs), n(channel.count),
      w(n), d(n) {
  if (!inputs)
    return;
  g.resize(n);
  const double trace =
      std::accumulate(inputs->diagonal, inputs->diagonal + n, 0.0);
  // An input that is always 0 says nothing about which weights matter.
  if (trace <= 0)
    return;
  dataWeight = static_cast<float>(1 - rules.shrinkage);
  priorWeight = static_cast<float>(rules.shrinkage * trace / n);
}

void Rounding::start(double newRatio) {
  ratio = newRatio;
  const int32_t low = rules.lowestWeight, high = rules.highestWeight;
  for (int64_t i = 0; i < n; ++i) {
    const double target = channel.weights[i] * ratio;
    // Half up. Truncation of a positive number is a vector instruction
    // everywhere, floor is not.
    const int32_t nearest = static_cast<int32_t>(target + 1024.5) - 1024;
    const int32_t clipped = std::min(std::max(nearest, low), high);
    w[i] = static_cast<int16_t>(clipped);
    d[i] = static_cast<float>(target - clipped);
  }
  if (!inputs)
    return;

  // Row by row, which is column by column of a symmetric matrix: the inner loop
  // needs no sum across a vector, whose order would matter.
  float *const out = g.data();
  if (!inputs->moment) {
    for (int64_t i = 0; i < n; ++i)
      out[i] = inputs->rest[i] * d[i];
    for (int64_t r = 0; r < inputs->rank; ++r) {
      const float *const row = inputs->factors + r * n;
      addRow(row, std::inner_product(row, row + n, d.begin(), 0.0f));
    }
    return;
  }
  std::fill(g.begin(), g.end(), 0.0f);
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) {
    const float *const row = inputs->moment + i * n;
    const float d0 = d[i], d1 = d[i + 1], d2 = d[i + 2], d3 = d[i + 3];
    for (int64_t j = 0; j < n; ++j)
      out[j] += (d0 * row[j] + d1 * row[n + j]) +
                (d2 * row[2 * n + j] + d3 * row[3 * n + j]);
  }
  for (; i < n; ++i)
    addRow(inputs->moment + i * n, d[i]);
}

void Rounding::addRow(const float *row, float factor) {
  float *const out = g.data();
  for (int64_t j = 0; j < n; ++j)
    out[j] += factor * row[j];
}

/// Adds `sign` to the weight `i`.
void Rounding::step(int64_t i, int sign) {
  const auto s = static_cast<float>(sign);
  w[i] = static_cast<int16_t>(w[i] + sign);
  d[i] -= s;
  if (!inputs)
    return;
  if (inputs->moment)
    return addRow(inputs->moment + i * n, -s);
  for (int64_t r = 0; r < inputs->rank; ++r) {
    const float *const row = inputs->factors + r * n;
    addRow(row, -s * row[i]);
  }
  g[i] -= s * inputs->rest[i];
}

void Rounding::improve() {
  // Without statistics a sort does what the descent does.
  if (dataWeight > 0)
    improveByDescent();
  else
    improveSum();
}

/// Minimises sum(d^2) + sum(d)^2. A step of sign s changes that by
/// 2 * (1 - s * d[i] - s * sum(d)): the largest s * d[i] is the best, and each
/// further step gains less, so the first one that gains nothing is the end. A
/// weight that is clipped has no step left; of the others no d[i] is above 1/2.
void Rounding::improveSum() {
  auto identity = [](int16_t weight) { return weight; };
  const double sum = ratio * addUp(channel.weights, n, identity) -
                     addUp(w.data(), n, identity);
  const int sign = sum > 0 ? 1 : -1;
  double rest = std::abs(sum);
  if (rest <= 0.5)
    return;
  const int64_t most =
      std::min<int64_t>(n, static_cast<int64_t>(std::ceil(rest + 0.5)));

  struct Candidate {
    float gain;
    int32_t index;

    bool operator<(const Candidate &other) const {
      return gain != other.gain ? gain > other.gain : index < other.index;
    }
  };
  std::vector<Candidate> candidates;
  const auto s = static_cast<float>(sign);
  auto collect = [&](float bound) {
    candidates.clear();
    // A test of 16 at once, for most have none.
    for (int64_t first = 0; first < n; first += 16) {
      const int64_t last = std::min<int64_t>(first + 16, n);
      int32_t any = last - first < 16;
      if (!any)
        for (int64_t i = 0; i < 16; ++i)
          any |= s * d[first + i] > bound;
      for (int64_t i = first; any && i < last; ++i)
        if (s * d[i] > bound && w[i] + sign >= rules.lowestWeight &&
            w[i] + sign <= rules.highestWeight)
          candidates.push_back({s * d[i], static_cast<int32_t>(i)});
    }
  };
  // Misses spread evenly over -1/2 to 1/2: twice `most` of n lie in the last
  // 2 * most / n, so few need sorting. If they do not, all do.
  collect(0.5f - 2.0f * static_cast<float>(most) / n);
  if (static_cast<int64_t>(candidates.size()) < most)
    collect(-HUGE_VALF);
  const auto end =
      candidates.begin() + std::min<int64_t>(most, candidates.size());
  std::partial_sort(candidates.begin(), end, candidates.end());
  for (auto it = candidates.begin(); it != end; ++it) {
    if (it->gain + rest <= 1 + 1e-6)
      break;
    step(it->index, sign);
    rest -= 1;
  }
}

/// The best step of all, until none is left. In order of the index it would
/// take dear steps before cheap ones, and ends worse.
void Rounding::improveByDescent() {
  double sum = std::accumulate(d.begin(), d.end(), 0.0);
  const float half = priorWeight / 2;
  std::vector<float> diagonal(n, priorWeight);
  for (int64_t i = 0; i < n; ++i)
    diagonal[i] += dataWeight * inputs->diagonal[i];

  std::vector<float> slope(n);
  for (int64_t steps = std::max<int64_t>(64, n); steps > 0; --steps) {
    const float mean = half * static_cast<float>(sum);
    for (int64_t i = 0; i < n; ++i)
      slope[i] = dataWeight * g[i] + (half * d[i] + mean);

    // A step of sign s changes d' H d by diagonal[i] - 2 * s * slope[i].
    int64_t best = -1;
    float bestGain = 0;
    for (int64_t i = 0; i < n; ++i) {
      const float gain = 2 * std::abs(slope[i]) - diagonal[i];
      if (gain <= bestGain)
        continue;
      const bool barred = slope[i] > 0 ? w[i] >= rules.highestWeight
                                       : w[i] <= rules.lowestWeight;
      // Below that it may be the rounding of the sums.
      if (barred || gain <= 1e-5f * diagonal[i])
        continue;
      best = i;
      bestGain = gain;
    }
    if (best < 0)
      return;
    const int sign = slope[best] > 0 ? 1 : -1;
    step(best, sign);
    sum -= sign;
  }
}

int64_t Rounding::getBias() const {
  double bias = channel.bias * ratio;
  if (inputs)
    for (int64_t i = 0; i < n; ++i)
      bias += double(d[i]) * inputs->mean[i];
  return static_cast<int64_t>(std::floor(bias + 0.5));
}

double Rounding::getError(int64_t bias) const {
  double square = 0, mean = 0;
  for (int64_t i = 0; i < n; ++i) {
    square += double(d[i]) * g[i];
    mean += double(d[i]) * inputs->mean[i];
  }
  const double miss = channel.bias * ratio - static_cast<double>(bias);
  return square + 2 * miss * mean + miss * miss;
}

void Rounding::getSums(int64_t &low, int64_t &high) const {
  const int64_t positive = addUp(
      w.data(), n, [](int16_t weight) { return std::max<int32_t>(weight, 0); });
  const int64_t negative =
      addUp(w.data(), n, [](int16_t weight) { return weight; }) - positive;
  low = positive * rules.lowestInput + negative * rules.highestInput;
  high = positive * rules.highestInput + negative * rules.lowestInput;
}

/// How much larger the sums may be at most, as a factor; below 1 if they are
/// too large.
static double getRoom(int64_t low, int64_t high, int64_t lowest,
                      int64_t highest) {
  double room = std::ldexp(1, 62);
  if (low < 0)
    room = std::min(room, double(lowest) / low);
  if (high > 0)
    room = std::min(room, double(highest) / high);
  return room;
}

static double getRatio(Scale scale, Scale narrow) {
  return std::ldexp(double(scale.multiplier) / double(narrow.multiplier),
                    static_cast<int>(narrow.shift - scale.shift));
}

namespace {

/// What a multiplier costs in accuracy of the weights.
class ClippingCost {
public:
  ClippingCost(const Channel &channel, int32_t limit)
      : channel(channel), limit(limit) {}

  /// Error in units of the original weights, or anything above `bound` if it is
  /// that much. What is cut off counts by the prior's metric: rounding errors
  /// can be balanced, clipping goes one way.
  double measure(double ratio, double bound) {
    if (counts.empty())
      count();
    const double scale = 1 / (ratio * ratio);
    double cut = 0, cutSquares = 0, squares = 0;
    auto entry = counts.begin();
    for (; entry != counts.end(); ++entry) {
      const double over = entry->magnitude * ratio - limit;
      if (over <= 0.5)
        break;
      cut += entry->net * over;
      cutSquares += entry->number * over * over;
    }
    const double clipping = (cutSquares + cut * cut) / 2;
    if (clipping * scale >= bound)
      return clipping * scale;
    for (; entry != counts.end(); ++entry) {
      const double target = entry->magnitude * ratio;
      const double miss = target - static_cast<int32_t>(target + 0.5);
      squares += entry->number * (miss * miss);
    }
    return (squares + clipping) * scale;
  }

private:
  struct Count {
    double magnitude, number;
    /// Positive ones less negative ones.
    double net;
  };

  /// Weights have 8 bits, so most of them share their magnitude with others.
  /// The largest come first.
  void count() {
    std::array<int32_t, 511> all = {};
    for (int64_t i = 0; i < channel.count; ++i)
      ++all[255 + channel.weights[i]];
    for (int32_t magnitude = 255; magnitude > 0; --magnitude) {
      const int32_t positive = all[255 + magnitude],
                    negative = all[255 - magnitude];
      if (positive + negative != 0)
        counts.push_back({double(magnitude), double(positive + negative),
                          double(positive - negative)});
    }
  }

  const Channel &channel;
  const int32_t limit;
  std::vector<Count> counts;
};

} // namespace

/// The next multiplier below `scale`, as a value; at least as large as what
/// fillScale() can give.
static double getNextBelow(Scale scale, const NarrowFormat &format) {
  int exponent;
  const double fraction = std::frexp(double(scale.multiplier), &exponent);
  const int width = std::min(format.significantBits, format.containerBits);
  const double unit = std::ldexp(1, fraction == 0.5 ? -width - 1 : -width);
  return std::ldexp(fraction - unit, exponent - static_cast<int>(scale.shift));
}

/// The multiplier for which the weights fill their range, or a smaller one if
/// clipping some weights then costs less than the finer grid of the others
/// gains.
static std::optional<Scale> chooseScale(const Channel &channel,
                                        const LayerRules &rules, int32_t peak) {
  const int64_t numerator = peak * (kSlackOne - 1),
                denominator = rules.highestWeight * kSlackOne;
  const std::optional<Scale> full =
      fillScale(channel.scale, numerator, denominator, rules.format);
  if (!full || !rules.clip)
    return full;

  const double value = std::ldexp(double(channel.scale.multiplier),
                                  static_cast<int>(-channel.scale.shift));
  const double limit = rules.highestWeight;
  // The largest weight alone may cost too much: no rounding error is above 1/2,
  // and with random ones the mean square is 1/12.
  const double fullRatio = getRatio(channel.scale, *full);
  double bestError = channel.count / 4.0 / (fullRatio * fullRatio);
  auto isTooDear = [&](double ratio) {
    const double over = std::max(peak - limit / ratio, 0.0);
    return over * over >= bestError;
  };
  double next = getNextBelow(*full, rules.format);
  if (isTooDear(value / next))
    return full;

  ClippingCost cost(channel, rules.highestWeight);
  bestError = cost.measure(fullRatio, HUGE_VAL);
  std::optional<Scale> best = full;
  for (int percent :
       {101, 102, 103, 105, 107, 110, 115, 120, 130, 140, 160, 200}) {
    if (isTooDear(value / next))
      break;
    // Nothing between this bound and the last multiplier: a division saved.
    if (next * 1.000001 < value * peak / limit * 100 / percent)
      continue;
    const std::optional<Scale> scale = fillScale(
        channel.scale, numerator * 100, denominator * percent, rules.format);
    if (!scale)
      break;
    next = getNextBelow(*scale, rules.format);
    const double ratio = getRatio(channel.scale, *scale);
    const double error = cost.measure(ratio, bestError);
    if (error < 0.999 * bestError) {
      best = scale;
      bestError = error;
    }
  }
  return best;
}

Compensated compensate(const Channel &channel, const LayerRules &rules,
                       int16_t *weights) {
  Compensated result;
  result.scale = channel.scale;
  result.bias = channel.bias;
  std::copy(channel.weights, channel.weights + channel.count, weights);
  if (channel.scale.multiplier == 0) {
    result.outcome = Outcome::ZeroMultiplier;
    return result;
  }
  int16_t lowest = 0, highest = 0;
  for (int64_t i = 0; i < channel.count; ++i) {
    lowest = std::min(lowest, channel.weights[i]);
    highest = std::max(highest, channel.weights[i]);
  }
  const int32_t peak = std::max<int32_t>(highest, -lowest);
  const int64_t bits =
      std::min(rules.format.significantBits, rules.format.containerBits);
  if (significantBits(channel.scale.multiplier) <= bits &&
      channel.scale.shift <= kMaxShift &&
      (!rules.fill || peak <= rules.highestWeight)) {
    const std::optional<Scale> same = narrowScale(channel.scale, rules.format);
    result.outcome = same ? Outcome::Kept : Outcome::NoShift;
    if (same)
      result.scale = *same;
    return result;
  }

  // The new multiplier is at least `numerator / denominator` of the original.
  const int64_t numerator = kSlackOne - 1;
  int64_t denominator = kSlackOne;
  std::optional<Scale> scale;
  if (rules.fill && peak > 0)
    scale = chooseScale(channel, rules, peak);
  else
    scale = fillScale(channel.scale, numerator, denominator, rules.format);

  Rounding rounding(channel, rules);
  bool nearest = rules.rounding == WeightRounding::Nearest;
  const double one = 1 + 2.0 / kSlackOne;
  while (true) {
    if (!scale) {
      result.outcome = Outcome::NoShift;
      return result;
    }
    result.scale = *scale;
    result.ratio = getRatio(channel.scale, *scale);
    rounding.start(result.ratio);
    if (channel.inputs)
      result.errorNearest = rounding.getError(rounding.getBias());
    if (!nearest)
      rounding.improve();
    result.bias = rounding.getBias();

    int64_t low, high;
    rounding.getSums(low, high);
    low += result.bias;
    high += result.bias;
    const double sumRoom =
        getRoom(low, high, rules.lowestSum, rules.highestSum);
    double scaledRoom;
    if (rules.scale32) {
      const int64_t limit = int64_t(1) << (scale->shift - 1);
      scaledRoom = getRoom(low, high, -limit, limit - 1);
    } else {
      // The result counts, not the value; its zero point too.
      const double limit = std::ldexp(1, 31) - 1 - std::abs(rules.outputZp);
      const double largest =
          std::max<double>(std::abs(double(low)), std::abs(double(high)));
      scaledRoom = largest == 0
                       ? 2
                       : std::ldexp(limit / largest / double(scale->multiplier),
                                    static_cast<int>(scale->shift));
    }
    const double room = std::min(sumRoom, scaledRoom);
    if (room >= 1)
      break;
    if (result.ratio > one) {
      // Strictly smaller, or the multiplier might stay the same.
      const double ratio =
          std::max(std::min(result.ratio * room, result.ratio * 0.999999), 1.0);
      denominator = static_cast<int64_t>(ratio * (kSlackOne - 1));
      scale = fillScale(channel.scale, numerator, denominator, rules.format);
      continue;
    }
    // The original weights were at least as large. If they overflow, or leave
    // the range of the shift, that is not news, and a larger multiplier would
    // not help the latter: its shift is smaller.
    if (sumRoom >= 1)
      break;
    if (!nearest) {
      nearest = true;
      continue;
    }
    rounding.start(1);
    rounding.getSums(low, high);
    if (getRoom(low + channel.bias, high + channel.bias, rules.lowestSum,
                rules.highestSum) < 1 &&
        result.bias >= rules.lowestSum && result.bias <= rules.highestSum) {
      rounding.start(result.ratio);
      break;
    }
    result.outcome = Outcome::BiasOverflow;
    return result;
  }

  result.outcome = Outcome::Compensated;
  std::copy(rounding.getWeights().begin(), rounding.getWeights().end(),
            weights);
  int32_t changed = 0;
  for (int64_t i = 0; i < channel.count; ++i)
    changed += weights[i] != channel.weights[i];
  result.changed = changed;
  if (channel.inputs) {
    const double unit =
        std::ldexp(double(scale->multiplier), -static_cast<int>(scale->shift));
    result.errorNearest *= unit * unit;
    result.error = rounding.getError(result.bias) * unit * unit;
  }
  return result;
}

} // namespace tosa_rescale
