# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The sections of the report page, each from what a sweep has stored."""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tosa_rescale.reporting import charts
from tosa_rescale.reporting.blocks import Block, Figure, LegendEntry, Section, Table, Tile, number, rows, series_legend, signed
from tosa_rescale.reporting.paper import SOURCE, figures_for
from tosa_rescale.sweeping.results import BASE_BITS, DEGRADATION, SweepPoint, SweepResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WHAT_METHODS_DO = {
    "narrow": "multipliers are rounded, nothing else changes",
    "compensate": "weights and biases absorb what the multipliers lose",
    "align": "every rescale of the network is narrowed, adds and means included; activation scales change as well",
    "finetune": "weights are trained through the integer arithmetic",
}


@dataclasses.dataclass(frozen=True)
class Stored:
    """All that a report is made from.

    Attributes:
        result: the sweep.
        details: of its points by method and width, see tosa_rescale.sweeping.details; points without are missing.
        finetuned: name and content of files that `tosa-rescale finetune --json` wrote.
        errors: name and content of files that `tosa-rescale errors --json` wrote.
    """

    result: SweepResult
    details: dict[tuple[str, int], dict[str, Any]]
    finetuned: dict[str, dict[str, Any]]
    errors: dict[str, list[dict[str, Any]]]

    @property
    def labelled(self) -> bool:
        """Whether accuracy is known, and not agreement alone."""
        return self.result.base.evaluation.top1 is not None

    @property
    def widths(self) -> list[int]:
        """All widths, the original's first."""
        return sorted({point.bits for point in self.result.points}, reverse=True)

    def drop(self, point: SweepPoint) -> float | None:
        """Points of top-1 below the original's; None without labels."""
        base, own = self.result.base.evaluation.top1, point.evaluation.top1
        return None if base is None or own is None else base - own

    @staticmethod
    def standard_error(point: SweepPoint) -> float:
        """An upper bound of the standard error of a point's difference from the original, in points of top-1.

        Both ran on the same samples, so only those that they decide differently can make a difference: of n samples
        d of them, each by at most one, which gives sqrt(d) / n.
        """
        found = point.evaluation
        differing = found.samples * (1 - (100.0 if found.agreement is None else found.agreement) / 100)
        return 100 * math.sqrt(max(differing, 0)) / found.samples

    def falls(self, point: SweepPoint) -> bool:
        """Whether top-1 is more than 0.5 points, and more than two standard errors, below the original's."""
        drop = self.drop(point)
        return drop is not None and drop > max(DEGRADATION, 2 * self.standard_error(point))

    def safe(self, method: str) -> SweepPoint | None:
        """The narrowest width of a method down to which no width falls; None: the widest falls, or "
        "there are no labels."""
        found = None
        for point in sorted(self.result.of_method(method), key=lambda p: -p.bits):
            if not self.labelled or self.falls(point):
                break
            found = point
        return found

    def shown(self, method: str) -> SweepPoint:
        """The point of a method that charts of single points show: the safe one, else the narrowest."""
        return self.safe(method) or min(self.result.of_method(method), key=lambda p: p.bits)

    def all_shown(self) -> dict[int, SweepPoint]:
        """The point of each method that charts show, by the method's place: a method has one "
        "colour on the whole page."""
        return {i: self.shown(method) for i, method in enumerate(self.result.methods)}

    @property
    def significant(self) -> Callable[[int], int]:
        """From a width to the significant bits that hardware multiplies with."""
        hidden = bool(self.result.options.get("hidden_bit"))
        return lambda bits: bits if bits == BASE_BITS else bits + hidden


def colour(series: int) -> str:
    """The CSS variable of a series."""
    return f"s{series % charts.SERIES}"


def name_of(point: SweepPoint) -> str:
    """A point for people."""
    return "original" if point.method == "base" else f"{point.method}, k = {point.bits}"


# -- what was found ----------------------------------------------------------------------------------------------------


def lead(stored: Stored) -> str:
    """The page's first sentence: what the whole sweep says."""
    result, base = stored.result, stored.result.base.evaluation
    if not stored.labelled:
        best = max((p for p in result.points[1:]), key=lambda p: p.evaluation.agreement or 0.0, default=None)
        return (
            "The data has no labels, so what is measured is agreement: how often a narrowed model decides "
            "as the original does." + (f" Highest: {number(best.evaluation.agreement)} % ({name_of(best)})." if best else "")
        )
    found = [(stored.safe(method), method) for method in result.methods]
    kept = sorted((point.bits, order) for order, (point, _) in enumerate(found) if point)
    if not kept:
        return f"No width measured keeps the original’s top-1, {number(base.top1)} %, to {DEGRADATION} points."
    point = found[kept[0][1]][0]
    assert point is not None
    shift = ": a pure shift, no multiplier" if stored.significant(point.bits) == 1 else ""
    return (
        f"{point.bits} significant {_be(stored, point)} enough{shift}. "
        f"With {point.method} at k = {point.bits}, "
        f"top-1 is {number(point.evaluation.top1)} % where the original has {number(base.top1)} %, "
        f"and {number(point.evaluation.agreement)} % of the decisions are the original’s." + _uncertainty(stored, point)
    )


def _be(stored: Stored, point: SweepPoint) -> str:
    if 2 * stored.standard_error(point) > DEGRADATION:
        return "bit may be" if point.bits == 1 else "bits may be"
    return "bit is" if point.bits == 1 else "bits are"


def _uncertainty(stored: Stored, point: SweepPoint) -> str:
    limit = 2 * stored.standard_error(point)
    if limit <= DEGRADATION:
        return ""
    return (
        f" {point.evaluation.samples} samples resolve differences of {number(limit, 1)} points; "
        f"to resolve {DEGRADATION} points at this agreement, measure on some {_needed(point):,}."
    )


