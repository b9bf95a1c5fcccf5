# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One engine through several flows: what is measured, kept and shown. Netlists are pretended."""

from __future__ import annotations

import dataclasses
import pathlib
import re

import pytest
from conftest import Cli
from tiny_library import library
from tosa_rescale.cli.hardware import _target
from tosa_rescale.core.errors import DataError
from tosa_rescale.hardware import flows
from tosa_rescale.hardware.designs import Design
from tosa_rescale.hardware.flows import FLOWS, FlowCost, FlowCosts, flow_fingerprint, measure_flows, read_flows, stored_flows
from tosa_rescale.hardware.liberty import Library, read_library
from tosa_rescale.hardware.mapping import ARRAY_FAST, Netlist, Recipe
from tosa_rescale.hardware.timing import Timing


@pytest.fixture
def tiny(tmp_path: pathlib.Path) -> Library:
    (tmp_path / "tiny.lib").write_text(library())
    return read_library([tmp_path / "tiny.lib"], tmp_path)


@dataclasses.dataclass(frozen=True)
class Call:
    """What was asked of the mapper."""

    design: str
    bits: int
    recipes: tuple[str, ...]
    period: float | None
    sized: bool


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """Mapping pretended: of each call the first netlist is the smaller one, the last one the faster."""
    found: list[Call] = []

    def map_design(
        design: Design, macs: int, bits: int, library: Library, folder: pathlib.Path, recipes: tuple[Recipe, ...],
        period: float | None, sized: bool,
    ) -> tuple[Netlist, ...]:  # fmt: skip
        found.append(Call(design.name, bits, tuple(each.name for each in recipes), period, sized))
        return tuple(Netlist(each.name, folder, folder, "top", 10.0 * bits + index, 0.0) for index, each in enumerate(recipes))

    def time_netlists(netlists: tuple[Netlist, ...], *_: object) -> list[Timing]:
        return [
            Timing(100.0 * bits - index, 100.0 * bits - index) for bits in (found[-1].bits,) for index, _ in enumerate(netlists)
        ]

    monkeypatch.setattr(flows, "map_design", map_design)
    monkeypatch.setattr(flows, "time_netlists", time_netlists)
    monkeypatch.setattr(flows, "tool_version", lambda: "a tool")
    return found


def test_a_flow_for_speed_takes_the_fastest_and_one_for_area_the_smallest(tiny: Library, asked: list[Call]) -> None:
    costs = measure_flows([FLOWS[name] for name in ("array", "array-mapped", "booth-small")], [4], [2], tiny).costs
    assert [(each.flow, each.period, each.area) for each in costs] == [
        ("array", 199, 21),
        ("array-mapped", 199, 21),
        ("booth-small", 200, 20),
    ]
    assert [each.recipes for each in asked] == [*2 * [2 * ("array fastest",)], 2 * ("booth small",)]
    # Sized for speed; not sized; for a clock that binds nothing.
    assert [(each.period is not None, each.sized) for each in asked] == [(False, True), (False, False), (True, True)]


def test_a_run_that_was_stopped_goes_on(tiny: Library, asked: list[Call], tmp_path: pathlib.Path) -> None:
    path = tmp_path / "c.json"
    some = [FLOWS["array"], FLOWS["pipelined"]]
    measure_flows(some[:1], [4], [1, 32], tiny, path)
    costs = measure_flows(some, [4], [1, 32], tiny, path)
    assert [(each.design, each.bits) for each in asked] == [
        ("int8", 32),
        ("int8", 1),
        ("int8-pipelined", 32),
        ("int8-pipelined", 1),
    ]
    assert read_flows(path) == costs and costs.base_of(costs.costs[-1]).bits == 32
    # A flow that is another one now is measured again, the others are not.
    other = dataclasses.replace(costs, sources={**costs.sources, "array": "of another RTL"})
    flows.write_table(other, path)
    measure_flows(some, [4], [1, 32], tiny, path)
    assert [each.design for each in asked[4:]] == ["int8", "int8"]


def test_what_is_no_file_of_flows_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "c.json").write_text('{"costs": [{"macs": 4}]}')
    with pytest.raises(DataError, match="renew it: tosa-rescale hardware-cost --flows --liberty FILE -o") as caught:
        read_flows(tmp_path / "c.json")
    assert "\n" not in str(caught.value)


