# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Progress of long work: rate and remaining time on a terminal and in a notebook, nothing elsewhere."""

from __future__ import annotations

import contextlib
import html
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from tosa_rescale.core.errors import OptionError

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
        self._lock = threading.Lock()  # something may be compiled beside other work

    @contextlib.contextmanager
    def task(self, label: str, total: int | None) -> Iterator[Advance]:
        if not sys.stderr.isatty():
            if total is not None:
                sys.stderr.write(f"{label} ...\n")
            yield lambda _count: None
            return
        with self._lock:
            if self._shown is None:
                self._shown = _bars()
                self._shown.start()
            shown, self._tasks = self._shown, self._tasks + 1
        identity = shown.add_task(label, total=total)
        try:
            yield lambda count: shown.advance(identity, count)
        finally:
            shown.remove_task(identity)
            with self._lock:
                self._tasks -= 1
                if not self._tasks:  # rich allows one display at a time, so all tasks share it
                    shown.stop()
                    self._shown = None


class Cell:
    """Progress in the cell of a notebook: one line a task, tasks within tasks below one another; gone when all are done.

    It stays in the cell that first showed it: each call makes one of its own (`progress=True`).
    """

    def __init__(self) -> None:
        self._tasks: list[_Line] = []
        self._handle: Any = None
        self._lock = threading.Lock()  # a task may be advanced from any thread
        self._drawn = 0.0

    @contextlib.contextmanager
    def task(self, label: str, total: int | None) -> Iterator[Advance]:
        line = _Line(label, total)
        with self._lock:
            self._tasks.append(line)
            self._draw(now=True)

        def advance(count: int) -> None:
            with self._lock:
                line.done += count
                self._draw()

        try:
            yield advance
        finally:
            with self._lock:
                self._tasks.remove(line)
                self._draw(now=True)

    def _draw(self, now: bool = False) -> None:
        """Sends the lines to the notebook, a few times a second at most."""
        import IPython.display

        if not now and time.monotonic() - self._drawn < _BETWEEN_DRAWINGS:
            return
        self._drawn = time.monotonic()
        shown = IPython.display.HTML("".join(each.html() for each in self._tasks))
        if self._handle is None:
            self._handle = IPython.display.display(shown, display_id=True)
        else:
            self._handle.update(shown)


_BETWEEN_DRAWINGS = 0.2  # seconds


class _Line:
    """A task of a Cell."""

    def __init__(self, label: str, total: int | None) -> None:
        self.label, self.total, self.done, self.began = label, total, 0, time.monotonic()

    def html(self) -> str:
        if self.total is None:
            return f"<div>{html.escape(self.label)} ...</div>"
        seconds = time.monotonic() - self.began
        left = f", {_clock(seconds * (self.total - self.done) / self.done)} left" if self.done else ""
        return (
            f'<div><progress value="{self.done}" max="{max(1, self.total)}"></progress> {html.escape(self.label)}'
            f" {self.done}/{self.total}{left}</div>"
        )


def chosen(progress: Progress | bool | None) -> Progress:
    """What shows the work of a call from Python, and the compiler's.

    Args:
        progress: what is to show it; True: this terminal or notebook, or plain lines where it is neither; False: nothing; None:
            as True in a terminal and a notebook, else nothing.

    Raises:
        OptionError: it is none of these.
    """
    from tosa_rescale_runtime import watch_compiler

    if isinstance(progress, bool) or progress is None:
        notebook = in_notebook()
        silent = progress is False or (progress is None and not notebook and not sys.stderr.isatty())
        progress = Silent() if silent else Cell() if notebook else Bars()
    if not callable(getattr(progress, "task", None)):
        raise OptionError(f"progress: {type(progress).__name__} shows no progress; give True, False, Bars() or Silent()")
    shown = progress
    watch_compiler(lambda: shown.task("compiling", None))
    return shown


def in_notebook() -> bool:
    """This process is the kernel of a notebook: what is displayed goes to its cells."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"


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
            return rich.text.Text(f"{_clock(seconds)}{'' if task.total is None else ' left'}")

    columns = (bars.SpinnerColumn(), bars.TextColumn("{task.description}"), bars.BarColumn(), Counted(), Time())
    return bars.Progress(*columns, console=rich.console.Console(stderr=True), transient=True)
