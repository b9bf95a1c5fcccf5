//===- Compensation.cpp - weights that absorb a multiplier's error --------===//
//
// Implements Compensation.h in plain numbers.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Compensation.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace tosa_rescale {

/// A scale that a file format keeps as a float32 comes back with an error near
/// 2^-24. Rounded up, 1-bit multipliers would double for that; so an excess
/// below 2^-22 does not count. No weight up to 255 moves by it.
static constexpr int64_t kSlackOne = int64_t(1) << 22;

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
  void step(int64_t i, int sign);
  void improveSum();
  void improveByDescent();

  const Channel &channel;
  const LayerRules &rules;
  const int64_t n;
  double ratio = 1;
  bool anyClipped = false;
  /// H in terms of E[x x']: see above. `spread` is the diagonal of E[x x']
  /// without the product of means, where only means are known.
  float dataWeight = 0, priorWeight = 1, spread = 0;
  std::vector<int16_t> w;
  std::vector<float> d;
  /// E[x x'] d, kept up to date by step(); empty without statistics.
  std::vector<float> g;
};

} // namespace

Rounding::Rounding(const Channel &channel, const LayerRules &rules)
    : channel(channel), rules(rules), n(channel.count), w(n), d(n) {
  if (!channel.mean)
    return;
  double trace = 0;
  if (channel.moment) {
    for (int64_t i = 0; i < n; ++i)
      trace += channel.moment[i * n + i];
  } else {
    // Deviations are not known. That they are as large as the means is as good
    // a guess as any for values on one side of zero.
    for (int64_t i = 0; i < n; ++i)
      trace += 2.0 * channel.mean[i] * channel.mean[i];
    spread = static_cast<float>(trace / 2 / n);
  }
  g.resize(n);
  // An input that is always 0 says nothing about which weights matter.
  if (trace <= 0)
    return;
  dataWeight = static_cast<float>(1 - rules.shrinkage);
  priorWeight = static_cast<float>(rules.shrinkage * trace / n);
}

void Rounding::start(double newRatio) {
  ratio = newRatio;
  const int32_t low = rules.lowestWeight, high = rules.highestWeight;
  int32_t clips = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double target = channel.weights[i] * ratio;
    // Half up. Truncation of a positive number is a vector instruction
    // everywhere, floor is not.
    const int32_t nearest = static_cast<int32_t>(target + 1024.5) - 1024;
    const int32_t clipped = std::min(std::max(nearest, low), high);
    clips += nearest != clipped;
    w[i] = static_cast<int16_t>(clipped);
    d[i] = static_cast<float>(target - clipped);
  }
  anyClipped = clips != 0;
  if (g.empty())
    return;

  if (channel.moment) {
    // Row by row, which is column by column of a symmetric matrix: the inner
    // loop needs no sum across a vector, whose order would matter.
    std::fill(g.begin(), g.end(), 0.0f);
    float *const out = g.data();
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
      const float *const row = channel.moment + i * n;
      const float d0 = d[i], d1 = d[i + 1], d2 = d[i + 2], d3 = d[i + 3];
      for (int64_t j = 0; j < n; ++j)
        out[j] += (d0 * row[j] + d1 * row[n + j]) +
                  (d2 * row[2 * n + j] + d3 * row[3 * n + j]);
    }
    for (; i < n; ++i)
      for (int64_t j = 0; j < n; ++j)
        out[j] += d[i] * channel.moment[i * n + j];
    return;
  }
  const float product =
      std::inner_product(d.begin(), d.end(), channel.mean, 0.0f);
  for (int64_t i = 0; i < n; ++i)
    g[i] = spread * d[i] + product * channel.mean[i];
}

/// Adds `sign` to the weight `i`.
void Rounding::step(int64_t i, int sign) {
  const auto s = static_cast<float>(sign);
  w[i] = static_cast<int16_t>(w[i] + sign);
  d[i] -= s;
  if (g.empty())
    return;
  if (channel.moment) {
    const float *const row = channel.moment + i * n;
    for (int64_t j = 0; j < n; ++j)
      g[j] -= s * row[j];
    return;
  }
  const float factor = s * channel.mean[i];
  for (int64_t j = 0; j < n; ++j)
    g[j] -= factor * channel.mean[j];
  g[i] -= s * spread;
}

void Rounding::improve() {
  // Without statistics or clipping a sort does what the descent does.
  if (dataWeight > 0 || anyClipped)
    improveByDescent();
  else
    improveSum();
}

/// Minimises sum(d^2) + sum(d)^2. A step of sign s changes that by
/// 2 * (1 - s * d[i] - s * sum(d)): the largest s * d[i] is the best, and each
/// further step gains less, so the first one that gains nothing is the end.
void Rounding::improveSum() {
  double sum = ratio * std::accumulate(channel.weights, channel.weights + n,
                                       int64_t(0)) -
               std::accumulate(w.begin(), w.end(), int64_t(0));
  const int sign = sum > 0 ? 1 : -1;
  double rest = std::abs(sum);
  // No d[i] is above 1/2.
  if (rest <= 0.5)
    return;
  const int64_t most =
      std::min<int64_t>(n, static_cast<int64_t>(std::ceil(rest + 0.5)));

  // Misses spread evenly over -1/2 to 1/2: a few times `most` of n lie in the
  // last few times `most` / n, so few need sorting. If not, all do.
  std::vector<int64_t> order;
  const double bound = 0.5 - 4.0 * most / n;
  for (int64_t i = 0; i < n; ++i)
    if (sign * d[i] > bound)
      order.push_back(i);
  if (static_cast<int64_t>(order.size()) < most) {
    order.resize(n);
    std::iota(order.begin(), order.end(), 0);
  }
  std::partial_sort(order.begin(), order.begin() + most, order.end(),
                    [&](int64_t a, int64_t b) {
                      const float da = sign * d[a], db = sign * d[b];
                      return da != db ? da > db : a < b;
                    });
  order.resize(most);
  for (int64_t i : order) {
    if (sign * d[i] + rest <= 1 + 1e-6)
      break;
    if (w[i] + sign < rules.lowestWeight || w[i] + sign > rules.highestWeight)
      continue;
    step(i, sign);
    rest -= 1;
  }
}

