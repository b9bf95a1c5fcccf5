# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a training compares: where the loss is taken, what is wanted there, and how far the twin is from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from tosa_rescale_runtime import Module

from tosa_rescale.core.errors import DataError, ModelError
from tosa_rescale.core.options import FinetuneOptions
from tosa_rescale.core.program import Program
from tosa_rescale.core.progress import Progress
from tosa_rescale.data.dataset import Dataset
from tosa_rescale.twin.backend import tf
from tosa_rescale.twin.gains import narrowed_gains
from tosa_rescale.twin.graph import Graph
from tosa_rescale.twin.samples import Lesson, Samples, split
from tosa_rescale.twin.twin import Twin
from tosa_rescale.twin.values import Node

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


def loss_point(graph: Graph) -> Node | None:
    """Where the loss is taken: None for the graph's first output, else an op before it.

    A softmax at the end of an integer model has coarse steps and hardly a gradient. It changes no decision, so the loss is
    taken before it: at the rescale of the last MAC layer.
    """
    last = max((i for i, node in enumerate(graph.nodes) if node.kind in ("conv2d", "matmul")), default=None)
    if last is None or not any(node.kind == "table" for node in graph.nodes[last:]):
        return None
    # A table of 256 entries is an activation, and may change decisions; a softmax's have 513.
    if any(node.kind == "table" and node.operand_bits[0] == 8 for node in graph.nodes[last:]):
        return None
    return next((node for node in graph.nodes[last:] if node.kind == "rescale"), None)


class Objective:
    """The loss of a twin: cross-entropy with labels, or the divergence from a teacher's logits.

    Args:
        twin: what is trained.
        labels: the targets are labels, not logits.

    Attributes:
        point: see `loss_point`.
        keys: of the op to stop at; None: the graph's outputs.
        scale: real units of one step of the logits.
    """

    def __init__(self, twin: Twin, labels: bool) -> None:
        self._twin, self.labels = twin, labels
        self.point = loss_point(twin.graph)
        self.keys = None if self.point is None else [self.point.key]
        self.scale = 1.0

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample's logits: decisions, and behind them the classes."""
        signature = self._twin.graph.signature
        if self.point is None:
            return tuple(int(n or 1) for n in signature.sample_shape(signature.outputs[0]))
        return self.point.shape[1:] if signature.batched and self.point.shape[:1] == (1,) else self.point.shape

    @property
    def classes(self) -> int:
        """How many logits there are for each decision."""
        return self.shape[-1]

    def decisions(self, targets: np.ndarray) -> int:
        """How many decisions there are in targets."""
        return targets.size // (1 if self.labels else targets.shape[-1])

    def loss(self, inputs: tuple[Any, ...], target: Any, count: Any) -> tuple[Any, Any]:
        """Loss summed over these samples and divided by all of the batch's `count`, and decisions that equal the target's."""
        (logits,) = self._twin.integers(inputs, self.keys)
        logits = tf.cast(logits, tf.float32) * self.scale

        def mean(loss: Any) -> Any:
            positions = np.prod(loss.shape[1:], dtype=np.float64)
            return tf.reduce_sum(loss) / (tf.cast(count, tf.float32) * tf.constant(positions, tf.float32))

        if self.labels:
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(target, logits)
            return mean(loss), tf.reduce_sum(tf.cast(tf.argmax(logits, -1) == target, tf.float32))
        wanted = tf.cast(target, tf.float32) * self.scale
        if logits.shape[-1] == 1:
            return mean((logits - wanted) ** 2), tf.reduce_sum(tf.cast(logits == wanted, tf.float32))
        # Kullback-Leibler: zero where student and teacher are one, so that the start of a lossless width shows as 0.
        share = tf.nn.softmax(wanted)
        loss = tf.reduce_sum(share * (tf.nn.log_softmax(wanted) - tf.nn.log_softmax(logits)), -1)
        same = tf.cast(tf.argmax(logits, -1) == tf.argmax(wanted, -1), tf.float32)
        return mean(loss), tf.reduce_sum(same)


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
    """
    model, teacher, options = assignment.model, assignment.teacher, assignment.options
    parts = split(assignment.data, options.validation)
    # Held out first: what is wrong with samples shows there as well, and sooner.
    held_out, training = (Samples(model, part) for part in parts[::-1])
    objective = Objective(twin, labels=teacher is None)
    gains: Mapping[str, np.ndarray] = {}
    if teacher is None:
        _labels(assignment.data, objective)  # All of them first: messages speak of the data as given, not of a part.
        targets = [_labels(part, objective) for part in parts]
    else:
        taught_by = Twin(Module.parse(teacher.bytecode, teacher.source), reference=options.reference)
        if options.fold_gains:
            gains = narrowed_gains(twin.graph, taught_by.graph)
        targets = [_taught(taught_by, each, objective, model, progress) for each in (training, held_out)]
    quantization = model.quantization
    if objective.point is None and quantization and quantization.outputs and quantization.outputs[0].scale > 0:
        objective.scale = quantization.outputs[0].scale
    elif teacher is None:
        first = held_out.at(np.arange(min(len(held_out), ASKED_AT_ONCE)))
        objective.scale = _usual_scale(twin.run(first, objective.keys)[0])
    else:
        objective.scale = _usual_scale(targets[0])
    return Course(Lesson(training, targets[0]), Lesson(held_out, targets[1]), objective, gains)


def _usual_scale(logits: np.ndarray) -> float:
    """Real units of one step, so that these logits have the usual spread."""
    spread = float(np.std(logits - logits.mean(-1, keepdims=True)))
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
    point, source = loss_point(teacher.graph), teacher.graph.source
    if (point is None) != (objective.point is None):
        raise ModelError(f"{source}: the teacher has another graph than {model.source}; give its original")
    parts = []
    with progress.task("ask the teacher", len(samples)) as advance:
        for start in range(0, len(samples), ASKED_AT_ONCE):
            chunk = samples.at(np.arange(start, min(start + ASKED_AT_ONCE, len(samples))))
            found = teacher.run(chunk, None if point is None else [point.key])[0]
            parts.append(found.astype(np.int32))
            advance(len(chunk[0]))
    targets = np.concatenate(parts)
    if targets.shape[-1] != objective.classes:
        raise ModelError(f"{source}: the teacher has other outputs than {model.source}; give its original")
    return targets
