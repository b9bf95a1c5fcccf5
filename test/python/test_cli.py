# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The command line as a user meets it: what it writes, what it prints, how it ends."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tosa_rescale as tr
from conftest import Cli
from tosa_rescale.cli.demo import MAX_DROP
from tosa_rescale.sweeping.results import read_sweep
from tosa_rescale.sweeping.verdict import judge
from tosa_rescale_runtime import compile_module


def test_narrow_writes_a_model_that_info_reads(cli: Cli, demo_model: pathlib.Path, tmp_path: pathlib.Path) -> None:
    assert cli("narrow", demo_model, "-o", "x.mlirbc", "--bits", 4).returncode == 0
    done = cli("info", "x.mlirbc", "--json", "info.json")
    assert done.returncode == 0 and "pure shifts" in done.stdout
    rows = json.loads((tmp_path / "info.json").read_text())
    assert set(rows[0]) == {
        "name", "op", "scope", "channels", "scale32", "rounding_mode", "bits", "shift_min", "shift_max", "violations",
        "scale_factor", "key", "multiplier_bits", "power_of_two", "value_min", "value_max", "lowered", "intended_bits",
    }  # fmt: skip
    assert max(row["bits"] for row in rows if row["scope"] == "accumulator") == 4
    assert all(row["bits"] == max(row["multiplier_bits"]) and row["channels"] == len(row["multiplier_bits"]) for row in rows)
    assert all(row["power_of_two"] == (row["bits"] <= 1) for row in rows) and any(row["power_of_two"] for row in rows)
    assert all(row["value_min"] < row["value_max"] for row in rows)


@pytest.mark.parametrize("kind", ["mlirbc", "mlir"])
def test_info_fails_above_a_width_and_names_what_is_wider(cli: Cli, demo_model: pathlib.Path, kind: str) -> None:
    assert cli("narrow", demo_model, "-o", f"x.{kind}", "--bits", 4, "--scope", "all", "--elementwise-bits", 7).returncode == 0
    assert cli("info", f"x.{kind}", "--fail-above", 7).returncode == 0
    assert cli("info", f"x.{kind}", "--fail-above", 4, "--scope", "accumulator").returncode == 0
    done = cli("info", f"x.{kind}", "--fail-above", 4)
    assert done.returncode == 1 and "wider than 4 bits" in done.stdout
    # The first add of the demo is rescale4 to rescale7; the first MAC layer's rescale is not among what is named.
    assert done.stderr.startswith(f"x.{kind}: ") and done.stderr.count("\n") == 1
    named = done.stderr.partition("4 bits: ")[2].split(", ")
    assert "rescale5" in named and "rescale0" not in named


def test_info_judges_a_litert_file(cli: Cli, demo_model: pathlib.Path) -> None:
    done = cli("info", demo_model, "--fail-above", 30)
    assert done.returncode == 1 and "rescale0" in done.stderr
    assert cli("info", demo_model, "--fail-above", 31).returncode == 0


