# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which input value each weight of a convolution multiplies."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tosa_rescale_runtime import Module, Op

SHORT = 1 << 15  # so many squares of 8-bit values, less a zero point, add up within 32 bits


@dataclasses.dataclass(frozen=True)
class Geometry:
    """Which input value each weight of a convolution multiplies (TOSA CONV2D, CONV3D, DEPTHWISE_CONV2D, TRANSPOSE_CONV2D).

    Attributes:
        kind: conv2d, conv3d, depthwise_conv2d or transpose_conv2d.
        kernel: extents, KH and KW, behind KD in three dimensions.
        pad: before and after, for each spatial dimension; for transpose_conv2d what is added to the output.
        stride, dilation: of each spatial dimension.
        output: extents, OH and OW, behind OD.
    """

    kind: str
    kernel: tuple[int, ...]
    pad: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    output: tuple[int, ...]

    @property
    def depthwise(self) -> bool:
        """Each channel is convolved by itself."""
        return self.kind == "depthwise_conv2d"

    @staticmethod
    def of(module: Module, op: Op) -> Geometry:
        """Reads an op's attributes and shapes."""
        weight = module.constant(op, 1)
        assert weight is not None  # calibrate measures layers with constant weights only
        kernel = weight.shape[:2] if op.kind == "depthwise_conv2d" else weight.shape[1:-1]
        transposed = op.kind == "transpose_conv2d"
        return Geometry(
            op.kind,
            tuple(kernel),
            tuple(module.attribute(op, "out_pad" if transposed else "pad")),
            tuple(module.attribute(op, "stride")),
            (1, 1) if transposed else tuple(module.attribute(op, "dilation")),
            tuple(extent or 1 for extent in module.result_shape(op)[1:-1]),
        )

    def planes(self, x: np.ndarray) -> list[np.ndarray]:
        """For each tap of the kernel, in its order, the value it multiplies at every output position.

        Args:
            x: zero-point-free input [..., spatial dimensions, C].

        Returns:
            One array [..., *output, C] for each tap, 0 where the tap multiplies border padding or nothing.
        """
        if self.kind == "transpose_conv2d":
            return [self._transposed(x, tap) for tap in np.ndindex(*self.kernel)]
        padded = self._padded(x)
        return [self._direct(padded, tap) for tap in np.ndindex(*self.kernel)]

    def sums(self, x: np.ndarray) -> np.ndarray:
        """For each tap of the kernel the sum of its plane.

        Args:
            x: zero-point-free input [B, spatial dimensions, C], or squares of it: integers, 8-bit ones as int32.

        Returns:
            int64 [taps, C].
        """
        if self.kind == "transpose_conv2d":
            axes = tuple(range(x.ndim - 1))
            return np.stack([plane.sum(axes, dtype=np.int64) for plane in self.planes(x)])
        # One dimension after the other: what taps have in common is added once.
        partial = {(): self._padded(x)}
        for axis in reversed(range(len(self.kernel))):
            partial = {
                (k, *tap): self._along(axis, k, values) for tap, values in partial.items() for k in range(self.kernel[axis])
            }
        return np.stack([partial[tap].sum(0, dtype=np.int64) for tap in np.ndindex(*self.kernel)])

    def rows(self, x: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """What the taps multiply at some output positions.

        Args:
            x: zero-point-free input [B, spatial dimensions, C].
            positions: int64 [R], counted over [B, *output].

        Returns:
            [R, taps, C].
        """
        at = np.unravel_index(positions, (x.shape[0], *self.output))
        if self.kind == "transpose_conv2d":
            return np.stack([plane[at] for plane in self.planes(x)], axis=1)
        padded = self._padded(x)
        taps = np.array(list(np.ndindex(*self.kernel))).T
        places = [
            place[:, None] * stride + tap * dilation
            for place, stride, tap, dilation in zip(at[1:], self.stride, taps, self.dilation, strict=True)
        ]
        return padded[(at[0][:, None], *places)]

    def _padded(self, x: np.ndarray) -> np.ndarray:
        pairs = list(zip(self.pad[::2], self.pad[1::2], strict=True))
        return np.pad(x, [*[(0, 0)] * (x.ndim - len(pairs) - 1), *pairs, (0, 0)]) if any(self.pad) else x

    def _along(self, axis: int, tap: int, values: np.ndarray) -> np.ndarray:
        """Sums the places of one tap along the last spatial dimension of `values`, which is `axis`."""
        start, stride, out = tap * self.dilation[axis], self.stride[axis], self.output[axis]
        taken = values[..., start : start + stride * (out - 1) + 1 : stride, :]
        first = values.dtype == np.int32  # and not the sum of a dimension before
        return taken.sum(-2, dtype=np.int32 if first and out <= SHORT else np.int64).astype(np.int64, copy=False)

    def _direct(self, padded: np.ndarray, tap: tuple[int, ...]) -> np.ndarray:
        starts = [k * dilation for k, dilation in zip(tap, self.dilation, strict=True)]
        places = zip(starts, self.stride, self.output, strict=True)
        return padded[..., *(slice(start, start + stride * (out - 1) + 1, stride) for start, stride, out in places), :]

    def _transposed(self, x: np.ndarray, tap: tuple[int, ...]) -> np.ndarray:
        *leading, height, width, channels = x.shape
        plane = np.zeros((*leading, *self.output, channels), x.dtype)
        # Input row i adds to output row i * stride + out_pad_top + ky, where that exists.
        y, z = (
            np.arange(extent) * stride + before + k
            for extent, stride, before, k in zip((height, width), self.stride, self.pad[::2], tap, strict=True)
        )
        y_in, z_in = ((place >= 0) & (place < out) for place, out in zip((y, z), self.output, strict=True))
        plane[..., y[y_in][:, None], z[z_in], :] = x[..., np.flatnonzero(y_in)[:, None], np.flatnonzero(z_in), :]
        return plane
