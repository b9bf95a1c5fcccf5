# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a training compares: where the loss is taken, what is wanted there, and how far the twin is from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from tosa_rescale_runtime import Module

from tosa_rescale.core.errors import DataError, ModelError, OptionError
from tosa_rescale.core.options import FinetuneOptions, Loss
from tosa_rescale.core.program import Program
from tosa_rescale.core.progress import Progress
from tosa_rescale.data.dataset import Dataset
from tosa_rescale.twin.backend import tf
from tosa_rescale.twin.gains import narrowed_gains
from tosa_rescale.twin.graph import Graph
from tosa_rescale.twin.loss_point import loss_point
from tosa_rescale.twin.losses import cross_entropy, divergence, fitting_loss, squares
from tosa_rescale.twin.samples import Lesson, Samples, split, weights_of
from tosa_rescale.twin.twin import Twin

LOGIT_SPREAD = 3.0
"""Standard deviation given to logits whose scale the model does not tell, so that softmax is neither flat nor hard."""

ASKED_AT_ONCE = 16
"""Samples that a teacher is asked at a time."""


@dataclasses.dataclass(frozen=True, eq=False)
class Assignment:
    """What is trained on what. Everything that a resumed run must repeat follows from this and the optimizer.

    Attributes:
        model: the start.
        data: samples, the held-out ones among them.
        teacher: the model to imitate; None: the labels of the data.
        options: of the training.
    """

    model: Program
    data: Dataset
    teacher: Program | None
    options: FinetuneOptions

    def identity(self) -> dict[str, Any]:
        """What a checkpoint of it belongs to, for JSON; more epochs of the same training are no other one."""
        return {
            "model": self.model.fingerprint,
            "data": self.data.fingerprint(),
            "teacher": "labels" if self.teacher is None else self.teacher.fingerprint,
            "options": {key: value for key, value in dataclasses.asdict(self.options).items() if key != "epochs"},
        }


@dataclasses.dataclass(frozen=True)
class Reading:
    """How integers at the loss point become real values, but for a factor that student and teacher share.

    Attributes:
        key: of the op that gives them; None: they are the graph's first output.
        step: what one step is.
        zero: the integer that stands for 0.
    """

    key: str | None
    step: float = 1.0
    zero: int = 0

    @classmethod
    def of(cls, graph: Graph) -> Reading:
        """At the graph's loss point, which may have another scale after alignment; outputs keep theirs."""
        point = loss_point(graph)
        if point is None:
            return cls(None)
        rescale = point.rescale
        return cls(point.key) if rescale is None else cls(point.key, rescale.scale_factor, rescale.output_zp or 0)

    @property
    def keys(self) -> list[str] | None:
        """What to ask a twin for."""
        return None if self.key is None else [self.key]