def _needed(point: SweepPoint) -> int:
    """Samples at which two standard errors are 0.5 points, rounded up to two digits."""
    exact = (1 - (point.evaluation.agreement or 0) / 100) * (2 * 100 / DEGRADATION) ** 2
    unit = 10 ** max(0, len(str(int(exact))) - 2)
    return math.ceil(round(exact, 6) / unit) * unit


def tiles(stored: Stored) -> list[Tile]:
    """One finding for each method."""
    made = []
    for i, method in enumerate(stored.result.methods):
        point = stored.shown(method)
        safe = stored.safe(method) is not None
        found = point.evaluation
        lines = [
            f"top-1 {number(found.top1)} % ({signed((found.top1 or 0) - (stored.result.base.evaluation.top1 or 0))}), "
            f"agreement {number(found.agreement)} %"
            if stored.labelled
            else f"agreement {number(found.agreement)} %"
        ]
        cost = areas(TYPICAL_MACS)(stored.significant(point.bits))
        if cost is not None:
            lines.append(f"area {signed(cost.area - 100, 0)} %, area × delay {signed(cost.area_delay - 100, 0)} %")
        fallen = stored.result.degradation_point(method)
        if stored.labelled:
            lines.append(
                f"degradation point: k = {fallen}" if fallen is not None else "no width measured falls by more than 0.5 points"
            )
        kept = all((stored.drop(p) or 0.0) <= DEGRADATION for p in stored.result.of_method(method) if p.bits >= point.bits)
        unit = "is the narrowest"
        if stored.labelled:
            unit = ("keeps the accuracy" if kept else "within sampling error") if safe else "is the narrowest; it falls"
        made.append(Tile(method, colour(i), f"k = {point.bits}", unit, tuple(lines)))
    return made


AGREEMENT_FROM = 90  # per cent; where the closer chart of agreement begins

# -- accuracy ----------------------------------------------------------------------------------------------------------


def accuracy(stored: Stored) -> Section:
    """Accuracy and agreement over the width."""
    result, base = stored.result, stored.result.base.evaluation
    figures = []
    if stored.labelled:
        figures.append(_over_width(stored, "top1", "Top-1 accuracy", "top-1, %", None))
        low = (base.top1 or 0) - 3
        if any((p.evaluation.top1 or 0) < low for p in result.points):
            figures.append(_over_width(stored, "top1", "Top-1 accuracy near the original’s", "top-1, %", low))
    figures.append(_over_width(stored, "agreement", "Agreement with the original", "agreement, %", None))
    if any((p.evaluation.agreement or 0) < AGREEMENT_FROM for p in result.points):
        figures.append(_over_width(stored, "agreement", "Agreement near 100 %", "agreement, %", AGREEMENT_FROM))
    columns = ("method and width", "top-1 %", "difference", "s.e.", "top-5 %", "agreement %", "max LSB", "mean LSB", "samples")
    cells, marked = [], []
    for point in result.points:
        e = point.evaluation
        drop = None if e.top1 is None or base.top1 is None or point.method == "base" else e.top1 - base.top1
        cells.append(
            (
                name_of(point),
                number(e.top1),
                signed(drop) if point.method != "base" else "–",
                number(stored.standard_error(point)) if stored.labelled and point.method != "base" else "–",
                number(e.top5),
                number(e.agreement),
                number(e.max_lsb, 0),
                number(e.mean_lsb, 3),
                str(e.samples),
            )
        )
        marked.append(point.method != "base" and point == stored.safe(point.method))
    what = "; ".join(f"{method}: {WHAT_METHODS_DO[method]}" for method in result.methods if method in WHAT_METHODS_DO)
    text = [f"One sample is {number(100 / base.samples)} points." + (f" Methods: {what}." if what else "")]
    if stored.labelled:
        points = [(method, result.degradation_point(method)) for method in result.methods]
        said = ", ".join(f"{method} {'none' if k is None else f'k = {k}'}" for method, k in points)
        text.append(
            f"Degradation point, the widest k whose top-1 is more than {DEGRADATION} points below the "
            f"original's: {said}. "
            "Hollow marks are points below that limit. s.e.: at most the standard error of the difference, "
            "from the number of "
            "samples that are decided differently."
        )
    caption = "All points" + (
        "; marked: the narrowest width down to which each method keeps the accuracy" if any(marked) else ""
    )
    return Section(
        "accuracy",
        "Accuracy over the width",
        tuple(text),
        (Block(figures=tuple(figures), tables=(Table(caption, columns, rows(cells, marked)),)),),
    )


def _over_width(stored: Stored, measure: str, title: str, label: str, low: float | None) -> Figure:
    result = stored.result
    base = getattr(result.base.evaluation, measure)
    notes: dict[str, str] = {}

    def draw(axes: Axes, narrow: bool) -> None:
        place = charts.tick_widths(axes, stored.widths)
        axes.set_ylabel(label)
        axes.axhline(base, color=charts.SOFT, linestyle=(0, (5, 4)), linewidth=1.2)
        if measure == "top1":
            axes.axhline(base - DEGRADATION, color=charts.SOFT, linestyle=(0, (1, 2)), linewidth=1)
        for i, method in enumerate(result.methods):
            points = [p for p in result.of_method(method) if getattr(p.evaluation, measure) is not None]
            xs, ys = [place[p.bits] for p in points], [getattr(p.evaluation, measure) for p in points]
            axes.plot([place[BASE_BITS], *xs], [base, *ys], **{**charts.style_of(i), "marker": "none"})
            gids = [f"{measure}-{p.method}-{p.bits}" for p in points]
            hollow = [measure == "top1" and base - y > DEGRADATION for y in ys]
            charts.marks(axes, xs, ys, i, gids, hollow)
            for gid, point, y in zip(gids, points, ys, strict=True):
                notes[gid] = f"{name_of(point)}: {number(y)} %"
        if low is not None:
            axes.set_ylim(low, min(100.2, max(base, *(getattr(p.evaluation, measure) for p in result.points)) + 0.5))
        del narrow

    limit = f"dashed the original, dotted {DEGRADATION} points below it."
    if measure == "agreement":
        caption = "Share of samples that the narrowed model decides as the original does; the finer measure."
        caption = caption if low is None else "The same, the last points."
    else:
        caption = f"Over all widths: {limit}" if low is None else f"The same, the last points: {limit}"
    said = "; ".join(
        f"{method}: " + ", ".join(f"k = {p.bits} {number(getattr(p.evaluation, measure))} %" for p in result.of_method(method))
        for method in result.methods
    )
    name = f"{measure}-{'all' if low is None else 'near'}"
    svg = charts.chart(name, title, f"{title} over significant bits k. Original {number(base)} %. {said}.", draw, notes=notes)
    return Figure(title, caption, svg, series_legend(result.methods))


