# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""From a program to what the writer of LiteRT files takes: plain arrays, no MLIR."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tosa_rescale.core.attributes import SCALE_FACTOR, TABULATED
from tosa_rescale.core.display import count
from tosa_rescale.core.errors import ModelError
from tosa_rescale.core.files import PathLike
from tosa_rescale.core.rescales import compact, raised
from tosa_rescale.formats.litert.constants import moved_constants
from tosa_rescale.formats.litert.match import MacOp, groups_of, match_layers
from tosa_rescale.formats.litert.part import Part
from tosa_rescale.formats.litert.patch import LayerPatch
from tosa_rescale.formats.litert.read import convert_like, original_of, part_like
from tosa_rescale.formats.litert.scales import fixed_scale_tensors, spread_factors, tensor_scales
from tosa_rescale.formats.litert.schema import litert_layers, unpack
from tosa_rescale.formats.litert.write import write_litert

if TYPE_CHECKING:
    from tosa_rescale_runtime import MacLayer, Module, Rescale

    from tosa_rescale.core.program import Program

SAME_SCALE = 2.0**-20  # in log2: what float32 scales leave of a ratio
_PLACES = 1 << 18  # of an octave, each wider than SAME_SCALE


def to_litert(program: Program, original: PathLike | None = None, allow_partial: bool = False) -> bytes:
    """Writes a rewritten program's weights, biases and multipliers into the flatbuffer that it was read from.

    What the program does not stand for (float32 borders, operators that TOSA cannot express) stays as it is in the file.

    Args:
        program: the program.
        original: the .tflite that it came from; None: the one that it was loaded from.
        allow_partial: leave element-wise multipliers, which scales cannot express, as they were.

    Returns:
        The flatbuffer, for any unmodified runtime; the original's own bytes where nothing was rewritten.

    Raises:
        ModelError: there is no original, it does not belong to the program, or has multipliers that scales cannot express.
    """
    from tosa_rescale_runtime import Module

    program = raised(program)
    flatbuffer, conversion = original_of(program, original)
    new = Module.parse(program.bytecode, program.source)
    _require_operators(new, conversion.model, program.source)
    old = Module.parse(conversion.bytecode, program.source)
    layers, old_layers = new.mac_layers(), old.mac_layers()
    if [layer.op.kind for layer in layers] != [layer.op.kind for layer in old_layers]:
        raise ModelError(f"{program.source}: the flatbuffer does not belong to the model; give the one it was imported from")
    if not new.rescales() and not old.rescales():
        return flatbuffer  # a float model, or one that only moves data: no step changes anything of it
    listed = litert_layers(conversion.alone, program.source)
    operators = groups_of([(each.op.kind, each.op.name) for each in old_layers], listed)
    rows = match_layers(listed, [_mac_op(old, [old_layers[i] for i in each]) for each in operators], program.source)

    scales = moved_scales(new, conversion.alone, program.source)
    constants = moved_constants(new, conversion, scales, program.source)
    numbers = [_joined([_numbers(new, layers[i]) for i in each]) for each in operators]
    before = [_joined([_numbers(old, old_layers[i]) for i in each]) for each in operators]
    changed = [n != o for n, o in zip(numbers, before, strict=True)]
    beyond = unexpressed(new, old)
    if not any(changed) and not beyond and not scales and not constants:
        return flatbuffer
    # A uint8 file is written anew as an int8 one; new activation scales change what every layer's multiplier is derived from.
    whole = bool(scales) or any(row.input.dtype == "uint8" for row in rows)
    patches = [
        n.patch(conversion.part.operators[row.operator], program.source)
        for row, n, c in zip(rows, numbers, changed, strict=True)
        if n is not None and (c or whole)
    ]

    def write(left: list[str]) -> bytes:
        return write_litert(
            flatbuffer,
            patches,
            part=conversion.part,
            constants=constants,
            activation_scales=scales,
            unexpressed=left,
            allow_partial=allow_partial,
            source=program.source,
        )

    if not scales and not constants:
        return write(beyond)
    written = write([])
    read = convert_like(written, program)
    _require_same_outputs(conversion.part, read.part, program.source)
    back = Module.parse(read.bytecode, program.source)
    _require_same_tables(new, back, program.source)
    left = _not_read_back(new, back)
    return write(left) if left else written


def litert_part(program: Program) -> bytes:
    """A LiteRT flatbuffer that takes and gives the program's own integers: the file's part that the program stands for.

    Raises:
        ModelError: see `to_litert`.
    """
    return part_like(to_litert(program), program)


