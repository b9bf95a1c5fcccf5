# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Options are refused where they are made, with value, limit and remedy, and are the same wherever they are offered."""

from __future__ import annotations

import dataclasses
import enum
import importlib
import inspect
import json
import pathlib
import re
import shutil
import subprocess
import types
import typing
from typing import Any

import click
import numpy as np
import pytest
import tosa_rescale as tr
from conftest import ROOT
from tosa_rescale import api
from tosa_rescale.cli import COMMANDS, group, main
from tosa_rescale.cli.options import PREPROCESSING, Number, offered
from tosa_rescale.core.errors import OptionError
from tosa_rescale.core.options import (
    ALIGN,
    COMPENSATE,
    LOWER,
    NARROW,
    CalibrationOptions,
    CompensateOptions,
    FinetuneOptions,
    LowerOptions,
    MultiplierRounding,
    NarrowOptions,
    Options,
    Preset,
    RoundingMode,
    describe,
    option,
)
from tosa_rescale.core.parsing import parse_bits
from tosa_rescale.data.preprocessing import Preprocessing
from tosa_rescale.demo import DATA
from tosa_rescale.driver.command_line import OWN_FLAGS, PREFIX
from tosa_rescale.driver.settings import KEYS, CompileSettings
from tosa_rescale.rewrite.narrow import narrow
from tosa_rescale.sweeping.methods import METHODS, Made, Method, MethodContext


@pytest.mark.parametrize("bits", [0, 32, -1, "eight", "", "4.5", True, 4.0])
def test_bits_out_of_range_are_refused_by_value(bits: Any) -> None:
    with pytest.raises(OptionError, match=rf"bits: '?{bits}'? is .* 1 to 31"):
        NarrowOptions(bits)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 16, "encoding": "scale16"}, "at most 15 significant bits, got 16"),
        ({"bits": 15, "hidden_bit": True, "encoding": "scale16"}, "at most 15 significant bits, got 16"),
        ({"bits": 4, "encoding": "scale16", "rounding_mode": "double"}, "forbids double rounding"),
        ({"bits": 4, "scope": "all", "elementwise_bits": 20, "encoding": "scale16"}, "got 20"),
        ({"bits": 4, "elementwise_bits": 8}, "elementwise-bits: has no effect with scope accumulator"),
        ({"bits": 4, "encoding": "compact"}, "'compact' is not one of aligned, scale16"),
        ({"bits": 4, "multiplier_rounding": "floor"}, "'floor' is not one of nearest, up, truncate"),
    ],
)
def test_contradicting_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        NarrowOptions(**options)


def test_preset_paper_sets_its_three_options() -> None:
    paper = NarrowOptions(4, preset="paper", rounding_mode="keep")  # type: ignore[arg-type]
    assert (paper.multiplier_rounding, paper.hidden_bit) == (MultiplierRounding.TRUNCATE, True)
    assert (paper.rounding_mode, paper.preset) == (RoundingMode.SINGLE, Preset.PAPER)
    assert paper.significant_bits == 5


def test_hidden_bit_cannot_exceed_31_bits() -> None:
    assert NarrowOptions(31, hidden_bit=True).significant_bits == 31


def test_pass_options_name_every_option() -> None:
    options = NarrowOptions(3, scope="all", elementwise_bits=8, multiplier_rounding="up")  # type: ignore[arg-type]
    assert options.pass_options(NARROW) == (
        "tosa-rescale-narrow=bits=3 hidden-bit=false encoding=aligned scope=all elementwise-bits=8 rounding-mode=single"
        " multiplier-rounding=up"
    )


def test_with_bits_keeps_the_rest() -> None:
    assert NarrowOptions(8, preset="paper").with_bits(3) == NarrowOptions(3, preset="paper")  # type: ignore[arg-type]


def test_bits_are_read_from_text() -> None:
    assert parse_bits("7") == 7


# -- the passes --------------------------------------------------------------------------------------------------------

