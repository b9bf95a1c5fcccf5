# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A module read once, so that nothing of MLIR is needed to trace it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from tosa_rescale_runtime import (
    Module,
    ModuleError,
    Signature,
    attribute_to_python,
    constant_value,
    element_type,
    location_name,
    read_rescale,
    shape_value,
    static_shape,
    type_limits,
)

from tosa_rescale.twin.ops import LOWERINGS
from tosa_rescale.twin.values import FLOAT64_EXACT, LoweringError, Node


@dataclasses.dataclass(frozen=True, eq=False)
class Graph:
    """A module read once: nothing of MLIR is needed after this.

    Attributes:
        source: what to call it in messages.
        signature: its inputs and outputs.
        inputs: numbers of the function's arguments.
        input_limits: the least and the largest integer of each argument's element type; (0, 1) for booleans.
        nodes: every op in program order, constants left out.
        constants: value number to integers, int64.
        outputs: numbers of what it returns.
    """

    source: str
    signature: Signature
    inputs: tuple[int, ...]
    input_limits: tuple[tuple[int, int], ...]
    nodes: tuple[Node, ...]
    constants: Mapping[int, np.ndarray]
    outputs: tuple[int, ...]

    def node(self, key: str) -> Node:
        """The op with this key."""
        return next(node for node in self.nodes if node.key == key)


def read_graph(module: Module) -> Graph:
    """Reads a module.

    Raises:
        LoweringError: an op has no lowering, or elements that are no integers; the message names every such op, or the first.
            Or an input is of no integers, or of ones beyond a float64.
        ModuleError: a shape is dynamic.
    """
    numbers: dict[Any, int] = {}
    constants: dict[int, np.ndarray] = {}

    def number(value: Any) -> int:
        return numbers.setdefault(value, len(numbers))

    inputs = tuple(number(argument) for argument in module.block.arguments)
    ops = {op.operation: op for op in module.ops()}
    nodes: list[Node] = []
    unknown: list[str] = []
    for operation in (each.operation for each in module.block.operations):
        if operation.name == "func.return":
            break
        if operation.name == "tosa.const_shape":
            constants[number(operation.result)] = shape_value(operation.result)
            continue
        # A reshape of a constant is a constant: weights of depthwise layers come that way.
        if operation not in ops or (operation.name == "tosa.reshape" and constant_value(operation.result) is not None):
            value = constant_value(operation.result)
            assert value is not None
            constants[number(operation.result)] = value.astype(np.int64)
            continue
        op = ops[operation]
        if op.kind not in LOWERINGS:
            unknown.append(f"{op.key} (tosa.{op.kind} at {location_name(operation) or 'unknown location'})")
            continue
        try:
            bits, unsigned = element_type(operation.result.type)
            kinds = [element_type(operand.type) for operand in operation.operands]
        except ModuleError as error:
            raise LoweringError(f"{module.source}: `{op.key}` (tosa.{op.kind} at {op.name}): {error}") from None
        nodes.append(
            Node(
                op.key,
                op.kind,
                op.name,
                tuple(number(operand) for operand in operation.operands),
                number(operation.result),
                {name: attribute_to_python(operation.attributes[name]) for name in _names(operation)},
                static_shape(operation.result.type),
                bits,
                unsigned,
                tuple(bits for bits, _ in kinds),
                tuple(unsigned for _, unsigned in kinds),
                read_rescale(op) if op.kind == "rescale" else None,
            )
        )
    if unknown:
        raise LoweringError(f"{module.source}: the differentiable twin has no lowering for {', '.join(unknown)}")
    limits = tuple(
        _limits(argument.type, f"{module.source}: input `{spec.name}`")
        for argument, spec in zip(module.block.arguments, module.signature.inputs, strict=True)
    )
    outputs = tuple(number(value) for value in list(module.block.operations)[-1].operation.operands)
    return Graph(module.source, module.signature, inputs, limits, tuple(nodes), constants, outputs)


def _limits(tensor: Any, where: str) -> tuple[int, int]:
    """The range of an input's element type, which may be narrower than the NumPy type that holds it: i48 in int64."""
    try:
        low, high = type_limits(*element_type(tensor))
    except ModuleError as error:
        raise LoweringError(f"{where}: {error}") from None
    if max(-low, high) > FLOAT64_EXACT:
        raise LoweringError(f"{where}: requires integers that a float64 holds, of up to 54 bits, got `{tensor}`")
    return low, high


def _names(operation: Any) -> list[str]:
    names = [attribute.name if hasattr(attribute, "name") else attribute for attribute in operation.attributes]
    return [name for name in names if not name.startswith("tosa_rescale.")]
