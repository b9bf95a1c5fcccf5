# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How far a narrower multiplier moves what each rescale gives: predicted, measured alone, and measured at the end of the chain.

The source paper's Eq. 5 is `e_r = S_y * a_q * (M_q - M) + S_y * d_r`: an accumulator a_q, a multiplier that is off by
M_q - M, and a rounding error d_r, uniform in +-1/2. Here it is held against what IREE computes, for every rescale, over the
values that do not saturate in exact arithmetic (those that do have no error until they come back into range).

Where weights have been changed as well (compensated or trained), the multiplier's change is deliberate and Eq. 5 with the
original accumulator says nothing: the layer has another accumulator a', and what remains of the first term is
`S_y * (a' * M_q - a * M)`. That is what is predicted with there; without a change of weights a' is a and it is Eq. 5 itself.
An aligned model has other activation scales on purpose; it is held against the original with those scales.

All figures are in LSB of the narrowed model's tensor: times `scale` they are in real units.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from tosa_rescale_runtime import type_limits

from tosa_rescale.core.attributes import FIXED_FACTOR, SCALE_FACTOR
from tosa_rescale.core.changes import CONVOLUTIONS
from tosa_rescale.core.errors import DataError, ModelError
from tosa_rescale.core.options import CompensateOptions
from tosa_rescale.core.passes import run_passes_on
from tosa_rescale.core.progress import Progress, Silent
from tosa_rescale.core.rescales import describe_rescales, significant_bits
from tosa_rescale.data.dataset import Dataset
from tosa_rescale.data.source import random_inputs
from tosa_rescale.rewrite.calibration import Geometry
from tosa_rescale.rewrite.compensate import align_pass

if TYPE_CHECKING:
    from tosa_rescale_runtime import Module, Op, Rescale

    from tosa_rescale.core.program import Program

TAPPED_BITS = 32  # wider accumulators do not leave IREE; they are computed from the layer's input
SAME_FACTOR = 1e-6  # float32 scales of one tensor in two files
WIDEST = 255  # difference that has a place of its own in a histogram


@dataclasses.dataclass(frozen=True)
class Moments:
    """Mean and standard deviation of an error, in LSB."""

    mean: float
    std: float


@dataclasses.dataclass(frozen=True)
class Difference:
    """How integers differ from others, in LSB.

    Attributes:
        mean, std: of the difference.
        largest: largest absolute difference.
        histogram: how often each difference occurs, 0 included; rounded to whole LSB where an aligned tensor's step is
            not the original's. What is beyond +-255, the most that 8 bits can differ by, counts as +-255.
    """

    mean: float
    std: float
    largest: float
    histogram: dict[int, int]

    @property
    def off(self) -> float:
        """Per cent of values that differ by at least one LSB."""
        total = sum(self.histogram.values())
        return 100 * (1 - self.histogram.get(0, 0) / total) if total else 0.0

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Difference:
        """The inverse of dataclasses.asdict, also by way of JSON."""
        return Difference(**{**values, "histogram": {int(step): count for step, count in values["histogram"].items()}})


@dataclasses.dataclass(frozen=True)
class RescaleError:
    """What one rescale of a narrowed model does to its tensor.

    Attributes:
        key: of the rescale, such as `rescale12`.
        name: in the source model.
        op: the op that made its input.
        scope: accumulator or elementwise.
        bits: significant bits of the widest multiplier.
        output_bits: width of its result's elements.
        absorbed: the layer's weights or bias differ from the original's: they absorb what the multiplier lost.
        aligned: the scale of its input or result differs from the original's.
        values: number of values measured.
        saturated: per cent of them that saturate in exact arithmetic.
        predicted: mean and spread after Eq. 5, from the accumulators and the multipliers; None where `measured` is.
        measured: the same on the integers: this rescale alone, on what the original feeds to its layer, against the exact
            real value; over the values that do not saturate. None where all do, or the layer cannot be computed by itself.
        isolated: this rescale alone against the original's integers, over all values; None where the layer cannot be
            computed by itself.
        end_to_end: the narrowed network's tensor against the original network's, over all values.
        scale: real units for one LSB of the narrowed model's tensor; None where unknown.
    """

    key: str
    name: str
    op: str
    scope: str
    bits: int
    output_bits: int
    absorbed: bool
    aligned: bool
    values: int
    saturated: float
    predicted: Moments | None
    measured: Moments | None
    isolated: Difference | None
    end_to_end: Difference
    scale: float | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> RescaleError:
        """The inverse of as_dict, also by way of JSON.

        Raises:
            KeyError, TypeError: the values are not those of a RescaleError.
        """
        parts: dict[str, Any] = {name: None if values[name] is None else Moments(**values[name]) for name in _MOMENTS}
        parts["isolated"] = None if values["isolated"] is None else Difference.from_dict(values["isolated"])
        parts["end_to_end"] = Difference.from_dict(values["end_to_end"])
        return RescaleError(**{**values, **parts})


