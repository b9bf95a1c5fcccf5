# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Every op of the twin on ties, extremes, zero points and odd shapes, against the TOSA reference model's stored answers.

`make conformance` asks the reference model afresh, and IREE too (test/conformance/ops.py).
"""

from __future__ import annotations

import sys

import numpy as np
import pytest
from conftest import ROOT
from op_cases import OpCase, op_cases
from tosa_rescale.formats.tosa import reference_model_available

pytest.importorskip("tensorflow")

sys.path.insert(0, str(ROOT / "test" / "conformance"))
import ops
from tosa_rescale.twin.ops import LOWERINGS

CASES = {case.name: case for case in op_cases()}
ANSWERS = ops.stored_answers()
KINDS = sorted({case.kind for case in CASES.values()})


def of_kind(kind: str) -> list[OpCase]:
    return [case for case in CASES.values() if case.kind == kind]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("float64", [False, True])
def test_the_twin_gives_the_reference_models_integers(kind: str, float64: bool) -> None:
    cases = of_kind(kind)
    found = zip(cases, ops.run_twin(cases, float64), strict=True)
    assert not [case.name for case, answer in found if ops.differs(answer, ANSWERS[case.name])]


def test_there_is_an_answer_for_each_case_and_a_case_for_each_op() -> None:
    assert list(ANSWERS) == list(CASES)
    # RESCALE has its own (edges.npz); the others are no ops of the specification's integer profile.
    assert set(LOWERINGS) - set(KINDS) == {"rescale", "apply_scale", "argmin", "reduce_product"}


def test_the_cases_have_ties_and_both_ends() -> None:
    ends = np.concatenate([case.arrays[0].ravel() for case in CASES.values() if case.inputs[0][0] == "i8"])
    assert ends.min() == -128 and ends.max() == 127
    (tied,) = (case for case in CASES.values() if case.name == "argmax-i8-2x3x21-2-ties")
    largest = tied.arrays[0].max(2, keepdims=True)
    assert ((tied.arrays[0] == largest).sum(2) > 1).all()


@pytest.mark.slow
@pytest.mark.skipif(not reference_model_available(), reason="tosa_reference_model and tosa-opt are not on PATH")
def test_the_stored_answers_are_the_reference_models() -> None:
    for kind in KINDS:
        case = of_kind(kind)[0]
        assert not ops.differs(ops.run_reference(case), ANSWERS[case.name]), case.name
