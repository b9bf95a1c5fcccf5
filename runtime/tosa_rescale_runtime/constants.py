# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Types, constants and attributes of TOSA modules as NumPy arrays and Python values, and back."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from .errors import ModuleError
from .mlir import Block, Operation, Type, Value, ir

CONSTANT_KINDS = ("tosa.const", "arith.constant")
"""Operations that define constant tensors."""

BYTE_WIDTHS = (1, 8, 16, 32, 64)
"""Widths of integers that NumPy, IREE's parameters and the Python bindings know; a boolean is one bit."""

_FLOAT_TYPES = {"f16": np.float16, "f32": np.float32, "f64": np.float64}


def type_limits(bits: int, unsigned: bool) -> tuple[int, int]:
    """The range of an integer type; 1 bit is a boolean."""
    if unsigned or bits == 1:
        return 0, (1 << bits) - 1
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def tensor_shape(tensor: Type) -> tuple[int | None, ...]:
    """Returns the extents of a ranked tensor type; None stands for a dynamic one."""
    shaped = ir.RankedTensorType(tensor)
    return tuple(None if shaped.is_dynamic_dim(i) else shaped.get_dim_size(i) for i in range(shaped.rank))


def static_shape(tensor: Type) -> tuple[int, ...]:
    """Returns the extents of a ranked tensor type.

    Raises:
        ModuleError: an extent is dynamic.

    """
    shape = tensor_shape(tensor)
    if None in shape:
        raise ModuleError(f"requires static shapes, got `{tensor}`; run `tosa-rescale-opt --tosa-rescale-static-batch` first")
    return tuple(n for n in shape if n is not None)


def element_dtype(element: Type) -> np.dtype[Any]:
    """Returns the NumPy type that holds one element.

    Integer widths that NumPy lacks (i4, i48) are held in the next wider type. Signless counts as signed, as in TOSA.

    Raises:
        ModuleError: there is no such type.

    """
    if isinstance(element, ir.IndexType):
        return np.dtype(np.int64)
    if isinstance(element, ir.IntegerType):
        if element.width == 1:
            return np.dtype(np.bool_)
        for width in BYTE_WIDTHS[1:]:
            if element.width <= width:
                return np.dtype(f"{'u' if element.is_unsigned else ''}int{width}")
    if str(element) in _FLOAT_TYPES:
        return np.dtype(_FLOAT_TYPES[str(element)])
    raise ModuleError(f"elements of type `{element}` are not supported")


def constant_definition(value: Value) -> Operation | None:
    """Returns the op that defines a constant, looking through `tosa.reshape`; None when `value` is no constant."""
    while not isinstance(value.owner, ir.Block):
        definition = value.owner.operation
        if definition.name in CONSTANT_KINDS:
            return definition
        if definition.name != "tosa.reshape":
            return None
        value = definition.operands[0]
    return None


def constant_value(value: Value) -> np.ndarray | None:
    """Reads a constant, also through `tosa.reshape`; see `Module.constant`."""
    definition = constant_definition(value)
    if definition is None:
        return None
    attribute = definition.attributes["values" if definition.name == "tosa.const" else "value"]
    if not isinstance(attribute, ir.DenseElementsAttr):
        raise ModuleError(f"constants stored as `{type(attribute).__name__}` cannot be read")
    return np.ascontiguousarray(_dense_to_numpy(attribute)).reshape(static_shape(value.type))


def shape_value(value: Value) -> np.ndarray:
    """Reads a `tosa.const_shape`, int64 [rank]."""
    return np.array(value.owner.operation.attributes["values"], np.int64)


def element_type(tensor: Type) -> tuple[int, bool]:
    """Returns the width of a tensor's integer elements and whether they are unsigned; (0, False) for a shape.

    Raises:
        ModuleError: the elements are no integers.

    """
    if not isinstance(tensor, ir.RankedTensorType):
        return 0, False
    element = ir.RankedTensorType(tensor).element_type
    if not isinstance(element, ir.IntegerType):
        raise ModuleError(f"requires integer elements, got `{tensor}`")
    return element.width, element.is_unsigned


