# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Rescale-aware fine-tuning: weights trained through the exact integer arithmetic of the narrowed model.

Gradients of an integer model differ between layers by orders of magnitude, with the multipliers behind them, and a weight is an
integer up to 127 that small steps never change. Four things make plain gradient descent work all the same.

- **What is known is not searched.** A layer that still has the teacher's weights starts with its channels' gains folded in
  (gains.py), if the held-out samples agree that this is better.
- **The rate is a share of the loss.** Before anything moves, the squared gradient of each layer is measured on the first
  batches; steps are scaled so that, to first order, all layers together take away `learning_rate` of the loss in each
  batch. A rate of 1 is Polyak's step, right for a loss whose minimum is near 0, as a distillation's is.
  Before anything moves, steps are halved until a first one leaves the loss on these batches no higher: all together, or where
  that takes more, those of weights, biases and gains each by itself. Gradients far longer than those measured are shortened.
  An epoch that leaves the held-out loss no lower is taken back, and the next one goes by half of the steps: near the end the
  loss is the noise of rounding, of which no step takes anything away.
- **Gains.** A narrowed multiplier is wrong by one factor for a whole output channel. To follow it in single weights is a
  long way, as large ones have far to go; so a step has three parts: along the weights, along the biases, and along the gain
  of each channel, which scales both. Nothing but weights and biases is stored or written.
- **Dither.** The trained real weight starts anywhere within its integer's rounding interval, by chance. The start is the
  same model, but a common step of a hundredth then changes one weight in a hundred, instead of none.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Generic

import numpy as np

from tosa_rescale.core.changes import WeightChanges, weight_changes
from tosa_rescale.core.display import count
from tosa_rescale.core.errors import ModelError, OptionError, OutputError, TosaRescaleError
from tosa_rescale.core.files import PathLike
from tosa_rescale.core.options import FinetuneOptions, MultiplierRounding, NarrowOptions
from tosa_rescale.core.passes import Diagnostic
from tosa_rescale.core.program import P, Program
from tosa_rescale.core.progress import Progress, Silent
from tosa_rescale.core.recipe import Step
from tosa_rescale.core.rescales import raised
from tosa_rescale.data.dataset import Dataset
from tosa_rescale.data.source import as_dataset
from tosa_rescale.rewrite.narrow import narrow
from tosa_rescale.twin.backend import tf
from tosa_rescale.twin.checkpoint import Checkpoint, read_checkpoint
from tosa_rescale.twin.descent import Optimizer
from tosa_rescale.twin.objective import Assignment
from tosa_rescale.twin.replicas import Replicas
from tosa_rescale.twin.trainer import Trainer, TrainingError, TrainingRun, plain