_MOMENTS = ("predicted", "measured")


def rescale_errors(
    model: Program, original: Program, data: Dataset | int, *, progress: Progress | None = None
) -> tuple[RescaleError, ...]:
    """Measures every rescale of a narrowed model against the original's.

    Args:
        model: narrowed, compensated, aligned or trained.
        original: the model that it was made from.
        data: samples, or a number of uniform random ones.
        progress: shows rate and remaining time.

    Returns:
        One entry for each rescale, in program order.

    Raises:
        ModelError: the models have other rescales or inputs, or a multiplier, shift or zero point is not a constant.
        DataError: there are no samples, or they do not fit the input.
    """
    from tosa_rescale_runtime import Executable, Module, Tap

    original.require_rescales()
    narrow = Module.parse(model.bytecode, model.source)
    wide = Module.parse(original.bytecode, original.source)
    _require_same_graph(narrow, wide, model, original)
    arrays = random_inputs(original.input_specs, data) if isinstance(data, int) else _quantized(data, original)
    if not len(arrays[0]):
        raise DataError("data: holds no samples; give at least one")
    factors = _factors(model, original, narrow, wide)
    intended = _intended(model, original, any(factor != 1 for factor in factors.values()))
    exact = None if intended is None else Module.parse(intended, original.source)
    if exact is not None:
        _add_inner_factors(factors, wide, exact)
    measures = _measures(narrow, exact or wide, factors, isolate=exact is not None, infos=describe_rescales(model))
    _add_scales(measures, original, wide)

    # The same taps everywhere: then all three have one skeleton, which is compiled once.
    keys = [measure.rescale.key for measure in measures]
    reads = sorted({measure.layer.key for measure in measures if measure.layer is not None})
    tapped = [measure.rescale.key for measure in measures if measure.rescale.input_bits <= TAPPED_BITS]
    taps = [*map(Tap, keys), *(Tap(key, operand=0) for key in tapped), *(Tap(key, operand=0) for key in reads)]

    def results(executable: Executable, sample: Sequence[np.ndarray]) -> list[np.ndarray]:
        found = executable.run(*(array[None] for array in sample))
        return list(found[len(found) - len(taps) :])

    narrowed, reference = (Executable.build(each.bytecode, taps=taps, source=each.source) for each in (model, original))
    aligned = reference
    if intended is not None and intended != original.bytecode:
        aligned = Executable.build(intended, taps=taps, source=original.source)
    with (progress or Silent()).task("measure rescales", len(arrays[0])) as advance:
        for sample in zip(*arrays, strict=True):
            ours, theirs = results(narrowed, sample), results(reference, sample)
            given = theirs if aligned is reference else results(aligned, sample)
            inputs = dict(zip(tapped, given[len(keys) : len(keys) + len(tapped)], strict=True))
            layers = dict(zip(reads, given[len(keys) + len(tapped) :], strict=True))
            for measure, mine, other, own in zip(measures, ours, theirs, given, strict=False):
                layer_input = None if measure.layer is None else layers[measure.layer.key]
                measure.add(mine, other, own, inputs.get(measure.rescale.key), layer_input)
            advance(1)
    return tuple(measure.result() for measure in measures)


def _require_same_graph(narrow: Module, wide: Module, model: Program, original: Program) -> None:
    """Equal rescales and inputs; what a pass changes besides numbers is none of these."""

    def shape(module: Module) -> list[Any]:
        inputs: list[Any] = [(spec.shape, spec.dtype) for spec in module.signature.inputs]
        return inputs + [(each.key, each.shape, each.output_bits) for each in module.rescales()]

    if shape(narrow) != shape(wide):
        raise ModelError(
            f"{original.source}: has other rescales or inputs than {model.source}; give the model it was made from"
        )
    for module in (narrow, wide):
        for each in module.rescales():
            if any(part is None for part in (each.multiplier, each.shift, each.input_zp, each.output_zp)):
                raise ModelError(f"{module.source}: {each.name} has multipliers or zero points that are not constants")


