# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What IREE misreads, written in a form that it reads."""

from __future__ import annotations

from .bindings import limit_bindings
from .constants import BYTE_WIDTHS, constant_value, make_constant, static_shape
from .mlir import Operation, Type, Value, ir
from .module import Module


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
    """Rewrites in place what IREE 3.13 misreads or cannot run; what it computes stays the same."""
    _widen_constants(module)
    limit_bindings(module.block)


def prepare_for_iree(bytecode: bytes, source: str = "module") -> bytes:
    """Rewrites what IREE misreads or cannot run in a module.

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


def _widen_constants(module: Module) -> None:
    """Writes i48 constants as i64: IREE 3.13 takes negative ones for positive ones, and says nothing."""
    for view in list(module.block.operations):
        operation = view.operation
        if operation.name != "tosa.const":
            continue
        tensor = ir.RankedTensorType(operation.result.type)
        stored = storage_type(tensor.element_type)
        if stored != tensor.element_type:
            value = constant_value(operation.result)
            assert value is not None
            with ir.Location.unknown(operation.context):
                wide = ir.RankedTensorType.get(tensor.shape, stored)
            constant = make_constant(operation, value, wide)
            operation.result.replace_all_uses_with(reinterpret(constant, tensor.element_type, operation))
            operation.erase()