@dataclasses.dataclass(frozen=True, eq=False)
class Finetuned(Generic[P]):
    """The result.

    Attributes:
        model: with the weights of the best epoch; those of the start, with known gains, where none was better.
        history: for the start (epoch 0) and each epoch {epoch, loss, validation_loss, agreement, seconds}; loss and agreement
            (in per cent, with the teacher's decisions or the labels; of real values the part of their variance that is
            right) are of the held-out samples but for `loss`. Where gains were folded in, the start has `folded` too:
            {layers, validation_loss, agreement} after that.
        best_epoch: the one that was kept.
        changes: of the weights, from the start.
        loss: what was compared: divergence, squares or cross-entropy.
    """

    model: P
    history: tuple[dict[str, Any], ...]
    best_epoch: int
    changes: WeightChanges
    loss: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON: history, best_epoch, changes, loss."""
        plain_values = {"history": list(self.history), "best_epoch": self.best_epoch, "loss": self.loss}
        return plain_values | {"changes": self.changes.as_dict()}


def narrowed_for_training(
    model: P,
    bits: int | None,
    options: FinetuneOptions,
    teacher: Program | str = "original",
    *,
    multiplier_rounding: MultiplierRounding | str | None = None,
) -> tuple[P, Program | str]:
    """The model to train and its teacher, where a width may be asked for first.

    Args:
        model: the model.
        bits: narrow to this width first; None: train it as it is.
        options: of the training.
        teacher: "original" is this model before narrowing, if it is narrowed here.
        multiplier_rounding: of the narrowing; None: see NarrowOptions.before_training.
    """
    if bits is None:
        return model, teacher
    asked = NarrowOptions(bits, multiplier_rounding=multiplier_rounding)  # type: ignore[arg-type]  # an enum by its value
    return narrow(model, asked.before_training(options, teacher)), model if teacher == "original" else teacher


def finetune(
    model: P,
    data: Dataset | PathLike | Any,
    *,
    teacher: Program | str = "original",
    options: FinetuneOptions | None = None,
    run: TrainingRun | None = None,
    progress: Progress | None = None,
) -> Finetuned[P]:
    """Trains the weights and biases of a narrowed model through its own integer arithmetic.

    Args:
        model: where to start: narrowed, compensated or aligned.
        data: a Dataset, a folder, an .npz, or a tf.data.Dataset of batches.
        teacher: "original": the .tflite that the model was loaded from; "labels": cross-entropy with the data's labels; or
            a model whose logits are imitated.
        options: epochs, batch, learning rate and so on.
        run: optimizer, callbacks, checkpoint, replicas.
        progress: shows rate, remaining time, loss and agreement.

    Returns:
        The best epoch on the held-out samples; the start, with known gains folded in, where none was better.

    Raises:
        OptionError, DataError, ModelError: see the messages.
        OutputError: the checkpoint exists, or cannot be written.
        TrainingError: the loss is no number, or diverges.
    """
    options, run, progress = options or FinetuneOptions(), run or TrainingRun(), progress or Silent()
    model = raised(model)
    assignment = Assignment(model, as_dataset(data), _teacher(model, teacher), options)
    optimizer = Optimizer(run.optimizer, options, Replicas(run.strategy))
    identity = assignment.identity() | {"optimizer": plain(optimizer.keras.get_config())}
    found = _agreed_start(optimizer.replicas, model.source, identity, run)
    trainer = Trainer(assignment, optimizer, run, progress)
    if found is not None:
        trainer.restore(found)
    try:
        state = trainer.train(found or trainer.begin(identity))
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError) as error:
        raise TrainingError(
            f"{model.source}: another worker ended or cannot be reached; start all of them again"
            f"{run.kept()}{' (`resume=True`)' if run.path else ''}"
        ) from error
    bytecode = trainer.best(state)
    changes = weight_changes(model.bytecode, bytecode)
    step = Step(
        "finetune",
        {
            **options.as_dict(),
            "loss": trainer.loss,
            "teacher": teacher if isinstance(teacher, str) else teacher.source,
            "optimizer": optimizer.keras.name,
            "best_epoch": state.best_epoch,
            "history": state.history,
            "weights_changed_percent": changes.percent,
            "mean_absolute_change": changes.mean_absolute,
            "layers_touched": changes.touched,
        },
    )
    return Finetuned(
        model.after(bytecode, step, left_out(model)), tuple(state.history), state.best_epoch, changes, trainer.loss
    )


def left_out(model: Program) -> tuple[Diagnostic, ...]:
    """A remark on the outputs that a training does not compare; none where the model has one output."""
    first, *others = model.signature.outputs
    if not others:
        return ()
    text = f"is the only output that was compared; what {count(len(others), 'other output')} alone read was not trained"
    return (Diagnostic(first.name, "remark", text),)


def _agreed_start(replicas: Replicas, source: str, identity: dict[str, Any], run: TrainingRun) -> Checkpoint | None:
    """The checkpoint to go on from; None to start anew. All workers decide alike, else all of them stop.

    Raises:
        OptionError, OutputError, DataError, ModelError: what is wrong here.
        TrainingError: another worker has another start.
    """
    found, failure, path = None, None, run.path
    try:
        if run.resume and path is None:
            raise OptionError("resume: needs a checkpoint; name one")
        if path is not None and path.exists() and not run.resume and not run.force:
            raise OutputError(
                f"{path}: is the checkpoint of an unfinished run; pass `resume=True` to go on, or `force=True` to start anew"
            )
        if path is not None and run.resume:
            found = read_checkpoint(path, identity)
    except TosaRescaleError as error:
        failure = error
    text = json.dumps([identity, str(failure), found.epoch if found else 0], sort_keys=True)
    start = [np.frombuffer(text.encode(), np.uint8)]
    if found is not None:
        start += [found.weights[key] for key in sorted(found.weights)]
    differing = replicas.differing(lambda _: start)
    if failure is not None:
        raise failure
    if differing:
        raise TrainingError(
            f"{source}: workers {differing} start from another model, data, options or checkpoint than the first;"
            " give all of them the same command, and a checkpoint that all can read"
        )
    return found


def _teacher(model: Program, teacher: Program | str) -> Program | None:
    """The model to imitate; None for labels."""
    from tosa_rescale.formats.litert.read import original_of

    if isinstance(teacher, Program):
        return teacher
    if teacher == "labels":
        return None
    if teacher != "original":
        raise OptionError(f"teacher: {teacher!r} is not one of original, labels or a model")
    if model.flatbuffer is None:
        raise ModelError(f"{model.source}: came from no .tflite, so its original is not known; give it as the teacher")
    _, conversion = original_of(model)
    return dataclasses.replace(model, bytecode=conversion.bytecode, recipe=())
