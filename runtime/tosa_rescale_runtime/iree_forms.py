# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What IREE misreads, written in a form that it reads."""

from __future__ import annotations

from .bindings import limit_bindings
from .constants import BYTE_WIDTHS, constant_value, element_type, erase_dead_constants, make_constant, static_shape
from .graph import MAC_KINDS
from .mlir import Operation, Type, Value, ir
from .module import Module
from .products import correct_products
from .transposed import convolve_instead

_WEIGHT, _WEIGHT_ZERO_POINT = 1, 4


def storage_type(element: Type) -> Type:
    """Returns the element type in which IREE takes and gives integers: i64 for i48, any other as it is."""
    if isinstance(element, ir.IntegerType) and element.width not in BYTE_WIDTHS and element.width > 32:
        return ir.IntegerType.get_signless(64, element.context)
    return element


def reinterpret(value: Value, element: Type, before: Operation) -> Value:
    """Builds a cast between i48 and i64 tensors that costs nothing.

    IREE holds i48 in 64 bits from its first pass on. A cast that only names both types becomes the identity there; one that
    extends or truncates would become ill-formed.
    """
    with ir.Location.unknown(before.context):
        tensor = ir.RankedTensorType.get(static_shape(value.type), element)
        return ir.Operation.create(
            "builtin.unrealized_conversion_cast", results=[tensor], operands=[value], ip=ir.InsertionPoint(before)
        ).result


def returnable(value: Value, before: Operation) -> Value:
    """The value as IREE can return it."""
    element = ir.RankedTensorType(value.type).element_type
    stored = storage_type(element)
    return value if stored == element else reinterpret(value, stored, before)


def rewrite_for_iree(module: Module) -> None:
    """Rewrites in place what IREE 3.13 misreads or cannot run; what is computed stays the same.

    - Negative i48 constants, which `int16` networks have as biases, are taken for positive ones, without a word.
    - Weights of less than 8 bits do not compile, nor do transposed convolutions with i48 accumulators.
    - Products of several matrices come out wrong where an operand has a zero point; see `correct_products`.
    - Dispatches may come to read more buffers than can be bound; see `limit_bindings`.
    """
    widen_weights(module)
    convolve_instead(module)
    correct_products(module)
    _widen_constants(module)
    limit_bindings(module.block)


def prepare_for_iree(bytecode: bytes, source: str = "module") -> bytes:
    """Rewrites what IREE misreads or cannot run in a module; see `rewrite_for_iree`.

    Args:
        bytecode: the TOSA module.
        source: what to call it in messages.

    Returns:
        A module for iree-compile, as bytecode, with the same function. It computes the same.

    Raises:
        ModuleError: the module cannot be read.

    """
    module = Module.parse(bytecode, source)
    rewrite_for_iree(module)
    return module.to_bytecode()


def widen_weights(module: Module) -> None:
    """Writes constant weights of less than 8 bits, and their zero points, as i8; IREE 3.13 compiles no constants of i4."""
    for op in module.ops():
        if op.kind not in MAC_KINDS or op.kind == "matmul":
            continue
        operation = op.operation
        for operand in (_WEIGHT, _WEIGHT_ZERO_POINT):
            if element_type(operation.operands[operand].type)[0] >= 8:
                continue
            if (value := constant_value(operation.operands[operand])) is not None:
                with ir.Location.unknown(operation.context):
                    wide = ir.RankedTensorType.get(value.shape, ir.IntegerType.get_signless(8))
                operation.operands[operand] = make_constant(operation, value, wide)
    erase_dead_constants(module.block)


def _widen_constants(module: Module) -> None:
    """Writes constants of i48 as i64."""
    for view in list(module.block.operations):
        operation = view.operation
        if operation.name != "tosa.const":
            continue
        tensor = ir.RankedTensorType(operation.result.type)
        stored = storage_type(tensor.element_type)
        if stored == tensor.element_type:
            continue
        value = constant_value(operation.result)
        assert value is not None
        with ir.Location.unknown(operation.context):
            wide = ir.RankedTensorType.get(tensor.shape, stored)
        constant = make_constant(operation, value, wide)
        operation.result.replace_all_uses_with(reinterpret(constant, tensor.element_type, operation))
        operation.erase()
