# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Static timing and power of mapped netlists, by OpenSTA where it is installed."""

from __future__ import annotations

import collections
import dataclasses
import json
import pathlib
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from tosa_rescale.hardware.liberty import Library
from tosa_rescale.hardware.mapping import Netlist
from tosa_rescale.hardware.yosys import SynthesisError, out_of_memory

TIMEOUT = 1800.0  # seconds
DEFAULT_ACTIVITY = 0.1  # transitions a cycle, where nothing was simulated
_INPUTS = "set_input_delay 0 -clock clock [all_inputs]\n"
_NO_PATH = "OpenSTA: found no path between registers; give a library whose flip-flops have timing tables"
_LONG = 1e6  # ps: a period that every path meets; what is left of it gives the path


@dataclasses.dataclass(frozen=True)
class Timing:
    """What the clock of a netlist must allow for. The clock is ideal; wires are the library's wire loads, if any.

    Attributes:
        register: longest path from register to register, from clock to output and set-up time included, in ps.
        period: the same with paths from inputs, which are taken to change at the clock's edge.
    """

    register: float
    period: float


def opensta() -> str | None:
    """OpenSTA's program; None where it is not installed."""
    return shutil.which("sta")


def time_netlists(netlists: Sequence[Netlist], library: Library, folder: pathlib.Path) -> tuple[Timing, ...]:
    """Timing of each netlist.

    Without OpenSTA it is abc's: the longest path through logic, from registers or inputs, without the registers' own delays.

    Raises:
        SynthesisError: OpenSTA failed.
    """
    if opensta() is None:
        return tuple(Timing(each.logic_delay, each.logic_delay) for each in netlists)
    script = _read(library)
    for each in netlists:
        # As long as inputs and outputs have no times, paths from register to register are all that is checked. OpenSTA could
        # be asked for those alone, but then searches the whole netlist once more.
        report = "report_checks -format end -digits 4\n"
        script += f'{_link(each)}{_clock(_LONG)}puts "netlist"\n{report}{_INPUTS}{report}'
    answer = _run(script, folder)
    found = []
    for part in answer.split("netlist\n")[1:]:
        # Endpoint (cell)  required  actual  slack
        slacks = [
            float(line[1])
            for line in re.finditer(r"^\S+ \(\S+\)\s+[-\d.]+\s+[-\d.]+\s+([-\d.]+) \((?:MET|VIOLATED)\)", part, re.M)
        ]
        if not slacks:
            raise SynthesisError(_NO_PATH)
        periods = [_LONG - slack for slack in slacks]
        found.append(Timing(periods[0], max(periods)))
    if len(found) != len(netlists):
        raise SynthesisError(f"OpenSTA: answered for {len(found)} of {len(netlists)} netlists: {answer.strip()[-200:]}")
    return tuple(found)


@dataclasses.dataclass(frozen=True)
class Power:
    """Power in uW. `dynamic` is None where no tool could tell."""

    leakage: float
    dynamic: float | None


def power_of(
    netlist: Netlist, library: Library, period: float, changes: Mapping[str, float] | None, folder: pathlib.Path
) -> Power:
    """Power at a clock.

    OpenSTA gives what each cell takes when its output never changes and when it changes once a cycle; in between, power is
    linear. Debian's release takes no activity of single pins, and spreads those of inputs as if nets were independent, which
    gives a multiplier's nets a hundred times what they do. Of a netlist with several modules the leakage alone is given: each
    engine of a tile would need the activity of its own weights.

    Args:
        netlist: mapped.
        library: of its cells.
        period: of the clock, in ps.
        changes: cell to transitions of its output a cycle; every one 0.1 unless given.
        folder: for files.

    Raises:
        SynthesisError: OpenSTA failed.
    """
    if opensta() is None or not netlist.flat:
        return Power(_leakage(json.loads(netlist.json.read_text())["modules"], netlist.top, library), None)
    script = _read(library) + _link(netlist) + _clock(period) + _INPUTS
    for activity in (0, 1):
        script += f'puts "activity"\nset_power_activity -global -activity {activity} -duty 0.5\n'
        script += "report_power -instances [get_cells *] -digits 6\n"
    parts = _run(script, folder).split("activity\n")[1:]
    row = re.compile(r"^\s*([-+.\de]+)\s+([-+.\de]+)\s+([-+.\de]+)\s+[-+.\de]+ (\S+)$", re.M)
    still, busy = ({each[4]: [1e6 * float(each[i]) for i in (1, 2, 3)] for each in row.finditer(part)} for part in parts)
    if not still or still.keys() != busy.keys():
        raise SynthesisError("OpenSTA: power reports of unexpected form; install Debian's opensta")
    dynamic = 0.0
    for name, (internal, switching, _) in still.items():
        share = DEFAULT_ACTIVITY if changes is None else changes.get(name, 0.0)
        dynamic += (1 - share) * (internal + switching) + share * (busy[name][0] + busy[name][1])
    return Power(sum(each[2] for each in still.values()), dynamic)


def _leakage(modules: Mapping[str, Mapping[str, Any]], top: str, library: Library) -> float:
    """Of all cells of a module and of the modules in it, in uW."""
    kinds = collections.Counter(each["type"] for each in modules[top]["cells"].values())
    return sum(
        count * (library.cells[kind].leakage if kind in library.cells else _leakage(modules, kind, library))
        for kind, count in kinds.items()
    )


def _read(library: Library) -> str:
    return "".join(f"read_liberty {{{path}}}\n" for path in library.files)


def _link(netlist: Netlist) -> str:
    return f"read_verilog {{{netlist.verilog}}}\nlink_design {netlist.top}\nset_cmd_units -time ps\n"


def _clock(period: float) -> str:
    return f"create_clock -name clock -period {period:.3f} [get_ports clock]\n"


def _run(script: str, folder: pathlib.Path) -> str:
    program = opensta()
    assert program is not None
    path = folder / "timing.tcl"
    path.write_text(script + "exit\n")
    try:
        done = subprocess.run(
            [program, "-exit", "-no_splash", str(path)],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        raise SynthesisError(f"OpenSTA: took more than {TIMEOUT:.0f} s; try a smaller block") from None
    if out_of_memory(done):
        raise SynthesisError("OpenSTA: needs more memory than there is; try a smaller block")
    errors = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]
    if done.returncode or errors:
        said = errors or done.stderr.strip().splitlines()[-1:] or [f"ended with status {done.returncode}"]
        raise SynthesisError(f"OpenSTA: {said[0][:200]}; give complete files of one library, and use Debian's opensta")
    return done.stdout