# -- the paper ---------------------------------------------------------------------------------------------------------


def paper(stored: Stored) -> Section | None:
    """The paper's figures for the same family; none where it has none."""
    name = pathlib.Path(stored.result.model).name
    known = figures_for(name)
    if known is None or not stored.labelled:
        return None
    result, base = stored.result, stored.result.base.evaluation.top1 or 0.0
    widths = sorted({BASE_BITS, *known.top1, *(p.bits for p in result.points)}, reverse=True)
    series = [(f"paper, {known.name}", {k: v - known.base for k, v in known.top1.items()})]
    if known.finetuned:
        series.append(("paper, fine-tuned", {k: v - known.base for k, v in known.finetuned.items()}))
    own = {m: {p.bits: (p.evaluation.top1 or 0.0) - base for p in result.of_method(m)} for m in result.methods}
    names = [*own, *(title for title, _ in series)]
    notes: dict[str, str] = {}

    def draw(axes: Axes, narrow: bool) -> None:
        place = charts.tick_widths(axes, widths)
        axes.set_ylabel("points of top-1 against base")
        axes.set_yscale("symlog", linthresh=2)
        axes.axhline(0, color=charts.SOFT, linestyle=(0, (5, 4)), linewidth=1.2)
        for i, (title, drops) in enumerate([*own.items(), *series]):
            xs, ys = [place[k] for k in drops], list(drops.values())
            if len(xs) > 1:
                axes.plot(xs, ys, **{**charts.style_of(i), "marker": "none"})
            gids = [f"paper-{i}-{k}" for k in drops]
            charts.marks(axes, xs, ys, i, gids, [False] * len(xs))
            notes.update({gid: f"{title}, k = {k}: {signed(drops[k])} points" for gid, k in zip(gids, drops, strict=True)})
        low = min(value for drops in (*own.values(), *(d for _, d in series)) for value in drops.values())
        ticks = [t for t in (2, 1, 0, -1, -2, -5, -10, -20, -50, -100) if t >= 1.2 * low]
        axes.set_yticks(ticks, [str(t) for t in ticks])
        axes.minorticks_off()
        del narrow

    cells = [("original", number(known.base), "–", *("–" for _ in own))]
    for k in widths[1:]:
        paper_drop = None if k not in known.top1 else known.top1[k] - known.base
        cells.append((f"k = {k}", number(known.top1.get(k)), signed(paper_drop), *(signed(d.get(k)) for d in own.values())))
    columns = ("", "paper, top-1 %", "paper, points", *(f"{method}, points" for method in own))
    tuned = "".join(f" After fine-tuning at {k} bits the paper reaches {v:.2f} %." for k, v in known.finetuned.items())
    return Section(
        "paper",
        "Beside the paper",
        (
            f"{SOURCE}: {known.name}, ImageNet validation set, multipliers cut off, no training.{tuned}",
            "Compare differences from base, not levels: data and files differ. The paper counts mantissa "
            "bits behind a leading one "
            "that hardware does not store, so its k is k + 1 significant bits, and its setting is `--preset paper`."
            + (" This sweep used it." if stored.result.options.get("hidden_bit") else " This sweep did not."),
        ),
        (
            Block(
                figures=(
                    Figure(
                        "Loss against base",
                        "Points of top-1 below (or above) each one’s own base; logarithmic beyond 2 points.",
                        charts.chart(
                            "paper",
                            "Loss against base, this sweep and the paper",
                            "Points of top-1 against base over significant bits k; the table has the figures.",
                            draw,
                            notes=notes,
                        ),
                        series_legend(names),
                    ),
                ),
                tables=(Table("Points against each one’s own base", columns, rows(cells)),),
            ),
        ),
    )


# -- area --------------------------------------------------------------------------------------------------------------

TYPICAL_MACS = 4  # of the three sizes the one where the rescaler's share is largest


@dataclasses.dataclass(frozen=True)
class Area:
    """Cost of an engine's width against 32 bits, per cent; between two synthesised widths, interpolated."""

    area: float
    delay: float
    area_delay: float
    interpolated: bool


def areas(macs: int) -> Callable[[int], Area | None]:
    """From a multiplier's width to the cost of a dot-product engine with so many MACs; None "
    "outside what was synthesised."""
    from tosa_rescale.hardware import read_costs, relative_costs

    known = {each.cost.bits: each for each in relative_costs(read_costs()) if each.cost.macs == macs}

    def area(bits: int) -> Area | None:
        if not min(known) <= bits <= max(known):
            return None
        low, high = max(b for b in known if b <= bits), min(b for b in known if b >= bits)
        part = (bits - low) / (high - low) if high > low else 0.0

        def between(name: str) -> float:
            return 100 * ((1 - part) * getattr(known[low], name) + part * getattr(known[high], name))

        return Area(between("transistors"), between("depth"), between("area_delay"), low != high)

    return area


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """The places of the points that no other one beats: none has less cost and as much quality, or as little and more.

    Args:
        points: cost and quality.
    """
    return [
        i
        for i, (cost, quality) in enumerate(points)
        if not any(c <= cost and q >= quality and (c, q) != (cost, quality) for c, q in points)
    ]


