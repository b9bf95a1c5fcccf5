# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Reading and editing TOSA modules through the MLIR bindings in IREE's wheel.

The bindings are imported when the first module is parsed, not with this file: importing the package stays light.
"""

from __future__ import annotations

import ast
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .errors import ModuleError, one_line
from .mlir import Block, Operation, Type, Value, ir, passmanager

BYTECODE_MAGIC = b"ML\xefR"
"""First four bytes of every MLIR bytecode file."""

MAC_KINDS = ("conv2d", "conv3d", "depthwise_conv2d", "transpose_conv2d", "fully_connected", "matmul")
"""Ops whose result is an accumulator."""

_DATA_MOVEMENT = ("reshape", "transpose", "slice", "identity", "pad", "concat", "reverse")
_CONSTANT_KINDS = ("tosa.const", "arith.constant")
_FLOAT_TYPES = {"f16": np.float16, "f32": np.float32, "f64": np.float64}


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of the graph.

    Attributes:
        name: the tensor's name in the source model, else `input0`, `output0` and so on.
        shape: extents; None stands for a dynamic one.
        dtype: the NumPy type that holds the elements (`ui8` is uint8; `i48` and other odd widths are held in the next
            wider signed type).

    """

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class Signature:
    """What a graph takes and gives.

    Attributes:
        function: symbol name of the function.
        inputs: one spec for each argument, in order.
        outputs: one spec for each result, in order.

    """

    function: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True)
class Op:
    """One operation of the graph, with names that survive a pass.

    Attributes:
        key: kind and position among the ops of its kind, such as `rescale12`. Equal graphs have equal keys, so this is
            the name to use across variants of one model.
        kind: operation name without the dialect, such as `conv2d`.
        name: name in the source model, read from the location; the key where there is none.
        operation: the operation in the IR; valid while its module is.

    """

    key: str
    kind: str
    name: str
    operation: Operation


@dataclass(frozen=True)
class MacLayer:
    """A multiply-accumulate op and the rescale that reads its accumulator.

    Attributes:
        op: the convolution, fully connected layer or matmul.
        rescale: the only rescale that reads the accumulator, also through ops that only move data; None where there is
            none or where there are several.
    """

    op: Op
    rescale: Op | None


@dataclass(frozen=True, eq=False)
class Rescale:
    """One `tosa.rescale`.

    Attributes:
        key: see `Op.key`.
        name: see `Op.name`.
        multiplier: int64 [C] or [1]; None when the operand is not a constant.
        shift: int64 [C] or [1]; None when the operand is not a constant.
        scale32: the multiplier operand is i32 (else i16).
        rounding_mode: `SINGLE_ROUND`, `DOUBLE_ROUND` or `INEXACT_ROUND`.
        per_channel: one multiplier for each index of the last dimension.
        input_zp: zero point taken off first; None when the operand is not a constant.
        output_zp: zero point added last; None when the operand is not a constant.
        input_unsigned: the input counts as unsigned.
        output_unsigned: the output saturates as unsigned.
        input_bits: width of the input's elements.
        output_bits: width of the output's elements.
        shape: shape of the tensor; None stands for a dynamic extent.
        info: the attribute `tosa_rescale.info` as Python values; empty when absent.
        scale_factor: the attribute `tosa_rescale.scale_factor`, what the scale of its result was multiplied by; 1 when absent.

    """

    key: str
    name: str
    multiplier: np.ndarray | None
    shift: np.ndarray | None
    scale32: bool
    rounding_mode: str
    per_channel: bool
    input_zp: int | None
    output_zp: int | None
    input_unsigned: bool
    output_unsigned: bool
    input_bits: int
    output_bits: int
    shape: tuple[int | None, ...]
    info: dict[str, Any]
    scale_factor: float = 1.0


def type_limits(bits: int, unsigned: bool) -> tuple[int, int]:
    """The range of an integer type; 1 bit is a boolean."""
    if unsigned or bits == 1:
        return 0, (1 << bits) - 1
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


