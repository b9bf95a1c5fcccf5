# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Progress of long work: rate and remaining time on a terminal, nothing elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Protocol

Advance = Callable[[int], None]


class Progress(Protocol):
    """Shows work under way."""

    def task(self, label: str, total: int) -> contextlib.AbstractContextManager[Advance]:
        """One piece of work of `total` units; what it gives is called with the units done since the last call."""
        ...


class Silent:
    """Shows nothing."""

    @contextlib.contextmanager
    def task(self, label: str, total: int) -> Iterator[Advance]:
        del label, total
        yield lambda _count: None


class Bars:
    """Progress bars on standard error; plain lines where that is not a terminal."""

    @contextlib.contextmanager
    def task(self, label: str, total: int) -> Iterator[Advance]:
        import rich.console
        import rich.progress as bars
        import rich.text

        class Rate(bars.ProgressColumn):
            def render(self, task: bars.Task) -> rich.text.Text:
                return rich.text.Text(f"{task.speed:.1f}/s" if task.speed else "-/s")

        console = rich.console.Console(stderr=True)
        if not sys.stderr.isatty():
            console.print(f"{label} ...", highlight=False)
            yield lambda _count: None
            return
        columns = (
            bars.TextColumn("{task.description}"),
            bars.BarColumn(),
            bars.MofNCompleteColumn(),
            Rate(),
            bars.TimeRemainingColumn(),
        )
        with bars.Progress(*columns, console=console, transient=True) as shown:
            identity = shown.add_task(label, total=total)
            yield lambda count: shown.advance(identity, count)
