# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Average pools that divide, as convolutions with constant weights: against NumPy, and through files of every type."""

from __future__ import annotations

import pathlib
import warnings

import numpy as np
import pytest
import tosa_rescale as tr
from test_divisions import pool_model
from tosa_rescale.cli import main
from tosa_rescale.core.divisions import find_divisions

POOLS = [(7, 7, 1), (5, 3, 2), (9, 6, 1), (2, 2, 1)]


def written_as_convolutions(model: tr.Model) -> tr.Model:
    return model.compensate(1, scope="all", weighted_means=True, align=False, calibration="none")


@pytest.mark.parametrize(("size", "kernel", "stride"), POOLS)
def test_weights_add_up_to_a_power_of_two(tmp_path: pathlib.Path, size: int, kernel: int, stride: int) -> None:
    model = tr.load(pool_model(tmp_path, size, kernel, stride, 0))
    made = written_as_convolutions(model)
    assert not find_divisions(made) and {each.bits for each in made.info()} == {1}
    x = np.random.default_rng(0).integers(-128, 128, (64, size, size, 1), np.int8)
    x[:16] = np.arange(-128, 128, 16, dtype=np.int8)[:, None, None, None]  # images of one value keep it
    found = made(x)
    windows = np.lib.stride_tricks.sliding_window_view(x.astype(np.int64), (kernel, kernel), (1, 2))[:, ::stride, ::stride, 0]
    count = kernel * kernel
    shift = int(np.log2(127 * count))  # 2^shift <= 127 * count: no weight is above 127
    ramp = np.arange(count + 1) * 2**shift // count
    weights = np.diff(ramp)
    if kernel != 2:
        total = (windows.reshape(*windows.shape[:3], count) * weights).sum(-1)
        assert np.array_equal(found[..., 0], (total + (1 << (shift - 1))) >> shift)
    assert np.array_equal(found[:16], x[:16, : found.shape[1], : found.shape[2]])
    # At most 1/254 of the range that values span, and half a step of rounding.
    assert np.abs(found[..., 0] - windows.mean((-1, -2))).max() <= 255 / 254 + 0.5


@pytest.mark.parametrize(("size", "kernel", "stride", "pad"), [(5, 3, 2, 1), (6, 4, 2, 1)])
def test_pools_over_the_border_stay_and_are_named(
    tmp_path: pathlib.Path, size: int, kernel: int, stride: int, pad: int
) -> None:
    model = tr.load(pool_model(tmp_path, size, kernel, stride, pad))
    made = written_as_convolutions(model)
    assert find_divisions(made) == find_divisions(model) != []
    (remark,) = made.remarks
    assert remark.text.startswith(f"stays a division: requires windows of {kernel}x{kernel} values each")


def pooled(folder: pathlib.Path, border: str, activations: str) -> pathlib.Path:
    """A network with pools over 3x3 and 7x7 values."""
    pytest.importorskip("tensorflow")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import networks
        import tensorflow as tf

    def call(x: tf.Tensor) -> dict[str, tf.Tensor]:
        x = tf.nn.avg_pool2d(networks._conv(x, 0, 8), 3, 2, "VALID")
        x = tf.nn.relu(tf.nn.avg_pool2d(networks._conv(x, 1, 8), 7, 1, "VALID"))
        return {"scores": networks._dense(tf.reshape(x, (1, 8)), 2, 5)}

    path = folder / "pooled.tflite"
    path.write_bytes(networks.convert(call, {"x": (1, 15, 15, 3)}, border, activations))
    return path


@pytest.mark.parametrize(
    ("border", "activations"), [("float32", "int8"), ("int8", "int8"), ("uint8", "int8"), ("int16", "int16")]
)
def test_a_file_with_convolutions_in_the_place_of_pools(tmp_path: pathlib.Path, border: str, activations: str) -> None:
    model = tr.load(pooled(tmp_path, border, activations))
    assert [each.counts for each in find_divisions(model)] == [(9,), (49,)]
    made = model.compensate(1, scope="all", weighted_means=True, calibration="none")
    assert not find_divisions(made) and not made.remarks and {each.bits for each in made.info()} == {1}
    assert made.check(4).bit_exact
    back = tr.load(made.save(tmp_path / "back.tflite"))
    assert not find_divisions(back) and back.signature == model.signature
    x = model.random_inputs(32)
    # The converter reads rescales back with DOUBLE_ROUND, which differs from SINGLE_ROUND by one at ties of negative values.
    assert np.abs(back(*x).astype(int) - made(*x)).max() <= 1
    # A module without the file, given the file it was made from.
    kept = tr.load(made.save(tmp_path / "made.mlirbc"))
    assert kept.to_litert(tmp_path / "pooled.tflite") == (tmp_path / "back.tflite").read_bytes()


def test_the_option_is_there_on_the_command_line(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, made = pool_model(tmp_path, 7, 7, 1, 0), tmp_path / "made.mlirbc"
    assert main(["compensate", str(path), "-o", str(made), "--bits", "1", "--scope", "all", "--weighted-means"]) == 0
    capsys.readouterr()
    assert main(["info", str(made)]) == 0
    assert "divide" not in capsys.readouterr().out