def _dense_to_numpy(attribute: Any) -> np.ndarray:
    element = ir.RankedTensorType(attribute.type).element_type
    shape = static_shape(attribute.type)
    dtype = element_dtype(element)
    if not isinstance(element, ir.IntegerType) or element.width in BYTE_WIDTHS:
        return np.array(attribute, dtype=dtype)
    # The bindings give no access to odd widths, so read the attribute's own literal: nested lists, or one hex string
    # when it is long, each element in the fewest whole bytes, little endian.
    literal = str(attribute)
    literal = literal[len("dense<") : literal.rindex("> :")]
    parsed = ast.literal_eval(literal)
    if isinstance(parsed, str):
        size = (element.width + 7) // 8
        raw = bytes.fromhex(parsed[2:])
        values = [int.from_bytes(raw[i : i + size], "little", signed=True) for i in range(0, len(raw), size)]
        parsed = values[0] if attribute.is_splat else values
    flat = np.array(parsed, dtype)
    return np.broadcast_to(flat, shape) if attribute.is_splat else flat.reshape(shape)


def make_constant(before: Operation, value: np.ndarray, tensor: Type) -> Value:
    """Builds a `tosa.const` in front of an op.

    Args:
        before: the op to build in front of.
        value: the elements, in the shape of `tensor`.
        tensor: the type of the constant.

    Returns:
        The constant's result.

    Raises:
        ModuleError: shape or range of `value` do not fit `tensor`.

    """
    shape = static_shape(tensor)
    element = ir.RankedTensorType(tensor).element_type
    value = np.asarray(value)
    if value.shape != shape:
        raise ModuleError(f"requires a constant of shape {list(shape)}, got {list(value.shape)}")
    stored = value.astype(element_dtype(element))
    low, high = (-np.inf, np.inf)
    if isinstance(element, ir.IntegerType):
        low, high = type_limits(element.width, element.is_unsigned)
    # Not the stored array: it has wrapped already.
    if value.size and (value.min() < low or value.max() > high):
        raise ModuleError(f"requires elements of type `{element}`, got values in [{value.min()}, {value.max()}]")
    with ir.Location.unknown(before.context):
        if isinstance(element, ir.IntegerType) and element.width not in BYTE_WIDTHS:
            literal = str(stored.tolist()) if stored.ndim else str(int(stored))
            attribute = ir.Attribute.parse(f"dense<{literal}> : {tensor}", before.context)
        else:
            attribute = ir.DenseElementsAttr.get(np.ascontiguousarray(stored), type=tensor)
        constant = ir.Operation.create(
            "tosa.const",
            results=[tensor],
            attributes={"values": attribute},
            ip=ir.InsertionPoint(before),
            loc=before.location,
        )
    return constant.result


def erase_dead_constants(block: Block) -> None:
    """Erases constants, and reshapes of constants, that nothing reads."""
    for view in reversed(list(block.operations)):
        operation = view.operation
        constant = operation.name in (*CONSTANT_KINDS, "tosa.const_shape", "tosa.reshape")
        if constant and not any(True for _ in operation.result.uses):
            operation.erase()


def attribute_to_python(attribute: Any) -> Any:
    """Turns an attribute into dicts, lists, strings, numbers and booleans; others into their text."""
    converters: list[tuple[type, Callable[[Any], Any]]] = [
        (ir.DictAttr, lambda a: {entry.name: attribute_to_python(entry.attr) for entry in a}),
        (ir.ArrayAttr, lambda a: [attribute_to_python(entry) for entry in a]),
        (ir.StringAttr, lambda a: a.value),
        (ir.BoolAttr, lambda a: a.value),
        (ir.IntegerAttr, lambda a: a.value),
        (ir.FloatAttr, lambda a: a.value),
        (ir.DenseElementsAttr, lambda a: _dense_to_numpy(a).tolist()),
        (ir.UnitAttr, lambda a: True),
    ]
    for kind, convert in converters:
        if isinstance(attribute, kind):
            return convert(attribute)
    text = str(attribute)
    if text.startswith("array<"):
        # Dense arrays have one Python class for each element type but print alike: `array<i64: 1, 2>`.
        _, _, items = text[:-1].partition(":")
        return json.loads(f"[{items}]")
    return text


def string_value(attribute: Any) -> str:
    return ir.StringAttr(attribute).value
