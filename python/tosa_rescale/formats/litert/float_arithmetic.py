# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Negations and squares that stand in float32 between a DEQUANTIZE and a QUANTIZE, as operators on integers.

LiteRT has no kernel on quantized integers for NEG and SQUARE, so its converter leaves one in float32 wherever a network negates
or squares: the layer normalization of Keras 3 negates a mean, its root-mean-square normalization squares. Read as it stands
such an operator would cut the network in two. NEG becomes SUB of `0 - x`, which gives the same integers: its kernel carries 20
bits behind the point, and with equal scales, which a NEG mostly has, there is nothing to round. SQUARE becomes MUL of `x * x`,
which rounds twice, as LiteRT's kernels of products do; where the QUANTIZE is just below a half it may be one step apart.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from tosa_rescale.formats.litert.build import add_constant, add_operator_code
from tosa_rescale.formats.litert.operators import INT8_VERSIONS
from tosa_rescale.formats.litert.schema import LitertTensor, name_of, op_name, schema, tensor_at

FLOAT_ARITHMETIC = {"NEG": "SUB", "SQUARE": "MUL"}
"""Operators that are replaced, and by which."""

_QUANTIZED = ("int8", "uint8", "int16")


@dataclasses.dataclass(frozen=True)
class _Island:
    """A float32 operator with integers on both sides.

    Attributes:
        position: of the operator.
        quantize: position of the QUANTIZE behind it.
        given: the integers that the DEQUANTIZE in front of it reads.
        made: the integers that the QUANTIZE makes.
    """

    position: int
    quantize: int
    given: LitertTensor
    made: LitertTensor


def compute_in_integers(model: Any) -> list[int]:
    """Replaces what can be replaced in a ModelT; operators that nothing reads any more stay, and so do all positions.

    Args:
        model: the ModelT; changed in place.

    Returns:
        Positions of the operators of the first subgraph that now compute in integers: those of the QUANTIZEs.
    """
    graph = model.subgraphs[0]
    codes: dict[str, int] = {}
    found = list(_islands(model))
    for island in found:
        kind = FLOAT_ARITHMETIC[op_name(model, graph.operators[island.position])]
        if kind not in codes:
            codes[kind] = add_operator_code(model, kind, INT8_VERSIONS[kind])
        operator = graph.operators[island.quantize]
        operator.opcodeIndex = codes[kind]
        operator.inputs = [_zero_like(model, island) if kind == "SUB" else island.given.index, island.given.index]
        operator.builtinOptions = getattr(schema(), f"{kind.capitalize()}OptionsT")()
        operator.builtinOptionsType = getattr(schema().BuiltinOptions, f"{kind.capitalize()}Options")
        if kind == "SUB":
            operator.builtinOptions.potScaleInt16 = False
    return sorted(each.quantize for each in found)


def _islands(model: Any) -> Iterator[_Island]:
    graph = model.subgraphs[0]
    kinds = [op_name(model, each) for each in graph.operators]
    maker = {int(each.outputs[0]): p for p, each in enumerate(graph.operators) if len(each.outputs)}
    for position, kind in enumerate(kinds):
        if kind != "QUANTIZE":
            continue
        middle = maker.get(int(graph.operators[position].inputs[0]), -1)
        if middle < 0 or kinds[middle] not in FLOAT_ARITHMETIC:
            continue
        front = maker.get(int(graph.operators[middle].inputs[0]), -1)
        if front < 0 or kinds[front] != "DEQUANTIZE":
            continue
        given = tensor_at(model, int(graph.operators[front].inputs[0]))
        island = _Island(middle, position, given, tensor_at(model, int(graph.operators[position].outputs[0])))
        if _is_alike(island):
            yield island


def _is_alike(island: _Island) -> bool:
    """One integer type on both sides, with one scale each."""
    given, made = island.given, island.made
    return given.dtype == made.dtype and given.dtype in _QUANTIZED and len(given.scale) == len(made.scale) == 1


def _zero_like(model: Any, island: _Island) -> int:
    given = island.given
    name = f"{name_of(model.subgraphs[0].tensors[island.made.index])}/zero"
    # The zero point is that of the operand: kernels of 16 bits allow 0 alone.
    value = np.full((), given.zero_point[0], np.dtype(given.dtype))
    return add_constant(model, name, value, float(given.scale[0]), int(given.zero_point[0]))
