# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Worker processes that run executables.

IREE's Python bindings hold the interpreter lock while a model runs, so threads of one process take turns; processes do not.
A worker is started when it is first needed, keeps the last executable that it was given, and serves any executable after
that. It ends when its input does, so none outlives the process that started it.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import re
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .errors import ExecutionError, one_line
from .loaded import Loaded

_ERROR = re.compile(r"\b(error|fatal|failed|abort|assert)", re.IGNORECASE)

_idle: list[Worker] = []


class Worker:
    """One worker process; used by one thread at a time."""

    def __init__(self) -> None:
        """Starts the process."""
        root = str(Path(__file__).parents[1])
        path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        # Not a pipe, which fills up when nobody reads it. `close` closes it.
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from tosa_rescale_runtime.workers import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._messages,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,  # Ctrl-C is for the process that started it.
        )
        self._loaded: uuid.UUID | None = None

    def run(self, executable: Loaded, arrays: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        """Runs some samples one by one.

        Args:
            executable: what to run; sent to the worker when it is not the one it has.
            arrays: for each input an array [n, ...] of samples.

        Returns:
            For each output an array [n, ...].

        Raises:
            ExecutionError: IREE failed, or the worker ended.
        """
        if self._loaded != executable.identity:
            fields = (
                executable.vmfb,
                executable.signature,
                dict(executable.parameters),
                executable.taps,
                executable.tap_specs,
            )
            self._ask(("load", fields))
            self._loaded = executable.identity
        return self._ask(("run", list(arrays)))

    def _ask(self, request: tuple[str, Any]) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            pickle.dump(request, self._process.stdin, protocol=5)
            self._process.stdin.flush()
            failure, answer = pickle.load(self._process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError):
            raise ExecutionError(self._why_it_ended()) from None
        if failure is not None:
            raise ExecutionError(failure)
        return answer

    def _why_it_ended(self) -> str:
        """One line on a process that ended without an answer: who killed it, or its own first error."""
        status = self._process.wait()
        if status == -signal.SIGKILL:
            return "a worker process was killed (SIGKILL), as the kernel does when memory is short; use fewer workers"
        ended = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        self._messages.seek(0)
        said = first_error(self._messages.read().decode(errors="replace"))
        return f"a worker process failed ({ended}){': ' + said if said else ' and said nothing'}"

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def close(self) -> None:
        """Ends the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._process.wait()
        self._messages.close()


@contextlib.contextmanager
def borrow() -> Iterator[Worker]:
    """Lends an idle worker, or a new one."""
    worker = _take_idle() or Worker()
    try:
        yield worker
    finally:
        if worker.alive:
            _idle.append(worker)
        else:
            worker.close()


def _take_idle() -> Worker | None:
    while True:
        try:
            worker = _idle.pop()  # Atomic, as is `append`: no lock.
        except IndexError:
            return None
        if worker.alive:
            return worker
        worker.close()  # Killed by someone since.


@atexit.register
def close_all() -> None:
    """Ends all idle workers."""
    while _idle:
        _idle.pop().close()


def first_error(text: str) -> str:
    """Finds the line that says what went wrong in what a process wrote; empty where it wrote nothing.

    That is the first line that speaks of an error, such as a compiler's or a C library's, or the last one of a Python
    traceback; else the first line.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    for number, line in enumerate(lines):
        if line.startswith("Traceback "):
            # The frames of a traceback are indented, what was raised is not.
            return one_line(next((after for after in lines[number + 1 :] if not after.startswith(" ")), line))
        if _ERROR.search(line):
            return one_line(line)
    return one_line(text)


def serve() -> None:
    """The worker's side: answers requests from standard input until it ends."""
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # What a library prints must not get between the answers.
    executable: Loaded | None = None
    while True:
        try:
            kind, content = pickle.load(requests)
        except EOFError:
            return
        failure, answer = None, None
        try:
            if kind == "load":
                executable = Loaded(*content)
            else:
                assert executable is not None
                answer = executable.run_each(content)
        except ExecutionError as error:
            failure = str(error)
        pickle.dump((failure, answer), answers, protocol=5)
        answers.flush()
