# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Rescale-aware fine-tuning: weights trained through the exact integer arithmetic of the narrowed model.

Gradients of an integer model differ between layers by orders of magnitude, with the multipliers behind them, and a weight is an
integer up to 127 that small steps never change. Four things make plain gradient descent work all the same.

- **What is known is not searched.** A layer that still has the teacher's weights starts with its channels' gains folded in
  (gains.py), if the held-out samples agree that this is better.
- **The rate is a share of the loss.** Before anything moves, the squared gradient of each layer is measured on the first
  batches; steps are scaled so that, to first order, all layers together take away `learning_rate` of the loss in each
  batch. A rate of 1 is Polyak's step, right for a loss whose minimum is near 0, as a distillation's is.
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
import functools
import json
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic

import numpy as np
from tosa_rescale_runtime import Module

from tosa_rescale.core.changes import WeightChanges, weight_changes
from tosa_rescale.core.errors import DataError, ModelError, OptionError, OutputError, TosaRescaleError
from tosa_rescale.core.files import PathLike
from tosa_rescale.core.options import FinetuneOptions, MultiplierRounding, NarrowOptions
from tosa_rescale.core.program import P, Program
from tosa_rescale.core.progress import Progress, Silent
from tosa_rescale.core.recipe import Step
from tosa_rescale.data.dataset import Dataset, Preprocessing, load_data
from tosa_rescale.rewrite.narrow import narrow
from tosa_rescale.twin.backend import tf
from tosa_rescale.twin.checkpoint import Checkpoint, read_checkpoint
from tosa_rescale.twin.gains import narrowed_gains
from tosa_rescale.twin.graph import Graph, Twin, emit
from tosa_rescale.twin.replicas import Replicas
from tosa_rescale.twin.values import Node

PROBE_BATCHES = 4
"""Batches on which the size of gradients is measured."""

SHARES = (0.5, 0.3, 0.2)
"""What steps along weights, biases and gains are to take away of a layer's part of the loss."""

DITHER = 0.49
"""How far from its integer a trained weight may start."""

LOGIT_SPREAD = 3.0
"""Standard deviation given to logits whose scale the model does not tell, so that softmax is neither flat nor hard."""

NOTHING_LOST = 1e-9
"""A loss below this is none."""

DIVERGED = 4.0
"""An epoch whose loss is this many times the start's, and more than 1 above it, has diverged."""

IN_MEMORY = 1 << 30
"""Bytes of samples that are kept; larger data sets are read again for every epoch."""


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


