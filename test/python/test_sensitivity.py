# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One rescale narrowed at a time, against the same by hand: in NumPy on a chain of rescales, by `with_bits` on the demo."""

from __future__ import annotations

import csv
import dataclasses
import json
import pathlib

import numpy as np
import pytest
import tosa_rescale as tr
from conftest import Cli
from runtime_modules import RescaleCase, apply_rescale, function, rescale, tensor
from tosa_rescale.core.errors import DataError, OptionError
from tosa_rescale_runtime import Executable, Module, ModuleError, externalize

SHAPE = (1, 4, 3)
CHAIN = [
    RescaleCase("i8", "i16", (1518500251,), (24,), double_round=True),
    RescaleCase("i16", "i16", (1717986918, 1234567891, 1073741824), (31, 30, 30)),  # a word for each channel
    RescaleCase("i16", "i16", (1073741824,), (30,)),  # a power of two: costs nothing at any width
    RescaleCase("i16", "i16", (1803886265,), (31,), double_round=True),
]
SAMPLES = np.random.default_rng(5).integers(-128, 128, (6, *SHAPE[1:]), np.int8, endpoint=False)


def chain(cases: list[RescaleCase]) -> tr.Model:
    names = ["x", *(f"y{i}" for i in range(len(cases)))]
    body = "".join(rescale(name, names[i], SHAPE, case) for i, (name, case) in enumerate(zip(names[1:], cases, strict=True)))
    text = function([("x", tensor(SHAPE, "i8"))], body, [(names[-1], tensor(SHAPE, "i16"))])
    return tr.Model(Module.parse(text).to_bytecode(), "chain")


def run(cases: list[RescaleCase]) -> np.ndarray:
    values = SAMPLES.astype(np.int64)
    for case in cases:
        values = apply_rescale(values, case)
    return values.astype(np.int64)


def to_bits(case: RescaleCase, bits: int) -> RescaleCase:
    """A multiplier of this many significant bits, the nearest one: the formula, on Python integers; 31-bit, as it stands."""
    narrowed = []
    for multiplier in case.multiplier:
        step = 1 << max(multiplier.bit_length() - bits, 0)
        narrowed.append((multiplier + step // 2) // step * step)
    assert max(narrowed) < 1 << 31
    return dataclasses.replace(case, multiplier=tuple(narrowed))


@pytest.mark.parametrize("bits", [2, 3])
def test_chain_equals_numpy(bits: int) -> None:
    base = run(CHAIN)
    wanted = {}
    for i, case in enumerate(CHAIN):
        difference = np.abs(run([*CHAIN[:i], to_bits(case, bits), *CHAIN[i + 1 :]]) - base)
        wanted[f"rescale{i}"] = (difference.sum(), difference.max())
    del wanted["rescale2"]
    found = chain(CHAIN).sensitivity(SAMPLES, bits)
    assert {each.key: (round(each.mean_lsb * base.size, 6), each.max_lsb) for each in found} == wanted
    assert len({each.mean_lsb for each in found}) == 3, "rows that are alike would hide an exchange of two"
    assert [each.mean_lsb for each in found] == sorted((each.mean_lsb for each in found), reverse=True)
    assert all(each.bits == bits and each.before > bits for each in found)


def test_rows_equal_with_bits_by_hand(demo: tr.Model, digits: tr.Dataset) -> None:
    data = digits.take(24)
    inputs = np.concatenate([chunk[0] for chunk in data.batches(demo.input_specs)])
    base = Executable.build(demo.bytecode).run_many(inputs, workers=1)[0].astype(int)
    found = demo.sensitivity(data, 1, metrics="top1")
    assert len(found) > 5
    for each in found:
        by_hand = demo.with_bits({each.key: 1}).narrow(31, scope="all", rounding_mode="keep")
        wide = {info.key for info in by_hand.info() if info.bits == 1} - {info.key for info in demo.info() if info.bits == 1}
        assert wide == {each.key}
        outputs = Executable.build(by_hand.bytecode).run_many(inputs, workers=1)[0].astype(int)
        assert each.mean_lsb == pytest.approx(np.abs(outputs - base).mean(), abs=1e-12)
        assert each.max_lsb == np.abs(outputs - base).max()
        assert each.figure is not None and each.figure.name == "top1"
        right = outputs.reshape(len(data), -1).argmax(1) == data.classes
        assert each.figure.value == pytest.approx(100 * right.mean())
    losses = [each.figure.loss or 0.0 for each in found if each.figure]
    assert losses == sorted(losses, reverse=True)


def test_scope(demo: tr.Model, digits: tr.Dataset) -> None:
    found = demo.sensitivity(digits.take(4), 2, scope="accumulator")
    assert {each.key for each in found} == {each.key for each in demo.info() if each.scope == "accumulator"}


def test_nothing_is_compiled_but_the_model(demo: tr.Model, digits: tr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    import tosa_rescale_runtime.execute as execute

    asked: list[bytes] = []
    compiled = execute.compile_module
    monkeypatch.setattr(execute, "compile_module", lambda code, *rest: asked.append(code) or compiled(code, *rest))
    demo.sensitivity(digits.take(2), 3)
    assert len(asked) == 1


def test_words_of_another_graph_are_refused(demo: tr.Model) -> None:
    ours, other = externalize(demo.bytecode), externalize(chain(CHAIN).bytecode)
    with pytest.raises(ModuleError, match="`rescale0` cannot be exchanged"):
        ours.with_words_of(other, "rescale0")
    with pytest.raises(ModuleError, match="`rescale999` cannot be exchanged"):
        ours.with_words_of(ours, "rescale999")


def test_errors(demo: tr.Model, digits: tr.Dataset) -> None:
    with pytest.raises(OptionError, match="bits: 32 is out of range"):
        demo.sensitivity(digits, 32)
    with pytest.raises(OptionError, match="scope: 'mac' is not one of"):
        demo.sensitivity(digits, 2, scope="mac")
    with pytest.raises(DataError):
        demo.sensitivity(np.zeros((2, 5, 5, 1), np.uint8), 2)


def test_command(cli: Cli, demo_model: pathlib.Path, demo_data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    done = cli(
        *("sensitivity", demo_model, "--data", demo_data, "--take", 20, "--bits", 1, "--top", 3),
        *("--json", "s.json", "--csv", "s.csv"),
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "s.json").read_text())
    table = list(csv.DictReader((tmp_path / "s.csv").read_text().splitlines()))
    assert [row["key"] for row in table] == [row["key"] for row in rows]
    assert [float(row["mean_lsb"]) for row in table] == [row["mean_lsb"] for row in rows]
    printed = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("rescale")]
    assert printed == [row["key"] for row in rows[:3]]
    assert f"the first 3 of {len(rows)} shown" in done.stdout


def test_table_fits_80_columns(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from tosa_rescale.cli.sensitivity import print_ranking
    from tosa_rescale.measure.evaluation import MetricFigure
    from tosa_rescale.measure.sensitivity import Sensitivity

    monkeypatch.setenv("COLUMNS", "80")
    name = "efficientnet_lite0_1/" + "block/" * 20 + "Relu6"
    figure = MetricFigure("mean_square_error", 12.3456, 0.0, 12.3)
    row = Sensitivity("rescale127", name, "depthwise_conv2d", "accumulator", 31, 1, 12.345678, 254, figure)
    print_ranking([row], 1)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("rescale127") and "Relu6" in line and "12.3457" in line for line in lines)