def hardware(stored: Stored) -> Section:
    """Accuracy over area: the Pareto front, to pick a width."""
    measure = "top1" if stored.labelled else "agreement"
    label = "top-1, %" if stored.labelled else "agreement, %"
    area = areas(TYPICAL_MACS)
    known = [
        (point, found, getattr(point.evaluation, measure))
        for point in stored.result.points
        if (found := area(stored.significant(point.bits))) is not None and getattr(point.evaluation, measure) is not None
    ]
    figures, fronts = [], []
    for name, title, axis in (
        ("area", "Accuracy over area", "area against 32 bits, %"),
        ("area_delay", "Accuracy over area times delay", "area times delay against 32 bits, %"),
    ):
        best = front([(getattr(found, name), quality) for _, found, quality in known])
        fronts.append(set(best))
        figures.append(_front_chart(stored, name, title, axis, label, known, best))
    cells, marked = [], []
    for i, (point, found, quality) in enumerate(known):
        on = [word for word, each in zip(("area", "area-delay"), fronts, strict=True) if i in each]
        about = "≈ " if found.interpolated else ""
        costs = [f"{about}{number(value, 1)}" for value in (found.area, found.delay, found.area_delay)]
        cells.append((name_of(point), number(quality), *costs, ", ".join(on) or "–"))
        marked.append(bool(on))
    columns = ("method and width", label, "area %", "delay %", "area × delay %", "on the front of")
    return Section(
        "hardware",
        "Area beside accuracy: pick a k",
        (
            f"Cost of a dot-product engine with {TYPICAL_MACS} MACs, accumulator and rescaler against the "
            f"same with 32-bit multipliers: "
            "transistors and gates on the longest path of our RTL, synthesised without a technology "
            "library, so the ratios count, not "
            "the units. `tosa-rescale hardware-cost` shows them, and those for more MACs, where the "
            "rescaler weighs less.",
            "On the front are the points that no other beats in both. A filled mark is on the front"
            + (", ≈ is interpolated between two synthesised widths." if any(a.interpolated for _, a, _ in known) else "."),
        ),
        (
            Block(
                figures=tuple(figures),
                tables=(Table("Accuracy and cost, the points on a front marked", columns, rows(cells, marked), (0, 5)),),
            ),
        ),
    )


def _front_chart(
    stored: Stored,
    name: str,
    title: str,
    axis: str,
    label: str,
    known: Sequence[tuple[SweepPoint, Area, float]],
    best: Sequence[int],
) -> Figure:
    series = {"base": None, **{method: i for i, method in enumerate(stored.result.methods)}}
    notes: dict[str, str] = {}
    step = sorted((getattr(known[i][1], name), known[i][2]) for i in best)
    top = max(quality for _, _, quality in known)
    reference = known[0][2]
    # What falls out of sight is in the table; the front never does.
    low = max(min(quality for _, _, quality in known), min(reference - 8, *(known[i][2] for i in best)))

    def draw(axes: Axes, narrow: bool) -> None:
        axes.set_xlabel(axis)
        axes.set_ylabel(label)
        axes.axhline(reference, color=charts.SOFT, linestyle=(0, (5, 4)), linewidth=1.2)
        xs, ys = [x for x, _ in step], [y for _, y in step]
        axes.step([*xs, 102], [*ys, ys[-1]], where="post", color=charts.INK, linewidth=1.2, zorder=1)
        for i, (point, found, quality) in enumerate(known):
            gid, place = f"{name}-{i}", series[point.method]
            x = getattr(found, name)
            if place is None:
                (mark,) = axes.plot([x], [quality], marker="*", markersize=9, color=charts.INK, linestyle="none")
                mark.set_gid(gid)
            else:
                charts.marks(axes, [x], [quality], place, [gid], [i not in best])
            notes[gid] = f"{name_of(point)}: {number(quality)} %, {number(x, 1)} % of the cost"
            if i in best:
                axes.annotate(str(point.bits), (x, quality), xytext=(0, 6), textcoords="offset points", ha="center", fontsize=9)
        axes.set_xlim(min(x for x, _ in step) - 6, 104)
        margin = 0.08 * (top - low) + 0.1
        axes.set_ylim(low - margin, top + 1.6 * margin)
        del narrow

    said = ", ".join(
        f"{name_of(known[i][0])} ({number(known[i][2])} % at {number(getattr(known[i][1], name), 1)} %)" for i in best
    )
    svg = charts.chart(f"front-{name}", title, f"On the front: {said}.", draw, notes=notes)
    legend = (
        *series_legend({i: method for method, i in series.items() if i is not None}, base=False),
        LegendEntry("original model (star, dashed)", "soft", dashes="5 4"),
        LegendEntry("front, labelled with k", "ink"),
    )
    return Figure(title, "Up and to the left is better; hollow marks are beaten by others.", svg, legend)


# -- outputs -----------------------------------------------------------------------------------------------------------


