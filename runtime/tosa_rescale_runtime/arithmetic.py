# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Building `linalg` arithmetic on integers into a module: what IREE compiles in place of TOSA's rescales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .constants import element_type, static_shape, type_limits
from .errors import ModuleError
from .iree_forms import reinterpret
from .mlir import Attribute, Block, Operation, Type, Value, ir
from .rescale import Rescale

_MAX_SHIFT = 62


class _Body:
    """Builds scalar arithmetic in the body of a `linalg.generic`."""

    def __init__(self, block: Block, location: Any) -> None:
        self._ip = ir.InsertionPoint(block)
        self._location = location
        self._constants: dict[tuple[int, int], Value] = {}

    def integer(self, width: int) -> Type:
        return ir.IntegerType.get_signless(width, self._location.context)

    def op(self, name: str, *operands: Value, result: Type | None = None, **attributes: Attribute) -> Value:
        created = ir.Operation.create(
            f"arith.{name}",
            results=[result or operands[-1].type],
            operands=list(operands),
            attributes=attributes,
            ip=self._ip,
            loc=self._location,
        )
        return created.result

    def constant(self, value: int, width: int) -> Value:
        if (value, width) not in self._constants:
            attribute = ir.IntegerAttr.get(self.integer(width), value)
            self._constants[value, width] = self.op("constant", result=self.integer(width), value=attribute)
        return self._constants[value, width]

    def resize(self, value: Value, width: int, unsigned: bool = False) -> Value:
        have = ir.IntegerType(value.type).width
        if have == width:
            return value
        name = "trunci" if have > width else "extui" if unsigned else "extsi"
        return self.op(name, value, result=self.integer(width))

    def finish(self, value: Value) -> None:
        ir.Operation.create("linalg.yield", operands=[value], ip=self._ip, loc=self._location)


def _generic(
    before: Operation,
    inputs: list[Value],
    init: Value,
    maps: list[Attribute],
    iterators: Sequence[str],
) -> tuple[Operation, _Body, list[Value]]:
    """Builds a `linalg.generic` with an empty body; returns it, its body and the body's arguments."""
    location = ir.Location.unknown(before.context)
    with location:
        kinds = [ir.Attribute.parse(f"#linalg.iterator_type<{iterator}>") for iterator in iterators]
        generic = ir.Operation.create(
            "linalg.generic",
            results=[init.type],
            operands=[*inputs, init],
            attributes={
                "indexing_maps": ir.ArrayAttr.get([ir.AffineMapAttr.get(m) for m in maps]),
                "iterator_types": ir.ArrayAttr.get(kinds),
                "operandSegmentSizes": ir.DenseI32ArrayAttr.get([len(inputs), 1]),
            },
            regions=1,
            ip=ir.InsertionPoint(before),
        )
        elements = [ir.RankedTensorType(value.type).element_type for value in (*inputs, init)]
        block = generic.regions[0].blocks.append(*elements, arg_locs=[location] * len(elements))
    return generic, _Body(block, location), list(block.arguments)


def _empty(before: Operation, shape: Sequence[int], element: Type) -> Value:
    with ir.Location.unknown(before.context):
        tensor = ir.RankedTensorType.get(shape, element)
        return ir.Operation.create("tensor.empty", results=[tensor], ip=ir.InsertionPoint(before)).result


def pack_rescale(multiplier: np.ndarray, shift: np.ndarray, double_round: bool, name: str = "rescale") -> np.ndarray:
    """Puts the numbers of one rescale into the words that `build_rescale` computes with.

    A word is `multiplier | shift << 32 | twice << 40`; `twice` is 1 where DOUBLE_ROUND has an effect, at shifts above 31. So
    widths, encodings and rounding modes are numbers, and a rescale brings one tensor: IREE's dispatches take 32.

    Args:
        multiplier: integers [C] or [], 0..2^31-1.
        shift: integers of the same shape, 1..62.
        double_round: the rescale rounds as DOUBLE_ROUND.
        name: what to call the rescale in messages.

    Returns:
        int64 of the same shape.

    Raises:
        ModuleError: a multiplier or a shift is out of range.

    """
    for what, values, low, high in (("shifts", shift, 1, _MAX_SHIFT), ("multipliers", multiplier, 0, (1 << 31) - 1)):
        if values.size and (values.min() < low or values.max() > high):
            raise ModuleError(f"`{name}` requires {what} in {low}..{high}, got [{values.min()}, {values.max()}]")
    twice = (shift > 31) & double_round
    return multiplier.astype(np.int64) | (shift.astype(np.int64) << 32) | (twice.astype(np.int64) << 40)


