# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The sections of the report page, one file each. To add one, add a file and a row."""

from __future__ import annotations

from collections.abc import Callable

from tosa_rescale.reporting.blocks import Section
from tosa_rescale.reporting.sections import (
    accuracy,
    hardware,
    layers,
    multipliers,
    outputs,
    paper,
    provenance,
    training,
    weights,
)
from tosa_rescale.reporting.stored import Stored

SECTIONS: tuple[Callable[[Stored], Section | None], ...] = (
    accuracy.section,
    hardware.section,
    paper.section,
    outputs.section,
    layers.section,
    multipliers.section,
    weights.section,
    training.section,
    provenance.section,
)
"""From what a sweep stored to each section, in the order of the page; None where a sweep has nothing for it."""
