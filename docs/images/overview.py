# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Draws the picture of README.md from overview.json and the stored areas: overview-light.svg, overview-dark.svg.

    python docs/images/overview.py

overview.json has what was measured, with the command of each figure.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tosa_rescale.hardware import read_costs, relative_costs

HERE = Path(__file__).parent
THEMES = {
    "light": {"ink": "#1f2328", "soft": "#59636e", "line": "#d1d9e0", "narrow": "#b35900", "aligned": "#0969da"},
    "dark": {"ink": "#f0f6fc", "soft": "#9198a1", "line": "#3d444d", "narrow": "#ffa657", "aligned": "#58a6ff"},
}
MACS = 4


def areas(widths: list[int]) -> list[float]:
    """Area of the dot-product engine at each width, in per cent of that with 32 bits."""
    found = {each.cost.bits: each.transistors for each in relative_costs(read_costs()) if each.cost.macs == MACS}
    return [100 * found[bits] for bits in widths]


def draw(figures: dict[str, Any], theme: str, path: Path) -> None:
    """One file, with a transparent background."""
    import matplotlib.pyplot as plt

    colours = THEMES[theme]
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "overview", "font.family": "sans-serif", "font.size": 11})
    figure, panels = plt.subplots(1, 3, figsize=(11, 3.3), constrained_layout=True)
    for axes, network in zip(panels[:2], figures["networks"], strict=True):
        widths = network["bits"]
        places = range(len(widths))
        axes.axhline(network["base"], color=colours["soft"], linestyle=(0, (5, 4)), linewidth=1)
        for method, marker in (("narrow", "o"), ("aligned", "s")):
            known = [(place, value) for place, value in zip(places, network[method], strict=True) if value is not None]
            axes.plot(*zip(*known, strict=True), color=colours[method], marker=marker, linewidth=2, label=method)
        axes.set_xticks(places, [str(bits) for bits in widths])
        axes.set_title(network["title"], color=colours["ink"], fontsize=11)
        axes.set_ylim(0, 1.06 * network["top"])
        axes.legend(frameon=False, labelcolor=colours["ink"], loc="lower left")
    widths = [32, *figures["networks"][0]["bits"]]
    bars = areas(widths)
    panels[2].bar(range(len(widths)), bars, color=colours["soft"])
    for place, area in enumerate(bars):
        panels[2].text(place, area + 2, f"{area:.0f}", ha="center", color=colours["ink"], fontsize=10)
    panels[2].set_xticks(range(len(widths)), [str(bits) for bits in widths])
    panels[2].set_title(f"area of a {MACS}-MAC engine, % of 32 bits", color=colours["ink"], fontsize=11)
    panels[2].set_ylim(0, 115)
    for axes in panels:
        axes.set_xlabel("significant bits of the multiplier, k", color=colours["soft"])
        axes.tick_params(colors=colours["soft"])
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["bottom", "left"]].set_color(colours["line"])
    figure.savefig(path, transparent=True, metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    figures = json.loads((HERE / "overview.json").read_text())
    for theme in THEMES:
        path = HERE / f"overview-{theme}.svg"
        draw(figures, theme, path)
        # matplotlib ends lines with blanks; version control would show them as mistakes.
        path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")
        print(path)


if __name__ == "__main__":
    main()