# TableGen's own declaration of a pass is part of MLIR's development files, which the tests do not need: these are the
# classes that Passes.td uses of it, with the same parameters in the same order.
PASS_BASE = """
#ifndef MLIR_PASS_PASSBASE
#define MLIR_PASS_PASSBASE
class Option<string cpp, string arg, string kind, string default, string desc, string flags = ""> {
  string cppName = cpp; string argument = arg; string type = kind;
  string defaultValue = default; string description = desc; string additionalOptFlags = flags;
}
class ListOption<string cpp, string arg, string kind, string desc, string flags = "">
    : Option<cpp, arg, kind, "", desc, flags>;
class Statistic<string cpp, string stat, string desc> {
  string cppName = cpp; string name = stat; string description = desc;
}
class PassBase<string arg, string base> {
  string argument = arg; string baseClass = base; string summary = ""; string description = "";
  code constructor = ""; list<string> dependentDialects = [];
  list<Option> options = []; list<Statistic> statistics = [];
}
class Pass<string arg, string op = ""> : PassBase<arg, "::mlir::OperationPass<" # op # ">">;
class InterfacePass<string arg, string interface> : PassBase<arg, "::mlir::InterfacePass<" # interface # ">">;
#endif
"""

SET_BY_THE_PROGRAM = {(ALIGN, "bits"), (ALIGN, "litert"), (COMPENSATE, "use-statistics")}
"""Options of passes that follow from what is asked, and are not asked for."""

EXPANDED = {(NARROW, "preset")}
"""Options that the dataclass has too, but gives to the pass as what they stand for."""

OPEN = {"bits": "0", "elementwise-bits": "0", "multiplier-rounding": "nearest"}
"""Defaults of a pass where the dataclass has none: required, or chosen by the program."""


@dataclasses.dataclass(frozen=True)
class PassOption:
    """An option as Passes.td declares it: its values if it is an enum, its default as text."""

    values: tuple[str, ...]
    default: str


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, PassOption]]:
    """The options of every pass, by mnemonic and name."""
    tool = shutil.which("llvm-tblgen")
    if tool is None:
        llvm = pytest.importorskip("llvm", reason="no llvm-tblgen: pip install 'tosa-rescale[test]'")
        tool = str(pathlib.Path(llvm.__path__[0]) / "bin" / "llvm-tblgen")
    folder = tmp_path_factory.mktemp("include")
    (folder / "mlir" / "Pass").mkdir(parents=True)
    (folder / "mlir" / "Pass" / "PassBase.td").write_text(PASS_BASE)
    argv = [tool, "-dump-json", "-I", folder, "-I", ROOT / "passes", ROOT / "passes" / "Passes.td"]
    records = json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)
    passes = [records[name] for name in records["!instanceof"]["PassBase"]]
    return {each["argument"]: dict(_option(records[one["def"]]) for one in each["options"]) for each in passes}


def _option(record: dict[str, Any]) -> tuple[str, PassOption]:
    members = re.findall(r'clEnumValN\(\s*([\w:]+),\s*"([\w-]+)"', record["additionalOptFlags"])
    default = dict(members).get(record["defaultValue"], record["defaultValue"])
    return record["argument"], PassOption(tuple(name for _, name in members), default)


@pytest.mark.parametrize("mnemonic", [NARROW, COMPENSATE, ALIGN, LOWER])
def test_passes_and_dataclasses_declare_the_same(declared: dict[str, dict[str, PassOption]], mnemonic: str) -> None:
    of_pass = {name: option for name, option in declared[mnemonic].items() if (mnemonic, name) not in SET_BY_THE_PROGRAM}
    kind = {NARROW: NarrowOptions, LOWER: LowerOptions}.get(mnemonic, CompensateOptions)
    fields = {
        name.replace("_", "-"): entry
        for name, entry in describe(kind).items()
        if mnemonic in kind.about(name).passes or (mnemonic, name) in EXPANDED
    }
    assert of_pass.keys() == fields.keys()
    for name, (field, value, _) in fields.items():
        # A pass names the default first.
        assert set(of_pass[name].values) == set(legal(kind, name, value) if issubclass(value, enum.StrEnum) else ())
        default = str(field.default).lower()
        assert of_pass[name].default == (OPEN[name] if field.default in (None, dataclasses.MISSING) else default)


def legal(kind: type[Options], name: str, values: type[enum.StrEnum]) -> tuple[str, ...]:
    """The values that an options class does not refuse: compensation makes no double rounding."""

    def accepted(value: enum.StrEnum) -> bool:
        try:
            kind(**({"bits": 4} if "bits" in describe(kind) else {}), **{name.replace("-", "_"): value})
        except OptionError:
            return False
        return True

    return tuple(value.value for value in values if accepted(value))


