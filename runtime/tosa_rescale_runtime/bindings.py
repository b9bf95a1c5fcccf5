# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Keeping IREE's dispatches below the 32 buffers that its runtime binds.

IREE 3.13 fuses operations until they read some 50 tensors, and loading what it made fails: `binding count 42 > 32`. Tensors
that live in one buffer are bound once: all that a run computes on the way, its results, all constants, and the words of
all rescales. What comes in a buffer of its own is counted here: arguments of the function and the parameters of layers.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .graph import definition, is_accumulator_op
from .mlir import Block, Operation, Value, ir

MAX_BUFFERS = 20
"""Buffers of their own that code fused into one dispatch may read. The other 12 are for what is not counted: constants, words,
what the run computes, results, and the weights and the bias where the code is fused with a MAC op."""

_BARRIER = "util.optimization_barrier"
_NOT_COMPUTED = ("util.global.load", "tosa.const", "tosa.const_shape", "arith.constant", "func.return", _BARRIER)


@dataclass(frozen=True)
class _Reach:
    """What lies upstream of an operation; sets of operations are bit masks.

    Attributes:
        ancestors: all operations that its result depends on, and itself.
        behind: those that it depends on through an operation that nothing is fused across: a MAC op or a barrier. In one
            dispatch with one of these, the dispatch would have to wait for itself.
        fused: those that one dispatch might hold with it, and itself.

    """

    ancestors: int
    behind: int
    fused: int


def limit_bindings(block: Block) -> int:
    """Inserts barriers where one dispatch might read more than `MAX_BUFFERS` buffers.

    What one dispatch computes lies among an operation and those ancestors that are not also behind a MAC op or a barrier. So
    it is enough that these never read more.

    Args:
        block: the body of a function.

    Returns:
        The number of barriers inserted; 0 for nearly every network.

    """
    buffers: dict[Value, int] = {argument: 1 << index for index, argument in enumerate(block.arguments)}
    reads: list[int] = []  # for each operation the buffers that it reads itself, as a mask
    reaches: dict[Operation, _Reach] = {}

    def weight(reach: _Reach) -> int:
        """How many buffers a dispatch reads that computes all it might."""
        mask = 0
        for index in _members(reach.fused):
            mask |= reads[index]
        return mask.bit_count()

    inserted = 0
    for view in list(block.operations):
        operation = view.operation
        if operation.name == "util.global.load":
            buffers[operation.results[0]] = 1 << len(buffers)
        if operation.name in _NOT_COMPUTED:
            continue
        own = 1 << len(reads)
        reads.append(functools.reduce(operator.or_, (buffers.get(value, 0) for value in operation.operands), 0))
        while weight(reach := _reach_of(operation, own, reaches)) > MAX_BUFFERS:
            upstream = [(weight(each), position) for position, each in _fusable_operands(operation, reaches)]
            heaviest, position = max(upstream, default=(0, 0))
            if not heaviest:
                break  # It reads that many itself, as a `concat` of arguments does, which is copies and no dispatch.
            _put_barrier(operation, position)
            inserted += 1
        reaches[operation] = reach
    return inserted


def _reach_of(operation: Operation, own: int, reaches: Mapping[Operation, _Reach]) -> _Reach:
    ancestors, behind, fused = 0, 0, 0
    for value in operation.operands:
        producer, barred = _producer(value)
        if producer is None or producer not in reaches:
            continue
        reach = reaches[producer]
        ancestors |= reach.ancestors
        behind |= reach.ancestors if barred else reach.behind
        fused |= 0 if barred else reach.fused
    return _Reach(ancestors | own, behind, (fused & ~behind) | own)


def _fusable_operands(operation: Operation, reaches: Mapping[Operation, _Reach]) -> Iterator[tuple[int, _Reach]]:
    for position, value in enumerate(operation.operands):
        producer, barred = _producer(value)
        if producer is not None and not barred and producer in reaches:
            yield position, reaches[producer]


def _members(mask: int) -> Iterator[int]:
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def _producer(value: Value) -> tuple[Operation | None, bool]:
    """The operation that makes a value, barriers left out; and whether code is fused across neither it nor a barrier."""
    producer, barred = definition(value), False
    while producer is not None and producer.name == _BARRIER:
        producer, barred = definition(producer.operands[0]), True
    return producer, barred or (producer is not None and is_accumulator_op(producer))


def _put_barrier(operation: Operation, position: int) -> None:
    value = operation.operands[position]
    barrier = ir.Operation.create(
        _BARRIER, results=[value.type], operands=[value], ip=ir.InsertionPoint(operation), loc=operation.location
    )
    operation.operands[position] = barrier.result
