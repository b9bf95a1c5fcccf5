# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""IREE and the twin on the corners of RESCALE, against the specification's formula and the reference model's stored answers."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import tosa_rescale as tr
from conftest import ROOT
from runtime_modules import apply_rescale

sys.path.insert(0, str(ROOT / "test" / "conformance"))
import edges


@pytest.mark.parametrize("name", edges.STORED_VARIANTS)
@pytest.mark.parametrize("engine", ["iree", "twin"])
def test_narrowed_corners_give_the_reference_models_values(name: str, engine: str) -> None:
    if engine == "twin":
        pytest.importorskip("tensorflow")
    bytecode, inputs = edges.build()
    (how,) = (each for each in edges.VARIANTS if edges.label(each) == name)
    run = {"iree": edges.run_iree, "twin": edges.run_twin}[engine]
    found = run(edges.variant(tr.Model(bytecode), how), inputs)
    with np.load(edges.STORED, allow_pickle=False) as stored:
        assert len(stored.files) == len(edges.STORED_VARIANTS) * len(found)
        assert not edges.differing(found, [stored[f"{name}/{i}"] for i in range(len(found))])


def test_the_reference_model_computes_the_specifications_formula() -> None:
    # The formula in runtime_modules is written from the specification; other tests rest on it.
    with np.load(edges.STORED, allow_pickle=False) as stored:
        for index, case in enumerate(edges.cases()):
            assert np.array_equal(stored[f"given/{index}"], apply_rescale(edges.values(case), case)), case


def test_the_corners_reach_both_ends_of_the_output() -> None:
    for case in edges.cases():
        result = apply_rescale(edges.values(case), case)
        limits = np.iinfo(result.dtype)
        if case.source == "i32" and case.multiplier == (edges.ODD,) and case.shift == (40,) and case.target == "i8":
            assert result.min() == limits.min and result.max() == limits.max
