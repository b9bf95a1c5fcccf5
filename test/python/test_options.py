# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Options are refused where they are made, with value, limit and remedy."""

from __future__ import annotations

from typing import Any

import pytest
from tosa_rescale.core.errors import OptionError
from tosa_rescale.core.options import NARROW, MultiplierRounding, NarrowOptions, Preset, RoundingMode, parse_bits


@pytest.mark.parametrize("bits", [0, 32, -1, "eight", "", "4.5"])
def test_bits_out_of_range_are_refused_by_value(bits: Any) -> None:
    with pytest.raises(OptionError, match=rf"bits: '?{bits}'? is .* 1 to 31"):
        NarrowOptions(bits)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 16, "encoding": "scale16"}, "at most 15 significant bits, got 16"),
        ({"bits": 15, "hidden_bit": True, "encoding": "scale16"}, "at most 15 significant bits, got 16"),
        ({"bits": 4, "encoding": "scale16", "rounding_mode": "double"}, "forbids double rounding"),
        ({"bits": 4, "scope": "all", "elementwise_bits": 20, "encoding": "scale16"}, "got 20"),
        ({"bits": 4, "elementwise_bits": 8}, "elementwise-bits: has no effect with scope accumulator"),
        ({"bits": 4, "encoding": "compact"}, "'compact' is not one of aligned, scale16"),
        ({"bits": 4, "multiplier_rounding": "floor"}, "'floor' is not one of nearest, up, truncate"),
    ],
)
def test_contradicting_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        NarrowOptions(**options)


def test_preset_paper_sets_its_three_options() -> None:
    paper = NarrowOptions(4, preset="paper", rounding_mode="keep")  # type: ignore[arg-type]
    assert (paper.multiplier_rounding, paper.hidden_bit) == (MultiplierRounding.TRUNCATE, True)
    assert (paper.rounding_mode, paper.preset) == (RoundingMode.SINGLE, Preset.PAPER)
    assert paper.significant_bits == 5


def test_hidden_bit_cannot_exceed_31_bits() -> None:
    assert NarrowOptions(31, hidden_bit=True).significant_bits == 31


def test_pass_options_name_every_option() -> None:
    options = NarrowOptions(3, scope="all", elementwise_bits=8, multiplier_rounding="up")  # type: ignore[arg-type]
    assert options.pass_options(NARROW) == (
        "tosa-rescale-narrow=bits=3 hidden-bit=false encoding=aligned scope=all elementwise-bits=8 rounding-mode=single"
        " multiplier-rounding=up"
    )


def test_with_bits_keeps_the_rest() -> None:
    assert NarrowOptions(8, preset="paper").with_bits(3) == NarrowOptions(3, preset="paper")  # type: ignore[arg-type]


def test_bits_are_read_from_text() -> None:
    assert parse_bits("7") == 7