def outputs(stored: Stored) -> Section | None:
    """How far the outputs of the whole network move: off-by-N."""
    points = [p for p in stored.result.points[1:] if p.evaluation.histogram]
    if not points:
        return None
    steps = (0, 1, 2, 5, 10)

    def within(point: SweepPoint, limit: int) -> float:
        histogram = point.evaluation.histogram or {}
        return 100 * sum(n for d, n in histogram.items() if abs(d) <= limit) / sum(histogram.values())

    cells = [
        (name_of(p), *(number(within(p, n)) for n in steps), number(p.evaluation.max_lsb, 0), number(p.evaluation.mean_lsb, 3))
        for p in points
    ]
    columns = ("method and width", "equal", *(f"within ±{n}" for n in steps[1:]), "largest, LSB", "mean, LSB")
    shown = stored.all_shown()
    reach = min(10, max(3, *(max(map(abs, p.evaluation.histogram or {0: 1})) for p in shown.values())))
    notes: dict[str, str] = {}

    def draw(axes: Axes, narrow: bool) -> None:
        axes.set_xlabel("difference from the original, LSB")
        axes.set_ylabel("share of output values, %")
        for i, point in shown.items():
            histogram = point.evaluation.histogram or {}
            total = sum(histogram.values())
            xs = list(range(-reach, reach + 1))
            ys = [100 * histogram.get(x, 0) / total for x in xs]
            axes.plot(xs, ys, **{**charts.style_of(i), "marker": "none"})
            gids = [f"off-{i}-{x}" for x in xs]
            charts.marks(axes, xs, ys, i, gids, [False] * len(xs))
            notes.update(
                {gid: f"{name_of(point)}: {signed(x, 0)} LSB, {number(y)} %" for gid, x, y in zip(gids, xs, ys, strict=True)}
            )
        axes.set_ylim(0, None)
        axes.xaxis.set_major_locator(_whole_numbers(narrow))

    return Section(
        "outputs",
        "Off-by-N of the network’s outputs",
        ("Every output value of every sample against the original’s, in units of its last place (LSB).",),
        (
            Block(
                figures=(
                    Figure(
                        "Differences of the outputs",
                        "Each method at the width that its tile shows.",
                        charts.chart(
                            "off",
                            "Differences of the outputs",
                            "Histogram of differences; the table has the shares.",
                            draw,
                            notes=notes,
                        ),
                        series_legend({i: name_of(p) for i, p in shown.items()}, base=False),
                    ),
                ),
                tables=(Table("Per cent of output values, all points", columns, rows(cells), folded=True),),
            ),
        ),
    )


# -- multipliers and shifts --------------------------------------------------------------------------------------------


def multipliers(stored: Stored) -> Section:
    """Distributions of multipliers and shifts."""
    known = {key: value["multipliers"]["accumulator"] for key, value in stored.details.items() if "multipliers" in value}
    base = known.get(("base", BASE_BITS))
    shown = {i: p for i, p in stored.all_shown().items() if (p.method, p.bits) in known}
    title = "Multipliers and shifts"
    if base is None or not shown:
        return Section("multipliers", title, missing=_missing("the multipliers of the points", ""))
    columns = (
        "method and width",
        "multipliers",
        "widest, bits",
        "pure shifts %",
        "different m",
        "(m, s)",
        "shift e",
        "bits for e",
    )
    cells = []
    for point in stored.result.points:
        census = known.get((point.method, point.bits))
        if census is None or not census["count"]:
            continue
        shifts = sorted(int(e) for e in census["shifts"])
        span = shifts[-1] - shifts[0] + 1 if shifts else 1
        cells.append(
            (
                name_of(point),
                f"{census['count']:,}",
                str(max(map(int, census["bits"]), default=0)),
                number(100 * census["bits"].get("1", 0) / census["count"], 1),
                f"{census['distinct']:,}",
                f"{census['pairs']:,}",
                f"{shifts[0]} … {shifts[-1]}" if shifts else "–",
                str(math.ceil(math.log2(span))) if span > 1 else "0",
            )
        )
    text = (
        "A multiplier is M = f · 2⁻ᵉ with 1 ≤ f < 2: f takes the significant bits, e the shifter, and "
        "at k = 1 only e is left. "
        "Counted are the multipliers behind MAC layers, one for each channel.",
    )
    return Section(
        "multipliers",
        title,
        text,
        (
            Block(
                figures=(_shift_chart(base, shown, known), _mantissa_chart(base, shown, known)),
                tables=(Table("Multipliers behind MAC layers", columns, rows(cells), folded=True),),
            ),
        ),
    )


Census = dict[str, Any]
Known = dict[tuple[str, int], Any]


def _shift_chart(base: Census, shown: dict[int, SweepPoint], known: Known) -> Figure:
    series = {i: known[p.method, p.bits] for i, p in shown.items()}
    found = sorted({int(e) for census in (base, *series.values()) for e in census["shifts"]})
    places = list(range(found[0], found[-1] + 1)) if found else [0]

    def share(census: Census, e: int) -> float:
        return 100 * census["shifts"].get(str(e), 0) / max(1, census["count"])

    def draw(axes: Axes, narrow: bool) -> None:
        axes.bar(places, [share(base, e) for e in places], color=charts.SOFT, alpha=0.45, width=0.85)
        for i, census in series.items():
            used = [e for e in places if share(census, e) > 0]
            axes.plot(used, [share(census, e) for e in used], **{**charts.style_of(i), "linestyle": "none"})
        axes.set_xlabel("shift e")
        axes.set_ylabel("share of multipliers, %")
        axes.xaxis.set_major_locator(_whole_numbers(narrow))

    cells = [(str(e), *(number(share(census, e)) for census in (base, *series.values()))) for e in places]
    return _distribution("shifts", "Distribution of shifts", "How wide the shifter has to be.", "shift e", shown, cells, draw)


