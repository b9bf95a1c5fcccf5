# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One training: its start, its epochs, what is kept of them, and when it stops."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from tosa_rescale_runtime import Module

from tosa_rescale.core.errors import ModelError, TosaRescaleError
from tosa_rescale.core.files import PathLike
from tosa_rescale.core.progress import Progress
from tosa_rescale.twin.checkpoint import Checkpoint
from tosa_rescale.twin.descent import SHARES, Descent, Optimizer, Steps, variables_of
from tosa_rescale.twin.objective import Assignment, prepared
from tosa_rescale.twin.samples import Lesson
from tosa_rescale.twin.twin import Twin, emit

PROBE_BATCHES = 4
"""Batches on which the size of gradients is measured."""

TRIALS = 16
"""How often steps are halved at most before anything moves."""

DITHER = 0.49
"""How far from its integer a trained weight may start."""

NOTHING_LOST = 1e-9
"""A loss below this is none."""

DIVERGED = 4.0
"""An epoch whose loss is this many times the start's, and more than 1 above it, has diverged."""


class TrainingError(TosaRescaleError):
    """A training that went wrong; the message names the layer and where the last good state is."""


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingRun:
    """How one run goes, which does not decide what is asked: optimizer, callbacks, state on disk, replicas.

    Attributes:
        optimizer: any tf.keras optimizer; None: plain SGD. One that divides by the size of gradients itself, as Adam, has its
            rate in steps of the weight grid.
        callbacks: tf.keras callbacks; what they add to `logs` at the end of an epoch becomes part of its history.
        checkpoint: where the state goes after every epoch; None: nowhere.
        resume: go on from the checkpoint.
        force: overwrite a checkpoint that exists.
        strategy: a tf.distribute strategy, Mirrored or MultiWorkerMirrored; see docs/distributed.md. The batch is that of all
            replicas together. Only the first worker writes the checkpoint; all must be able to read it to resume.
    """

    optimizer: Any = None
    callbacks: Sequence[Any] = ()
    checkpoint: PathLike | None = None
    resume: bool = False
    force: bool = False
    strategy: Any = None

    @property
    def path(self) -> pathlib.Path | None:
        """Of the checkpoint."""
        return None if self.checkpoint is None else pathlib.Path(self.checkpoint)

    def kept(self) -> str:
        """Where the last good state is, as the end of a message; empty where there is none."""
        return f"; the last good state is {self.path}" if self.path is not None and self.path.exists() else ""


@dataclasses.dataclass(frozen=True, eq=False)
class _Probe:
    """What was measured before anything moves.

    Attributes:
        rows: of the samples that it was measured on.
        gradients: of the first batch of them, for each variable.
    """

    rows: np.ndarray
    gradients: list[Any]


class _Trained:
    """What a Keras callback may ask of its model."""

    def __init__(self, twin: Twin, optimizer: Any, start: bytes) -> None:
        self.optimizer, self.stop_training = optimizer, False
        self._twin, self._start = twin, start
        self._variables = variables_of(twin)

    def bytecode(self) -> bytes:
        """The module with the weights of now, rounded."""
        return emit(self._twin, self._start)

    def get_weights(self) -> list[np.ndarray]:
        return [variable.numpy() for variable in self._variables]

    def set_weights(self, weights: Sequence[np.ndarray]) -> None:
        for variable, value in zip(self._variables, weights, strict=True):
            variable.assign(value)


