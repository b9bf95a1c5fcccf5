# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Charts as SVG, drawn by matplotlib: inside the report page, or as files that stand alone.

On the page colours are CSS variables, so one drawing serves a light and a dark page. Each chart is drawn twice, for wide and
for narrow screens, because the text of a scaled drawing would become too small on a phone; the style sheet shows one of the
two. A file has the colours of the light page and its legend inside, and is drawn once.
"""

from __future__ import annotations

import dataclasses
import io
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tosa_rescale.core.errors import MissingToolError
from tosa_rescale.reporting.style import DASHED, DOTTED, INK, LINE, PAGE, SOFT, STAND_INS, LegendEntry, look_of, palette, proxy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDE, _NARROW, _ALONE = (5.6, 3.2), (3.4, 2.9), (7.0, 4.5)  # inches
_LEFT = 0.72  # inches; room for "100.0" and the label beside it
_SVG = "http://www.w3.org/2000/svg"
_LINK = "{http://www.w3.org/1999/xlink}href"
_SPIKE = 5.0  # times the value that nine of ten do not exceed: what is larger would flatten the rest


@dataclasses.dataclass(frozen=True, eq=False)
class Canvas:
    """What a chart is drawn on.

    Attributes:
        axes: matplotlib's.
        narrow: the form for narrow screens.
        notes: id of a mark to the text that is shown when a pointer rests on it.
    """

    axes: Axes
    narrow: bool
    notes: dict[str, str] = dataclasses.field(default_factory=dict)

    def labels(self, x: str, y: str) -> None:
        """Names both axes."""
        self.axes.set_xlabel(x)
        self.axes.set_ylabel(y)

    def level(self, y: float, dotted: bool = False) -> None:
        """A horizontal line: the original's value, or a limit."""
        self.axes.axhline(y, color=SOFT, linestyle=DOTTED if dotted else DASHED, linewidth=1.0 if dotted else 1.2)

    def line(self, series: int, xs: Sequence[float], ys: Sequence[float], **look: Any) -> None:
        """The line of a series, without marks."""
        self.axes.plot(xs, ys, **{**look_of(series), "marker": "none", **look})

    def marks(
        self,
        series: int,
        xs: Sequence[float],
        ys: Sequence[float],
        notes: Sequence[str] = (),
        hollow: Sequence[bool] = (),
        **look: Any,
    ) -> None:
        """The points of a series, each with its note; hollow ones are those beyond a limit."""
        full = {**look_of(series), "linestyle": "none", **look}
        if not notes:
            self.axes.plot(xs, ys, **full)
            return
        for i, (x, y, note) in enumerate(zip(xs, ys, notes, strict=True)):
            empty = bool(hollow) and hollow[i]
            face = {"markerfacecolor": PAGE, "markeredgecolor": full["color"], "markeredgewidth": 1.6} if empty else {}
            (mark,) = self.axes.plot([x], [y], **{**full, **face}, zorder=4)
            self.note(mark, note)

    def note(self, artist: Any, text: str) -> None:
        """Lets a pointer that rests on an artist show a text."""
        gid = f"note{len(self.notes)}"
        artist.set_gid(gid)
        self.notes[gid] = text

    def widths(self, widths: Sequence[int]) -> dict[int, int]:
        """Puts multiplier widths on the x axis, evenly spaced: 32 to 8 is of no more interest than 4 to 3.

        Returns:
            Width to its place.
        """
        self.axes.set_xticks(range(len(widths)), [str(bits) for bits in widths])
        self.axes.set_xlim(-0.35, len(widths) - 0.65)
        self.axes.set_xlabel("significant bits of the multiplier, k")
        return {bits: i for i, bits in enumerate(widths)}

    def whole_numbers(self) -> None:
        """Ticks of the x axis at whole numbers."""
        from matplotlib.ticker import MaxNLocator

        self.axes.xaxis.set_major_locator(MaxNLocator(nbins=6 if self.narrow else 12, integer=True))

    def from_zero(self, points: Sequence[tuple[float, float]]) -> None:
        """Starts the y axis at 0 and ends it where spikes do not flatten the rest; an arrow with its value marks each of them.

        Args:
            points: all that is drawn.
        """
        top = spike_limit([y for _, y in points])
        self.axes.set_ylim(0, top)
        if top is None:
            return
        last = max(x for x, _ in points)
        for x, y in points:
            if y > top:
                (arrow,) = self.axes.plot([x], [0.95 * top], marker="^", markersize=7, color=INK, linestyle="none", zorder=5)
                self.note(arrow, f"beyond the axis: {y:,.4g}")
                side = ("right", -7) if x > last / 2 else ("left", 7)
                self.axes.annotate(
                    f"{y:,.4g}", (x, 0.95 * top), xytext=(side[1], 0), textcoords="offset points", ha=side[0], va="center",
                    fontsize=9, color=INK,
                )  # fmt: skip