class Objective:
    """The loss of a twin at its loss point.

    Args:
        twin: what is trained.
        loss: how it is compared with a teacher; None: with labels.
        teacher: how to read the teacher's integers; None: there are labels.

    Attributes:
        reading: how to read the twin's integers.
        loss_name: what is computed, for people.
        scale: real units of one step, on top of what `reading` says.

    Raises:
        OptionError: likelihoods of a single value.
    """

    def __init__(self, twin: Twin, loss: Loss | None, teacher: Reading | None) -> None:
        self._twin, self._wanted = twin, teacher
        self.reading = Reading.of(twin.graph)
        self.loss_name = "cross-entropy" if loss is None else loss.value
        self._compare = cross_entropy if loss is None else {Loss.SQUARES: squares, Loss.DIVERGENCE: divergence}[loss]
        self.scale = 1.0
        if loss is Loss.DIVERGENCE and self.classes == 1:
            raise OptionError(
                f"loss: divergence compares likelihoods of classes, and the output {list(self.shape)} of"
                f" {twin.graph.source} has one value; choose squares"
            )

    @property
    def decides(self) -> bool:
        """There are decisions, which may agree or not."""
        return self._compare is not squares

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample's values: positions, and behind them the classes."""
        signature = self._twin.graph.signature
        if self.reading.key is None:
            return tuple(int(n or 1) for n in signature.sample_shape(signature.outputs[0]))
        shape = self._twin.graph.node(self.reading.key).shape
        return shape[1:] if signature.batched and shape[:1] == (1,) else shape

    @property
    def classes(self) -> int:
        """How many values there are for each position."""
        return self.shape[-1]

    def loss(self, inputs: tuple[Any, ...], target: Any, weights: Any, count: Any) -> tuple[Any, Any]:
        """Loss summed over these samples and divided by all of the batch's `count`, and decisions that equal the target's."""
        found = self._real(self._twin.integers(inputs, self.reading.keys)[0], self.reading)
        wanted = target if self._wanted is None else self._real(target, self._wanted)
        loss, same = self._compare(wanted, found)
        weights = tf.reshape(weights, [-1, *weights.shape[1:], *([1] * (len(loss.shape) - len(weights.shape)))])
        positions = np.prod(loss.shape[1:], dtype=np.float64)
        mean = tf.reduce_sum(loss * weights) / (tf.cast(count, tf.float32) * tf.constant(positions, tf.float32))
        if same is None:
            return mean, tf.zeros([])
        return mean, tf.reduce_sum(same * tf.cast(weights > 0, tf.float32))

    def agreement(self, loss: float, same: float, lesson: Lesson) -> float:
        """In per cent: decisions that are the wanted ones; without decisions the share of the values' variance that is."""
        if not self.decides:
            return 100 * (1 - loss)
        return 100 * same / lesson.counted(self.shape[:-1])

    @property
    def wanted_step(self) -> float:
        """What one step of the targets is, but for `scale`."""
        return 1.0 if self._wanted is None else self._wanted.step

    def _real(self, integers: Any, reading: Reading) -> Any:
        return (tf.cast(integers, tf.float32) - float(reading.zero)) * (reading.step * self.scale)


@dataclasses.dataclass(frozen=True, eq=False)
class Course:
    """All that a training learns from.

    Attributes:
        training, held_out: samples with their targets.
        objective: how far the twin is from these.
        gains: what is known of each layer's gains, by the layer's key; see gains.py.
    """

    training: Lesson
    held_out: Lesson
    objective: Objective
    gains: Mapping[str, np.ndarray]


def prepared(assignment: Assignment, twin: Twin, progress: Progress) -> Course:
    """Reads the samples and asks the teacher.

    Args:
        assignment: what is trained on what.
        twin: of the assignment's model.
        progress: shows how far the teacher is.

    Raises:
        DataError: too few samples, or labels that are missing or outside the model's classes.
        ModelError: the teacher has another graph.
        OptionError: a loss that does not fit.
    """
    model, teacher, options = assignment.model, assignment.teacher, assignment.options
    parts = split(assignment.data, options.validation)
    # Held out first: what is wrong with samples shows there as well, and sooner.
    held_out, training = (Samples(model, part) for part in parts[::-1])
    gains: Mapping[str, np.ndarray] = {}
    if teacher is None:
        if options.loss is not Loss.AUTO:
            raise OptionError(
                f"loss: {options.loss.value} compares with a teacher; with labels it is cross-entropy, leave it out"
            )
        objective = Objective(twin, None, None)
        _labels(assignment.data, objective)  # All of them first: messages speak of the data as given, not of a part.
        targets = [_labels(part, objective) for part in parts]
    else:
        taught_by = Twin(Module.parse(teacher.bytecode, teacher.source), reference=options.reference)
        if options.fold_gains:
            gains = narrowed_gains(twin.graph, taught_by.graph)
        objective = Objective(twin, _loss_of(assignment, twin), Reading.of(taught_by.graph))
        targets = [_taught(taught_by, each, objective, model, progress) for each in (training, held_out)]
    lessons = [
        Lesson(samples, wanted, weights_of(part, objective.shape[:-1]))
        for samples, wanted, part in zip((training, held_out), targets, parts, strict=True)
    ]
    first = None
    if teacher is None:
        first = twin.run(held_out.at(np.arange(min(len(held_out), ASKED_AT_ONCE))), objective.reading.keys)[0]
    objective.scale = _scale(objective, model, lessons[0], first)
    return Course(lessons[0], lessons[1], objective, gains)


