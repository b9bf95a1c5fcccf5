# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Fine-tuning on the demo's digits: it recovers what narrowing lost, resumes exactly, and refuses bad input."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from runtime_modules import RescaleCase, constant, function, rescale, tensor
from tosa_rescale_runtime import Module

pytest.importorskip("tensorflow")

import tosa_rescale as tr
from tosa_rescale.core.changes import weight_changes
from tosa_rescale.core.errors import DataError, ModelError, OptionError, OutputError
from tosa_rescale.core.options import FinetuneOptions, NarrowOptions
from tosa_rescale.data.dataset import Dataset, Preprocessing
from tosa_rescale.data.source import as_dataset
from tosa_rescale.twin import Twin, read_graph
from tosa_rescale.twin.backend import tf
from tosa_rescale.twin.finetune import Finetuned, TrainingError, TrainingRun, finetune, narrowed_for_training
from tosa_rescale.twin.gains import narrowed_gains
from tosa_rescale.twin.scaling import Scale


@pytest.fixture(scope="module")
def digits(demo_data: pathlib.Path) -> dict[str, np.ndarray]:
    with np.load(demo_data) as file:
        return dict(file)


def dataset(x: np.ndarray, y: np.ndarray | None = None) -> Dataset:
    return Dataset("digits", x, None if y is None else y.astype(np.int64), Preprocessing())


@pytest.fixture(scope="module")
def training(digits: dict[str, np.ndarray]) -> Dataset:
    return dataset(digits["train_x"], digits["train_y"])


@pytest.fixture(scope="module")
def original(demo_model: pathlib.Path) -> tr.Model:
    return tr.load(demo_model)


def test_two_naive_bits_come_back_to_base_without_labels(original: tr.Model, digits: dict[str, np.ndarray]) -> None:
    unseen = dataset(digits["x"], digits["y"])
    base = original.evaluate(unseen).top1
    narrow = original.narrow(2)
    before = narrow.evaluate(unseen).top1
    tuned = narrow.finetune(dataset(digits["train_x"]), teacher=original, epochs=4, learning_rate=1.0)
    after = tuned.evaluate(unseen).top1
    assert base is not None
    assert before is not None
    assert after is not None
    assert before < base - 2  # else there is nothing to bring back
    assert after >= base - 0.4  # two of 500 digits
    # The trained model is as exact as any other, and its multipliers are still of two bits.
    assert tuned.check(unseen.take(16), engines=["iree", "tf"]).bit_exact
    assert {each.bits for each in tuned.info() if each.scope == "accumulator"} <= {1, 2}
    assert tuned.recipe[-1].name == "finetune"


def short(model: tr.Model, data: Dataset, **options: Any) -> Finetuned:
    teacher = options.pop("teacher", "original")
    run = {k: options.pop(k) for k in ("optimizer", "callbacks", "checkpoint", "resume", "force") if k in options}
    asked = FinetuneOptions(**{"epochs": 1, **options})
    return finetune(model, data, teacher=teacher, options=asked, run=TrainingRun(**run))


@pytest.mark.parametrize("depthwise", [False, True])
def test_gains_fold_into_weights_and_bias_of_each_output_channel(original: tr.Model, depthwise: bool) -> None:
    narrowed = original.narrow(3, multiplier_rounding="up")
    graphs = [read_graph(Module.parse(model.bytecode)) for model in (narrowed, original)]
    kinds = {node.key: node.kind for node in graphs[0].nodes}
    twin, gains = Twin(graphs[0], trainable=True), narrowed_gains(*graphs)
    key = next(key for key in gains if (kinds[key] == "depthwise_conv2d") == depthwise)
    layer, gain = twin.layers[key], gains[key]
    assert gain.size > 1 and gain.max() <= 1 and gain.min() > 0.75  # three bits, rounded up
    weights, bias = layer.integers()
    assert layer.fold_gain(gain)
    # Each channel's weights, whichever axes they are on, are off from gain * weight by a rounding.
    channels = (lambda w: w.reshape(-1, gain.size).T) if depthwise else (lambda w: w.reshape(gain.size, -1))
    assert np.abs(channels(layer.integers()[0]) - gain[:, None] * channels(weights)).max() <= 0.5 + 1e-5
    np.testing.assert_allclose(layer.integers()[1], bias * gain, atol=0.5)


