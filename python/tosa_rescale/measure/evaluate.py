# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Accuracy of a model, and its difference from a reference model in the units of its last place (LSB)."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import operator
import pathlib
import tempfile
import time
from typing import TYPE_CHECKING, Protocol

import numpy as np
from tosa_rescale_runtime import Comparison, compare_all

from tosa_rescale.core.errors import DataError, ModelError
from tosa_rescale.core.program import InputSpec
from tosa_rescale.core.progress import Advance, Progress, Silent
from tosa_rescale.data.dataset import Dataset
from tosa_rescale.measure.engines import Engine, make_engine
from tosa_rescale.measure.evaluation import Evaluation

if TYPE_CHECKING:
    from tosa_rescale.core.program import Program

CHUNK = 64  # samples decoded and executed at a time


class OutputStore:
    """Outputs of a whole dataset on disk, so that memory does not bound the number of samples or their size."""

    def __init__(self, folder: pathlib.Path, samples: int) -> None:
        self._folder, self._samples, self._filled = folder, samples, 0
        self._arrays: list[np.memmap] = []

    def append(self, outputs: list[np.ndarray]) -> None:
        """Adds a chunk, one array [n, ...] for each output."""
        if not self._arrays:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._arrays = [
                np.lib.format.open_memmap(self._folder / f"output{i}.npy", "w+", o.dtype, (self._samples, *o.shape[1:]))
                for i, o in enumerate(outputs)
            ]
        count = len(outputs[0])
        for array, output in zip(self._arrays, outputs, strict=True):
            array[self._filled : self._filled + count] = output
        self._filled += count

    def read(self, start: int, stop: int) -> list[np.ndarray]:
        """Rows start..stop of every output."""
        return [np.asarray(array[start:stop]) for array in self._arrays]

    @property
    def complete(self) -> bool:
        """Every sample is there."""
        return self._filled == self._samples


def evaluate(
    model: Program,
    data: Dataset,
    *,
    engine: str = "iree",
    reference: Program | OutputStore | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    keep: OutputStore | None = None,
    label: str = "evaluate",
) -> Evaluation:
    """Runs a model over a dataset.

    Args:
        model: the model.
        data: samples, with labels for top-1 and top-5.
        engine: see tosa_rescale.measure.engines.
        reference: the model to compare with, executed by IREE, or its outputs.
        workers: threads; None: one for each core.
        progress: shows rate and remaining time.
        keep: where the outputs go, for a later comparison.
        label: what progress calls this.

    Raises:
        DataError: samples do not fit the input, labels not the output, or there is nothing to compare outputs with.
        ModelError: the reference has other outputs than the model, or the engine cannot run the model.
    """
    progress = progress or Silent()
    require_measurable(data, reference, keep)
    with contextlib.ExitStack() as stack:
        if reference is not None and not isinstance(reference, OutputStore):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="tosa-rescale-"))
            store = OutputStore(pathlib.Path(folder), len(data))
            evaluate(reference, data, workers=workers, progress=progress, keep=store, label=f"{label}: reference")
            reference = store
        runner = make_engine(engine, model, workers)
        advance = stack.enter_context(progress.task(label, len(data)))
        return score(runner, model.input_spec, data, reference, keep, advance).result()


def require_measurable(data: Dataset, reference: object, keep: object = None) -> None:
    """Raises DataError where neither labels nor a reference are given."""
    if data.labels is None and reference is None and keep is None:
        raise DataError(
            f"{data.source}: has no labels, and there is no reference model: nothing can be measured;"
            " add labels (labels.csv, class folders, or y in the .npz) or pass --reference"
        )


class Outputs(Protocol):
    """Outputs of a model for consecutive samples."""

    def append(self, outputs: list[np.ndarray]) -> None:
        """Adds a chunk, one array [n, ...] for each output."""
        ...

    def read(self, start: int, stop: int) -> list[np.ndarray]:
        """Rows start..stop of every output."""
        ...


