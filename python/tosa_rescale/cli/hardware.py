# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`tosa-rescale hardware-cost`: what k bits cost in silicon."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from tosa_rescale.cli import options
from tosa_rescale.core.errors import OptionError

if TYPE_CHECKING:
    from tosa_rescale.hardware.cells import CellCosts
    from tosa_rescale.hardware.grid import Job


@options.command("hardware-cost")
@click.option(
    "--liberty",
    "liberty",
    type=click.Path(),
    multiple=True,
    help="Synthesise in the cells of this Liberty file (.lib, .lib.gz); once for each file of the library. Extra `hardware`.",
)
@click.option(
    "--period",
    default="auto",
    show_default=True,
    help="With --liberty: clock, such as 2.5ns or 900ps; auto: the fastest found.",
)
@click.option("--design", help="What: int8, int16, elementwise and others, by comma; all. Default: int8; to renew, all stored.")
@click.option("--macs", help="Products a cycle for each rescaler, by comma. Default: with --liberty 4, else all stored.")
@click.option("--bits", help="With --liberty: widths, by comma. Default: the design's widest, 8, 4, 1.")
@click.option(
    "--activity",
    metavar="MODEL|default",
    help="With --liberty: whose widest dense layer or 1 x 1 convolution gives the nets' activity. Default: the demo's model.",
)
@click.option(
    "--flows", is_flag=True, help="The int8 engine by several flows: Booth or array multipliers, speed or area, pipelined."
)
@click.option(
    "--regenerate", is_flag=True, help="Renew the stored figures (hours for a library): of gates, or with --liberty of cells."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    help="With --liberty or --regenerate: file, or folder for LIBRARY.json (with --flows flows/LIBRARY.json).",
)
@options.wide
@options.json_file
def hardware_cost(
    liberty: tuple[str, ...],
    period: str,
    design: str | None,
    macs: str | None,
    bits: str | None,
    activity: str | None,
    flows: bool,
    regenerate: bool,
    output: str | None,
    json_file: str | None,
) -> int:
    """Show what a rescaler of k bits costs in a dot-product engine: area, clock and power in standard cells; gates."""
    from tosa_rescale.cli import common
    from tosa_rescale.cli.show import cells as show_cells
    from tosa_rescale.hardware import MACS

    if output and not regenerate and not liberty:
        raise OptionError("output: has no effect without --liberty or --regenerate; pass one of them")
    if not liberty and (bits or activity or period != "auto"):
        raise OptionError("period, bits and activity: have no effect without --liberty; pass the library's files")
    if flows:
        if design or activity or period != "auto":
            raise OptionError("period, design and activity: have no effect with --flows; leave them out")
        return _flows(liberty, macs, bits, output, regenerate, json_file)
    designs = _designs(design or ("all" if regenerate else "int8"))
    if liberty:
        jobs = _stored_jobs(designs, macs, bits) if regenerate else _jobs(designs, _numbers("macs", macs or "4"), bits)
        costs = [_measure(liberty, jobs, _picoseconds(period), activity, output, regenerate)]
    elif regenerate:
        return _regenerate_gates(output, json_file)
    else:
        from tosa_rescale.hardware.cells import stored_cells

        costs = list(stored_cells())
    wanted = None if regenerate else designs
    show_cells.tables(costs, wanted, _numbers("macs", macs) if macs else None)
    if not liberty:
        _show_gates(_numbers("macs", macs) if macs else MACS)
    common.write_json(json_file, {"cells": [show_cells.rows(each) for each in costs], "gates": [] if liberty else _gate_rows()})
    return 0


def _measure(
    liberty: Sequence[str], jobs: Sequence[Job], period: float | None, activity: str | None, output: str | None, stored: bool
) -> CellCosts:
    from tosa_rescale.cli import common
    from tosa_rescale.data.source import input_arrays
    from tosa_rescale.demo import DATA, MODEL
    from tosa_rescale.hardware.cells import STORED
    from tosa_rescale.hardware.grid import layer_stimuli, measure_jobs
    from tosa_rescale.hardware.liberty import read_library

    with tempfile.TemporaryDirectory(prefix="tosa-rescale-") as folder:
        library = read_library(liberty, pathlib.Path(folder))
        if activity == "default":
            stimuli, said = (lambda *_: None), "0.1 transitions a cycle at every net"
        else:
            model = common.load(activity or str(MODEL))
            data = input_arrays(common.load_data(str(DATA), {}).take(64), model.input_specs) if activity is None else None
            stimuli = layer_stimuli(model, data or model.random_inputs(16))
            said = f"a layer of {pathlib.Path(activity or MODEL).name} at each width, simulated without glitches"
        path = _target(output, library.name, STORED if stored else None)
        return measure_jobs(jobs, library, stimuli, said, path, period, common.progress())


def _target(output: str | None, name: str, default: pathlib.Path | None, within: str = ".") -> pathlib.Path | None:
    """The file of a library's costs: `output`, or where that is a folder NAME.json, `within` it."""
    from tosa_rescale.core.files import require_writable

    path = pathlib.Path(output) if output else default
    if path is None:
        return None
    if path.is_dir():
        (path / within).mkdir(exist_ok=True)
        path = path / within / f"{name}.json"
    return require_writable(path, force=True)