class Module:
    """A parsed TOSA module with one function."""

    def __init__(self, module: Any, source: str) -> None:
        """Takes over a verified module; use `parse`.

        Args:
            module: the module.
            source: what to call it in messages.

        Raises:
            ModuleError: the module has no function with a body.

        """
        self.ir = module
        self.source = source
        functions = [op for op in module.body.operations if op.operation.name == "func.func" and len(op.regions[0].blocks)]
        if not functions:
            raise ModuleError(f"{source}: the module has no function")
        named_main = [f for f in functions if _string(f.attributes["sym_name"]) == "main"]
        self.function: Operation = (named_main or functions)[0].operation

    @classmethod
    def parse(cls, data: bytes | str, source: str = "module") -> Module:
        """Reads a module from MLIR bytecode or text.

        Args:
            data: bytecode, or text in UTF-8. Text is only portable between equal MLIR releases; bytecode always is.
            source: what to call it in messages, such as the file's name.

        Returns:
            The module, verified.

        Raises:
            ModuleError: `data` is not MLIR, is truncated, does not verify, or holds no function.

        """
        if isinstance(data, str):
            data = data.encode()
        if not data.strip():
            raise ModuleError(f"{source}: is empty")
        try:
            # The bindings read text only from str; bytecode has its own magic number.
            parsed = ir.Module.parse(data if data[:4] == BYTECODE_MAGIC else data.decode(), ir.Context())
        except UnicodeDecodeError:
            raise ModuleError(f"{source}: is neither MLIR bytecode nor text") from None
        except ir.MLIRError as error:
            reasons = [diagnostic.message for diagnostic in error.error_diagnostics]
            reason = reasons[0] if reasons else str(error)
            raise ModuleError(f"{source}: is not a readable MLIR module: {one_line(reason)}") from None
        return cls(parsed, source)

    def to_bytecode(self) -> bytes:
        """Returns the module as MLIR bytecode, which every tool of this project reads."""
        out = io.BytesIO()
        self.ir.operation.write_bytecode(out)
        return out.getvalue()

    def strip_locations(self) -> None:
        """Forgets where ops come from, so that equal modules read from different files have equal bytecode."""
        passmanager.PassManager.parse("builtin.module(strip-debuginfo)", self.ir.context).run(self.ir.operation)

    def set_file_name(self, name: str) -> None:
        """Says which file the module is from; iree-compile names what it dumps after it. The ops' own locations stay."""
        with self.ir.context:
            self.ir.operation.location = ir.Location.file(name, 0, 0)

    def to_text(self, large_elements_limit: int = 16) -> str:
        """Returns the module as text for people to read; larger constants are elided."""
        return self.ir.operation.get_asm(large_elements_limit=large_elements_limit)

    def to_generic_text(self) -> str:
        """Returns the module as complete text in generic form, with locations: what MLIR releases agree on best."""
        return self.ir.operation.get_asm(print_generic_op_form=True, enable_debug_info=True)

    @property
    def block(self) -> Block:
        """The body of the function."""
        return self.function.regions[0].blocks[0]

    def ops(self) -> Iterator[Op]:
        """Yields every op of the function's body in program order, constants and the return left out."""
        seen: Counter[str] = Counter()
        # The converter gives ops that have no counterpart in the source the name of the function.
        anonymous = (None, _string(self.function.attributes["sym_name"]))
        for operation in self.block.operations:
            operation = operation.operation
            if operation.name in _CONSTANT_KINDS or operation.name in ("tosa.const_shape", "func.return"):
                continue
            kind = operation.name.partition(".")[2]
            key = f"{kind}{seen[kind]}"
            seen[kind] += 1
            name = location_name(operation)
            yield Op(key, kind, key if name is None or name in anonymous else name, operation)

    def op(self, key: str) -> Op:
        """Returns the op with this key.

        Raises:
            ModuleError: there is none.

        """
        for op in self.ops():
            if op.key == key:
                return op
        raise ModuleError(f"{self.source}: there is no op `{key}`")

    @cached_property
    def signature(self) -> Signature:
        """Name, inputs and outputs of the function, as they were when first asked for."""
        kind = ir.FunctionType(ir.TypeAttr(self.function.attributes["function_type"]).value)
        entry = self.function.attributes.get("tf.entry_function")

        def specs(role: str, types: list[Type]) -> tuple[TensorSpec, ...]:
            names = [f"{role}{i}" for i in range(len(types))]
            if entry is not None and f"{role}s" in ir.DictAttr(entry):
                listed = _string(ir.DictAttr(entry)[f"{role}s"]).split(",")
                if len(listed) == len(names):
                    names = listed
            return tuple(TensorSpec(name, *_shape_and_dtype(t, self.source)) for name, t in zip(names, types, strict=True))

        return Signature(
            _string(self.function.attributes["sym_name"]),
            specs("input", list(kind.inputs)),
            specs("output", list(kind.results)),
        )

    def rescales(self) -> list[Rescale]:
        """Returns every `tosa.rescale` of the function in program order."""
        return [read_rescale(op) for op in self.ops() if op.operation.name == "tosa.rescale"]

    def mac_layers(self) -> list[MacLayer]:
        """Returns every multiply-accumulate op of the function in program order, with the rescale of its accumulator."""
        rescales: dict[Any, list[Op]] = {}
        ops = list(self.ops())
        for op in ops:
            if op.kind == "rescale" and (producer := accumulator_producer(op.operation)) is not None:
                rescales.setdefault(producer, []).append(op)
        layers = []
        for op in ops:
            if op.kind in MAC_KINDS:
                readers = rescales.get(op.operation, [])
                layers.append(MacLayer(op, readers[0] if len(readers) == 1 else None))
        return layers

    def attribute(self, op: Op, name: str) -> Any:
        """Returns an attribute of an op as Python values (see `attribute_to_python`); None where it is absent."""
        attributes = op.operation.attributes
        return attribute_to_python(attributes[name]) if name in attributes else None

    def set_attribute(self, op: Op, name: str, value: np.ndarray | int | float) -> None:
        """Writes an attribute on an op.

        Args:
            op: the op.
            name: such as `tosa_rescale.input_mean`.
            value: an array becomes a dense attribute of its dtype and shape, an int an i64, a float an f64.
        """
        with self.ir.context, ir.Location.unknown():
            if isinstance(value, float):
                attribute = ir.FloatAttr.get_f64(value)
            elif isinstance(value, int):
                attribute = ir.IntegerAttr.get(ir.IntegerType.get_signless(64), value)
            else:
                attribute = ir.DenseElementsAttr.get(np.ascontiguousarray(value))
            op.operation.attributes[name] = attribute

    def text_attribute(self, name: str) -> str | None:
        """Returns a string attribute of the module; None where it is absent."""
        attributes = self.ir.operation.attributes
        return _string(attributes[name]) if name in attributes else None

    def set_text_attribute(self, name: str, value: str) -> None:
        """Writes a string attribute on the module."""
        with self.ir.context:
            self.ir.operation.attributes[name] = ir.StringAttr.get(value)

    def result_shape(self, op: Op) -> tuple[int | None, ...]:
        """Returns the shape of an op's first result."""
        return tensor_shape(op.operation.results[0].type)

    def tensor_name(self, op: Op) -> str | None:
        """The whole name of the source tensor that an op belongs to: what the location says, joined names included."""

        def names(location: Any) -> list[str]:
            if isinstance(location, ir.NameLoc):
                return [location.name_str]
            if isinstance(location, ir.FusedLoc):
                return [name for child in location.locations for name in names(child)]
            return []

        return ";".join(names(op.operation.location)) or None

    def result_bits(self, op: Op) -> int | None:
        """Width of the elements of an op's only result; None where it has none, several, or one that is no integer tensor."""
        results = list(op.operation.results)
        if len(results) != 1 or not isinstance(results[0].type, ir.ShapedType):
            return None
        element = ir.ShapedType(results[0].type).element_type
        return element.width if isinstance(element, ir.IntegerType) else None

    def constant(self, op: Op, operand: int) -> np.ndarray | None:
        """Reads a constant operand.

        Args:
            op: the op.
            operand: the operand's position.

        Returns:
            The value in the operand's own shape, also when it comes through `tosa.reshape`; None if it is no constant.

        Raises:
            ModuleError: the constant is of a type or storage that cannot be read.

        """
        return constant_value(op.operation.operands[operand])

    def set_constant(self, op: Op, operand: int, value: np.ndarray) -> None:
        """Gives a constant operand a new value; other users of the same constant keep the old one.

        Args:
            op: the op.
            operand: the operand's position. Where the constant comes through `tosa.reshape`, the op then reads the new
                constant directly.
            value: the new value, in the operand's shape; integers that fit the operand's element type.

        Raises:
            ModuleError: the operand is no constant, or shape or range do not fit.

        """
        target = op.operation.operands[operand]
        if constant_definition(target) is None:
            raise ModuleError(f"{self.source}: operand {operand} of `{op.key}` is not a constant")
        op.operation.operands[operand] = make_constant(op.operation, value, target.type)
        erase_dead_constants(self.block)