@dataclasses.dataclass(frozen=True, eq=False)
class _Numbers:
    """The numbers of one layer: zero-point-free weights, bias, compact multipliers and shifts."""

    name: str
    weights: np.ndarray
    bias: np.ndarray
    multiplier: np.ndarray
    shift: np.ndarray

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Numbers):
            return NotImplemented
        return all(np.array_equal(getattr(self, f.name), getattr(other, f.name)) for f in dataclasses.fields(self))

    def patch(self, operator: int, source: str) -> LayerPatch:
        weights = self.weights.astype(np.int8)
        if not np.array_equal(weights, self.weights):
            low, high = int(self.weights.min()), int(self.weights.max())
            raise ModelError(
                f"{source}: the weights of {self.name} less their zero point go from {low} to {high}, LiteRT's int8 holds"
                " -127 to 127; compensate the model, which gives each channel a multiplier of its own"
            )
        return LayerPatch(operator, weights, self.bias, self.multiplier, self.shift)


def _numbers(module: Module, layer: MacLayer) -> _Numbers | None:
    """None where the layer has no constant weights, or no rescale of its own."""
    weights, bias = module.constant(layer.op, 1), module.constant(layer.op, 2) if layer.op.kind != "matmul" else None
    if weights is None or bias is None or layer.rescale is None:
        return None
    multiplier, shift = module.constant(layer.rescale, 1), module.constant(layer.rescale, 2)
    if multiplier is None or shift is None:
        return None
    channels = module.result_shape(layer.op)[-1]
    bias = np.broadcast_to(bias.reshape(-1), (channels or 1,))  # TOSA lets one element stand for all channels
    return _Numbers(layer.op.name, _zero_point_free(module, layer, weights), bias, *compact(multiplier, shift))


def _joined(parts: Sequence[_Numbers | None]) -> _Numbers | None:
    """The numbers of an operator whose groups have these: one channel after the other."""
    known = [each for each in parts if each is not None]
    if len(known) < len(parts):
        return None
    if len(known) == 1:
        return known[0]
    multipliers = [np.broadcast_to(each.multiplier, each.bias.shape) for each in known]
    shifts = [np.broadcast_to(each.shift, each.bias.shape) for each in known]
    weights, biases = np.concatenate([each.weights for each in known]), np.concatenate([each.bias for each in known])
    return _Numbers(known[0].name, weights, biases, np.concatenate(multipliers), np.concatenate(shifts))


def _zero_point_free(module: Module, layer: MacLayer, weights: np.ndarray) -> np.ndarray:
    zero_point = module.constant(layer.op, 3 if layer.op.kind == "matmul" else 4)
    offset = 0 if zero_point is None else int(zero_point.reshape(-1)[0])
    return weights.astype(np.int16) - np.int16(offset)


def _mac_op(module: Module, groups: Sequence[MacLayer]) -> MacOp:
    parts = [(each, module.constant(each.op, 1)) for each in groups]
    weights = [_zero_point_free(module, each, value) for each, value in parts if value is not None]
    first = groups[0].op
    return MacOp(first.name, first.kind, np.concatenate(weights) if len(weights) == len(groups) else None)


def _scale_factors(module: Module) -> dict[str, float]:
    """What the scale of each source tensor was multiplied by; empty where all are 1.

    A source operator may have become several ops of one name; the last one of 8 or 16 bits makes the tensor.
    """
    factors: dict[str, float] = {}
    for op in module.ops():
        name = module.tensor_name(op)
        if name is not None and module.result_bits(op) in (8, 16):
            factors[name] = module.attribute(op, SCALE_FACTOR) or 1.0
    return factors if any(factor != 1 for factor in factors.values()) else {}


def moved_scales(module: Module, flatbuffer: bytes, source: str) -> dict[str, float]:
    """The scales that alignment gave to tensors of a flatbuffer, by name; empty where all are as they were.

    Args:
        module: the module, which notes what scales were multiplied by.
        flatbuffer: the part of the file that the module was read from.
        source: its name, for errors.

    Raises:
        ModelError: a tensor of the module is not in the flatbuffer.
    """
    factors = _scale_factors(module)
    return new_scales(flatbuffer, factors, source) if factors else {}


def new_scales(flatbuffer: bytes, factors: dict[str, float], source: str) -> dict[str, float]:
    """The new scales by tensor name. Those that differ by a power of two but for float32's rounding do so exactly."""
    model = unpack(flatbuffer, source)
    old = tensor_scales(model)
    factors = {name: f for name, f in spread_factors(model, factors).items() if f != 1}
    unknown = sorted(name for name in factors if name not in old)
    if unknown:
        raise ModelError(
            f"{source}: the flatbuffer lacks {count(len(unknown), 'tensor')} with a new scale: {unknown[0]!r}; compensate with"
            " `align=False`"
        )
    known = _Octaves()
    for name, scale in old.items():
        if name not in factors:
            known.add(scale)
    scales: dict[str, float] = {}
    for name, factor in factors.items():
        reference = known.find(old[name] * factor)
        if reference is None:
            scales[name] = float(np.float32(old[name] * factor))
            known.add(scales[name])
        else:
            scales[name] = float(np.ldexp(reference, round(np.log2(old[name] * factor / reference))))
    return scales