def test_known_gains_are_folded_in_before_training(original: tr.Model, digits: dict[str, np.ndarray]) -> None:
    unseen, data = dataset(digits["x"], digits["y"]), dataset(digits["train_x"][:200])
    narrowed = original.narrow(2, multiplier_rounding="up")

    def start(model: tr.Model, **options: Any) -> tuple[dict[str, Any], tr.Model]:
        found = finetune(model, data, teacher=original, options=FinetuneOptions(epochs=1, learning_rate=1e-9, **options))
        return found.history[0], found.model

    figures, folded = start(narrowed)
    assert figures["folded"]["layers"] == len(Twin(Module.parse(narrowed.bytecode)).layers)
    assert figures["folded"]["validation_loss"] < figures["validation_loss"] / 4
    before, after = (model.evaluate(unseen, reference=original).agreement for model in (narrowed, folded))
    assert before is not None and after is not None
    assert before < 90 and after > 97
    # Not asked for, or already in the weights, or relative to other scales: nothing is folded.
    assert "folded" not in start(narrowed, fold_gains=False)[0]
    assert "folded" not in start(folded)[0]
    assert "folded" not in start(original.compensate(2, calibration="none"))[0]
    assert "folded" not in start(original.compensate(1, calibration="none", scope="all"))[0]


