# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Exceptions of the integer side. Every message is one line that names what was wrong and, where known, the remedy."""

from __future__ import annotations


class TosaRescaleError(Exception):
    """Base of everything this package raises on bad input or a failing tool."""


class ModuleError(TosaRescaleError, ValueError):
    """A module cannot be read, or does not have the form that an operation asks for."""


class CompileError(TosaRescaleError):
    """iree-compile failed.

    Attributes:
        stderr: everything the compiler wrote to its standard error.
        command: the argument vector that was run.
        saved: folder with the compiler's input, or None when `TOSA_RESCALE_SAVE_TEMPS` is not set.
        status: exit status; negative where a signal ended it.
        unsupported: the compiler gave up on the graph itself, not on its flags, the disk or memory: another engine may run
            it, such as the twin.

    """

    def __init__(
        self,
        message: str,
        *,
        stderr: str = "",
        command: tuple[str, ...] = (),
        saved: str | None = None,
        status: int = 1,
        unsupported: bool = False,
    ) -> None:
        super().__init__(message)
        self.unsupported = unsupported
        self.status = status
        self.stderr = stderr
        self.command = command
        self.saved = saved

    def again(self) -> CompileError:
        """The same error, to be raised another time."""
        return self._saying(str(self))

    def with_advice(self, text: str) -> CompileError:
        """The same error, with what to do about it behind its message."""
        return self._saying(f"{self}; {text}")

    def _saying(self, message: str) -> CompileError:
        return CompileError(
            message,
            stderr=self.stderr,
            command=self.command,
            saved=self.saved,
            status=self.status,
            unsupported=self.unsupported,
        )


class ExecutionError(TosaRescaleError, ValueError):
    """An executable was given arrays or parameters that do not fit, or failed while running."""


def one_line(text: str, limit: int = 300) -> str:
    """Returns the first non-empty line of `text`, cut to `limit` characters."""
    for line in text.splitlines():
        line = line.strip()
        if line:
            return line if len(line) <= limit else line[: limit - 3] + "..."
    return ""