class _Octaves:
    """Scales, found by another one that differs from one of them by a power of two."""

    def __init__(self) -> None:
        self._kept: dict[int, list[tuple[int, float]]] = {}  # scales with their order, by the place within an octave
        self._count = 0

    def add(self, scale: float) -> None:
        """Adds a scale, unless it is 0, of which no other one is a multiple."""
        if scale > 0:
            self._kept.setdefault(self._place(scale), []).append((self._count, scale))
            self._count += 1

    def find(self, scale: float) -> float | None:
        """The first one that was added of those that differ by a power of two; None where there is none."""
        if scale <= 0:
            return None
        place = self._place(scale)
        near = [each for step in (-1, 0, 1) for each in self._kept.get((place + step) % _PLACES, ())]
        for _, reference in sorted(near):
            octaves = np.log2(scale / reference)
            if abs(octaves - round(octaves)) < SAME_SCALE:
                return reference
        return None

    @staticmethod
    def _place(scale: float) -> int:
        return int(np.log2(scale) % 1.0 * _PLACES) % _PLACES


def _require_operators(new: Module, model: Any, source: str) -> None:
    """Raises ModelError where the module has tables that no operator of LiteRT stands for."""
    fixed = fixed_scale_tensors(model)
    factors = _scale_factors(new)
    named = [op.name for op in new.ops() if op.kind == "table" and new.attribute(op, TABULATED) is not None] + [
        name for name in fixed if factors.get(name, 1.0) != 1
    ]
    if named:
        raise ModelError(
            f"{source}: no operator of LiteRT is what `tabulate` made: {count(len(named), 'table')} ({named[0]}"
            f"{', ...' if len(named) > 1 else ''}); write .tosa or .mlirbc, or compensate without `tabulate`"
        )


def _require_same_outputs(part: Part, read: Part, source: str) -> None:
    """Raises ModelError where a written operator is not read: the scales around it are not one any more."""
    kept = {each.name for each in read.outputs}
    if lost := [each.name for each in part.outputs if each.name not in kept]:
        raise ModelError(
            f"{source}: output {lost[0]!r} comes from an operator whose operands and result have one scale in LiteRT, and"
            " several here; align with `compensate`, which keeps them the same, or write .tosa or .mlirbc"
        )


def _require_same_tables(new: Module, back: Module, source: str) -> None:
    """Raises ModelError where a table is not what the reader of the file makes of the scales."""
    ours, theirs = ([op for op in each.ops() if op.kind == "table"] for each in (new, back))
    for mine, other in zip(ours, theirs, strict=True):
        entries, made = new.constant(mine, 1), back.constant(other, 1)
        if entries is None or made is None or not np.array_equal(entries, made):
            raise ModelError(
                f"{source}: the table of {mine.name!r} is not the one that LiteRT computes from its scales; align with "
                "`compensate`, which computes it, or with `table_error=0`"
            )


def _not_read_back(new: Module, back: Module) -> list[str]:
    """Names of the source operators outside MAC layers whose multipliers a reader of the file derives otherwise.

    Mantissas are compared: a chain of rescales shares out powers of two as it likes.
    """
    wanted: dict[str, list[float]] = {}
    for name, octaves in _elementwise_octaves(new):
        wanted.setdefault(name, [0.0]).extend(octaves)  # a power of two is always narrow
    names = {}
    for name, octaves in _elementwise_octaves(back):
        gaps = np.subtract.outer(octaves, wanted.get(name, [0.0]))
        if np.any(np.abs(gaps - np.round(gaps)).min(axis=1, initial=1.0) > SAME_SCALE):
            names[name] = None
    return list(names)


def _elementwise_octaves(module: Module) -> list[tuple[str, np.ndarray]]:
    """log2 of the multipliers of each rescale outside MAC layers."""
    mac = {layer.rescale.key for layer in module.mac_layers() if layer.rescale}
    multipliers = [(each.name, each.multiplier) for each in module.rescales() if each.key not in mac]
    return [(name, np.log2(each[each > 0])) for name, each in multipliers if each is not None]


def unexpressed(new: Module, old: Module) -> list[str]:
    """Names of the rescales whose multipliers are not what they were, and follow from no weights.

    Args:
        new: a module whose scales of activations are as they came: no file holds these multipliers.
        old: the module that it was made from.
    """
    expressible = {layer.rescale.key for layer in new.mac_layers() if layer.rescale and new.constant(layer.op, 1) is not None}
    before = {rescale.key: rescale for rescale in old.rescales()}
    names = []
    for rescale in new.rescales():
        was = before.get(rescale.key)
        if rescale.key in expressible or was is None:
            continue
        if _value(rescale) != _value(was):
            names.append(rescale.name)
    return names


def _value(rescale: Rescale) -> list[list[int]] | None:
    if rescale.multiplier is None or rescale.shift is None:
        return None
    return [each.tolist() for each in compact(rescale.multiplier, rescale.shift)]
