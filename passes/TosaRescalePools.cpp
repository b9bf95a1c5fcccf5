//===- TosaRescalePools.cpp - average pools with weights ------------------===//
//
// Implements tosa-rescale-pools.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Diagnostics.h"
#include "Passes.h"
#include "RescaleOps.h"
#include "WeightedMean.h"

#include "llvm/ADT/bit.h"
#include "llvm/Support/DebugLog.h"
#include "llvm/Support/MathExtras.h"

#define DEBUG_TYPE "tosa-rescale-pools"

using namespace mlir;

namespace tosa_rescale {

#define GEN_PASS_DEF_TOSARESCALEPOOLSPASS
#include "Passes.h.inc"

namespace {

struct TosaRescalePoolsPass final
    : impl::TosaRescalePoolsPassBase<TosaRescalePoolsPass> {
  using Base::Base;

  void runOnOperation() override {
    SmallVector<tosa::AvgPool2dOp> pools;
    getOperation().walk([&](tosa::AvgPool2dOp op) { pools.push_back(op); });
    for (tosa::AvgPool2dOp op : pools) {
      const int64_t count = op.getKernel()[0] * op.getKernel()[1];
      std::string reason;
      if (dividesByPowersOfTwo(op, count))
        continue;
      if (!canBeWeighted(op, count, reason)) {
        ++numLeftAlone;
        remarkOn(op) << "stays a division: " << reason;
        continue;
      }
      LDBG() << "weighting " << op;
      rewrite(op, count);
      ++numWeighted;
    }
  }

private:
  static bool dividesByPowersOfTwo(tosa::AvgPool2dOp op, int64_t count);
  static bool canBeWeighted(tosa::AvgPool2dOp op, int64_t count,
                            std::string &reason);
  static void rewrite(tosa::AvgPool2dOp op, int64_t count);
};

} // namespace

/// log2 of the largest power of two that as many weights can add up to.
static int64_t getSumLog2(int64_t count) {
  return llvm::Log2_64(kLargestWeight * count);
}

/// How many values of the image the windows hold along one side; nothing where
/// an extent is not known.
static std::optional<SmallVector<int64_t>> getWindowSizes(tosa::AvgPool2dOp op,
                                                          unsigned side) {
  const int64_t extent =
      cast<ShapedType>(op.getInput().getType()).getDimSize(1 + side);
  const int64_t places = cast<ShapedType>(op.getType()).getDimSize(1 + side);
  if (ShapedType::isDynamic(extent) || ShapedType::isDynamic(places))
    return std::nullopt;
  const int64_t size = op.getKernel()[side], step = op.getStride()[side],
                before = op.getPad()[2 * side];
  SmallVector<int64_t> sizes;
  for (int64_t place = 0; place < places; ++place) {
    const int64_t start = place * step - before;
    sizes.push_back(std::min(start + size, extent) -
                    std::max<int64_t>(start, 0));
  }
  return sizes;
}

bool TosaRescalePoolsPass::dividesByPowersOfTwo(tosa::AvgPool2dOp op,
                                                int64_t count) {
  const auto heights = getWindowSizes(op, 0), widths = getWindowSizes(op, 1);
  if (!heights || !widths)
    return llvm::isPowerOf2_64(count);
  return llvm::all_of(*heights, [&](int64_t height) {
    return llvm::all_of(*widths, [&](int64_t width) {
      return llvm::isPowerOf2_64(height * width);
    });
  });
}

bool TosaRescalePoolsPass::canBeWeighted(tosa::AvgPool2dOp op, int64_t count,
                                         std::string &reason) {
  const auto input = cast<ShapedType>(op.getInput().getType());
  const auto heights = getWindowSizes(op, 0), widths = getWindowSizes(op, 1);
  const int64_t height = op.getKernel()[0], width = op.getKernel()[1];
  llvm::raw_string_ostream text(reason);
  if (!heights || !widths || input.isDynamicDim(3))
    text << "requires known extents, got " << input;
  else if (!llvm::all_equal(*heights) || heights->front() != height ||
           !llvm::all_equal(*widths) || widths->front() != width)
    text << "requires windows of " << height << "x" << width
         << " values each, got ones that reach over the border and hold fewer";
  else if (!input.getElementType().isSignlessInteger(8) &&
           !input.getElementType().isSignlessInteger(16))
    text << "requires i8 or i16, got " << input.getElementType();
  else if (!getConstantIntegers(op.getOutputZp()) ||
           !getConstantIntegers(op.getInputZp()))
    text << "requires zero points that are constants";
  else if (getSumLog2(count) > getLargestSumLog2(input.getElementType()))
    text << "requires windows of at most "
         << (int64_t(1) << (getLargestSumLog2(input.getElementType()) - 6))
         << " values, got " << count;
  return reason.empty();
}

void TosaRescalePoolsPass::rewrite(tosa::AvgPool2dOp op, int64_t count) {
  OpBuilder builder(op);
  const Location location = op.getLoc();
  const auto input = cast<ShapedType>(op.getInput().getType());
  const bool isWide = input.getElementType().isSignlessInteger(16);
  const int64_t channels = input.getDimSize(3);
  const auto makeConstant = [&](ArrayRef<int64_t> shape, unsigned bits,
                                ArrayRef<APInt> values) -> Value {
    auto type = RankedTensorType::get(shape, builder.getIntegerType(bits));
    return tosa::ConstOp::create(builder, location, type,
                                 DenseElementsAttr::get(type, values));
  };
  const auto makeNumber = [&](unsigned bits, int64_t value) {
    return makeConstant({1}, bits, APInt(bits, value));
  };

  const int64_t sumLog2 = getSumLog2(count);
  SmallVector<APInt> weights;
  for (int64_t weight : makeEvenWeights(count, int64_t(1) << sumLog2))
    weights.append(channels, APInt(8, weight));
  // One after the other: C++ leaves open in which order arguments are built.
  const unsigned accumulatorBits = isWide ? 48 : 32,
                 multiplierBits = isWide ? 16 : 32;
  const Type accumulator = builder.getIntegerType(accumulatorBits);
  const Value taps = makeConstant(
      {op.getKernel()[0], op.getKernel()[1], channels, 1}, 8, weights);
  const Value bias =
      makeConstant({channels}, accumulatorBits,
                   SmallVector<APInt>(channels, APInt(accumulatorBits, 0)));
  const Value weightZp = makeNumber(8, 0);
  const Value sum = tosa::DepthwiseConv2DOp::create(
      builder, location, cast<ShapedType>(op.getType()).clone(accumulator),
      op.getInput(), taps, bias, op.getInputZp(), weightZp, op.getPadAttr(),
      op.getStrideAttr(), builder.getDenseI64ArrayAttr({1, 1}),
      TypeAttr::get(accumulator),
      /*local_bound=*/BoolAttr());
  const Value multiplier =
      makeNumber(multiplierBits, int64_t(1) << (multiplierBits - 2));
  const Value shift = makeNumber(8, multiplierBits - 2 + sumLog2);
  const Value sumZp = makeNumber(accumulatorBits, 0);
  auto mean = tosa::RescaleOp::create(
      builder, location, op.getType(), sum, multiplier, shift, sumZp,
      op.getOutputZp(), /*scale32=*/!isWide, tosa::RoundingMode::SINGLE_ROUND,
      /*per_channel=*/false, /*input_unsigned=*/false,
      /*output_unsigned=*/false);
  mean->setDiscardableAttrs(op->getDiscardableAttrDictionary());
  op.replaceAllUsesWith(mean.getResult());
  eraseIfDead(op);
}

} // namespace tosa_rescale