def test_every_pass_option_of_a_dataclass_exists(declared: dict[str, dict[str, PassOption]]) -> None:
    for kind in (NarrowOptions, CompensateOptions, LowerOptions):
        for name in describe(kind):
            for mnemonic in kind.about(name).passes:
                # A narrowing's own options say nothing of a compensation's passes, and the other way round.
                assert name.replace("_", "-") in declared[mnemonic], (kind, name, mnemonic)


# -- Python ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "kinds", "leaves_out"),
    [
        (tr.Model.narrow, (NarrowOptions,), ()),
        (tr.Model.compensate, (CompensateOptions, CalibrationOptions), ()),
        (tr.Model.lower, (LowerOptions,), ()),
        (tr.Model.finetune, (FinetuneOptions,), ()),
    ],
)
def test_methods_of_a_model_take_the_options(method: Any, kinds: tuple[type[Options], ...], leaves_out: tuple[str]) -> None:
    parameters = inspect.signature(method).parameters
    assert not any(each.kind in (each.VAR_KEYWORD, each.VAR_POSITIONAL) for each in parameters.values())
    hints = typing.get_type_hints(method, vars(api.model) | {"Dataset": object, "Progress": object})
    for kind in kinds:
        for name, (field, value, optional) in describe(kind).items():
            given = parameters[name]
            default = given.empty if field.default is dataclasses.MISSING else field.default
            assert given.default == default, name
            by_name = issubclass(value, enum.StrEnum) or (method is tr.Model.compensate and name == "bits")  # also "auto"
            wanted = {value, *([str] if by_name else []), *([type(None)] if optional else [])}
            hint = hints[name]
            assert set(typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)) == wanted, name


# -- the command line --------------------------------------------------------------------------------------------------

OFFERED: dict[str, tuple[tuple[type[Options], ...], tuple[str, ...]]] = {
    "narrow": ((NarrowOptions,), ()),
    "compensate": ((CompensateOptions, CalibrationOptions), ("bits",)),
    "lower": ((LowerOptions,), ()),
    "finetune": ((FinetuneOptions, NarrowOptions), ("bits",)),
    "sweep": ((NarrowOptions, CalibrationOptions), ("bits",)),
}
"""The options classes that a command offers, and the names that it has in a form of its own."""


def options_of(command: str) -> dict[str, click.Option]:
    found = group.get_command(click.Context(group), command)
    assert found is not None
    return {each.name or "": each for each in found.params if isinstance(each, click.Option)}


def assert_follows(option: click.Option, kind: type[Options], name: str, prefix: str = "", flag: str | None = None) -> None:
    """The click option has the field's spelling, type, default and help."""
    field, value, _ = describe(kind)[name]
    spelled = f"--{flag or name.replace('_', '-')}"
    assert option.opts == [spelled]
    assert option.secondary_opts == ([spelled.replace("--", "--no-")] if value is bool else [])
    assert option.help == prefix + kind.about(name).help
    required = field.default is dataclasses.MISSING
    assert option.required == required
    if not required:
        default = field.default.value if isinstance(field.default, enum.Enum) else field.default
        assert option.get_default(click.Context(click.Command("x"))) == default
    if issubclass(value, enum.StrEnum):
        assert isinstance(option.type, click.Choice) and list(option.type.choices) == [each.value for each in value]
    elif value is bool:
        assert option.is_flag
    else:
        assert isinstance(option.type, Number) and option.type.kind is value


@pytest.mark.parametrize("command", OFFERED)
def test_commands_offer_every_option_of_the_dataclasses(command: str) -> None:
    kinds, own = OFFERED[command]
    found = options_of(command)
    for kind in kinds:
        for name in offered(kind):
            if name not in own:
                assert_follows(found[name], kind, name)


@pytest.mark.parametrize("command", ["evaluate", "sweep", "compensate", "finetune", "check", "errors", "export"])
def test_commands_with_data_offer_its_preprocessing(command: str) -> None:
    found = options_of(command)
    for name in offered(Preprocessing):
        if name == "preprocess":  # a function, or its name
            assert found[name].opts == ["--preprocess"] and found[name].help == Preprocessing.about(name).help
        else:
            assert_follows(found[name], Preprocessing, name, flag=PREPROCESSING.get(name))