def _string(attribute: Any) -> str:
    return ir.StringAttr(attribute).value


def location_name(operation: Operation) -> str | None:
    """Returns the name an op has in the source model, or None.

    The converter joins the names of fused source ops by `;`; the first one is the op's own.
    """

    def find(location: Any) -> str | None:
        if isinstance(location, ir.NameLoc):
            return location.name_str.split(";")[0] or None
        if isinstance(location, ir.FusedLoc):
            return next((name for child in location.locations if (name := find(child))), None)
        return None

    return find(operation.location)


def _shape_and_dtype(tensor: Type, source: str) -> tuple[tuple[int | None, ...], np.dtype[Any]]:
    if not isinstance(tensor, ir.RankedTensorType):
        raise ModuleError(f"{source}: expects ranked tensors, got `{tensor}`")
    return tensor_shape(tensor), element_dtype(tensor.element_type)


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
        for width in (8, 16, 32, 64):
            if element.width <= width:
                return np.dtype(f"{'u' if element.is_unsigned else ''}int{width}")
    if str(element) in _FLOAT_TYPES:
        return np.dtype(_FLOAT_TYPES[str(element)])
    raise ModuleError(f"elements of type `{element}` are not supported")


def constant_definition(value: Value) -> Operation | None:
    """Returns the op that defines a constant, looking through `tosa.reshape`; None when `value` is no constant."""
    while not isinstance(value.owner, ir.Block):
        definition = value.owner.operation
        if definition.name in _CONSTANT_KINDS:
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
    if not isinstance(element, ir.IntegerType) or element.width in (1, 8, 16, 32, 64):
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
    low, high = _limits(element)
    # Not the stored array: it has wrapped already.
    if value.size and (value.min() < low or value.max() > high):
        raise ModuleError(f"requires elements of type `{element}`, got values in [{value.min()}, {value.max()}]")
    with ir.Location.unknown(before.context):
        if isinstance(element, ir.IntegerType) and element.width not in (1, 8, 16, 32, 64):
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