def test_evaluate_prints_and_writes_figures(
    cli: Cli, demo_model: pathlib.Path, demo_data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    cli("narrow", demo_model, "-o", "x.mlirbc", "--bits", 2)
    options = ("--data", demo_data, "--take", 50, "--json", "e.json", "--quiet")
    done = cli("evaluate", "x.mlirbc", "--reference", demo_model, *options)
    assert done.returncode == 0 and done.stderr == "" and "agreement" in done.stdout
    figures = json.loads((tmp_path / "e.json").read_text())
    assert {"samples", "top1", "top5", "agreement", "max_lsb", "mean_lsb"} <= figures.keys()
    assert figures["samples"] == 50


def test_check_says_bit_exact(cli: Cli, demo_model: pathlib.Path, tmp_path: pathlib.Path) -> None:
    done = cli("check", demo_model, "--inputs", 3, "--engines", "iree,iree-constant", "--json", "c.json")
    assert done.returncode == 0 and "bit-exact" in done.stdout
    assert json.loads((tmp_path / "c.json").read_text())["mismatches"] == 0


def test_check_says_no_with_status_1(cli: Cli, demo_model: pathlib.Path) -> None:
    # LiteRT's kernels round otherwise than TOSA: on enough random inputs some value differs.
    done = cli("check", demo_model, "--inputs", 50, "--engines", "iree,litert")
    assert done.returncode == 1 and "NOT bit-exact" in done.stdout


def test_sweep_prints_a_table_and_writes_a_folder(
    cli: Cli, demo_model: pathlib.Path, demo_data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    done = cli("sweep", demo_model, "--data", demo_data, "--take", 40, "--bits", "32,4,1", "-o", "out", "--json", "s.json")
    assert done.returncode == 0, done.stderr
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "results.csv",
        "results.json",
        "accuracy.svg",
        "sweep.json",
        "report.html",
        "points",
    }
    rows = json.loads((tmp_path / "s.json").read_text())
    assert [(row["method"], row["bits"]) for row in rows] == [("base", 32), ("narrow", 4), ("narrow", 1)]
    assert {"top1", "top5", "agreement", "seconds"} <= rows[0].keys()


def test_compensate_takes_what_its_pass_can_do(cli: Cli, demo_model: pathlib.Path, tmp_path: pathlib.Path) -> None:
    given = ("--shrinkage", 0.7, "--weight-rounding", "nearest", "--no-clip", "--hidden-bit", "--rounding-mode", "keep")
    done = cli("compensate", demo_model, "-o", "x.mlirbc", "--bits", 1, *given, "--calibration", "none", "--json", "c.json")
    assert done.returncode == 0, done.stderr
    recorded = json.loads((tmp_path / "c.json").read_text())
    expected = {"shrinkage": 0.7, "weight_rounding": "nearest", "clip": False, "hidden_bit": True, "rounding_mode": "keep"}
    assert {name: recorded[name] for name in expected} == expected
    rescales = [each for each in tr.load(tmp_path / "x.mlirbc").info() if each.scope == "accumulator"]
    assert {each.rounding_mode for each in rescales} == {"DOUBLE_ROUND"}
    assert max(each.bits or 0 for each in rescales) == 2  # the leading one and one more


def test_demo_tells_the_whole_story(cli: Cli, tmp_path: pathlib.Path) -> None:
    done = cli("demo", "-o", "report")
    assert done.returncode == 0, done.stderr
    assert "bit-exact" in done.stdout
    for folder in (tmp_path / "report", tmp_path / "report" / "transformer"):
        assert {"results.csv", "results.json", "accuracy.svg", "report.html"} <= {p.name for p in folder.iterdir()}
        # The digits prove what the page recommends: its loss is bounded by what the demo allows.
        page = (folder / "report.html").read_text()
        assert "1 significant bit is enough: a pure shift, no multiplier." in page
        best = judge(read_sweep(folder)).best
        assert best is not None and best.loss is not None and best.loss.high <= MAX_DROP


def test_convert_goes_between_kinds(cli: Cli, demo_model: pathlib.Path, demo: tr.Model, tmp_path: pathlib.Path) -> None:
    def numbers(model: tr.Model) -> list[tuple[object, ...]]:
        return [(each.key, each.op, each.multiplier_bits, each.shift_min, each.shift_max) for each in model.info()]

    for target in ("x.mlirbc", "x.mlir", "x.vmfb"):
        assert cli("convert", demo_model, target).returncode == 0
    for target in ("x.mlirbc", "x.mlir"):
        read = tr.load(tmp_path / target)
        assert numbers(read) == numbers(demo) and read.quantization == demo.quantization
    assert (tmp_path / "x.vmfb").read_bytes() == compile_module(demo.bytecode)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["narrow", "{model}", "-o", "x.mlirbc", "--bits", "0"], "bits: 0 is out of range; give a whole number from 1 to 31"),
        (["narrow", "{model}", "-o", "x.mlirbc", "--bits", "32"], "bits: 32 is out of range"),
        (["narrow", "{model}", "-o", "x.mlirbc", "--bits=-1"], "bits: -1 is out of range"),
        (["narrow", "{model}", "-o", "x.mlirbc", "--bits", "eight"], "bits: 'eight' is not a whole number"),
        (
            ["narrow", "{model}", "-o", "x.mlirbc", "--bits", "16", "--encoding", "scale16"],
            "at most 15 significant bits, got 16",
        ),
        (["narrow", "{model}", "-o", "x.onnx", "--bits", "4"], "unknown suffix '.onnx'"),
        (["narrow", "{model}", "-o", "no/such/x.mlirbc", "--bits", "4"], "folder no/such does not exist"),
        (["narrow", "nowhere.tflite", "-o", "x.mlirbc", "--bits", "4"], "nowhere.tflite: cannot be read: No such file"),
        (["narrow", "{model}", "--bits", "4"], "Missing option '-o'"),
        (["narrow", "{model}", "-o", "x.mlirbc", "--bits", "4", "--colour"], "No such option"),
        (["evaluate", "{model}", "--data", "nowhere"], "nowhere: does not exist"),
        (["evaluate", "{model}", "--data", "{data}", "--engine", "gpu"], "engine: 'gpu' is not one of"),
        (["evaluate", "{model}", "--data", "{data}", "--take", "501"], "501 samples asked for, has 500"),
        (["sweep", "{model}", "--data", "{data}", "-o", "out", "--bits", "8,seven"], "bits: 'seven' is not a whole number"),
        (["sweep", "{model}", "--data", "{data}", "-o", "out", "--methods", "magic"], "methods: 'magic' is not one of"),
        (
            ["sweep", "{model}", "--data", "{data}", "-o", "out", "--epochs", "3"],
            "epochs: has no effect without --methods finetune",
        ),
        (["sweep", "{model}", "--data", "{data}", "-o", "out", "--samples", "0"], "samples: 0 is out of range; give a whole"),
        (
            ["compensate", "{model}", "-o", "x.mlirbc", "--bits", "4", "--shrinkage", "1.5"],
            "shrinkage: 1.5 is out of range; give a number from 0 to 1",
        ),
        (
            ["compensate", "{model}", "-o", "x.mlirbc", "--bits", "4", "--rounding-mode", "double"],
            "rounding-mode: compensation makes single rounding or keeps what is there",
        ),
        (["convert", "{model}", "x.mlirbc", "--shape", "image=1x0x8"], "shape: 'image=1x0x8' is no shape of an input"),
        (["convert", "{model}", "x.mlirbc", "--shape", "1x8x8x1"], "shape: '1x8x8x1' is no shape of an input"),
        (["check", "{model}", "-q", "-v"], "--quiet and --verbose contradict each other"),
        (["check", "{model}", "--engines", "iree"], "give at least two"),
        (["info", "{model}", "--fail-above", "0"], "fail-above: 0 is out of range; give a whole number from 1 to 31"),
        (["export", "{model}", "-o", "out", "--format", "json,vhdl"], "format: 'vhdl' is not one of json, c, hex, rtl"),
        (["export", "{model}", "-o", "out", "--format", ","], "format: names none; give at least one of json, c, hex, rtl"),
        (["export", "{model}", "-o", "no/such"], "folder no does not exist"),
        (["export", "{model}", "-o", "{data}"], "is a file; name a folder"),
        (["export", "{model}", "-o", "out", "--goldens", "nowhere"], "nowhere: does not exist"),
        (["hardware-cost", "-o", "x.json"], "output: has no effect without --liberty or --regenerate"),
        (["hardware-cost", "--period", "2ns"], "period, bits and activity: have no effect without --liberty"),
        (["hardware-cost", "--liberty", "x.lib", "--period", "2"], "period: '2' is no time; give one with its unit"),
        (["hardware-cost", "--liberty", "x.lib", "--period", "0ps"], "period: '0ps' is no time; give one with its unit"),
        (["hardware-cost", "--liberty", "nowhere.lib", "--activity", "default"], "nowhere.lib: cannot be read (No such file"),
        (["hardware-cost", "--liberty", "x.lib", "--bits", "33"], "bits: 33 is out of range for int8"),
        (["hardware-cost", "--liberty", "x.lib", "--macs", "four"], "macs: 'four' is no list of whole numbers"),
        (["hardware-cost", "--design", "int4"], "design: 'int4' is not one of int8"),
        (["hardware-cost", "--liberty", "{model}", "--activity", "default"], "is no Liberty file"),
        (["nonsense"], "No such command 'nonsense'"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    cli: Cli, demo_model: pathlib.Path, demo_data: pathlib.Path, arguments: list[str], message: str
) -> None:
    done = cli(*(a.format(model=demo_model, data=demo_data) for a in arguments))
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.startswith("tosa-rescale: error: ") and done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_no_traceback_reaches_a_user(cli: Cli, tmp_path: pathlib.Path) -> None:
    (tmp_path / "x.tflite").write_bytes(b"\x1c\x00\x00\x00TFL3" + b"\xff" * 200)
    done = cli("info", "x.tflite")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder_is_named(cli: Cli, demo_model: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o555)
    done = cli("narrow", demo_model, "-o", "locked/x.mlirbc", "--bits", "4")
    assert done.returncode == 2 and "folder locked is not writable" in done.stderr


