//===- RescaleOps.cpp - reading and building tosa.rescale -----------------===//
//
// Implements RescaleOps.h.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RescaleOps.h"

#include "Attributes.h"
#include "Convolution.h"
#include "Diagnostics.h"

#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/ADT/SetVector.h"

#include <cmath>

using namespace mlir;

namespace tosa_rescale {

/// Appends the elements of `bytes`, which hold integers of type T.
template <typename T>
static void appendRaw(ArrayRef<char> bytes, SmallVectorImpl<int64_t> &out) {
  for (size_t i = 0, e = bytes.size() / sizeof(T); i < e; ++i) {
    T element;
    std::memcpy(&element, bytes.data() + i * sizeof(T), sizeof(T));
    out.push_back(element);
  }
}

/// Reads densely stored integers of 8, 16, 32 or 64 bits without an APInt for
/// each: weights have millions.
static bool readRaw(ArrayRef<char> bytes, IntegerType type,
                    SmallVectorImpl<int64_t> &out) {
  switch (type.getWidth()) {
  case 8:
    type.isUnsigned() ? appendRaw<uint8_t>(bytes, out)
                      : appendRaw<int8_t>(bytes, out);
    return true;
  case 16:
    type.isUnsigned() ? appendRaw<uint16_t>(bytes, out)
                      : appendRaw<int16_t>(bytes, out);
    return true;
  case 32:
    type.isUnsigned() ? appendRaw<uint32_t>(bytes, out)
                      : appendRaw<int32_t>(bytes, out);
    return true;
  case 64:
    appendRaw<int64_t>(bytes, out);
    return true;
  default:
    return false;
  }
}

ElementsAttr getConstantElements(Value value) {
  while (auto reshape = value.getDefiningOp<tosa::ReshapeOp>())
    value = reshape.getInput1();
  // Not m_Constant: it asks for a trait, whose identity is a name that g++ and
  // clang spell differently. A plugin and its host need not have the same
  // compiler.
  auto constant = value.getDefiningOp<tosa::ConstOp>();
  return constant ? constant.getValues() : ElementsAttr();
}

std::optional<ArrayRef<char>> getRawData(ElementsAttr elements) {
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(elements)) {
    AsmResourceBlob *blob = resource.getRawHandle().getBlob();
    return blob ? std::optional(blob->getData()) : std::nullopt;
  }
  auto dense = dyn_cast<DenseElementsAttr>(elements);
  if (!dense || dense.isSplat())
    return std::nullopt;
  return dense.getRawData();
}

std::optional<SmallVector<int64_t>> getConstantIntegers(Value value) {
  const ElementsAttr elements = getConstantElements(value);
  if (!elements)
    return std::nullopt;
  auto type = dyn_cast<IntegerType>(elements.getElementType());
  if (!type || type.getWidth() > 64)
    return std::nullopt;

  SmallVector<int64_t> result;
  if (std::optional<ArrayRef<char>> bytes = getRawData(elements);
      bytes && readRaw(*bytes, type, result) &&
      static_cast<int64_t>(result.size()) == elements.getNumElements())
    return result;
  auto dense = dyn_cast<DenseIntElementsAttr>(elements);
  if (!dense)
    return std::nullopt;
  result.clear();
  result.reserve(dense.getNumElements());
  for (const APInt &element : dense.getValues<APInt>())
    result.push_back(type.isUnsigned() || type.getWidth() == 1
                         ? static_cast<int64_t>(element.getZExtValue())
                         : element.getSExtValue());
  return result;
}

std::optional<SmallVector<Scale>> getScales(tosa::RescaleOp op) {
  std::optional<SmallVector<int64_t>> multipliers =
      getConstantIntegers(op.getMultiplier());
  std::optional<SmallVector<int64_t>> shifts =
      getConstantIntegers(op.getShift());
  if (!multipliers || !shifts || multipliers->size() != shifts->size())
    return std::nullopt;
  SmallVector<Scale> scales;
  for (auto [multiplier, shift] : llvm::zip_equal(*multipliers, *shifts))
    scales.push_back({multiplier, shift});
  return scales;
}

void eraseIfDead(Operation *op) {
  // A set, as an operation may read the same one twice.
  llvm::SetVector<Operation *> candidates;
  if (op)
    candidates.insert(op);
  while (!candidates.empty()) {
    Operation *candidate = candidates.pop_back_val();
    if (!isOpTriviallyDead(candidate))
      continue;
    for (Value operand : candidate->getOperands())
      if (Operation *definition = operand.getDefiningOp())
        candidates.insert(definition);
    candidate->erase();
  }
}

void replaceConstant(OpBuilder &builder, OpOperand &operand,
                     DenseElementsAttr elements) {
  Operation *old = operand.get().getDefiningOp();
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPoint(old);
  operand.set(tosa::ConstOp::create(builder, old->getLoc(), elements.getType(),
                                    elements));
  eraseIfDead(old);
}

