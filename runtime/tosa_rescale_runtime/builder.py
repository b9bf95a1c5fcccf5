# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Turning a module into a skeleton: every number that a pass or a training may change becomes a parameter."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .arithmetic import build_clamp, build_rescale, build_shift, channel_sum, pack_bounds, pack_rescale, pack_shift
from .constants import (
    attribute_to_python,
    constant_value,
    element_dtype,
    element_type,
    erase_dead_constants,
    make_constant,
    static_shape,
    type_limits,
)
from .errors import ModuleError
from .graph import Op, accumulator
from .iree_forms import reinterpret, returnable, storage_type
from .mlir import Operation, Type, Value, ir
from .module import Module
from .packed import pack
from .rescale import Rescale, read_rescale

SCOPE = "model"
"""The parameter scope that the skeleton names; IREE's tools ask for it as `--parameters=model=FILE`."""

WORDS = "rescales"
"""Name of the parameter that holds the words of all rescales that have one for the whole tensor."""

BOUNDS = "bounds"
"""Name of the parameter that holds what results of 8 and 16 bits are clamped to; see `pack_bounds`."""

_MOVABLE = {
    "add": (0, 1),
    "sub": (0, 1),
    "mul": (0, 1),
    "maximum": (0, 1),
    "minimum": (0, 1),
    "select": (1, 2),
    "table": (1,),
}
"""Operands of ops, by kind, that a pass may write at another scale where they are constants."""


@dataclass(frozen=True)
class Returned:
    """A value to return in addition to the function's results.

    Attributes:
        value: the value.
        channel_sum: return the int64 sum over all but the last dimension instead.
        unsigned: the value's elements count as unsigned.

    """

    value: Value
    channel_sum: bool
    unsigned: bool


class _Numbered:
    """A rescale with numbers that are constants.

    Attributes:
        op: the rescale.
        rescale: what was read from it.
        words: see `pack_rescale`.
        clamps: those behind it, in order, whose input nothing else reads.
        limits: what is left of the result's range behind them.

    """

    def __init__(self, op: Op, rescale: Rescale, words: np.ndarray) -> None:
        self.op, self.rescale, self.words = op, rescale, words
        self.clamps: list[Operation] = []
        low, high = type_limits(rescale.output_bits, rescale.output_unsigned)
        while self.is_bounded and not rescale.output_unsigned:
            users = [use.owner.operation for use in self.last.result.uses]
            if len(users) != 1 or not _is_movable_clamp(users[0]):
                break
            least, most = clamp_limits(users[0])
            low, high = (min(max(bound, least), most) for bound in (low, high))
            self.clamps.append(users[0])
        self.limits = low, high

    @property
    def is_bounded(self) -> bool:
        """It saturates to 8 or 16 bits."""
        return self.rescale.output_bits < 32

    @property
    def last(self) -> Operation:
        """The last clamp, or the rescale."""
        return self.clamps[-1] if self.clamps else self.op.operation