@dataclasses.dataclass(frozen=True, eq=False)
class Finetuned(Generic[P]):
    """The result.

    Attributes:
        model: with the weights of the best epoch; those of the start, with known gains, where none was better.
        history: for the start (epoch 0) and each epoch {epoch, loss, validation_loss, agreement, seconds}; loss and agreement
            (in per cent, with the teacher's decisions or the labels) are of the held-out samples but for `loss`. Where gains
            were folded in, the start has `folded` too: {layers, validation_loss, agreement} after that.
        best_epoch: the one that was kept.
        changes: of the weights, from the start.
    """

    model: P
    history: tuple[dict[str, Any], ...]
    best_epoch: int
    changes: WeightChanges

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON: history, best_epoch, changes."""
        return {"history": list(self.history), "best_epoch": self.best_epoch, "changes": self.changes.as_dict()}


class _Trained:
    """What a Keras callback may ask of its model."""

    def __init__(self, twin: Twin, optimizer: Any, start: bytes) -> None:
        self.optimizer, self.stop_training = optimizer, False
        self._twin, self._start = twin, start
        self._variables = _variables(twin)

    def bytecode(self) -> bytes:
        """The module with the weights of now, rounded."""
        return emit(self._twin, self._start)

    def get_weights(self) -> list[np.ndarray]:
        return [variable.numpy() for variable in self._variables]

    def set_weights(self, weights: Sequence[np.ndarray]) -> None:
        for variable, value in zip(self._variables, weights, strict=True):
            variable.assign(value)


def _variables(twin: Twin) -> list[Any]:
    return [variable for layer in twin.layers.values() for variable in (layer.kernel_variable, layer.bias_variable)]


def loss_point(graph: Graph) -> Node | None:
    """Where the loss is taken: None for the graph's first output, else an op before it.

    A softmax at the end of an integer model has coarse steps and hardly a gradient. It changes no decision, so the loss is
    taken before it: at the rescale of the last MAC layer.
    """
    last = max((i for i, node in enumerate(graph.nodes) if node.kind in ("conv2d", "fully_connected", "matmul")), default=None)
    if last is None or not any(node.kind == "table" for node in graph.nodes[last:]):
        return None
    # A table of 256 entries is an activation, and may change decisions; a softmax's have 513.
    if any(node.kind == "table" and node.operand_bits[0] == 8 for node in graph.nodes[last:]):
        return None
    return next((node for node in graph.nodes[last:] if node.kind == "rescale"), None)


class _Trainer:
    """One fine-tuning. Everything that a resumed run must repeat follows from options, data and model."""

    def __init__(
        self,
        model: Program,
        data: Dataset,
        teacher: Program | None,
        options: FinetuneOptions,
        optimizer: Any,
        callbacks: Sequence[Any],
        progress: Progress,
        replicas: Replicas,
        backtracks: bool,
    ) -> None:
        self.backtracks = backtracks
        self.model, self.options, self.progress, self.replicas = model, options, progress, replicas
        with replicas.scope():
            self.twin = Twin(Module.parse(model.bytecode, model.source), reference=options.reference, trainable=True)
        if not self.twin.layers:
            raise ModelError(f"{model.source}: has no layer with constant weights and bias; there is nothing to train")
        count = max(1, round(options.validation * len(data)))
        if len(data) < 2 or count >= len(data):
            raise DataError(f"{data.source}: {len(data)} samples cannot be split into training and validation; give at least 2")
        # Labels go with the data where no teacher is asked.
        self.held_out, self.training = _Samples(model, data.take(count)), _Samples(model, data.drop(count))
        self.labels = teacher is None
        self.gains: Mapping[str, np.ndarray] = {}
        self.point = loss_point(self.twin.graph)
        if teacher is None:
            self.targets = tuple(self._labels(part) for part in (data.drop(count), data.take(count)))
        else:
            taught_by = Twin(Module.parse(teacher.bytecode, teacher.source), reference=options.reference)
            if options.fold_gains:
                self.gains = narrowed_gains(self.twin.graph, taught_by.graph)
            self.targets = tuple(self._teach(taught_by, part) for part in (self.training, self.held_out))
        self.scale = self._logit_scale()
        self.optimizer = optimizer
        self.callbacks = list(callbacks)
        self.variables = _variables(self.twin)
        with replicas.scope():
            # Built now: a checkpoint restores its variables before the first step.
            self.optimizer.build(self.variables)
            # For each layer of weights, bias and gain.
            self.units = [tf.Variable(1.0, trainable=False, dtype=tf.float64) for _ in self.twin.layers for _ in SHARES]
        self._trace()

    # -- what is compared ----------------------------------------------------------------------------------------------

    def _labels(self, data: Dataset) -> np.ndarray:
        if data.labels is None:
            raise DataError(f"{data.source}: has no labels, which --teacher labels needs; use --teacher original")
        classes = self._classes()
        if data.labels.min() < 0 or data.labels.max() >= classes:
            bad = data.labels.min() if data.labels.min() < 0 else data.labels.max()
            raise DataError(
                f"{data.source}: label {bad} is outside the model's {classes} classes; check labels and --label-offset"
            )
        return data.labels.astype(np.int64)

    def _classes(self) -> int:
        shape = self.point.shape if self.point is not None else self.twin.graph.signature.outputs[0].shape
        return int(shape[-1] or 1)

    def _teach(self, twin: Twin, samples: _Samples) -> np.ndarray:
        """The teacher's logits, in the integers of the loss point."""
        point, source = loss_point(twin.graph), twin.graph.source
        if (point is None) != (self.point is None):
            raise ModelError(f"{source}: the teacher has another graph than {self.model.source}; give its original")
        parts = []
        with self.progress.task("ask the teacher", len(samples)) as advance:
            for chunk, _ in samples.batches(np.arange(len(samples)), 16):
                found = twin.run([chunk], None if point is None else [point.key])[0]
                parts.append(found.astype(np.int32))
                advance(len(chunk))
        targets = np.concatenate(parts)
        if targets.shape[-1] != self._classes():
            raise ModelError(f"{source}: the teacher has other outputs than {self.model.source}; give its original")
        return targets

    def _logit_scale(self) -> float:
        """Real units for one step of the logits."""
        quantization = self.model.quantization
        if self.point is None and quantization and quantization.outputs and quantization.outputs[0].scale > 0:
            return quantization.outputs[0].scale
        if self.labels:
            sample = self.twin.run([next(self.held_out.batches(np.arange(len(self.held_out)), 16))[0]], self._keys())[0]
        else:
            sample = self.targets[0]
        spread = float(np.std(sample - sample.mean(-1, keepdims=True)))
        return LOGIT_SPREAD / spread if spread > 0 else 1.0

    def _keys(self) -> list[str] | None:
        return None if self.point is None else [self.point.key]

    # -- steps ---------------------------------------------------------------------------------------------------------

    def _loss(self, x: Any, target: Any, count: Any) -> tuple[Any, Any]:
        """Loss summed over these samples and divided by all of the batch's `count`, and decisions that equal the target's."""
        (logits,) = self.twin.integers([x], self._keys())
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

    def _trace(self) -> None:
        spec = self.model.input_spec
        target = self.targets[0]
        signature = [
            tf.TensorSpec([None, *spec.shape], spec.dtype),
            tf.TensorSpec([None, *target.shape[1:]], target.dtype),
            tf.TensorSpec([], tf.int32),
        ]
        replicas = self.replicas

        def differentiated(x: Any, target: Any, count: Any) -> tuple[Any, list[Any]]:
            x, target = replicas.own(count, x, target)
            with tf.GradientTape() as tape:
                loss, _ = self._loss(x, target, count)
            return loss, tape.gradient(loss, self.variables, unconnected_gradients="zero")

        def score(x: Any, target: Any, count: Any) -> list[Any]:
            def on_replica(x: Any, target: Any) -> tuple[Any, Any]:
                x, target = replicas.own(count, x, target)
                return self._loss(x, target, count)

            return replicas.run(on_replica, x, target)

        def gradients(x: Any, target: Any, count: Any) -> list[Any]:
            def on_replica(x: Any, target: Any) -> list[Any]:
                loss, found = differentiated(x, target, count)
                return [loss, *replicas.gradients(found)]

            return replicas.run(on_replica, x, target)

        def step(x: Any, target: Any, count: Any) -> tuple[Any, Any, Any]:
            def on_replica(x: Any, target: Any) -> list[Any]:
                loss, found = differentiated(x, target, count)
                scaled = self._scaled(found)
                # It adds them up over the replicas.
                self.optimizer.apply_gradients(zip(replicas.gradients(scaled), self.variables, strict=True))
                spoiled = [tf.logical_not(tf.reduce_all(tf.math.is_finite(g))) for g in found]
                return [loss, tf.cast(tf.stack(spoiled), tf.float32)]

            loss, spoiled = replicas.run(on_replica, x, target)
            # Beyond the grid a weight's gradient is masked and it would never come back.
            for layer in self.twin.layers.values():
                layer.project(replicas.update)
            # The weights too: an optimizer may spoil what the gradients left whole.
            checked = [tf.reduce_all(tf.math.is_finite(tf.convert_to_tensor(v))) for v in self.variables]
            finite = tf.logical_and(spoiled == 0, tf.stack(checked))
            held = tf.stack([layer.within_bounds() for layer in self.twin.layers.values()])
            return loss, finite, held

        def traced(function: Callable[..., Any]) -> Callable[..., Any]:
            # Concrete: one of several functions made in a row is no sign of a mistake here, which TensorFlow warns of.
            made = functools.cache(tf.function(function, input_signature=signature, autograph=False).get_concrete_function)
            return lambda *batch: made()(*batch)

        # Traced when first called: some weights that outgrow their bounds do so many times.
        self._score, self._gradients, self._step = (traced(each) for each in (score, gradients, step))

    def _parts(self, found: Sequence[Any]) -> list[Any]:
        """For each layer the gradients by weights, by bias and by the logarithm of each channel's gain."""
        parts = []
        for layer, kernel, bias in zip(self.twin.layers.values(), found[::2], found[1::2], strict=True):
            parts += [kernel, bias, layer.gain_gradient(kernel, bias)]
        return parts

    def _scaled(self, found: Sequence[Any]) -> list[Any]:
        """The step that a rate of 1 takes, for each variable."""
        parts = [part * tf.cast(unit, part.dtype) for part, unit in zip(self._parts(found), self.units, strict=True)]
        steps = []
        for layer, kernel, bias, gain in zip(self.twin.layers.values(), parts[::3], parts[1::3], parts[2::3], strict=True):
            by_kernel, by_bias = layer.spread_gain(gain)
            steps += [kernel + by_kernel, bias + by_bias]
        return steps

    def fold_gains(self, start: dict[str, Any]) -> None:
        """Folds the known gains into weights and biases, unless held-out samples are the worse for it.

        Args:
            start: the figures of the start; gets those after folding as `folded`.
        """
        before = self.weights()
        layers = [key for key, gain in self.gains.items() if self.twin.layers[key].fold_gain(gain)]
        if not layers:
            return
        self._keep_bounds()
        loss, agreement = self.validate()
        if loss < start["validation_loss"] and agreement >= start["agreement"]:
            start["folded"] = {"layers": len(layers), "validation_loss": loss, "agreement": agreement}
        else:
            self.set_weights(before)
            self._keep_bounds()

    def start(self) -> None:
        """Chooses what each part of a gradient is multiplied by, and dithers the weights; see the module's text."""
        squares = np.zeros(len(self.units))
        order = np.random.default_rng([self.options.seed, 0]).permutation(len(self.training))
        chosen = order[: PROBE_BATCHES * self.options.batch]
        losses = []
        for batch in self._batches(0, chosen):
            loss, *found = self._gradients(*batch)
            self._require_finite([bool(np.isfinite(g.numpy()).all()) for g in found], None, 0)
            squares += [float(np.sum(np.square(part.numpy(), dtype=np.float64))) for part in self._parts(found)]
            losses.append(float(loss))
        # Where nothing is lost, gradients are the noise of float32 and must not be blown up to steps.
        if max(losses) <= NOTHING_LOST:
            squares[:] = 0
        for index, (unit, square) in enumerate(zip(self.units, squares, strict=True)):
            wanted = SHARES[index % len(SHARES)] * sum(losses) / len(self.twin.layers)
            unit.assign(wanted / square if square > 0 else 0.0)
        rng = np.random.default_rng([self.options.seed, 0, 0])
        for layer in self.twin.layers.values():
            layer.dither(rng, DITHER)

    def validate(self) -> tuple[float, float]:
        """Loss and agreement in per cent on the held-out samples."""
        loss = same = 0.0
        positions = 0
        for batch in self._batches(1, np.arange(len(self.held_out))):
            one, equal = self._score(*batch)
            loss += float(one) * int(batch[2])
            same += float(equal)
        target = self.targets[1]
        positions = target.size // (1 if self.labels else target.shape[-1])
        return loss / len(self.held_out), 100 * same / positions

    def _batches(self, part: int, order: np.ndarray) -> Iterator[tuple[Any, Any, Any]]:
        """Batches of the training (0) or held-out (1) samples: this process's share, its targets, the whole batch's size."""
        samples = (self.training, self.held_out)[part]
        for start in range(0, len(order), self.options.batch):
            rows = order[start : start + self.options.batch]
            own = self.replicas.share(rows)
            yield tf.constant(samples.at(own)), tf.constant(self.targets[part][own]), tf.constant(len(rows))

    def epoch(self, number: int, label: str, checkpoint: pathlib.Path | None) -> float:
        """Trains one epoch; returns the mean loss."""
        # The order follows from seed and epoch alone, so that a resumed run repeats it.
        order = np.random.default_rng([self.options.seed, number]).permutation(len(self.training))
        total = 0.0
        with self.progress.task(label, len(order)) as advance:
            for index, batch in enumerate(self._batches(0, order)):
                loss, finite, held = self._step(*batch)
                self._require_finite(finite.numpy().tolist(), checkpoint, number, float(loss))
                if not held.numpy().all():
                    self.twin.retrace()
                    self._trace()
                total += float(loss) * int(batch[2])
                advance(int(batch[2]))
                self.call("on_train_batch_end", index, {"loss": float(loss)})
        return total / len(order)

    def _require_finite(self, finite: Sequence[bool], checkpoint: pathlib.Path | None, epoch: int, loss: float = 0.0) -> None:
        if all(finite) and np.isfinite(loss):
            return
        layers = list(self.twin.layers.values())
        # Gradients flow from the last layer to the first: the one nearest to the output spoiled the others.
        bad = [index for index, good in enumerate(finite) if not good]
        where = layers[max(bad) // 2].where if bad else "the loss, behind the last layer"
        raise TrainingError(
            f"{self.model.source}: training stopped in epoch {epoch}: not a finite number at {where}; "
            f"lower the learning rate{_kept(checkpoint)}"
        )

    def require_converging(self, loss: float, start: float, epoch: int, checkpoint: pathlib.Path | None) -> None:
        """Raises TrainingError where an epoch's loss has left the start's far behind."""
        if loss <= max(DIVERGED * start, start + 1):
            return
        moved = {layer.key: layer.mean_move() for layer in self.twin.layers.values()}
        worst = max(moved, key=lambda key: moved[key])
        raise TrainingError(
            f"{self.model.source}: training diverged in epoch {epoch}: loss {loss:.3g} after {start:.3g}, weights of"
            f" {self.twin.layers[worst].where} moved most, by {moved[worst]:.2g} steps; lower the learning rate"
            f"{_kept(checkpoint)}"
        )

    # -- state ---------------------------------------------------------------------------------------------------------

    def weights(self) -> dict[str, np.ndarray]:
        """A copy of every variable, by name."""
        found = {}
        for key, layer in self.twin.layers.items():
            found[f"{key}.kernel"], found[f"{key}.bias"] = layer.kernel_variable.numpy(), layer.bias_variable.numpy()
        return found

    def set_weights(self, weights: dict[str, np.ndarray]) -> None:
        """Gives every variable the value of a copy."""
        for key, layer in self.twin.layers.items():
            layer.kernel_variable.assign(weights[f"{key}.kernel"])
            layer.bias_variable.assign(weights[f"{key}.bias"])

    def optimizer_state(self) -> list[np.ndarray]:
        """The optimizer's variables, then the units."""
        return [v.numpy() for v in [*self.optimizer.variables, *self.units]]

    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes back to a checkpoint."""
        variables = [*self.optimizer.variables, *self.units]
        if len(variables) != len(checkpoint.optimizer):
            raise ModelError("the checkpoint is of another optimizer; give the one that it was made with")
        self.set_weights(checkpoint.weights)
        for variable, value in zip(variables, checkpoint.optimizer, strict=True):
            variable.assign(value)
        self._keep_bounds()

    def go_back(self, weights: dict[str, np.ndarray]) -> None:
        """Goes back to weights from before, to go on from there by half of the steps."""
        self.set_weights(weights)
        self._keep_bounds()
        for unit in self.units:
            unit.assign(tf.convert_to_tensor(unit) / 2)

    def _keep_bounds(self) -> None:
        if not all(bool(layer.within_bounds()) for layer in self.twin.layers.values()):
            self.twin.retrace()
            self._trace()

    def require_same_weights(self, epoch: int) -> None:
        """Raises TrainingError where replicas do not hold the same integers."""
        layers = self.twin.layers.values()
        differing = self.replicas.differing(lambda copy: [array for layer in layers for array in layer.integers(copy)])
        if differing:
            raise TrainingError(
                f"{self.model.source}: after epoch {epoch} the integer weights of replicas {differing} differ from the first's;"
                " run all workers on one kind of processor with the same versions"
            )

    def call(self, name: str, *arguments: Any) -> None:
        """Calls every callback."""
        for callback in self.callbacks:
            getattr(callback, name)(*arguments)


class _Samples:
    """Samples as the model's integers: kept where they fit in memory, else read again."""

    def __init__(self, model: Program, data: Dataset) -> None:
        self._spec, self._data = model.input_spec, data
        size = len(data) * int(np.prod(self._spec.shape)) * self._spec.dtype.itemsize
        self._kept = np.concatenate(list(data.quantized(self._spec))) if size <= IN_MEMORY else None

    def __len__(self) -> int:
        return len(self._data)

    def batches(self, order: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Batches in this order: samples [<= size, *shape] and their indices."""
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            yield self.at(rows), rows

    def at(self, rows: np.ndarray) -> np.ndarray:
        """Samples [n, *shape] at these positions."""
        if self._kept is not None:
            return self._kept[rows]
        if not len(rows):
            return np.empty((0, *self._spec.shape), self._spec.dtype)
        return np.concatenate(list(self._data.select(rows).quantized(self._spec, len(rows))))


def _kept(checkpoint: pathlib.Path | None) -> str:
    return f"; the last good state is {checkpoint}" if checkpoint is not None and checkpoint.exists() else ""


def as_dataset(data: Any) -> Dataset:
    """A Dataset from one, from a folder or .npz, or from a tf.data.Dataset of batches x or (x, y).

    Raises:
        DataError: it is empty, or of another kind.
    """
    if isinstance(data, Dataset):
        found = data
    elif isinstance(data, (str, pathlib.Path)):
        found = load_data(data)
    elif isinstance(data, tf.data.Dataset):
        parts = [part if isinstance(part, tuple) else (part, None) for part in data.as_numpy_iterator()]
        if not parts:
            raise DataError("tf.data: holds no samples; give at least 2")
        labels = None if parts[0][1] is None else np.concatenate([np.asarray(y) for _, y in parts])
        found = Dataset("tf.data", np.concatenate([x for x, _ in parts]), labels, Preprocessing())
    else:
        raise DataError(f"data: {type(data).__name__} is not a Dataset, a path or a tf.data.Dataset")
    if not len(found):
        raise DataError(f"{found.source}: holds no samples; give at least 2")
    return found


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
    replicas, optimizer = Replicas(run.strategy), run.optimizer
    data = as_dataset(data)
    source = _teacher(model, teacher)
    path = None if run.checkpoint is None else pathlib.Path(run.checkpoint)
    # Another optimizer, and callbacks that steer it, have their own idea of the rate.
    backtracks = optimizer is None
    if optimizer is None:
        with replicas.scope():
            optimizer = tf.keras.optimizers.SGD(options.learning_rate)
    elif not replicas.owns(optimizer):
        raise OptionError("optimizer: was made for another strategy; make it within `with strategy.scope():`")
    identity = {
        "model": model.fingerprint,
        "data": data.fingerprint(),
        "teacher": "labels" if source is None else source.fingerprint,
        "options": {key: value for key, value in dataclasses.asdict(options).items() if key != "epochs"},
        "optimizer": _plain(optimizer.get_config()),
    }
    found = _agreed_start(replicas, model.source, identity, path, run.resume, run.force)
    trainer = _Trainer(model, data, source, options, optimizer, run.callbacks, progress, replicas, backtracks)
    if found is not None:
        state = found
        trainer.restore(state)
    else:
        loss, agreement = trainer.validate()
        first = {"epoch": 0, "loss": None, "validation_loss": loss, "agreement": agreement, "seconds": 0.0}
        trainer.fold_gains(first)
        trainer.start()
        weights = trainer.weights()
        state = Checkpoint(identity, 0, weights, weights, trainer.optimizer_state(), [first], 0)
    try:
        state = _run(trainer, state, path)
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError) as error:
        raise TrainingError(
            f"{model.source}: another worker ended or cannot be reached; start all of them again"
            f"{_kept(path)}{' (--resume)' if path else ''}"
        ) from error
    trainer.set_weights(state.best)
    bytecode = emit(trainer.twin, model.bytecode)
    changes = weight_changes(model.bytecode, bytecode)
    step = Step(
        "finetune",
        {
            **dataclasses.asdict(options),
            "teacher": teacher if isinstance(teacher, str) else teacher.source,
            "optimizer": trainer.optimizer.name,
            "best_epoch": state.best_epoch,
            "history": state.history,
            "weights_changed_percent": changes.percent,
            "mean_absolute_change": changes.mean_absolute,
            "layers_touched": changes.touched,
        },
    )
    return Finetuned(model.after(bytecode, step), tuple(state.history), state.best_epoch, changes)


def _agreed_start(
    replicas: Replicas, source: str, identity: dict[str, Any], path: pathlib.Path | None, resume: bool, force: bool
) -> Checkpoint | None:
    """The checkpoint to go on from; None to start anew. All workers decide alike, else all of them stop.

    Raises:
        OptionError, OutputError, DataError, ModelError: what is wrong here.
        TrainingError: another worker has another start.
    """
    found, failure = None, None
    try:
        if resume and path is None:
            raise OptionError("resume: needs a checkpoint; name one")
        if path is not None and path.exists() and not resume and not force:
            raise OutputError(
                f"{path}: is the checkpoint of an unfinished run; pass --resume to go on, or --force to start anew"
            )
        if path is not None and resume:
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


def _run(trainer: _Trainer, state: Checkpoint, path: pathlib.Path | None) -> Checkpoint:
    """Trains the epochs that are left."""
    options, start = trainer.options, state.history[0]
    proxy = _Trained(trainer.twin, trainer.optimizer, trainer.model.bytecode)
    for callback in trainer.callbacks:
        callback.set_model(proxy)
    trainer.call("on_train_begin")
    for number in range(state.epoch + 1, options.epochs + 1):
        last = state.history[-1].get("folded", state.history[-1])
        label = f"epoch {number}/{options.epochs} (loss {last['validation_loss']:.4f}, agreement {last['agreement']:.1f} %)"
        trainer.call("on_epoch_begin", number - 1)
        began = time.perf_counter()
        loss = trainer.epoch(number, label, path)
        trainer.require_same_weights(number)
        validation_loss, agreement = trainer.validate()
        trainer.require_converging(validation_loss, start["validation_loss"], number, path)
        entry = {
            "epoch": number,
            "loss": loss,
            "validation_loss": validation_loss,
            "agreement": agreement,
            "seconds": time.perf_counter() - began,
        }
        # What a callback adds to the figures of an epoch belongs to its history.
        logs = {"loss": loss, "val_loss": validation_loss, "val_agreement": agreement}
        known = set(logs)
        trainer.call("on_epoch_end", number - 1, logs)
        entry |= _plain({name: value for name, value in logs.items() if name not in known})
        weights, best, best_epoch = trainer.weights(), state.best, state.best_epoch
        # The loss is the finer measure, but a model that decides worse than the start is never an improvement.
        leading = next(e.get("folded", e) for e in state.history if e["epoch"] == best_epoch)
        if agreement >= start["agreement"] and validation_loss < leading["validation_loss"]:
            best, best_epoch = weights, number
        elif trainer.backtracks and validation_loss >= leading["validation_loss"]:
            # Steps were larger than what is left to gain.
            trainer.go_back(best)
            weights = best
        state = Checkpoint(
            state.identity, number, weights, best, trainer.optimizer_state(), [*state.history, entry], best_epoch
        )
        if path is not None and trainer.replicas.chief:
            state.write(path)
        if proxy.stop_training:
            break
    trainer.call("on_train_end")
    return state


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


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    """An optimizer's configuration, or a callback's figures, as JSON gives them back."""

    def plain(value: Any) -> Any:
        return value.item() if isinstance(value, np.generic) else str(value)

    # Keras numbers its names through the process.
    return json.loads(json.dumps({key: value for key, value in config.items() if key != "name"}, default=plain))
