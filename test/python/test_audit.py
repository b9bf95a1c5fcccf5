# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which width a multiplier was meant to have; what `info --fail-above` goes by."""

from __future__ import annotations

import pathlib
from fractions import Fraction

import numpy as np
import tosa_rescale as tr
from tosa_rescale.core.rescales import intended_bits

STEPS = (0, *(sign * step for step in (1, 127, 128, 255, 256, 257, 511, 512, 1023) for sign in (1, -1)))


def missed(multiplier: int, bits: int) -> Fraction:
    """By how much of itself a multiplier misses the nearest one of so many significant bits."""
    below = Fraction(multiplier, 2 ** max(multiplier.bit_length() - bits, 0))
    return abs(below - round(below)) / below


def test_intended_bits_exhaustive() -> None:
    """Against the definition on fractions, for multipliers of every width with differences around the limit."""
    rng = np.random.default_rng(0)
    cases = [0, 1, 2**31 - 1, 2**30]
    for bits in range(1, 31):
        tops = [1, *rng.integers(2 ** (bits - 1), 2**bits, 20).tolist()]
        for top in tops:
            whole = top << (31 - int(top).bit_length())
            cases += [whole + excess for excess in STEPS if 0 <= whole + excess < 2**31]
    found = intended_bits(np.array(cases, np.int64))
    for m, bits in zip(cases, found.tolist(), strict=True):
        exact = (m // (m & -m)).bit_length() if m else 0
        enough = [b for b in range(1, 17) if m and missed(m, b) < Fraction(1, 2**22)]
        assert bits == min([exact, *enough]), m


def test_a_litert_file_of_few_bits_passes_the_audit(demo: tr.Model, tmp_path: pathlib.Path) -> None:
    path = demo.compensate(3, calibration="none", scope="all").save(tmp_path / "x.tflite")
    read = tr.load(path)
    assert max(max(each.multiplier_bits) for each in read.info()) > 20, "float32 scales exceed the multipliers by a little"
    assert not [each.key for each in read.info() if each.above(3)]
    assert [each.key for each in read.info() if each.above(2)]
    assert [each.key for each in demo.info() if each.above(15)], "a wide model stays wide"
