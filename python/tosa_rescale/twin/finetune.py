# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Rescale-aware fine-tuning: weights trained through the exact integer arithmetic of the narrowed model.

The learning rate is in steps of the weight grid. A weight of an integer model moves by whole steps whatever its layer, but
gradients differ between layers by orders of magnitude, with the multipliers behind them: a float model's rate, such as
0.01, moves nothing in one layer and everything in the next. So each layer's gradient is divided by its own root mean
square, measured on the first batches before any weight moves, and `learning_rate` 0.1 means: at first a typical weight
moves by a tenth of a step for each batch, and is rounded to another integer after five batches that agree.
A bias counts in steps of the accumulator, so one step of it is worth as much as one weight's at the input's size; its
gradients are scaled to move it by that many times as much.
"""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from tosa_rescale_runtime import Module

from tosa_rescale.changes import WeightChanges, weight_changes
from tosa_rescale.data import Dataset, Preprocessing, load_data
from tosa_rescale.errors import DataError, ModelError, OptionError, OutputError, TosaRescaleError
from tosa_rescale.files import PathLike
from tosa_rescale.progress import Progress, Silent
from tosa_rescale.state import Step
from tosa_rescale.twin.backend import tf
from tosa_rescale.twin.checkpoint import Checkpoint, read_checkpoint
from tosa_rescale.twin.lowering import Graph, Twin, emit
from tosa_rescale.twin.values import Node

if TYPE_CHECKING:
    from tosa_rescale.model import Model

PROBE_BATCHES = 4
"""Batches on which the size of gradients is measured."""

BIAS_UNIT = 64.0
"""Steps of an accumulator that count as one of a bias: the typical size of an 8-bit input."""

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


@dataclasses.dataclass(frozen=True)
class FinetuneOptions:
    """What a fine-tuning is asked to do.

    Attributes:
        epochs: passes over the training samples.
        batch: samples for one step.
        learning_rate: of the default optimizer, in steps of the weight grid.
        validation: share of the data held out to choose the epoch, 0 < share < 1; at least one sample.
        seed: of the order of samples.
        reference: float64 everywhere (slow) instead of float32 where that is exact.

    Raises:
        OptionError: a value is out of range.
    """

    epochs: int = 2
    batch: int = 16
    learning_rate: float = 0.1
    validation: float = 0.1
    seed: int = 0
    reference: bool = False

    def __post_init__(self) -> None:
        for name in ("epochs", "batch"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name}: {getattr(self, name)} is out of range; give at least 1")
        if not 0 < self.learning_rate < float("inf"):
            raise OptionError(f"learning-rate: {self.learning_rate} is out of range; give a number above 0")
        if not 0 < self.validation < 1:
            raise OptionError(f"validation: {self.validation} is out of range; give a share above 0 and below 1")


@dataclasses.dataclass(frozen=True, eq=False)
class Finetuned:
    """The result.

    Attributes:
        model: with the weights of the best epoch; those of the start where none was better.
        history: for the start (epoch 0) and each epoch {epoch, loss, validation_loss, agreement, seconds}; the last
            two on the held-out samples, agreement in per cent with the teacher's decisions or the labels.
        best_epoch: the one that was kept.
        changes: of the weights, from the start.
    """

    model: Model
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
        model: Model,
        data: Dataset,
        teacher: Model | None,
        options: FinetuneOptions,
        optimizer: Any,
        callbacks: Sequence[Any],
        progress: Progress,
    ) -> None:
        self.model, self.options, self.progress = model, options, progress
        self.twin = Twin(Module.parse(model.bytecode, model.source), reference=options.reference, trainable=True)
        if not self.twin.layers:
            raise ModelError(f"{model.source}: has no layer with constant weights and bias; there is nothing to train")
        count = max(1, round(options.validation * len(data)))
        if len(data) < 2 or count >= len(data):
            raise DataError(f"{data.source}: {len(data)} samples cannot be split into training and validation; give at least 2")
        # Labels go with the data where no teacher is asked.
        self.held_out, self.training = _Samples(model, data.take(count)), _Samples(model, data.drop(count))
        self.labels = teacher is None
        self.point = loss_point(self.twin.graph)
        if teacher is None:
            self.targets = tuple(self._labels(part) for part in (data.drop(count), data.take(count)))
        else:
            self.targets = tuple(self._teach(teacher, part) for part in (self.training, self.held_out))
        self.scale = self._logit_scale()
        self.optimizer = optimizer
        self.callbacks = list(callbacks)
        self.variables = _variables(self.twin)
        # Built now: a checkpoint restores its variables before the first step.
        self.optimizer.build(self.variables)
        self.units = [tf.Variable(1.0, trainable=False, dtype=tf.float64) for _ in self.variables]
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

    def _teach(self, teacher: Model, samples: _Samples) -> np.ndarray:
        """The teacher's logits, in the integers of the loss point."""
        twin = Twin(Module.parse(teacher.bytecode, teacher.source), reference=self.options.reference)
        point = loss_point(twin.graph)
        if (point is None) != (self.point is None):
            raise ModelError(f"{teacher.source}: the teacher has another graph than {self.model.source}; give its original")
        parts = []
        with self.progress.task("ask the teacher", len(samples)) as advance:
            for chunk, _ in samples.batches(np.arange(len(samples)), 16):
                found = twin.run([chunk], None if point is None else [point.key])[0]
                parts.append(found.astype(np.int32))
                advance(len(chunk))
        targets = np.concatenate(parts)
        if targets.shape[-1] != self._classes():
            raise ModelError(f"{teacher.source}: the teacher has other outputs than {self.model.source}; give its original")
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

    def _loss(self, x: Any, target: Any) -> tuple[Any, Any]:
        """Mean loss, and the number of decisions that equal the target's."""
        (logits,) = self.twin.integers([x], self._keys())
        logits = tf.cast(logits, tf.float32) * self.scale
        if self.labels:
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(target, logits)
            return tf.reduce_mean(loss), tf.reduce_sum(tf.cast(tf.argmax(logits, -1) == target, tf.float32))
        wanted = tf.cast(target, tf.float32) * self.scale
        if logits.shape[-1] == 1:
            return tf.reduce_mean((logits - wanted) ** 2), tf.reduce_sum(tf.cast(logits == wanted, tf.float32))
        # Kullback-Leibler: zero where student and teacher are one, so that the start of a lossless width shows as 0.
        share = tf.nn.softmax(wanted)
        loss = tf.reduce_sum(share * (tf.nn.log_softmax(wanted) - tf.nn.log_softmax(logits)), -1)
        same = tf.cast(tf.argmax(logits, -1) == tf.argmax(wanted, -1), tf.float32)
        return tf.reduce_mean(loss), tf.reduce_sum(same)

    def _trace(self) -> None:
        spec = self.model.input_spec
        target = self.targets[0]
        signature = [
            tf.TensorSpec([None, *spec.shape], spec.dtype),
            tf.TensorSpec([None, *target.shape[1:]], target.dtype),
        ]

        def gradients(x: Any, target: Any) -> tuple[Any, Any, list[Any]]:
            with tf.GradientTape() as tape:
                loss, same = self._loss(x, target)
            found = tape.gradient(loss, self.variables, unconnected_gradients="zero")
            return loss, same, found

        def step(x: Any, target: Any) -> tuple[Any, Any, Any]:
            loss, _, found = gradients(x, target)
            scaled = [g * tf.cast(unit, g.dtype) for g, unit in zip(found, self.units, strict=True)]
            self.optimizer.apply_gradients(zip(scaled, self.variables, strict=True))
            # Beyond the grid a weight's gradient is masked and it would never come back.
            for layer in self.twin.layers.values():
                layer.project()
            # The weights too: an optimizer may spoil what the gradients left whole.
            checked = [tf.reduce_all(tf.math.is_finite(g)) for g in found]
            checked = [c & tf.reduce_all(tf.math.is_finite(v)) for c, v in zip(checked, self.variables, strict=True)]
            finite = tf.stack(checked)
            held = tf.stack([layer.within_bounds() for layer in self.twin.layers.values()])
            return loss, finite, held

        def traced(function: Callable[..., Any]) -> Any:
            return tf.function(function, input_signature=signature, autograph=False)

        # Concrete, as a function traced anew is no sign of a mistake here.
        self._score = traced(self._loss).get_concrete_function()
        self._gradients = traced(gradients).get_concrete_function()
        self._step = traced(step).get_concrete_function()

    def measure_units(self) -> None:
        """Chooses what each variable's gradient is multiplied by; see the module's text."""
        squares = [0.0] * len(self.variables)
        order = np.random.default_rng([self.options.seed, 0]).permutation(len(self.training))
        chosen = order[: PROBE_BATCHES * self.options.batch]
        batches, worst = 0, 0.0
        for x, rows in self.training.batches(chosen, self.options.batch):
            loss, _, found = self._gradients(tf.constant(x), tf.constant(self.targets[0][rows]))
            self._require_finite([bool(np.isfinite(g.numpy()).all()) for g in found], None, 0)
            squares = [s + float(np.mean(np.square(g.numpy(), dtype=np.float64))) for s, g in zip(squares, found, strict=True)]
            batches, worst = batches + 1, max(worst, float(loss))
        for index, (unit, square) in enumerate(zip(self.units, squares, strict=True)):
            size = (square / batches) ** 0.5
            # Where nothing is lost, gradients are the noise of float32 and must not be blown up to steps.
            unit.assign((BIAS_UNIT if index % 2 else 1.0) / size if size > 0 and worst > NOTHING_LOST else 0.0)

    def validate(self) -> tuple[float, float]:
        """Loss and agreement in per cent on the held-out samples."""
        loss = same = 0.0
        positions = 0
        for x, rows in self.held_out.batches(np.arange(len(self.held_out)), self.options.batch):
            target = self.targets[1][rows]
            one, equal = self._score(tf.constant(x), tf.constant(target))
            loss += float(one) * len(x)
            same += float(equal)
            positions += target.size // (1 if self.labels else target.shape[-1])
        return loss / len(self.held_out), 100 * same / positions

    def epoch(self, number: int, label: str, checkpoint: pathlib.Path | None) -> float:
        """Trains one epoch; returns the mean loss."""
        # The order follows from seed and epoch alone, so that a resumed run repeats it.
        order = np.random.default_rng([self.options.seed, number]).permutation(len(self.training))
        total = 0.0
        with self.progress.task(label, len(order)) as advance:
            for index, (x, rows) in enumerate(self.training.batches(order, self.options.batch)):
                loss, finite, held = self._step(tf.constant(x), tf.constant(self.targets[0][rows]))
                self._require_finite(finite.numpy().tolist(), checkpoint, number, float(loss))
                if not held.numpy().all():
                    self.twin.retrace()
                    self._trace()
                total += float(loss) * len(x)
                advance(len(x))
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
        return [np.asarray(v) for v in [*self.optimizer.variables, *self.units]]

    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes back to a checkpoint."""
        variables = [*self.optimizer.variables, *self.units]
        if len(variables) != len(checkpoint.optimizer):
            raise ModelError("the checkpoint is of another optimizer; give the one that it was made with")
        self.set_weights(checkpoint.weights)
        for variable, value in zip(variables, checkpoint.optimizer, strict=True):
            variable.assign(value)
        if not all(bool(layer.within_bounds()) for layer in self.twin.layers.values()):
            self.twin.retrace()
            self._trace()

    def call(self, name: str, *arguments: Any) -> None:
        """Calls every callback."""
        for callback in self.callbacks:
            getattr(callback, name)(*arguments)


class _Samples:
    """Samples as the model's integers: kept where they fit in memory, else read again."""

    def __init__(self, model: Model, data: Dataset) -> None:
        self._spec, self._data = model.input_spec, data
        size = len(data) * int(np.prod(self._spec.shape)) * self._spec.dtype.itemsize
        self._kept = np.concatenate(list(data.quantized(self._spec))) if size <= IN_MEMORY else None

    def __len__(self) -> int:
        return len(self._data)

    def batches(self, order: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Batches in this order: samples [<= size, *shape] and their indices."""
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            if self._kept is not None:
                yield self._kept[rows], rows
            else:
                yield np.concatenate(list(self._data.select(rows).quantized(self._spec, size))), rows


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


def finetune(
    model: Model,
    data: Dataset | PathLike | Any,
    *,
    teacher: Model | str = "original",
    options: FinetuneOptions | None = None,
    optimizer: Any = None,
    callbacks: Sequence[Any] = (),
    checkpoint: PathLike | None = None,
    resume: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> Finetuned:
    """Trains the weights and biases of a narrowed model through its own integer arithmetic.

    Args:
        model: where to start: narrowed, compensated or aligned.
        data: a Dataset, a folder, an .npz, or a tf.data.Dataset of batches.
        teacher: "original": the .tflite that the model was loaded from; "labels": cross-entropy with the data's labels; or
            a model whose logits are imitated.
        options: epochs, batch, learning rate and so on.
        optimizer: any tf.keras optimizer, its rate in steps of the weight grid; None: plain SGD.
        callbacks: tf.keras callbacks; what they add to `logs` at the end of an epoch becomes part of its history.
        checkpoint: where the state goes after every epoch.
        resume: go on from the checkpoint.
        force: overwrite a checkpoint that exists.
        progress: shows rate, remaining time, loss and agreement.

    Returns:
        The best epoch on the held-out samples; the start where none was better.

    Raises:
        OptionError, DataError, ModelError: see the messages.
        OutputError: the checkpoint exists, or cannot be written.
        TrainingError: the loss is no number, or diverges.
    """
    options, progress = options or FinetuneOptions(), progress or Silent()
    data = as_dataset(data)
    source = _teacher(model, teacher)
    path = None if checkpoint is None else pathlib.Path(checkpoint)
    if resume and path is None:
        raise OptionError("resume: needs a checkpoint; name one")
    if path is not None and path.exists() and not resume and not force:
        raise OutputError(f"{path}: is the checkpoint of an unfinished run; pass --resume to go on, or --force to start anew")
    optimizer = optimizer or tf.keras.optimizers.SGD(options.learning_rate)
    identity = {
        "model": model.fingerprint,
        "data": data.fingerprint(),
        "teacher": "labels" if source is None else source.fingerprint,
        "options": {key: value for key, value in dataclasses.asdict(options).items() if key != "epochs"},
        "optimizer": _plain(optimizer.get_config()),
    }
    found = read_checkpoint(path, identity) if path is not None and resume else None
    trainer = _Trainer(model, data, source, options, optimizer, callbacks, progress)
    if found is not None:
        state = found
        trainer.restore(state)
    else:
        trainer.measure_units()
        loss, agreement = trainer.validate()
        first = {"epoch": 0, "loss": None, "validation_loss": loss, "agreement": agreement, "seconds": 0.0}
        weights = trainer.weights()
        state = Checkpoint(identity, 0, weights, weights, trainer.optimizer_state(), [first], 0)
    state = _run(trainer, state, path)
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
    result = dataclasses.replace(model, bytecode=bytecode, recipe=(*model.recipe, step), remarks=())
    return Finetuned(result, tuple(state.history), state.best_epoch, changes)


def _run(trainer: _Trainer, state: Checkpoint, path: pathlib.Path | None) -> Checkpoint:
    """Trains the epochs that are left."""
    options, start = trainer.options, state.history[0]
    proxy = _Trained(trainer.twin, trainer.optimizer, trainer.model.bytecode)
    for callback in trainer.callbacks:
        callback.set_model(proxy)
    trainer.call("on_train_begin")
    for number in range(state.epoch + 1, options.epochs + 1):
        last = state.history[-1]
        label = f"epoch {number}/{options.epochs} (loss {last['validation_loss']:.4f}, agreement {last['agreement']:.1f} %)"
        trainer.call("on_epoch_begin", number - 1)
        began = time.perf_counter()
        loss = trainer.epoch(number, label, path)
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
        leading = next(e for e in state.history if e["epoch"] == best_epoch)
        if agreement >= start["agreement"] and validation_loss < leading["validation_loss"]:
            best, best_epoch = weights, number
        state = Checkpoint(
            state.identity, number, weights, best, trainer.optimizer_state(), [*state.history, entry], best_epoch
        )
        if path is not None:
            state.write(path)
        if proxy.stop_training:
            break
    trainer.call("on_train_end")
    return state


def _teacher(model: Model, teacher: Model | str) -> Model | None:
    """The model to imitate; None for labels."""
    from tosa_rescale.importer import import_flatbuffer
    from tosa_rescale.model import Model

    if isinstance(teacher, Model):
        return teacher
    if teacher == "labels":
        return None
    if teacher != "original":
        raise OptionError(f"teacher: {teacher!r} is not one of original, labels or a model")
    if model.flatbuffer is None:
        raise ModelError(f"{model.source}: came from no .tflite, so its original is not known; give it as the teacher")
    imported = import_flatbuffer(model.flatbuffer, model.source)
    return dataclasses.replace(model, bytecode=imported.bytecode, recipe=())


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    """An optimizer's configuration, or a callback's figures, as JSON gives them back."""
    import json

    def plain(value: Any) -> Any:
        return value.item() if isinstance(value, np.generic) else str(value)

    # Keras numbers its names through the process.
    return json.loads(json.dumps({key: value for key, value in config.items() if key != "name"}, default=plain))
