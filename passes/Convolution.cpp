//===- Convolution.cpp - what a convolution is ----------------------------===//
//
// Implements Convolution.h.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Convolution.h"

#include "RescaleOps.h"

using namespace mlir;

namespace tosa_rescale {

Convolution Convolution::match(Operation *op) {
  Convolution convolution;
  if (isa_and_nonnull<tosa::Conv2DOp, tosa::Conv3DOp, tosa::DepthwiseConv2DOp,
                      tosa::TransposeConv2DOp>(op))
    convolution.op = op;
  return convolution;
}

bool Convolution::isDepthwise() const {
  return isa<tosa::DepthwiseConv2DOp>(op);
}

std::optional<WeightLayout> Convolution::getLayout() const {
  auto type = dyn_cast<RankedTensorType>(getWeights().getType());
  if (!type || !type.hasStaticShape())
    return std::nullopt;
  const ArrayRef<int64_t> shape = type.getShape();
  WeightLayout layout;
  if (isDepthwise()) {
    // [KH, KW, C, M]: output channel c * M + m reads input channel c.
    layout.taps = shape[0] * shape[1];
    layout.inputChannels = shape[2];
    layout.depthMultiplier = shape[3];
    layout.outputChannels = shape[2] * shape[3];
  } else {
    // [OC, KH, KW, IC], and [OC, KD, KH, KW, IC] of conv3d.
    layout.inputChannels = shape.back();
    layout.outputChannels = shape.front();
    layout.taps = ShapedType::getNumElements(shape.drop_front());
  }
  return layout;
}

std::unique_ptr<Weights> readWeights(Value value) {
  const ElementsAttr elements = getConstantElements(value);
  if (!elements)
    return nullptr;
  auto weights = std::make_unique<Weights>();
  const size_t count = elements.getNumElements();
  if (auto dense = dyn_cast<DenseElementsAttr>(elements);
      dense && dense.isSplat()) {
    weights->splat.assign(count, dense.getSplatValue<APInt>().getSExtValue());
    weights->elements = weights->splat;
    return weights;
  }
  const std::optional<ArrayRef<char>> bytes = getRawData(elements);
  if (!bytes || bytes->size() != count)
    return nullptr;
  weights->elements =
      ArrayRef(reinterpret_cast<const int8_t *>(bytes->data()), count);
  return weights;
}

void setWeights(OpBuilder &builder, OpOperand &operand,
                ArrayRef<int8_t> elements) {
  SmallVector<Operation *> reshapes;
  Value source = operand.get();
  while (auto reshape = source.getDefiningOp<tosa::ReshapeOp>()) {
    reshapes.push_back(reshape);
    source = reshape.getInput1();
  }
  Operation *old = operand.get().getDefiningOp();
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPoint(source.getDefiningOp());
  auto type = cast<ShapedType>(source.getType());
  auto attribute = DenseElementsAttr::getFromRawBuffer(
      type, ArrayRef(reinterpret_cast<const char *>(elements.data()),
                     elements.size()));
  Value value =
      tosa::ConstOp::create(builder, source.getLoc(), type, attribute);
  for (Operation *reshape : llvm::reverse(reshapes)) {
    builder.setInsertionPoint(reshape);
    Operation *copy = builder.clone(*reshape);
    copy->setOperand(0, value);
    value = copy->getResult(0);
  }
  operand.set(value);
  eraseIfDead(old);
}

} // namespace tosa_rescale
