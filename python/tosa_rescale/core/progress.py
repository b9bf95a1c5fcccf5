# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Progress of long work: rate and remaining time on a terminal, nothing elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any, Protocol

Advance = Callable[[int], None]


class Progress(Protocol):
    """Shows work under way."""

    def task(self, label: str, total: int | None) -> contextlib.AbstractContextManager[Advance]:
        """One piece of work; what it gives is called with the units done since the last call.

        Args:
            label: what it is.
            total: its units; None: nobody knows how long it takes, and nothing is counted.
        """
        ...


class Silent:
    """Shows nothing."""

    @contextlib.contextmanager
    def task(self, label: str, total: int | None) -> Iterator[Advance]:
        del label, total
        yield lambda _count: None


class Bars:
    """Progress bars on standard error, tasks within tasks below one another; plain lines where that is not a terminal.

    What has no total shows how long it has been going on.
    """

    def __init__(self) -> None:
        self._shown: Any = None
        self._tasks = 0

    @contextlib.contextmanager
    def task(self, label: str, total: int | None) -> Iterator[Advance]:
        if not sys.stderr.isatty():
            if total is not None:
                sys.stderr.write(f"{label} ...\n")
            yield lambda _count: None
            return
        if self._shown is None:
            self._shown = _bars()
            self._shown.start()
        shown, self._tasks = self._shown, self._tasks + 1
        identity = shown.add_task(label, total=total)
        try:
            yield lambda count: shown.advance(identity, count)
        finally:
            shown.remove_task(identity)
            self._tasks -= 1
            if not self._tasks:  # rich allows one display at a time, so all tasks share it
                shown.stop()
                self._shown = None


def _bars() -> Any:
    """What shows the tasks: counted ones with rate and remaining time, others with the time that they have taken."""
    import rich.console
    import rich.progress as bars
    import rich.text

    class Counted(bars.ProgressColumn):
        def render(self, task: bars.Task) -> rich.text.Text:
            if task.total is None:
                return rich.text.Text()
            return rich.text.Text(f"{task.completed:.0f}/{task.total:.0f}" + (f" {task.speed:.1f}/s" if task.speed else ""))

    class Time(bars.ProgressColumn):
        def render(self, task: bars.Task) -> rich.text.Text:
            seconds = task.elapsed if task.total is None else task.time_remaining
            if seconds is None:
                return rich.text.Text()
            minutes, rest = divmod(int(seconds), 60)
            return rich.text.Text(f"{minutes}:{rest:02d}{'' if task.total is None else ' left'}")

    columns = (bars.SpinnerColumn(), bars.TextColumn("{task.description}"), bars.BarColumn(), Counted(), Time())
    return bars.Progress(*columns, console=rich.console.Console(stderr=True), transient=True)