def _loss_of(assignment: Assignment, twin: Twin) -> Loss:
    """The loss that is asked for, else the one that the output suggests."""
    model, asked = assignment.model, assignment.options.loss
    if asked is not Loss.AUTO:
        return asked
    signature = model.signature
    if loss_point(twin.graph) is not None or not signature.outputs:
        return Loss.DIVERGENCE  # a softmax: classes
    shape = tuple(int(n or 1) for n in signature.sample_shape(signature.outputs[0]))
    known = model.quantization.outputs if model.quantization else ()
    inputs = [spec.shape for spec in model.input_specs]
    return fitting_loss(shape, inputs, known[0] if known else None, signature.outputs[0].dtype, assignment.data)


def _scale(objective: Objective, model: Program, lesson: Lesson, logits: np.ndarray | None) -> float:
    """Real units of one step: of squares that in which the targets' variance is 1, of logits their own where it is known.

    Args:
        objective: what they are for.
        model: whose outputs may say it.
        lesson: with targets.
        logits: of the twin, where targets are labels.
    """
    if not objective.decides:
        spread = lesson.spread() * objective.wanted_step
        return 1 / spread if spread > 0 else 1.0
    known = model.quantization.outputs if model.quantization and objective.reading.key is None else ()
    if known and known[0].scale > 0:
        return known[0].scale
    values = lesson.targets if logits is None else logits
    spread = float(np.std(values - values.mean(-1, keepdims=True)))
    return LOGIT_SPREAD / spread if spread > 0 else 1.0


def _labels(data: Dataset, objective: Objective) -> np.ndarray:
    """The labels: one class for each decision of a sample."""
    labels, shape, classes = data.labels, objective.shape[:-1], objective.classes
    if labels is None:
        raise DataError(f"{data.source}: has no labels, which `teacher='labels'` needs; use `teacher='original'`")
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu" or labels.shape[1:] != shape:
        kind = f"{labels.dtype} {list(labels.shape)}" if isinstance(labels, np.ndarray) else "image files"
        raise DataError(
            f"{data.source}: `teacher='labels'` needs one class for each decision, integers {['N', *shape]}, got {kind};"
            " use `teacher='original'`"
        )
    if labels.min() < 0 or labels.max() >= classes:
        bad = labels.min() if labels.min() < 0 else labels.max()
        raise DataError(f"{data.source}: label {bad} is outside the model's {classes} classes; check labels and `label_offset`")
    return labels.astype(np.int64)


def _taught(teacher: Twin, samples: Samples, objective: Objective, model: Program, progress: Progress) -> np.ndarray:
    """The teacher's logits, in the integers of its own loss point."""
    reading, source = Reading.of(teacher.graph), teacher.graph.source
    if (reading.key is None) != (objective.reading.key is None):
        raise ModelError(f"{source}: the teacher has another graph than {model.source}; give its original")
    parts = []
    with progress.task("ask the teacher", len(samples)) as advance:
        for start in range(0, len(samples), ASKED_AT_ONCE):
            chunk = samples.at(np.arange(start, min(start + ASKED_AT_ONCE, len(samples))))
            found = teacher.run(chunk, reading.keys)[0]
            parts.append(found.astype(np.int32))
            advance(len(chunk[0]))
    targets = np.concatenate(parts)
    if targets.shape[-1] != objective.classes:
        raise ModelError(f"{source}: the teacher has other outputs than {model.source}; give its original")
    return targets