def _flows(
    liberty: Sequence[str], macs: str | None, bits: str | None, output: str | None, stored: bool, json_file: str | None
) -> int:
    """Measures flows in a library, or shows the stored ones."""
    from tosa_rescale.cli import common
    from tosa_rescale.cli.show import cells as show_cells
    from tosa_rescale.hardware import flows
    from tosa_rescale.hardware.liberty import read_library

    if not liberty:
        if stored or output or macs or bits:
            raise OptionError(
                "flows: stored ones are shown as they are; to measure others, pass a library's files with --liberty"
            )
        found = list(flows.stored_flows())
    else:
        lanes, widths = _numbers("macs", macs or str(flows.MACS)), _numbers("bits", bits) if bits else flows.BITS
        with tempfile.TemporaryDirectory(prefix="tosa-rescale-") as folder:
            library = read_library(liberty, pathlib.Path(folder))
            path = _target(output, library.name, flows.STORED if stored else None, flows.FOLDER)
            found = [flows.measure_flows(list(flows.FLOWS.values()), lanes, widths, library, path, common.progress())]
    show_cells.flows(found)
    common.write_json(json_file, {"flows": [dataclasses.asdict(each) for each in found]})
    return 0


def _designs(text: str) -> list[str]:
    from tosa_rescale.hardware.designs import DESIGNS

    names = list(DESIGNS) if text == "all" else [part.strip() for part in text.split(",") if part.strip()]
    for name in names:
        if name not in DESIGNS:
            raise OptionError(f"design: '{name}' is not one of {', '.join(DESIGNS)}")
    return names


def _jobs(designs: Sequence[str], macs: Sequence[int], bits: str | None) -> list[Job]:
    from tosa_rescale.hardware.designs import DESIGNS
    from tosa_rescale.hardware.grid import Job

    jobs = []
    for name in designs:
        design = DESIGNS[name]
        widths = _numbers("bits", bits) if bits else (design.base_bits, 8, 4, 1)
        for lanes in macs if design.has_macs else (1,):
            for width in widths:
                design.values(lanes, width)
            jobs.append(Job(name, lanes, tuple(widths)))
    return jobs


def _stored_jobs(designs: Sequence[str], macs: str | None, bits: str | None) -> list[Job]:
    """What the package stores, as far as it was asked for."""
    from tosa_rescale.hardware.grid import JOBS, Job

    lanes, widths = (None if text is None else _numbers(name, text) for name, text in (("macs", macs), ("bits", bits)))
    found = []
    for job in JOBS:
        chosen = tuple(each for each in job.bits if widths is None or each in widths)
        if job.design in designs and (lanes is None or job.macs in lanes) and chosen:
            found.append(Job(job.design, job.macs, chosen))
    if not found:
        raise OptionError("design, macs, bits: nothing that is stored is all of these; leave one out")
    return found


def _numbers(name: str, text: str) -> tuple[int, ...]:
    try:
        found = tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        found = ()
    if not found:
        raise OptionError(f"{name}: '{text}' is no list of whole numbers; give them by comma, such as 4,8,16")
    return found


def _picoseconds(text: str) -> float | None:
    if text == "auto":
        return None
    found = re.fullmatch(r"(\d+(?:\.\d*)?)\s*(ps|ns)", text.strip())
    if found is None or float(found[1]) == 0:
        raise OptionError(f"period: '{text}' is no time; give one with its unit, such as 2.5ns or 900ps, or auto")
    return float(found[1]) * (1000 if found[2] == "ns" else 1)


def _regenerate_gates(output: str | None, json_file: str | None) -> int:
    from tosa_rescale.cli import common
    from tosa_rescale.core.files import require_writable
    from tosa_rescale.hardware import BITS, MACS, write_costs
    from tosa_rescale.hardware.costs import COSTS
    from tosa_rescale.hardware.synthesis import fingerprint, measure_costs, tool_version

    target = require_writable(output or COSTS, force=True)
    tool = tool_version()
    write_costs(measure_costs(MACS, BITS, common.progress()), tool, fingerprint(), target)
    _show_gates(MACS, target)
    common.write_json(json_file, {"cells": [], "gates": _gate_rows(target)})
    return 0


def _show_gates(macs: Sequence[int], path: pathlib.Path | None = None) -> None:
    from tosa_rescale.cli import show
    from tosa_rescale.hardware import read_costs
    from tosa_rescale.hardware.costs import COSTS

    show.costs([cost for cost in read_costs(path or COSTS) if cost.macs in macs])


def _gate_rows(path: pathlib.Path | None = None) -> list[dict[str, object]]:
    from tosa_rescale.hardware import read_costs, relative_costs
    from tosa_rescale.hardware.costs import COSTS

    found = []
    for relative in relative_costs(read_costs(path or COSTS)):
        row = {**dataclasses.asdict(relative.cost), "area_delay": relative.cost.area_delay}
        row["relative"] = {name: value for name, value in dataclasses.asdict(relative).items() if name != "cost"}
        found.append(row)
    return found
