# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Accuracy over multiplier width as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tosa_rescale.core.errors import MissingToolError
from tosa_rescale.core.files import PathLike, atomic_write

if TYPE_CHECKING:
    from tosa_rescale.sweeping.results import SweepResult


def write_plot(path: PathLike, result: SweepResult) -> None:
    """Draws top-1 (agreement where there are no labels) over k, with base and degradation points.

    Raises:
        MissingToolError: matplotlib is not installed.
        OutputError: the file cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingToolError("plots need matplotlib; pip install tosa-rescale[report]") from None

    labelled = result.base.evaluation.top1 is not None
    measure = "top1" if labelled else "agreement"
    widths = sorted({point.bits for point in result.points}, reverse=True)
    place = {bits: i for i, bits in enumerate(widths)}  # evenly spaced: 32 to 8 is of no more interest than 4 to 3

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    base = getattr(result.base.evaluation, measure)
    axes.axhline(base, color="0.5", linestyle="--", linewidth=1, label=f"original model ({base:.2f} %)")
    for method in result.methods:
        points = result.of_method(method)
        (line,) = axes.plot(
            [place[p.bits] for p in points], [getattr(p.evaluation, measure) for p in points], "o-", label=method
        )
        fallen = result.degradation_point(method)
        if fallen is not None:
            axes.axvline(place[fallen], color=line.get_color(), linestyle=":", linewidth=1)
            axes.annotate(
                f"{method}: more than 0.5 points\nbelow base from k = {fallen}",
                (place[fallen], axes.get_ylim()[0]),
                xytext=(-6, 8),
                textcoords="offset points",
                ha="right",
                fontsize=8,
                color=line.get_color(),
            )
    axes.set_xticks(range(len(widths)), [str(bits) for bits in widths])
    axes.set_xlabel("significant bits of the rescale multiplier, k")
    axes.set_ylabel("top-1 accuracy, %" if labelled else "agreement with the original, %")
    axes.set_title(f"{result.model.rsplit('/', 1)[-1]}: {result.base.evaluation.samples} samples")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=130, format="png")
