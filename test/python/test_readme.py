# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The first screen: the table has the picture's figures, the areas are the product's, and the picture is current."""

from __future__ import annotations

import importlib.util
import json
import pathlib
import re
import shlex
from types import ModuleType

import pytest
from conftest import ROOT

IMAGES = ROOT / "docs" / "images"
README = (ROOT / "README.md").read_text()
ALIGNMENT = (ROOT / "docs" / "alignment.md").read_text()
FIGURES = json.loads((IMAGES / "overview.json").read_text())


@pytest.fixture(scope="module")
def overview() -> ModuleType:
    pytest.importorskip("matplotlib", reason="the extra `report` is not installed")
    spec = importlib.util.spec_from_file_location("overview", IMAGES / "overview.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def numbers(line: str) -> list[float | None]:
    """The numbers of a row of a table; `-` was not measured."""
    return [None if cell.strip() == "-" else float(cell) for cell in line.strip("|").split("|")[1:]]


def rows(beginning: str) -> list[list[float | None]]:
    return [numbers(line) for line in README.splitlines() if line.startswith(f"| {beginning}")]


def test_the_table_has_the_figures_of_the_picture(overview: ModuleType) -> None:
    network, encoder = FIGURES["networks"]
    assert network["bits"] == encoder["bits"] == [8, 4, 3, 2, 1]
    assert rows("EfficientNet-Lite0, top-1 %, aligned") == [[network["base"], *network["aligned"]]]
    assert rows("MiniLM") == [[1, *encoder["aligned"]]]
    alone = [[network["base"], *network["narrow"]], [1, *encoder["narrow"]]]
    assert rows("the same, multipliers rounded alone") == alone
    assert rows("area") == [[round(each) for each in overview.areas([32, *network["bits"]])]]
    assert f"falls to {overview.areas([1])[0]:.0f} % at k = 1" in README
    spearman = encoder["spearman"]
    assert f"{spearman['original']:.4f}, and {spearman['aligned'][-1]:.4f} at k = 1" in README


def test_the_pages_have_the_same_figures() -> None:
    """What is measured stands in docs/alignment.md; the picture and other pages repeat it."""
    network, encoder = FIGURES["networks"]
    cells = {bits: re.search(rf"^\| {bits} \| (\S+), (\S+) \| (\S+), (\S+) \|", ALIGNMENT, re.M) for bits in encoder["bits"]}
    found = [[float(text) for text in row.groups()] for row in cells.values() if row is not None]
    shown = zip(
        *(encoder["spearman"]["narrow"], encoder["narrow"], encoder["spearman"]["aligned"], encoder["aligned"]), strict=True
    )
    assert found == [list(row) for row in shown]
    assert f"whose Spearman is {encoder['spearman']['original']}" in ALIGNMENT

    def measured(samples: str) -> str:
        row = re.search(rf"^\| aligned, {samples} \| ([\d.]+) %, ([\d.]+) %", ALIGNMENT, re.M)
        assert row is not None
        return f"{float(row[1]):.1f} / {float(row[2]):.1f}"

    assert measured("synthetic samples").startswith(f"{network['aligned'][-1]} /")
    usage = " ".join((ROOT / "docs" / "usage.md").read_text().split())
    assert f"{measured('32 images')} with 32 images, {measured('synthetic samples')} with synthetic calibration" in usage


def test_every_command_of_the_figures_stands_below_the_table() -> None:
    below = [shlex.split(line) for line in README.splitlines() if line.startswith("    ")]
    for network in FIGURES["networks"]:
        assert shlex.split(network["command"]) in below


def test_the_picture_is_current(overview: ModuleType) -> None:
    """Not byte by byte, which depends on the release of matplotlib: what is written out, and the themes' colours."""
    for theme, colours in overview.THEMES.items():
        drawn = (IMAGES / f"overview-{theme}.svg").read_text()
        assert f"docs/images/overview-{theme}.svg" in README
        texts = re.findall(r"<text[^>]*>([^<]*)</text>", drawn)
        assert {network["title"] for network in FIGURES["networks"]} <= set(texts)
        assert {f"{area:.0f}" for area in overview.areas([32, 8, 4, 3, 2, 1])} <= set(texts)
        assert colours["narrow"] in drawn and colours["aligned"] in drawn
        assert not re.search(r'(?:href|src)="https?:', drawn)


def test_the_picture_can_be_drawn(overview: ModuleType, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "x.svg"
    overview.draw(FIGURES, "light", path)
    points = re.findall(r'<use xlink:href="#m\w+" x="([\d.]+)" y="([\d.]+)"', path.read_text())
    assert len(points) >= sum(v is not None for n in FIGURES["networks"] for m in ("narrow", "aligned") for v in n[m])
