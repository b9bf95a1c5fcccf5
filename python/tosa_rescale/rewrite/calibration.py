# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Calibration: what every layer with weights sees at its input, measured in the integer executable and written on the ops.

For weight i of an output channel, x_i is the zero-point-free input value that it multiplies, 0 where that is border padding.
Averages run over output positions, the rows of the layer's own batch (of a transformer's linear layers, the tokens) and
samples. All attributes are float32; K counts the weights of one output channel, in their order; a depthwise layer has C
channels.

| attribute                    | holds    | conv2d, transpose_conv2d | conv3d           | depthwise_conv2d |
|------------------------------|----------|--------------------------|------------------|------------------|
| `tosa_rescale.input_mean`    | E[x_i]   | [KH, KW, IC]             | [KD, KH, KW, IC] | [KH, KW, C]      |
| `tosa_rescale.input_square`  | E[x_i^2] | [KH, KW, IC]             | [KD, KH, KW, IC] | [KH, KW, C]      |
| `tosa_rescale.input_factors` | F        | [R, K]                   | [R, K]           | [C, R, KH * KW]  |

F holds the R leading factors of the second moments: E[x_i x_j] ~ (F^T F)_ij for i != j. The full moments of a network would
be a hundred megabytes, and a few dozen samples do not determine them anyway. A layer with a batch of its own is another case:
each row of it counts as a sample, and where all samples together have more rows than K, `tosa_rescale.input_moment` holds
E[x_i x_j] itself, [K, K], in place of squares and factors.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tosa_rescale.core.attributes import INPUT_FACTORS, INPUT_MEAN, INPUT_MOMENT, INPUT_SQUARE
from tosa_rescale.core.changes import CONVOLUTIONS
from tosa_rescale.core.errors import DataError
from tosa_rescale.core.program import Program
from tosa_rescale.core.progress import Progress, Silent

if TYPE_CHECKING:
    from tosa_rescale_runtime import Module, Op, Tap

RANK = 8  # factors kept; more changed no figure measured
ROWS = 128  # output positions of one sample that enter the factors, of a layer without a batch; means and squares take all
MOMENT_ROWS = 2048  # that are multiplied at once
MAX_MOMENT_WIDTH = 4096  # K above which moments are not kept whole: 64 MB
DIRECT_WIDTH = 64  # up to here the moments are decomposed directly
POWER_STEPS = 3  # of the subspace iteration; leading eigenvalues lie far apart


@dataclasses.dataclass(frozen=True, eq=False)
class LayerStatistics:
    """Input statistics of one MAC layer; shapes and meaning as above. Either the moment is known, or squares and factors."""

    mean: np.ndarray
    square: np.ndarray | None = None
    factors: np.ndarray | None = None
    moment: np.ndarray | None = None

    def write(self, module: Module, op: Op) -> None:
        """Writes them on the op."""
        for name, value in (
            (INPUT_MEAN, self.mean),
            (INPUT_SQUARE, self.square),
            (INPUT_FACTORS, self.factors),
            (INPUT_MOMENT, self.moment),
        ):
            if value is not None:
                module.set_attribute(op, name, value)


def calibrate(program: Program, inputs: Sequence[np.ndarray], progress: Progress | None = None) -> Module:
    """Runs samples through the model and writes each MAC layer's input statistics on it.

    Args:
        program: the model.
        inputs: one array [N, *shape of a sample] for each input.
        progress: shows rate and remaining time.

    Returns:
        The module with the attributes.

    Raises:
        DataError: there are no samples.
    """
    from tosa_rescale_runtime import Tap

    module = program.module()
    layers = [op for op in module.ops() if op.kind in CONVOLUTIONS and module.constant(op, 1) is not None]
    measures = [Measure(module, op) for op in layers]
    for seen in observe(program, [Tap(op.key, operand=0) for op in layers], inputs, "calibrate", progress):
        for measure, layer_input in zip(measures, seen, strict=True):
            measure.add(layer_input)
    for op, measure in zip(layers, measures, strict=True):
        measure.result().write(module, op)
    return module


def observe(
    program: Program, taps: Sequence[Tap], inputs: Sequence[np.ndarray], label: str, progress: Progress | None
) -> Iterator[list[np.ndarray]]:
    """Runs samples one by one and gives what the taps saw of each.

    Args:
        program: the model.
        taps: values inside its graph.
        inputs: one array [N, *shape of a sample] for each input.
        label: of the progress.
        progress: shows rate and remaining time.

    Raises:
        DataError: there are no samples.
    """
    from tosa_rescale_runtime import Executable

    if not len(inputs) or not len(inputs[0]):
        raise DataError("calibration: there are no samples; give at least one")
    executable = Executable.build(program.bytecode, taps=taps, source=program.source)
    shapes = [[extent or 1 for extent in spec.shape] for spec in executable.tap_specs]
    with (progress or Silent()).task(label, len(inputs[0])) as advance:
        for run in executable.run_taps(*inputs):
            # A sample's tensor, whose first dimension may be a batch of the layer's own.
            yield [run.taps[tap].reshape(shape) for tap, shape in zip(taps, shapes, strict=True)]
            advance(1)


