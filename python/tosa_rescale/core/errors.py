# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The errors a user can meet. Each message is one line: what, where, limit, remedy."""

from __future__ import annotations

# The base of all errors that are the user's to mend; the command line prints it on one line and exits with 2.
from tosa_rescale_runtime.errors import TosaRescaleError as TosaRescaleError


class FileKindError(TosaRescaleError):
    """A file whose suffix or content is not what the command takes."""


class ModelError(TosaRescaleError):
    """A model that cannot be read or does not fit the step asked for."""


class DataError(TosaRescaleError):
    """Data of the wrong shape, type or number, or that cannot be read."""


class OptionError(TosaRescaleError):
    """An option whose value is out of its range, or that contradicts another."""


class OutputError(TosaRescaleError):
    """An output that exists already or cannot be written."""


class MissingToolError(TosaRescaleError):
    """A tool or package that is not installed; the message names what to install."""


class ClusterError(TosaRescaleError):
    """A cluster that cannot be reached, whose workers have other versions, or that lost a task again and again."""


class MetricError(TosaRescaleError):
    """A user's metric that raised, or returned no number."""


class PassError(TosaRescaleError):
    """A pass that refused the module.

    Attributes:
        diagnostics: everything the tool said, one diagnostic a line.
    """

    def __init__(self, message: str, diagnostics: str = "") -> None:
        super().__init__(message)
        self.diagnostics = diagnostics
