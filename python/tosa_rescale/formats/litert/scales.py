# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The scales of a LiteRT flatbuffer's tensors, and which of them belong together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tosa_rescale.formats.litert.operators import FIXED_OUTPUT_SCALE, FUSED_ACTIVATIONS, SAME_SCALE, UPPER_LIMITS
from tosa_rescale.formats.litert.schema import as_array, dtype_of, name_of, op_name


def tensor_scales(model: Any) -> dict[str, float]:
    """The scale of each tensor of the first subgraph that has one scale, by name.

    A float32 tensor that a QUANTIZE reads or a DEQUANTIZE makes has the scale of the integers on the other side, under the
    names that both have: a module's output goes by the float32 one's.

    Args:
        model: a ModelT.
    """
    graph = model.subgraphs[0]
    scales = [as_array(None if t.quantization is None else t.quantization.scale, np.float32) for t in graph.tensors]
    found = {name_of(tensor): float(scale[0]) for tensor, scale in zip(graph.tensors, scales, strict=True) if len(scale) == 1}
    for operator in graph.operators:
        if op_name(model, operator) not in ("QUANTIZE", "DEQUANTIZE"):
            continue
        ends = [int(operator.inputs[0]), int(operator.outputs[0])]
        for bare, known in (ends, ends[::-1]):
            if not len(scales[bare]) and len(scales[known]) == 1:
                found.setdefault(name_of(graph.tensors[bare]), float(scales[known][0]))
    return found


def fixed_scale_tensors(model: Any) -> set[str]:
    """Names of the tensors whose scale is no choice, as the operator that makes them knows only one.

    Args:
        model: a ModelT.
    """
    graph = model.subgraphs[0]
    made = [int(i) for each in graph.operators if op_name(model, each) in FIXED_OUTPUT_SCALE for i in each.outputs]
    return {name_of(graph.tensors[i]) for i in made}


def clamp_reaches(model: Any) -> dict[str, float]:
    """How far above the zero point an activation function cuts a tensor off, in steps of its scale, by the tensor's name.

    The bound in the file may be nearer: where a type ends before it. Infinite behind RELU, whose limit is that of the type.

    Args:
        model: a ModelT.
    """
    graph, scales, found = model.subgraphs[0], tensor_scales(model), {}
    for each in graph.operators:
        kind = op_name(model, each)
        fused = FUSED_ACTIVATIONS.get(getattr(each.builtinOptions, "fusedActivationFunction", 0), "")
        limit = UPPER_LIMITS.get(kind, UPPER_LIMITS.get(fused))
        for name in (name_of(graph.tensors[int(i)]) for i in each.outputs):
            if limit is not None and name in scales:
                found[name] = limit / scales[name]
    return found


def spread_factors(model: Any, factors: Mapping[str, float]) -> dict[str, float]:
    """Gives tensors that no op of a module stands for the factor of those whose scale they must share.

    The results of an operator that has several go by all their names together in a module.

    Args:
        model: the ModelT of a flatbuffer with the module's inputs and outputs.
        factors: what tensor scales are multiplied by, by name; 1 where a scale is known to stay.

    Returns:
        `factors`, and the factors of tensors tied to those by operators that move data.
    """
    graph, found = model.subgraphs[0], dict(factors)
    for operator in graph.operators:
        made = [name_of(graph.tensors[int(i)]) for i in operator.outputs]
        if len(made) > 1 and (joined := ";".join(made)) in found:
            found |= dict.fromkeys(made, found.pop(joined))
    scaled = {
        index
        for index, tensor in enumerate(graph.tensors)
        if dtype_of(tensor) in ("int8", "uint8", "int16")
        and len(as_array(None if tensor.quantization is None else tensor.quantization.scale, np.float32)) == 1
    }
    tied = [
        [name_of(graph.tensors[int(i)]) for i in (*operator.inputs, *operator.outputs) if int(i) in scaled]
        for operator in graph.operators
        if op_name(model, operator) in SAME_SCALE
    ]
    border = {name_of(graph.tensors[int(i)]) for i in (*graph.inputs, *graph.outputs)}
    for names in [*tied, *reversed(tied)]:
        known = [found[name] for name in names if name in found]
        for name in names:
            if known and name not in border:
                found.setdefault(name, known[0])
    return found