std::optional<SmallVector<Scale>> narrowScales(ArrayRef<Scale> scales,
                                               const NarrowFormat &format) {
  SmallVector<Scale> result;
  for (const Scale &scale : scales) {
    std::optional<Scale> narrowed = narrowScale(scale, format);
    if (!narrowed)
      return std::nullopt;
    result.push_back(*narrowed);
  }
  return result;
}

std::string describeLargest(ArrayRef<Scale> scales) {
  const Scale largest =
      *llvm::max_element(scales, [](const Scale &a, const Scale &b) {
        return std::ldexp(a.multiplier, -a.shift) <
               std::ldexp(b.multiplier, -b.shift);
      });
  return (Twine(largest.multiplier) + " * 2^" + Twine(-largest.shift)).str();
}

bool setScales(OpBuilder &builder, tosa::RescaleOp op, ArrayRef<Scale> scales,
               bool scale32, tosa::RoundingMode roundingMode) {
  const bool sameType = op.getScale32() == scale32;
  std::optional<SmallVector<Scale>> old = getScales(op);
  const bool sameScales = sameType && old && ArrayRef<Scale>(*old) == scales;
  if (sameScales && op.getRoundingMode() == roundingMode)
    return false;
  if (!sameScales) {
    // Both operands at once even if only one changed: a pair that is read
    // together is easier to follow side by side.
    SmallVector<APInt> multipliers, shifts;
    const unsigned width = scale32 ? 32 : 16;
    for (const Scale &scale : scales) {
      multipliers.emplace_back(width, scale.multiplier);
      shifts.emplace_back(8, scale.shift);
    }
    const int64_t count = scales.size();
    auto multiplierType =
        RankedTensorType::get({count}, builder.getIntegerType(width));
    auto shiftType = RankedTensorType::get({count}, builder.getIntegerType(8));
    replaceConstant(builder, op.getMultiplierMutable(),
                    DenseElementsAttr::get(multiplierType, multipliers));
    replaceConstant(builder, op.getShiftMutable(),
                    DenseElementsAttr::get(shiftType, shifts));
  }
  op.setScale32(scale32);
  op.setRoundingMode(roundingMode);
  return true;
}

bool isAccumulatorOp(Operation *op) {
  return isConvolution(op) || isa_and_nonnull<tosa::MatMulOp>(op);
}

bool isDataMovement(Operation *op) {
  return isa_and_nonnull<tosa::ReshapeOp, tosa::TransposeOp, tosa::SliceOp,
                         tosa::IdentityOp>(op);
}

Value getDataSource(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (isDataMovement(op)) {
      value = op->getOperand(0);
      continue;
    }
    if (isa<tosa::ConcatOp>(op) &&
        llvm::all_of(op->getOperands(), [](Value operand) {
          return isAccumulatorOp(getDataSource(operand).getDefiningOp());
        })) {
      value = op->getOperand(0);
      continue;
    }
    break;
  }
  return value;
}

bool isAccumulatorRescale(tosa::RescaleOp op) {
  return isAccumulatorOp(getDataSource(op.getInput()).getDefiningOp());
}

LogicalResult checkBitsRequest(Location location, StringRef pass,
                               const BitsRequest &request, int64_t minBits) {
  if (request.bits < minBits || request.bits > kMaxBits)
    return emitError(location)
           << pass << " requires option 'bits' from " << minBits << " to "
           << kMaxBits << ", got " << request.bits;
  if (request.elementwiseBits < 0 || request.elementwiseBits > kMaxBits)
    return emitError(location)
           << pass << " requires option 'elementwise-bits' from 0 to "
           << kMaxBits << ", got " << request.elementwiseBits;
  if (request.elementwiseBits != 0 && request.scope != Scope::All)
    return emitError(location) << pass
                               << " requires option 'scope=all' with "
                                  "'elementwise-bits', got scope=accumulator";
  return success();
}

FailureOr<std::optional<int64_t>>
getSignificantBits(tosa::RescaleOp op, const BitsRequest &request) {
  int64_t bits = request.bits;
  if (Attribute attribute = op->getAttr(kBitsAttrName)) {
    auto integer = dyn_cast<IntegerAttr>(attribute);
    if (!integer || !integer.getValue().isSignedIntN(32) ||
        integer.getValue().getSExtValue() < kMinBits ||
        integer.getValue().getSExtValue() > kMaxBits)
      return errorOn(op) << "requires '" << kBitsAttrName
                         << "' to be an integer from " << kMinBits << " to "
                         << kMaxBits << ", got " << attribute;
    bits = integer.getValue().getSExtValue();
  } else if (!isAccumulatorRescale(op)) {
    if (request.scope != Scope::All)
      return std::optional<int64_t>();
    if (request.elementwiseBits != 0)
      bits = request.elementwiseBits;
  }
  return std::optional<int64_t>(
      std::min(bits + (request.hiddenBit ? 1 : 0), kMaxBits));
}

} // namespace tosa_rescale
