# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which of several forms of a network gives outputs nearest to the original's, on as few samples as show it.

All forms are run on `FIRST` samples, those still in question on twice as many, and so on to all samples. A form drops out
where it is farther than the nearest one by more than chance explains: Student's one-sided test of the differences sample by
sample, at the level `DOUBT`. Samples are taken in their order, so equal inputs give equal choices.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtrit

from tosa_rescale.core.program import Program
from tosa_rescale.rewrite.observe import Runner

if TYPE_CHECKING:
    from tosa_rescale_runtime import Executable

FIRST = 8  # samples that every form is run on
DOUBT = 0.01  # how often a form that is no farther may drop out, at each of the comparisons


class Nearest:
    """Compares forms of one network with the original by its outputs.

    Args:
        program: the original.
        inputs: samples, one array [N, *shape of a sample] for each input; N >= 1.
        outputs: what the original gives for them, one array [N, *shape of a sample] for each output.
        workers: processes that run samples; None: one for each core.
    """

    def __init__(
        self, program: Program, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray], workers: int | None = None
    ) -> None:
        self._program, self._inputs, self._outputs, self._workers = program, inputs, outputs, workers

    def choose(self, forms: Sequence[bytes]) -> tuple[int, float]:
        """Finds the nearest of some modules.

        Args:
            forms: modules of the original's function, bytecode.

        Returns:
            Its position, that of the first one where several are equally near; and the mean absolute difference of its
            outputs from the original's on all samples, in LSB.

        Raises:
            CompileError, ExecutionError: IREE cannot compile or run one of them.
        """
        runner = Runner(self._inputs, self._workers)
        different = {form: position for position, form in reversed(list(enumerate(forms)))}  # the first one of equal modules
        left = []
        for position, form in enumerate(forms):
            if different[form] == position:
                program = dataclasses.replace(self._program, bytecode=form)
                left.append(_Form(position, runner, runner.executable(program), self._outputs))
        total, count = len(self._inputs[0]), 0
        while count < total and len(left) > 1:
            count = min(total, max(FIRST, 2 * count))
            for each in left:
                each.run_to(count)
            left = [left[i] for i in still_in_question(np.array([each.distances for each in left]))]
        (nearest, *_) = left
        nearest.run_to(total)
        return nearest.position, float(np.mean(nearest.distances))


@dataclasses.dataclass(eq=False)
class _Form:
    """One form.

    Attributes:
        position: among those to choose from.
        runner: runs it.
        executable: it, compiled.
        expected: the original's outputs.
        distances: mean absolute difference from the original's outputs of each sample run, in LSB.
    """

    position: int
    runner: Runner
    executable: Executable
    expected: Sequence[np.ndarray]
    distances: list[float] = dataclasses.field(default_factory=list)

    def run_to(self, count: int) -> None:
        """Runs the samples before `count` that have not been run."""
        begin = len(self.distances)
        if begin == count:
            return
        found = self.runner.run(self.executable, begin, count)
        lost = np.zeros(count - begin, np.int64)
        for ours, theirs in zip(found, self.expected, strict=True):
            difference = np.abs(ours.astype(np.int64) - theirs[begin:count].astype(np.int64))
            lost += difference.reshape(len(lost), -1).sum(axis=1)
        self.distances += (lost / sum(each[0].size for each in self.expected)).tolist()


def still_in_question(distances: np.ndarray) -> list[int]:
    """The forms that may be the nearest one.

    Args:
        distances: float64 [forms, samples].

    Returns:
        Positions of the nearest form so far and of those that are not farther by more than chance explains, the nearest first.
    """
    means, samples = distances.mean(axis=1), distances.shape[1]
    order = np.argsort(means, kind="stable").tolist()  # of equal ones the first one first
    if samples < 2:
        return order
    farther = distances - distances[order[0]]
    limits = stdtrit(samples - 1, 1 - DOUBT) / np.sqrt(samples) * farther.std(axis=1, ddof=1)
    return [form for form in order if not farther[form].mean() > limits[form]]
