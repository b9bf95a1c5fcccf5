# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What `hardware-cost` prints of costs in standard cells."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any

from tosa_rescale.cli.show.console import Column, line, table
from tosa_rescale.core.display import count
from tosa_rescale.hardware import PAPER
from tosa_rescale.hardware.cells import CellCost, CellCosts
from tosa_rescale.hardware.designs import DESIGNS
from tosa_rescale.hardware.flows import FLOWS, FlowCosts

COUNTED = "wires as the library's wire-load model has them, none without; clock tree not counted"
TITLES = ("k", "clock, ps", "vs", "path, ps", "area, um2", "vs", "area-delay, times better", "power, uW", "energy, fJ a cycle")
WITHOUT_OPENSTA = "OpenSTA is not installed (Debian: opensta): paths are abc's, without flip-flops' own delays"
ISO = ("area at the base's clock, um2", "vs", "power there, uW", "vs")


def tables(found: Sequence[CellCosts], designs: Collection[str] | None = None, macs: Collection[int] | None = None) -> None:
    """One table for each library, design and number of MACs.

    Args:
        found: the costs of each library.
        designs: which ones; all unless given.
        macs: which numbers of MACs; all unless given.
    """
    for costs in found:
        groups = dict.fromkeys((each.design, each.macs) for each in costs.costs)
        for design, lanes in groups:
            if (designs is not None and design not in designs) or (macs and DESIGNS[design].has_macs and lanes not in macs):
                continue
            _group(costs, [each for each in costs.costs if (each.design, each.macs) == (design, lanes)])
        line(f"{costs.library}: {costs.tool}; timing and power by {costs.timing}; {COUNTED}")
        line(f"activity: {costs.activity}")
        if costs.timing != "OpenSTA":
            line(f"{WITHOUT_OPENSTA}; no dynamic power")


def flows(found: Sequence[FlowCosts]) -> None:
    """One table for each library and number of MACs.

    Args:
        found: the flows in each library.
    """
    for costs in found:
        for macs in dict.fromkeys(each.macs for each in costs.costs):
            rows = []
            for cost in (each for each in costs.costs if each.macs == macs):
                base = costs.base_of(cost)
                figures = [f"{cost.period:.0f}", _against(cost.period, base.period)]
                figures += [f"{cost.area:,.0f}", _against(cost.area, base.area), f"{base.area_delay / cost.area_delay:.2f}"]
                rows.append([FLOWS[cost.flow].says, str(cost.bits), *figures])
            titles = ("k", "clock, ps", "vs", "area, um2", "vs", "area-delay, times better")
            columns = [Column("flow", left=True), *map(Column, titles)]
            table(columns, rows, title=f"{costs.library}: dot-product engine of int8, {count(macs, 'MAC')}, by flow")
        line(f"{costs.library}: {costs.tool}; timing by {costs.timing}; {COUNTED}")
        if costs.timing != "OpenSTA":
            line(WITHOUT_OPENSTA)


def _group(costs: CellCosts, group: Sequence[CellCost]) -> None:
    base = costs.base_of(group[0])
    rows = []
    for cost in group:
        rows.append(
            [
                str(cost.bits),
                f"{cost.period:.0f}",
                _against(cost.period, base.period),
                f"{cost.path:.0f}",
                f"{cost.area:,.0f}",
                _against(cost.area, base.area),
                f"{base.area_delay / cost.area_delay:.2f}",
                _power(cost.leakage, cost.dynamic),
                "-" if cost.dynamic is None else f"{(cost.dynamic + cost.leakage) * cost.period / 1000:,.0f}",
                f"{cost.iso_area:,.0f}",
                _against(cost.iso_area, base.iso_area),
                _power(cost.iso_leakage, cost.iso_dynamic),
                "-" if not (cost.iso_dynamic and base.iso_dynamic) else _against(cost.iso_dynamic, base.iso_dynamic),
                cost.recipe,
            ]
        )
    columns = [Column(title, minor=index if index > 6 else 0) for index, title in enumerate((*TITLES, *ISO))]
    columns.append(Column("mapping", left=True, minor=len(columns)))
    table(columns, rows, title=f"{costs.library}: {DESIGNS[base.design].title(base.macs)}, against {count(base.bits, 'bit')}")
    if base.design == "int8" and base.macs in PAPER:
        line(f"source paper, 16 nm, k = 4: area {PAPER[base.macs]:+.1f} %, critical path about -50 %")


def _against(value: float, base: float) -> str:
    return f"{100 * (value / base - 1):+.1f} %"


def _power(leakage: float, dynamic: float | None) -> str:
    return f"{leakage:.3g} leaking" if dynamic is None else f"{leakage + dynamic:,.0f}"


def rows(costs: CellCosts) -> dict[str, Any]:
    """The costs of a library for a JSON file."""
    head = {field.name: getattr(costs, field.name) for field in dataclasses.fields(costs) if field.name != "costs"}
    return {**head, "costs": [{**dataclasses.asdict(each), "area_delay": each.area_delay} for each in costs.costs]}