class SkeletonBuilder:
    """Rewrites one module in place and collects its parameters."""

    def __init__(self, module: Module) -> None:
        """Takes over a module; nothing is changed yet."""
        self.module = module
        self.context = module.ir.context
        self.location = ir.Location.unknown(self.context)
        self.parameters: dict[str, np.ndarray] = {}
        self.words: dict[str, tuple[str, int | None]] = {}
        self._globals = ir.InsertionPoint(module.function)

    def return_also(self, values: Sequence[Returned]) -> None:
        """Appends values to the function's results, packed; see `packed`."""
        if not values:
            return
        terminator = self.module.block.operations[len(self.module.block.operations) - 1].operation
        values = [
            channel_sum(each.value, each.unsigned, terminator) if each.channel_sum else returnable(each.value, terminator)
            for each in values
        ]
        returned = [*terminator.operands, *pack(values, terminator)]
        with self.location:
            ir.Operation.create("func.return", operands=returned, ip=ir.InsertionPoint(terminator))
            terminator.erase()
            self._update_function_type()

    def _update_function_type(self) -> None:
        block = self.module.block
        returned = block.operations[len(block.operations) - 1].operands
        kind = ir.FunctionType.get([a.type for a in block.arguments], [v.type for v in returned], self.context)
        self.module.function.attributes["function_type"] = ir.TypeAttr.get(kind, self.context)

    def parameter(self, name: str, value: np.ndarray, element: Type, before: Operation) -> Value:
        """Records a parameter and builds the load of it in front of an op."""
        self.parameters[name] = np.ascontiguousarray(value)
        with self.location:
            tensor = ir.RankedTensorType.get(value.shape, element)
            initial = ir.Attribute.parse(f'#flow.parameter.named<"{SCOPE}"::"{name}"> : {tensor}')
            ir.Operation.create(
                "util.global",
                attributes={
                    "sym_name": ir.StringAttr.get(name),
                    "sym_visibility": ir.StringAttr.get("private"),
                    "type": ir.TypeAttr.get(tensor),
                    "initial_value": initial,
                },
                ip=self._globals,
            )
            load = ir.Operation.create(
                "util.global.load",
                results=[tensor],
                attributes={"global": ir.FlatSymbolRefAttr.get(name), "is_immutable": ir.UnitAttr.get()},
                ip=ir.InsertionPoint(before),
            )
        return load.result

    def externalize_weights(self, ops: Sequence[Op]) -> None:
        """Turns the constant weights and biases of MAC ops into parameters."""
        for op in ops:
            operation = op.operation
            for operand in (0, 1) if op.kind == "matmul" else (1, 2):
                value = constant_value(operation.operands[operand])
                if value is None:
                    continue
                element = ir.RankedTensorType(operation.operands[operand].type).element_type
                role = f"operand{operand}" if op.kind == "matmul" else ("weight", "bias")[operand - 1]
                if role == "bias":
                    # [1] stands for [C]; a pass that corrects biases needs [C].
                    value = np.broadcast_to(value, static_shape(operation.result.type)[-1:])
                stored = storage_type(element)
                loaded = self.parameter(f"{op.key}.{role}", value, stored, operation)
                operation.operands[operand] = loaded if stored == element else reinterpret(loaded, element, operation)

    def externalize_constants(self, ops: Sequence[Op]) -> None:
        """Turns constants that are added, multiplied with or looked up into parameters.

        Those of one element are packed into one parameter for each element type, as words of rescales are.
        """
        scalars: dict[Type, list[tuple[Operation, int, int]]] = {}
        for op in ops:
            operation = op.operation
            for operand in _MOVABLE.get(op.kind, ()):
                value = constant_value(operation.operands[operand])
                if value is None or element_type(operation.operands[operand].type)[0] < 8:
                    continue
                element = ir.RankedTensorType(operation.operands[operand].type).element_type
                stored = storage_type(element)
                if value.size == 1 and stored == element:
                    scalars.setdefault(element, []).append((operation, operand, int(value.reshape(-1)[0])))
                    continue
                loaded = self.parameter(f"{op.key}.operand{operand}", value, stored, operation)
                operation.operands[operand] = loaded if stored == element else reinterpret(loaded, element, operation)
        first = self.module.block.operations[0].operation
        for element, uses in scalars.items():
            numbers = np.array([value for _, _, value in uses], element_dtype(element))
            packed = self.parameter(f"constants.{element}", numbers, element, first)
            for position, (operation, operand, _) in enumerate(uses):
                rank = len(static_shape(operation.operands[operand].type))
                operation.operands[operand] = self._element(packed, position, operation, rank)

    def externalize_shifts(self, ops: Sequence[Op]) -> set[str]:
        """Replaces the rescales of accumulators by rounding shifts of i32, where all of them are such.

        A parameter for each, int32 [C]. Returns their keys: none, and nothing is changed, where one of them is not: has another
        multiplier than powers of two, rounds twice, shifts by less than 2, or reads another type.
        """
        found = [(op, each, steps) for op in ops if (steps := _steps(op, each := read_rescale(op))) is not None]
        accumulators = [op for op in ops if accumulator(op.operation.operands[0]) is not None]
        if not accumulators or len(found) != len(accumulators):
            return set()
        word = ir.IntegerType.get_signless(32, self.context)
        for op, rescale, steps in found:
            result = build_shift(op.operation, self.parameter(f"{op.key}.steps", steps, word, op.operation), rescale)
            op.operation.result.replace_all_uses_with(result)
            op.operation.erase()
        return {op.key for op, _, _ in found}

    def externalize_rescales(self, ops: Sequence[Op]) -> None:
        """Replaces rescales, and clamps that alone read one, by the same arithmetic on parameters.

        The words of all rescales that have one for the whole tensor are one parameter, `WORDS`, so that a dispatch binds one
        buffer for them, however many of them IREE fuses in it. Words for each channel are a parameter for each rescale.
        Whether a clamp follows does not show: it narrows the bounds that the rescale saturates to.
        """
        found = [_Numbered(op, rescale, words) for op in ops if (words := _words(op, rescale := read_rescale(op))) is not None]
        taken = [clamp for each in found for clamp in each.clamps]
        others = [view.operation for view in self.module.block.operations if _is_movable_clamp(view.operation)]
        others = [each for each in others if each not in taken]
        scalars = [each for each in found if not each.words.ndim]
        words = self._pack(WORDS, [each.words for each in scalars])
        self.words = {each.op.key: (f"{each.op.key}.words", None) for each in found}
        self.words |= {each.op.key: (WORDS, position) for position, each in enumerate(scalars)}
        limits = [each.limits for each in found if each.is_bounded] + [clamp_limits(each) for each in others]
        bounds = self._pack(BOUNDS, pack_bounds(limits))
        for each in found:
            operation = each.op.operation
            own = each.words.ndim > 0
            word = self.parameter(f"{each.op.key}.words", each.words, self._word, operation) if own else next(words)(operation)
            result = build_rescale(operation, word, next(bounds)(operation) if each.is_bounded else None, each.rescale)
            each.last.result.replace_all_uses_with(result)
            for replaced in (*reversed(each.clamps), operation):
                replaced.erase()
        for operation in others:
            operation.result.replace_all_uses_with(build_clamp(operation, next(bounds)(operation)))
            operation.erase()

    @property
    def _word(self) -> Type:
        return ir.IntegerType.get_signless(64, self.context)

    def _pack(self, name: str, words: Sequence[np.ndarray] | np.ndarray) -> Iterator[Callable[[Operation], Value]]:
        """Records words of i64 as one parameter; gives for each, in order, what builds it in front of an op."""
        if not len(words):
            return iter(())
        first = self.module.block.operations[0].operation
        packed = self.parameter(name, np.asarray(words, np.int64), self._word, first)
        return (functools.partial(self._element, packed, position) for position in range(len(words)))

    def _element(self, values: Value, position: int, before: Operation, rank: int = 0) -> Value:
        """Builds one element of a tensor of rank 1, as a tensor of another rank."""
        with self.location:
            point = ir.InsertionPoint(before)
            index = ir.IndexType.get()
            constant = ir.Operation.create(
                "arith.constant", results=[index], attributes={"value": ir.IntegerAttr.get(index, position)}, ip=point
            )
            # Behind the barrier the position is an operand of the dispatch. A constant would become part of its code: layers
            # that are alike would not share their code any more, and a transformer would take twice as long to compile.
            hidden = ir.Operation.create(
                "util.optimization_barrier", results=[index], operands=[constant.result], ip=point
            ).result
            tensor = ir.RankedTensorType.get((), ir.RankedTensorType(values.type).element_type)
            scalar = ir.Operation.create(
                "tensor.extract_slice",
                results=[tensor],
                operands=[values, hidden],
                attributes={
                    "static_offsets": ir.DenseI64ArrayAttr.get([ir.ShapedType.get_dynamic_stride_or_offset()]),
                    "static_sizes": ir.DenseI64ArrayAttr.get([1]),
                    "static_strides": ir.DenseI64ArrayAttr.get([1]),
                    "operandSegmentSizes": ir.DenseI32ArrayAttr.get([1, 1, 0, 0]),
                },
                ip=point,
            ).result
            if not rank:
                return scalar
            return ir.Operation.create(
                "tensor.expand_shape",
                results=[ir.RankedTensorType.get((1,) * rank, tensor.element_type)],
                operands=[scalar],
                attributes={"reassociation": ir.ArrayAttr.get([]), "static_output_shape": ir.DenseI64ArrayAttr.get([1] * rank)},
                ip=point,
            ).result

    def canonicalize(self) -> None:
        """Removes what may differ between variants of one graph without changing what it computes."""
        block = self.module.block
        # How constants are shared and where they stand depends on the passes that were run: give each use its own.
        for view in list(block.operations):
            for position, value in enumerate(view.operation.operands):
                if isinstance(value.owner, ir.Block):
                    continue
                definition = value.owner.operation
                if definition.name in ("tosa.const", "tosa.const_shape"):
                    clone = definition.clone(ip=ir.InsertionPoint(view.operation))
                    view.operation.operands[position] = clone.results[0]
        erase_dead_constants(block)
        _strip_attributes(self.module.ir.operation)
        self.module.strip_locations()

    def strip_signedness(self) -> None:
        """Makes every tensor signless.

        `ui8` occurs at the edges of the graph only, where rescales say by a flag what it means; the arithmetic that
        replaces them is signless.
        """

        def signless(tensor: Type) -> Type:
            if not isinstance(tensor, ir.RankedTensorType):
                return tensor
            element = tensor.element_type
            if not isinstance(element, ir.IntegerType) or element.is_signless:
                return tensor
            with self.location:
                return ir.RankedTensorType.get(tensor.shape, ir.IntegerType.get_signless(element.width))

        block = self.module.block
        for view in list(block.operations):
            operation = view.operation
            if operation.name == "tosa.const" and signless(operation.result.type) != operation.result.type:
                value = constant_value(operation.result)
                assert value is not None
                bits = value.view(np.dtype(f"int{value.dtype.itemsize * 8}"))
                operation.result.replace_all_uses_with(make_constant(operation, bits, signless(operation.result.type)))
        for value in [*block.arguments, *(result for view in block.operations for result in view.operation.results)]:
            value.set_type(signless(value.type))
        self._update_function_type()