def _mantissa_chart(base: Census, shown: dict[int, SweepPoint], known: Known) -> Figure:
    series = {i: known[p.method, p.bits] for i, p in shown.items()}
    bins = len(base["mantissas"])
    left = [1 + i / bins for i in range(bins)]

    def share(census: Census, i: int) -> float:
        return 100 * census["mantissas"][i] / max(1, census["count"])

    def draw(axes: Axes, narrow: bool) -> None:
        axes.bar(left, [share(base, i) for i in range(bins)], color=charts.SOFT, alpha=0.45, width=0.9 / bins, align="edge")
        for n, census in series.items():
            used = [i for i in range(bins) if census["mantissas"][i]]
            # A narrow multiplier is the left edge of its bin.
            axes.plot([left[i] for i in used], [share(census, i) for i in used], **{**charts.style_of(n), "linestyle": "none"})
        axes.set_yscale("symlog", linthresh=1)
        axes.set_ylim(0, 130)
        axes.set_yticks([0, 1, 10, 100], ["0", "1", "10", "100"])
        axes.set_xlabel("f = M · 2ᵉ")
        axes.set_ylabel("share of multipliers, %")
        del narrow

    cells = [(f"{left[i]:.5g}", *(number(share(c, i)) for c in (base, *series.values()))) for i in range(bins)]
    caption = "The values that are left for the multiplier to take; logarithmic above 1 %."
    return _distribution("mantissas", "Distribution of multipliers", caption, "f from", shown, cells, draw)


def _distribution(
    name: str,
    title: str,
    caption: str,
    column: str,
    shown: dict[int, SweepPoint],
    cells: Sequence[Sequence[str]],
    draw: charts.Draw,
) -> Figure:
    names = {i: name_of(point) for i, point in shown.items()}
    svg = charts.chart(name, title, "Share of multipliers; the table below has the figures.", draw)
    legend = (*series_legend(names, base=False), LegendEntry("original model (bars)", "soft"))
    return Figure(title, caption, svg, legend, Table(f"{title}, per cent", (column, "original", *names.values()), rows(cells)))


# -- weights -----------------------------------------------------------------------------------------------------------


def weights(stored: Stored) -> Section:
    """What the methods did to the weights."""
    known = {key: value["weights"] for key, value in stored.details.items() if value.get("weights")}
    title = "Weights that changed"
    if not any(method != "base" for method, _ in known):
        return Section("weights", title, missing=_missing("the changes of weights", ""))
    points = [p for p in stored.result.points[1:] if known.get((p.method, p.bits), {}).get("touched")]
    if not points:
        return Section("weights", title, ("No point of this sweep changes a weight.",))
    cells = []
    for point in points:
        change = known[point.method, point.bits]
        largest = max((layer["largest"] for layer in change["layers"]), default=0)
        biases = sum(layer["biases_changed"] for layer in change["layers"])
        cells.append(
            (
                name_of(point),
                number(change["percent"]),
                number(change["mean_absolute"]),
                str(largest),
                f"{change['touched']} of {len(change['layers'])}",
                f"{biases:,}",
            )
        )
    columns = ("method and width", "changed %", "mean |change|", "largest", "layers touched", "biases changed")
    shown = {i: p for i, p in stored.all_shown().items() if p in points}
    figures = (_weight_chart(shown, known),) if shown else ()
    return Section(
        "weights",
        title,
        (
            "In steps of the weight grid. Compensation multiplies a channel’s weights by M / M_q and rounds "
            "them again, so most of "
            "them move; fine-tuning moves few, by single steps.",
        ),
        (
            Block(
                figures=figures, tables=(Table("Changes against the original, all points", columns, rows(cells), folded=True),)
            ),
        ),
    )


def _weight_chart(shown: dict[int, SweepPoint], known: Known) -> Figure:
    changed = {i: known[p.method, p.bits]["layers"] for i, p in shown.items()}
    names = {i: name_of(point) for i, point in shown.items()}
    layers = [layer["name"] for layer in next(iter(changed.values()))]
    series = {i: [_mean_change(layer) for layer in each] for i, each in changed.items()}

    def draw(axes: Axes, narrow: bool) -> None:
        for i, values in series.items():
            look = {**charts.style_of(i), "markersize": 3 if narrow else 4, "linewidth": 1.2}
            axes.plot(range(1, len(values) + 1), values, **look)
        axes.set_xlabel("layer, from the input")
        axes.set_ylabel("mean |change|, all weights")
        axes.set_ylim(0, None)
        axes.xaxis.set_major_locator(_whole_numbers(narrow))

    table = Table(
        "Mean absolute change over all weights of a layer",
        ("layer", *names.values()),
        rows([(layer, *(number(values[i]) for values in series.values())) for i, layer in enumerate(layers)]),
    )
    svg = charts.chart(
        "weights", "Change of weights by layer", "Mean absolute change by layer; the table has the figures.", draw
    )
    return Figure(
        "Change of weights by layer",
        "Mean absolute change over all weights of a layer, in steps.",
        svg,
        series_legend(names, base=False),
        table,
    )


def _mean_change(layer: dict[str, Any]) -> float:
    return layer["mean_absolute"] * layer["changed"] / layer["weights"] if layer["weights"] else 0.0


# -- errors of single layers -------------------------------------------------------------------------------------------

INNER_BITS = 32  # tensors between the rescales of an addition: their LSB means nothing to anyone