class Trainer:
    """Trains one assignment.

    Args:
        assignment: what is trained on what.
        optimizer: what moves the weights.
        run: how it goes.
        progress: shows rate, remaining time, loss and agreement.

    Raises:
        ModelError: the model has nothing to train, or the teacher has another graph.
        DataError: samples or labels do not fit.
    """

    def __init__(self, assignment: Assignment, optimizer: Optimizer, run: TrainingRun, progress: Progress) -> None:
        self._run, self._progress, self._backtracks = run, progress, optimizer.backtracks
        self._model, self._options, self._replicas = assignment.model, assignment.options, optimizer.replicas
        with self._replicas.scope():
            module = Module.parse(self._model.bytecode, self._model.source)
            self.twin = Twin(module, reference=self._options.reference, trainable=True)
        if not self.twin.layers:
            raise ModelError(f"{self._model.source}: has no layer with constant weights and bias; there is nothing to train")
        self._course = prepared(assignment, self.twin, progress)
        self._descent = Descent(self.twin, optimizer)
        self._steps = Steps(self._model, self._course, self._descent)

    @property
    def loss(self) -> str:
        """What is compared."""
        return self._course.objective.loss_name

    # -- start and end -------------------------------------------------------------------------------------------------

    def begin(self, identity: dict[str, Any]) -> Checkpoint:
        """The state before the first epoch: known gains folded in, units chosen, weights dithered.

        Args:
            identity: of the assignment with its optimizer.
        """
        loss, agreement = self.validate()
        first = {"epoch": 0, "loss": None, "validation_loss": loss, "agreement": agreement, "seconds": 0.0}
        self._fold_gains(first)
        probe = self._choose_units()
        rng = np.random.default_rng([self._options.seed, 0, 0])
        for layer in self.twin.layers.values():
            layer.dither(rng, DITHER)
        if self._backtracks:
            self._shorten_steps(probe)
        weights = self._descent.weights()
        return Checkpoint(identity, 0, weights, weights, self._descent.state(), [first], 0)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes back to a checkpoint."""
        self._descent.set_state(checkpoint.optimizer)
        self._descent.set_weights(checkpoint.weights)
        self._steps.keep_bounds()

    def best(self, state: Checkpoint) -> bytes:
        """The module with the weights of the best epoch, rounded."""
        self._descent.set_weights(state.best)
        return emit(self.twin, self._model.bytecode)

    def _fold_gains(self, start: dict[str, Any]) -> None:
        """Folds the known gains into weights and biases, unless held-out samples are the worse for it.

        Args:
            start: the figures of the start; gets those after folding as `folded`.
        """
        before = self._descent.weights()
        layers = [key for key, gain in self._course.gains.items() if self.twin.layers[key].fold_gain(gain)]
        if not layers:
            return
        self._steps.keep_bounds()
        loss, agreement = self.validate()
        if loss < start["validation_loss"] and agreement >= start["agreement"]:
            start["folded"] = {"layers": len(layers), "validation_loss": loss, "agreement": agreement}
        else:
            self._descent.set_weights(before)
            self._steps.keep_bounds()

    def _choose_units(self) -> _Probe:
        """Chooses what each part of a gradient is multiplied by; see finetune.py's text."""
        squares = np.zeros(len(self._descent.units))
        order = np.random.default_rng([self._options.seed, 0]).permutation(len(self._course.training))
        rows, losses, first = order[: PROBE_BATCHES * self._options.batch], [], None
        for batch in self._batches(self._course.training, rows):
            loss, *found = self._steps.gradients(*batch)
            self._require_finite([bool(np.isfinite(g.numpy()).all()) for g in found], 0)
            squares += [float(np.sum(np.square(part.numpy(), dtype=np.float64))) for part in self._descent.parts(found)]
            losses.append(float(loss))
            first = first or found
        # Where nothing is lost, gradients are the noise of float32 and must not be blown up to steps.
        if max(losses) <= NOTHING_LOST:
            squares[:] = 0
        self._descent.set_units(squares.tolist(), sum(losses), len(losses))
        assert first is not None
        return _Probe(rows, first)

    def _shorten_steps(self, probe: _Probe) -> None:
        """Halves steps until a first one leaves the loss of the probe no higher: all together, else
        those of weights, biases and gains each by itself.
        """
        before = self._scores(self._course.training, probe.rows)[0]
        if before <= NOTHING_LOST or self._gains_by(probe, before, range(len(SHARES))):
            return
        for kind in range(len(SHARES)):
            for _ in range(TRIALS):
                if self._gains_by(probe, before, [kind]):
                    break
                self._descent.halve([kind])

    def _gains_by(self, probe: _Probe, before: float, kinds: Sequence[int]) -> bool:
        """Whether one step along some kinds of parts leaves the probe's loss no higher; the weights stay as they are."""
        weights = self._descent.weights()
        self._descent.move(probe.gradients, kinds)
        # Beyond its bounds the twin is not exact, and no step goes as far that is any good.
        good = not self._descent.outgrown() and self._scores(self._course.training, probe.rows)[0] <= before
        self._descent.set_weights(weights)
        return good

    # -- epochs --------------------------------------------------------------------------------------------------------

    def train(self, state: Checkpoint) -> Checkpoint:
        """Trains the epochs that are left; the state after the last one."""
        proxy = _Trained(self.twin, self._descent.optimizer, self._model.bytecode)
        for callback in self._run.callbacks:
            callback.set_model(proxy)
        self._call("on_train_begin")
        for number in range(state.epoch + 1, self._options.epochs + 1):
            self._call("on_epoch_begin", number - 1)
            state = self._judged(state, self._epoch(number, state))
            if self._run.path is not None and self._replicas.chief:
                state.write(self._run.path)
            if proxy.stop_training:
                break
        self._call("on_train_end")
        return state

    def _epoch(self, number: int, state: Checkpoint) -> dict[str, Any]:
        """Trains one epoch; its entry of the history."""
        last = state.history[-1].get("folded", state.history[-1])
        shown = f"loss {last['validation_loss']:.4f}, agreement {last['agreement']:.1f} %"
        began = time.perf_counter()
        loss = self._pass_over_data(number, f"epoch {number}/{self._options.epochs} ({shown})")
        self._require_same_weights(number)
        validation_loss, agreement = self.validate()
        self._require_converging(validation_loss, state.history[0]["validation_loss"], number)
        figures = {"loss": loss, "validation_loss": validation_loss, "agreement": agreement}
        entry = {"epoch": number, **figures, "seconds": time.perf_counter() - began}
        # What a callback adds to the figures of an epoch belongs to its history.
        logs = {"loss": loss, "val_loss": validation_loss, "val_agreement": agreement}
        known = set(logs)
        self._call("on_epoch_end", number - 1, logs)
        return entry | plain({name: value for name, value in logs.items() if name not in known})

    def _pass_over_data(self, number: int, label: str) -> float:
        """One step for each batch; the mean loss."""
        # The order follows from seed and epoch alone, so that a resumed run repeats it.
        order = np.random.default_rng([self._options.seed, number]).permutation(len(self._course.training))
        total = 0.0
        with self._progress.task(label, len(order)) as advance:
            for index, batch in enumerate(self._batches(self._course.training, order)):
                loss, finite, held = self._steps.step(*batch)
                self._require_finite(finite.numpy().tolist(), number, float(loss))
                if not held.numpy().all():
                    self._steps.renew()
                total += float(loss) * int(batch[-1])
                advance(int(batch[-1]))
                self._call("on_train_batch_end", index, {"loss": float(loss)})
        return total / len(order)

    def _judged(self, state: Checkpoint, entry: dict[str, Any]) -> Checkpoint:
        """The state after an epoch: the best one's weights, and the steps taken back where nothing was gained."""
        weights, best, best_epoch = self._descent.weights(), state.best, state.best_epoch
        loss, agreement = entry["validation_loss"], entry["agreement"]
        # The loss is the finer measure, but a model that decides worse than the start is never an improvement.
        leading = next(e.get("folded", e) for e in state.history if e["epoch"] == best_epoch)
        if agreement >= state.history[0]["agreement"] and loss < leading["validation_loss"]:
            best, best_epoch = weights, entry["epoch"]
        elif self._backtracks and loss >= leading["validation_loss"]:
            # Steps were larger than what is left to gain.
            self._descent.set_weights(best)
            self._steps.keep_bounds()
            self._descent.halve()
            weights = best
        history = [*state.history, entry]
        return Checkpoint(state.identity, entry["epoch"], weights, best, self._descent.state(), history, best_epoch)

    def validate(self) -> tuple[float, float]:
        """Loss and agreement in per cent on the held-out samples."""
        lesson = self._course.held_out
        loss, same = self._scores(lesson, np.arange(len(lesson)))
        return loss, self._course.objective.agreement(loss, same, lesson)

    def _scores(self, lesson: Lesson, rows: np.ndarray) -> tuple[float, float]:
        """Mean loss, and the number of decisions that equal the target's, on some samples of a lesson."""
        loss = same = 0.0
        for batch in self._batches(lesson, rows):
            one, equal = self._steps.score(*batch)
            loss += float(one) * int(batch[-1])
            same += float(equal)
        return loss / len(rows), same

    def _batches(self, lesson: Lesson, order: np.ndarray) -> Any:
        return lesson.batches(order, self._options.batch, self._replicas.share)

    def _call(self, name: str, *arguments: Any) -> None:
        """Calls every callback."""
        for callback in self._run.callbacks:
            getattr(callback, name)(*arguments)

    # -- what stops it -------------------------------------------------------------------------------------------------

    def _require_finite(self, finite: Sequence[bool], epoch: int, loss: float = 0.0) -> None:
        if all(finite) and np.isfinite(loss):
            return
        layers = list(self.twin.layers.values())
        # Gradients flow from the last layer to the first: the one nearest to the output spoiled the others.
        bad = [index for index, good in enumerate(finite) if not good]
        where = layers[max(bad) // 2].where if bad else "the loss, behind the last layer"
        raise TrainingError(
            f"{self._model.source}: training stopped in epoch {epoch}: not a finite number at {where}; "
            f"lower the learning rate{self._run.kept()}"
        )

    def _require_converging(self, loss: float, start: float, epoch: int) -> None:
        """Raises TrainingError where an epoch's loss has left the start's far behind."""
        if loss <= max(DIVERGED * start, start + 1):
            return
        moved = {layer.key: layer.mean_move() for layer in self.twin.layers.values()}
        worst = max(moved, key=lambda key: moved[key])
        raise TrainingError(
            f"{self._model.source}: training diverged in epoch {epoch}: loss {loss:.3g} after {start:.3g}, weights of"
            f" {self.twin.layers[worst].where} moved most, by {moved[worst]:.2g} steps; lower the learning rate"
            f"{self._run.kept()}"
        )

    def _require_same_weights(self, epoch: int) -> None:
        """Raises TrainingError where replicas do not hold the same integers."""
        layers = self.twin.layers.values()
        differing = self._replicas.differing(lambda copy: [array for layer in layers for array in layer.integers(copy)])
        if differing:
            raise TrainingError(
                f"{self._model.source}: after epoch {epoch} the integer weights of replicas {differing} differ from the"
                " first's; run all workers on one kind of processor with the same versions"
            )


def plain(config: dict[str, Any]) -> dict[str, Any]:
    """An optimizer's configuration, or a callback's figures, as JSON gives them back."""

    def value_of(value: Any) -> Any:
        return value.item() if isinstance(value, np.generic) else str(value)

    # Keras numbers its names through the process.
    return json.loads(json.dumps({key: value for key, value in config.items() if key != "name"}, default=value_of))
