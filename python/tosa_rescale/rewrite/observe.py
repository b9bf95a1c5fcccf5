# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs a program on samples and gives what passes through it.

Everything that compensation asks of a network comes from one executable, whose taps are all that any step measures: what
layers with weights see, what rescales make, and the outputs. Aligned and compensated forms of a network share its skeleton,
so a network is compiled once.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from tosa_rescale_runtime import TosaRescaleError

from tosa_rescale.core.changes import CONVOLUTIONS
from tosa_rescale.core.errors import DataError
from tosa_rescale.core.program import Program
from tosa_rescale.core.progress import Progress, Silent

if TYPE_CHECKING:
    from tosa_rescale_runtime import Executable, Module, Op, Rescale, Tap


WORTH_PROCESSES = 16  # samples below which processes are not worth their start
MEMORY = 1 << 29  # bytes of tapped values that may wait at a time


def weighted_layers(module: Module) -> list[Op]:
    """Layers whose weights are constants."""
    return [op for op in module.ops() if op.kind in CONVOLUTIONS and module.constant(op, 1) is not None]


def narrow_results(module: Module) -> list[Rescale]:
    """Rescales that make tensors of 8 or 16 bits."""
    return [each for each in module.rescales() if each.output_bits in (8, 16) and each.output_zp is not None]


def input_taps(module: Module, layers: Sequence[Op]) -> list[Tap]:
    """A tap for what each layer sees: that of the rescale that makes it, where one does."""
    from tosa_rescale_runtime import Tap

    makers = {op.operation.results[0]: Tap(op.key) for op in module.ops() if op.kind == "rescale"}
    return [makers.get(op.operation.operands[0], Tap(op.key, operand=0)) for op in layers]


class Observer(Protocol):
    """Adds up over samples what it needs of some values inside a network."""

    @property
    def taps(self) -> Sequence[Tap]:
        """The values, of `input_taps` and of `narrow_results`."""
        ...

    def add(self, seen: Sequence[np.ndarray]) -> None:
        """Adds one sample: an array for each tap, whose first dimension may be a batch of the layer's own."""


def observe(
    program: Program,
    observers: Sequence[Observer],
    inputs: Sequence[np.ndarray],
    progress: Progress | None = None,
    workers: int | None = None,
) -> tuple[np.ndarray, ...]:
    """Runs samples once and shows each observer what it asks for.

    Args:
        program: the model.
        observers: who looks.
        inputs: one array [N, *shape of a sample] for each input.
        progress: shows rate and remaining time.
        workers: processes that run samples; None: one for each core.

    Returns:
        The outputs, one array [N, *shape of a sample] for each.

    Raises:
        DataError: there are no samples.
    """
    from tosa_rescale_runtime import usable_cores

    if not len(inputs) or not len(inputs[0]):
        raise DataError("calibration: there are no samples; give at least one")
    executable = _tapped(program)
    shapes = {tap: [n or 1 for n in spec.shape] for tap, spec in zip(executable.taps, executable.tap_specs, strict=True)}
    size = sum(
        math.prod(shapes[tap]) * spec.dtype.itemsize for tap, spec in zip(executable.taps, executable.tap_specs, strict=True)
    )
    count = len(inputs[0])
    at_once = max(1, min(workers or (usable_cores() if count >= WORTH_PROCESSES else 1), MEMORY // max(size, 1)))
    outputs: list[tuple[np.ndarray, ...]] = []
    with (progress or Silent()).task("calibrate", count) as advance:
        for some in executable.run_taps(*inputs, chunk=at_once, workers=at_once):
            outputs.append(some.outputs)
            for index in range(len(some.outputs[0])):
                for each in observers:
                    each.add([some.taps[tap][index].reshape(shapes[tap]) for tap in each.taps])
                advance(1)
    return tuple(np.concatenate(column) for column in zip(*outputs, strict=True))


def compile_beside(program: Program) -> None:
    """Begins to compile what `observe` runs, in a thread. Whoever needs it waits for it, and is told of errors then."""

    def compile_quietly() -> None:
        with contextlib.suppress(TosaRescaleError):
            _tapped(program)

    threading.Thread(target=compile_quietly, name="tosa-rescale-compile", daemon=True).start()


class Runner:
    """Runs forms of one network on samples, for their outputs.

    Where the network's own executable is not compiled, the one with taps serves, which `observe` has had compiled; which of
    them there is shows in the first form, so that the others are read once.

    Args:
        inputs: one array [N, *shape of a sample] for each input.
        workers: processes that run samples; None: one for each core.
    """

    def __init__(self, inputs: Sequence[np.ndarray], workers: int | None = None) -> None:
        from tosa_rescale_runtime import usable_cores

        self._inputs, self._tapped = inputs, False
        self._workers = workers or (usable_cores() if len(inputs[0]) >= WORTH_PROCESSES else 1)

    def executable(self, program: Program) -> Executable:
        """What runs a form."""
        from tosa_rescale_runtime import Executable, externalize, is_compiled

        if not self._tapped:
            skeleton = externalize(program.bytecode, (), program.source)
            if is_compiled(skeleton.bytecode):
                return Executable.from_skeleton(skeleton)
            self._tapped = True
        return _tapped(program).without_taps()

    def run(self, executable: Executable, begin: int, end: int) -> tuple[np.ndarray, ...]:
        """The outputs of some of the samples, one array [end - begin, *shape of a sample] for each."""
        some = [array[begin:end] for array in self._inputs]
        return executable.run_many(*some, workers=min(self._workers, end - begin))


def run(program: Program, inputs: Sequence[np.ndarray], workers: int | None = None) -> tuple[np.ndarray, ...]:
    """A program's outputs on samples; see `Runner`."""
    runner = Runner(inputs, workers)
    return runner.run(runner.executable(program), 0, len(inputs[0]))


def _tapped(program: Program) -> Executable:
    """The executable that gives everything that is measured."""
    from tosa_rescale_runtime import Executable, Tap

    module = program.module()
    taps = [Tap(each.key) for each in narrow_results(module)] + input_taps(module, weighted_layers(module))
    return Executable.build(program.bytecode, taps=tuple(dict.fromkeys(taps)), source=program.source)
