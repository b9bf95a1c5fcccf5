# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Documentation that is generated says what the code says."""

from __future__ import annotations

import pathlib
import re

import pytest
import tosa_rescale

ROOT = pathlib.Path(__file__).parents[2]


def test_the_pass_reference_is_current() -> None:
    built = pathlib.Path(tosa_rescale.__file__).parent / "passes.md"
    if not built.is_file():
        pytest.skip("the package is not installed, so there is no freshly built passes.md")
    assert (ROOT / "docs" / "passes.md").read_text() == built.read_text(), "run `make docs`"


ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
PLACES = [ROOT, ROOT / "python" / "tosa_rescale", ROOT / "passes", ROOT / "test" / "python"]


def test_every_file_that_the_architecture_names_is_there() -> None:
    named = set(re.findall(r"`([\w./-]+(?:/|\.(?:py|td|md|h|cpp)))`", ARCHITECTURE))
    assert len(named) > 20
    assert {name for name in named if not any((place / name).exists() for place in PLACES)} == set()


def test_the_architecture_names_every_module_of_a_layer_and_every_shared_file_of_the_passes() -> None:
    package = ROOT / "python" / "tosa_rescale"
    for layer in ("core", "formats", "data", "rewrite", "measure", "sweeping", "driver"):
        (row,) = (line for line in ARCHITECTURE.splitlines() if line.startswith(f"| `{layer}/`"))
        modules = {path.stem for path in (package / layer).glob("*.py") if not path.stem.startswith("_")}
        assert {name for name in modules if f"`{name}`" not in row} == set(), layer
    shared = {path.stem for path in (ROOT / "passes").glob("*.cpp") if not path.stem.startswith("TosaRescale")}
    assert {name for name in shared if f"`{name}`" not in ARCHITECTURE} == set()
