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

import contextlib
import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from tosa_rescale.core.attributes import INPUT_FACTORS, INPUT_MEAN, INPUT_MOMENT, INPUT_SQUARE
from tosa_rescale.rewrite.geometry import Geometry
from tosa_rescale.rewrite.observe import input_taps, weighted_layers

if TYPE_CHECKING:
    from tosa_rescale_runtime import Module, Op

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


class InputStatistics:
    """What every layer with weights sees at its input; an observer of `observe`.

    Args:
        module: the model that is observed.
        workers: threads that add up, which is where most of the time goes; None: one for each core.

    Attributes:
        taps: the inputs of the layers.
    """

    def __init__(self, module: Module, workers: int | None = None) -> None:
        from tosa_rescale_runtime import usable_cores

        layers = weighted_layers(module)
        self.taps = input_taps(module, layers)
        self._keys = [op.key for op in layers]  # not the operations: a cluster carries this elsewhere
        self._measures = [Measure(module, op) for op in layers]
        self._workers = workers or usable_cores()

    def add(self, seen: Sequence[np.ndarray]) -> None:
        """Adds one sample: the input of each layer."""
        with _threads(self._workers) as pool:
            list(pool.map(Measure.add, self._measures, seen))

    def write(self, module: Module) -> None:
        """Writes the statistics on the layers of the observed module, or of one with the same operations."""
        ops = {op.key: op for op in module.ops()}
        for key, result in zip(self._keys, self._results, strict=True):
            result.write(module, ops[key])

    @functools.cached_property
    def _results(self) -> list[LayerStatistics]:
        with _threads(self._workers) as pool:
            return list(pool.map(Measure.result, self._measures))


@contextlib.contextmanager
def _threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that compute, each on one core. BLAS with threads of its own in each would have more than there are cores: on a
    busy machine they wait for one another, and a decomposition of 64 x 64 numbers takes a hundred times as long.
    """
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(count) as pool:
        yield pool


class Measure:
    """Adds up the statistics of one layer over samples."""

    def __init__(self, module: Module, op: Op) -> None:
        self._geometry = Geometry.of(module, op)
        zero_point = module.constant(op, 3)
        self._zero_point = 0 if zero_point is None else int(zero_point.reshape(-1)[0])
        self._samples = 0
        self._sum: np.ndarray | float = 0.0
        self._sum_of_squares: np.ndarray | float = 0.0
        self._factors = Factors()
        self._moment = Moment()
        self._rng = np.random.default_rng(0)  # the choice of rows must not change from run to run

    def add(self, layer_input: np.ndarray) -> None:
        """Adds one sample's input, [B, spatial dimensions, C]; B is the layer's own batch."""
        geometry, wide = self._geometry, layer_input.dtype.itemsize > 1
        x = layer_input.astype(np.int32) - self._zero_point
        positions = layer_input.shape[0] * math.prod(geometry.output)
        self._sum = self._sum + geometry.sums(x) / positions
        self._sum_of_squares = self._sum_of_squares + geometry.sums(np.square(x, dtype=np.int64 if wide else None)) / positions
        self._samples += 1
        if layer_input.shape[0] > 1 and not geometry.depthwise:
            self._moment.add(np.stack(geometry.planes(x), axis=-2).reshape(positions, -1))
            if self._moment.known:
                self._factors = Factors()
                return
        chosen = np.arange(positions) if positions <= ROWS else self._rng.choice(positions, ROWS, replace=False)
        rows = geometry.rows(x, chosen)  # [R, T, C]
        self._factors.add(rows.transpose(2, 0, 1) if geometry.depthwise else rows.reshape(len(rows), -1))

    def result(self) -> LayerStatistics:
        mean, square = (
            np.asarray(total / self._samples, np.float32).reshape(*self._geometry.kernel, -1)
            for total in (self._sum, self._sum_of_squares)
        )
        if self._moment.known:
            return LayerStatistics(mean, moment=self._moment.result())
        return LayerStatistics(mean, square, self._factors.result())


class Factors:
    """Adds up what the leading factors of second moments come from: narrow moments themselves, else rows."""

    def __init__(self) -> None:
        self._count = 0
        self._moments: np.ndarray | float = 0.0
        self._rows: list[np.ndarray] = []

    def add(self, rows: np.ndarray) -> None:
        """Adds rows of x, [N, K], or [C, N, K] of as many separate ones."""
        self._count += rows.shape[-2]
        if rows.shape[-1] > DIRECT_WIDTH:  # 8-bit values wait as i16, in half the memory
            self._rows.append(rows.astype(np.int16 if np.abs(rows).max(initial=0) < 1 << 15 else np.float32))
            return
        rows = np.ascontiguousarray(rows, np.float32)
        # Of 8-bit values exact: below 2^24.
        self._moments = self._moments + (np.swapaxes(rows, -1, -2) @ rows).astype(np.float64)

    def result(self) -> np.ndarray:
        """F, float32 [..., R, K]; see leading_factors."""
        if self._rows:
            return leading_factors(np.concatenate(self._rows, axis=-2).astype(np.float32, copy=False))
        return _factors_of(np.asarray(self._moments) / self._count)


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
    basis = np.random.default_rng(0).standard_normal((width, 2 * RANK)).astype(np.float32)
    for _ in range(POWER_STEPS):
        basis = np.linalg.qr(np.swapaxes(rows, -1, -2) @ (rows @ basis))[0]
    projected = rows @ basis
    return _factors_of((np.swapaxes(projected, -1, -2) @ projected).astype(np.float64) / count, basis)


def _factors_of(moments: np.ndarray, basis: np.ndarray | None = None) -> np.ndarray:
    """The leading factors of moments [..., K, K], in the coordinates of a basis [..., N, K] where there is one."""
    values, vectors = np.linalg.eigh(moments)
    kept = min(RANK, vectors.shape[-1] if basis is None else basis.shape[-2])
    leading = vectors[..., -kept:] * np.sqrt(np.maximum(values[..., None, -kept:], 0))
    return np.ascontiguousarray(np.swapaxes(leading if basis is None else basis @ leading, -1, -2), np.float32)
