# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Lowered rescales give, on every engine, what the formula of the specification gives, and count as what they are."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest
import tosa_rescale as tr
from hypothesis import given
from runtime_modules import RescaleCase, apply_rescale, rescale_module
from strategies import budget, networks
from tosa_rescale.cli import main
from tosa_rescale.core.errors import ModelError, OptionError, PassError
from tosa_rescale.core.passes import run_passes
from tosa_rescale.core.rescales import raised
from tosa_rescale.driver.settings import CompileSettings
from tosa_rescale.formats.tosa import reference_model_available, run_reference_model, serialize
from tosa_rescale.hardware.pairs import read_tables
from tosa_rescale_runtime import Executable, Module

SHAPE = (1, 64, 4)
EVERY_BYTE = np.arange(-128, 128).reshape(SHAPE)
ROUNDINGS = ("shift", "bias")

needs_reference = pytest.mark.skipif(
    not reference_model_available(), reason="tosa_reference_model and tosa-opt are not on PATH"
)


def program(text: str) -> tr.Program:
    return tr.Program(run_passes(text.encode(), []).bytecode, "test")


def aligned(multiplier: int, shift: int) -> tuple[int, int]:
    """The same number at the top of i32, as scale32 wants it."""
    up = min(31 - multiplier.bit_length(), 62 - shift)
    return multiplier << up, shift + up


def case(source: str, target: str, scales: list[tuple[int, int]], **others: Any) -> RescaleCase:
    multiplier, shift = zip(*(aligned(*each) for each in scales), strict=True)
    return RescaleCase(source, target, multiplier, shift, **others)


BYTES = [
    case("i8", target, scales, input_zp=izp, output_zp=ozp if target == "i8" else 0)
    for target in ("i8", "i16", "i32")
    for scales in (
        [(1, 0)],
        [(1, 3)],
        [(1, -20)],
        [(13, 4)],
        [(255, 9)],
        [(1, 1), (3, 2), (1, -4), (0, 5)],
        [(1, 2), (1, 7)] * 2,
    )
    for izp, ozp in ((0, 0), (-128, 127), (5, -128))
]
"""Every output type, pure shifts to both sides, products, different ones in the channels, extreme zero points."""

TIES = [case("i32", "i8", [(1, shift)] * 4, output_zp=-7) for shift in (1, 2, 9, 30, 31, 32, 33, 40)] + [
    case("i32", target, [(1, 0), (1, 5), (1, 31), (1, 20)]) for target in ("i16", "i32")
]
"""One bit, of which no range needs to be known."""

# Signless, but read or saturated as unsigned: the borders of uint8 models in a .tosa file.
UNSIGNED = [
    case("ui8", "i8", [(1, 0)], input_zp=128, output_zp=-3),
    case("ui8", "i8", [(5, 3)], input_zp=255),
    case("i8", "ui8", [(1, 0)], input_zp=-3, output_zp=128),
    case("i8", "ui8", [(1, 1)] * 4, output_zp=255),
]


def wide_values(one: RescaleCase) -> np.ndarray:
    """Ends of i32, and the ties of the case with their neighbours."""
    halves = [(2 * n + 1) << max(min(one.shift) - 31, 0) for n in range(-10, 10)]
    values = [-(1 << 31), (1 << 31) - 1, -(1 << 30), (1 << 30) - 1, 1 << 30, 0, -1, 1]
    values += [half + d for half in halves for d in (-1, 0, 1)]
    values += np.random.default_rng(0).integers(-(1 << 31), 1 << 31, 256).tolist()
    return np.clip(np.array(values[:256]), -(1 << 31), (1 << 31) - 1).reshape(SHAPE)


def lowered(cases: list[RescaleCase], rounding: str) -> bytes:
    """The module of the cases, signless and lowered; no rescale is left."""
    text = rescale_module(cases, SHAPE).replace("xui8>", "xi8>")
    done = run_passes(text.encode(), [f"tosa-rescale-lower=rounding={rounding} strict=true"])
    assert not any(op.kind == "rescale" for op in Module.parse(done.bytecode).ops())
    return done.bytecode


def inputs_of(cases: list[RescaleCase]) -> list[np.ndarray]:
    return [EVERY_BYTE.astype(np.int8) if "8" in each.source else wide_values(each).astype(np.int32) for each in cases]


def expected(one: RescaleCase, values: np.ndarray) -> np.ndarray:
    read = values.view(np.uint8) if one.source == "ui8" else values
    found = apply_rescale(read, one)
    return found.view(np.int8) if one.target == "ui8" else found


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("cases", [BYTES, TIES, UNSIGNED], ids=["bytes", "ties", "unsigned"])
def test_iree_gives_what_the_formula_gives(cases: list[RescaleCase], rounding: str) -> None:
    arrays = inputs_of(cases)
    results = Executable.from_constants(lowered(cases, rounding)).run(*arrays)
    for one, values, result in zip(cases, arrays, results, strict=True):
        np.testing.assert_array_equal(result, expected(one, values), str(one))


