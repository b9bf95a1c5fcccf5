# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The accumulators of a single convolution, computed again from its input."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from tosa_rescale.rewrite.geometry import Geometry

if TYPE_CHECKING:
    from tosa_rescale_runtime import Module, Op


@dataclasses.dataclass(frozen=True, eq=False)
class Accumulators:
    """The accumulators of one convolution, in exact integers: what IREE computes, of a layer by itself.

    Attributes:
        geometry: of the convolution.
        weights: zero-point-free, int64 [taps, C, OC]; of a depthwise one [taps, C, M].
        bias: int64 [OC] or [1].
        zero_point: of the input.
    """

    geometry: Geometry
    weights: np.ndarray
    bias: np.ndarray
    zero_point: int

    @staticmethod
    def of(module: Module, op: Op) -> Accumulators | None:
        """Of a layer with constant weights and bias; None of others."""
        weights, bias = module.constant(op, 1), module.constant(op, 2)
        if weights is None or bias is None:
            return None
        input_zp, weight_zp = (0 if z is None else int(z.reshape(-1)[0]) for z in (module.constant(op, i) for i in (3, 4)))
        values = weights.astype(np.int64) - weight_zp
        # [KH, KW, C, M], or [OC, KH, KW, C] to [KH, KW, C, OC]; conv3d has KD before KH.
        values = values if op.kind == "depthwise_conv2d" else np.moveaxis(values, 0, -1)
        values = values.reshape(-1, *values.shape[-2:])
        return Accumulators(Geometry.of(module, op), values, bias.astype(np.int64), input_zp)

    def equals(self, other: Accumulators) -> bool:
        """The same weights and the same bias."""
        # One bias may stand for all channels, so they are compared as they broadcast.
        return bool((self.bias == other.bias).all()) and np.array_equal(self.weights, other.weights)

    def __call__(self, layer_input: np.ndarray) -> np.ndarray:
        """Accumulators int64 [B, OH, OW, OC] of an input [..., H, W, C]; B may be of the layer itself, such as 16 tokens."""
        sample = layer_input.shape[-len(self.geometry.output) - 1 :]
        return np.stack([self._one(each) for each in layer_input.reshape(-1, *sample)])

    def _one(self, layer_input: np.ndarray) -> np.ndarray:
        integers = layer_input.astype(np.int64) - self.zero_point
        # Floats are exact as long as no partial sum outgrows them; float64 holds those of all kernels that fit in memory.
        axes = (0,) if self.geometry.depthwise else (0, 1)
        bound = int(np.abs(self.weights).sum(axes).max(initial=0)) * int(np.abs(integers).max(initial=0))
        dtype = np.float32 if bound < 1 << 24 else np.float64
        total: Any = 0.0
        for plane, weights in zip(self.geometry.planes(integers.astype(dtype)), self.weights.astype(dtype), strict=True):
            if not self.geometry.depthwise:
                total = total + plane @ weights
            elif weights.shape[1] == 1:
                total = total + plane * weights[:, 0]
            else:
                total = total + plane[..., None] * weights
        return total.astype(np.int64).reshape(*self.geometry.output, -1) + self.bias
