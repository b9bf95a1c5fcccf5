# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Fully connected layers of int16: TOSA rescales 48 bits by 15 significant bits, LiteRT's kernel by the scale in full.

docs/arithmetic.md says so; a release of LiteRT whose kernel computes otherwise fails here.
"""

from __future__ import annotations

import pathlib
import warnings

import numpy as np
import pytest
import tosa_rescale as tr
from tosa_rescale.formats.litert.schema import litert_layers

pytest.importorskip("tensorflow")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import networks


@pytest.mark.parametrize(("bits", "most"), [(None, 0.15), (8, 0.005), (4, 0.005), (1, 0.005)])
def test_kernels_multiply_in_full_and_modules_by_15_bits(bits: int | None, most: float, tmp_path: pathlib.Path) -> None:
    (tmp_path / "linear.tflite").write_bytes(networks.linear("int16", "int16"))
    model = tr.load(tmp_path / "linear.tflite")
    model = model if bits is None else model.compensate(bits, calibration="none")
    data = model.to_litert()
    (layer,) = litert_layers(data)
    assert layer.weights.value is not None and layer.bias is not None and layer.bias.value is not None
    x = np.random.default_rng(0).integers(-32768, 32768, (500, 2, 16), np.int16)
    sums = x.astype(np.int64) @ layer.weights.value.astype(np.int64).T + layer.bias.value.astype(np.int64)
    expected = np.floor(sums * layer.multiplier + 0.5).clip(-32768, 32767)
    kernel = np.stack([networks.run_litert(data, [each])[0] for each in x])
    np.testing.assert_array_equal(kernel, expected)
    (rescale,) = model.module().rescales()
    assert rescale.multiplier is not None and rescale.shift is not None
    m, s = rescale.multiplier.astype(np.int64), rescale.shift.astype(np.int64)
    assert not rescale.scale32 and m.max() < 1 << 15
    found = np.asarray(model(x), np.int64)
    np.testing.assert_array_equal(found, ((sums * m + (1 << (s - 1))) >> s).clip(-32768, 32767))
    assert np.abs(found - kernel).max() == 1 and 0 < np.mean(found != kernel) < most
