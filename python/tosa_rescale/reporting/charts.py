# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Charts as SVG for the report page, drawn by matplotlib.

Colours are CSS variables, so one drawing serves a light and a dark page. Each chart is drawn twice, for wide and for narrow
screens, because the text of a scaled drawing would become too small on a phone; the style sheet shows one of the two.
"""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tosa_rescale.core.errors import MissingToolError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SERIES = 6
"""Number of series that have a colour, a marker and a dash pattern of their own."""

_MARKERS = ("o", "s", "^", "D", "v", "P")
_DASHES = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 1, 2)), (0, (8, 3)), (0, (1, 1)))
_WIDE, _NARROW = (5.6, 3.2), (3.4, 2.9)
_SVG = "http://www.w3.org/2000/svg"
_LINK = "{http://www.w3.org/1999/xlink}href"

# Colours that occur nowhere else stand for the page's variables while matplotlib draws.
_STAND_INS = {
    f"#0102{i:02x}": name for i, name in enumerate(("ink", "soft", "line", "page", *(f"s{n}" for n in range(SERIES))))
}
INK, SOFT, LINE, PAGE = (list(_STAND_INS)[i] for i in range(4))
COLOURS = tuple(list(_STAND_INS)[4:])

Draw = Callable[["Axes", bool], None]


def style_of(index: int) -> dict[str, Any]:
    """Colour, marker and dashes of a series; they repeat beyond SERIES."""
    i = index % SERIES
    return {
        "color": COLOURS[i],
        "marker": _MARKERS[i],
        "linestyle": _DASHES[i],
        "linewidth": 1.8,
        "markersize": 5.5,
        "markeredgecolor": PAGE,
        "markeredgewidth": 0.8,
    }


def chart(name: str, title: str, description: str, draw: Draw, *, notes: Mapping[str, str] | None = None) -> str:
    """Draws a chart as two inline SVGs.

    Args:
        name: unique on the page; the prefix of every id.
        title, description: its text alternative.
        draw: draws into axes; the second argument is true for the narrow form.
        notes: gid of an artist to the text that is shown when a pointer rests on it.

    Raises:
        MissingToolError: matplotlib is not installed.
    """
    forms = []
    for form, size in (("wide", _WIDE), ("narrow", _NARROW)):
        text = _draw(draw, form == "narrow", size)
        forms.append(_adapt(text, f"{name}-{form}", form, title, description, notes or {}))
    return "".join(forms)


def tick_widths(axes: Axes, widths: Sequence[int]) -> dict[int, int]:
    """Puts multiplier widths on the x axis, evenly spaced: 32 to 8 is of no more interest than 4 to 3.

    Returns:
        Width to its place.
    """
    axes.set_xticks(range(len(widths)), [str(bits) for bits in widths])
    axes.set_xlim(-0.35, len(widths) - 0.65)
    axes.set_xlabel("significant bits of the multiplier, k")
    return {bits: i for i, bits in enumerate(widths)}


def marks(
    axes: Axes, xs: Sequence[float], ys: Sequence[float], series: int, gids: Sequence[str], hollow: Sequence[bool]
) -> None:
    """Draws points one by one, so that each can carry a note; hollow ones are those below the limit."""
    look = style_of(series)
    for x, y, gid, empty in zip(xs, ys, gids, hollow, strict=True):
        face = {"markerfacecolor": PAGE, "markeredgecolor": look["color"], "markeredgewidth": 1.6} if empty else {}
        (mark,) = axes.plot([x], [y], **{**look, "linestyle": "none", **face}, zorder=4)
        mark.set_gid(gid)


def _draw(draw: Draw, narrow: bool, size: tuple[float, float]) -> str:
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingToolError("the report's charts need matplotlib; pip install 'tosa-rescale[report]'") from None
    settings: Any = {
        "svg.fonttype": "none",  # text stays text: it can be searched, and takes the page's font
        "svg.hashsalt": "tosa-rescale",  # the same drawing has the same ids
        "font.size": 10,
        "axes.edgecolor": LINE,
        "axes.labelcolor": SOFT,
        "axes.facecolor": "none",
        "figure.facecolor": "none",
        "text.color": INK,
        "xtick.color": SOFT,
        "ytick.color": SOFT,
        "grid.color": LINE,
        "grid.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "path.simplify": False,
    }
    with mpl.rc_context(settings):
        figure = Figure(figsize=size)
        FigureCanvasSVG(figure)
        axes = figure.subplots()
        # Fixed margins, in inches: room for labels of the one size there is. Measuring them would double the time.
        width, height = size
        figure.subplots_adjust(left=0.66 / width, right=1 - 0.1 / width, bottom=0.5 / height, top=1 - 0.12 / height)
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        draw(axes, narrow)
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return out.getvalue()


def _adapt(text: str, prefix: str, form: str, title: str, description: str, notes: Mapping[str, str]) -> str:
    """Makes a drawing fit to stand in a page: ids of its own, variables for colours, text alternatives."""
    ET.register_namespace("", _SVG)
    ET.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    root = ET.fromstring(re.sub(r"<!DOCTYPE.*?>", "", text, flags=re.DOTALL))
    for parent in root.iter():
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)
    for element in root.iter():
        gid = element.get("id")
        if gid is not None:
            if gid in notes:
                note = ET.Element(f"{{{_SVG}}}title")
                note.text = notes[gid]
                element.insert(0, note)
            element.set("id", f"{prefix}-{gid}")
        if (link := element.get(_LINK)) is not None:
            element.set(_LINK, f"#{prefix}-{link.removeprefix('#')}")
        if (clip := element.get("clip-path")) is not None:
            element.set("clip-path", clip.replace("url(#", f"url(#{prefix}-"))
        if (style := element.get("style")) is not None:
            element.set("style", _variables(style))
    for name in ("width", "height"):
        root.attrib.pop(name, None)
    label = ET.Element(f"{{{_SVG}}}title", {"id": f"{prefix}-title"})
    label.text = title
    long = ET.Element(f"{{{_SVG}}}desc", {"id": f"{prefix}-desc"})
    long.text = description
    root.insert(0, label)
    root.insert(1, long)
    root.set("role", "img")
    root.set("class", form)
    root.set("aria-labelledby", f"{prefix}-title {prefix}-desc")
    return ET.tostring(root, encoding="unicode")


def _variables(style: str) -> str:
    for colour, name in _STAND_INS.items():
        style = style.replace(colour, f"var(--{name})")
    # The page's own font, at the size drawn.
    style = re.sub(r"font: ([\d.]+px)[^;]*", r"font: \1 var(--font)", style)
    return re.sub(r"font-family: [^;]*", "font-family: var(--font)", style)
