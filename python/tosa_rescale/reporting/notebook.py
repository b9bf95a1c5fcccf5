# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A sweep as a notebook shows it: the chart of the metric that decides over the width."""

from __future__ import annotations

import base64
import html

from tosa_rescale.core.errors import MissingToolError
from tosa_rescale.reporting.sections.accuracy import metric_figure
from tosa_rescale.reporting.stored import Stored, stored_beside
from tosa_rescale.sweeping.results import SweepResult


def chart(result: SweepResult) -> str:
    """An `<img>` with the chart and its text alternative; empty where matplotlib is not installed.

    An image of its own and no inline SVG: a page of several sweeps would have the same ids several times.
    """
    beside = Stored(result, {}, {}, {}) if result.folder is None else stored_beside(result.folder, result)
    figure = metric_figure(beside)
    try:
        drawn = figure.chart.alone(figure.legend)
    except MissingToolError:
        return ""
    data = base64.b64encode(drawn.encode()).decode()
    alternative = html.escape(figure.chart.description)
    return f'<img style="max-width: 44em; width: 100%" alt="{alternative}" src="data:image/svg+xml;base64,{data}"/>'
