# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The models that come with the package keep the accuracy that the documentation promises."""

from __future__ import annotations

import pathlib

import pytest
import tosa_rescale as tr
from tosa_rescale.demo import MODEL, TRANSFORMER


@pytest.fixture(scope="module")
def transformer() -> tr.Model:
    return tr.load(TRANSFORMER)


def test_models_and_data_stay_small() -> None:
    assert MODEL.stat().st_size < 30_000 and TRANSFORMER.stat().st_size < 60_000


def test_the_transformer_keeps_its_accuracy_at_one_bit(transformer: tr.Model, digits: tr.Dataset) -> None:
    base = transformer.evaluate(digits)
    assert base.top1 >= 97
    narrowed = transformer.narrow(1, scope="all").evaluate(digits, reference=transformer)
    assert base.top1 - narrowed.top1 > 10  # what alignment has to make good
    shifts = transformer.compensate(1, scope="all", calibration="none")
    found = shifts.evaluate(digits, reference=transformer)
    assert base.top1 - found.top1 <= 0.5 and found.agreement >= 99
    checked = shifts.check(digits.take(16), engines=("iree", "iree-constant", "tf"))
    assert checked.bit_exact
    wide = {rescale.name.rsplit("/", 1)[-1] for rescale in shifts.info() if (rescale.bits or 32) > 1}
    assert wide <= {"mul", "add", "mul_1", "mul_2"}  # within a LayerNorm; every matrix product has a shift


def test_the_transformer_goes_back_into_its_file(transformer: tr.Model, digits: tr.Dataset, tmp_path: pathlib.Path) -> None:
    shifts = transformer.compensate(1, scope="all", calibration="none")
    path = shifts.save(tmp_path / "shifts.tflite", allow_partial=True)
    again = tr.load(path).evaluate(digits, reference=transformer)
    assert again.top1 >= transformer.evaluate(digits).top1 - 0.5