@needs_reference
@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("cases", [BYTES, TIES, UNSIGNED], ids=["bytes", "ties", "unsigned"])
def test_the_reference_model_finds_no_requirement_broken(cases: list[RescaleCase], rounding: str) -> None:
    arrays = inputs_of(cases)
    results = run_reference_model(serialize(lowered(cases, rounding), "test"), arrays, len(cases), "test")
    for one, values, result in zip(cases, arrays, results, strict=True):
        np.testing.assert_array_equal(result, expected(one, values), str(one))


def test_the_twin_gives_what_the_formula_gives() -> None:
    from tosa_rescale.twin import Twin

    for cases in (BYTES, TIES, UNSIGNED):
        arrays = inputs_of(cases)
        results = Twin(Module.parse(lowered(cases, "shift"))).run(arrays)
        for one, values, result in zip(cases, arrays, results, strict=True):
            np.testing.assert_array_equal(result.reshape(SHAPE), expected(one, values), str(one))


@pytest.mark.parametrize("rounding", ROUNDINGS)
@given(text=networks())
@budget(20)
def test_raised_networks_have_the_rescales_that_they_had(rounding: str, text: str) -> None:
    for bits in (1, 5):
        narrow = run_passes(text.encode(), [f"tosa-rescale-narrow=bits={bits} scope=all"]).bytecode
        down = run_passes(narrow, [f"tosa-rescale-lower=rounding={rounding}"]).bytecode
        up = run_passes(down, ["tosa-rescale-raise"]).bytecode
        assert numbers(Module.parse(up)) == numbers(Module.parse(narrow))
        # And nothing else changed: lowered again it is the same, byte for byte.
        assert run_passes(up, [f"tosa-rescale-lower=rounding={rounding}"]).bytecode == down


def numbers(module: Module) -> list[Any]:
    """What the rescales and the biases are."""
    rescales = [(r.multiplier.tolist(), r.shift.tolist(), r.input_zp, r.output_zp, r.shape) for r in module.rescales()]  # type: ignore[union-attr]
    biases = [module.constant(layer.op, 2) for layer in module.mac_layers()]
    return [rescales, [bias.tolist() for bias in biases if bias is not None]]


@pytest.fixture(scope="module")
def shifts(demo: tr.Model) -> tr.Model:
    return demo.narrow(1, scope="all")


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_every_engine_takes_a_lowered_model(shifts: tr.Model, rounding: str) -> None:
    low = shifts.lower(rounding=rounding)
    engines = ["iree", "iree-constant", "tf", *(["reference"] if reference_model_available() else [])]
    assert low.check(3, engines=engines).bit_exact
    inputs = low.random_inputs(3)
    np.testing.assert_array_equal(low.compile().run_many(*inputs)[0], shifts.compile().run_many(*inputs)[0])


def test_a_lowered_model_counts_as_what_it_is(shifts: tr.Model) -> None:
    low = shifts.lower()
    assert low.recipe[-1].name == "lower" and not low.remarks
    before, after = shifts.info(), low.info()
    assert all(each.lowered for each in after) and not any(each.lowered for each in before)
    for old, new in zip(before, after, strict=True):
        assert (new.bits, new.power_of_two, new.multiplier_bits) == (old.bits, True, old.multiplier_bits)
        assert (new.key, new.name, new.scope, new.value_min) == (old.key, old.name, old.scope, old.value_min)
    for old, new in zip(read_tables(shifts), read_tables(low), strict=True):
        assert (old.key, old.rounding_mode) == (new.key, new.rounding_mode)
        np.testing.assert_array_equal([old.multiplier, old.shift], [new.multiplier, new.shift])
    assert low.to_litert(allow_partial=True) == shifts.to_litert(allow_partial=True)
    assert raised(shifts) is shifts


def test_steps_see_the_rescales_of_a_lowered_model(demo: tr.Model) -> None:
    wide, low = demo.narrow(8, scope="all"), demo.narrow(8, scope="all").lower(rounding="bias")
    assert numbers(low.narrow(2).module()) == numbers(wide.narrow(2).module())
    assert numbers(low.with_bits({"rescale0": 3}).narrow(6).module()) == numbers(
        wide.with_bits({"rescale0": 3}).narrow(6).module()
    )
    compensated = [each.compensate(1, calibration="none") for each in (low, wide)]
    assert numbers(compensated[0].module()) == numbers(compensated[1].module())
    assert numbers(raised(low.lower()).module()) == numbers(wide.module())


def test_what_cannot_be_lowered_is_named(demo: tr.Model) -> None:
    low = demo.narrow(31, scope="all").lower()
    assert low.remarks and all("stays a rescale: requires a value from" in each.text for each in low.remarks)
    with pytest.raises(PassError, match=r"cannot be lowered: requires a value from -\d+ to \d+ for a 32-bit product"):
        demo.narrow(31, scope="all").lower(strict=True)
    mac = demo.narrow(1).lower(scope="accumulator")
    assert {each.scope for each in mac.info() if not each.lowered} <= {"elementwise"}


