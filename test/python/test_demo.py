# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The models that come with the package keep the accuracy that the documentation promises."""

from __future__ import annotations

import pathlib

import pytest
import tosa_rescale as tr
from conftest import ROOT
from tosa_rescale.demo import MODEL, TRANSFORMER


@pytest.fixture(scope="module")
def transformer() -> tr.Model:
    return tr.load(TRANSFORMER)


def test_models_and_data_stay_small() -> None:
    assert MODEL.stat().st_size < 30_000 and TRANSFORMER.stat().st_size < 60_000


def test_the_transformer_keeps_its_accuracy_at_one_bit(transformer: tr.Model, digits: tr.Dataset) -> None:
    page = (ROOT / "docs" / "alignment.md").read_text()
    narrowed = transformer.narrow(1, scope="all").evaluate(digits)
    shifts = transformer.compensate(1, scope="all", calibration="none")
    found = shifts.evaluate(digits, reference=transformer)
    base = transformer.evaluate(digits)
    assert f"it knows {base.top1:.1f} %. With every rescale rounded to one bit {narrowed.top1:.1f} %;" in page
    assert f"without data, {found.top1:.1f} %, and {found.agreement:.1f} % of its decisions" in page
    assert base.top1 - found.top1 <= 0.5 < base.top1 - narrowed.top1
    checked = shifts.check(digits.take(16), engines=("iree", "iree-constant", "tf"))
    assert checked.bit_exact
    assert not any(each.above(1) for each in shifts.info())
    assert f"None of its {len(shifts.info())} rescales keeps a multiplier" in page


def test_the_transformer_names_the_tables_that_move(transformer: tr.Model) -> None:
    page = (ROOT / "docs" / "alignment.md").read_text()
    moved = [each for each in transformer.compensate(1, scope="all", calibration="none").remarks if "RSQRT" in each.text]
    assert len(moved) == 5 and all("is computed anew from RSQRT for an input at 1." in each.text for each in moved)
    left = transformer.compensate(1, scope="all", calibration="none", table_error=0)
    wide = sum(each.above(1) > 0 for each in left.info())
    assert wide and not any("RSQRT" in each.text for each in left.remarks)
    assert f"with `--table-error 0`, which leaves the tables, {wide} of its rescales keep one" in page


def test_the_transformer_goes_back_into_its_file(transformer: tr.Model, digits: tr.Dataset, tmp_path: pathlib.Path) -> None:
    shifts = transformer.compensate(1, scope="all", calibration="none")
    again = tr.load(shifts.save(tmp_path / "shifts.tflite"))
    assert not any(each.above(1) for each in again.info())
    found = again.evaluate(digits, reference=transformer)
    assert found.top1 >= transformer.evaluate(digits).top1 - 0.5
    # float32 scales and a second rounding decide ties otherwise, and the page says how many steps that makes.
    ties = again.evaluate(digits, reference=shifts)
    page = (ROOT / "docs" / "alignment.md").read_text()
    assert f"{ties.mean_lsb:.1f} steps of an output in the mean ({ties.max_lsb} at most, of {10 * len(digits):,})" in page
    # What a reader makes of the file, scales as near as float32 has them and LiteRT's rounding taken off, is the module.
    exact = again.narrow(1, scope="all").evaluate(digits, reference=shifts)
    assert exact.max_lsb == 0
    # A stock LiteRT computes RSQRT itself.
    assert again.evaluate(digits, engine="litert").top1 >= transformer.evaluate(digits, engine="litert").top1 - 0.5
