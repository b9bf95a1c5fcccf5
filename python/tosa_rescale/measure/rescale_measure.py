# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The errors of one rescale, added up over samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from tosa_rescale_runtime import type_limits

from tosa_rescale.core.changes import CONVOLUTIONS
from tosa_rescale.core.rescales import RescaleInfo, apply_rescale, significant_bits
from tosa_rescale.measure.accumulators import Accumulators
from tosa_rescale.measure.error_figures import Difference, Moments, RescaleError
from tosa_rescale.measure.intended_scales import file_scales, real_multipliers, rescale_ops

if TYPE_CHECKING:
    from tosa_rescale_runtime import Module, Op, Rescale

    from tosa_rescale.core.program import Program

TAPPED_BITS = 32  # wider accumulators do not leave IREE; they are computed from the layer's input
WIDEST = 255  # difference that has a place of its own in a histogram


def make_measures(
    narrow: Module, wide: Module, factors: Mapping[str, float], isolate: bool, infos: Sequence[RescaleInfo]
) -> list[Measure]:
    layers = {layer.rescale.key: layer.op for layer in narrow.mac_layers() if layer.rescale is not None}
    before = {layer.rescale.key: layer.op for layer in wide.mac_layers() if layer.rescale is not None}
    measures = []
    for rescale, was, info in zip(narrow.rescales(), wide.rescales(), infos, strict=True):
        measure = Measure(rescale, was, factors[rescale.key], info.op, info.scope, isolate)
        op, old = layers.get(rescale.key), before.get(rescale.key)
        if op is not None and old is not None and op.kind in CONVOLUTIONS:
            ours, theirs = Accumulators.of(narrow, op), Accumulators.of(wide, old)
            if ours is not None and theirs is not None:
                measure.absorbed = not ours.equals(theirs)
                wanted = measure.absorbed or rescale.input_bits > TAPPED_BITS
                if wanted and _only_reshaped(wide, rescale.key, old):
                    measure.layer, measure.ours, measure.theirs = old, ours, theirs
        if (measure.absorbed or rescale.input_bits > TAPPED_BITS) and measure.layer is None:
            measure.isolate = False
        measures.append(measure)
    return measures


def _only_reshaped(module: Module, rescale: str, op: Op) -> bool:
    """Whether the rescale reads the layer's accumulators in their order."""
    value = module.op(rescale).operation.operands[0]
    while value.owner != op.operation:
        if value.owner.name not in ("tosa.reshape", "tosa.identity"):
            return False
        value = value.owner.operands[0]
    return True


def add_scales(measures: Sequence[Measure], original: Program, module: Module) -> None:
    scales = file_scales(original)
    for measure, op in zip(measures, rescale_ops(module), strict=True):
        scale = scales.get(module.tensor_name(op) or "")
        if scale and measure.rescale.output_bits in (8, 16):
            measure.scale = scale * measure.factor