def spike_limit(values: Sequence[float]) -> float | None:
    """Where an axis from 0 ends so that single large values do not flatten the rest; None where it may show them all."""
    known = sorted(v for v in values if math.isfinite(v))
    if len(known) < 3:
        return None
    common = known[int(0.9 * (len(known) - 1))]
    if common <= 0 or known[-1] <= _SPIKE * common:
        return None
    return 1.25 * max(v for v in known if v <= _SPIKE * common)


@dataclasses.dataclass(frozen=True, eq=False)
class Chart:
    """A drawing with its text alternative.

    Attributes:
        name: unique on the page; the prefix of every id.
        title, description: its text alternative.
        draw: draws it.
    """

    name: str
    title: str
    description: str
    draw: Callable[[Canvas], None]

    def inline(self) -> str:
        """Two inline SVGs, for wide and for narrow screens.

        Raises:
            MissingToolError: matplotlib is not installed.
        """
        forms = []
        for form, size in (("wide", _WIDE), ("narrow", _NARROW)):
            root = _drawn(self, size, form == "narrow", f"{self.name}-{form}")
            root.set("class", form)
            for element in root.iter():
                if (style := element.get("style")) is not None:
                    element.set("style", _variables(style))
            forms.append(ET.tostring(root, encoding="unicode"))
        return "".join(forms)

    def alone(self, legend: Sequence[LegendEntry] = ()) -> str:
        """An SVG file with legend and title.

        Raises:
            MissingToolError: matplotlib is not installed.
        """
        root = _drawn(self, _ALONE, False, self.name, legend)
        text = ET.tostring(root, encoding="unicode")
        for colour, name in STAND_INS.items():
            text = text.replace(colour, palette()[name])
        return '<?xml version="1.0" encoding="utf-8"?>\n' + text + "\n"


_SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be searched, and takes the page's font
    "svg.hashsalt": "tosa-rescale",  # the same drawing has the same ids
    "font.size": 10,
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "axes.facecolor": "none",
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "path.simplify": False,
}


def _drawn(
    chart: Chart, size: tuple[float, float], narrow: bool, prefix: str, legend: Sequence[LegendEntry] = ()
) -> ET.Element:
    """Draws a chart and gives it ids of its own and its text alternative."""
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingToolError("charts need matplotlib; pip install 'tosa-rescale[report]'") from None
    alone = size == _ALONE
    settings: Any = {**_SETTINGS, "figure.facecolor": PAGE if alone else "none"}
    with mpl.rc_context(settings):
        figure = Figure(figsize=size)
        FigureCanvasSVG(figure)
        axes = figure.subplots()
        # Fixed margins, in inches: room for labels of the one size there is. Measuring them would double the time.
        width, height = size
        head = 0.42 + 0.24 * math.ceil(len(legend) / 2) if alone else 0.12
        figure.subplots_adjust(left=_LEFT / width, right=1 - 0.1 / width, bottom=0.5 / height, top=1 - head / height)
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        canvas = Canvas(axes, narrow)
        chart.draw(canvas)
        if alone:
            figure.suptitle(chart.title, x=_LEFT / width, y=1 - 0.12 / height, ha="left", va="top", fontsize=12)
        if legend:
            place = {"bbox_to_anchor": (0.0, 1.01, 1.0, 0.0), "loc": "lower left", "ncols": 2, "borderaxespad": 0.0}
            axes.legend(handles=[proxy(each) for each in legend], **place)
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=not alone, metadata={"Date": None, "Creator": None})
    return _adapted(out.getvalue(), prefix, chart, canvas.notes)


def _adapted(text: str, prefix: str, chart: Chart, notes: Mapping[str, str]) -> ET.Element:
    """Makes a drawing fit to stand beside others: ids of its own, notes, text alternatives."""
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
    for name in ("width", "height"):
        root.attrib.pop(name, None)
    label = ET.Element(f"{{{_SVG}}}title", {"id": f"{prefix}-title"})
    label.text = chart.title
    long = ET.Element(f"{{{_SVG}}}desc", {"id": f"{prefix}-desc"})
    long.text = chart.description
    root.insert(0, label)
    root.insert(1, long)
    root.set("role", "img")
    root.set("aria-labelledby", f"{prefix}-title {prefix}-desc")
    return root


def _variables(style: str) -> str:
    for colour, name in STAND_INS.items():
        style = style.replace(colour, f"var(--{name})")
    # The page's own font, at the size drawn.
    style = re.sub(r"font: ([\d.]+px)[^;]*", r"font: \1 var(--font)", style)
    return re.sub(r"font-family: [^;]*", "font-family: var(--font)", style)
