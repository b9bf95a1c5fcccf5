# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Renews the tables of costs in hardware.md, between `<!-- NAME: begin -->` and its end, from the stored figures.

python docs/hardware_tables.py
"""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Callable

from tosa_rescale.hardware.cells import CellCost, CellCosts, stored_cells
from tosa_rescale.hardware.costs import MACS, PAPER, Relative, read_costs, relative_costs
from tosa_rescale.hardware.designs import DESIGNS
from tosa_rescale.hardware.flows import FLOWS, stored_flows

PAGE = pathlib.Path(__file__).with_name("hardware.md")
LONG = {"sg13g2_stdcell": "IHP sg13g2, 130 nm", "asap7sc7p5t": "ASAP7, 7 nm (predictive)"}
SHORT = {"sg13g2_stdcell": "IHP", "asap7sc7p5t": "ASAP7"}
Pick = Callable[[CellCost, CellCost], str]


def libraries() -> list[CellCosts]:
    """The manufactured one first."""
    return sorted(stored_cells(), key=lambda costs: costs.library, reverse=True)


def against(value: float, base: float) -> str:
    return f"{100 * (value / base - 1):+.1f} %"


def markdown(*titles: str) -> list[str]:
    """The head of a table."""
    return ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]


def row(*fields: object) -> str:
    return "| " + " | ".join(str(each) for each in fields) + " |"


def cells() -> str:
    """A table for each engine, of each library."""
    lines = []
    for costs in libraries():
        for design, macs in dict.fromkeys((each.design, each.macs) for each in costs.costs if not DESIGNS[each.design].tile):
            group = [each for each in costs.costs if (each.design, each.macs) == (design, macs)]
            base = costs.base_of(group[0])
            vs, clock = f"vs {base.bits}", f"area at the clock of {base.bits} bits, um2"
            own = ("k", "clock, ps", vs, "area, um2", vs, "area-delay, times better", "power, uW")
            head = markdown(*own, clock, vs, f"power there, {vs}", "mapping")
            lines += [f"{LONG[costs.library]}, {DESIGNS[design].title(macs)}:", "", *head]
            lines += [engine(each, base) for each in group] + [""]
    return "\n".join(lines[:-1])


def engine(cost: CellCost, base: CellCost) -> str:
    times = f"{base.area_delay / cost.area_delay:.2f}"
    own = [f"{cost.period:,.0f}", against(cost.period, base.period), f"{cost.area:,.0f}", against(cost.area, base.area), times]
    iso = [f"{cost.iso_area:,.0f}", against(cost.iso_area, base.iso_area)]
    assert cost.dynamic and cost.iso_dynamic and base.iso_dynamic
    power = f"{cost.leakage + cost.dynamic:,.0f}"
    there = against(cost.iso_leakage + cost.iso_dynamic, base.iso_leakage + base.iso_dynamic)
    return row(cost.bits, *own, power, *iso, there, cost.recipe)


def paper() -> str:
    """Figures beside those of the paper, a column for each number of MACs."""
    area: Pick = lambda cost, base: against(cost.area, base.area)  # noqa: E731
    period: Pick = lambda cost, base: against(cost.period, base.period)  # noqa: E731
    better: Pick = lambda cost, base: f"{base.area_delay / cost.area_delay:.1f} times"  # noqa: E731
    lines = markdown("", *(f"{macs} MACs" for macs in MACS))
    lines += [row("area at k = 4, paper", *(f"{PAPER[macs]:+.1f} %" for macs in MACS)), *beside("area at k = 4", 4, area)]
    lines += ["| critical path at k = 4, paper | about -50 % | | |"]
    lines += [line for bits in (4, 1) for line in beside(f"fastest clock's period at k = {bits}", bits, period)]
    for bits, said in ((4, 4), (8, 2)):
        lines += [f"| area-delay at k = {bits}, paper | over {said} times better | | |"]
        lines += beside(f"area-delay at k = {bits}", bits, better)
    return "\n".join(lines)


def beside(title: str, bits: int, pick: Pick) -> list[str]:
    """A row for each library, of the int8 engine at one width against its widest."""
    lines = []
    for costs in libraries():
        found = {each.macs: each for each in costs.costs if (each.design, each.bits) == ("int8", bits)}
        fields = [pick(found[macs], costs.base_of(found[macs])) if macs in found else "" for macs in MACS]
        lines.append(row(f"{title}, {SHORT[costs.library]}", *fields))
    return lines


def tiles() -> str:
    """Synthesised tiles, a row for each number of MACs to a rescaler."""
    lines = markdown("tile", "MACs to a rescaler", "k", "clock, ps", "vs 32", "area, um2", "vs 32", "area-delay, times better",
                     "area at the clock of 32 bits, um2", "vs 32")  # fmt: skip
    for costs in libraries():
        for cost in (each for each in costs.costs if DESIGNS[each.design].tile):
            base = costs.base_of(cost)
            own = [f"{cost.period:,.0f}", against(cost.period, base.period), f"{cost.area:,.0f}", against(cost.area, base.area)]
            iso = [f"{cost.iso_area:,.0f}", against(cost.iso_area, base.iso_area)]
            title = f"{SHORT[costs.library]}, {DESIGNS[cost.design].tile} MACs"
            lines.append(row(title, cost.macs, cost.bits, *own, f"{base.area_delay / cost.area_delay:.2f}", *iso))
    return "\n".join(lines)


def tiles_beside() -> str:
    """What tiles save beside what their engine saves, a row for each library and number of MACs to a rescaler."""
    blocks = {"int8": "engine", "tile64": "64 MACs", "tile256": "256 MACs"}
    columns = (("area", 4), ("period", 4), ("period", 1))
    named = {"area": "area", "period": "clock"}
    titles = [f"{named[name]} at k = {bits}: {said}" for name, bits in columns for said in blocks.values()]
    lines = markdown("MACs to a rescaler", *titles)
    for costs, macs in itertools.product(libraries(), MACS):
        found = {(cost.design, cost.bits): cost for cost in costs.costs if cost.macs == macs}
        fields = []
        for (name, bits), design in itertools.product(columns, blocks):
            cost = found.get((design, bits))
            fields.append(against(getattr(cost, name), getattr(found[design, 32], name)) if cost else "")
        lines.append(row(f"{SHORT[costs.library]}, {macs}", *fields))
    return "\n".join(lines)


def int16() -> str:
    """The engine of int16 at one bit against its widest multiplier, a row for each library and number of MACs."""
    lines = markdown("", "clock", "area", "area-delay, times better", "area at the clock of 15 bits")
    for macs, costs in itertools.product((4, 16), libraries()):
        (cost,) = (each for each in costs.costs if (*each.block, each.bits) == ("int16", macs, 1))
        base = costs.base_of(cost)
        clock, area, iso = (against(getattr(cost, name), getattr(base, name)) for name in ("period", "area", "iso_area"))
        lines.append(row(f"{SHORT[costs.library]}, {macs} MACs", clock, area, f"{base.area_delay / cost.area_delay:.1f}", iso))
    return "\n".join(lines)


def flows() -> str:
    """The engine by several flows, a row for each."""
    lines = markdown("library, flow", "MACs", "clock at k = 32, ps", "k = 4", "k = 1", "area at k = 32, um2", "k = 4", "k = 1",
                     "area-delay at k = 4, times better", "k = 1")  # fmt: skip
    for costs in stored_flows():
        for flow, macs in dict.fromkeys((each.flow, each.macs) for each in costs.costs):
            found = {each.bits: each for each in costs.costs if (each.flow, each.macs) == (flow, macs)}
            if not {32, 4, 1} <= found.keys():
                continue
            fields = []
            for name in ("period", "area"):
                wide, *narrow = (getattr(found[bits], name) for bits in (32, 4, 1))
                fields += [f"{wide:,.0f}", *(against(each, wide) for each in narrow)]
            times = [f"{found[32].area_delay / found[bits].area_delay:.1f}" for bits in (4, 1)]
            lines.append(row(f"{SHORT[costs.library]}, {FLOWS[flow].says}", macs, *fields, *times))
    return "\n".join(lines)


def gates() -> str:
    """Counts of gates, a table for each number of MACs."""
    lines = []
    for macs in MACS:
        lines += [f"{macs} MACs:", ""]
        lines += markdown("k", "cells", "transistors", "area", "depth", "depth, relative", "area-delay, times better")
        for each in (each for each in relative_costs(read_costs()) if each.cost.macs == macs):
            cost, times = each.cost, f"{1 / each.area_delay:.2f}"
            area, depth = against(each.transistors, 1), against(each.depth, 1)
            lines.append(row(cost.bits, f"{cost.cells:,}", f"{cost.transistors:,}", area, cost.depth, depth, times))
        lines.append("")
    return "\n".join(lines[:-1])


def gates_paper() -> str:
    """Gates beside the paper's figures, a column for each number of MACs."""
    found = {(each.cost.macs, each.cost.bits): each for each in relative_costs(read_costs())}

    def line(title: str, bits: int, pick: Callable[[Relative], str]) -> str:
        return row(title, *(pick(found[macs, bits]) for macs in MACS))

    lines = markdown("", *(f"{macs} MACs" for macs in MACS))
    lines.append(row("area at k = 4, paper", *(f"{PAPER[macs]:+.1f} %" for macs in MACS)))
    lines.append(line("area at k = 4, gates", 4, lambda each: against(each.transistors, 1)))
    lines.append(line("depth at k = 4, gates", 4, lambda each: against(each.depth, 1)))
    for bits in (4, 8):
        lines.append(line(f"area-delay at k = {bits}, gates", bits, lambda each: f"{1 / each.area_delay:.1f} times"))
    return "\n".join(lines)


def renewed(text: str) -> str:
    """The page with its tables as they should be."""
    tables = {
        "cells": cells(),
        "paper": paper(),
        "tiles": tiles(),
        "tiles beside engines": tiles_beside(),
        "int16": int16(),
        "flows": flows(),
        "gates": gates(),
        "gates beside the paper": gates_paper(),
    }
    for name, table in tables.items():
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
        before, rest = text.split(begin)
        text = before + begin + f"\n{table}\n\n" + end + rest.split(end)[1]
    return text


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text()))
