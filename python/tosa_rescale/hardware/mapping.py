# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Mapping of a design to the cells of a Liberty library, with yosys and abc (extra `hardware`), in several ways."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
import re

from tosa_rescale.hardware.designs import Design
from tosa_rescale.hardware.liberty import Library
from tosa_rescale.hardware.yosys import NAMES, RTL, SynthesisError, run_yosys

KOGGE_STONE = "-extra-map +/choices/kogge-stone.v"
TIMEOUT = 1800.0


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One way to map.

    Attributes:
        name: for people.
        front: options of yosys' `synth`: Booth or array multipliers (the latter are summed with the accumulator in one
            carry-save tree), Kogge-Stone or Brent-Kung adders.
        script: of abc, up to the mapped netlist; buffers and sizes follow.
    """

    name: str
    front: str
    script: str


# Booth multipliers followed by `_QUICK` or `_FASTEST` were slower than array ones wherever they were tried; they are left out.
# `&nf` is small, `map` fast, and `if -g` balances the logic for depth before it.
_SMALL = "strash;&get,-n;&dch,-f;&nf;&put"
_QUICK = "strash;dch;map,-B,0.9"
_FASTEST = "strash;if,-g;strash;dch;map,-B,0.9"
RECIPES = (
    Recipe("booth small", "-booth", _SMALL),
    Recipe("array small", "", _SMALL),
    Recipe("array quick", "", _QUICK),
    Recipe("array fastest", KOGGE_STONE, _FASTEST),
)
# For comparing flows; see `tosa_rescale.hardware.flows`.
BOOTH_SMALL, ARRAY_SMALL, _, ARRAY_FAST = RECIPES
BOOTH_FAST = Recipe("booth fastest", f"-booth {KOGGE_STONE}", _FASTEST)

_READ = """\
read_verilog -sv {sources}
hierarchy -top {top} {parameters}
"""
# `-flatten` stops at these modules, and what is in two of them is not merged. Parameters may follow in their names.
_KEEP = "setattr -mod -set keep_hierarchy 1 {kept} *\\{kept}*\n"
_SIZING = "upsize{target};dnsize{target};"
# The tool that reads the netlist for timing knows no concatenation on the left of `assign`.
_MAP = """\
design -load read

synth -flatten -noabc {front} -top {top}
delete t:$scopeinfo
dfflibmap {libraries}
abc {libraries} -constr block.sdc -script +{script};topo;buffer,-c,-N,16;{sizing}stime,-d
splitnets
opt_clean -purge
rename -enumerate
tee -q -o {name}.stat stat {libraries} -json
write_json -noscopeinfo {name}.json
write_verilog -noattr -noexpr -nohex {name}.v
""".replace("{sizing}", _SIZING)


@dataclasses.dataclass(frozen=True)
class Netlist:
    """A mapped design.

    Attributes:
        recipe: how it was mapped.
        verilog, json: its files.
        top: its module.
        area: in um2.
        logic_delay: of the longest path through logic alone, in ps, by abc: no flip-flop's delay or set-up time in it,
            and of several modules the longest within one.
        flat: whether all cells are in one module.
    """

    recipe: str
    verilog: pathlib.Path
    json: pathlib.Path
    top: str
    area: float
    logic_delay: float
    flat: bool = True


def fingerprint(design: Design) -> str:
    """A hash of the RTL of a design, comments and white space left out, and of how it is mapped."""
    code = [re.sub(r"//.*", "", (RTL / name).read_text()).split() for name in design.sources]
    recipes = [dataclasses.astuple(each) for each in RECIPES]
    parts = [code, _READ, NAMES, _MAP, recipes, dict(design.parameters)]
    if design.kept:
        parts += [_KEEP, design.kept, design.tile]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def map_design(
    design: Design,
    macs: int,
    bits: int,
    library: Library,
    folder: pathlib.Path,
    recipes: tuple[Recipe, ...] = RECIPES,
    period: float | None = None,
    sized: bool = True,
) -> tuple[Netlist, ...]:
    """Maps one design by every recipe.

    Args:
        design: what.
        macs: products a cycle for each rescaler.
        bits: width of the rescaler's multiplier.
        library: of cells.
        folder: for the netlists.
        recipes: ways to map.
        period: target of sizing in ps; as fast as it gets unless given.
        sized: False leaves the sizes of cells as the mapper chose them.

    Raises:
        OptionError: a number is out of range.
        MissingToolError: yosys is not installed.
        SynthesisError: it failed.
    """
    values = design.values(macs, bits)
    # Relative: the WebAssembly build of yosys sees another /tmp.
    libraries = " ".join(f"-liberty {os.path.relpath(path, folder)}" for path in library.lean)
    parameters = " ".join(f"-chparam {name} {value}" for name, value in values.items())
    script = _READ.format(sources=" ".join(design.sources), top=design.top, parameters=parameters)
    script += "".join(_KEEP.format(kept=module) for module in design.kept)
    script += NAMES.format(top=design.top)
    template = _MAP if sized else _MAP.replace(_SIZING, "")
    target = f",-D,{period:.0f}" if period else ""
    for index, recipe in enumerate(recipes):
        script += template.format(
            front=recipe.front,
            top=design.top,
            libraries=libraries,
            script=recipe.script,
            target=target,
            name=f"n{index}",
        )
    for name in design.sources:
        (folder / name).write_bytes((RTL / name).read_bytes())
    (folder / "block.sdc").write_text(
        f"set_driving_cell {library.driver()}\nset_load {library.load() / library.femtofarads:.4f}\n"
    )
    run_yosys(script, folder, design.asked(macs, bits), TIMEOUT)
    return tuple(_netlist(recipes, index, design, folder) for index in range(len(recipes)))


def _netlist(recipes: tuple[Recipe, ...], index: int, design: Design, folder: pathlib.Path) -> Netlist:
    verilog, answer = folder / f"n{index}.v", folder / f"n{index}.stat"
    try:
        area = float(json.loads(answer.read_text())["design"]["area"])
        delays = _logic_delays((folder / "stats.txt").read_text())
        modules = len(delays) // len(recipes)
        delay = max(delays[modules * index : modules * (index + 1)])
        text = verilog.read_text()
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise SynthesisError(
            f"yosys: an answer of unexpected form ({error}); install the release that the extra pins"
        ) from None
    # OpenSTA reads no `signed`.
    verilog.write_text(re.sub(r"\bsigned ", "", text))
    return Netlist(recipes[index].name, verilog, folder / f"n{index}.json", design.top, area, delay, not design.kept)


def _logic_delays(stats: str) -> list[float]:
    """Delays in ps from what abc's `stime -d` writes: the first mapped module in full, later ones in per cent of it."""
    words = stats.split()
    inputs_to_delay, later = words[:6], words[6:]
    first = float(inputs_to_delay[5])
    # Nodes, area, delay in per cent, and seconds.
    return [first, *(first * float(later[at]) / 100 for at in range(2, len(later), 4))]
