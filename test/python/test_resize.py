# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Bilinear resizing of int16, against exact fractions, and LiteRT's kernel against its own formula."""

from __future__ import annotations

import pathlib
import warnings
from fractions import Fraction

import numpy as np
import pytest
import tosa_rescale as tr

pytest.importorskip("tensorflow")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import networks
    import tensorflow as tf

Taps = list[tuple[int, int, Fraction]]


def exact_taps(size: int, wanted: int) -> Taps:
    """Two neighbours of each sample, and how far it is from the first one to the second."""
    places = [Fraction(i * size, wanted) for i in range(wanted)]
    return [(int(place), min(int(place) + 1, size - 1), place - int(place)) for place in places]


def kernel_taps(size: int, wanted: int) -> Taps:
    """The same with steps of 1/1024, as LiteRT's kernel computes them."""
    step = ((size << 10) + wanted // 2) // wanted
    places = [Fraction(i * step, 1024) for i in range(wanted)]
    return [(int(place), min(int(place) + (place % 1 != 0), size - 1), place % 1) for place in places]


def interpolated(x: np.ndarray, taps: Taps) -> np.ndarray:
    """A square [N, N, C] of integers resized along both dimensions, as fractions."""
    exact = np.vectorize(lambda n: Fraction(int(n)), otypes=[object])(x)
    for axis in (0, 1):
        pairs = [(exact.take(low, axis), exact.take(high, axis), part) for low, high, part in taps]
        exact = np.stack([a + (b - a) * part for a, b, part in pairs], axis)
    return exact


@pytest.mark.parametrize(("size", "wanted"), [(4, 8), (4, 12), (7, 11)])
def test_fractions_are_exact_where_the_kernel_of_litert_rounds_them(size: int, wanted: int, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "network.tflite"
    resize = tf.compat.v1.image.resize_bilinear
    network = {"x": (1, size, size, 2)}
    path.write_bytes(networks.convert(lambda x: {"y": resize(x, (wanted, wanted))}, network, "int16", "int16"))
    model = tr.load(path)
    (x,) = model.random_inputs(1)
    ours = model(x).reshape(wanted, wanted, 2)
    theirs = model(x, engine="litert").reshape(wanted, wanted, 2)
    x = x.reshape(size, size, 2)
    exact, rounded = interpolated(x, exact_taps(size, wanted)), interpolated(x, kernel_taps(size, wanted))
    assert abs(ours - exact).max() < 1
    assert abs(theirs - rounded).max() <= Fraction(1, 2)
    assert (abs(theirs - exact).max() > 100) == (wanted % size != 0 or wanted // size == 3)


def test_the_documented_place_of_the_last_sample() -> None:
    (*_, (low, _, part)), (*_, (_, _, rounded)) = exact_taps(4, 12), kernel_taps(4, 12)
    assert low == 3 and part - rounded == Fraction(11, 3) - Fraction(11 * 341, 1024)
    assert round((part - rounded) * 65536) == 235
