# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Node data for Model Explorer: its form, and that every node is one of the .tflite, as LiteRT's interpreter names them."""

from __future__ import annotations

import json
import pathlib

import pytest
import tosa_rescale as tr
from ai_edge_litert.interpreter import Interpreter
from conftest import Cli
from tosa_rescale.core.errors import DataError
from tosa_rescale.hardware.model_explorer import node_data_files, read_figures
from tosa_rescale.hardware.pairs import read_tables


def data_of(model: tr.Model, **figures: dict[str, float]) -> dict[str, dict[str, float]]:
    """Numbers of each file by node, after a look at its form."""
    found = {}
    for name, text in node_data_files(model, read_tables(model), figures).items():
        graph = json.loads(text)
        assert set(graph) == {"name", "results", "gradient"}
        assert [each["stop"] for each in graph["gradient"]] == [0, 0.5, 1], "stops 0 and 1 are required"
        assert all(set(each) == {"value"} and isinstance(each["value"], (int, float)) for each in graph["results"].values())
        found[name.removesuffix(".json")] = {node: each["value"] for node, each in graph["results"].items()}
    return found


def nodes_of(model: tr.Model) -> dict[str, str]:
    """The whole name of each rescale's tensor; `RescaleInfo.name` is one of the names that are joined in it."""
    module = model.module()
    return {op.key: module.tensor_name(op) or "" for op in module.ops() if op.kind == "rescale"}


def operator_outputs(path: pathlib.Path) -> set[str]:
    interpreter = Interpreter(str(path))
    names = {each["index"]: each["name"] for each in interpreter.get_tensor_details()}
    return {names[int(i)] for each in interpreter._get_ops_details() for i in each["outputs"]}


def test_every_node_is_an_operator_of_the_file(demo: tr.Model, demo_model: pathlib.Path) -> None:
    found = data_of(demo)
    assert set(found) == {"bits", "shift", "range"}
    for nodes in found.values():
        assert nodes and set(nodes) <= operator_outputs(demo_model)
    mac = {nodes_of(demo)[info.key] for info in demo.info() if info.scope == "accumulator"}
    assert mac <= set(found["bits"]), "every convolution has a node"


@pytest.mark.parametrize("name", ["mobilenet_v1_0.25_128_uint8", "resnet8_cifar10_int8", "keyword_spotting_int8"])
def test_real_models(shared_models: pathlib.Path, name: str) -> None:
    path = shared_models / f"{name}.tflite"
    found = data_of(tr.load(path))
    assert found["bits"] and set(found["bits"]) <= operator_outputs(path)


def test_numbers(demo: tr.Model) -> None:
    narrowed = demo.with_bits({"rescale0": 3}).narrow(5, scope="all")
    infos, nodes, found = narrowed.info(), nodes_of(narrowed), data_of(narrowed)
    first, node = infos[0], nodes["rescale0"]
    assert found["bits"][node] == 3
    assert first.value_min is not None and first.value_max is not None
    width = found["range"][node]
    assert -(2 ** (width - 1)) <= first.value_min and first.value_max < 2 ** (width - 1)
    assert first.value_min < -(2 ** (width - 2)) or first.value_max >= 2 ** (width - 2), "one bit less would not do"
    shared = {nodes[info.key] for info in infos if info.op == "add"}
    assert shared
    for node in shared:  # the addition's other rescales stand under the same name
        assert found["bits"][node] == max(each.bits or 0 for each in infos if nodes[each.key] == node)


def test_figures_of_other_commands(demo: tr.Model, digits: tr.Dataset, tmp_path: pathlib.Path) -> None:
    ranked = demo.sensitivity(digits.take(2), 2)
    (tmp_path / "s.json").write_text(json.dumps([each.as_dict() for each in ranked]))
    figures = read_figures(tmp_path / "s.json", "sensitivity", read_tables(demo))
    found = data_of(demo, sensitivity=figures)["sensitivity"]
    nodes = nodes_of(demo)
    for each in ranked:
        assert found[nodes[each.key]] == max(other.mean_lsb for other in ranked if nodes[other.key] == nodes[each.key])


@pytest.mark.parametrize("text", ["[{}]", "{", '{"key": 1}', '[{"key": "rescale0", "name": "x"}]'])
def test_other_files_are_refused(demo: tr.Model, tmp_path: pathlib.Path, text: str) -> None:
    (tmp_path / "e.json").write_text(text)
    with pytest.raises(
        DataError, match=r"e\.json: holds no figures of this kind; give what `tosa-rescale errors --json` wrote"
    ):
        read_figures(tmp_path / "e.json", "error", read_tables(demo))


def test_figures_of_another_model_are_refused(demo: tr.Model, tmp_path: pathlib.Path) -> None:
    (tmp_path / "s.json").write_text('[{"key": "rescale0", "name": "other", "mean_lsb": 1}]')
    with pytest.raises(DataError, match=r"rescale0 is other, and .* in this model"):
        read_figures(tmp_path / "s.json", "sensitivity", read_tables(demo))


def test_command(cli: Cli, demo_model: pathlib.Path, demo_data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    assert cli("narrow", demo_model, "-o", "n.mlirbc", "--bits", 4).returncode == 0
    measured = cli("errors", "n.mlirbc", "--reference", demo_model, "--data", demo_data, "--take", 2, "--json", "e.json")
    assert measured.returncode == 0, measured.stderr
    done = cli("export", "n.mlirbc", "-o", "x", "--format", "model-explorer", "--errors", "e.json")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "x" / "model-explorer").iterdir()} == {
        f"{name}.json" for name in ("bits", "shift", "range", "error")
    }
    error = json.loads((tmp_path / "x" / "model-explorer" / "error.json").read_text())["results"]
    assert set(error) <= operator_outputs(demo_model) and max(each["value"] for each in error.values()) > 0
    alone = cli("export", demo_model, "-o", "y", "--format", "json", "--errors", "e.json")
    assert alone.returncode == 2 and "have no effect without --format model-explorer" in alone.stderr
    missing = cli("export", demo_model, "-o", "y", "--format", "model-explorer", "--sensitivity", "no.json")
    assert missing.returncode == 2 and "no.json: No such file or directory" in missing.stderr
