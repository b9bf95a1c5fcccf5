# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Measuring many designs in one library, and keeping what is measured already."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tosa_rescale.core.options import NarrowOptions
from tosa_rescale.core.progress import Progress, Silent
from tosa_rescale.hardware.activity import Stimulus, engine_stimulus
from tosa_rescale.hardware.beats import Beats, layer_beats, random_beats
from tosa_rescale.hardware.cells import CellCost, CellCosts, Stimuli, measure_cells, read_cells
from tosa_rescale.hardware.costs import MACS
from tosa_rescale.hardware.designs import DESIGNS, Design
from tosa_rescale.hardware.liberty import Library
from tosa_rescale.hardware.mapping import fingerprint
from tosa_rescale.hardware.stored import write_table
from tosa_rescale.hardware.timing import opensta
from tosa_rescale.hardware.yosys import tool_version
from tosa_rescale.rewrite.narrow import narrow

if TYPE_CHECKING:
    from tosa_rescale.core.program import Program


@dataclasses.dataclass(frozen=True)
class Job:
    """One design with so many MACs, at several widths."""

    design: str
    macs: int
    bits: tuple[int, ...]


EVERY = (32, 16, 12, 8, 6, 5, 4, 3, 2, 1)
FEW = (32, 8, 4, 1)
LEAST = (32, 4, 1)
FEW_INT16 = (15, 8, 4, 1)

# What the package stores for each library.
JOBS = (
    *(Job("int8", macs, EVERY) for macs in MACS),
    Job("int16", 4, FEW_INT16),
    Job("int16", 16, FEW_INT16),
    Job("elementwise", 1, FEW),
    Job("elementwise-double-round", 1, FEW),
    Job("int8-double-round", 4, FEW),
    *(Job("int8-registers", macs, FEW) for macs in MACS),
    Job("int8-pipelined", 4, FEW),
    *(Job(tile, macs, LEAST) for tile in ("tile64", "tile256") for macs in MACS),
)


def layer_stimuli(model: Program, inputs: Sequence[np.ndarray]) -> Stimuli:
    """Activity from a layer of a model, narrowed to each width, for engines of its activations' type.

    Other engines see uniform random operands, and element-wise rescales the default activity. Tiles have none.

    Args:
        model: see `tosa_rescale.hardware.beats.layer_beats`.
        inputs: one array [N, ...] for each input of the graph.
    """

    @functools.cache
    def beats(macs: int, bits: int) -> Beats:
        narrowed = model if bits == 32 else narrow(model, NarrowOptions(bits=bits))
        return layer_beats(narrowed, macs, inputs)

    def stimulus(design: Design, macs: int, bits: int) -> Stimulus | None:
        if not design.has_macs or design.tile:
            return None
        wanted = design.parameters.get("ACTIVATION", 8)
        found = beats(macs, bits)
        return engine_stimulus(found if found.activation_bits == wanted else random_beats(macs, bits, wanted), bits)

    return stimulus


def measure_jobs(
    jobs: Sequence[Job],
    library: Library,
    stimuli: Stimuli,
    activity: str,
    path: pathlib.Path | None = None,
    period: float | None = None,
    progress: Progress | None = None,
) -> CellCosts:
    """Measures jobs one after the other.

    Args:
        jobs: what.
        library: of cells.
        stimuli: see `layer_stimuli`.
        activity: what they are, for people.
        path: file that is renewed after each row. What it has from the same tools, RTL and activity is kept and not measured
            again, so that a run that was stopped goes on.
        period: of the clock in ps; the fastest unless given.
        progress: shows designs done.

    Raises:
        OptionError, MissingToolError, SynthesisError: see `measure_cells`.
        OutputError: the file cannot be written.
    """
    sources = {design.name: fingerprint(design) for design in DESIGNS.values()}
    timing = "OpenSTA" if opensta() else "abc"
    costs = CellCosts(library.name, tool_version(), timing, activity, {}, ())
    if path is not None and path.exists():
        costs = _kept(read_cells(path), costs, sources)
    for job in jobs:
        done = {each.bits: each for each in costs.costs if each.block == (job.design, job.macs)}
        base = done.get(DESIGNS[job.design].base_bits)
        missing = [bits for bits in job.bits if base is None or bits not in done]
        iso = base.iso_period if base else None
        with (progress or Silent()).task(f"synthesise {DESIGNS[job.design].title(job.macs)}", len(missing)) as advance:
            for bits in sorted(missing, reverse=True):
                (cost,) = measure_cells(DESIGNS[job.design], job.macs, (bits,), library, stimuli, period, iso)
                iso = iso or cost.iso_period
                costs = _with(costs, cost, sources)
                if path is not None:
                    write_table(costs, path)
                advance(1)
    return costs


def _kept(old: CellCosts, new: CellCosts, sources: dict[str, str]) -> CellCosts:
    """What still holds of stored costs."""
    if any(getattr(old, name) != getattr(new, name) for name in ("library", "tool", "timing", "activity")):
        return new
    costs = tuple(each for each in old.costs if old.sources.get(each.design) == sources.get(each.design))
    return dataclasses.replace(new, costs=costs, sources={each.design: sources[each.design] for each in costs})


def _with(costs: CellCosts, cost: CellCost, sources: dict[str, str]) -> CellCosts:
    """Costs with one more, or one renewed, in the order of designs, MACs and falling width."""
    every = [*(each for each in costs.costs if (each.block, each.bits) != (cost.block, cost.bits)), cost]
    order = list(DESIGNS)
    every.sort(key=lambda each: (order.index(each.design), each.macs, -each.bits))
    return dataclasses.replace(costs, costs=tuple(every), sources={each.design: sources[each.design] for each in every})
