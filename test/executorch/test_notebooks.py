# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The notebooks of examples/ run from top to bottom, and find what they say."""

from __future__ import annotations

import importlib.util
import pathlib
import re
import sys
from typing import Any

import pytest

nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"
pytestmark = pytest.mark.filterwarnings("default")  # what Jupyter's own packages warn of


def outputs(name: str, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> list[list[Any]]:
    """The outputs of each cell of code, run in an empty folder by this Python."""
    monkeypatch.setenv("TOSA_RESCALE_CACHE", str(folder / "cache"))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    notebook = nbformat.read(EXAMPLES / name, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(folder)}})
    client.create_kernel_manager()
    # Whatever kernel is registered under this name, the packages are here.
    client.km.kernel_spec.argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    client.execute()
    return [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]


def printed(found: list[list[Any]]) -> list[str]:
    """What each cell printed."""
    return ["".join(each.text for each in cell if each.get("name") == "stdout") for cell in found]


def values(found: list[list[Any]]) -> list[dict[str, str]]:
    """The value of each cell, by its form."""
    return [each.data for cell in found for each in cell if each.output_type == "execute_result"]


def test_from_litert_to_shifts(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, base, swept, checked = values(outputs("litert.ipynb", tmp_path, monkeypatch))
    assert model["text/plain"].startswith("digits_int8.tflite: 21 rescales, widest 31 bits")
    accuracy = float(re.search(r"top1 +([\d.]+) %", base["text/plain"])[1])  # type: ignore[index]
    assert accuracy > 90 and re.search(r"samples +468\n", base["text/plain"])
    at_one_bit = dict(re.findall(r"^ +(\w+) +1 +([\d.]+)", swept["text/plain"], re.MULTILINE))
    assert float(at_one_bit["narrow"]) < accuracy - 10 < accuracy - 3 < float(at_one_bit["align"])
    assert all("<table>" in each["text/html"] for each in (model, base, swept, checked))
    drawn = importlib.util.find_spec("matplotlib") is not None  # of the extra `report`
    assert ("<img" in swept["text/html"]) == drawn
    assert checked["text/plain"].startswith("bit-exact on 8 samples")
    assert (tmp_path / "digits_shifts.tflite").is_file()


@pytest.mark.slow
def test_from_torch_to_a_pte_of_shifts(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("executorch", reason="the extra `executorch` is not installed; make test-executorch")
    found = outputs("pytorch.ipynb", tmp_path, monkeypatch)
    _, trained, _, lowered, accuracy, rescales, *_ = printed(found)
    assert float(re.match(r"float: ([\d.]+)%", trained)[1]) > 90  # type: ignore[index]
    assert "CPU operators = 0 (0.0%)" in lowered
    assert re.search(r"tag0: (\d+) of \1 rescales are shifts", lowered)
    int8, one_bit = (float(each) for each in re.findall(r": ([\d.]+) %", accuracy))
    assert int8 > 90 and one_bit > int8 - 2
    assert all(line.endswith("now 1") for line in rescales.splitlines()) and len(rescales.splitlines()) == 3
    model, base = values(found)
    assert all("<table>" in each["text/html"] for each in (model, base)) and "widest 1 bit" in model["text/plain"]
    assert (tmp_path / "digits.pte").stat().st_size > 0


def test_a_torch_module_becomes_a_pte_in_under_40_lines() -> None:
    notebook = nbformat.read(EXAMPLES / "pytorch.ipynb", as_version=4)
    code = [line for cell in notebook.cells if cell.cell_type == "code" for line in cell.source.splitlines()]
    assert len([line for line in code if line.strip()]) < 40
