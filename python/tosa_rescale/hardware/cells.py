# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a design costs in the cells of a library: the search for its fastest clock, and the stored figures."""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile
from collections.abc import Callable, Sequence

from tosa_rescale.core.errors import OptionError
from tosa_rescale.core.files import PathLike
from tosa_rescale.hardware.activity import Stimulus, activities
from tosa_rescale.hardware.designs import Design
from tosa_rescale.hardware.liberty import Library
from tosa_rescale.hardware.mapping import Netlist, map_design
from tosa_rescale.hardware.stored import Row, Rows, read_table
from tosa_rescale.hardware.timing import Timing, power_of, time_netlists

STORED = pathlib.Path(__file__).with_name("libraries")

Stimuli = Callable[[Design, int, int], Stimulus | None]


@dataclasses.dataclass(frozen=True)
class CellCost(Row):
    """One design in the cells of a library.

    Wires are in it as far as the library has a wire-load model that it takes by default, the clock's tree is not.

    Attributes:
        design: its name; see `tosa_rescale.hardware.designs.DESIGNS`.
        macs: products a cycle for each rescaler.
        bits: width of the rescaler's multiplier.
        recipe: the way of mapping that gave the fastest clock.
        period: the fastest clock found, or the one asked for, in ps; every path from registers and inputs meets it.
        path: longest path from register to register in that netlist, in ps.
        area: in um2.
        leakage: in uW.
        dynamic: in uW at that clock; None where no tool could tell.
        iso_period: the fastest clock of the widest multiplier with as many MACs, in ps.
        iso_area: of the smallest netlist found that meets it, in um2.
        iso_leakage, iso_dynamic: its power at that clock.
    """

    design: str
    macs: int
    bits: int
    recipe: str
    period: float
    path: float
    area: float
    leakage: float
    dynamic: float | None
    iso_period: float
    iso_area: float
    iso_leakage: float
    iso_dynamic: float | None

    @property
    def block(self) -> tuple[str, int]:
        return self.design, self.macs

    def of_tile(self, macs: int) -> float:
        """Area in um2 of a tile of so many MACs that is made of this design: engines side by side, nothing between them."""
        return self.area * macs / self.macs


@dataclasses.dataclass(frozen=True)
class CellCosts(Rows[CellCost]):
    """The costs of several designs in one library.

    Attributes:
        library: its name.
        tool: what synthesised.
        timing: what gave paths and power: `OpenSTA` or `abc`.
        activity: where the activity of nets comes from.
        sources: design to the fingerprint of its RTL and of the way of mapping.
        costs: one for each design, number of MACs and width.
    """

    library: str
    tool: str
    timing: str
    activity: str
    sources: dict[str, str]
    costs: tuple[CellCost, ...]


@dataclasses.dataclass(frozen=True)
class _Attempt:
    netlist: Netlist
    timing: Timing


def measure_cells(
    design: Design,
    macs: int,
    bits: Sequence[int],
    library: Library,
    stimuli: Stimuli,
    period: float | None = None,
    iso_period: float | None = None,
) -> tuple[CellCost, ...]:
    """Costs of one design at several widths.

    Args:
        design: what.
        macs: products a cycle for each rescaler.
        bits: widths of the rescaler's multiplier; clocks and areas are compared with those of the widest.
        library: of cells.
        stimuli: from design, MACs and width to what its ports see; None where activity is the tool's default.
        period: in ps; the fastest that each design reaches unless given.
        iso_period: clock at which areas are compared, in ps; the widest one's unless given.

    Raises:
        OptionError: a width cannot meet the period; the message names the best.
        MissingToolError: yosys is not installed.
        SynthesisError: a tool failed.
    """
    found = []
    iso = period or iso_period
    for width in sorted(bits, reverse=True):
        with tempfile.TemporaryDirectory(prefix="tosa-rescale-", dir=library.files[0].parent) as name:
            folder = pathlib.Path(name)
            netlists = map_design(design, macs, width, library, folder, period=period)
            timings = time_netlists(netlists, library, folder)
            attempts = [_Attempt(*each) for each in zip(netlists, timings, strict=True)]
            fastest = min(attempts, key=lambda each: (each.timing.period, each.netlist.area))
            if period is not None and fastest.timing.period > period:
                raise OptionError(
                    f"period: {period / 1000:g} ns cannot be met by {design.asked(macs, width)};"
                    f" the best is {fastest.timing.period / 1000:.3f} ns; pass a longer one, or --period auto"
                )
            iso = iso or fastest.timing.period
            stimulus = stimuli(design, macs, width)
            found.append(_cost(design, macs, width, library, attempts, fastest, iso, period, stimulus, folder))
    return tuple(found)


def _cost(
    design: Design,
    macs: int,
    bits: int,
    library: Library,
    attempts: Sequence[_Attempt],
    fastest: _Attempt,
    iso: float,
    period: float | None,
    stimulus: Stimulus | None,
    folder: pathlib.Path,
) -> CellCost:
    def power(attempt: _Attempt, clock: float) -> tuple[float, float | None]:
        changes = activities(attempt.netlist, library, stimulus) if stimulus else None
        each = power_of(attempt.netlist, library, clock, changes, folder)
        return each.leakage, each.dynamic

    # A narrower multiplier that is slower than the widest one, by the noise of mapping, is its own comparison.
    clock = max(iso, fastest.timing.period)
    smallest = min((each for each in attempts if each.timing.period <= clock), key=lambda each: each.netlist.area)
    chosen = smallest if period is not None else fastest
    own = period or chosen.timing.period
    iso_leakage, iso_dynamic = power(smallest, clock)
    leakage, dynamic = power(chosen, own)
    return CellCost(
        design.name,
        macs,
        bits,
        chosen.netlist.recipe,
        figure(own),
        figure(chosen.timing.register),
        figure(chosen.netlist.area),
        figure(leakage),
        None if dynamic is None else figure(dynamic),
        figure(clock),
        figure(smallest.netlist.area),
        figure(iso_leakage),
        None if iso_dynamic is None else figure(iso_dynamic),
    )


def figure(value: float) -> float:
    """Five digits: more would say more than the method knows."""
    return float(f"{value:.5g}")


def read_cells(path: PathLike) -> CellCosts:
    """Reads measured costs. Raises DataError."""
    return read_table(path, CellCosts, CellCost, "tosa-rescale hardware-cost --liberty FILE")


def stored_cells() -> tuple[CellCosts, ...]:
    """The package's own costs, one entry for each library, by name."""
    return tuple(read_cells(path) for path in sorted(STORED.glob("*.json")))
