# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What people see: tables that fit, sentences, help, progress, and nothing of what libraries say."""

from __future__ import annotations

import io
import json
import os
import pathlib
import re
import subprocess
import sys
import time

import numpy as np
import pytest
import tosa_rescale as tr
from conftest import Cli
from tosa_rescale.cli import COMMANDS, main, plugin_path, show
from tosa_rescale.core.errors import OptionError, TosaRescaleError
from tosa_rescale.core.hush import VARIABLE, hushed
from tosa_rescale.core.parsing import parse_widths
from tosa_rescale.core.progress import Bars
from tosa_rescale.driver.command import main as compile_main
from tosa_rescale.driver.command_line import OWN_FLAGS

Capture = pytest.CaptureFixture[str]
COLUMNS = [show.Column("name", left=True, name=True), show.Column("bits"), show.Column("seconds", minor=1)]
ROWS = [["network/block_1/conv", "31", "0.25"], ["network/block_2/conv", "4", "12.50"]]


def test_the_list_of_commands_says_whole_sentences(capsys: Capture) -> None:
    assert main(["--help"]) == 0
    said = " ".join(capsys.readouterr().out.partition("Commands:")[2].split())
    assert "..." not in said
    for each in ("in LSB: predicted (Eq. 5 of the", "operations of 32 bits, where that is proven exact"):
        assert each in said


# -- tables ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "elided"), [(24, True), (28, False), (32, True), (40, False), (80, False)])
def test_a_table_fits_and_keeps_the_ends_of_names(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, width: int, elided: bool
) -> None:
    """Names lose their beginnings first; at 28 columns the minor one has gone, and names are whole again."""
    monkeypatch.setenv("COLUMNS", str(width))
    show.table(COLUMNS, ROWS)
    lines = capsys.readouterr().out.splitlines()
    table = [each for each in lines if "not shown" not in each and "shows all" not in each]
    assert max(map(len, table)) <= width
    first, second = (next(each for each in table if f"_{i}/conv" in each) for i in (1, 2))
    assert "31" in first and " 4" in second
    assert ("network/block_1/conv" in first) != elided and ("…" in first) == elided
    assert ("seconds" in table[0]) == (width >= 32)