@pytest.mark.parametrize("method", [each for each in METHODS.values() if each.options is not None], ids=lambda each: each.name)
def test_a_sweep_offers_the_options_that_methods_have_of_their_own(method: Any) -> None:
    shared = {*offered(NarrowOptions), *offered(CalibrationOptions)}
    for name in offered(method.options):
        assert describe(method.options)[name][0].default is not dataclasses.MISSING  # a sweep must be able to leave it out
        if name in shared:
            having = [
                describe(kind)[name] for kind in (NarrowOptions, CalibrationOptions, method.options) if name in describe(kind)
            ]
            assert len({(value, field.default) for field, value, _ in having}) == 1
        else:
            assert_follows(options_of("sweep")[name], method.options, name, f"{method.name}: ")


def test_every_command_has_help_in_a_line_and_both_verbosities() -> None:
    for command in COMMANDS:
        found = group.get_command(click.Context(group), command)
        assert found is not None and found.get_short_help_str(200).rstrip(".")
        assert {"--quiet", "--verbose"} <= {flag for each in found.params for flag in each.opts}, command
        assert all(each.help for each in found.params if isinstance(each, click.Option)), command


# -- tosa-rescale-compile ----------------------------------------------------------------------------------------------

DECLARED = (NarrowOptions, CompensateOptions, CalibrationOptions)


def test_the_drivers_flags_and_keys_are_the_dataclasses() -> None:
    names = {name.replace("_", "-") for kind in DECLARED for name in describe(kind)}
    lowering = {f"lower-{name.replace('_', '-')}" for name in describe(LowerOptions)}
    assert set(KEYS) == names | lowering | {"compensate", "calibration", "ops", "lower"}
    assert {each.name for each in OWN_FLAGS} == set(KEYS) - {"ops"} | {"config", "report", "depfile", "cmake-dir"}
    for kind in DECLARED:
        for name, (field, value, _) in describe(kind).items():
            (flag,) = (each for each in OWN_FLAGS if each.name == name.replace("_", "-"))
            assert kind.about(name).help.rstrip(".").replace("--", f"--{PREFIX}") in flag.says or name in describe(
                NarrowOptions
            )
            assert flag.needs_value == (value is not bool)
            if issubclass(value, enum.StrEnum):
                assert flag.value == f"=<{'|'.join(value)}>"
            if field.default not in (None, dataclasses.MISSING):
                shown = str(field.default).lower() if value is bool else field.default
                assert flag.says.endswith(f"(default {shown})")