def _quantized(data: Dataset, original: Program) -> list[np.ndarray]:
    return [np.concatenate(list(data.quantized(original.input_spec)))]


def _factors(model: Program, original: Program, narrow: Module, wide: Module) -> dict[str, float]:
    """What each rescale's result scale is, over the original's: from the files' scales, and what alignment noted since."""
    ours, theirs = _file_scales(model), _file_scales(original)
    factors = {}
    for rescale, op in zip(narrow.rescales(), _ops(narrow), strict=True):
        name = narrow.tensor_name(op) or ""
        known = name in ours and name in theirs and theirs[name] > 0 and rescale.output_bits in (8, 16)
        factor = rescale.scale_factor * (ours[name] / theirs[name] if known else 1.0)
        factors[rescale.key] = 1.0 if abs(factor - 1) < SAME_FACTOR else factor
    for rescale in wide.rescales():
        factors[rescale.key] /= rescale.scale_factor
    return factors


def _add_inner_factors(factors: dict[str, float], wide: Module, aligned: Module) -> None:
    """Alignment notes factors on tensors of 8 and 16 bits; those between them follow, as M is S_in / S_out."""
    for rescale, was, op in zip(aligned.rescales(), wide.rescales(), _ops(aligned), strict=True):
        before, after = (_real(each) for each in (was, rescale))
        if rescale.output_bits in (8, 16) or not before.all() or not after.all():
            continue
        owner = op.operation.operands[0].owner
        maker = next((each for each in aligned.ops() if each.operation == owner), None)
        source = 1.0
        if maker is not None:
            source = factors.get(maker.key) or aligned.attribute(maker, SCALE_FACTOR) or 1.0
        factor = source * float((before / after).reshape(-1)[0])
        factors[rescale.key] = 1.0 if abs(factor - 1) < SAME_FACTOR else factor


def _real(rescale: Rescale) -> np.ndarray:
    """The multipliers as real numbers, float64 [C]."""
    assert rescale.multiplier is not None and rescale.shift is not None
    return np.ldexp(rescale.multiplier.astype(np.float64), -rescale.shift)


def _ops(module: Module) -> list[Op]:
    return [op for op in module.ops() if op.kind == "rescale"]


def _file_scales(model: Program) -> dict[str, float]:
    """Tensor scales of the .tflite that a model was loaded from; alignment since then is in the module, not in there."""
    from tosa_rescale.formats.litert.scales import tensor_scales

    return {} if model.flatbuffer is None else tensor_scales(model.flatbuffer, model.source)


def _intended(model: Program, original: Program, aligned: bool) -> bytes | None:
    """The original with the model's activation scales and full multipliers; None where these scales cannot be repeated."""
    if not aligned:
        return original.bytecode
    names = {field.name for field in dataclasses.fields(CompensateOptions)}
    for step in model.recipe[len(original.recipe) :]:
        if step.name == "compensate":
            options = CompensateOptions(**{name: value for name, value in step.options.items() if name in names})
            if options.aligns:
                litert = original.flatbuffer is not None
                return run_passes_on(_with_factors_of(model, original), [align_pass(options, litert)], original.source).bytecode
    return None


def _with_factors_of(model: Program, original: Program) -> Module:
    """The original with the factors that alignment gave to the scales of the model, for the pass to apply again."""
    from tosa_rescale_runtime import Module

    aligned, module = (Module.parse(each.bytecode, each.source) for each in (model, original))
    ops = {op.key: op for op in aligned.ops()}
    for op in module.ops():
        if op.key in ops and module.result_bits(op) in (8, 16):
            factor = aligned.attribute(ops[op.key], SCALE_FACTOR) or 1.0
            module.set_attribute(op, FIXED_FACTOR, float(factor))
    return module


