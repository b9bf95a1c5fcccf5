# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The pages' tables of milliseconds and targets are what bench/ recorded, and the sentences beside them say the same."""

from __future__ import annotations

import importlib.util
import json
import re
from types import ModuleType
from typing import Any

import pytest
from conftest import ROOT

PAGE = (ROOT / "docs" / "how-to" / "compiler.md").read_text()
README = (ROOT / "README.md").read_text()
RESNET, EFFICIENTNET, MOBILENET = (f"{each}_int8.tflite" for each in ("resnet8_cifar10", "efficientnet_lite0", "mobilenet_v2"))


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tables", ROOT / "bench" / "tables.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def software(tables: ModuleType) -> dict[str, Any]:
    return tables.recorded("software")


def test_the_page_has_the_recorded_tables(tables: ModuleType, software: dict[str, Any]) -> None:
    for table in (tables.software_table(software), tables.targets_table(tables.recorded("targets")[RESNET])):
        assert len(table) > 10
        assert "\n".join(table) in PAGE, "run `python bench/tables.py`"


def test_the_first_screen_has_the_recorded_milliseconds(tables: ModuleType, software: dict[str, Any]) -> None:
    lines = README.splitlines()
    for row in tables.first_screen(software):
        assert row in lines, "run `python bench/tables.py`"
    (heading,) = [line for line in lines if line.startswith("| | original")]
    assert [cell.strip() for cell in heading.split("|")[2:-1]] == ["original", *(f"k = {k}" for k in (8, 4, 3, 2, 1))]


def test_what_the_page_says_of_the_tables_is_so(software: dict[str, Any]) -> None:
    def one_core(model: str, name: str) -> float:
        return software[model]["figures"][f"{name}, 1 core"]["ms"]

    for model, name in ((EFFICIENTNET, "EfficientNet-Lite0"), (MOBILENET, "MobileNetV2")):
        gain = one_core(model, "original") / one_core(model, "1 bit, lowered")
        against = one_core(model, "XNNPACK") / one_core(model, "1 bit, lowered")
        assert f"{name}: {gain:.2f} times the original, {against:.2f} of XNNPACK's speed" in " ".join(PAGE.split())


def test_what_ran_is_equal() -> None:
    """Every target that was run gave the integers of this machine, and every one that was refused says why."""
    rows = json.loads((ROOT / "docs" / "how-to" / "targets.json").read_text())[RESNET]["rows"]
    ran = {row["target"] for row in rows if row["differing"] is not None}
    assert {"aarch64", "riscv64", "riscv32", "Vulkan, software", "Vulkan, software, no i64"} < ran
    for row in rows:
        assert row["differing"] in (None, 0) and (row["differing"] is None or row["values"] > 0)
        assert (row["bytes"] is None) == bool(row["says"])
    lowered = {row["target"] for row in rows if row["model"] != "original" and row["bytes"]}
    original = {row["target"] for row in rows if row["model"] == "original" and row["bytes"]}
    only = lowered - original
    assert only and not original - lowered
    assert all(re.search(rf"^\| {re.escape(target)} \| refused", PAGE, re.MULTILINE) for target in only)
