# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Documentation that is generated says what the code says."""

from __future__ import annotations

import pathlib

import pytest
import tosa_rescale

ROOT = pathlib.Path(__file__).parents[2]


def test_the_pass_reference_is_current() -> None:
    built = pathlib.Path(tosa_rescale.__file__).parent / "passes.md"
    if not built.is_file():
        pytest.skip("the package is not installed, so there is no freshly built passes.md")
    assert (ROOT / "docs" / "passes.md").read_text() == built.read_text(), "run `make docs`"


def test_the_architecture_names_every_file_of_the_passes() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    shared = {path.stem for path in (ROOT / "passes").glob("*.cpp") if not path.stem.startswith("TosaRescale")}
    assert {name for name in shared if f"passes/{name}" not in text} == set()
