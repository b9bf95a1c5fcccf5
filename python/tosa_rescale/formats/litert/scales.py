# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The scales of a LiteRT flatbuffer's tensors, and which of them belong together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tosa_rescale.formats.litert.operators import FIXED_OUTPUT_SCALE, SAME_SCALE
from tosa_rescale.formats.litert.schema import as_array, dtype_of, name_of, op_name, unpack


def tensor_scales(data: bytes, source: str = "model") -> dict[str, float]:
    """The scale of each tensor of the first subgraph that has one scale, by name.

    A float32 tensor that a QUANTIZE reads or a DEQUANTIZE makes has the scale of the integers on the other side, under the
    names that both have: a module's output goes by the float32 one's.

    Args:
        data: a LiteRT flatbuffer.
        source: its name, for errors.

    Raises:
        ModelError: not a readable LiteRT flatbuffer.
    """
    model = unpack(data, source)
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


def fixed_scale_tensors(data: bytes, source: str = "model") -> set[str]:
    """Names of the tensors whose scale is no choice, as the operator that makes them knows only one.

    Args:
        data: a LiteRT flatbuffer.
        source: its name, for errors.

    Raises:
        ModelError: not a readable LiteRT flatbuffer.
    """
    model = unpack(data, source)
    graph = model.subgraphs[0]
    made = [int(i) for each in graph.operators if op_name(model, each) in FIXED_OUTPUT_SCALE for i in each.outputs]
    return {name_of(graph.tensors[i]) for i in made}


def spread_factors(data: bytes, factors: Mapping[str, float], source: str = "model") -> dict[str, float]:
    """Gives tensors that no op of a module stands for the factor of those whose scale they must share.

    The results of an operator that has several go by all their names together in a module.

    Args:
        data: a LiteRT flatbuffer with the module's inputs and outputs.
        factors: what tensor scales are multiplied by, by name; 1 where a scale is known to stay.
        source: the flatbuffer's name, for errors.

    Returns:
        `factors`, and the factors of tensors tied to those by operators that move data.

    Raises:
        ModelError: not a readable LiteRT flatbuffer.
    """
    model = unpack(data, source)
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
