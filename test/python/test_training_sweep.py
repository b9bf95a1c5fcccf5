# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Fine-tuning as a method of a sweep: figures of every epoch, on samples that are not trained on."""

from __future__ import annotations

import csv
import dataclasses
import json
import pathlib
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import tosa_rescale as tr
from tosa_rescale.api import sweep
from tosa_rescale.core.errors import OptionError
from tosa_rescale.core.options import CalibrationOptions, FinetuneOptions, NarrowOptions, Options
from tosa_rescale.data.dataset import Dataset, Preprocessing
from tosa_rescale.reporting import write_training
from tosa_rescale.sweeping.results import SweepPoint, SweepResult
from tosa_rescale.sweeping.training import EpochScores, TrainingPlan, split_training

# One rounding for both methods, so that training starts from the very model of the method `narrow`.
NEAREST = NarrowOptions(31, multiplier_rounding="nearest")  # type: ignore[arg-type]
OWN = {"finetune": FinetuneOptions(epochs=2, batch=16)}


@pytest.fixture(scope="module")
def training(demo_data: pathlib.Path) -> Dataset:
    with np.load(demo_data) as file:
        return Dataset("digits", file["train_x"][:192], None, Preprocessing())


@pytest.fixture(scope="module")
def swept(
    demo: tr.Model, digits: Dataset, training: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[SweepResult, pathlib.Path]:
    folder = tmp_path_factory.mktemp("sweep")
    plan = TrainingPlan(training)
    asked = {"options": NEAREST, "training": plan, "method_options": OWN}
    return sweep(demo, digits, folder, bits=[2], methods=["narrow", "finetune"], **asked), folder


@pytest.mark.parametrize("own", [{"narrow": FinetuneOptions()}, {"finetune": CalibrationOptions()}])
def test_options_of_no_method_are_refused(
    demo: tr.Model, digits: Dataset, training: Dataset, tmp_path: pathlib.Path, own: dict[str, Options]
) -> None:
    with pytest.raises(OptionError, match=r"method_options: '\w+' takes no \w+; give those of finetune \(FinetuneOptions\)"):
        sweep(demo, digits, tmp_path, bits=[2], methods=["finetune"], training=TrainingPlan(training), method_options=own)


def test_every_epoch_is_scored_on_the_same_samples_as_the_points(swept: tuple[SweepResult, pathlib.Path]) -> None:
    _, narrow, tuned = swept[0].points
    assert tuned.training is not None
    history, best = tuned.training["history"], tuned.training["best_epoch"]
    assert [entry["epoch"] for entry in history] == [0, 1, 2]
    # The points are evaluated by themselves: before training it is the narrowed model, the kept epoch is the result.
    for point, entry in ((narrow, history[0]), (tuned, history[best])):
        scored = dict(entry["scored"])
        metrics = scored.pop("metrics")
        assert metrics == {name: figure.value for name, figure in point.evaluation.metrics.items()}
        for name, value in scored.items():
            assert getattr(point.evaluation, name) == value
    assert best > 0
    assert tuned.evaluation.mean_lsb is not None
    assert narrow.evaluation.mean_lsb is not None
    assert tuned.evaluation.mean_lsb < narrow.evaluation.mean_lsb
    assert history[0]["weights"] == {"percent": 0.0, "mean_absolute": 0.0, "touched": 0, "largest": 0}
    changes = tuned.training["changes"]
    assert history[best]["weights"]["percent"] == pytest.approx(
        100 * sum(layer["changed"] for layer in changes["layers"]) / sum(layer["weights"] for layer in changes["layers"])
    )
    assert narrow.training is None


def test_a_finished_point_is_read_back_and_not_trained_again(
    swept: tuple[SweepResult, pathlib.Path], demo: tr.Model, digits: Dataset, training: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, folder = swept
    assert not (folder / ".training").exists()
    monkeypatch.setattr("tosa_rescale.twin.finetune.finetune", lambda *_a, **_o: pytest.fail("trained again"))
    plan = TrainingPlan(training)
    again = sweep(
        demo, digits, folder, bits=[2], methods=["narrow", "finetune"], options=NEAREST, training=plan, method_options=OWN
    )
    assert again.points == result.points
    point = result.points[-1]
    assert SweepPoint.from_dict(json.loads(json.dumps(point.as_dict()))) == point


def test_the_report_has_epochs_and_layers(swept: tuple[SweepResult, pathlib.Path]) -> None:
    result, folder = swept
    written = [path.name for path in write_training(folder, result)]
    assert written == ["epochs.csv", "layers.csv", "epochs.svg", "layers.svg"]
    with open(folder / "epochs.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert float(rows[0]["top1"]) == result.points[1].evaluation.top1
    with open(folder / "layers.csv", newline="") as file:
        layers = list(csv.DictReader(file))
    assert result.points[2].training is not None
    assert [int(row["changed"]) for row in layers] == [e["changed"] for e in result.points[2].training["changes"]["layers"]]
    assert write_training(folder, dataclasses.replace(result, points=result.points[:2])) == []


def test_an_interrupted_training_goes_on(
    swept: tuple[SweepResult, pathlib.Path],
    demo: tr.Model,
    digits: Dataset,
    training: Dataset,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run() -> SweepResult:
        asked = {"options": NEAREST, "training": TrainingPlan(training), "method_options": OWN}
        return sweep(demo, digits, tmp_path, bits=[2], methods=["finetune"], **asked)

    scored: list[int] = []
    original = EpochScores.on_epoch_end

    def interrupted(self: EpochScores, epoch: int, logs: dict[str, Any]) -> None:
        scored.append(epoch)
        if scored == [0, 1]:
            raise KeyboardInterrupt
        original(self, epoch, logs)

    monkeypatch.setattr(EpochScores, "on_epoch_end", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run()
    found = run()
    assert scored == [0, 1, 1]  # the first epoch is not trained again
    one, other = found.points[-1].training, swept[0].points[-1].training
    assert one is not None
    assert other is not None
    for entries in zip(one["history"], other["history"], strict=True):
        assert entries[0] | {"seconds": 0} == entries[1] | {"seconds": 0}
    assert one["changes"] == other["changes"]


def test_training_samples_are_not_scored(digits: Dataset, tmp_path: pathlib.Path) -> None:
    training, scored = split_training(digits, None, None)
    assert len(training) + len(scored) == len(digits)
    rows = {row.tobytes() for row in np.asarray(training.samples)}
    assert not any(row.tobytes() in rows for row in np.asarray(scored.samples))
    assert len(split_training(digits, None, 10)[0]) == 10
    # Every second of 500 samples is scored, every tenth of the same file is trained on, all of them odd ones.
    training, scored = split_training(digits.take(250), digits, 50)
    assert (len(training), len(scored)) == (50, 200)
    with pytest.raises(OptionError, match="train-samples: training takes 500 of 500 samples and leaves none to score"):
        split_training(digits, None, len(digits))
    # Files count by their path.
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    files = Dataset("files", paths, np.arange(4), Preprocessing())
    left = files.without(Dataset("other", [tmp_path / ".." / tmp_path.name / "2.png"], None, Preprocessing()))
    assert left.samples == [paths[0], paths[1], paths[3]]
    assert left.labels is not None
    assert left.labels.tolist() == [0, 1, 3]


def test_finetune_without_a_plan_is_refused(demo: tr.Model, digits: Dataset, tmp_path: pathlib.Path) -> None:
    with pytest.raises(OptionError, match="finetune needs samples to train on"):
        sweep(demo, digits, tmp_path, methods=["finetune"])


def test_the_command_trains_on_half_of_the_data(cli, demo_model: pathlib.Path, demo_data: pathlib.Path, tmp_path) -> None:
    done = cli(
        "sweep", demo_model, "--data", demo_data, "--bits", 2, "--methods", "finetune", "--epochs", 1, "--take", 100,
        "--learning-rate", 0.05, "-o", "out", "--quiet",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "accuracy on samples not trained on" in done.stdout
    state = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [point["samples"] for point in state["points"]] == [50, 50]
    assert (tmp_path / "out" / "epochs.svg").exists()
