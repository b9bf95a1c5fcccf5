# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The notebooks of examples/ run from top to bottom, and find what they say."""

from __future__ import annotations

import pathlib
import re
import sys

import pytest

nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"
pytestmark = pytest.mark.filterwarnings("default")  # what Jupyter's own packages warn of


def printed(name: str, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What each cell of code printed, run in an empty folder by this Python."""
    monkeypatch.setenv("TOSA_RESCALE_CACHE", str(folder / "cache"))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    notebook = nbformat.read(EXAMPLES / name, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(folder)}})
    client.create_kernel_manager()
    # Whatever kernel is registered under this name, the packages are here.
    client.km.kernel_spec.argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    client.execute()
    return ["".join(o.text for o in c.outputs if o.get("name") == "stdout") for c in notebook.cells if c.cell_type == "code"]


def test_from_litert_to_shifts(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rescales, base, widths, saved = printed("litert.ipynb", tmp_path, monkeypatch)
    assert len(rescales.splitlines()) > 10
    accuracy = float(re.match(r"([\d.]+) % of 468 digits", base)[1])  # type: ignore[index]
    assert accuracy > 90
    at_one_bit = re.search(r"^1 bits: narrowed ([\d.]+) %, compensated ([\d.]+) %", widths, re.MULTILINE)
    assert at_one_bit is not None
    assert float(at_one_bit[1]) < accuracy - 10 < accuracy - 3 < float(at_one_bit[2])
    assert saved.split() == ["True", "True", "digits_shifts.tflite"]
    assert (tmp_path / "digits_shifts.tflite").is_file()


@pytest.mark.slow
def test_from_torch_to_a_pte_of_shifts(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("executorch", reason="the extra `executorch` is not installed; make test-executorch")
    _, trained, _, lowered, accuracy, rescales = printed("pytorch.ipynb", tmp_path, monkeypatch)
    assert float(re.match(r"float: ([\d.]+)%", trained)[1]) > 90  # type: ignore[index]
    assert "CPU operators = 0 (0.0%)" in lowered
    assert re.search(r"tag0: (\d+) of \1 rescales are shifts", lowered)
    int8, one_bit = (float(each) for each in re.findall(r": ([\d.]+) %", accuracy))
    assert int8 > 90 and one_bit > int8 - 2
    assert all(line.endswith("now 1") for line in rescales.splitlines()) and len(rescales.splitlines()) == 3
    assert (tmp_path / "digits.pte").stat().st_size > 0


def test_a_torch_module_becomes_a_pte_in_under_40_lines() -> None:
    notebook = nbformat.read(EXAMPLES / "pytorch.ipynb", as_version=4)
    code = [line for cell in notebook.cells if cell.cell_type == "code" for line in cell.source.splitlines()]
    assert len([line for line in code if line.strip()]) < 40
