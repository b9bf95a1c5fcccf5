# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The error of each rescale: the source paper's Eq. 5 and what the integers show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tosa_rescale.reporting.blocks import Block, Figure, Section, Table, number, rows, signed
from tosa_rescale.reporting.charts import Canvas, Chart
from tosa_rescale.reporting.stored import Stored, name_of
from tosa_rescale.reporting.style import COLOURS, entry

INNER_BITS = 32  # tensors between the rescales of an addition: their LSB means nothing to anyone
MEASURED, PREDICTED, END_TO_END = 0, 1, 3  # places in the order of colours

Errors = Sequence[Mapping[str, Any]]
"""What tosa_rescale.measure.rescale_error found, one entry a rescale."""

TEXT = (
    "A rescale by M_q in place of M errs by e = S · a · (M_q − M) + S · d, with a the accumulator and d the rounding, uniform "
    "in ±½ (Eq. 5 of the paper). Predicted is the spread of this e, measured that of the integers: each rescale alone, fed "
    "with what the original feeds to its layer. Where weights absorb the multiplier’s change, what they leave of it is "
    "predicted. End to end is the narrowed network’s tensor against the original’s. All in LSB of the tensor.",
)
MISSING = (
    "Not measured. `tosa-rescale sweep` with the same options, the same folder and `--errors 16` measures it on 16 samples for "
    "every point; `tosa-rescale errors MODEL --reference ORIGINAL --data DATA --json DIR/errors-NAME.json` for one model."
)


def section(stored: Stored) -> Section:
    """The error of each rescale of the points that the tiles show, and of models whose errors lie beside the sweep."""
    title = "Error of every rescale"
    found: dict[str, Errors] = {
        name_of(point): stored.details[point.method, point.bits]["errors"]
        for point in stored.all_shown().values()
        if stored.details.get((point.method, point.bits), {}).get("errors")
    }
    found.update(stored.errors)
    if not found:
        return Section("layers", title, missing=MISSING)
    return Section("layers", title, TEXT, tuple(_block(i, name, each) for i, (name, each) in enumerate(found.items())))


def _block(place: int, name: str, errors: Errors) -> Block:
    shown = [each for each in errors if each["output_bits"] < INNER_BITS]
    return Block(name, figures=(_alone(place, name, shown), _chain(place, name, shown), _steps(place, name, shown)),
                 tables=(_table(name, shown),))  # fmt: skip


def _spread(each: Mapping[str, Any], part: str) -> float:
    return math.nan if each[part] is None else each[part]["std"]


def _finish(canvas: Canvas, *series: Sequence[float]) -> None:
    canvas.labels("rescale, from the input", "standard deviation, LSB")
    canvas.from_zero([(x, y) for values in series for x, y in enumerate(values, 1)])
    canvas.whole_numbers()


def _alone(place: int, name: str, shown: Errors) -> Figure:
    predicted, measured = ([_spread(each, part) for each in shown] for part in ("predicted", "measured"))

    def draw(canvas: Canvas) -> None:
        canvas.line(PREDICTED, range(1, len(shown) + 1), predicted)
        canvas.marks(MEASURED, range(1, len(shown) + 1), measured)
        _finish(canvas, predicted, measured)

    chart = Chart(f"alone-{place}", "Each rescale alone", f"{name}: the table below has the figures.", draw)
    legend = (entry(PREDICTED, "predicted", marker=False), entry(MEASURED, "measured", line=False))
    return Figure(chart, "Predicted by Eq. 5, and measured; ▲ is beyond the axis.", legend)


def _chain(place: int, name: str, shown: Errors) -> Figure:
    values = [_spread(each, "end_to_end") for each in shown]

    def draw(canvas: Canvas) -> None:
        canvas.line(END_TO_END, range(1, len(shown) + 1), values)
        canvas.marks(END_TO_END, range(1, len(shown) + 1), values, markersize=4)
        _finish(canvas, values)

    chart = Chart(f"chain-{place}", "End to end", f"{name}: the table below has the figures.", draw)
    caption = "How errors add up on the way through the network; ▲ is beyond the axis."
    return Figure(chart, caption, (entry(END_TO_END, "narrowed against original"),))


def _steps(place: int, name: str, shown: Errors) -> Figure:
    bars = _histogram(_joined([each["isolated"] for each in shown if each["isolated"]]))

    def draw(canvas: Canvas) -> None:
        axes = canvas.axes
        axes.bar(range(len(bars)), [share for _, share in bars], color=COLOURS[0], width=0.8)
        axes.set_xticks(range(len(bars)), [step for step, _ in bars])
        axes.set_yscale("symlog", linthresh=0.1)
        axes.set_ylim(0, 150)
        axes.set_yticks([0, 0.1, 1, 10, 100], ["0", "0.1", "1", "10", "100"])
        canvas.labels("LSB", "share of values, %")

    chart = Chart(f"steps-{place}", "Off-by-N of the rescales", f"{name}: the table has the figures.", draw)
    cells = rows([(step, number(share, 3)) for step, share in bars])
    table = Table(f"{name}: off-by-N of all rescales together", ("LSB", "share, %"), cells)
    return Figure(chart, "Each alone, values of all layers together; logarithmic above 0.1 %.", table=table)


def _table(name: str, shown: Errors) -> Table:
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
        "rescale", "op", "bits", "predicted", "measured", "equal, %", "±1, %", "±2, %", "more, %", "end to end", "largest",
    )  # fmt: skip
    caption = f"{name}: standard deviation in LSB, and off-by-N of each rescale alone"
    return Table(caption, columns, rows(cells), (0, 1), folded=True)


def _shares(difference: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Per cent of values that are equal, off by one, by two, by more."""
    if difference is None:
        return ("–",) * 4
    counts = _joined([difference])
    total = max(1, sum(counts.values()))
    near = [sum(n for step, n in counts.items() if abs(step) == distance) for distance in (0, 1, 2)]
    return tuple(number(100 * count / total) for count in (*near, total - sum(near)))


def _joined(differences: Sequence[Mapping[str, Any]]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for difference in differences:
        for step, count in difference["histogram"].items():
            counts[int(step)] = counts.get(int(step), 0) + count
    return counts


def _histogram(counts: Mapping[int, int], reach: int = 3) -> list[tuple[str, float]]:
    """Per cent of values by difference; those beyond the reach at either end."""
    total = max(1, sum(counts.values()))
    inner = [(signed(step, 0) if step else "0", counts.get(step, 0)) for step in range(-reach, reach + 1)]
    below = sum(n for step, n in counts.items() if step < -reach)
    above = sum(n for step, n in counts.items() if step > reach)
    ends = [(f"<{signed(-reach, 0)}", below), *inner, (f">{signed(reach, 0)}", above)]
    return [(name, 100 * count / total) for name, count in ends]
