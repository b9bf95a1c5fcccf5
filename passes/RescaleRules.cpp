//===- RescaleRules.cpp - what TOSA asks of a rescale ---------------------===//
//
// Implements RescaleRules.h. The rules are those of TOSA 1.0, operator RESCALE:
// its ERROR_IF and REQUIRE statements. SPDX-License-Identifier: Apache-2.0 WITH
// LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RescaleRules.h"

#include "Diagnostics.h"
#include "RescaleOps.h"

#include "llvm/Support/raw_ostream.h"

using namespace mlir;

namespace tosa_rescale {

namespace {

/// Violations of one rule in many channels make one message, about the first of
/// them.
class ChannelRule {
public:
  template <typename... Parts> void violate(size_t channel, Parts &&...parts) {
    if (count++ != 0)
      return;
    llvm::raw_string_ostream stream(text);
    (stream << ... << parts);
    first = channel;
  }

  void report(size_t channels, SmallVectorImpl<std::string> &violations) const {
    if (count == 0)
      return;
    violations.push_back(text);
    llvm::raw_string_ostream stream(violations.back());
    if (channels > 1)
      stream << " in channel " << first;
    if (count > 1)
      stream << " and in " << count - 1 << " more";
  }

private:
  std::string text;
  size_t first = 0;
  size_t count = 0;
};

/// The rules for what each channel multiplies by and what comes out of it.
class ScaleRules {
public:
  ScaleRules(tosa::RescaleOp op, Interval outputZp,
             std::optional<int64_t> maxBits)
      : scale32(op.getScale32()),
        doubleRound(op.getRoundingMode() == tosa::RoundingMode::DOUBLE_ROUND),
        outputZp(outputZp), maxBits(maxBits) {}

  void check(size_t channel, Scale scale, Interval value);

  void report(size_t channels, SmallVectorImpl<std::string> &violations) const {
    for (const ChannelRule *rule :
         {&bits, &sign, &shift, &range, &result, &sum})
      rule->report(channels, violations);
  }

private:
  void checkResult(size_t channel, Scale scale, Interval value);

  const bool scale32, doubleRound;
  const Interval outputZp;
  const std::optional<int64_t> maxBits;
  ChannelRule bits, sign, shift, range, result, sum;
};

} // namespace

/// ERROR_IF: combinations that are wrong whatever the input. Those of zero
/// points are checked by the operation's own verifier.
static void checkForm(tosa::RescaleOp op,
                      SmallVectorImpl<std::string> &violations) {
  const Type input = getElementTypeOrSelf(op.getInput()),
             output = getElementTypeOrSelf(op.getOutput());
  const bool inputUnsigned = op.getInputUnsigned(),
             outputUnsigned = op.getOutputUnsigned();

  if (op.getScale32() && input.isInteger(48))
    violations.push_back("requires scale32 = false for an i48 input, got true");
  if (!op.getScale32() &&
      op.getRoundingMode() == tosa::RoundingMode::DOUBLE_ROUND)
    violations.push_back("requires scale32 = true for DOUBLE_ROUND, got false");
  if (inputUnsigned && outputUnsigned)
    violations.push_back(
        "requires a signed input or output, got both unsigned");
  if (inputUnsigned &&
      (output.isInteger(32) || input.isInteger(32) || input.isInteger(48)))
    violations.push_back(
        "requires input_unsigned = false for i32 and i48, got true");
  if (outputUnsigned &&
      (input.isInteger(32) || input.isInteger(48) || output.isInteger(32)))
    violations.push_back(
        "requires output_unsigned = false for i32 and i48, got true");
}

void ScaleRules::check(size_t channel, Scale scale, Interval value) {
  if (scale.multiplier < 0) {
    sign.violate(channel, "requires a multiplier of at least 0, got ",
                 scale.multiplier);
  } else if (maxBits && significantBits(scale.multiplier) > *maxBits) {
    bits.violate(channel, "requires a multiplier of at most ",
                 countSignificantBits(*maxBits), ", got ",
                 significantBits(scale.multiplier), " (", scale.multiplier,
                 ")");
  }
  if (!isLegalShift(scale.shift)) {
    shift.violate(channel, "requires a shift from ", kMinShift, " to ",
                  kMaxShift, ", got ", scale.shift);
    return;
  }
  if (scale.multiplier < 0)
    return;
  if (!scale32) {
    checkResult(channel, scale, value);
    return;
  }
  const int64_t limit = int64_t(1) << (scale.shift - 1);
  if (!isLegalValue32(value.low, scale.shift) ||
      !isLegalValue32(value.high, scale.shift))
    range.violate(channel, "requires a value from ", -limit, " to ", limit - 1,
                  " for scale32 with shift ", scale.shift, ", got ", value.low,
                  " to ", value.high);
}

/// Only scale16 can leave i32: scale32 stays below 2^30 within its value range.
void ScaleRules::checkResult(size_t channel, Scale scale, Interval value) {
  const Int128 low = applyScale(value.low, scale, doubleRound),
               high = applyScale(value.high, scale, doubleRound);
  auto clip = [](Int128 wide) {
    return static_cast<int64_t>(
        std::clamp<Int128>(wide, std::numeric_limits<int64_t>::min(),
                           std::numeric_limits<int64_t>::max()));
  };
  if (!isLegalResult(low) || !isLegalResult(high))
    result.violate(channel, "requires a scaled value that fits i32, got ",
                   clip(low), " to ", clip(high));
  else if (!isLegalResult(low + outputZp.low) ||
           !isLegalResult(high + outputZp.high))
    sum.violate(
        channel,
        "requires a scaled value that fits i32 with output_zp added, got ",
        clip(low + outputZp.low), " to ", clip(high + outputZp.high));
}

SmallVector<std::string> findViolations(tosa::RescaleOp op, ValueRanges &ranges,
                                        std::optional<int64_t> maxBits) {
  SmallVector<std::string> violations;
  checkForm(op, violations);

  if (std::optional<Interval> overflow =
          ranges.getOverflow(getDataSource(op.getInput()))) {
    llvm::raw_string_ostream stream(violations.emplace_back());
    stream << "requires an accumulator that fits "
           << getElementTypeOrSelf(op.getInput()) << ", got " << overflow->low
           << " to " << overflow->high;
  }

  const std::optional<SmallVector<Scale>> scales = getScales(op);
  if (!scales) {
    violations.push_back(
        "requires a constant multiplier and shift, got a computed one");
    return violations;
  }

  const FailureOr<int64_t> constantZp = op.getOutputZeroPoint();
  const Interval outputZp = succeeded(constantZp)
                                ? Interval{*constantZp, *constantZp}
                                : ranges.getWhole(op.getOutputZp());
  const ChannelRanges values = ranges.getScaledValue(op);
  const size_t channels = std::max(values.size(), scales->size());
  ScaleRules rules(op, outputZp, maxBits);
  for (size_t channel = 0; channel < channels; ++channel)
    rules.check(channel,
                scales->size() == 1 ? scales->front() : (*scales)[channel],
                at(values, channel));
  rules.report(channels, violations);
  return violations;
}

} // namespace tosa_rescale
