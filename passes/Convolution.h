//===- Convolution.h - what a convolution is ------------------------------===//
//
// The four convolutions of TOSA as one: operands, weights and where they lie.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef TOSA_RESCALE_CONVOLUTION_H
#define TOSA_RESCALE_CONVOLUTION_H

#include "mlir/Dialect/Tosa/IR/TosaOps.h"

#include <vector>

namespace tosa_rescale {

/// Where in a tensor of weights those of one output channel lie.
struct WeightLayout {
  int64_t outputChannels = 0;
  int64_t inputChannels = 0;
  /// Weights of one output channel.
  int64_t taps = 0;
  /// depthwise_conv2d: output channels of one input channel, else 0.
  int64_t depthMultiplier = 0;

  bool isDepthwise() const { return depthMultiplier != 0; }
  /// Position in memory order; from one tap to the next it is getStride().
  size_t getIndex(int64_t channel, int64_t tap) const {
    return isDepthwise() ? tap * outputChannels + channel
                         : channel * taps + tap;
  }
  int64_t getStride() const { return isDepthwise() ? outputChannels : 1; }
  /// The only input channel that `outputChannel` reads in a depthwise
  /// convolution; 0 in others, which read all.
  int64_t getInputChannel(int64_t outputChannel) const {
    return isDepthwise() ? outputChannel / depthMultiplier : 0;
  }
};

/// conv2d, conv3d, depthwise_conv2d or transpose_conv2d. Their operands stand
/// in one order: input, weights, bias and two zero points.
class Convolution {
public:
  /// Null if `op` is none.
  static Convolution match(mlir::Operation *op);

  explicit operator bool() const { return op; }
  mlir::Operation *getOperation() const { return op; }
  mlir::Operation *operator->() const { return op; }

  mlir::Value getInput() const { return op->getOperand(0); }
  mlir::Value getWeights() const { return op->getOperand(1); }
  mlir::Value getBias() const { return op->getOperand(2); }
  mlir::Value getInputZp() const { return op->getOperand(3); }
  mlir::Value getWeightZp() const { return op->getOperand(4); }
  mlir::Value getAccumulator() const { return op->getResult(0); }
  mlir::OpOperand &getWeightsOperand() const { return op->getOpOperand(1); }
  mlir::OpOperand &getBiasOperand() const { return op->getOpOperand(2); }
  mlir::OpOperand &getWeightZpOperand() const { return op->getOpOperand(4); }

  bool isDepthwise() const;
  /// No result if the shape of the weights is not known.
  std::optional<WeightLayout> getLayout() const;

private:
  mlir::Operation *op = nullptr;
};

inline bool isConvolution(mlir::Operation *op) {
  return bool(Convolution::match(op));
}

/// Weights of i8, in memory order.
struct Weights {
  llvm::ArrayRef<int8_t> elements;
  /// What `elements` refers to if the constant is stored as one element.
  std::vector<int8_t> splat;
};

/// Finds weights in a constant of i8, also through reshapes; null if `value` is
/// none.
std::unique_ptr<Weights> readWeights(mlir::Value value);

/// Gives `operand`, which reads constant weights, new elements through copies
/// of the reshapes that it came through: the constant keeps its shape, and with
/// it everything that knows the graph by its structure.
void setWeights(mlir::OpBuilder &builder, mlir::OpOperand &operand,
                llvm::ArrayRef<int8_t> elements);

} // namespace tosa_rescale

#endif // TOSA_RESCALE_CONVOLUTION_H
