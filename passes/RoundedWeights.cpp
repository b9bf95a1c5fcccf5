//===- RoundedWeights.cpp - scaled weights as integers --------------------===//
//
// Implements RoundedWeights.h in plain numbers.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RoundedWeights.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace tosa_rescale {

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

RoundedWeights::RoundedWeights(const Channel &channel, const LayerRules &rules)
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

void RoundedWeights::start(double newRatio) {
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

void RoundedWeights::addRow(const float *row, float factor) {
  float *const out = g.data();
  for (int64_t j = 0; j < n; ++j)
    out[j] += factor * row[j];
}

/// Adds `sign` to the weight `i`.
void RoundedWeights::step(int64_t i, int sign) {
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

void RoundedWeights::improve() {
  // Without statistics a sort does what the descent does.
  if (dataWeight > 0)
    improveByDescent();
  else if (rules.correlation > 0)
    improveSum();
}

/// Minimises sum(d^2) + sum(d)^2, which is the prior at a correlation of 1/2
/// and near enough at others above 0. A step of sign s changes that by
/// 2 * (1 - s * d[i] - s * sum(d)): the largest s * d[i] is the best, and each
/// further step gains less, so the first one that gains nothing is the end. A
/// weight that is clipped has no step left; of the others no d[i] is above 1/2.
void RoundedWeights::improveSum() {
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
void RoundedWeights::improveByDescent() {
  double sum = std::accumulate(d.begin(), d.end(), 0.0);
  const auto c = static_cast<float>(rules.correlation);
  const float apart = priorWeight * (1 - c), together = priorWeight * c;
  std::vector<float> diagonal(n, priorWeight);
  for (int64_t i = 0; i < n; ++i)
    diagonal[i] += dataWeight * inputs->diagonal[i];

  std::vector<float> slope(n);
  for (int64_t steps = std::max<int64_t>(64, n); steps > 0; --steps) {
    const float mean = together * static_cast<float>(sum);
    for (int64_t i = 0; i < n; ++i)
      slope[i] = dataWeight * g[i] + (apart * d[i] + mean);

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

int64_t RoundedWeights::getBias() const {
  double bias = channel.bias * ratio;
  if (inputs)
    for (int64_t i = 0; i < n; ++i)
      bias += double(d[i]) * inputs->mean[i];
  return static_cast<int64_t>(std::floor(bias + 0.5));
}

double RoundedWeights::getError(int64_t bias) const {
  double square = 0, mean = 0;
  for (int64_t i = 0; i < n; ++i) {
    square += double(d[i]) * g[i];
    mean += double(d[i]) * inputs->mean[i];
  }
  const double miss = channel.bias * ratio - static_cast<double>(bias);
  return square + 2 * miss * mean + miss * miss;
}

void RoundedWeights::getSums(int64_t &low, int64_t &high) const {
  const int64_t positive = addUp(
      w.data(), n, [](int16_t weight) { return std::max<int32_t>(weight, 0); });
  const int64_t negative =
      addUp(w.data(), n, [](int16_t weight) { return weight; }) - positive;
  low = positive * rules.lowestInput + negative * rules.highestInput;
  high = positive * rules.highestInput + negative * rules.lowestInput;
}

} // namespace tosa_rescale
