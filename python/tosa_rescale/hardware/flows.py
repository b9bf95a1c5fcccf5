# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One engine through several flows: what the kind of multipliers, the sizes of cells and registers each do to the figures."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Literal

from tosa_rescale.core.progress import Progress, Silent
from tosa_rescale.hardware.cells import STORED, figure
from tosa_rescale.hardware.designs import DESIGNS
from tosa_rescale.hardware.liberty import Library
from tosa_rescale.hardware.mapping import ARRAY_FAST, ARRAY_SMALL, BOOTH_FAST, BOOTH_SMALL, Recipe, fingerprint, map_design
from tosa_rescale.hardware.stored import Row, Rows, read_table, write_table
from tosa_rescale.hardware.timing import opensta, time_netlists
from tosa_rescale.hardware.yosys import tool_version

FOLDER = "flows"  # of the stored tables, in that of the libraries
MACS = 4
BITS = (32, 4, 1)

_RELAXED = 1e6  # ps: a clock that every netlist meets, so that sizing goes for area alone


@dataclasses.dataclass(frozen=True)
class Flow:
    """A way from RTL to cells.

    Attributes:
        name: as options and stored tables have it.
        says: what it is, for people.
        design: of `DESIGNS`.
        recipe: the way to map. It is run twice, and the faster netlist counts, or with `sizes` small the smaller one.
        sizes: of cells: for speed, for area, or as the mapper left them.
    """

    name: str
    says: str
    design: str
    recipe: Recipe
    sizes: Literal["fast", "small", "mapped"] = "fast"


# The first gives the tables of cells nearly all of their rows. Each other one differs from it by one choice, `booth-small` from
# `array-small`.
FLOWS = {
    flow.name: flow
    for flow in (
        Flow("array", "array multipliers, sized for speed", "int8", ARRAY_FAST),
        Flow("booth", "Booth multipliers, sized for speed", "int8", BOOTH_FAST),
        Flow("array-mapped", "array multipliers, sizes as mapped", "int8", ARRAY_FAST, "mapped"),
        Flow("array-small", "array multipliers, mapped and sized for area", "int8", ARRAY_SMALL, "small"),
        Flow("booth-small", "Booth multipliers, mapped and sized for area", "int8", BOOTH_SMALL, "small"),
        Flow("registers", "array, speed, registers in front of the operands", "int8-registers", ARRAY_FAST),
        Flow("plain", "array, speed, rescaler as the specification writes it", "int8-plain", ARRAY_FAST),
        Flow("pipelined", "array, speed, register behind the multiplier", "int8-pipelined", ARRAY_FAST),
    )
}


@dataclasses.dataclass(frozen=True)
class FlowCost(Row):
    """One engine by one flow.

    Attributes:
        flow: its name.
        macs: products a cycle.
        bits: width of the rescaler's multiplier.
        period: the fastest clock of that netlist, in ps.
        area: in um2.
    """

    flow: str
    macs: int
    bits: int
    period: float
    area: float

    @property
    def block(self) -> tuple[str, int]:
        return self.flow, self.macs


@dataclasses.dataclass(frozen=True)
class FlowCosts(Rows[FlowCost]):
    """The flows in one library.

    Attributes:
        library: its name.
        tool: what synthesised.
        timing: what gave the clocks: `OpenSTA` or `abc`.
        sources: flow to the fingerprint of its RTL and of how it maps.
        costs: one for each flow, number of MACs and width.
    """

    library: str
    tool: str
    timing: str
    sources: dict[str, str]
    costs: tuple[FlowCost, ...]


def flow_fingerprint(flow: Flow) -> str:
    """A hash of the RTL of a flow's engine and of how it is mapped."""
    parts = [fingerprint(DESIGNS[flow.design]), dataclasses.astuple(flow.recipe), flow.sizes]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def measure_flows(
    flows: Sequence[Flow],
    macs: Sequence[int],
    bits: Sequence[int],
    library: Library,
    path: pathlib.Path | None = None,
    progress: Progress | None = None,
) -> FlowCosts:
    """Measures engines by several flows.

    Args:
        flows: which.
        macs: products a cycle.
        bits: widths of the rescaler's multiplier.
        library: of cells.
        path: file that is renewed after each engine; what it has of the same tools, RTL and flows is not measured again.
        progress: shows engines done.

    Raises:
        OptionError: a number is out of range.
        MissingToolError: yosys is not installed.
        SynthesisError: a tool failed.
        OutputError: the file cannot be written.
    """
    costs = FlowCosts(library.name, tool_version(), "OpenSTA" if opensta() else "abc", {}, ())
    if path is not None and path.exists():
        costs = _kept(read_flows(path), costs)
    wanted = [(flow, lanes, width) for lanes in macs for flow in flows for width in sorted(bits, reverse=True)]
    done = {(each.flow, each.macs, each.bits) for each in costs.costs}
    with (progress or Silent()).task("synthesise flows", len(wanted)) as advance:
        for flow, lanes, width in wanted:
            if (flow.name, lanes, width) not in done:
                costs = _with(costs, _measure(flow, lanes, width, library))
                if path is not None:
                    write_table(costs, path)
            advance(1)
    return costs


def _measure(flow: Flow, macs: int, bits: int, library: Library) -> FlowCost:
    small = flow.sizes == "small"
    with tempfile.TemporaryDirectory(prefix="tosa-rescale-", dir=library.files[0].parent) as name:
        folder = pathlib.Path(name)
        # abc answers another order of the same gates by up to 8 % of the clock; the second netlist has another order.
        twice = (flow.recipe, flow.recipe)
        target = _RELAXED if small else None
        netlists = map_design(DESIGNS[flow.design], macs, bits, library, folder, twice, target, flow.sizes != "mapped")
        timings = time_netlists(netlists, library, folder)
    found = [(timing.period, netlist.area) for netlist, timing in zip(netlists, timings, strict=True)]
    period, area = min(found, key=lambda each: (each[1], each[0]) if small else each)
    return FlowCost(flow.name, macs, bits, figure(period), figure(area))


def _kept(old: FlowCosts, new: FlowCosts) -> FlowCosts:
    """What still holds of stored costs."""
    if any(getattr(old, name) != getattr(new, name) for name in ("library", "tool", "timing")):
        return new
    same = {name for name, source in old.sources.items() if name in FLOWS and source == flow_fingerprint(FLOWS[name])}
    costs = tuple(each for each in old.costs if each.flow in same)
    return dataclasses.replace(new, costs=costs, sources={name: old.sources[name] for name in old.sources if name in same})


def _with(costs: FlowCosts, cost: FlowCost) -> FlowCosts:
    """Costs with one more, in the order of MACs, flows and falling width."""
    order = list(FLOWS)
    every = sorted([*costs.costs, cost], key=lambda each: (each.macs, order.index(each.flow), -each.bits))
    return dataclasses.replace(
        costs, costs=tuple(every), sources={each.flow: flow_fingerprint(FLOWS[each.flow]) for each in every}
    )


def read_flows(path: pathlib.Path) -> FlowCosts:
    """Reads measured flows. Raises DataError."""
    return read_table(path, FlowCosts, FlowCost, "tosa-rescale hardware-cost --flows --liberty FILE")


def stored_flows() -> tuple[FlowCosts, ...]:
    """The package's own figures, one entry for each library, by name."""
    return tuple(read_flows(path) for path in sorted((STORED / FOLDER).glob("*.json")))