def _words(op: Op, rescale: Rescale) -> np.ndarray | None:
    """The words of a rescale, int64 [C] or []; None where its numbers are no constants: IREE lowers the op as it stands.

    Raises:
        ModuleError: it rounds in a way that IREE does not execute, or see `pack_rescale`.

    """
    if rescale.rounding_mode not in ("SINGLE_ROUND", "DOUBLE_ROUND"):
        raise ModuleError(f"`{op.key}` requires SINGLE_ROUND or DOUBLE_ROUND, got {rescale.rounding_mode}")
    multiplier, shift = rescale.multiplier, rescale.shift
    if multiplier is None or shift is None or rescale.input_zp is None or rescale.output_zp is None:
        return None
    double_round = rescale.rounding_mode == "DOUBLE_ROUND"
    if double_round and rescale.input_bits > 32:
        raise ModuleError(f"`{op.key}` requires SINGLE_ROUND for its {rescale.input_bits}-bit input, got DOUBLE_ROUND")
    # Passes may give an accumulator's rescale one multiplier for each channel: the skeleton must not show whether they did.
    by_channel = rescale.per_channel or accumulator(op.operation.operands[0]) is not None
    channels = static_shape(op.operation.result.type)[-1:] if by_channel else ()
    multiplier, shift = (np.broadcast_to(v if channels else v.reshape(-1)[0], channels) for v in (multiplier, shift))
    return pack_rescale(multiplier, shift, double_round, op.key)


