# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Every command and snippet of the documentation does what the page says: run in order, in a folder with the files it names.

A block is a fence of `sh` or `python`, or indented lines that begin with a command. An HTML comment right before it says
otherwise, with the reason:

    <!-- not run: REASON -->    its commands are only parsed
    <!-- slow: REASON -->       run in the slow tier; parsed in the fast one
    <!-- file: NAME -->         no command: the text of a file that later blocks read
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import pathlib
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from typing import Any

import click
import numpy as np
import pytest
import tosa_rescale as tr
import yaml
from conftest import ROOT
from tosa_rescale.cli import group, main
from tosa_rescale.core.passes import find_tool
from tosa_rescale.demo import DATA
from tosa_rescale.driver.command import main as compile_main
from tosa_rescale.driver.command_line import OWN_FLAGS
from tosa_rescale.driver.settings import KEYS as CONFIGURATION_KEYS

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
COMMANDS = ("tosa-rescale", "tosa-rescale-opt", "tosa-rescale-compile", "make", "pip", "python", "mlir-opt")
ELSEWHERE = ("docker", "cc", "gcc", "cd", "iverilog", "vvp", "export", "iree-compile")  # of blocks that are marked as not run
MARKER = re.compile(r"<!-- (not run|slow|file): (.+?) -->")
IMAGES = 40


@dataclasses.dataclass(frozen=True)
class Snippet:
    """A block of a page: its language, text, first line's number, and what the marker before it says."""

    language: str
    text: str
    line: int
    marker: str = ""
    reason: str = ""


def snippets(text: str) -> list[Snippet]:
    """The blocks of a page that are run, parsed or written."""
    from markdown_it import MarkdownIt

    found, marker = [], None
    for token in MarkdownIt().enable("table").parse(text):
        if token.type == "html_block":
            marker = MARKER.search(token.content)
        elif token.type in ("fence", "code_block"):
            language = token.info.strip() or "text"
            words = [each[0] for each in commands(token.content)] if token.type == "code_block" else []
            if words and words[0] in (*COMMANDS, *ELSEWHERE):
                language = "sh"
            if language in ("sh", "python") or marker:
                kind, reason = (marker[1], marker[2]) if marker else ("", "")
                found.append(Snippet(language, token.content, (token.map or [0])[0] + 1, kind, reason))
            marker = None
        elif token.type.endswith("_open"):
            marker = None
    return found


def commands(text: str) -> list[list[str]]:
    """The command lines of a block, continued ones joined, comments left out; none where it is no shell."""
    try:
        return [words for line in text.replace("\\\n", " ").splitlines() if (words := shlex.split(line, comments=True))]
    except ValueError:  # a quote that nothing closes
        return []


def identity(page: pathlib.Path) -> str:
    return str(page.relative_to(ROOT)) if page.is_relative_to(ROOT) else page.name


@pytest.fixture
def folder(tmp_path: pathlib.Path, demo_data: pathlib.Path, demo_model: pathlib.Path) -> pathlib.Path:
    """What a reader has: a model, images with labels, and others to train on."""
    from PIL import Image

    (tmp_path / "model_int8.tflite").write_bytes(demo_model.read_bytes())
    digits = np.load(demo_data)
    for name, numbers in (("images", range(IMAGES)), ("train_images", range(IMAGES, 2 * IMAGES))):
        (tmp_path / name).mkdir()
        with open(tmp_path / name / "labels.csv", "w", newline="") as table:
            rows = csv.writer(table)
            rows.writerow(["file", "label"])
            for number in numbers:
                Image.fromarray(digits["x"][number, :, :, 0]).save(tmp_path / name / f"{number}.png")
                rows.writerow([f"{number}.png", digits["y"][number]])
    return tmp_path


# -- running -----------------------------------------------------------------------------------------------------------