def test_minor_columns_go_last_and_are_named(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("COLUMNS", "24")
    show.table(COLUMNS, ROWS)
    said = capsys.readouterr().out
    assert "12.50" not in said and "not shown at this width: seconds; --wide shows all" in " ".join(said.split())


def test_a_pipe_has_no_width(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    long = "network/" + "very_long_name/" * 20 + "conv"
    show.table(COLUMNS, [[long, "31", "0.25"]])
    said = capsys.readouterr().out
    assert long in said and "0.25" in said and "not shown" not in said


def test_brackets_in_names_are_no_markup(capsys: Capture) -> None:
    show.table(COLUMNS, [["block[1]/conv[red]", "31", "0.25"]])
    show.line("block[1]/conv[red]")
    assert capsys.readouterr().out.count("block[1]/conv[red]") == 2


def test_a_list_breaks_between_its_parts_only(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    parts = [f"{bits}: {100 * bits}" for bits in range(1, 31)]
    monkeypatch.setenv("COLUMNS", "80")
    show.listing("multipliers by bits", parts)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80 and len(lines) > 3
    assert all(each.endswith(",") for each in lines[:-1])
    text = " ".join(each.strip() for each in lines)
    assert text == "multipliers by bits: " + ", ".join(parts)
    monkeypatch.setenv("COLUMNS", "2000")
    show.listing("multipliers by bits", parts)
    assert capsys.readouterr().out.count("\n") == 1


def test_info_fits_80_columns_with_what_matters(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, demo_model: pathlib.Path, demo: tr.Model
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["info", str(demo_model)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["key", "name", "op", "channels", "bits", "2^n", "shift"]
    for each, row in zip(demo.info(), lines[2:], strict=False):
        cells = row.split()
        assert cells[0] == each.key and cells[4] == str(each.bits) and cells[-1] == f"{each.shift_min}..{each.shift_max}"
        assert each.name.endswith(cells[1].lstrip("…"))
    assert main(["info", str(demo_model), "--wide"]) == 0
    wide = capsys.readouterr().out
    assert demo.info()[0].name in wide and "rounding" in wide.splitlines()[0]


def test_a_sweep_fits_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, demo_model: pathlib.Path, demo_data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    asked = ["--take", "40", "--bits", "1-2", "-o", str(tmp_path / "out")]
    assert main(["sweep", str(demo_model), "--data", str(demo_data), *asked]) == 0
    lines = capsys.readouterr().out.splitlines()
    table = lines[: next(i for i, each in enumerate(lines) if str(tmp_path) in each)]
    assert max(map(len, table)) <= 80
    widths = [row.split()[1] for row in table if row.split()[0] in ("base", "narrow")]
    assert widths == ["32", "2", "1"]
    losing = [row for row in table if " * " in row]
    assert losing and all(row.startswith("narrow") for row in losing)  # two bits and one lose digits
    assert any(row.startswith("* loses more than 0.5 points of top1") for row in table)


# -- sentences ---------------------------------------------------------------------------------------------------------


def test_numbers_agree_with_their_nouns() -> None:
    assert [show.count(n, "bit") for n in (0, 1, 2)] == ["0 bits", "1 bit", "2 bits"]


def test_narrow_says_in_a_line_what_it_did(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, demo_model: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    target = tmp_path / "x.mlirbc"
    assert main(["narrow", str(demo_model), "-o", str(target), "--bits", "1"]) == 0
    said = capsys.readouterr().out
    assert said == (
        f"{target}: 11 of 11 rescales of MAC layers have at most 1 significant bit; 10 others are as they were (--scope all)\n"
    )


def test_a_sweep_says_whose_results_a_folder_holds(
    capsys: Capture, demo_model: pathlib.Path, demo_data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    def run(*options: str) -> str:
        fixed = ["sweep", str(demo_model), "--data", str(demo_data), "--bits", "4", "-o", str(tmp_path / "out"), "-q"]
        assert main([*fixed, *options]) == (0 if options == ("--take", "20") else 2)
        return capsys.readouterr().err

    assert run("--take", "20") == ""
    assert f"holds a sweep of other data ({demo_data});" in run("--take", "21")
    assert "holds a sweep of hidden-bit False;" in run("--take", "20", "--hidden-bit")
    assert "holds a sweep of calibration source=synthetic samples=32 seed=0;" in run("--take", "20", "--seed", "1")


# -- refused before anything is computed -------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["narrow", "compensate", "convert"])
def test_what_cannot_be_written_is_refused_first(cli: Cli, demo: tr.Model, tmp_path: pathlib.Path, command: str) -> None:
    demo.save(tmp_path / "x.mlirbc")
    output = ["y.tflite"] if command == "convert" else ["-o", "y.tflite", "--bits", "4"]
    done = cli(command, "x.mlirbc", *output)
    assert done.returncode == 2 and done.stderr.count("\n") == 1  # no progress before it
    assert done.stderr.startswith("tosa-rescale: error: y.tflite: cannot be written, as x.mlirbc came from no .tflite;")


def test_a_tosa_file_needs_its_tool_before_anything_is_computed(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, demo_model: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["compensate", str(demo_model), "-o", str(tmp_path / "y.tosa"), "--bits", "1"]) == 2
    said = capsys.readouterr().err
    assert "y.tosa: .tosa files need tosa-opt" in said and said.count("\n") == 1


@pytest.mark.parametrize("given", [["--per-layer"], ["--max-drop", "1"], ["--data", "x"], ["--metrics", "top1"]])
def test_what_only_a_search_uses_is_refused_without_one(capsys: Capture, demo_model: pathlib.Path, given: list[str]) -> None:
    assert main(["compensate", str(demo_model), "-o", "x.mlirbc", "--bits", "1", *given]) == 2
    assert f"{given[0][2:]}: has no effect without --bits auto" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["narrow", "MODEL", "--bits", "4", "-o", "MODEL"], "exists already; pass --force to overwrite it"),
        (["narrow", "MODEL", "--bits", "4", "-o", "x.mlirbc", "--elementwise-bits", "2"], "accumulator; pass --scope all"),
        (
            ["narrow", "MODEL", "--bits", "20", "-o", "x.mlirbc", "--encoding", "scale16"],
            "bits or --encoding aligned",
        ),
        (["info", "MODEL", "--shape", "words=1,2"], "--shape words: there is no such input; give one of image"),
        (["info", "MODEL", "--until", "image"], "--until image: is an input, which is not in the part"),
        (["evaluate", "MODEL", "--data", "DATA", "--ignore-labels"], "or pass --reference"),
    ],
)
def test_messages_name_flags_here_and_arguments_in_python(
    capsys: Capture, demo_model: pathlib.Path, demo_data: pathlib.Path, arguments: list[str], says: str
) -> None:
    places = {"MODEL": str(demo_model), "DATA": str(demo_data)}
    assert main([places.get(each, each) for each in arguments]) == 2
    said = capsys.readouterr().err
    assert says in said and "`" not in said and said.count("\n") == 1
    assert not pathlib.Path("x.mlirbc").exists()


def test_messages_name_arguments_in_python(demo: tr.Model, demo_model: pathlib.Path, tmp_path: pathlib.Path) -> None:
    calls = {
        "pass `force=True`": lambda: demo.save(demo_model),
        "pass `scope='all'`": lambda: demo.narrow(4, elementwise_bits=2),
        "pass `reference`": lambda: demo.evaluate(np.zeros((2, 8, 8, 1), np.int8)),
    }
    for says, call in calls.items():
        with pytest.raises(TosaRescaleError, match=re.escape(says)) as caught:
            call()
        assert "--" not in str(caught.value)


# -- help --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [[], ["narrow"], ["sweep"], ["convert"]])
def test_a_bare_command_prints_its_help(capsys: Capture, arguments: list[str]) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"Usage: {' '.join(['tosa-rescale', *arguments])} [OPTIONS]")
    assert "error:" not in said and said.count("\n") > 10
    assert arguments or all(re.search(rf"^  {name} ", said, re.MULTILINE) for name in COMMANDS)


def test_the_bare_driver_prints_its_own_help(capsys: Capture) -> None:
    assert compile_main([]) == 1
    said = capsys.readouterr().err
    assert all(f"  {flag.spelled}{flag.value} " in said for flag in OWN_FLAGS)
    assert "--iree-" not in said and said.startswith("USAGE: tosa-rescale-compile")


@pytest.mark.parametrize(("words", "completed"), [("tosa-rescale na", "narrow"), ("tosa-rescale narrow --sc", "--scope")])
def test_the_shell_completes(words: str, completed: str) -> None:
    state = {"_TOSA_RESCALE_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    argv = [sys.executable, "-m", "tosa_rescale"]
    done = subprocess.run(argv, env=os.environ | state, capture_output=True, text=True, check=False)
    assert done.stdout.split() == [f"plain,{completed}"]


def test_the_plugin_is_found(monkeypatch: pytest.MonkeyPatch, capsys: Capture, tmp_path: pathlib.Path) -> None:
    plugin = tmp_path / "TosaRescalePlugin.so"
    monkeypatch.setattr(plugin_path, "PLUGIN", plugin)
    assert main(["plugin-path"]) == 2
    assert f"{plugin}: is not there" in capsys.readouterr().err
    plugin.touch()
    assert main(["plugin-path"]) == 0
    assert capsys.readouterr().out == f"{plugin}\n"


# -- widths and configurations -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "widths"),
    [("1-4,8", (1, 2, 3, 4, 8)), ("32,4", (32, 4)), ("3 - 1", (1, 2, 3)), ("2,1-3", (2, 1, 3)), (" 7 ,", (7,))],
)
def test_widths_by_comma_and_range(text: str, widths: tuple[int, ...]) -> None:
    assert parse_widths(text) == widths


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "bits: names no width; give some by comma, such as 1-4,8"),
        ("1-32", "bits: 32 is out of range"),
        ("4-", "bits: '' is not a whole number"),
        ("-4", "bits: -4 is out of range"),
        ("1-x", "bits: 'x' is not a whole number"),
        ("1-2-3", "bits: '2-3' is not a whole number"),
    ],
)
def test_wrong_widths(text: str, message: str) -> None:
    with pytest.raises(OptionError, match=re.escape(message)):
        parse_widths(text)


