# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Element-wise functions of one int8 tensor as tables: against NumPy and IREE on all 256 inputs, and in whole networks."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable

import networks
import numpy as np
import pytest
import tosa_rescale as tr
import zoo_networks
from runtime_modules import RescaleCase, apply_rescale, constant, function, rescale, tensor
from tosa_rescale.cli import main
from tosa_rescale.core.errors import ModelError, OptionError
from tosa_rescale.core.passes import run_passes
from tosa_rescale.formats.tosa import reference_model_available
from tosa_rescale_runtime import Executable, Module

SHAPE = (1, 16, 16)
EVERY = np.arange(-128, 128, dtype=np.int8).reshape(SHAPE)


def tabulated(text: str, bits: int = 1) -> Module:
    module = Module.parse(text)
    made = run_passes(module.to_bytecode(), [f"tosa-rescale-tabulate=bits={bits}", "tosa-rescale-verify=bits=31 scope=all"])
    return Module.parse(made.bytecode)


def run(module: Module) -> np.ndarray:
    return Executable.build(module.to_bytecode()).run_many(EVERY, workers=1)[0]


def kinds(module: Module) -> list[str]:
    return [op.kind for op in module.ops() if op.kind in ("table", "rescale")]


def scale(rng: np.random.Generator, octave: int) -> tuple[int, int]:
    return int(rng.integers(1 << 30, (1 << 31) - 1)), 31 - octave


def binary(kind: str, name: str, first: str, second: str, element: str = "i32") -> str:
    wide = tensor(SHAPE, "i32")
    return f'    %{name} = "tosa.{kind}"(%{first}, %{second}) : ({wide}, {wide}) -> {tensor(SHAPE, element)}\n'


def leaky(rng: np.random.Generator, slope: tuple[int, int] | None = None) -> tuple[str, list[RescaleCase]]:
    """A leaky ReLU between two random scales and zero points, as a converter writes it."""
    zero_points = rng.integers(-128, 128, 2).tolist()
    double = bool(rng.integers(2))
    first, second = (
        RescaleCase("i8", "i32", (m,), (s,), zero_points[0], 0, double)
        for m, s in (scale(rng, 16), slope or scale(rng, 13 + int(rng.integers(3))))
    )
    m, s = scale(rng, -16)
    last = RescaleCase("i32", "i8", (m,), (s,), 0, zero_points[1], double)
    body = rescale("a", "x", SHAPE, first) + rescale("b", "x", SHAPE, second) + binary("maximum", "c", "a", "b")
    body += rescale("y", "c", SHAPE, last)
    i8 = tensor(SHAPE, "i8")
    return function([("x", i8)], body, [("y", i8)]), [first, second, last]


@pytest.mark.parametrize("seed", range(6))
def test_a_leaky_relu_is_its_table_for_every_input(seed: int) -> None:
    text, (first, second, last) = leaky(np.random.default_rng(seed))
    made = tabulated(text)
    assert kinds(made) == ["table"]
    larger = np.maximum(*(apply_rescale(EVERY, each) for each in (first, second)))
    np.testing.assert_array_equal(run(made), apply_rescale(larger, last))


def test_a_slope_of_zero_is_a_relu() -> None:
    text, _ = leaky(np.random.default_rng(9), slope=(0, 15))
    made = tabulated(text)
    assert kinds(made) == ["table"]
    np.testing.assert_array_equal(run(made), run(Module.parse(text)))
    assert len(np.unique(run(made))) < 256


def random_step(rng: np.random.Generator, name: str, first: str, second: str) -> str:
    """A random operation on two values of i32, with constants of one element."""
    wide, one = tensor(SHAPE, "i32"), "tensor<1x1x1xi32>"

    def with_constant(kind: str, value: int, properties: str = "", more: str = "", types: str = "") -> str:
        made = f'    %{name} = "tosa.{kind}"(%{first}, %{name}k{more}){properties} : ({wide}, {one}{types}) -> {wide}\n'
        return constant(f"{name}k", [[[value]]], "i32") + made

    kind = str(rng.choice(["add", "sub", "maximum", "minimum", "abs", "select", "shift", "mul"]))
    if kind == "abs":
        return f'    %{name} = "tosa.abs"(%{first}) : ({wide}) -> {wide}\n'
    if kind == "select":
        types = f"({tensor(SHAPE, 'i1')}, {wide}, {wide}) -> {wide}"
        chosen = f'    %{name} = "tosa.select"(%{name}t, %{first}, %{second}) : {types}\n'
        return binary("greater", f"{name}t", first, second, "i1") + chosen
    if kind == "shift":
        rounds = f" <{{round = {str(bool(rng.integers(2))).lower()}}}>"
        return with_constant("arithmetic_right_shift", int(rng.integers(0, 4)), rounds)
    if kind == "mul":
        shift = constant(f"{name}n", [0], "i8")
        return shift + with_constant("mul", int(rng.integers(-3, 4)), more=f", %{name}n", types=", tensor<1xi8>")
    return binary(kind, name, first, second)