def run(words: list[str]) -> None:
    """Runs a command line; what cannot be run in a test is checked."""
    program, arguments = words[0], words[1:]
    if program == "tosa-rescale":
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            status = main(arguments)
        assert status == 0, f"{shlex.join(words)}: {said.getvalue()}"
    elif program == "tosa-rescale-compile":
        assert compile_main(arguments) == 0, shlex.join(words)
    elif program == "tosa-rescale-opt":
        done = subprocess.run([find_tool(), *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{shlex.join(words)}: {done.stderr}"
    else:
        parse(words)


def parse(words: list[str]) -> None:
    """Checks a command line without running it: the command exists, and takes these options."""
    program, arguments = words[0], words[1:]
    if program == "tosa-rescale":
        command = group.get_command(click.Context(group), arguments[0])
        assert command is not None, f"no command {arguments[0]}"
        command.make_context(arguments[0], arguments[1:])
    elif program == "tosa-rescale-compile":
        own = [word.split("=")[0] for word in arguments if word.startswith("--tosa-rescale-")]
        known = {flag.spelled for flag in OWN_FLAGS}
        assert set(own) <= known, f"{shlex.join(words)}: no {set(own) - known}"
    elif program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert {a for a in arguments if "=" not in a} <= set(targets), f"no target: {shlex.join(words)}"
    elif program == "pip":
        known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        asked = {extra for a in arguments for each in re.findall(r"\[([\w,-]+)\]", a) for extra in each.split(",")}
        assert asked <= set(known), f"no extra: {shlex.join(words)}"
    elif program == "python":
        assert (ROOT / arguments[0]).is_file(), f"no file {arguments[0]}"
    else:
        assert program in (*COMMANDS, *ELSEWHERE) or program.startswith("./"), (
            f"{program}: this test does not know how to check it"
        )


def run_page(page: pathlib.Path, slow: bool) -> None:
    """Runs a page's blocks in order, in the current folder; python blocks share their names."""
    names: dict[str, Any] = {"__name__": "documentation"}
    for snippet in snippets(page.read_text()):
        where = f"{identity(page)}:{snippet.line}"
        skipped = snippet.marker == "not run" or (snippet.marker == "slow" and not slow)
        try:
            if snippet.marker == "file":
                pathlib.Path(snippet.reason).write_text(snippet.text)
            elif snippet.language == "yaml":
                known = set(CONFIGURATION_KEYS)
                assert set(yaml.safe_load(snippet.text)) <= known, f"keys other than {known}"
            elif snippet.language == "cmake":
                module = (ROOT / "python" / "tosa_rescale" / "driver" / "cmake" / "TosaRescaleConfig.cmake").read_text()
                assert "tosa_rescale_module" in snippet.text and "function(tosa_rescale_module" in module
            elif snippet.language == "python":
                code = compile("\n" * snippet.line + snippet.text, identity(page), "exec")
                if not skipped:
                    with contextlib.redirect_stdout(io.StringIO()):
                        exec(code, names)
            else:
                for words in commands(snippet.text):
                    assert skipped or words[0] not in ELSEWHERE, f"{words[0]} is not run here; say so with a marker"
                    (parse if skipped else run)(words)
        except (Exception, SystemExit) as error:
            said = error.format_message() if hasattr(error, "format_message") else str(error)
            raise AssertionError(f"{where}: {type(error).__name__}: {said}") from error


@pytest.mark.parametrize("page", [p for p in PAGES if snippets(p.read_text())], ids=identity)
def test_a_page_does_what_it_says(page: pathlib.Path, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    run_page(page, slow=False)


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if any(s.marker == "slow" for s in snippets(p.read_text()))], ids=identity)
def test_a_page_does_what_it_says_slowly(page: pathlib.Path, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorflow")
    monkeypatch.chdir(folder)
    run_page(page, slow=True)


def test_the_readers_images_are_the_digits(folder: pathlib.Path, demo: tr.Model) -> None:
    """What the pages are run on must be what the network reads: wrapped pixels would give figures of noise."""
    data = tr.load_data(folder / "images", tr.Preprocessing(crop_fraction=1))
    with np.load(DATA) as digits:
        assert demo.evaluate(data).top1 == demo.evaluate((digits["x"][:IMAGES], digits["y"][:IMAGES])).top1 >= 95


def test_the_tutorial_makes_those_images(folder: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (first, *_) = (each for each in snippets((ROOT / "docs" / "tutorial.md").read_text()) if each.language == "python")
    made = tmp_path / "made"
    made.mkdir()
    monkeypatch.chdir(made)
    exec(compile(first.text, "tutorial", "exec"), {})
    for name in ("0.png", "17.png"):
        assert (made / "images" / name).read_bytes() == (folder / "images" / name).read_bytes()


# -- what stands in the text -------------------------------------------------------------------------------------------


def mentions() -> Iterator[tuple[str, list[str]]]:
    """Command lines between backquotes in running text, of pages and of what the report says."""
    for page in [*PAGES, *(ROOT / "python" / "tosa_rescale" / "reporting").rglob("*.py")]:
        prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        prose = re.sub(r'"\s*\n\s*f?"', "", prose)  # a Python string over several lines
        for text in re.findall(r"(?<!`)`(tosa-rescale [^`{]+)`(?!`)", prose):
            yield identity(page), shlex.split(text)


def test_commands_in_the_text_exist_with_their_options() -> None:
    checked, context = 0, click.Context(group)
    for where, words in mentions():
        command = group.get_command(context, words[1])
        assert command is not None, f"{where}: {shlex.join(words)}: no command {words[1]}"
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
        used = {word.split("=")[0] for word in words[2:] if word.startswith("-")}
        assert used <= known, f"{where}: {shlex.join(words)}: no {used - known}"
        checked += 1
    assert checked > 10


def test_markers_give_a_reason_and_belong_to_a_block() -> None:
    for page in PAGES:
        text = page.read_text()
        assert len(re.findall(r"<!-- (?:not run|slow|file)\b", text)) == sum(bool(s.marker) for s in snippets(text)), page


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("    tosa-rescale narrow model_int8.tflite -o x.mlirbc --bits 4 --colour", "No such option"),
        ("    tosa-rescale info nowhere.tflite", "nowhere.tflite: cannot be read"),
        ("```sh\ntosa-rescale-opt model_int8.tflite --no-such-pass\n```", "no-such-pass"),
        ("```python\nimport tosa_rescale as tr\ntr.nothing('x')\n```", "has no attribute 'nothing'"),
        ("<!-- not run: because -->\n```sh\ntosa-rescale sweep m.tflite\n```", "Missing option"),
        ("<!-- slow: because -->\n```python\nx = = 1\n```", "SyntaxError"),
        ("```sh\npip install 'tosa-rescale[nonsense]'\n```", "no extra: pip install"),
        ("    make nonsense", "no target: make nonsense"),
    ],
)
def test_a_wrong_page_fails(folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str) -> None:
    monkeypatch.chdir(folder)
    (folder / "page.md").write_text(f"# Title\n\n{text}\n")
    with pytest.raises(AssertionError, match=re.escape(message)):
        run_page(folder / "page.md", slow=False)


# -- the site ----------------------------------------------------------------------------------------------------------


def build_site(source: pathlib.Path, target: pathlib.Path) -> subprocess.CompletedProcess[str]:
    arguments = ["-q", "-W", "--keep-going", "-b", "html", "-d", target / "trees", source, target / "site"]
    argv = [sys.executable, "-m", "sphinx", *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_the_site_builds_without_a_warning(tmp_path: pathlib.Path) -> None:
    """A warning is a broken link, a name of the reference that is gone, or a malformed docstring."""
    pytest.importorskip("sphinx", reason="the extra `docs` is not installed")
    done = build_site(ROOT / "docs", tmp_path)
    assert done.returncode == 0, done.stderr
    site = tmp_path / "site"
    reference = (site / "reference" / "python.html").read_text()
    expected = {f"tosa_rescale.{name}" for name in ("api.Model.narrow", "api.sweep")}
    assert expected <= set(re.findall(r'id="([^"]+)"', reference))
    assert "tosa-rescale-align" in (site / "reference" / "passes.html").read_text()
    commands_page = (site / "reference" / "cli.html").read_text()
    assert {name for name in group.list_commands(click.Context(group)) if f"tosa-rescale-{name}" not in commands_page} == set()
    assert "--multiplier-rounding" in commands_page and ".. option" not in commands_page  # rendered, not quoted
    tags = [
        tag for page in site.rglob("*.html") for tag in re.findall(r"<(?:script|link|img|iframe)\b[^>]*>", page.read_text())
    ]
    assert [tag for tag in tags if re.search(r'(?:src|href)="(?:https?:)?//', tag)] == []  # nothing from elsewhere


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[gone](gone.md)", "gone.md"),
        ("```{eval-rst}\n.. autofunction:: tosa_rescale.api.nothing\n```", "nothing"),
        ("```{eval-rst}\n.. click:: tosa_rescale.cli:nonsense\n   :prog: x\n```", "nonsense"),
    ],
)
def test_what_is_gone_fails_the_site(tmp_path: pathlib.Path, text: str, message: str) -> None:
    pytest.importorskip("sphinx", reason="the extra `docs` is not installed")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "conf.py").write_text((ROOT / "docs" / "conf.py").read_text())
    (tmp_path / "docs" / "index.md").write_text(f"# Title\n\n{text}\n")
    done = build_site(tmp_path / "docs", tmp_path)
    assert done.returncode != 0 and message in done.stderr


def test_every_public_name_is_in_the_reference() -> None:
    text = (ROOT / "docs" / "reference" / "python.md").read_text()
    public = {name for name, value in vars(tr).items() if callable(value)} - {"versions", "TosaRescaleError"}
    assert public - {line.rsplit(".", 1)[-1] for line in text.splitlines() if line.startswith(".. auto")} == set()
