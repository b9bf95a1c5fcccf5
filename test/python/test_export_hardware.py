# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Exports for hardware and firmware: compact pairs, JSON, C, memory images and golden vectors say what IREE computes."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shutil
import subprocess

import numpy as np
import pytest
import tosa_rescale as tr
from conftest import Cli
from hypothesis import given
from hypothesis import strategies as st
from runtime_modules import RescaleCase, apply_rescale, constant, function, rescale, rescale_module, tensor
from strategies import batches, budget
from tosa_rescale.core.errors import ModelError, OutputError
from tosa_rescale.core.options import Scope
from tosa_rescale.hardware import bundle
from tosa_rescale.hardware.bundle import write_bundle
from tosa_rescale.hardware.goldens import Vectors, record_goldens
from tosa_rescale.hardware.pairs import RescaleTable, compact_pairs, read_tables
from tosa_rescale_runtime import Executable, Module

GCC = ("gcc", "-std=c11", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-O1")


def model_of(text: str) -> tr.Model:
    return tr.Model(Module.parse(text).to_bytecode(), "made.mlir")


def check_goldens(folder: pathlib.Path) -> tuple[int, int]:
    """Compiles the exported kernel and runs it over the exported goldens: vectors and mismatches."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    program = folder.with_suffix(".bin")
    built = subprocess.run([*GCC, "-o", program, folder / "c" / "check_goldens.c"], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    done = subprocess.run([program, folder / "goldens"], capture_output=True, text=True, check=False)
    words = done.stdout.splitlines()[-1].split()
    assert (words[0], words[2]) == ("vectors", "mismatches") and done.returncode == (words[3] != "0"), done.stderr
    return int(words[1]), int(words[3])


# -- compact pairs ---------------------------------------------------------------------------------------------------------


@budget(100)
@given(batches, st.booleans(), st.integers(-(1 << 31), (1 << 31) - 1))
def test_a_compact_pair_computes_what_the_long_one_does(pairs: list[tuple[int, int]], twice: bool, value: int) -> None:
    multipliers, shifts = (np.array(each, np.int64) for each in zip(*pairs, strict=True))
    compacted = (each.tolist() for each in compact_pairs(multipliers, shifts, twice))
    for (m, s), multiplier, shift, second in zip(pairs, *compacted, strict=True):
        rounding = 1 << (s - 1)
        if twice and s > 31:  # TOSA, RESCALE
            rounding += (1 << 30) if value >= 0 else -(1 << 30)
        assert compact(value, multiplier, shift, second) == (value * m + rounding) >> s
        assert multiplier % 2 == 1 or m == 0
        assert -30 <= shift <= 62 and -1 <= second <= 30


def compact(value: int, multiplier: int, shift: int, second: int) -> int:
    """What the documentation says of a compact pair."""
    if shift <= 0:
        return (value * multiplier) << -shift
    added = 0 if second < 0 else (1 << second) if value >= 0 else -(1 << second)
    return (value * multiplier + (1 << (shift - 1)) + added) >> shift


@pytest.mark.parametrize(("encoding", "bits"), [("aligned", 4), ("scale16", 4), ("aligned", 1)])
def test_encodings_have_the_same_compact_pairs(demo: tr.Model, encoding: str, bits: int) -> None:
    tables = read_tables(demo.narrow(bits, encoding=encoding), Scope.ACCUMULATOR)
    plain = read_tables(demo.narrow(bits), Scope.ACCUMULATOR)
    assert max(table.bits for table in tables) == bits
    for table, other in zip(tables, plain, strict=True):
        np.testing.assert_array_equal(table.multiplier, other.multiplier)
        np.testing.assert_array_equal(table.shift, other.shift)


# -- the C kernel ----------------------------------------------------------------------------------------------------------

WIDE = (1 << 30, 1518500249, (1 << 31) - 1, 0)
CASES = [
    # per channel, both roundings, every pair of types that a rescale of a LiteRT model has
    RescaleCase("i32", "i8", WIDE, (38, 45, 62, 33), output_zp=-17, double_round=True),
    RescaleCase("i32", "i8", WIDE, (38, 40, 34, 33), output_zp=127),
    RescaleCase("i32", "ui8", WIDE, (39, 38, 41, 20), output_zp=128, double_round=True),
    RescaleCase("i32", "i16", (1 << 30, 1 << 24, 3, 7), (33, 31, 2, 30), double_round=True),
    RescaleCase("i32", "ui16", WIDE, (36, 37, 38, 39), output_zp=32768),
    RescaleCase("i32", "i32", (1 << 30, 1 << 20, 123456789, 1), (31, 30, 31, 40), double_round=True),
    RescaleCase("i8", "i32", (1 << 30,), (11,), input_zp=-128, double_round=True),  # a shift to the left
    RescaleCase("i8", "i8", (1518500249,), (30,), input_zp=5, output_zp=-128),
    RescaleCase("ui8", "i8", (1 << 30,), (30,), input_zp=128),  # at the edge of a graph: takes 128 off
    RescaleCase("i8", "ui8", (1 << 30,), (30,), output_zp=128),
    RescaleCase("i16", "i32", (1 << 30,), (25,), double_round=True),
    RescaleCase("i16", "i8", (181, 32767, 1, 3), (7, 23, 8, 2), output_zp=3, scale32=False),
]


def edge_inputs(case: RescaleCase, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Values that round at a tie, saturate on either side, or stand at the end of what the specification allows."""
    if case.source != "i32":
        limits = np.iinfo({"i8": np.int8, "ui8": np.uint8, "i16": np.int16}[case.source])
        values = rng.integers(limits.min, limits.max, shape, limits.dtype, endpoint=True)
        values.reshape(-1)[:2] = (limits.min, limits.max)
        return values
    values = np.empty(shape, np.int64)
    for index in np.ndindex(shape):
        m, s = case.multiplier[index[-1]], case.shift[index[-1]]
        tie = ((2 * int(rng.integers(-40000, 40000)) + 1) << s >> 1) // max(m, 1)
        value = int(rng.choice([tie - 1, tie, tie + 1, int(rng.integers(-(1 << 31), 1 << 31))]))
        # The result before the zero point must fit 32 bits, and the input s - 1 bits (TOSA, RESCALE).
        limit = min((1 << 31) - 1, (1 << (s - 1)) - 1, ((1 << 30) << s) // max(m, 1))
        values[index] = min(max(value, -limit), limit)
    return values.astype(np.int32)


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """All cases in one graph, run by IREE, exported with goldens."""
    rng = np.random.default_rng(7)
    shape = (1, 200, 4)
    model = model_of(rescale_module(CASES, shape))
    tables = read_tables(model)
    inputs = [edge_inputs(case, shape, rng) for case in CASES]
    goldens = record_goldens(model, tables, inputs, limit=800)
    for case, values, vectors in zip(CASES, inputs, goldens.vectors, strict=True):
        expected = apply_rescale(values, case)  # the specification, in Python's integers
        np.testing.assert_array_equal(vectors.output, expected.reshape(-1), err_msg=str(case))
        np.testing.assert_array_equal(vectors.input, values.reshape(-1))
        assert len(np.unique(vectors.output)) > 2
    folder = tmp_path_factory.mktemp("every") / "x"
    write_bundle(folder, model, tables, ["json", "c", "hex"], goldens)
    return folder


def test_the_c_kernel_equals_iree_for_every_kind_of_rescale(every_kind: pathlib.Path) -> None:
    assert check_goldens(every_kind) == (800 * len(CASES), 0)


def test_the_check_notices_a_wrong_number(every_kind: pathlib.Path, tmp_path: pathlib.Path) -> None:
    copy = tmp_path / "x"
    shutil.copytree(every_kind, copy)
    header = (copy / "c" / "rescales.h").read_text()
    assert "1518500249u" in header
    (copy / "c" / "rescales.h").write_text(header.replace("1518500249u", "1528500249u"))
    assert check_goldens(copy)[1] > 0


def test_the_c_kernel_computes_48_bit_inputs(tmp_path: pathlib.Path) -> None:
    """IREE takes no i48 at the border of a graph, so the oracle is the specification alone."""
    rng = np.random.default_rng(5)
    multiplier, shift = np.array([23170, 32767, 1, 16384]), np.array([40, 47, 33, 45])
    m, s, second = compact_pairs(multiplier, shift, False)
    name = 'a "name" with */ and \\'
    table = RescaleTable(
        "rescale0", name, "conv2d", "accumulator", "SINGLE_ROUND", m, s, second, 48, 16, False, False, 0, 0, (1, 4)
    )
    channel = np.arange(400) % 4
    inputs = rng.integers(-(1 << 47), 1 << 47, 400)
    inputs[:4] = (-(1 << 47), (1 << 47) - 1, -(1 << 46), 1 << 46)
    exact = [
        (int(v) * int(multiplier[c]) + (1 << int(shift[c]) >> 1)) >> int(shift[c]) for v, c in zip(inputs, channel, strict=True)
    ]
    outputs = np.clip(np.array(exact, object), -32768, 32767).astype(np.int64)
    zeros = np.zeros(400, np.int64)
    goldens = dataclasses.replace(empty_goldens(), vectors=[Vectors(zeros, zeros, channel, inputs, outputs)])
    write_bundle(tmp_path / "x", model_of(rescale_module(CASES[:1], (1, 1, 4))), [table], ["c"], goldens)
    assert check_goldens(tmp_path / "x") == (400, 0)


def empty_goldens() -> bundle.Goldens:
    return bundle.Goldens([], [], [])


@pytest.mark.parametrize("bits", [31, 4, 1])
def test_the_c_kernel_equals_iree_on_the_demo(demo: tr.Model, bits: int, tmp_path: pathlib.Path) -> None:
    model = demo.narrow(bits)
    tables = read_tables(model)
    inputs = model.random_inputs(2)
    goldens = record_goldens(model, tables, inputs, limit=64)
    write_bundle(tmp_path / "x", model, tables, ["c"], goldens)
    vectors, mismatches = check_goldens(tmp_path / "x")
    assert mismatches == 0 and vectors == sum(len(each.input) for each in goldens.vectors) > 1000
    # Taps change nothing: the graph's outputs are those of an executable without.
    for output, expected in zip(goldens.outputs, Executable.build(model.bytecode).run_many(*inputs), strict=True):
        np.testing.assert_array_equal(output, expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["keyword_spotting_int8", "resnet8_cifar10_int8", "mobilenet_v1_0.25_128_uint8", "efficientnet_lite0_int8"]
)
def test_the_c_kernel_equals_iree_on_real_models(shared_models: pathlib.Path, name: str, tmp_path: pathlib.Path) -> None:
    original = tr.load(shared_models / f"{name}.tflite")
    for bits in (32, 4, 1):
        model = original if bits == 32 else original.narrow(bits)
        tables = read_tables(model)
        folder = tmp_path / str(bits)
        write_bundle(folder, model, tables, ["c"], record_goldens(model, tables, model.random_inputs(1)))
        vectors, mismatches = check_goldens(folder)
        assert mismatches == 0 and vectors > 1000


# -- the files -------------------------------------------------------------------------------------------------------------


def test_json_and_images_say_the_same(every_kind: pathlib.Path) -> None:
    rows = json.loads((every_kind / "json" / "rescales.json").read_text())["rescales"]
    read = {
        name: [int(word, 16) for word in (every_kind / "hex" / f"{name}.hex").read_text().splitlines()[1:]]
        for name in ("multipliers", "shifts", "second_rounds", "rescales")
    }
    assert [row["key"] for row in rows] == [f"rescale{i}" for i in range(len(CASES))]
    for row, case, word in zip(rows, CASES, read["rescales"], strict=True):
        part = slice(row["offset"], row["offset"] + row["channels"])
        assert read["multipliers"][part] == row["multiplier"]
        assert read["shifts"][part] == [shift & 0xFF for shift in row["shift"]]
        assert read["second_rounds"][part] == [each & 0xFF for each in row["second_round"] or [-1] * row["channels"]]
        assert (row["input_zero_point"], row["output_zero_point"]) == (case.input_zp, case.output_zp)
        for kind, element in ((row["input_type"], case.source), (row["output_type"], case.target)):
            assert kind == element.replace("ui", "uint") if "u" in element else element.replace("i", "int")
        fields = bits_of(word, (32, 32, 24, 24, 4, 4, 4, 4))
        signs = 4 * case.source.startswith("u") + 2 * case.target.startswith("u") + bool(row["second_round"])
        widths = [int(kind.removeprefix("u").removeprefix("int")) // 8 for kind in (row["input_type"], row["output_type"])]
        zero_points = [row["input_zero_point"] & 0xFFFFFF, row["output_zero_point"] & 0xFFFFFF]
        assert fields == [row["offset"], row["channels"], *zero_points, 0, *widths, signs]
        # Each pair stands for the multiplier and shift of the model.
        for m, s, given_m, given_s in zip(row["multiplier"], row["shift"], case.multiplier, case.shift, strict=True):
            assert m * 2 ** (62 - s) == given_m * 2 ** (62 - given_s)


def bits_of(word: int, widths: tuple[int, ...]) -> list[int]:
    fields = []
    for width in reversed(widths):
        fields.append(word & ((1 << width) - 1))
        word >>= width
    assert word == 0
    return fields[::-1]


def test_vectors_stay_within_the_limit_and_hold_the_ends(demo: tr.Model) -> None:
    tables = read_tables(demo)
    inputs = demo.random_inputs(2, seed=3)
    every = record_goldens(demo, tables, inputs, limit=1 << 20).vectors
    some = record_goldens(demo, tables, inputs, limit=20).vectors
    for table, all_of_it, taken in zip(tables, every, some, strict=True):
        size = int(np.prod([n or 1 for n in table.shape]))
        assert len(all_of_it.input) == 2 * size
        assert 2 * min(18, size) <= len(taken.input) <= 2 * min(20, size)  # the ends may be drawn as well
        for sample in range(2):
            mine, whole = taken.input[taken.sample == sample], all_of_it.input[all_of_it.sample == sample]
            assert (mine.min(), mine.max()) == (whole.min(), whole.max())
            np.testing.assert_array_equal(mine, whole[taken.position[taken.sample == sample]])
        assert set(taken.channel) <= set(range(table.channels))


def test_the_command_writes_goldens_of_data(
    cli: Cli, demo_model: pathlib.Path, demo_data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    arguments = ("export", demo_model, "-o", "x", "--format", "c,json,rtl", "--goldens", demo_data, "--samples", 2, "--quiet")
    done = cli(*arguments)
    assert done.returncode == 0, done.stderr
    assert "21 rescales" in done.stdout and "golden vectors of 2 samples" in done.stdout
    assert {path.name for path in (tmp_path / "x").iterdir()} == {"c", "json", "rtl", "goldens"}
    packed = np.load(tmp_path / "x" / "goldens" / "goldens.npz")
    assert packed["input0"].shape[0] == packed["output0"].shape[0] == 2
    assert check_goldens(tmp_path / "x") == (sum(len(packed[name]) for name in packed if name.endswith(".input")), 0)

    again = cli(*arguments)
    assert again.returncode == 2 and "x: exists already; pass --force to write into it" in again.stderr
    (tmp_path / "x" / "mine.txt").write_text("kept")
    assert cli("export", demo_model, "-o", "x", "--format", "hex", "--scope", "accumulator", "--force").returncode == 0
    assert (tmp_path / "x" / "mine.txt").read_text() == "kept" and (tmp_path / "x" / "hex" / "shifts.hex").exists()


def test_a_failure_leaves_no_folder(demo: tr.Model, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: pathlib.Path, data: bytes) -> int:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(pathlib.Path, "write_bytes", full)
    with pytest.raises(OutputError, match="x: cannot be written: No space left on device"):
        write_bundle(tmp_path / "x", demo, read_tables(demo), ["json"])
    assert list(tmp_path.iterdir()) == []


# -- models that have nothing to export --------------------------------------------------------------------------------------


def test_models_without_a_table_are_refused() -> None:
    floats = model_of(function([("x", "tensor<1x4xf32>")], "", [("x", "tensor<1x4xf32>")]))
    with pytest.raises(ModelError, match=r"has no tosa\.rescale"):
        read_tables(floats)
    elementwise = model_of(rescale_module(CASES[6:7], (1, 1, 4)))
    with pytest.raises(ModelError, match=r"no tosa\.rescale in scope accumulator; pass `scope='all'`"):
        read_tables(elementwise, Scope.ACCUMULATOR)


def test_a_rescale_without_one_meaning_is_refused() -> None:
    text = rescale_module(CASES[:1], (1, 1, 4))
    with pytest.raises(ModelError, match="`rescale0` has INEXACT_ROUND, whose result is open"):
        read_tables(model_of(text.replace("DOUBLE_ROUND", "INEXACT_ROUND")))
    shape = (1, 1, 1)
    body = rescale("y", "x", shape, RescaleCase("i32", "i8", (5,), (9,)))
    body = body.replace(constant("y_s", [9], "i8"), "").replace("%y_s", "%s")
    arguments = [("x", tensor(shape, "i32")), ("s", "tensor<1xi8>")]
    with pytest.raises(ModelError, match="`rescale0` has operands that are not constant"):
        read_tables(model_of(function(arguments, body, [("y", tensor(shape, "i8"))])))