@pytest.mark.parametrize("adam", [False, True])
def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(
    original: tr.Model, training: Dataset, tmp_path: pathlib.Path, adam: bool
) -> None:
    model, data = original.narrow(2), training.take(96)

    def optimizer() -> Any:
        return tf.keras.optimizers.Adam(0.05) if adam else tf.keras.optimizers.SGD(0.1, momentum=0.9)

    path, undisturbed = tmp_path / "state.npz", tmp_path / "whole.npz"
    whole = short(model, data, epochs=3, optimizer=optimizer(), teacher=original, checkpoint=undisturbed)

    class Killed(tf.keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 3 and path.exists():
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        short(model, data, epochs=3, optimizer=optimizer(), teacher=original, callbacks=[Killed()], checkpoint=path)
    resumed = short(model, data, epochs=3, optimizer=optimizer(), teacher=original, checkpoint=path, resume=True)
    assert resumed.model.bytecode == whole.model.bytecode
    assert resumed.best_epoch == whole.best_epoch
    # The unrounded weights and the optimizer's state as well, and they did move.
    with np.load(path) as one, np.load(undisturbed) as other:
        assert sorted(one) == sorted(other)
        assert all(np.array_equal(one[name], other[name]) for name in one if name != "state")
        moved = [name for name in one if name.startswith("weight:") and not np.array_equal(one[name], np.rint(one[name]))]
        assert moved
    strip = [{k: v for k, v in entry.items() if k != "seconds"} for entry in resumed.history]
    assert strip == [{k: v for k, v in entry.items() if k != "seconds"} for entry in whole.history]


def test_the_result_is_never_worse_than_the_start(original: tr.Model, training: Dataset) -> None:
    class Drift(tf.keras.optimizers.SGD):
        """Moves the first layer's weights wherever the loss goes."""

        def apply_gradients(self, grads_and_vars: Any, **options: Any) -> Any:
            pairs = [(tf.ones_like(g) if i == 0 else tf.zeros_like(g), v) for i, (g, v) in enumerate(grads_and_vars)]
            return super().apply_gradients(pairs, **options)

    found = short(original, training.take(64), optimizer=Drift(0.2), teacher=original)
    assert found.history[0]["validation_loss"] == 0
    assert found.history[1]["validation_loss"] > 0
    assert found.best_epoch == 0
    assert found.model.bytecode == original.bytecode
    assert found.changes.percent == 0


def test_where_nothing_is_lost_nothing_moves(original: tr.Model, training: Dataset) -> None:
    # Gradients are rounding noise then, and dividing noise by its own size would move every weight at random.
    found = short(original, training.take(64), teacher=original)
    assert found.history[1]["validation_loss"] == 0
    assert found.model.bytecode == original.bytecode


def test_labels_teach_too(original: tr.Model, training: Dataset) -> None:
    found = short(original.narrow(1), training.take(320), epochs=2, teacher="labels")
    assert found.history[found.best_epoch]["validation_loss"] < found.history[0]["validation_loss"]
    # Labels tell no gains; rounded up, the start would be far off.
    assert NarrowOptions(1).before_training(FinetuneOptions(), "labels").multiplier_rounding == "nearest"


def test_the_original_is_known_from_the_file(original: tr.Model, training: Dataset) -> None:
    data = training.take(64)
    narrow = original.narrow(2, multiplier_rounding="up")
    assert short(narrow, data).model.bytecode == short(narrow, data, teacher=original).model.bytecode
    assert original.finetune(data, 2, epochs=1).bytecode == short(narrow, data).model.bytecode


def test_tf_data_is_accepted(original: tr.Model, training: Dataset) -> None:
    data = training.take(64)
    stream = tf.data.Dataset.from_tensor_slices((data.samples, data.labels)).batch(10)
    assert len(as_dataset(stream)) == 64
    narrow = original.narrow(2)
    given = short(narrow, stream, teacher=original)
    assert given.model.bytecode == short(narrow, data, teacher=original).model.bytecode


def test_of_several_outputs_the_first_is_trained_and_the_others_are_named(tmp_path: pathlib.Path) -> None:
    import networks

    (tmp_path / "pose.tflite").write_bytes(networks.pose("int8"))
    original = tr.load(tmp_path / "pose.tflite")
    images = np.random.default_rng(0).integers(-128, 128, (24, 16, 16, 3), np.int8)
    found = short(original.narrow(2), as_dataset(images), epochs=3, learning_rate=0.3, loss="squares", fold_gains=False)
    first, second = (each.name for each in original.signature.outputs)
    (remark,) = found.model.remarks
    assert remark.where == first and remark.text.endswith("what 1 other output alone read was not trained")
    changed = {each.name for each in weight_changes(original.narrow(2).bytecode, found.model.bytecode).layers if each.changed}
    assert changed and second not in changed


def test_callbacks_can_stop_and_see_the_agreement(original: tr.Model, training: Dataset) -> None:
    seen: list[float] = []

    class Stop(tf.keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seen.append(logs["val_agreement"])
            self.model.stop_training = True

    found = short(original.narrow(2), training.take(64), epochs=5, callbacks=[Stop()], teacher=original)
    assert len(seen) == 1
    assert [entry["epoch"] for entry in found.history] == [0, 1]


def test_a_trained_model_becomes_a_litert_file(original: tr.Model, training: Dataset, tmp_path: pathlib.Path) -> None:
    tuned = original.finetune(training.take(64), 2, epochs=1)
    path = tuned.save(tmp_path / "tuned.tflite")
    assert weight_changes(tuned.bytecode, tr.load(path).bytecode).percent == 0


def test_weight_changes_count() -> None:
    from tosa_rescale_runtime import Module

    model = tr.load(pathlib.Path(tr.__file__).parent / "demo" / "digits_int8.tflite")
    module = Module.parse(model.bytecode)
    op = next(op for op in module.ops() if op.kind == "conv2d")
    weights = module.constant(op, 1)
    assert weights is not None
    moved = weights.astype(np.int64)
    flat = moved.reshape(-1)
    flat[:3] += np.where(flat[:3] > 0, -1, 1) * np.array([1, 1, 4])
    module.set_constant(op, 1, moved)
    found = weight_changes(model.bytecode, module.to_bytecode())
    (layer,) = [each for each in found.layers if each.changed]
    assert (layer.op, layer.changed, layer.mean_absolute, layer.largest) == (op.key, 3, 2.0, 4)
    assert found.touched == 1
    assert found.percent == pytest.approx(100 * 3 / sum(each.weights for each in found.layers))
    assert found.mean_absolute == 2.0


# -- bad input ---------------------------------------------------------------------------------------------------------


def test_a_loss_that_is_no_number_stops_with_the_layer_named(
    original: tr.Model, training: Dataset, tmp_path: pathlib.Path
) -> None:
    class Poison(tf.keras.optimizers.SGD):
        def apply_gradients(self, grads_and_vars: Any, **options: Any) -> Any:
            pairs = list(grads_and_vars)
            pairs[4] = (pairs[4][0] * float("nan"), pairs[4][1])
            return super().apply_gradients(pairs, **options)

    path = tmp_path / "state.npz"
    model, data = original.narrow(2), training.take(64)
    short(model, data, checkpoint=path, teacher=original)
    kept = path.read_bytes()
    with pytest.raises(TrainingError, match=r"stopped in epoch 1: not a finite number at `.*conv2d.*lower the learning rate"):
        short(model, data, optimizer=Poison(0.1), checkpoint=path, teacher=original, force=True)
    assert path.read_bytes() == kept


def test_a_diverging_run_stops_with_the_layer_named(original: tr.Model, training: Dataset) -> None:
    with pytest.raises(TrainingError, match=r"diverged in epoch 1: loss .* after .*, weights of `.*` .*moved most, by"):
        short(original.narrow(4), training.take(128), optimizer=tf.keras.optimizers.SGD(200.0), teacher=original)


def test_bad_data_is_refused(original: tr.Model, digits: dict[str, np.ndarray]) -> None:
    x, y = digits["train_x"][:20], digits["train_y"][:20].astype(np.int64)
    with pytest.raises(DataError, match=r"label 10 is outside the model's 10 classes"):
        short(original, dataset(x, np.where(y == y[3], 10, y)), teacher="labels")
    with pytest.raises(DataError, match="has no labels, which `teacher='labels'` needs"):
        short(original, dataset(x), teacher="labels")
    with pytest.raises(DataError, match="0 samples cannot be split"):
        short(original, dataset(x[:0]))
    with pytest.raises(DataError, match="1 sample cannot be split"):
        short(original, dataset(x[:1]))
    with pytest.raises(
        DataError, match=r"`teacher='labels'` needs one class for each decision, integers \['N'\], got int64 \[20, 2\]"
    ):
        short(original, dataset(x, np.stack([y, y], 1)), teacher="labels")
    with pytest.raises(DataError, match="data: holds no samples"):
        finetune(original, tf.data.Dataset.from_tensor_slices(x[:0]).batch(2))
    with pytest.raises(DataError, match="int is no data set"):
        finetune(original, 3)


def test_bad_options_are_refused(original: tr.Model, training: Dataset) -> None:
    for options, message in (
        ({"epochs": 0}, "epochs: 0 is out of range"),
        ({"batch": 0}, "batch: 0 is out of range"),
        ({"learning_rate": 0.0}, "learning-rate: 0.0 is out of range"),
        ({"validation": 1.0}, "validation: 1.0 is out of range"),
    ):
        with pytest.raises(OptionError, match=message):
            FinetuneOptions(**options)
    with pytest.raises(OptionError, match="teacher: 'me' is not one of original, labels or a model"):
        short(original, training, teacher="me")
    with pytest.raises(OptionError, match="resume: needs a checkpoint"):
        short(original, training, resume=True)
    with pytest.raises(ModelError, match="its original is not known"):
        short(tr.Model(original.bytecode), training)


def test_a_checkpoint_of_another_run_is_refused(original: tr.Model, training: Dataset, tmp_path: pathlib.Path) -> None:
    path, data = tmp_path / "state.npz", training.take(64)
    short(original.narrow(2), data, checkpoint=path, teacher=original)
    with pytest.raises(OutputError, match="pass `resume=True` to go on, or `force=True`"):
        short(original.narrow(2), data, checkpoint=path, teacher=original)
    for model, samples, options, what in (
        (original.narrow(3), data, {}, "model"),
        (original.narrow(2), training.take(32), {}, "data"),
        (original.narrow(2), data, {"seed": 5}, "options"),
        (original.narrow(2), data, {"optimizer": tf.keras.optimizers.Adam()}, "optimizer"),
    ):
        with pytest.raises(ModelError, match=f"is a checkpoint of another {what}"):
            short(model, samples, checkpoint=path, resume=True, teacher=original, **options)
    with pytest.raises(DataError, match="there is no checkpoint to go on from"):
        short(original, data, checkpoint=tmp_path / "none.npz", resume=True, teacher=original)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match="is not a readable checkpoint"):
        short(original.narrow(2), data, checkpoint=path, resume=True, teacher=original)


FULL_DISK = """
import pathlib, resource, sys
import numpy as np
import tosa_rescale as tr
from tosa_rescale.data.dataset import Dataset, Preprocessing
from tosa_rescale.data.source import as_dataset
from tosa_rescale.core.options import FinetuneOptions
from tosa_rescale.twin.finetune import TrainingRun, finetune

model, samples, checkpoint = sys.argv[1:]
original = tr.load(model)
narrowed = original.narrow(2)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, resource.RLIM_INFINITY))
data = Dataset("digits", np.load(samples), None, Preprocessing())
options = FinetuneOptions(epochs=2)
try:
    finetune(narrowed, data, teacher=original, options=options, run=TrainingRun(checkpoint=checkpoint, resume=True))
except tr.TosaRescaleError as error:
    print(type(error).__name__, error)
"""


def test_a_full_disk_leaves_the_old_checkpoint(
    original: tr.Model, demo_model: pathlib.Path, training: Dataset, tmp_path: pathlib.Path
) -> None:
    data, path = dataset(training.take(32).samples), tmp_path / "state.npz"
    short(original.narrow(2), data, checkpoint=path, teacher=original)
    old = path.read_bytes()
    assert len(old) > 20000
    np.save(tmp_path / "samples.npy", data.samples)
    # A limit on the size of files is as good as a full disk, and needs no disk.
    argv = [sys.executable, "-c", FULL_DISK, str(demo_model), str(tmp_path / "samples.npy"), str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.startswith(f"OutputError {path}: cannot be written: File too large; the old file")
    assert path.read_bytes() == old
    assert sorted(each.name for each in tmp_path.iterdir()) == ["samples.npy", "state.npz"]
    # And it is good to go on from.
    found = short(original.narrow(2), data, epochs=2, checkpoint=path, resume=True, teacher=original)
    assert [entry["epoch"] for entry in found.history] == [0, 1, 2]


def test_samples_that_are_no_numbers_are_refused(original: tr.Model, digits: dict[str, np.ndarray]) -> None:
    x = digits["train_x"][:20].astype(np.float32)
    x[7, 0, 0] = np.nan
    with pytest.raises(DataError, match="digits: has values for image that are not finite"):
        short(original.narrow(2), dataset(x), teacher=original)


def test_a_callback_adds_to_the_history(original: tr.Model, training: Dataset, tmp_path: pathlib.Path) -> None:
    class Rate(tf.keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs["learning_rate"] = np.float32(0.5)
            logs["loss"] = "not this"

    path = tmp_path / "state.npz"
    found = short(original.narrow(2), training.take(32), callbacks=[Rate()], checkpoint=path, teacher=original)
    assert found.history[1]["learning_rate"] == 0.5
    assert isinstance(found.history[1]["loss"], float)
    with np.load(path) as file:
        assert json.loads(str(file["state"]))["history"] == list(found.history)


# -- what is trained ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("teacher", "rounding"), [("original", "up"), ("labels", "nearest")])
def test_python_the_command_line_and_a_sweep_train_the_same_start(
    original: tr.Model,
    demo_model: pathlib.Path,
    demo_data: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    teacher: str,
    rounding: str,
) -> None:
    from tosa_rescale.cli import main
    from tosa_rescale.core.options import NarrowOptions
    from tosa_rescale.core.progress import Silent
    from tosa_rescale.sweeping.training import TrainingPlan, train

    seen: list[tuple[bytes, str]] = []

    def note(model: Any, data: Any, *, teacher: Any, **_others: Any) -> None:
        """Stands for the training, and stops before it."""
        seen.append((model.bytecode, teacher if isinstance(teacher, str) else teacher.fingerprint))
        raise DataError("enough")

    monkeypatch.setattr("tosa_rescale.twin.finetune.finetune", note)
    with pytest.raises(DataError, match="enough"):
        original.finetune(demo_data, 2, teacher=teacher)
    argv = ["finetune", demo_model, "-o", tmp_path / "x.mlirbc", "--bits", 2, "--data", demo_data, "--teacher", teacher]
    assert main([str(each) for each in [*argv, "--quiet"]]) == 2
    with pytest.raises(DataError, match="enough"):
        plan = TrainingPlan(tr.load_data(demo_data), teacher=teacher)
        train(original, NarrowOptions(2), FinetuneOptions(), plan, Silent())
    assert len(seen) == 3 and len(set(seen)) == 1
    assert seen[0][0] == original.narrow(2, multiplier_rounding=rounding).bytecode
    start, taught_by = narrowed_for_training(original, 2, FinetuneOptions(), teacher)
    assert start.bytecode == seen[0][0] and taught_by == (original if teacher == "original" else "labels")


# -- more than one image in, and no batch ------------------------------------------------------------------------------


def linear(rows: int, inputs: int) -> tr.Model:
    """One or two inputs [rows, 1, 1, 8], combined by xor, a linear layer of 4 outputs and a rescale."""
    # Its first dimension is not 1: it counts no samples.
    rng = np.random.default_rng(5)
    shape, out = (rows, 1, 1, 8), (rows, 1, 1, 4)
    kinds = {"x": tensor(shape, "i8"), "w": "tensor<4x1x1x8xi8>", "b": "tensor<4xi32>", "z": "tensor<1xi8>"}
    body = constant("w", rng.integers(-127, 128, (4, 1, 1, 8)), "i8") + constant("b", rng.integers(-99, 99, 4), "i32")
    body += constant("z", [0], "i8")
    name = "x0"
    if inputs == 2:
        body += f'    %s = "tosa.bitwise_xor"(%x0, %x1) : ({kinds["x"]}, {kinds["x"]}) -> {kinds["x"]}\n'
        name = "s"
    zeros, ones = (f"array<i64: {values}>" for values in ("0, 0, 0, 0", "1, 1"))
    body += (
        f'    %a = "tosa.conv2d"(%{name}, %w, %b, %z, %z) <{{acc_type = i32, pad = {zeros}, stride = {ones},'
        f" dilation = {ones}}}> : ({kinds['x']}, {kinds['w']}, {kinds['b']}, {kinds['z']}, {kinds['z']})"
        f" -> {tensor(out, 'i32')}\n"
    )
    body += rescale("y", "a", out, RescaleCase("i32", "i8", (1518500249, 1985246732, 1288490188, 1100000000), (40,) * 4))
    arguments = [(f"x{i}", kinds["x"]) for i in range(inputs)]
    return tr.Model(Module.parse(function(arguments, body, [("y", tensor(out, "i8"))])).to_bytecode(), "linear")


@pytest.mark.parametrize("inputs", [1, 2])
def test_a_layer_over_several_rows_is_checked_and_trained(inputs: int) -> None:
    # [16, 1, 1, 8] is one sample, not sixteen.
    original = linear(16, inputs)
    narrowed = original.narrow(2, multiplier_rounding="up")
    rng = np.random.default_rng(6)
    names = [spec.name for spec in original.input_specs]
    x = {name: rng.integers(-128, 128, (40, 16, 1, 1, 8)).astype(np.int8) for name in names}
    samples = Dataset("rows", x if inputs == 2 else x[names[0]], None, Preprocessing())
    assert narrowed.check(samples.take(3), engines=["iree", "tf", "tf64"]).bit_exact
    found = finetune(narrowed, samples, teacher=original, options=FinetuneOptions(epochs=2))
    leading = found.history[0].get("folded", found.history[0])
    assert leading["validation_loss"] < found.history[0]["validation_loss"] / 2
    assert found.changes.touched == 1
    assert found.model.check(samples.take(3), engines=["iree", "tf"]).bit_exact


# -- command line ------------------------------------------------------------------------------------------------------


def smallest_gain(narrowed: pathlib.Path, original: pathlib.Path) -> float:
    """The least M_q / M of any MAC layer's channel."""
    ours, theirs = (
        {
            node.key: node.rescale
            for node in read_graph(Module.parse(tr.load(path).bytecode)).nodes
            if node.operand_bits[0] == 32
        }
        for path in (narrowed, original)
    )
    pairs = [(ours[key], theirs[key]) for key in theirs if theirs[key] is not None]
    return min(float((Scale(a.multiplier, a.shift).real / Scale(b.multiplier, b.shift).real).min()) for a, b in pairs)


def test_the_command_trains_and_writes(cli, demo_model: pathlib.Path, training: Dataset, tmp_path: pathlib.Path) -> None:
    np.savez(tmp_path / "train.npz", x=training.samples[:200])
    done = cli(
        "finetune", demo_model, "-o", "tuned.tflite", "--bits", 2, "--data", "train.npz", "--epochs", 1, "--json", "f.json"
    )
    assert done.returncode == 0, done.stderr
    assert "% of the weights changed" in done.stdout
    assert (tmp_path / "tuned.tflite").exists()
    assert not (tmp_path / "tuned.tflite.checkpoint.npz").exists()
    figures = json.loads((tmp_path / "f.json").read_text())
    assert [entry["epoch"] for entry in figures["history"]] == [0, 1]
    assert figures["changes"]["touched"] > 0
    assert figures["history"][0]["folded"]["layers"] == len(figures["changes"]["layers"])
    assert any(line.split()[:1] == ["gains"] for line in done.stdout.splitlines())
    argv = ("finetune", demo_model, "-o", "plain.mlirbc", "--bits", 2, "--data", "train.npz", "--epochs", 1)
    assert cli(*argv, "--no-fold-gains", "--json", "plain.json").returncode == 0
    assert "folded" not in json.loads((tmp_path / "plain.json").read_text())["history"][0]
    # What is folded in can shrink weights but not let them grow: multipliers are rounded up, unless nothing is folded in.
    assert smallest_gain(tmp_path / "tuned.tflite", demo_model) >= 0.999 > smallest_gain(tmp_path / "plain.mlirbc", demo_model)
    done = cli("finetune", demo_model, "-o", "other.tflite", "--bits", 2, "--data", "train.npz", "--teacher", "labels")
    assert done.returncode == 2
    assert "has no labels" in done.stderr
    assert done.stderr.count("\n") == 1 or "Traceback" not in done.stderr


def test_an_epoch_that_gains_nothing_is_taken_back(
    original: tr.Model, training: Dataset, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tosa_rescale.twin.trainer.DIVERGED", 1e9)  # which would stop it first
    monkeypatch.setattr("tosa_rescale.twin.trainer.TRIALS", 0)  # which would find such a rate before
    path = tmp_path / "state.npz"
    found = short(original.narrow(2), training.take(128), learning_rate=1000.0, teacher=original, checkpoint=path)
    assert found.history[1]["validation_loss"] > found.history[0]["validation_loss"]  # such steps are too large
    with np.load(path) as state:
        weights = [name for name in state if name.startswith("weight:")]
        assert weights and all(np.array_equal(state[name], state[name.replace("weight:", "best:")]) for name in weights)