def test_a_sweep_from_a_configuration(
    capsys: Capture, demo_model: pathlib.Path, demo_data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    config = {"model": str(demo_model), "data": str(demo_data), "bits": [4, 2], "methods": ["narrow"], "hidden-bit": True}
    config |= {"take": 20, "output": str(tmp_path / "out"), "errors": 0, "metric": ["agreement", "top1"]}
    (tmp_path / "c.yaml").write_text(json.dumps(config))  # YAML contains JSON
    assert main(["sweep", "--config", str(tmp_path / "c.yaml"), "-q", "--bits", "3"]) == 0
    assert capsys.readouterr().err == ""
    written = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [point["bits"] for point in written["points"]] == [32, 3]  # the command line overrides the file
    assert list(written["points"][0]["metrics"]) == ["agreement", "top1"]
    assert written["options"]["hidden_bit"] is True and {point["samples"] for point in written["points"]} == {20}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("widths: 3", "c.yaml: unknown key 'widths'; use some of model, data, bits, methods"),
        ("config: x.yaml", "c.yaml: unknown key 'config'"),
        ("hidden-bit: 3", "c.yaml: hidden-bit: 3 is not true or false"),
        ("bits: true", "c.yaml: bits: True is not a value of --bits"),
        ("finetune: {epochs: 3}", "c.yaml: unknown key 'finetune'"),
        ("samples: 0", "samples: 0 is out of range"),
        ("- 1", "c.yaml: needs a mapping with some of the keys model, data"),
        ("bits: [", "c.yaml: is no YAML"),
        ("!!python/object/apply:os.system ['touch ran']", "c.yaml: is no YAML"),
    ],
)
def test_a_wrong_configuration_is_one_line(capsys: Capture, tmp_path: pathlib.Path, text: str, message: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    fixed = ["m.tflite", "--data", "d", "-o", str(tmp_path / "out")]
    assert main(["sweep", "--config", str(tmp_path / "c.yaml"), *fixed]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_missing_configuration_is_named(capsys: Capture) -> None:
    assert main(["sweep", "--config", "nowhere.yaml"]) == 2
    assert "nowhere.yaml: cannot be read: No such file" in capsys.readouterr().err


# -- progress ----------------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    """Standard error as a terminal."""

    def isatty(self) -> bool:
        return True


def test_tasks_within_tasks_share_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    bars = Bars()
    for _ in range(2):  # the display starts anew after it was stopped
        with bars.task("sweep", 3) as advance:
            advance(1)
            with bars.task("compiling", None), bars.task("narrow k=4", 100) as inner:
                inner(50)
                time.sleep(0.3)  # the display is drawn ten times a second
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())
    assert all(text in shown for text in ("sweep", "1/3", "compiling", "0:00", "narrow k=4", "50/100"))


def test_elsewhere_tasks_that_are_counted_are_named(capsys: Capture) -> None:
    with Bars().task("evaluate", 10), Bars().task("compiling", None):
        pass
    assert capsys.readouterr().err == "evaluate ...\n"


def test_a_sweep_counts_its_points(demo: tr.Model, digits: tr.Dataset, tmp_path: pathlib.Path) -> None:
    class Counts(Bars):
        def __init__(self) -> None:
            super().__init__()
            self.asked: list[tuple[str, int | None]] = []

        def task(self, label: str, total: int | None):
            self.asked.append((label, total))
            return super().task(label, total)

    counts = Counts()
    tr.sweep(demo, digits.take(8), tmp_path, bits=[4, 2], progress=counts)
    assert counts.asked[0] == ("sweep", 3)


# -- libraries ---------------------------------------------------------------------------------------------------------


def test_what_libraries_write_is_kept_back(capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with hushed():
        os.write(2, b"noise\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"
    with pytest.raises(RuntimeError), hushed():
        os.write(2, b"the reason\n")
        raise RuntimeError
    assert "the reason" in capfd.readouterr().err
    monkeypatch.setenv(VARIABLE, "0")
    with hushed():
        os.write(2, b"noise\n")
    assert capfd.readouterr().err == "noise\n"


@pytest.mark.parametrize("engines", ["iree,tf", "iree,litert"])
def test_engines_say_nothing(cli: Cli, demo_model: pathlib.Path, engines: str) -> None:
    if "tf" in engines:
        pytest.importorskip("tensorflow")
    done = cli("check", demo_model, "--inputs", 1, "--engines", engines, "--quiet")
    assert done.returncode in (0, 1) and done.stderr == ""
