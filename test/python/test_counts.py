# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Numbers with their nouns: what people read says `1 bit`, not `1 bits`."""

from __future__ import annotations

import pathlib
import re

import tosa_rescale as tr
from conftest import ROOT
from tosa_rescale.core.display import count
from tosa_rescale.core.options import Scope
from tosa_rescale.hardware.bundle import write_bundle
from tosa_rescale.hardware.pairs import read_tables

PLURALS = r"bits|words|samples|rescales|multipliers|layers|tensors|MACs|images|rows|inputs"


def test_a_number_has_its_noun() -> None:
    assert [count(number, "bit") for number in (0, 1, 2, 12000)] == ["0 bits", "1 bit", "2 bits", "12,000 bits"]


def test_no_file_of_an_export_speaks_of_one_bits(demo: tr.Model, tmp_path: pathlib.Path) -> None:
    narrowed = demo.narrow(1, scope="all")
    written = write_bundle(tmp_path / "export", narrowed, read_tables(narrowed, Scope.ALL), ("json", "c", "hex"))
    texts = [path.read_text() for path in written]
    assert any(re.search(r"\b1 bit\b", text) for text in texts)
    assert not [found for text in texts for found in re.findall(rf"\b1 (?:{PLURALS})\b", text)]


def test_widths_in_messages_are_counted() -> None:
    """A width may be 1 wherever it is shown, but for constants, whose names are written in capitals."""
    for path in (ROOT / "python/tosa_rescale").rglob("*.py"):
        assert not re.findall(r"\{(?![A-Z])[^{}]*\} (?:significant )?bits(?!=)\b", path.read_text()), path
