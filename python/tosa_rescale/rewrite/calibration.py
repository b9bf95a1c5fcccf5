# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Calibration: what every MAC layer sees at its input, measured in the integer executable and written on the ops.

For weight i of an output channel, x_i is the zero-point-free input value that it multiplies, 0 where that is border padding.
Averages run over output positions and samples. All attributes are float32; K = KH * KW * IC weights of one output channel,
in their order; a depthwise layer has C channels.

| attribute                    | holds    | conv2d, transpose_conv2d | depthwise_conv2d |
|------------------------------|----------|--------------------------|------------------|
| `tosa_rescale.input_mean`    | E[x_i]   | [KH, KW, IC]             | [KH, KW, C]      |
| `tosa_rescale.input_square`  | E[x_i^2] | [KH, KW, IC]             | [KH, KW, C]      |
| `tosa_rescale.input_factors` | F        | [R, K]                   | [C, R, KH * KW]  |

F holds the R leading factors of the second moments: E[x_i x_j] ~ (F^T F)_ij for i != j. The full moments of a network would
be a hundred megabytes, and a few dozen samples do not determine them anyway.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tosa_rescale.core.attributes import INPUT_FACTORS, INPUT_MEAN, INPUT_SQUARE
from tosa_rescale.core.errors import DataError
from tosa_rescale.core.program import Program
from tosa_rescale.core.progress import Progress, Silent

if TYPE_CHECKING:
    from tosa_rescale_runtime import Module, Op, Tap

MAC_KINDS = ("conv2d", "depthwise_conv2d", "transpose_conv2d")

RANK = 8  # factors kept; more changed no figure measured
ROWS = 128  # output positions of one sample that enter the factors; means and squares take all
DIRECT_WIDTH = 64  # up to here the moments are decomposed directly
POWER_STEPS = 3  # of the subspace iteration; leading eigenvalues lie far apart


@dataclasses.dataclass(frozen=True, eq=False)
class LayerStatistics:
    """Input statistics of one MAC layer; shapes and meaning as in the table above."""

    mean: np.ndarray
    square: np.ndarray
    factors: np.ndarray


def calibrate(program: Program, inputs: Sequence[np.ndarray], progress: Progress | None = None) -> Module:
    """Runs samples through the model and writes each MAC layer's input statistics on it.

    Args:
        program: the model.
        inputs: one array [N, *shape without batch] for each input.
        progress: shows rate and remaining time.

    Returns:
        The module with the attributes.

    Raises:
        DataError: there are no samples.
    """
    from tosa_rescale_runtime import Tap

    module = program.module()
    layers = [op for op in module.ops() if op.kind in MAC_KINDS and module.constant(op, 1) is not None]
    measures = [_Measure(module, op) for op in layers]
    for seen in observe(program, [Tap(op.key, operand=0) for op in layers], inputs, "calibrate", progress):
        for measure, layer_input in zip(measures, seen, strict=True):
            measure.add(layer_input)
    for op, measure in zip(layers, measures, strict=True):
        statistics = measure.result()
        module.set_attribute(op, INPUT_MEAN, statistics.mean)
        module.set_attribute(op, INPUT_SQUARE, statistics.square)
        module.set_attribute(op, INPUT_FACTORS, statistics.factors)
    return module


