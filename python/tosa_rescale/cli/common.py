# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What commands do alike: load models and data, save, show progress, write figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from tosa_rescale.cli.options import PART, TALK, taken
from tosa_rescale.data.preprocessing import Preprocessing

if TYPE_CHECKING:
    from tosa_rescale.api import Model
    from tosa_rescale.core.progress import Progress
    from tosa_rescale.data.dataset import Dataset


_PROGRESS = "tosa_rescale.progress"


def is_quiet() -> bool:
    """The command was given -q."""
    return click.get_current_context().meta.get(TALK) == "quiet"


def progress() -> Progress:
    """What shows the work of the command under way, the compiler's too; one for the whole command."""
    from tosa_rescale_runtime import watch_compiler

    from tosa_rescale.core.progress import Bars, Silent

    if is_quiet():
        return Silent()
    meta = click.get_current_context().meta
    if _PROGRESS not in meta:
        shown = meta[_PROGRESS] = Bars()
        watch_compiler(lambda: shown.task("compiling", None))
    return meta[_PROGRESS]


def load(path: str, batch: int = 1) -> Model:
    """The model in a file, and a line on what of it stays as it is; see tosa_rescale.load.

    What --until and --shape ask for holds for MODEL alone, not for other models that a command reads.
    """
    from tosa_rescale.api import load
    from tosa_rescale.cli import show

    context = click.get_current_context()
    asked = context.meta.get(PART, {}) if path in (context.params.get("model"), context.params.get("source")) else {}
    loaded = load(path, batch, **asked)
    show.remarks(loaded)
    return loaded


def load_data(path: str, given: Mapping[str, Any]) -> Dataset:
    """The data set in a folder or file.

    Args:
        path: the folder or file.
        given: the command's keyword arguments, with those of options.preprocessing and, where it takes them, of
            options.samples_of_data.
    """
    from tosa_rescale.data.dataset import load_data as load

    data = load(path, taken(Preprocessing, given))
    if given.get("leave_out") is not None:
        data = data.drop(given["leave_out"])
    return data if given.get("take") is None else data.take(given["take"])


def calibration_source(calibration: str, given: Mapping[str, Any]) -> Dataset | str:
    """What --calibration names: a data set, whole, or a word that CalibrationPlan knows."""
    return calibration if calibration in ("synthetic", "none") else load_whole(calibration, given)


def load_whole(path: str, given: Mapping[str, Any]) -> Dataset:
    """A data set to calibrate or train on: --take and --leave-out choose what is scored."""
    return load_data(path, {**given, "take": None, "leave_out": None})


def require_output(model: Model, output: str, original: str | None = None) -> None:
    """Checks, before anything is computed, that what is made of a model can be written as the kind that OUTPUT names."""
    from tosa_rescale.formats.write import require_writable_as

    require_writable_as(model, output, original=original)


def save(model: Model, output: str, force: bool, **litert_options: Any) -> None:
    """Writes a model; what only a LiteRT file knows goes to no other kind."""
    from tosa_rescale.core.files import FileKind, kind_of

    model.save(output, force=force, **(litert_options if kind_of(output) is FileKind.LITERT else {}))


def write_json(path: str | None, value: Any) -> None:
    """Writes what --json asks for, if it does."""
    if path:
        from tosa_rescale.reporting import write_json

        write_json(path, value)
