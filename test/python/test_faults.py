# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A few tries of `make faults`."""

from __future__ import annotations

import sys

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "test" / "faults"))
import faults

FINETUNE = pytest.param("finetune", marks=pytest.mark.slow)  # TensorFlow starts again for every try


@pytest.mark.parametrize("name", ["compensate", "compile", "sweep", FINETUNE])
def test_a_killed_step_leaves_nothing_damaged_and_runs_again(name: str) -> None:
    counts = faults.kill_at_random(name, tries=3, seed=1)
    assert counts["rerun to the same result"] == 3


def test_two_processes_share_a_cache() -> None:
    assert faults.share_a_cache("compensate", tries=2)["runs together"] == 2


@pytest.mark.parametrize("name", ["compensate", "compile", FINETUNE])
def test_a_full_disk_leaves_the_old_output(name: str) -> None:
    counts = faults.full_disk(name)
    if "skipped: mounting is not allowed" in counts:
        pytest.skip("mounting is not allowed")
    assert counts["full output disk: old output kept"] == 1