def observe(
    program: Program, taps: Sequence[Tap], inputs: Sequence[np.ndarray], label: str, progress: Progress | None
) -> Iterator[list[np.ndarray]]:
    """Runs samples one by one and gives what the taps saw of each.

    Args:
        program: the model.
        taps: values inside its graph.
        inputs: one array [N, *shape without batch] for each input.
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


class _Measure:
    """Adds up the statistics of one layer over samples."""

    def __init__(self, module: Module, op: Op) -> None:
        self._geometry = Geometry.of(module, op)
        zero_point = module.constant(op, 3)
        self._zero_point = 0 if zero_point is None else int(zero_point.reshape(-1)[0])
        self._samples = 0
        self._sum: np.ndarray | float = 0.0
        self._sum_of_squares: np.ndarray | float = 0.0
        self._rows: list[np.ndarray] = []
        self._rng = np.random.default_rng(0)  # the choice of rows must not change from run to run

    def add(self, layer_input: np.ndarray) -> None:
        """Adds one sample's input, [1, H, W, C]."""
        x = layer_input[0].astype(np.int16) - np.int16(self._zero_point)
        planes = self._geometry.planes(x)
        height, width, _ = planes[0].shape
        real = [plane.astype(np.float32) for plane in planes]
        self._sum = self._sum + np.stack([plane.mean((0, 1), dtype=np.float64) for plane in real])
        self._sum_of_squares = self._sum_of_squares + np.stack([np.square(p).mean((0, 1), dtype=np.float64) for p in real])
        self._samples += 1
        positions = height * width
        chosen = np.arange(positions) if positions <= ROWS else self._rng.choice(positions, ROWS, replace=False)
        self._rows.append(np.stack([plane[chosen // width, chosen % width] for plane in planes], axis=1))  # [R, T, C]

    def result(self) -> LayerStatistics:
        rows = np.concatenate(self._rows)  # [R, T, C]
        ordered = rows.transpose(2, 0, 1) if self._geometry.depthwise else rows.reshape(len(rows), -1)
        mean, square = (
            np.asarray(total / self._samples, np.float32).reshape(*self._geometry.kernel, -1)
            for total in (self._sum, self._sum_of_squares)
        )
        return LayerStatistics(mean, square, leading_factors(np.ascontiguousarray(ordered, np.float32)))


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
    """Which input value each weight of a convolution multiplies (TOSA CONV2D, DEPTHWISE_CONV2D, TRANSPOSE_CONV2D).

    Attributes:
        kind: conv2d, depthwise_conv2d or transpose_conv2d.
        kernel: KH, KW.
        pad: top, bottom, left, right; for transpose_conv2d what is added to the output.
        stride, dilation: y, x.
        output: OH, OW.
    """

    kind: str
    kernel: tuple[int, int]
    pad: tuple[int, int, int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    output: tuple[int, int]

    @property
    def depthwise(self) -> bool:
        """Each channel is convolved by itself."""
        return self.kind == "depthwise_conv2d"

    @staticmethod
    def of(module: Module, op: Op) -> Geometry:
        """Reads an op's attributes and shapes."""
        weight = module.constant(op, 1)
        assert weight is not None  # calibrate measures layers with constant weights only
        kernel = weight.shape[:2] if op.kind == "depthwise_conv2d" else weight.shape[1:3]
        transposed, output = op.kind == "transpose_conv2d", module.result_shape(op)
        return Geometry(
            op.kind,
            (int(kernel[0]), int(kernel[1])),
            tuple(module.attribute(op, "out_pad" if transposed else "pad")),
            tuple(module.attribute(op, "stride")),
            (1, 1) if transposed else tuple(module.attribute(op, "dilation")),
            (output[1] or 1, output[2] or 1),
        )

    def planes(self, x: np.ndarray) -> list[np.ndarray]:
        """For each tap (ky, kx), row by row, the value it multiplies at every output position.

        Args:
            x: zero-point-free input [H, W, C].

        Returns:
            KH * KW arrays [OH, OW, C], 0 where the tap multiplies border padding or nothing.
        """
        taps = [(ky, kx) for ky in range(self.kernel[0]) for kx in range(self.kernel[1])]
        return [self._transposed(x, *tap) if self.kind == "transpose_conv2d" else self._direct(x, *tap) for tap in taps]

    def _direct(self, x: np.ndarray, ky: int, kx: int) -> np.ndarray:
        top, bottom, left, right = self.pad
        padded = np.pad(x, ((top, bottom), (left, right), (0, 0))) if any(self.pad) else x
        y0, x0 = ky * self.dilation[0], kx * self.dilation[1]
        rows = slice(y0, y0 + self.stride[0] * (self.output[0] - 1) + 1, self.stride[0])
        columns = slice(x0, x0 + self.stride[1] * (self.output[1] - 1) + 1, self.stride[1])
        return padded[rows, columns]

    def _transposed(self, x: np.ndarray, ky: int, kx: int) -> np.ndarray:
        plane = np.zeros((*self.output, x.shape[2]), x.dtype)
        # Input row i adds to output row i * stride + out_pad_top + ky, where that exists.
        y = np.arange(x.shape[0]) * self.stride[0] + self.pad[0] + ky
        z = np.arange(x.shape[1]) * self.stride[1] + self.pad[2] + kx
        y_in, z_in = (y >= 0) & (y < self.output[0]), (z >= 0) & (z < self.output[1])
        plane[np.ix_(y[y_in], z[z_in])] = x[np.ix_(y_in, z_in)]
        return plane