class Measure:
    """Adds up one rescale's errors over samples."""

    def __init__(self, rescale: Rescale, was: Rescale, factor: float, op: str, scope: str, isolate: bool) -> None:
        self.rescale, self.was, self.factor, self.isolate = rescale, was, factor, isolate
        self._op, self._scope = op, scope
        self.absorbed = False
        self.layer: Op | None = None
        self.ours: Accumulators | None = None
        self.theirs: Accumulators | None = None
        self.scale: float | None = None
        self._values = self._saturated = 0
        self._predicted, self._measured = _Sum(), _Sum()
        self._isolated, self._end_to_end = _Histogram(), _Histogram()
        self._limits = type_limits(rescale.output_bits, rescale.output_unsigned)
        self._narrow, self._wide = real_multipliers(rescale), real_multipliers(was)
        assert rescale.multiplier is not None and rescale.shift is not None
        # A shift that leaves f bits of fraction, all equally likely, rounded half up: uniform in +-1/2 where f is large.
        lowest = np.where(rescale.multiplier > 0, rescale.multiplier & -rescale.multiplier, 1).astype(np.float64)
        fraction = np.maximum(rescale.shift - np.log2(lowest), 0)
        self._rounding_mean = np.where(fraction > 0, np.exp2(-fraction - 1), 0.0)
        self._rounding_variance = (1 - np.exp2(-2 * fraction)) / 12

    def add(
        self,
        mine: np.ndarray,
        other: np.ndarray,
        own: np.ndarray,
        accumulator: np.ndarray | None,
        layer_input: np.ndarray | None,
    ) -> None:
        """Adds one sample.

        Args:
            mine: the narrowed network's tensor.
            other: the original network's.
            own: the original's with the narrowed one's activation scales.
            accumulator: what the rescale of the latter reads; None where it is computed from `layer_input`.
            layer_input: what the layer before it reads.
        """
        rescale, zero_point = self.rescale, self.rescale.output_zp or 0
        mine, other, own = (self._signed(each, rescale.output_bits, rescale.output_unsigned) for each in (mine, other, own))
        self._values += mine.size
        difference = (
            mine - other if self.factor == 1 else (mine - zero_point) - (other - (self.was.output_zp or 0)) / self.factor
        )
        self._end_to_end.add(difference)
        if not self.isolate:
            return
        if accumulator is not None:
            before = self._signed(accumulator, rescale.input_bits, rescale.input_unsigned) - (self.was.input_zp or 0)
        else:
            assert self.theirs is not None and layer_input is not None
            before = self.theirs(layer_input).reshape(own.shape)
        now = before
        if self.absorbed:
            assert self.ours is not None and layer_input is not None
            now = self.ours(layer_input).reshape(own.shape)
        result = apply_rescale(self.rescale, now)
        self._isolated.add(result - own)
        exact = before * self._wide
        inside = (exact + zero_point >= self._limits[0]) & (exact + zero_point <= self._limits[1])
        self._saturated += int(inside.size - inside.sum())
        self._measured.add((result - zero_point - exact)[inside])
        rounding = np.broadcast_to(self._rounding_variance, exact.shape)[inside]
        self._predicted.add((now * self._narrow - exact + self._rounding_mean)[inside], float(rounding.sum()))

    @staticmethod
    def _signed(array: np.ndarray, bits: int, unsigned: bool) -> np.ndarray:
        values = array.astype(np.int64)
        return values & ((1 << bits) - 1) if unsigned else values

    def result(self) -> RescaleError:
        assert self.rescale.multiplier is not None
        return RescaleError(
            key=self.rescale.key,
            name=self.rescale.name,
            op=self._op,
            scope=self._scope,
            bits=int(significant_bits(self.rescale.multiplier).max()),
            output_bits=self.rescale.output_bits,
            absorbed=self.absorbed,
            aligned=self.factor != 1,
            values=self._values,
            saturated=100 * self._saturated / self._values if self._values else 0.0,
            predicted=self._predicted.moments(),
            measured=self._measured.moments(),
            isolated=self._isolated.difference() if self.isolate else None,
            end_to_end=self._end_to_end.difference(),
            scale=self.scale,
        )


class _Sum:
    """Mean and variance of what is added, in one pass; the values lie near 0, so sums of squares lose nothing that matters."""

    def __init__(self) -> None:
        self._count, self._sum, self._squares = 0, 0.0, 0.0

    def add(self, values: np.ndarray, variance: float = 0.0) -> None:
        self._count += values.size
        self._sum += float(values.sum(dtype=np.float64))
        self._squares += float(np.square(values, dtype=np.float64).sum()) + variance

    def moments(self) -> Moments | None:
        if not self._count:
            return None
        mean = self._sum / self._count
        return Moments(mean, float(np.sqrt(max(self._squares / self._count - mean * mean, 0.0))))


class _Histogram(_Sum):
    """Adds up differences."""

    def __init__(self) -> None:
        super().__init__()
        self._steps: dict[int, int] = {}
        self._largest = 0.0

    def add(self, values: np.ndarray, variance: float = 0.0) -> None:
        super().add(values, variance)
        self._largest = max(self._largest, float(np.abs(values).max(initial=0)))
        steps = np.clip(np.rint(values), -WIDEST, WIDEST).astype(np.int64)
        for step, count in zip(*np.unique(steps, return_counts=True), strict=True):
            self._steps[int(step)] = self._steps.get(int(step), 0) + int(count)

    def difference(self) -> Difference:
        moments = self.moments() or Moments(0.0, 0.0)
        return Difference(moments.mean, moments.std, self._largest, dict(sorted(self._steps.items())))