def random_chain(rng: np.random.Generator) -> str:
    """Up to eight random operations of i32 on what rescales make of one tensor, and a rescale back to i8."""
    body, values = "", ["p", "q", "both"]
    for name in values[:2]:
        m, s = scale(rng, int(rng.integers(1, 9)))
        body += rescale(name, "x", SHAPE, RescaleCase("i8", "i32", (m,), (s,), int(rng.integers(-128, 128))))
    body += binary("add", "both", "p", "q")
    for i in range(int(rng.integers(1, 9))):
        body += random_step(rng, f"v{i}", values[-1], str(rng.choice(values)))
        values.append(f"v{i}")
    m, s = scale(rng, -int(rng.integers(4, 10)))
    body += rescale("y", values[-1], SHAPE, RescaleCase("i32", "i8", (m,), (s,), 0, int(rng.integers(-128, 128))))
    i8 = tensor(SHAPE, "i8")
    return function([("x", i8)], body, [("y", i8)])


def test_random_chains_are_their_tables() -> None:
    made = 0
    for seed in range(8):
        text = random_chain(np.random.default_rng(seed))
        after = tabulated(text)
        made += kinds(after) == ["table"]
        np.testing.assert_array_equal(run(after), run(Module.parse(text)), err_msg=f"seed {seed}")
    assert made >= 6  # a value that exceeds 32 bits leaves a chain as it is


def built(folder: pathlib.Path, build: Callable[[], bytes]) -> tr.Model:
    path = folder / "network.tflite"
    path.write_bytes(build())
    return tr.load(path)


def count_wide(model: tr.Model, bits: int = 1) -> int:
    return sum(each.above(bits) > 0 for each in model.info())


NETWORKS = {
    "wav2letter": (zoo_networks.wav2letter, 2, 0),
    "yolo_heads": (zoo_networks.yolo_heads, 3, 0),
    "yolo": (zoo_networks.yolo, 5, 0),
    "ssd": (zoo_networks.ssd, 1, 0),
    "lstm_unrolled": (zoo_networks.lstm_unrolled, 3, 0),
    "gru": (networks.gru, 5, 0),
}
"""Networks, and how many of their multipliers stay wide at one bit, without tables and with them."""
_FAST = ("yolo_heads", "lstm_unrolled")


@pytest.mark.parametrize("name", [each if each in _FAST else pytest.param(each, marks=pytest.mark.slow) for each in NETWORKS])
def test_no_multiplier_of_a_network_stays_wide_with_tables(tmp_path: pathlib.Path, name: str) -> None:
    build, without, left = NETWORKS[name]
    model = built(tmp_path, build)
    assert count_wide(model.compensate(1, scope="all", calibration="none")) == without
    made = model.compensate(1, scope="all", calibration="none", tabulate=True)
    assert count_wide(made) == left
    found = made.check(2)
    assert all(each.exact for each in found.pairs.values()), found.pairs
    with pytest.raises(
        ModelError, match=r"no operator of LiteRT is what `tabulate` made: .*table.* \(.*\); write \.tosa or \.mlirbc"
    ):
        made.save(tmp_path / "back.tflite")
    again = tr.load(made.save(tmp_path / "back.mlirbc"))
    assert count_wide(again) == left and again.recipe[-1].options["tabulate"]


def test_without_need_nothing_becomes_a_table(tmp_path: pathlib.Path) -> None:
    model = built(tmp_path, zoo_networks.mobilenet_v2)
    plain, made = (model.compensate(1, scope="all", calibration="none", tabulate=each) for each in (False, True))
    assert plain.bytecode == made.bytecode


def test_the_command_line_knows_tables(tmp_path: pathlib.Path) -> None:
    source, made, said = (tmp_path / each for each in ("network.tflite", "made.mlirbc", "said.json"))
    source.write_bytes(zoo_networks.wav2letter())
    argv = ["compensate", str(source), "-o", str(made), "--bits", "1", "--scope", "all", "--tabulate", "--calibration", "none"]
    assert main([*argv, "--json", str(said)]) == 0
    assert json.loads(said.read_text())["tabulate"] is True
    assert sum(op.kind == "table" and op.name.startswith("LeakyRelu") for op in tr.load(made).module().ops()) == 2


def test_tables_need_an_alignment() -> None:
    with pytest.raises(
        OptionError, match=r"^tabulate: takes the place of what alignment leaves wide; use scope all, with align"
    ):
        tr.CompensateOptions(1, tabulate=True)


@pytest.mark.skipif(not reference_model_available(), reason="the TOSA reference model is not installed")
def test_the_reference_model_reads_the_table_alike(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "leaky.mlirbc"
    path.write_bytes(tabulated(leaky(np.random.default_rng(3))[0]).to_bytecode())
    found = tr.load(path).check(4, engines=["iree", "reference"])
    assert all(each.exact for each in found.pairs.values())