def _limits(element: Any) -> tuple[float, float]:
    if isinstance(element, ir.IndexType):
        return -(1 << 63), (1 << 63) - 1
    if isinstance(element, ir.IntegerType):
        if element.width == 1:
            return 0, 1
        if element.is_unsigned:
            return 0, (1 << element.width) - 1
        return -(1 << (element.width - 1)), (1 << (element.width - 1)) - 1
    return -np.inf, np.inf


def erase_dead_constants(block: Block) -> None:
    """Erases constants, and reshapes of constants, that nothing reads."""
    for view in reversed(list(block.operations)):
        operation = view.operation
        constant = operation.name in (*_CONSTANT_KINDS, "tosa.const_shape", "tosa.reshape")
        if constant and not any(True for _ in operation.result.uses):
            operation.erase()


def accumulator_producer(rescale: Operation) -> Operation | None:
    """Returns the MAC op whose accumulator a rescale reads, also through ops that only move data; None where there is none."""
    value = rescale.operands[0]
    while not isinstance(value.owner, ir.Block):
        producer = value.owner.operation
        kind = producer.name.partition(".")[2]
        if kind in MAC_KINDS:
            return producer
        if kind not in _DATA_MOVEMENT:
            return None
        value = producer.operands[0]
    return None


def read_rescale(op: Op) -> Rescale:
    """Reads a `tosa.rescale`.

    Args:
        op: an op whose kind is `rescale`.

    Returns:
        Its operands and attributes.

    """
    operation = op.operation
    attributes = operation.attributes
    flag = {name: _flag(attributes, name) for name in ("scale32", "per_channel", "input_unsigned", "output_unsigned")}

    def integers(operand: int) -> np.ndarray | None:
        value = constant_value(operation.operands[operand])
        return None if value is None else value.astype(np.int64)

    def zero_point(operand: int, unsigned: bool) -> int | None:
        value = constant_value(operation.operands[operand])
        if value is None:
            return None
        # The operand is signless, whatever the sign of the tensor: 128 is stored as -128.
        return int(value.view(f"u{value.dtype}").flat[0] if unsigned else value.flat[0])

    return Rescale(
        key=op.key,
        name=op.name,
        multiplier=integers(1),
        shift=integers(2),
        rounding_mode=_enum(attributes["rounding_mode"]),
        input_zp=zero_point(3, flag["input_unsigned"]),
        output_zp=zero_point(4, flag["output_unsigned"]),
        input_bits=_element_bits(operation.operands[0].type),
        output_bits=_element_bits(operation.result.type),
        shape=tensor_shape(operation.result.type),
        info=attribute_to_python(attributes["tosa_rescale.info"]) if "tosa_rescale.info" in attributes else {},
        scale_factor=float(attributes["tosa_rescale.scale_factor"].value) if "tosa_rescale.scale_factor" in attributes else 1.0,
        **flag,
    )


def _flag(attributes: Any, name: str) -> bool:
    return bool(ir.BoolAttr(attributes[name]).value) if name in attributes else False


def _enum(attribute: Any) -> str:
    # An enum attribute of a dialect has no Python class; it prints as `#tosa.rounding_mode<SINGLE_ROUND>`.
    text = str(attribute)
    return text[text.index("<") + 1 : -1]


def _element_bits(tensor: Any) -> int:
    return ir.IntegerType(ir.RankedTensorType(tensor).element_type).width


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