def test_a_full_disk_leaves_the_old_file(demo_model: pathlib.Path, tmp_path: pathlib.Path) -> None:
    target = tmp_path / "x.mlirbc"
    target.write_bytes(b"old")
    # A limit on file size fails a write as a full disk does, without a disk to fill.
    command = f"ulimit -f 8; exec {sys.executable} -m tosa_rescale narrow {demo_model} -o {target} --bits 4 --force"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert target.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.mlirbc"]


def test_a_killed_sweep_goes_on(cli: Cli, demo_model: pathlib.Path, demo_data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    arguments = ["sweep", str(demo_model), "--data", str(demo_data), "--bits", "8,4,2", "-o", "out", "--take", "200"]
    killed = subprocess.Popen([sys.executable, "-m", "tosa_rescale", *arguments], cwd=tmp_path, stderr=subprocess.DEVNULL)
    state = tmp_path / "out" / "sweep.json"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (state.exists() and len(json.loads(state.read_text())["points"]) >= 2):
        time.sleep(0.002)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    done_before = json.loads(state.read_text())["points"]

    assert cli(*arguments).returncode == 0
    points = json.loads((tmp_path / "out" / "results.json").read_text())["points"]
    assert [p["bits"] for p in points] == [32, 8, 4, 2]
    assert points[1] == done_before[1]  # not measured again


def test_npz_of_the_wrong_shape_is_named(cli: Cli, demo_model: pathlib.Path, tmp_path: pathlib.Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((3, 9, 9, 1), np.uint8), y=np.zeros(3, np.int64))
    done = cli("evaluate", demo_model, "--data", "x.npz")
    assert done.returncode == 2 and "samples have shape (9, 9, 1), the model's input image takes (8, 8, 1)" in done.stderr


def test_a_sweep_never_scores_what_it_calibrated_on(
    cli: Cli, demo_model: pathlib.Path, demo_data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    data = tr.load_data(demo_data)
    expected = len(data.take(60).without(data.take(50)))
    assert 0 < expected < 60  # some of the samples to score are calibrated on
    options = ("--take", 60, "--calibration", demo_data, "--samples", 50, "--bits", 1, "--methods", "compensate")
    done = cli("sweep", demo_model, "--data", demo_data, *options, "-o", "out", "--json", "s.json")
    assert done.returncode == 0, done.stderr
    assert {row["samples"] for row in json.loads((tmp_path / "s.json").read_text())} == {expected}