def test_a_float_model_is_refused() -> None:
    text = "module { func.func @main(%a: tensor<2xf32>) -> tensor<2xf32> { return %a : tensor<2xf32> } }"
    with pytest.raises(ModelError, match=r"has no tosa\.rescale"):
        tr.Model(program(text).bytecode, "float").lower()


def test_the_command_lowers(demo_model: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    narrow, low = tmp_path / "narrow.mlirbc", tmp_path / "low.mlirbc"
    assert main(["narrow", str(demo_model), "-o", str(narrow), "--bits", "1", "--scope", "all"]) == 0
    count = len(tr.load(narrow).info())
    assert main(["lower", str(narrow), "-o", str(low), "--rounding", "bias"]) == 0
    assert f"{count} of {count} rescales computed in 32 bits" in " ".join(capsys.readouterr().out.split())
    assert main(["info", str(low)]) == 0
    assert f"{count} lowered to 32 bits" in " ".join(capsys.readouterr().out.split())
    assert main(["lower", str(narrow), "-o", str(tmp_path / "low.tflite")]) == 2
    assert "a .tflite cannot hold lowered rescales" in capsys.readouterr().err


def test_the_command_refuses_with_strict(
    demo_model: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "low.mlirbc"
    assert main(["lower", str(demo_model), "-o", str(out), "--strict"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "cannot be lowered: requires SINGLE_ROUND, or a shift of at most 31" in line and not out.exists()


def test_the_driver_lowers_after_what_else_is_asked(demo: tr.Model) -> None:
    settings = CompileSettings.from_flags({"bits": "1", "scope": "all", "lower": ""})
    rewritten = settings.apply(demo)
    assert [step.name for step in rewritten.recipe] == ["narrow", "lower"]
    assert rewritten.recipe[-1].options["rounding"] == "bias"  # iree-compile has no rounding shift
    assert settings.as_dict()["lower"]["strict"] is False
    plain = CompileSettings.from_flags({"lower": "true", "lower-rounding": "shift"}).apply(demo)
    assert plain.recipe[-1].options["rounding"] == "shift" and len(plain.recipe) == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"lower-strict": ""}, "tosa-rescale-lower-strict: has no effect without --tosa-rescale-lower"),
        ({"lower": "", "lower-rounding": "up"}, "lower-rounding: 'up' is not one of shift, bias"),
        ({"lower": "maybe"}, "lower: 'maybe' is not one of true, false"),
    ],
)
def test_the_driver_refuses_what_has_no_effect(flags: dict[str, str], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        CompileSettings.from_flags(flags)


def test_shifts_of_the_network_stay_its_own(tmp_path: pathlib.Path) -> None:
    """The converter writes shifts for sums of int16: they are no lowered rescales, neither before nor after lowering."""
    pytest.importorskip("tensorflow")
    import networks

    path = tmp_path / "sums.tflite"
    path.write_bytes(networks.NETWORKS["classifier_int16x8"]())
    shifts = tr.load(path).narrow(1, scope="all")
    own = [op for op in shifts.module().ops() if op.kind == "logical_left_shift"]
    assert own and not any(rescale.lowered for rescale in shifts.info())
    run_passes(shifts.bytecode, ["tosa-rescale-verify"], shifts.source)  # as rescales they would break a rule
    lowered = shifts.lower()
    every = lowered.info()
    assert any(rescale.lowered for rescale in every)
    assert [rescale.key for rescale in every] == [rescale.key for rescale in shifts.info()]
    assert lowered.check(2, engines=("iree", "tf")).bit_exact


@needs_reference
@pytest.mark.parametrize("bits", [1, 5])
def test_a_tosa_file_keeps_that_rescales_were_lowered(bits: int, demo: tr.Model, tmp_path: pathlib.Path) -> None:
    """Such files hold no attributes: the names of the operators say it."""
    narrow = demo.narrow(bits, scope="all")
    low = narrow.lower(rounding="bias")
    low.save(tmp_path / "low.tosa")
    read = tr.load(tmp_path / "low.tosa")
    assert any(each.lowered for each in low.info())
    for old, new in zip(low.info(), read.info(), strict=True):
        assert (new.key, new.name, new.lowered, new.multiplier_bits) == (old.key, old.name, old.lowered, old.multiplier_bits)
    assert numbers(raised(read).module()) == numbers(narrow.module())
    for old, new in zip(read_tables(narrow), read_tables(read), strict=True):
        np.testing.assert_array_equal([old.multiplier, old.shift], [new.multiplier, new.shift])
    read.save(tmp_path / "again.tosa")
    again = tr.load(tmp_path / "again.tosa")
    assert again.info() == read.info()
    assert [op.name for op in again.module().ops()] == [op.name for op in read.module().ops()]  # marks do not pile up
    assert read.check(2, engines=("iree", "reference")).bit_exact