def clamp_limits(clamp: Operation) -> tuple[int, int]:
    """The bounds of a `tosa.clamp` of integers."""
    low, high = (attribute_to_python(clamp.attributes[name]) for name in ("min_val", "max_val"))
    return int(low), int(high)


def _is_movable_clamp(operation: Operation) -> bool:
    """Whether it clamps signed integers of 8 or 16 bits."""
    if operation.name != "tosa.clamp":
        return False
    element = ir.RankedTensorType(operation.result.type).element_type
    return isinstance(element, ir.IntegerType) and element.width < 32 and "ui" not in str(operation.attributes["min_val"])


def _steps(op: Op, rescale: Rescale) -> np.ndarray | None:
    """The steps of the rescale of an accumulator, int32 [C]; None where it is no such shift, see `pack_shift`."""
    if accumulator(op.operation.operands[0]) is None or rescale.input_bits != 32:
        return None
    constants = (rescale.multiplier, rescale.shift, rescale.input_zp, rescale.output_zp)
    if rescale.rounding_mode != "SINGLE_ROUND" or rescale.input_zp or any(each is None for each in constants):
        return None
    assert rescale.multiplier is not None and rescale.shift is not None
    channels = static_shape(op.operation.result.type)[-1:]
    return pack_shift(*(np.broadcast_to(each, channels) for each in (rescale.multiplier, rescale.shift)))


def _strip_attributes(root: Operation) -> None:
    """Removes the attributes that an op's own dialect does not know, and those of arguments and results."""

    def visit(operation: Operation) -> Any:
        for name in list(operation.attributes.keys()):
            if "." in name or name in ("arg_attrs", "res_attrs"):
                del operation.attributes[name]
        return ir.WalkResult.ADVANCE

    root.walk(visit)
