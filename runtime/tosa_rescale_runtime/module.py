# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Reading and editing TOSA modules through the MLIR bindings in IREE's wheel.

The bindings are imported when the first module is parsed, not with this file: importing the package stays light.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np

from .constants import (
    CONSTANT_KINDS,
    attribute_to_python,
    constant_definition,
    constant_value,
    element_dtype,
    erase_dead_constants,
    make_constant,
    string_value,
    tensor_shape,
)
from .errors import ModuleError, one_line
from .graph import MAC_KINDS, MacLayer, Op, accumulator, location_name
from .mlir import Block, Operation, Type, ir, passmanager
from .rescale import Rescale, read_rescale
from .signature import Signature, TensorSpec

BYTECODE_MAGIC = b"ML\xefR"
"""First four bytes of every MLIR bytecode file."""


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
        named_main = [f for f in functions if string_value(f.attributes["sym_name"]) == "main"]
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
        anonymous = (None, string_value(self.function.attributes["sym_name"]))
        for operation in self.block.operations:
            operation = operation.operation
            if operation.name in CONSTANT_KINDS or operation.name in ("tosa.const_shape", "func.return"):
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
                listed = string_value(ir.DictAttr(entry)[f"{role}s"]).split(",")
                if len(listed) == len(names):
                    names = listed
            return tuple(TensorSpec(name, *_shape_and_dtype(t, self.source)) for name, t in zip(names, types, strict=True))

        return Signature(
            string_value(self.function.attributes["sym_name"]),
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
            if op.kind == "rescale" and (producer := accumulator(op.operation.operands[0])) is not None:
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
        return string_value(attributes[name]) if name in attributes else None

    def set_text_attribute(self, name: str, value: str) -> None:
        """Writes a string attribute on the module."""
        with self.ir.context:
            self.ir.operation.attributes[name] = ir.StringAttr.get(value)

    def result_shape(self, op: Op) -> tuple[int | None, ...]:
        """Returns the shape of an op's first result."""
        return tensor_shape(op.operation.results[0].type)

    def operand_shape(self, op: Op, operand: int) -> tuple[int | None, ...]:
        """Returns the shape of one of an op's operands."""
        return tensor_shape(op.operation.operands[operand].type)

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


def _shape_and_dtype(tensor: Type, source: str) -> tuple[tuple[int | None, ...], np.dtype[Any]]:
    if not isinstance(tensor, ir.RankedTensorType):
        raise ModuleError(f"{source}: expects ranked tensors, got `{tensor}`")
    return tensor_shape(tensor), element_dtype(tensor.element_type)