def _measures(
    narrow: Module, wide: Module, factors: Mapping[str, float], isolate: bool, infos: Sequence[Any]
) -> list[_Measure]:
    layers = {layer.rescale.key: layer.op for layer in narrow.mac_layers() if layer.rescale is not None}
    before = {layer.rescale.key: layer.op for layer in wide.mac_layers() if layer.rescale is not None}
    measures = []
    for rescale, was, info in zip(narrow.rescales(), wide.rescales(), infos, strict=True):
        measure = _Measure(rescale, was, factors[rescale.key], info.op, info.scope, isolate)
        op, old = layers.get(rescale.key), before.get(rescale.key)
        if op is not None and old is not None and op.kind in CONVOLUTIONS:
            ours, theirs = _Accumulate.of(narrow, op), _Accumulate.of(wide, old)
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


def _add_scales(measures: Sequence[_Measure], original: Program, module: Module) -> None:
    scales = _file_scales(original)
    for measure, op in zip(measures, _ops(module), strict=True):
        scale = scales.get(module.tensor_name(op) or "")
        if scale and measure.rescale.output_bits in (8, 16):
            measure.scale = scale * measure.factor


@dataclasses.dataclass(frozen=True, eq=False)
class _Accumulate:
    """The accumulators of one convolution, in exact integers: what IREE computes, of a layer by itself."""

    geometry: Geometry
    weights: np.ndarray  # zero-point-free [taps, C, OC]; depthwise [taps, C, M]
    bias: np.ndarray
    zero_point: int

    @staticmethod
    def of(module: Module, op: Op) -> _Accumulate | None:
        weights, bias = module.constant(op, 1), module.constant(op, 2)
        if weights is None or bias is None:
            return None
        input_zp, weight_zp = (0 if z is None else int(z.reshape(-1)[0]) for z in (module.constant(op, i) for i in (3, 4)))
        values = weights.astype(np.int64) - weight_zp
        # [KH, KW, C, M], or [OC, KH, KW, C] to [KH, KW, C, OC]; conv3d has KD before KH.
        values = values if op.kind == "depthwise_conv2d" else np.moveaxis(values, 0, -1)
        values = values.reshape(-1, *values.shape[-2:])
        return _Accumulate(Geometry.of(module, op), values, bias.astype(np.int64), input_zp)

    def equals(self, other: _Accumulate) -> bool:
        # One bias may stand for all channels, so they are compared as they broadcast.
        return bool((self.bias == other.bias).all()) and np.array_equal(self.weights, other.weights)

    def __call__(self, layer_input: np.ndarray) -> np.ndarray:
        """Accumulators int64 [B, OH, OW, OC] of one sample's input [B, H, W, C]; B is the graph's, 16 tokens for instance."""
        return np.stack([self._one(each) for each in layer_input])

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


class _Measure:
    """Adds up one rescale's errors over samples."""

    def __init__(self, rescale: Rescale, was: Rescale, factor: float, op: str, scope: str, isolate: bool) -> None:
        self.rescale, self.was, self.factor, self.isolate = rescale, was, factor, isolate
        self._op, self._scope = op, scope
        self.absorbed = False
        self.layer: Op | None = None
        self.ours: _Accumulate | None = None
        self.theirs: _Accumulate | None = None
        self.scale: float | None = None
        self._values = self._saturated = 0
        self._predicted, self._measured = _Sum(), _Sum()
        self._isolated, self._end_to_end = _Histogram(), _Histogram()
        self._limits = type_limits(rescale.output_bits, rescale.output_unsigned)
        self._narrow, self._wide = _real(rescale), _real(was)
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
        result = apply_rescale(rescale, now)
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


def apply_rescale(rescale: Rescale, values: np.ndarray) -> np.ndarray:
    """What a rescale gives for zero-point-free accumulators, as the specification says it.

    Args:
        rescale: with constant multipliers and shifts.
        values: int64 [..., C], less the input zero point.

    Returns:
        int64 [..., C]: shifted, rounded, with the output zero point, saturated.
    """
    assert rescale.multiplier is not None and rescale.shift is not None
    shift = rescale.shift
    rounding = np.int64(1) << (shift - 1)
    if rescale.rounding_mode == "DOUBLE_ROUND":
        rounding = rounding + np.where(shift > 31, np.where(values >= 0, 1 << 30, -(1 << 30)), 0)
    scaled = ((values * rescale.multiplier + rounding) >> shift) + (rescale.output_zp or 0)
    return np.clip(scaled, *type_limits(rescale.output_bits, rescale.output_unsigned))


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