class Measure:
    """Adds up the statistics of one layer over samples."""

    def __init__(self, module: Module, op: Op) -> None:
        self._geometry = Geometry.of(module, op)
        zero_point = module.constant(op, 3)
        self._zero_point = 0 if zero_point is None else int(zero_point.reshape(-1)[0])
        self._samples = 0
        self._sum: np.ndarray | float = 0.0
        self._sum_of_squares: np.ndarray | float = 0.0
        self._rows: list[np.ndarray] = []
        self._moment = Moment()
        self._rng = np.random.default_rng(0)  # the choice of rows must not change from run to run

    def add(self, layer_input: np.ndarray) -> None:
        """Adds one sample's input, [B, spatial dimensions, C]; B is the layer's own batch."""
        wide = layer_input.dtype.itemsize > 1
        x = layer_input.astype(np.int32 if wide else np.int16) - self._zero_point
        planes = self._geometry.planes(x)
        *extents, _ = planes[0].shape
        axes = tuple(range(len(extents)))
        # Squares of 8-bit values are exact in a float32.
        real = [plane.astype(np.float64 if wide else np.float32) for plane in planes]
        self._sum = self._sum + np.stack([plane.mean(axes, dtype=np.float64) for plane in real])
        self._sum_of_squares = self._sum_of_squares + np.stack([np.square(p).mean(axes, dtype=np.float64) for p in real])
        self._samples += 1
        positions = math.prod(extents)
        if layer_input.shape[0] > 1 and not self._geometry.depthwise:
            self._moment.add(np.stack(planes, axis=-2).reshape(positions, -1))
            if self._moment.known:
                self._rows = []
                return
        chosen = np.arange(positions) if positions <= ROWS else self._rng.choice(positions, ROWS, replace=False)
        at = np.unravel_index(chosen, extents)
        self._rows.append(np.stack([plane[at] for plane in planes], axis=1))  # [R, T, C]

    def result(self) -> LayerStatistics:
        mean, square = (
            np.asarray(total / self._samples, np.float32).reshape(*self._geometry.kernel, -1)
            for total in (self._sum, self._sum_of_squares)
        )
        if self._moment.known:
            return LayerStatistics(mean, moment=self._moment.result())
        rows = np.concatenate(self._rows)  # [R, T, C]
        ordered = rows.transpose(2, 0, 1) if self._geometry.depthwise else rows.reshape(len(rows), -1)
        return LayerStatistics(mean, square, leading_factors(np.ascontiguousarray(ordered, np.float32)))


class Moment:
    """Adds up E[x x'] over the rows of a layer's own batch, of all samples."""

    def __init__(self) -> None:
        self._count = 0
        self._waiting: list[np.ndarray] = []  # rows in float32, to be added many at once
        self._sum: np.ndarray | None = None

    @property
    def known(self) -> bool:
        """There are at least as many rows as columns."""
        return self._sum is not None or self._is_enough()

    def add(self, rows: np.ndarray) -> None:
        """Adds rows, integers [N, K]."""
        if rows.shape[1] > MAX_MOMENT_WIDTH:
            return
        self._count += len(rows)
        self._waiting.append(rows.astype(np.float32))
        if sum(map(len, self._waiting)) >= MOMENT_ROWS and self._is_enough():
            self._add_up()

    def result(self) -> np.ndarray:
        """E[x x'], float32 [K, K]."""
        self._add_up()
        assert self._sum is not None
        return np.asarray(self._sum / self._count, np.float32)

    def _is_enough(self) -> bool:
        return bool(self._waiting) and self._count >= self._waiting[0].shape[1]

    def _add_up(self) -> None:
        if not self._waiting:
            return
        rows = np.concatenate(self._waiting)
        product = (rows.T @ rows).astype(np.float64)
        self._sum = product if self._sum is None else self._sum + product
        self._waiting = []


def leading_factors(rows: np.ndarray) -> np.ndarray:
    """The leading factors of second moments, by subspace iteration from a fixed start.

    Args:
        rows: samples of x, float32 [..., N, K].

    Returns:
        F, float32 [..., R, K] with R = min(RANK, K): F^T F is the best approximation of rank R of rows^T rows / N.
    """
    count, width = rows.shape[-2:]
    if width <= DIRECT_WIDTH:
        moments, basis = np.swapaxes(rows, -1, -2) @ rows, None
    else:
        basis = np.random.default_rng(0).standard_normal((width, 2 * RANK)).astype(np.float32)
        for _ in range(POWER_STEPS):
            basis = np.linalg.qr(np.swapaxes(rows, -1, -2) @ (rows @ basis))[0]
        projected = rows @ basis
        moments = np.swapaxes(projected, -1, -2) @ projected
    values, vectors = np.linalg.eigh(moments.astype(np.float64) / count)
    kept = min(RANK, width)
    leading = vectors[..., -kept:] * np.sqrt(np.maximum(values[..., None, -kept:], 0))
    return np.ascontiguousarray(np.swapaxes(leading if basis is None else basis @ leading, -1, -2), np.float32)


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
        pairs = list(zip(self.pad[::2], self.pad[1::2], strict=True))
        padded = np.pad(x, [*[(0, 0)] * (x.ndim - len(pairs) - 1), *pairs, (0, 0)]) if any(self.pad) else x
        return [self._direct(padded, tap) for tap in np.ndindex(*self.kernel)]

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