def test_the_driver_passes_every_option_on() -> None:
    other = {
        "bits": 3, "hidden_bit": True, "encoding": "scale16", "scope": "all", "elementwise_bits": 5, "rounding_mode": "keep",
        "align": False, "clipping": 0.2, "constants": False, "saturation": False, "promote": False, "clip": False,
        "weight_rounding": "nearest", "shrinkage": 0.5, "table_error": 2.0, "weighted_means": True, "carry": True,
    }  # fmt: skip
    assert {*other, "strict", "tabulate"} == set(describe(CompensateOptions))  # these two contradict align=false
    flags = {name.replace("_", "-"): str(value) for name, value in other.items()}
    settings = CompileSettings.from_flags({**flags, "compensate": "", "samples": "7", "seed": "3"})
    assert settings.step == CompensateOptions(**other)  # type: ignore[arg-type]
    assert settings.plan == CalibrationOptions(7, 3)
    narrow = {"bits": "3", "multiplier-rounding": "up", "rounding-mode": "double", "hidden-bit": "true"}
    assert CompileSettings.from_flags(narrow).step == NarrowOptions(
        3, multiplier_rounding=MultiplierRounding.UP, rounding_mode=RoundingMode.DOUBLE, hidden_bit=True
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"bits": "4", "shrinkage": "0.5"}, "^tosa-rescale-shrinkage: has no effect without --tosa-rescale-compensate"),
        ({"bits": "4", "samples": "5"}, "^tosa-rescale-samples: has no effect without --tosa-rescale-compensate"),
        ({"bits": "4", "preset": "paper", "compensate": ""}, "^tosa-rescale-preset: compensation chooses its multipliers"),
        ({"bits": "4", "rounding-mode": "double", "compensate": ""}, "^tosa-rescale-rounding-mode: compensation makes single"),
        ({"bits": "4", "elementwise-bits": "5"}, "no effect with scope accumulator; pass --tosa-rescale-scope all$"),
        ({"hidden-bit": ""}, "^tosa-rescale-hidden-bit: has no effect without a width .* pass --tosa-rescale-bits"),
        ({"compensate": ""}, "^tosa-rescale-compensate: has no effect without a width"),
        ({"bits": "4", "shrinkage": "2", "compensate": ""}, "^tosa-rescale-shrinkage: 2.0 is out of range; give .* 0 to 1"),
    ],
)
def test_the_driver_refuses_contradictions(flags: dict[str, str], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        CompileSettings.from_flags(flags)


# -- widths ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        ({"rescale100": 3}, r"bits_of: 'rescale100' is none of the 21 rescales of .*digits_int8.tflite \(rescale10"),
        ({"conv": 3}, "'conv' is none of the 21 rescales"),
        ({"rescale1": True}, "bits_of: rescale1: True is not a whole number"),
        ({"rescale1": 4.0}, "bits_of: rescale1: 4.0 is not a whole number"),
        ({"rescale1": 32}, "bits_of: rescale1: 32 is out of range"),
    ],
)
def test_widths_of_no_rescale_or_no_number_are_refused(demo: tr.Model, widths: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        demo.with_bits(widths)
    with pytest.raises(OptionError, match=message):
        demo.compensate(4, calibration="none", bits_of=widths)


def test_the_recipe_has_the_widths(demo: tr.Model, tmp_path: pathlib.Path) -> None:
    path = demo.with_bits({"rescale1": 3}).narrow(8).save(tmp_path / "x.mlirbc")
    first, second = tr.load(path).recipe
    assert (first.name, first.options, second.name) == ("with_bits", {"bits_of": {"rescale1": 3}}, "narrow")


@pytest.mark.parametrize("method", ["compensate", "align"])
def test_the_hidden_bit_of_a_sweep_reaches_compensation(
    demo: tr.Model, digits: tr.Dataset, tmp_path: pathlib.Path, method: str
) -> None:
    """A sweep with the paper's preset counts the hidden bit in what hardware multiplies with, so the model must use it."""
    asked = NarrowOptions(1, preset=Preset.PAPER)
    tr.sweep(demo, digits.take(8), tmp_path, bits=[1], methods=[method], options=asked, calibration="none")
    point = json.loads((tmp_path / "points" / f"{method}-1.json").read_text())
    scopes = ("accumulator",) if method == "compensate" else ("accumulator", "elementwise")
    found = {int(bits) for scope in scopes for bits in point["multipliers"][scope]["bits"]}
    assert max(found) == asked.significant_bits == 2
    assert np.all(np.array(sorted(found)) <= 2)


@dataclasses.dataclass(frozen=True)
class OffsetOptions(Options):
    """Options of a method that only this test knows."""

    offset: int = option("Bits to add to each width.", default=1, low=0, high=8)


def test_a_new_method_with_an_option_is_a_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], demo_model: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """The command line offers the option, refuses what is out of range, and the method gets the value; nothing else changes."""

    def make(context: MethodContext, options: NarrowOptions) -> Made:
        own = context.options_of("offset", OffsetOptions)
        return Made(narrow(context.model, options.with_bits(options.bits + own.offset)))

    monkeypatch.setitem(METHODS, "offset", Method("offset", make, "narrow, a few bits wider", options=OffsetOptions))
    command = importlib.import_module("tosa_rescale.cli.sweep")
    importlib.reload(command)
    try:
        assert_follows(options_of("sweep")["offset"], OffsetOptions, "offset", "offset: ")
        asked = ["sweep", str(demo_model), "--data", str(DATA), "--take", "8", "--bits", "3", "-q", "-o", str(tmp_path / "out")]
        assert main([*asked, "--offset", "2"]) == 2
        assert "offset: has no effect without --methods offset" in capsys.readouterr().err
        assert main([*asked, "--methods", "offset", "--offset", "9"]) == 2
        assert "offset: 9 is out of range; give a whole number from 0 to 8" in capsys.readouterr().err
        assert main([*asked, "--methods", "offset", "--offset", "2"]) == 0
    finally:
        monkeypatch.undo()
        importlib.reload(command)
    point = json.loads((tmp_path / "out" / "points" / "offset-3.json").read_text())
    assert max(map(int, point["multipliers"]["accumulator"]["bits"])) == 5