def test_the_stored_flows_belong_to_this_rtl() -> None:
    found = stored_flows()
    assert {each.library for each in found} >= {"sg13g2_stdcell", "asap7sc7p5t"}
    for costs in found:
        for name, source in costs.sources.items():
            assert source == flow_fingerprint(FLOWS[name]), f"{name} has changed: make hardware LIBERTY=... ONLY=--flows"
        assert {each.flow for each in costs.costs} == set(FLOWS)
        for cost in costs.costs:
            base = costs.base_of(cost)
            assert base.bits == 32 and (cost.bits == 32 or cost.area < base.area)


def test_the_flow_of_the_tables_gives_nearly_their_rows() -> None:
    """Where its recipe won there. The order of gates is another one; what that does is what the documentation says."""
    from tosa_rescale.hardware.cells import stored_cells

    tables = {
        (each.library, cost.macs, cost.bits): cost for each in stored_cells() for cost in each.costs if cost.design == "int8"
    }
    compared = 0
    for costs in stored_flows():
        for cost in (each for each in costs.costs if each.flow == "array"):
            same = tables.get((costs.library, cost.macs, cost.bits))
            if same is not None and same.recipe == ARRAY_FAST.name:
                assert abs(cost.period / same.period - 1) < 0.04 and abs(cost.area / same.area - 1) < 0.02
                compared += 1
    assert compared >= 2


def test_what_the_documentation_concludes_stands_in_its_tables() -> None:
    text = (pathlib.Path(__file__).parents[2] / "docs" / "hardware.md").read_text()
    tables = "\n".join(line for line in text.splitlines() if line.startswith("|"))
    (section,) = re.findall(r"### Which choices make the difference(.*?)\n### ", text, re.DOTALL)
    prose = "\n".join(line for line in section.splitlines() if not line.startswith("|"))
    said = set(re.findall(r"-\d+\.\d %", prose))
    assert len(said) > 10 and not {each for each in said if f"| {each} |" not in tables}
    order = ("array", "array-mapped", "registers", "plain", "array-small", "pipelined", "booth", "booth-small")
    # What `section` says in this order, of one library beside the other.
    wanted = {
        "asap7sc7p5t": ["4.2", "4.4", "4.7", "4.0", "3.6", "3.3", "3.1", "2.5"],
        "sg13g2_stdcell": ["4.4", "4.4", "4.8", "4.1", "3.8", "3.2", "3.2", "2.6"],
    }
    figures = {each.library: {(cost.flow, cost.bits): cost for cost in each.costs} for each in stored_flows()}
    for name, found in figures.items():
        assert [f"{found[flow, 32].area_delay / found[flow, 4].area_delay:.1f}" for flow in order] == wanted[name]
    found = figures["sg13g2_stdcell"]
    mapped, fast = found["array-mapped", 32], found["array", 32]
    assert 0.99 < mapped.period / fast.period < 1 and 1.14 < mapped.area / fast.area < 1.16
    found = figures["asap7sc7p5t"]
    assert 1.4 < found["array-mapped", 32].period / found["array", 32].period < 1.45
    assert f"{found['registers', 32].period:,.0f} ps" in section


def test_the_command_shows_stored_flows(cli: Cli) -> None:
    done = cli("hardware-cost", "--flows")
    assert done.returncode == 0, done.stderr
    for name in ("asap7sc7p5t", "sg13g2_stdcell"):
        assert f"{name}: dot-product engine of int8, 4 MACs, by flow" in done.stdout
    assert "Booth multipliers, sized for speed" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--flows", "--design", "int8"], "period, design and activity: have no effect with --flows; leave them out"),
        (["--flows", "--regenerate"], "flows: stored ones are shown as they are; to measure others, pass a library's files"),
    ],
)
def test_options_that_flows_do_not_take_are_refused(cli: Cli, arguments: list[str], message: str) -> None:
    done = cli("hardware-cost", *arguments)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1


def test_a_folder_takes_the_flows_beside_the_tables_of_cells(tmp_path: pathlib.Path) -> None:
    assert _target(str(tmp_path), "tiny", None, "flows") == tmp_path / "flows" / "tiny.json"
    assert (tmp_path / "flows").is_dir()
    assert _target(str(tmp_path), "tiny", None) == tmp_path / "tiny.json"
    assert _target(str(tmp_path / "c.json"), "tiny", None, "flows") == tmp_path / "c.json"
    assert _target(None, "tiny", None) is None


def test_areas_times_delays() -> None:
    cost = FlowCost("array", 4, 32, 500.0, 30.0)
    assert cost.area_delay == 15
    assert FlowCosts("l", "t", "abc", {}, (cost,)).base_of(cost) is cost
