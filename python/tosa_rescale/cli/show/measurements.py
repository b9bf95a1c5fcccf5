# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Evaluations and checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tosa_rescale.cli.options import in_flags
from tosa_rescale.cli.show.console import Column, line, table
from tosa_rescale.core.display import count

if TYPE_CHECKING:
    from tosa_rescale.measure.check import CheckResult
    from tosa_rescale.measure.evaluation import Evaluation


def evaluation(found: Evaluation) -> None:
    """The figures, one a line, with what is lost against a reference; those that do not apply are left out."""
    for label, value in found.figures():
        line(f"{label:<16}{value}")
    if found.histogram:
        _histogram(found.histogram)
    if found.says:
        line(f"metrics: {found.says}")
    warnings(found)


def warnings(found: Evaluation) -> None:
    """What is doubtful about the labels, and what was left out, on standard error."""
    for warning in found.warnings:
        click.echo(f"warning: {in_flags(warning)}", err=True)
    for note in found.notes:
        click.echo(f"note: {in_flags(note)}", err=True)


def _histogram(histogram: dict[int, int], widest: int = 5) -> None:
    total = sum(histogram.values())
    inside = {d: n for d, n in histogram.items() if abs(d) <= widest}
    rows = [[f"{d:+d}" if d else "0", f"{100 * inside[d] / total:.2f}"] for d in sorted(inside)]
    if beyond := total - sum(inside.values()):
        rows.append([f"beyond ±{widest}", f"{100 * beyond / total:.2f}"])
    table([Column("LSB"), Column("% of values")], rows, title="difference of outputs")


def check(result: CheckResult) -> None:
    """One row a pair of engines, then the verdict."""
    found = result.summary()
    table([Column(title, left=not i) for i, title in enumerate(found.columns)], found.rows)
    for said in found.notes:
        line(said)
    line(f"{count(result.samples, 'sample')}: {'bit-exact' if result else 'NOT bit-exact'}")