def layers(stored: Stored) -> Section:
    """The error of each rescale: the paper's Eq. 5 and what the integers show."""
    title = "Error of every rescale"
    found = {
        name_of(point): stored.details[point.method, point.bits]["errors"]
        for point in stored.all_shown().values()
        if stored.details.get((point.method, point.bits), {}).get("errors")
    }
    found.update(stored.errors)
    if not found:
        return Section(
            "layers",
            title,
            missing="Not measured. `tosa-rescale sweep` with the same options, the same folder and `--errors 16` "
            "measures it on 16 samples"
            " for every point; `tosa-rescale errors MODEL --reference ORIGINAL --data DATA --json "
            "DIR/errors-NAME.json` for one model.",
        )
    text = (
        "A rescale by M_q in place of M errs by e = S · a · (M_q − M) + S · d, with a the accumulator "
        "and d the rounding, uniform in ±½ "
        "(Eq. 5 of the paper). Predicted is the spread of this e, measured that of the integers: each "
        "rescale alone, fed with what the "
        "original feeds to its layer. Where weights absorb the multiplier’s change, what they "
        "leave of it is predicted. "
        "End to end is the narrowed network’s tensor against the original’s. All in LSB of the tensor.",
    )
    return Section("layers", title, text, tuple(_layer_block(i, name, each) for i, (name, each) in enumerate(found.items())))


def _layer_block(number_: int, name: str, errors: Sequence[dict[str, Any]]) -> Block:
    shown = [each for each in errors if each["output_bits"] < INNER_BITS]
    places = range(1, len(shown) + 1)

    def spread(each: dict[str, Any], part: str) -> float:
        return math.nan if each[part] is None else each[part]["std"]

    def alone(axes: Axes, narrow: bool) -> None:
        axes.plot(places, [spread(e, "predicted") for e in shown], **{**charts.style_of(1), "marker": "none"})
        axes.plot(places, [spread(e, "measured") for e in shown], **{**charts.style_of(0), "linestyle": "none"})
        finish(axes, narrow)

    def chain(axes: Axes, narrow: bool) -> None:
        axes.plot(places, [spread(e, "end_to_end") for e in shown], **{**charts.style_of(3), "markersize": 4})
        finish(axes, narrow)

    def finish(axes: Axes, narrow: bool) -> None:
        axes.set_xlabel("rescale, from the input")
        axes.set_ylabel("standard deviation, LSB")
        axes.set_ylim(0, None)
        axes.xaxis.set_major_locator(_whole_numbers(narrow))

    total = _joined([each["isolated"] for each in shown if each["isolated"]])

    def off(axes: Axes, narrow: bool) -> None:
        names, shares = zip(*_histogram(total), strict=True)
        axes.bar(range(len(names)), shares, color=charts.COLOURS[0], width=0.8)
        axes.set_xticks(range(len(names)), names)
        axes.set_yscale("symlog", linthresh=0.1)
        axes.set_ylim(0, 150)
        axes.set_yticks([0, 0.1, 1, 10, 100], ["0", "0.1", "1", "10", "100"])
        axes.set_xlabel("LSB")
        axes.set_ylabel("share of values, %")
        del narrow

    figures = (
        Figure(
            "Each rescale alone",
            "Predicted by Eq. 5, and measured.",
            charts.chart(f"alone-{number_}", f"{name}: each rescale alone", "The table below has the figures.", alone),
            (
                LegendEntry("predicted", "s1", dashes=series_legend(["", ""], base=False)[1].dashes),
                LegendEntry("measured", "s0", marker=series_legend([""], base=False)[0].marker),
            ),
        ),
        Figure(
            "End to end",
            "How errors add up on the way through the network.",
            charts.chart(f"chain-{number_}", f"{name}: end to end", "The table below has the figures.", chain),
            (LegendEntry("narrowed against original", "s3", marker=series_legend(["", "", "", ""], base=False)[3].marker),),
        ),
        Figure(
            "Off-by-N of the rescales",
            "Each alone, values of all layers together; logarithmic above 0.1 %.",
            charts.chart(f"steps-{number_}", f"{name}: off-by-N of the rescales", "The table has the figures.", off),
            table=Table(
                f"{name}: off-by-N of all rescales together",
                ("LSB", "share %"),
                rows([(step, number(share, 3)) for step, share in _histogram(total)]),
            ),
        ),
    )
    cells = [
        (
            each["name"],
            each["op"] + (", absorbed" if each["absorbed"] else ""),
            str(each["bits"]),
            *(number(None if each[part] is None else each[part]["std"]) for part in ("predicted", "measured")),
            *_shares(each["isolated"]),
            number(each["end_to_end"]["std"]),
            number(each["end_to_end"]["largest"], 0),
        )
        for each in shown
    ]
    columns = (
        "rescale", "op", "bits", "predicted", "measured", "equal %", "±1 %", "±2 %", "more %", "end to end", "largest",
    )  # fmt: skip
    tables = (
        Table(
            f"{name}: standard deviation in LSB, and off-by-N of each rescale alone", columns, rows(cells), (0, 1), folded=True
        ),
    )
    return Block(name, figures=figures, tables=tables)


def _shares(difference: dict[str, Any] | None) -> tuple[str, ...]:
    """Per cent of values that are equal, off by one, by two, by more."""
    if difference is None:
        return ("–",) * 4
    counts = _joined([difference])
    total = max(1, sum(counts.values()))
    near = [sum(n for step, n in counts.items() if abs(step) == distance) for distance in (0, 1, 2)]
    return tuple(number(100 * count / total) for count in (*near, total - sum(near)))


