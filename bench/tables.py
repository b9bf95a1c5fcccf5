# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The tables of docs/how-to/compiler.md and README.md, from what `software.py` and `targets.py` recorded.

    python bench/tables.py

A test holds the pages to them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HOW_TO = Path(__file__).parents[1] / "docs" / "how-to"
NAMES = {
    "efficientnet_lite0_int8.tflite": "EfficientNet-Lite0",
    "mobilenet_v2_int8.tflite": "MobileNetV2",
    "resnet8_cifar10_int8.tflite": "ResNet-8",
}
ON_THE_FIRST_SCREEN = ("efficientnet_lite0_int8.tflite", "mobilenet_v2_int8.tflite")


def recorded(name: str) -> dict[str, Any]:
    """What was recorded of each model, by file name."""
    return json.loads((HOW_TO / f"{name}.json").read_text())


def software_table(entries: Mapping[str, Any]) -> list[str]:
    """Rows of milliseconds a sample: one core, against the original; dispatches alone; two cores."""
    rows = ["| | ms | times the original | dispatches, ms | two cores, ms |", "|---|---|---|---|---|"]
    for model in NAMES:
        entry = entries[model]
        figures, counts = entry["figures"], entry["rescales_lowered"]
        names = [each.removesuffix(", 1 core") for each in figures if each.endswith(", 1 core")]
        for name in sorted(names, key=_order):
            one = figures[f"{name}, 1 core"]
            dispatches, two = (figures.get(f"{name}, {which}") for which in ("dispatches", "2 cores"))
            count, total = counts.get(name, [0, 0])
            of = f" ({count} of {total} rescales)" if 0 < count < total else ""
            cells = [f"{one['ms']:.2f}", f"{one['times_original']:.2f}"]
            cells += ["" if each is None else f"{each['ms']:.2f}" for each in (dispatches, two)]
            rows.append(f"| {NAMES[model]}, {name}{of} | {' | '.join(cells)} |")
    return rows


def _order(name: str) -> tuple[int, int]:
    """The original, 31 bits, few bits from many to one, XNNPACK."""
    if name[0].isdigit():
        return 1, -int(name.split()[0])
    return (0, 0) if name == "original" else (2, 0)


def targets_table(entry: Mapping[str, Any]) -> list[str]:
    """A row for each target: the original and one bit, lowered."""
    rows = ["| target | original | 1 bit, lowered |", "|---|---|---|"]
    cells: dict[str, list[str]] = {}
    for each in entry["rows"]:
        cells.setdefault(each["target"], []).append(each["cell"])
    return rows + [f"| {target} | {' | '.join(both)} |" for target, both in cells.items()]


def first_screen(entries: Mapping[str, Any]) -> list[str]:
    """Rows of README.md: milliseconds on one core of the original and of each width."""
    rows = []
    for model in ON_THE_FIRST_SCREEN:
        figures = entries[model]["figures"]
        names = ["original", *(f"{k} bits, lowered" for k in (8, 4, 3, 2)), "1 bit, lowered"]
        cells = [f"{figures[f'{name}, 1 core']['ms']:.1f}" for name in names]
        rows.append(f"| {NAMES[model]} in stock IREE, ms an image on one core, lowered | {' | '.join(cells)} |")
    return rows


def main() -> None:
    software, targets = recorded("software"), recorded("targets")
    parts = [software_table(software), targets_table(targets["resnet8_cifar10_int8.tflite"]), first_screen(software)]
    print("\n\n".join("\n".join(part) for part in parts))


if __name__ == "__main__":
    main()