def score(
    runner: Engine,
    spec: InputSpec,
    data: Dataset,
    reference: Outputs | None,
    keep: Outputs | None,
    advance: Advance | None = None,
) -> Score:
    """Runs an engine over a dataset, chunk by chunk; see `evaluate`."""
    total, start = Score(data.labels is not None), 0
    for chunk in data.quantized(spec, CHUNK):
        began = time.perf_counter()
        outputs = runner.run_many([chunk], advance)
        seconds = time.perf_counter() - began
        stop = start + len(chunk)
        total += _score_chunk(data[start:stop], outputs, reference.read(start, stop) if reference else None, seconds)
        if keep is not None:
            keep.append(outputs)
        start = stop
    return total


@dataclasses.dataclass(frozen=True)
class Score:
    """Counts of an evaluation, or of a part of one. Parts may be added in any order.

    Attributes:
        labelled: there are labels.
        samples: number of samples.
        top1, top5: samples whose label is the largest, or among the five largest.
        same, positions: decisions equal to the reference's, and all decisions.
        difference: from the reference; None without.
        seconds: execution alone.
    """

    labelled: bool
    samples: int = 0
    top1: int = 0
    top5: int = 0
    same: int = 0
    positions: int = 0
    difference: Comparison | None = None
    seconds: float = 0.0

    def __add__(self, other: Score) -> Score:
        differences = [each for each in (self.difference, other.difference) if each is not None]
        return Score(
            self.labelled,
            self.samples + other.samples,
            self.top1 + other.top1,
            self.top5 + other.top5,
            self.same + other.same,
            self.positions + other.positions,
            functools.reduce(operator.add, differences) if differences else None,
            self.seconds + other.seconds,
        )

    def result(self) -> Evaluation:
        """The figures."""
        difference = self.difference
        return Evaluation(
            samples=self.samples,
            top1=100 * self.top1 / self.samples if self.labelled else None,
            top5=100 * self.top5 / self.samples if self.labelled else None,
            agreement=100 * self.same / self.positions if difference else None,
            max_lsb=difference.max_lsb if difference else None,
            mean_lsb=difference.mean_lsb if difference else None,
            histogram=dict(difference.histogram) if difference else None,
            seconds=self.seconds,
        )


def _score_chunk(data: Dataset, outputs: list[np.ndarray], reference: list[np.ndarray] | None, seconds: float) -> Score:
    first = outputs[0]
    top1, top5 = _ranks(first.reshape(len(first), -1), data)
    if reference is None:
        return Score(data.labels is not None, len(first), top1, top5, seconds=seconds)
    if [(o.shape, o.dtype) for o in outputs] != [(r.shape, r.dtype) for r in reference]:
        raise ModelError("the reference has other outputs than the model; give the model it was made from")
    same = _decision(outputs[0]) == _decision(reference[0])
    difference = compare_all(outputs, reference)
    return Score(data.labels is not None, len(first), top1, top5, int(same.sum()), same.size, difference, seconds)


def _ranks(scores: np.ndarray, data: Dataset) -> tuple[int, int]:
    """Samples whose label is first, and among the first five."""
    labels, classes = data.labels, scores.shape[1]
    if labels is None:
        return 0, 0
    if labels.min() < 0 or labels.max() >= classes:
        bad = labels.min() if labels.min() < 0 else labels.max()
        raise DataError(f"{data.source}: label {bad} is outside the model's {classes} classes; check labels and --label-offset")
    own = np.take_along_axis(scores, labels[:, None], 1)
    earlier = np.arange(classes) < labels[:, None]
    rank = ((scores > own) | ((scores == own) & earlier)).sum(1)
    return int((rank < 1).sum()), int((rank < 5).sum())


def _decision(output: np.ndarray) -> np.ndarray:
    """What the output decides at each position: the class where the last dimension has several, else the value."""
    return output.argmax(-1) if output.ndim > 1 and output.shape[-1] > 1 else output
