# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Average pools of a flatbuffer as depthwise convolutions: what the pass `tosa-rescale-pools` does to a module."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import numpy as np

from tosa_rescale.formats.litert.build import add_constant, make_depthwise
from tosa_rescale.formats.litert.schema import dtype_of, name_of, op_name, pack, unpack

LARGEST_WEIGHT = 127
UINT8_ZERO_POINT = 128


def weights_of_a_mean(count: int) -> tuple[np.ndarray, int]:
    """Weights that add up to the largest power of two that as many weights of up to 127 can add up to.

    Args:
        count: of weights.

    Returns:
        int64 [count], two neighbouring values in even alternation, and log2 of their sum.
    """
    shift = (LARGEST_WEIGHT * count).bit_length() - 1
    steps = (np.arange(count + 1, dtype=np.int64) << shift) // count
    return np.diff(steps), shift


def with_weighted_pools(data: bytes, names: Set[str], source: str) -> bytes:
    """Replaces average pools by depthwise convolutions.

    Args:
        data: a LiteRT flatbuffer.
        names: of the tensors that the pools in question make, or of what they are dequantized to at the file's border.
        source: the flatbuffer's name, for errors.

    Raises:
        ModelError: not a readable LiteRT flatbuffer.
    """
    model = unpack(data, source)
    graph = model.subgraphs[0]

    def made_by(kind: str) -> list[tuple[Any, int]]:
        return [(each, int(each.outputs[0])) for each in graph.operators if op_name(model, each) == kind]

    real = {int(each.inputs[0]): name_of(graph.tensors[made]) for each, made in made_by("DEQUANTIZE")}
    pools = [
        each
        for each, made in made_by("AVERAGE_POOL_2D")
        if not names.isdisjoint({name_of(graph.tensors[made]), real.get(made)})
    ]
    for pool in pools:
        _replace(model, pool)
    return pack(model) if pools else data


def _replace(model: Any, pool: Any) -> None:
    """Makes one pool a convolution of the same output tensor."""
    graph = model.subgraphs[0]
    given = graph.tensors[int(pool.inputs[0])]
    dtype, old = dtype_of(given), pool.builtinOptions
    channels, height, width = int(given.shape[3]), old.filterHeight, old.filterWidth
    taps, shift = weights_of_a_mean(height * width)
    zero_point = UINT8_ZERO_POINT if dtype == "uint8" else 0
    kind = np.uint8 if dtype == "uint8" else np.int8
    weights = np.broadcast_to((taps + zero_point).reshape(1, height, width, 1), (1, height, width, channels)).astype(kind)
    bias = np.zeros(channels, np.int64 if dtype == "int16" else np.int32)
    scale = float(np.float32(given.quantization.scale[0]))
    name = name_of(graph.tensors[int(pool.outputs[0])])
    pool.inputs = [
        int(pool.inputs[0]),
        add_constant(model, f"{name}/weights", weights, 2.0**-shift, zero_point),
        add_constant(model, f"{name}/bias", bias, scale * 2.0**-shift, 0),
    ]
    make_depthwise(model, pool, dtype)
