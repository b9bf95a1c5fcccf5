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
    wide = [rescale.name for rescale in shifts.info() if (rescale.bits or 32) > 1]
    assert all("layer_norm" in name for name in wide)  # every matrix product has a shift
    assert f"{len(wide)} of its {len(shifts.info())} rescales keep a multiplier" in page


def test_the_transformer_goes_back_into_its_file(transformer: tr.Model, digits: tr.Dataset, tmp_path: pathlib.Path) -> None:
    shifts = transformer.compensate(1, scope="all", calibration="none")
    path = shifts.save(tmp_path / "shifts.tflite", allow_partial=True)
    again = tr.load(path).evaluate(digits, reference=transformer)
    assert again.top1 >= transformer.evaluate(digits).top1 - 0.5
