# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Scale and zero point of a graph's inputs and outputs: read from the LiteRT flatbuffer, kept as module attributes."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from tosa_rescale.core.errors import ModelError


@dataclasses.dataclass(frozen=True)
class TensorQuantization:
    """What an integer tensor at the graph's border means: real = scale * (q - zero_point).

    Attributes:
        name: the tensor's name in the flatbuffer.
        scale: real units for one integer step; 0.0 where the tensor is not quantized.
        zero_point: the integer that stands for real 0.
    """

    name: str
    scale: float
    zero_point: int

    def quantize(self, real: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Real values to integers: round(real / scale) + zero_point, saturated to `dtype`.

        Raises:
            ModelError: the tensor has no scale.
        """
        if self.scale <= 0:
            raise ModelError(f"input {self.name}: the model gives it no scale; give integer data of type {dtype}")
        limits = np.iinfo(dtype)
        return np.clip(np.round(real / self.scale) + self.zero_point, limits.min, limits.max).astype(dtype)


@dataclasses.dataclass(frozen=True)
class GraphQuantization:
    """The quantization of every input and output of a graph, in order."""

    inputs: tuple[TensorQuantization, ...] = ()
    outputs: tuple[TensorQuantization, ...] = ()


def read_flatbuffer(data: bytes, source: str) -> GraphQuantization:
    """Reads the quantization of the first subgraph's inputs and outputs.

    Args:
        data: a LiteRT flatbuffer.
        source: its name, for errors.

    Raises:
        ModelError: it is not a LiteRT flatbuffer, or a float model.
    """
    from ai_edge_litert import schema_py_generated as schema

    try:
        if data[4:8] != b"TFL3":
            raise ValueError("no TFL3 identifier")
        graph: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data)).subgraphs[0]  # type: ignore[index]
        return GraphQuantization(
            tuple(_tensor(graph.tensors[i]) for i in graph.inputs), tuple(_tensor(graph.tensors[i]) for i in graph.outputs)
        )
    except Exception as error:  # the generated reader raises whatever a corrupt offset leads to
        raise ModelError(f"{source}: not a readable LiteRT model (truncated or corrupt?)") from error


def _tensor(tensor: Any) -> TensorQuantization:
    name = tensor.name.decode(errors="replace")
    quantization = tensor.quantization
    if quantization is None or quantization.scale is None or len(quantization.scale) == 0:
        return TensorQuantization(name, 0.0, 0)
    zero_points = [] if quantization.zeroPoint is None else list(quantization.zeroPoint)
    return TensorQuantization(name, float(quantization.scale[0]), int(zero_points[0]) if zero_points else 0)