def pack_bounds(bounds: Sequence[tuple[int, int]]) -> np.ndarray:
    """Puts least and largest values of i32, [N] pairs, into the words that `build_rescale` and `build_clamp` read.

    Returns:
        int64 [N]; a word is `low & 0xffffffff | high << 32`.

    """
    low, high = np.asarray(bounds, np.int64).reshape(-1, 2).T
    return (low & 0xFFFFFFFF) | (high << 32)


def _clamp(body: _Body, value: Value, bound: Value) -> Value:
    """Clamps a value of i32 to the bounds of a word; see `pack_bounds`."""
    value = body.op("maxsi", value, body.resize(bound, 32))
    return body.op("minsi", value, body.resize(body.op("shrsi", bound, body.constant(32, 64)), 32))


def build_clamp(operation: Operation, bound: Value) -> Value:
    """Builds a clamp of at most 32 bits in front of a `tosa.clamp`.

    Args:
        operation: the `tosa.clamp`.
        bound: i64 tensor []; see `pack_bounds`.

    """
    shape = static_shape(operation.result.type)
    element = ir.RankedTensorType(operation.result.type).element_type
    with ir.Location.unknown(operation.context):
        identity = ir.AffineMap.get_identity(len(shape))
        scalar = ir.AffineMap.get(len(shape), 0, [])
    generic, body, (value, word, _) = _generic(
        operation,
        [operation.operands[0], bound],
        _empty(operation, shape, element),
        [identity, scalar, identity],
        ["parallel"] * len(shape),
    )
    with ir.Location.unknown(operation.context):
        body.finish(body.resize(_clamp(body, body.resize(value, 32), word), ir.IntegerType(element).width))
    return generic.result


def build_rescale(operation: Operation, words: Value, bound: Value | None, rescale: Rescale) -> Value:
    """Builds the arithmetic of a rescale in front of it.

    Widths follow IREE's own lowering (zero points in 32 bits, product in 64), so that the bits agree also where the
    specification leaves the result open.

    Args:
        operation: the `tosa.rescale`.
        words: i64 tensor, [C] for one word for each channel or [] for one in all; see `pack_rescale`.
        bound: i64 tensor [] of what a result of 8 or 16 bits is clamped to, see `pack_bounds`; None for one of 32 bits.
        rescale: what was read from the operation; its zero points are constants.

    Returns:
        The result, of the rescale's own type.

    """
    source = operation.operands[0]
    if element_type(source.type)[0] > 32:
        source = reinterpret(source, ir.IntegerType.get_signless(64, operation.context), operation)
    shape = static_shape(operation.result.type)
    rank = len(shape)
    element = ir.RankedTensorType(operation.result.type).element_type
    with ir.Location.unknown(operation.context):
        identity = ir.AffineMap.get_identity(rank)
        per_channel = len(static_shape(words.type)) == 1
        channel = ir.AffineMap.get(rank, 0, [ir.AffineExpr.get_dim(rank - 1)] if per_channel else [])
        scalar = ir.AffineMap.get(rank, 0, [])
    bounds = [] if bound is None else [bound]
    generic, body, (value, word, *limits, _) = _generic(
        operation,
        [source, words, *bounds],
        _empty(operation, shape, element),
        [identity, channel, *([scalar] * len(bounds)), identity],
        ["parallel"] * rank,
    )
    with ir.Location.unknown(operation.context):
        width = max(32, ir.IntegerType(value.type).width)
        value = body.resize(value, width, rescale.input_unsigned)
        if rescale.input_zp:
            value = body.op("subi", value, body.constant(rescale.input_zp, width))
        value = body.resize(value, 64)
        multiplier = body.op("andi", word, body.constant((1 << 31) - 1, 64))
        shift = body.op("andi", body.op("shrui", word, body.constant(32, 64)), body.constant(63, 64))
        rounding = body.op("shli", body.constant(1, 64), body.op("subi", shift, body.constant(1, 64)))
        product = body.op("muli", value, multiplier)
        if width == 32:  # Wider values come with SINGLE_ROUND only.
            # Rounding twice adds 1 << 30 where the value is not negative and takes it off where it is: bit 31 says which.
            half = body.op("shli", body.op("shrui", word, body.constant(40, 64)), body.constant(30, 64))
            rounding = body.op("addi", rounding, half)
            negative = body.op("andi", value, body.op("shli", half, body.constant(1, 64)))
            product = body.op("subi", product, negative)
        product = body.op("addi", product, rounding)
        _finish(body, body.resize(body.op("shrsi", product, shift), 32), rescale, element, limits)
    return generic.result


