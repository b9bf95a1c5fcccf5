# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Divisions of average pools that `info` counts, against a count of the values in each window."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
import tosa_rescale as tr
from runtime_modules import RescaleCase, constant, function, rescale, tensor
from tosa_rescale.cli import main
from tosa_rescale.core.divisions import find_divisions


def pool_model(folder: pathlib.Path, size: int, kernel: int, stride: int, pad: int) -> pathlib.Path:
    """A rescale and an average pool over a square image of one channel."""
    places = (size + 2 * pad - kernel) // stride + 1
    shape, made = (1, size, size, 1), (1, places, places, 1)
    zero = constant("z", np.zeros(1, np.int8), "i8")
    body = rescale("r", "x", shape, RescaleCase("i8", "i8", (1 << 30,), (30,))) + zero
    body += (
        f'    %y = "tosa.avg_pool2d"(%r, %z, %z) <{{kernel = array<i64: {kernel}, {kernel}>, '
        f"stride = array<i64: {stride}, {stride}>, pad = array<i64: {pad}, {pad}, {pad}, {pad}>, acc_type = i32}}> : "
        f"({tensor(shape, 'i8')}, tensor<1xi8>, tensor<1xi8>) -> {tensor(made, 'i8')}\n"
    )
    path = folder / "pool.mlir"
    path.write_text(function([("x", tensor(shape, "i8"))], body, [("y", tensor(made, "i8"))]))
    return path


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pad"), [(7, 7, 1, 0), (8, 2, 2, 0), (5, 3, 2, 1), (6, 4, 2, 1), (1, 1, 1, 0)]
)
def test_pools_that_divide_are_found(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], size: int, kernel: int, stride: int, pad: int
) -> None:
    path = pool_model(tmp_path, size, kernel, stride, pad)
    inside = np.pad(np.ones((size, size), int), pad)
    windows = np.lib.stride_tricks.sliding_window_view(inside, (kernel, kernel))[::stride, ::stride]
    counts = sorted({n for n in windows.sum((2, 3)).reshape(-1).tolist() if n not in (1, 2, 4, 8, 16)})
    found = find_divisions(tr.load(path))
    assert [each.counts for each in found] == ([tuple(counts)] if counts else [])
    assert main(["info", str(path)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    expected = f"1 average pool divides, which is no rescale: avg_pool2d0 (by {' or '.join(map(str, counts))})"
    assert (expected in said) == bool(counts)
    assert ("divide" in said) == bool(counts)
