//===- TosaRescaleStaticBatch.cpp - make the batch static -----------------===//
//
// Implements tosa-rescale-static-batch.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Diagnostics.h"
#include "Passes.h"

#include "mlir/Interfaces/InferTypeOpInterface.h"

using namespace mlir;

namespace tosa_rescale {

#define GEN_PASS_DEF_TOSARESCALESTATICBATCHPASS
#include "Passes.h.inc"

namespace {

struct TosaRescaleStaticBatchPass final
    : impl::TosaRescaleStaticBatchPassBase<TosaRescaleStaticBatchPass> {
  using Base::Base;

  LogicalResult initialize(MLIRContext *context) override {
    if (batch < 1)
      return emitError(UnknownLoc::get(context))
             << getArgument() << " requires option 'batch' of at least 1, got "
             << batch.getValue();
    return success();
  }

  void runOnOperation() override;

private:
  /// Everything but dimension 0 must be static already.
  LogicalResult checkArguments(func::FuncOp function);
  LogicalResult makeStatic(func::FuncOp function);
};

} // namespace

static bool isStatic(Type type) {
  auto shaped = dyn_cast<ShapedType>(type);
  return !shaped || shaped.hasStaticShape();
}

LogicalResult
TosaRescaleStaticBatchPass::checkArguments(func::FuncOp function) {
  LogicalResult result = success();
  for (BlockArgument argument : function.getArguments()) {
    auto shaped = dyn_cast<ShapedType>(argument.getType());
    if (!shaped)
      continue;
    if (!shaped.hasRank()) {
      result = function.emitOpError("requires a ranked argument ")
               << argument.getArgNumber() << ", got " << shaped;
      continue;
    }
    for (int64_t dimension = 1; dimension < shaped.getRank(); ++dimension)
      if (shaped.isDynamicDim(dimension))
        result = function.emitOpError("requires dimension ")
                 << dimension << " of argument " << argument.getArgNumber()
                 << " to be static, got " << shaped;
  }
  return result;
}

/// Replaces the -1 in the shape operand of `op`, if there is one, by
/// `resolve(index, values)`. Builds a new constant: others may share the old
/// one and mean another size by it.
static LogicalResult
resolveShape(Operation *op, unsigned operandIndex,
             function_ref<int64_t(size_t, ArrayRef<int64_t>)> resolve) {
  Value shape = op->getOperand(operandIndex);
  auto constant = shape.getDefiningOp<tosa::ConstShapeOp>();
  if (!constant)
    return success();
  SmallVector<int64_t> values;
  for (const APInt &value : constant.getValues().getValues<APInt>())
    values.push_back(value.getSExtValue());
  if (llvm::all_of(values, [](int64_t value) { return value >= 0; }))
    return success();

  const SmallVector<int64_t> old = values;
  for (auto [i, value] : llvm::enumerate(values)) {
    if (value >= 0)
      continue;
    value = resolve(i, old);
    if (value < 0)
      return errorOn(op) << "requires a shape that fits its input "
                         << op->getOperand(0).getType()
                         << ", got -1 in dimension " << i;
  }
  OpBuilder builder(constant);
  auto elements = DenseIntElementsAttr::get(
      cast<ShapedType>(constant.getValues().getType()), values);
  op->setOperand(operandIndex,
                 tosa::ConstShapeOp::create(builder, constant.getLoc(),
                                            constant.getType(), elements));
  if (constant->use_empty())
    constant->erase();
  return success();
}

static LogicalResult resolveShapes(Operation *op) {
  if (auto reshape = dyn_cast<tosa::ReshapeOp>(op)) {
    auto type = dyn_cast<RankedTensorType>(reshape.getInput1().getType());
    if (!type || !type.hasStaticShape())
      return success();
    return resolveShape(
        op, 1, [&](size_t, ArrayRef<int64_t> values) -> int64_t {
          int64_t others = 1;
          for (int64_t value : values)
            others *= value < 0 ? 1 : value;
          if (llvm::count_if(values, [](int64_t value) { return value < 0; }) !=
                  1 ||
              others == 0 || type.getNumElements() % others != 0)
            return -1;
          return type.getNumElements() / others;
        });
  }
  if (auto slice = dyn_cast<tosa::SliceOp>(op)) {
    auto type = dyn_cast<RankedTensorType>(slice.getInput1().getType());
    auto start = slice.getStart().getDefiningOp<tosa::ConstShapeOp>();
    if (!type || !type.hasStaticShape() || !start)
      return success();
    const SmallVector<APInt> starts =
        llvm::to_vector(start.getValues().getValues<APInt>());
    // A size of -1 reaches to the end.
    return resolveShape(op, 2, [&](size_t i, ArrayRef<int64_t>) -> int64_t {
      return i < starts.size() ? type.getDimSize(i) - starts[i].getSExtValue()
                               : -1;
    });
  }
  return success();
}

/// Gives the results of `op` the shapes that its operands imply.
static LogicalResult inferResults(Operation *op) {
  auto shaped = dyn_cast<InferShapedTypeOpInterface>(op);
  if (!shaped)
    return success();
  SmallVector<ShapedTypeComponents> components;
  if (failed(shaped.inferReturnTypeComponents(
          op->getContext(), op->getLoc(), op->getOperands(),
          op->getDiscardableAttrDictionary(), op->getPropertiesStorage(),
          op->getRegions(), components)) ||
      components.size() != op->getNumResults())
    return errorOn(op) << "requires operands whose shapes fit together, got a "
                          "batch that contradicts them";
  for (auto [result, component] :
       llvm::zip_equal(op->getResults(), components)) {
    auto type = dyn_cast<ShapedType>(result.getType());
    if (type && component.hasRank())
      result.setType(type.clone(component.getDims()));
  }
  return success();
}

LogicalResult TosaRescaleStaticBatchPass::makeStatic(func::FuncOp function) {
  for (BlockArgument argument : function.getArguments()) {
    auto shaped = dyn_cast<ShapedType>(argument.getType());
    if (!shaped || shaped.hasStaticShape())
      continue;
    SmallVector<int64_t> shape(shaped.getShape());
    shape[0] = batch;
    argument.setType(shaped.clone(shape));
  }
  const WalkResult walk =
      function.walk<WalkOrder::PreOrder>([&](Operation *op) {
        if (op == function || llvm::all_of(op->getResultTypes(), isStatic))
          return failed(resolveShapes(op)) ? WalkResult::interrupt()
                                           : WalkResult::advance();
        if (failed(resolveShapes(op)) || failed(inferResults(op)))
          return WalkResult::interrupt();
        for (OpResult result : op->getResults()) {
          if (isStatic(result.getType()))
            continue;
          errorOn(op)
              << "requires a result whose shape follows from its operands, got "
              << result.getType();
          return WalkResult::interrupt();
        }
        return WalkResult::advance();
      });
  if (walk.wasInterrupted())
    return failure();

  if (function.isDeclaration())
    return success();
  for (Block &block : function.getBody())
    if (auto terminator = dyn_cast<func::ReturnOp>(block.getTerminator()))
      function.setFunctionType(FunctionType::get(
          &getContext(), function.getBody().getArgumentTypes(),
          llvm::to_vector(terminator.getOperandTypes())));
  return success();
}

void TosaRescaleStaticBatchPass::runOnOperation() {
  bool anyFailed = false;
  getOperation().walk([&](func::FuncOp function) {
    anyFailed |= failed(checkArguments(function));
  });
  if (anyFailed)
    return signalPassFailure();
  getOperation().walk([&](func::FuncOp function) {
    anyFailed |= failed(makeStatic(function));
  });
  if (anyFailed)
    signalPassFailure();
}

} // namespace tosa_rescale
