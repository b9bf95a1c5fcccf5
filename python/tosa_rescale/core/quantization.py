# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Scale and zero point of a graph's inputs and outputs, and the arithmetic between real values and integers."""

from __future__ import annotations

import dataclasses

import numpy as np

from tosa_rescale.core.errors import ModelError


@dataclasses.dataclass(frozen=True)
class TensorQuantization:
    """What an integer tensor at the graph's border means: real = scale * (q - zero_point).

    Attributes:
        name: the tensor's name in the file.
        scale: real units for one integer step; 0.0 where the tensor is not quantized.
        zero_point: the integer that stands for real 0.
        real: the file itself holds float32 here and quantizes or dequantizes it; the module has the integers.
    """

    name: str
    scale: float
    zero_point: int
    real: bool = False

    def quantize(self, real: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Real values to integers: round(real / scale) + zero_point, saturated to `dtype`.

        As LiteRT's QUANTIZE computes it: a quotient in float32, ties away from 0.

        Raises:
            ModelError: the tensor has no scale.
        """
        if self.scale <= 0:
            raise ModelError(f"input {self.name}: the model gives it no scale; give integer data of type {dtype}")
        limits = np.iinfo(dtype)
        steps = (np.asarray(real, np.float32) / np.float32(self.scale)).astype(np.float64)  # in which half a step is exact
        rounded = np.trunc(steps + np.copysign(0.5, steps))
        return np.clip(rounded + self.zero_point, limits.min, limits.max).astype(dtype)

    def dequantize(self, integers: np.ndarray) -> np.ndarray:
        """Integers to real values, float32: scale * (q - zero_point), as LiteRT's DEQUANTIZE computes it.

        Raises:
            ModelError: the tensor has no scale.
        """
        if self.scale <= 0:
            raise ModelError(f"output {self.name}: the model gives it no scale; its integers stand for themselves")
        return (self.scale * (integers.astype(np.int64) - self.zero_point)).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class GraphQuantization:
    """The quantization of every input and output of a graph, in order."""

    inputs: tuple[TensorQuantization, ...] = ()
    outputs: tuple[TensorQuantization, ...] = ()
