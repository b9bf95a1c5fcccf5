# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Accuracy of a model, and its difference from a reference model in the units of its last place (LSB)."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import pathlib
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from tosa_rescale_runtime import Comparison, compare_all

from tosa_rescale.core.errors import DataError, ModelError
from tosa_rescale.core.program import InputSpec
from tosa_rescale.core.progress import Advance, Progress, Silent
from tosa_rescale.data.dataset import Dataset
from tosa_rescale.data.kinds import Kind
from tosa_rescale.data.source import as_dataset
from tosa_rescale.measure.choice import MetricPlan, plan_metrics
from tosa_rescale.measure.engines import Engine, engine_or_twin
from tosa_rescale.measure.evaluation import Evaluation
from tosa_rescale.measure.given import Given, Outputs
from tosa_rescale.measure.metrics import METRICS, Metric
from tosa_rescale.measure.tally import Tally, paired

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
    data: Any,
    *,
    metrics: str | Callable[..., Any] | Metric | Sequence[Any] | None = None,
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
        data: a Dataset, or what as_dataset makes one of.
        metrics: what is measured, see tosa_rescale.measure.metrics; None: what outputs and labels suggest.
        engine: see tosa_rescale.measure.engines.
        reference: the model to compare with, executed by IREE, or its outputs.
        workers: threads; None: one for each core.
        progress: shows rate and remaining time.
        keep: where the outputs go, for a later comparison.
        label: what progress calls this.

    Raises:
        DataError: samples do not fit the input, labels not the metric, or there is nothing to compare outputs with.
        MetricError: a function of the user's own raised, or returned no number.
        ModelError: the reference has other outputs than the model, or the engine cannot run the model.
        OptionError: there is no such metric or engine.
    """
    data, progress = as_dataset(data), progress or Silent()
    known: Program | bool = reference is not None if isinstance(reference, (OutputStore, type(None))) else reference
    plan = plan_metrics(metrics, model, data, known)
    require_measurable(plan, data, reference, keep)
    itself = reference is model and engine == "iree"  # the same outputs once more: they need not be computed twice
    with contextlib.ExitStack() as stack:
        if reference is not None and not itself and not isinstance(reference, OutputStore):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="tosa-rescale-"))
            store = OutputStore(pathlib.Path(folder), len(data))
            evaluate(reference, data, workers=workers, progress=progress, keep=store, label=f"{label}: reference")
            reference = store
        theirs = reference if isinstance(reference, OutputStore) else Itself() if itself else None
        runner, said = engine_or_twin(engine, model, workers)
        advance = stack.enter_context(progress.task(label, len(data)))
        return score(runner, model.input_specs, data, plan, theirs, keep, advance).result(data, [said] if said else ())


def require_measurable(plan: MetricPlan, data: Dataset, reference: object, keep: object = None) -> None:
    """Raises DataError where neither labels nor a reference are given."""
    if not plan.chosen and reference is None and keep is None:
        what = "has no labels" if data.labels is None else "has no labels that fit the model's output"
        raise DataError(
            f"{data.source}: {what}, and there is no reference model: nothing can be measured;"
            " add labels (labels.csv, class folders, or y in the .npz) or pass `reference`"
        )


class KeptOutputs(Protocol):
    """Outputs of a model for consecutive samples."""

    def append(self, outputs: list[np.ndarray]) -> None:
        """Adds a chunk, one array [n, ...] for each output."""
        ...

    def read(self, start: int, stop: int) -> list[np.ndarray]:
        """Rows start..stop of every output."""
        ...


class Itself:
    """Stands for a reference that is the model itself: it has the outputs that the model has just given."""


def score(
    runner: Engine,
    specs: Sequence[InputSpec],
    data: Dataset,
    plan: MetricPlan,
    reference: KeptOutputs | Itself | None,
    keep: KeptOutputs | None,
    advance: Advance | None = None,
    first: int = 0,
) -> Score:
    """Runs an engine over a dataset, or a part of one, chunk by chunk; see `evaluate`.

    Args:
        runner: executes the model.
        specs: what its inputs take.
        data: samples and labels.
        plan: what is measured.
        reference: outputs to compare with.
        keep: where the outputs go.
        advance: shows progress.
        first: position of the first sample in the whole dataset.
    """
    total, start = Score(plan), 0
    for chunk in data.batches(specs, CHUNK):
        began = time.perf_counter()
        outputs = runner.run_many(chunk, advance)
        seconds = time.perf_counter() - began
        stop = start + len(chunk[0])
        theirs: list[np.ndarray] | None = outputs
        if not isinstance(reference, Itself):
            theirs = None if reference is None else reference.read(start, stop)
        total.add(first + start, data[start:stop], outputs, theirs, seconds)
        if keep is not None:
            keep.append(outputs)
        start = stop
    return total


class Score:
    """Counts and rows of an evaluation, or of a part of one. Parts may be merged in any order.

    Args:
        plan: what is measured.
    """

    def __init__(self, plan: MetricPlan) -> None:
        self.samples = 0
        self.seconds = 0.0
        self._plan = plan
        self._tallies = {metric.name: Tally(metric) for metric in plan.chosen}
        self._shifted = np.zeros(3, np.int64)  # first where labels are one lower, as they are, one higher
        self._difference: Comparison | None = None

    def add(
        self, start: int, data: Dataset, outputs: list[np.ndarray], reference: list[np.ndarray] | None, seconds: float
    ) -> None:
        """Adds a chunk of the dataset, whose first sample is at `start`."""
        plan = self._plan
        if reference is not None and [(o.shape, o.dtype) for o in outputs] != [(r.shape, r.dtype) for r in reference]:
            raise ModelError("the reference has other outputs than the model; give the model it was made from")
        theirs = None if reference is None else Outputs(reference, plan.reference_quantization, plan.output)
        given = Given(Outputs(outputs, plan.quantization, plan.output), theirs, data, plan.kind, False)
        for name in self._always(data, reference is not None):
            self._tallies.setdefault(name, Tally(METRICS[name]))
        for name, tally in self._tallies.items():
            tally.add(start, dataclasses.replace(given, by_labels=name in plan.by_labels))
        if "top1" in self._tallies and plan.kind is Kind.CLASSES and data.classes is not None:
            decided = given.outputs.judged.reshape(len(data), -1).argmax(1)
            self._shifted += [int((decided == data.classes + step).sum()) for step in (-1, 0, 1)]
        if reference is not None:
            found = compare_all(outputs, reference)
            self._difference = found if self._difference is None else self._difference + found
        self.samples += len(data)
        self.seconds += seconds

    def _always(self, data: Dataset, reference: bool) -> list[str]:
        """Figures that an evaluation gives wherever they can be had, chosen or not."""
        labelled = data.classes is not None and self._plan.kind is Kind.CLASSES and self._plan.suggested
        return [*(["top1", "top5"] if labelled else []), *(["agreement"] if reference else [])]

    def merge(self, other: Score) -> None:
        """Adds what another process measured of other samples."""
        for name, tally in other._tallies.items():
            self._tallies.setdefault(name, Tally(tally.metric)).merge(tally)
        differences = [each for each in (self._difference, other._difference) if each is not None]
        self._difference = differences[0] + differences[1] if len(differences) == 2 else next(iter(differences), None)
        self._shifted += other._shifted
        self.samples += other.samples
        self.seconds += other.seconds

    def result(self, data: Dataset, notes: Sequence[str] = ()) -> Evaluation:
        """The figures.

        Args:
            data: the whole dataset, for what is to be said of it.
            notes: what is to be said of how it was run.
        """
        figures = {name: tally.figure() for name, tally in self._tallies.items() if tally.parts}
        values = {name: figures[name].value if name in figures else None for name in ("top1", "top5", "agreement")}
        difference = self._difference
        decided = self._tallies["top1"].rows() if "top1" in figures else (None, None)
        return Evaluation(
            samples=self.samples,
            top1=values["top1"],
            top5=values["top5"],
            agreement=values["agreement"],
            max_lsb=difference.max_lsb if difference else None,
            mean_lsb=difference.mean_lsb if difference else None,
            histogram=dict(difference.histogram) if difference else None,
            seconds=self.seconds,
            metrics={metric.name: figures[metric.name] for metric in self._plan.chosen},
            paired=None if decided[1] is None else paired(*decided),
            says=self._plan.says,
            warnings=tuple(self._doubts(data)),
            notes=(*data.notes, *notes, *([self._plan.which] if self._plan.which else [])),
        )

    def _doubts(self, data: Dataset) -> list[str]:
        """Labels that do not fit: near chance, or better by one."""
        if "top1" not in self._tallies or self._plan.kind is not Kind.CLASSES or not self.samples:
            return []
        lower, own, higher = self._shifted.tolist()
        share, chance = 100 / self.samples, 1 / math.prod(self._plan.shape)
        step, best = max(((-1, lower), (1, higher)), key=lambda each: each[1])
        noise = math.sqrt(chance * (1 - chance) * self.samples)
        near_chance = own <= chance * self.samples + 2 * noise
        better = best > 2 * own + 3 * math.sqrt(max(own, 1))
        if not near_chance and not better:
            return []
        found = f"top-1 is {own * share:.2f} %"
        if near_chance:
            found += f", and chance is {100 * chance:.2f} %"
        if better:
            offset = data.preprocessing.label_offset + step
            which = "lower" if step < 0 else "higher"
            return [f"{found}; with labels one {which} it is {best * share:.2f} %: try `label_offset={offset}`"]
        return [f"{found}: check labels and preprocessing, or pass `ignore_labels=True`"]