/// The best step of all, until none is left. In order of the index it would
/// take dear steps before cheap ones, and ends worse.
void Rounding::improveByDescent() {
  double sum = std::accumulate(d.begin(), d.end(), 0.0);
  const float half = priorWeight / 2;
  std::vector<float> diagonal(n, priorWeight);
  if (dataWeight > 0)
    for (int64_t i = 0; i < n; ++i)
      diagonal[i] +=
          dataWeight * (channel.moment
                            ? channel.moment[i * n + i]
                            : spread + channel.mean[i] * channel.mean[i]);

  std::vector<float> slope(n);
  for (int64_t steps = std::max<int64_t>(64, n); steps > 0; --steps) {
    const float mean = half * static_cast<float>(sum);
    if (dataWeight > 0)
      for (int64_t i = 0; i < n; ++i)
        slope[i] = dataWeight * g[i] + (half * d[i] + mean);
    else
      for (int64_t i = 0; i < n; ++i)
        slope[i] = half * d[i] + mean;

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
  if (channel.mean)
    for (int64_t i = 0; i < n; ++i)
      bias += double(d[i]) * channel.mean[i];
  return static_cast<int64_t>(std::floor(bias + 0.5));
}

double Rounding::getError(int64_t bias) const {
  double square = 0, mean = 0;
  for (int64_t i = 0; i < n; ++i) {
    square += double(d[i]) * g[i];
    mean += double(d[i]) * channel.mean[i];
  }
  const double miss = channel.bias * ratio - static_cast<double>(bias);
  return square + 2 * miss * mean + miss * miss;
}

void Rounding::getSums(int64_t &low, int64_t &high) const {
  int64_t positive = 0, negative = 0;
  for (int16_t weight : w) {
    positive += std::max<int32_t>(weight, 0);
    negative += std::min<int32_t>(weight, 0);
  }
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

/// The multiplier for which the weights fill their range, or a smaller one if
/// clipping some weights then costs less than the finer grid of the others
/// gains. `numerator / denominator` is what the original is multiplied by.
static std::optional<Scale> chooseScale(const Channel &channel,
                                        const LayerRules &rules, int32_t peak,
                                        int64_t &numerator,
                                        int64_t &denominator) {
  numerator = peak * (kSlackOne - 1);
  denominator = rules.highestWeight * kSlackOne;
  const std::optional<Scale> full =
      fillScale(channel.scale, numerator, denominator, rules.format);
  if (!full || !rules.clip)
    return full;

  // The error in units of the original weights, with the prior's metric for
  // what is cut off: rounding errors can be balanced, clipping only goes one
  // way.
  const int32_t limit = rules.highestWeight;
  auto measure = [&](double ratio) {
    double squares = 0, cut = 0, cutSquares = 0;
    for (int64_t i = 0; i < channel.count; ++i) {
      const double target = channel.weights[i] * ratio;
      const int32_t nearest = static_cast<int32_t>(target + 1024.5) - 1024;
      if (nearest > limit || nearest < -limit) {
        const double over = target - (nearest > 0 ? limit : -limit);
        cut += over;
        cutSquares += over * over;
      } else {
        squares += (target - nearest) * (target - nearest);
      }
    }
    return (squares + (cutSquares + cut * cut) / 2) / (ratio * ratio);
  };

  std::optional<Scale> best = full;
  Scale last = *full;
  double bestRatio = getRatio(channel.scale, *full);
  // Before it is measured: no rounding error is above 1/2.
  double bestError = channel.count / 4.0 / (bestRatio * bestRatio);
  bool measured = false;
  for (int percent :
       {101, 102, 103, 105, 107, 110, 115, 120, 130, 140, 160, 200}) {
    const std::optional<Scale> scale = fillScale(
        channel.scale, numerator * 100, denominator * percent, rules.format);
    if (!scale || *scale == last)
      continue;
    last = *scale;
    const double ratio = getRatio(channel.scale, *scale);
    // The largest weight alone may cost too much already.
    const double over = std::max(peak * ratio - limit, 0.0) / ratio;
    if (over * over >= bestError)
      break;
    if (!measured) {
      bestError = measure(bestRatio);
      measured = true;
    }
    const double error = measure(ratio);
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
  int32_t peak = 0;
  for (int64_t i = 0; i < channel.count; ++i)
    peak = std::max<int32_t>(peak, std::abs(channel.weights[i]));
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
  int64_t numerator = kSlackOne - 1, denominator = kSlackOne;
  std::optional<Scale> scale;
  if (rules.fill && peak > 0)
    scale = chooseScale(channel, rules, peak, numerator, denominator);
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
    if (channel.moment)
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
      numerator = kSlackOne - 1;
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
  for (int64_t i = 0; i < channel.count; ++i)
    result.changed += weights[i] != channel.weights[i];
  if (channel.moment) {
    const double unit =
        std::ldexp(double(scale->multiplier), -static_cast<int>(scale->shift));
    result.errorNearest *= unit * unit;
    result.error = rounding.getError(result.bias) * unit * unit;
  }
  return result;
}

} // namespace tosa_rescale