def pack_shift(multiplier: np.ndarray, shift: np.ndarray) -> np.ndarray | None:
    """Puts the numbers of a rescale by powers of two into the steps that `build_shift` computes with.

    Args:
        multiplier: integers [C], 0..2^31-1.
        shift: integers [C].

    Returns:
        int32 [C], 1..31: one less than what the value is shifted by, with the multiplier taken in; 32 and more leave nothing of
        an i32, and count as 32. None where a multiplier is no power of two, or it would shift by less than 2.

    """
    if not ((multiplier > 0) & (multiplier & (multiplier - 1) == 0)).all():
        return None
    steps = shift - np.log2(multiplier).astype(np.int64)  # exact: powers of two
    return None if (steps < 2).any() else (np.minimum(steps, 32) - 1).astype(np.int32)


def build_shift(operation: Operation, steps: Value, rescale: Rescale) -> Value:
    """Builds a rescale by powers of two in front of it: the rounding shift of an i32, without any wider integer.

    `((v >> (s - 1)) + 1) >> 1` rounds half up, and nothing in it overflows at s >= 2, whatever the value.

    Args:
        operation: the `tosa.rescale` of an i32 without zero point.
        steps: i32 tensor [C]; see `pack_shift`.
        rescale: what was read from the operation.

    Returns:
        The result, of the rescale's own type.

    """
    shape = static_shape(operation.result.type)
    rank = len(shape)
    element = ir.RankedTensorType(operation.result.type).element_type
    with ir.Location.unknown(operation.context):
        identity = ir.AffineMap.get_identity(rank)
        channel = ir.AffineMap.get(rank, 0, [ir.AffineExpr.get_dim(rank - 1)])
    generic, body, (value, step, _) = _generic(
        operation,
        [operation.operands[0], steps],
        _empty(operation, shape, element),
        [identity, channel, identity],
        ["parallel"] * rank,
    )
    with ir.Location.unknown(operation.context):
        one = body.constant(1, 32)
        _finish(body, body.op("shrsi", body.op("addi", body.op("shrsi", value, step), one), one), rescale, element)
    return generic.result


def _finish(body: _Body, result: Value, rescale: Rescale, element: Type, limits: Sequence[Value] = ()) -> None:
    """Adds the zero point of the result to an i32, and saturates it: to `limits` where they are values, else to its type."""
    if rescale.output_zp:
        result = body.op("addi", result, body.constant(rescale.output_zp, 32))
    bits = ir.IntegerType(element).width
    for limit in limits:
        result = _clamp(body, result, limit)
    if bits < 32 and not limits:
        low, high = type_limits(bits, rescale.output_unsigned)
        result = body.op("maxsi", result, body.constant(low, 32))
        result = body.op("minsi", result, body.constant(high, 32))
    body.finish(body.resize(result, bits))


def channel_sum(value: Value, unsigned: bool, before: Operation) -> Value:
    """Builds the int64 sum over all but the last dimension."""
    shape = static_shape(value.type)
    rank = len(shape)
    location = ir.Location.unknown(before.context)
    with location:
        i64 = ir.IntegerType.get_signless(64)
        zero = ir.Operation.create(
            "arith.constant",
            results=[i64],
            attributes={"value": ir.IntegerAttr.get(i64, 0)},
            ip=ir.InsertionPoint(before),
        ).result
        empty = _empty(before, shape[-1:], i64)
        fill = ir.Operation.create(
            "linalg.fill",
            results=[empty.type],
            operands=[zero, empty],
            attributes={"operandSegmentSizes": ir.DenseI32ArrayAttr.get([1, 1])},
            regions=1,
            ip=ir.InsertionPoint(before),
        )
        block = fill.regions[0].blocks.append(i64, i64, arg_locs=[location, location])
        ir.Operation.create("linalg.yield", operands=[block.arguments[0]], ip=ir.InsertionPoint(block))
        identity = ir.AffineMap.get_identity(rank)
        channel = ir.AffineMap.get(rank, 0, [ir.AffineExpr.get_dim(rank - 1)])
    generic, body, arguments = _generic(
        before, [value], fill.result, [identity, channel], ["reduction"] * (rank - 1) + ["parallel"]
    )
    with location:
        body.finish(body.op("addi", body.resize(arguments[0], 64, unsigned), arguments[1]))
    return generic.result
