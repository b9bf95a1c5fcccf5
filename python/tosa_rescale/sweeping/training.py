# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Fine-tuning as a method of a sweep: accuracy, loss and changed weights after every epoch, on samples never trained on."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import tempfile
from typing import Any

from tosa_rescale.core.errors import DataError, ModelError, OptionError
from tosa_rescale.core.options import FinetuneOptions, NarrowOptions
from tosa_rescale.core.program import Program
from tosa_rescale.core.progress import Progress
from tosa_rescale.data.dataset import Dataset
from tosa_rescale.data.source import as_dataset
from tosa_rescale.measure.evaluate import OutputStore, evaluate
from tosa_rescale.measure.metrics import Metric
from tosa_rescale.rewrite.narrow import narrow

SCORED = ("top1", "top5", "agreement", "max_lsb", "mean_lsb")
"""Figures of an evaluation that are kept for each epoch, beside the values of its metrics."""

TRAINING_SHARE = 0.5
"""Share of the data to train on where the same data is scored and no number is given."""


@dataclasses.dataclass(frozen=True)
class TrainingPlan:
    """What methods that train train on.

    Attributes:
        data: samples to train on, a data set or what as_dataset makes one of; none of them may be scored.
        scored: samples that every epoch's accuracy is measured on; None: only the last model's is.
        teacher: original or labels, see `Model.finetune`.
        folder: where checkpoints go, so that an interrupted training goes on; None: nowhere.
        metrics: what is measured after every epoch; empty: what outputs and labels suggest.
    """

    data: Any
    scored: Dataset | None = None
    teacher: str = "original"
    folder: pathlib.Path | None = None
    metrics: tuple[Metric, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", as_dataset(self.data))

    def identity(self) -> list[Any]:
        """What the results depend on, for JSON."""
        return [self.data.fingerprint(), self.teacher]


def split_training(scored: Dataset, source: Dataset | None, count: int | None) -> tuple[Dataset, Dataset]:
    """Chooses the samples to train on and leaves them out of those to score.

    Args:
        scored: the samples to score.
        source: where to take training samples from; None: from `scored`.
        count: how many, spread evenly; None: all of another source, half of the same.

    Returns:
        Training samples, and what is left to score.

    Raises:
        OptionError: nothing would be left to score.
        DataError: there are not so many samples.
    """
    if count is None:
        count = max(1, round(TRAINING_SHARE * len(scored))) if source is None else len(source)
    training = (scored if source is None else source).take(count)
    left = scored.without(training)
    if not len(left):
        raise OptionError(
            f"train-samples: training takes {count} of {len(scored)} samples and leaves none to score; take fewer"
        )
    return training, left


def train(
    model: Program, options: NarrowOptions, training: FinetuneOptions, plan: TrainingPlan, progress: Progress
) -> tuple[Program, dict[str, Any]]:
    """Narrows, then trains.

    Args:
        model: the original.
        options: of the narrowing; an open rounding of multipliers is chosen for the training (NarrowOptions.before_training).
        training: epochs, batch, learning rate and so on.
        plan: what is trained on.
        progress: shows rate and remaining time.

    Returns:
        The trained model, and `history`, `best_epoch` and `changes` of the training as plain values, for JSON.

    Raises:
        MissingToolError: TensorFlow is not installed.
    """
    from tosa_rescale.twin.finetune import TrainingRun, finetune

    narrowed = narrow(model, options.before_training(training, plan.teacher))
    checkpoint = None
    if plan.folder is not None:
        plan.folder.mkdir(parents=True, exist_ok=True)
        checkpoint = plan.folder / f"finetune-{options.bits}.npz"
    with tempfile.TemporaryDirectory(prefix="tosa-rescale-") as folder:
        scores = EpochScores(narrowed, model, plan, pathlib.Path(folder), progress)

        def run(resume: bool) -> Any:
            return finetune(
                narrowed,
                plan.data,
                teacher=model if plan.teacher == "original" else plan.teacher,
                options=training,
                run=TrainingRun(callbacks=[scores], checkpoint=checkpoint, resume=resume, force=True),
                progress=progress,
            )

        try:
            found = run(checkpoint is not None and checkpoint.exists())
        except (DataError, ModelError):
            if checkpoint is None or not checkpoint.exists():
                raise
            found = run(False)  # what lies there is a checkpoint of something else
        history = [{**found.history[0], **scores.figures(narrowed)}, *found.history[1:]]
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    # Plain values, the same as after a resumed sweep has read them.
    return found.model, json.loads(json.dumps({**found.as_dict(), "history": history}))


class EpochScores:
    """A Keras callback that adds accuracy and changed weights to the figures of every epoch.

    Args:
        start: the model that training starts from.
        original: the model before narrowing.
        plan: what accuracy is measured on, and by which metrics.
        folder: for the original's outputs.
        progress: shows rate and remaining time.
    """

    def __init__(self, start: Program, original: Program, plan: TrainingPlan, folder: pathlib.Path, progress: Progress) -> None:
        self._start, self._original, self._progress = start, original, progress
        self._data, self._metrics = plan.scored, plan.metrics
        self._outputs = None if plan.scored is None else OutputStore(folder, len(plan.scored))
        self._known = False
        self._trained: Any = None

    def set_model(self, model: Any) -> None:
        self._trained = model

    def on_train_begin(self) -> None:
        """Nothing to do."""

    def on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
        """Nothing to do."""

    def on_epoch_begin(self, epoch: int) -> None:
        """Nothing to do."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Adds the figures of the model as it is now."""
        now = dataclasses.replace(self._start, bytecode=self._trained.bytecode())
        logs.update(self.figures(now, f"after epoch {epoch + 1}"))

    def on_train_end(self) -> None:
        """Nothing to do."""

    def figures(self, model: Program, label: str = "before training") -> dict[str, Any]:
        """The figures of one epoch.

        Returns:
            `scored`: see SCORED, and `metrics` by name; empty without data. `weights`: percent, mean_absolute, touched,
            largest.
        """
        from tosa_rescale.core.changes import weight_changes

        changes = weight_changes(self._start.bytecode, model.bytecode)
        weights = {
            "percent": changes.percent,
            "mean_absolute": changes.mean_absolute,
            "touched": changes.touched,
            "largest": max((layer.largest for layer in changes.layers), default=0),
        }
        return {"scored": self._score(model, label), "weights": weights}

    def _score(self, model: Program, label: str) -> dict[str, Any]:
        if self._data is None or self._outputs is None:
            return {}
        if not self._known:
            evaluate(self._original, self._data, keep=self._outputs, progress=self._progress, label="original model")
            self._known = True
        found = evaluate(
            model, self._data, metrics=self._metrics, reference=self._outputs, progress=self._progress, label=label
        )
        measured = {name: figure.value for name, figure in found.metrics.items()}
        return {**{name: getattr(found, name) for name in SCORED}, "metrics": measured}
