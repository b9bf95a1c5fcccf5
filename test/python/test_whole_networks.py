# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Networks with float32 borders and several inputs through the commands, from real data to what is written."""

from __future__ import annotations

import pathlib
import warnings

import numpy as np
import pytest
import tosa_rescale as tr
from conftest import Cli
from tosa_rescale.data.source import CalibrationPlan
from tosa_rescale.formats.tosa import reference_model_available
from tosa_rescale.measure.engines import ENGINES

pytest.importorskip("tensorflow")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import networks


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> tr.Model:
    path = tmp_path_factory.mktemp("classifier") / "classifier.tflite"
    path.write_bytes(networks.classifier("float32"))
    return tr.load(path)


@pytest.fixture
def pair(tmp_path: pathlib.Path) -> pathlib.Path:
    """A network of two inputs, and `good.npz` with 12 samples of real values for it."""
    (tmp_path / "pair.tflite").write_bytes(networks.two_inputs())
    np.savez(tmp_path / "good.npz", **samples())  # pyright: ignore[reportArgumentType]
    return tmp_path / "pair.tflite"


def samples(count: int = 12) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    shapes = {"left": (8, 8, 3), "right": (4, 4, 6)}
    return {name: rng.normal(0, 1, (count, *shape)).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_evaluates_behind_a_float_border(classifier: tr.Model, engine: str) -> None:
    if engine == "reference" and not reference_model_available():
        pytest.skip("tosa_reference_model is not on PATH")
    images = np.random.default_rng(0).normal(0, 1, (6, 8, 8, 3)).astype(np.float32)
    assert classifier.flatbuffer is not None
    # The oracle: LiteRT on the file as the user has it, real values in, real values out.
    scores = np.concatenate([networks.run_litert(classifier.flatbuffer, [each[None]])[0] for each in images])
    found = classifier.evaluate((images, scores.argmax(1)), engine=engine, reference=classifier, metrics="top1,mse")
    assert found.samples == 6 and found.max_lsb is not None
    assert found.max_lsb <= 2 if engine == "litert" else found.max_lsb == 0
    clear = np.sort(scores, 1)[:, -1] - np.sort(scores, 1)[:, -2] > 4 / 256  # further apart than engines round
    assert found.top1 is not None and found.top1 >= 100 * clear.mean()
    errors = classifier.evaluate((images, scores), engine=engine, metrics="mse")
    assert errors.metrics["mse"].value < (1 / 256) ** 2  # in real units: one step of the output's scale here and there


def test_calibration_takes_each_input_by_its_name(cli: Cli, pair: pathlib.Path) -> None:
    model = tr.load(pair)
    given = CalibrationPlan(source=pair.parent / "good.npz").inputs(model.input_specs)
    assert given is not None
    wanted = [spec.quantization.quantize(samples()[spec.name], spec.dtype) for spec in model.input_specs if spec.quantization]
    assert [each.dtype for each in given] == [np.int8, np.int8]
    for array, expected in zip(given, wanted, strict=True):
        np.testing.assert_array_equal(array, expected)
    done = cli("compensate", pair, "-o", "one.tflite", "--bits", 1, "--calibration", "good.npz", "--quiet")
    assert done.returncode == 0, done.stderr
    written = tr.load(pair.parent / "one.tflite")
    here = model.compensate(1, calibration=pair.parent / "good.npz")
    found = written.evaluate(samples(), reference=here)
    assert found.max_lsb is not None and found.max_lsb <= 1  # float32 scales hold a multiplier to 2^-23: ties may move
    assert found.mean_lsb is not None and found.mean_lsb < 0.02


def test_training_takes_each_input_by_its_name(cli: Cli, pair: pathlib.Path) -> None:
    asked = ("--bits", 2, "--data", "good.npz", "--epochs", 1, "--batch", 4, "--quiet")
    done = cli("finetune", pair, "-o", "tuned.mlirbc", *asked)
    assert done.returncode == 0, done.stderr
    tuned = tr.load(pair.parent / "tuned.mlirbc")
    assert tuned.check(samples(), engines=("iree", "tf")).bit_exact
    assert max(each.bits or 32 for each in tuned.info() if each.scope == "accumulator") <= 2


BAD = {
    "missing": ({"left": samples()["left"]}, "has no array for right; the model's inputs are left, right, the arrays left"),
    "over": ({**samples(), "more": np.zeros(12)}, "has arrays that are no input: more; the model's inputs are left, right"),
    "rank": ({**samples(), "right": np.zeros((12, 4, 4), np.float32)}, "samples have shape (4, 4), the model's input right"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize(
    "command",
    [
        ("compensate", "-o", "x.tflite", "--bits", "1", "--calibration"),
        ("finetune", "-o", "x.tflite", "--bits", "2", "--epochs", "1", "--data"),
        ("evaluate", "--reference", "pair.tflite", "--data"),
        ("check", "--engines", "iree,tf", "--data"),
        ("sweep", "-o", "folder", "--bits", "4", "--data"),
    ],
    ids=lambda command: command[0],
)
def test_arrays_that_do_not_fit_the_inputs_are_named(
    pair: pathlib.Path, command: tuple[str, ...], name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tosa_rescale.cli import main

    monkeypatch.chdir(pair.parent)
    arrays, message = BAD[name]
    np.savez("bad.npz", **arrays)  # pyright: ignore[reportArgumentType]
    status = main([command[0], str(pair), *command[1:], "bad.npz", "--quiet"])
    said = capsys.readouterr().err.strip()
    assert status == 2 and said.startswith("tosa-rescale: error: ") and message in said and "\n" not in said
    assert not (pair.parent / "x.tflite").exists()