def _joined(differences: Sequence[dict[str, Any]]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for difference in differences:
        for step, count in difference["histogram"].items():
            counts[int(step)] = counts.get(int(step), 0) + count
    return counts


def _histogram(counts: dict[int, int], reach: int = 3) -> list[tuple[str, float]]:
    """Per cent of values by difference; those beyond the reach at either end."""
    total = max(1, sum(counts.values()))
    inner = [(signed(step, 0) if step else "0", counts.get(step, 0)) for step in range(-reach, reach + 1)]
    below = sum(n for step, n in counts.items() if step < -reach)
    above = sum(n for step, n in counts.items() if step > reach)
    ends = [(f"<{signed(-reach, 0)}", below), *inner, (f">{signed(reach, 0)}", above)]
    return [(name, 100 * count / total) for name, count in ends]


# -- fine-tuning -------------------------------------------------------------------------------------------------------


def training(stored: Stored) -> Section:
    """Accuracy over epochs of fine-tuned models, the paper's figure 3, and what training changed."""
    title, found = "Fine-tuning", _trainings(stored)
    if not found:
        return Section(
            "training",
            title,
            missing="No fine-tuned model is among the results. `tosa-rescale sweep` with `finetune` among its "
            "`--methods` trains "
            "one for every width; `tosa-rescale finetune MODEL --bits K --data DATA -o tuned.mlirbc "
            "--json DIR/finetune-K.json` "
            "puts a single one there; then run `tosa-rescale report DIR`.",
        )
    label, value = _epoch_measure([entry for each in found.values() for entry in each["history"]])
    notes: dict[str, str] = {}

    def draw(axes: Axes, narrow: bool) -> None:
        for i, (name, each) in enumerate(found.items()):
            xs, ys = [entry["epoch"] for entry in each["history"]], [value(entry) for entry in each["history"]]
            axes.plot(xs, ys, **{**charts.style_of(i), "marker": "none"})
            gids = [f"epoch-{i}-{x}" for x in xs]
            charts.marks(axes, xs, ys, i, gids, [x != each.get("best_epoch", x) for x in xs])
            notes.update({g: f"{name}, epoch {x}: {number(y)} %" for g, x, y in zip(gids, xs, ys, strict=True)})
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.xaxis.set_major_locator(_whole_numbers(narrow))

    cells, marked = [], []
    for name, each in found.items():
        for entry in each["history"]:
            weights = entry.get("weights", {})
            cells.append(
                (
                    name,
                    str(entry["epoch"]),
                    number(value(entry)),
                    number(entry.get("validation_loss"), 4),
                    number(weights.get("percent")),
                    number(weights.get("mean_absolute")),
                    number(weights.get("largest"), 0),
                )
            )
            marked.append(entry["epoch"] == each.get("best_epoch"))
    columns = ("model", "epoch", label, "held-out loss", "weights changed %", "mean |change|", "largest")
    svg = charts.chart("epochs", "Accuracy over epochs", "The table below has the figures.", draw, notes=notes)
    figure = Figure(
        "Accuracy over epochs",
        "Epoch 0 is the narrowed model before training and without known gains; the epoch that was kept is filled.",
        svg,
        series_legend(list(found), base=False),
    )
    tables = [Table("Every epoch, the one that was kept marked", columns, rows(cells, marked))]
    changed = {name: each["changes"]["layers"] for name, each in found.items() if each.get("changes", {}).get("layers")}
    if changed:
        layer_cells = [
            (name, layer["name"], f"{layer['weights']:,}", number(100 * layer["changed"] / max(1, layer["weights"])),
             number(layer["mean_absolute"]), str(layer["largest"]))
            for name, each in changed.items()
            for layer in each
        ]  # fmt: skip
        columns = ("model", "layer", "weights", "changed %", "mean |change|", "largest")
        tables.append(Table("What training changed, layer by layer", columns, rows(layer_cells), (0, 1), folded=True))
    return Section("training", title, blocks=(Block(figures=(figure,), tables=tuple(tables)),))


def _trainings(stored: Stored) -> dict[str, dict[str, Any]]:
    """Name to history, best epoch and changes of every training that is known: of points, and of files beside them."""
    found = {name_of(point): point.training for point in stored.result.points if point.training}
    found.update({name: values for name, values in stored.finetuned.items() if values.get("history")})
    return found


def _epoch_measure(history: Sequence[dict[str, Any]]) -> tuple[str, Callable[[dict[str, Any]], float]]:
    """What all epochs have: accuracy on the samples that the sweep scores, else agreement on "
    "those, or on held-out ones."""
    for name, label in (("top1", "top-1, %"), ("agreement", "agreement, %")):
        if all(entry.get("scored", {}).get(name) is not None for entry in history):
            return label, lambda entry, name=name: entry["scored"][name]
    return "agreement on held-out samples, %", lambda entry: entry["agreement"]


# -- provenance --------------------------------------------------------------------------------------------------------


def provenance(stored: Stored) -> Section:
    """Versions, options, seeds and hashes: what it takes to get these figures again."""
    result, known = stored.result, stored.result.provenance
    calibration = known.get("calibration") or {}
    pairs: list[tuple[str, Any]] = [
        ("model", pathlib.Path(result.model).name),
        ("SHA-256 of the file", known.get("model_file_sha256")),
        ("SHA-256 of the module", known.get("module_sha256")),
        ("data", f"{pathlib.Path(result.data).name}, {result.base.evaluation.samples} samples"),
        ("SHA-256 of data and labels", known.get("data_sha256")),
        ("calibration", ", ".join(f"{key} {value}" for key, value in calibration.items()) or None),
        ("preprocessing", _pairs(known.get("preprocessing") or {})),
        ("options of the narrowing", _pairs({k: v for k, v in result.options.items() if k != "bits"})),
        ("command", known.get("command")),
        ("measured", known.get("date")),
        *((package, version) for package, version in (known.get("versions") or {}).items()),
    ]
    cells = [(name, str(value)) for name, value in pairs if value]
    lacks = "" if known.get("module_sha256") else _missing("hashes, calibration and command", "")
    table = Table("What the figures came from", ("what", "value"), rows(cells), text=(0, 1))
    return Section("provenance", "Provenance", blocks=(Block(tables=(table,)),), missing=lacks)


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items() if value is not None)


def _missing(what: str, option: str) -> str:
    again = f"`tosa-rescale sweep` with the same options{option}"
    return f"These results do not hold {what}: an older version wrote them. {again} and the same folder adds what is missing."


def _whole_numbers(narrow: bool) -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=6 if narrow else 12, integer=True)
