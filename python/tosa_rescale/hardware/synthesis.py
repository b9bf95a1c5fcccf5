# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Synthesis of the dot-product engine with yosys (extra `hardware`)."""

from __future__ import annotations

import hashlib
import json
import pathlib
import re
import tempfile
from collections.abc import Sequence

from tosa_rescale.core.errors import OptionError
from tosa_rescale.core.progress import Progress, Silent
from tosa_rescale.hardware.costs import Cost
from tosa_rescale.hardware.designs import DESIGNS, MAX_MACS
from tosa_rescale.hardware.yosys import NAMES, run_yosys
from tosa_rescale.hardware.yosys import RTL as RTL
from tosa_rescale.hardware.yosys import SynthesisError as SynthesisError
from tosa_rescale.hardware.yosys import tool_version as tool_version

SOURCES = ("rescaler.sv", "dot_product_engine.sv")

_TOP = "dot_product_engine"
# Gates of the usual static CMOS libraries; `dch; map` is abc's mapping for delay with structural choices. Its default script
# sweeps with SAT first, which does not end on a multiplier. Enables become multiplexers in front of plain flip-flops, the only
# ones that the transistor estimate knows.
SCRIPT = f"""\
read_verilog -sv {{sources}}
chparam -set MACS {{macs}} -set BITS {{bits}} {_TOP}
{NAMES.format(top=_TOP)}\
design -load read
synth -flatten -noabc -top {_TOP}
delete t:$scopeinfo
dfflegalize -cell $_DFF_P_ x
abc -g AND,NAND,OR,NOR,XOR,XNOR,MUX,AOI3,OAI3,AOI4,OAI4 -script +strash;dch;map
opt_clean
tee -o stat.json stat -tech cmos -json
tee -o ltp.txt ltp -noff
"""


def fingerprint() -> str:
    """A hash of the RTL, comments and white space left out, and of the script: equal where the stored costs hold."""
    code = [re.sub(r"//.*", "", (RTL / name).read_text()).split() for name in SOURCES]
    return hashlib.sha256(json.dumps([code, SCRIPT]).encode()).hexdigest()


def synthesise(macs: int, bits: int, timeout: float = 900) -> Cost:
    """Synthesises one engine.

    Args:
        macs: products a cycle, 1..256.
        bits: width of the rescaler's multiplier, 1..32.
        timeout: seconds.

    Raises:
        OptionError: a number is out of range.
        MissingToolError: yosys is not installed.
        SynthesisError: yosys failed.
    """
    for name, value, limit in (("macs", macs, MAX_MACS), ("bits", bits, 32)):
        if not 1 <= value <= limit:
            raise OptionError(f"{name}: {value} is out of range; give a whole number from 1 to {limit}")
    with tempfile.TemporaryDirectory(prefix="tosa-rescale-") as folder:
        work = pathlib.Path(folder)
        for name in SOURCES:
            (work / name).write_bytes((RTL / name).read_bytes())
        script = SCRIPT.format(sources=" ".join(SOURCES), macs=macs, bits=bits)
        run_yosys(script, work, DESIGNS["int8"].asked(macs, bits), timeout)
        return _read_answer(macs, bits, (work / "stat.json").read_text(), (work / "ltp.txt").read_text())


def _read_answer(macs: int, bits: int, stat: str, ltp: str) -> Cost:
    try:
        design = json.loads(stat)["design"]
        transistors = design["estimated_num_transistors"]  # ends in `+` where a cell has no estimate
        depth = re.findall(r"\(length=(\d+)\)", ltp)
        return Cost(macs, bits, int(design["num_cells"]), int(transistors), max(map(int, depth)))
    except (ValueError, KeyError) as error:
        raise SynthesisError(
            f"yosys: an answer of unexpected form ({error}); install the release that the extra pins"
        ) from None


def measure_costs(macs: Sequence[int], bits: Sequence[int], progress: Progress | None = None) -> tuple[Cost, ...]:
    """Synthesises every combination, one after the other; see `synthesise`."""
    found = []
    with (progress or Silent()).task("synthesise", len(macs) * len(bits)) as advance:
        for lanes in macs:
            for width in bits:
                found.append(synthesise(lanes, width))
                advance(1)
    return tuple(found)
