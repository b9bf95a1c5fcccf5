# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The report as one self-contained HTML page: no network, no script, light and dark, for screens from 360 pixels on."""

from __future__ import annotations

import importlib.resources
import pathlib
import re
from typing import Any

from tosa_rescale.core.display import count
from tosa_rescale.core.errors import MissingToolError
from tosa_rescale.core.files import PathLike, write_text
from tosa_rescale.core.version import versions
from tosa_rescale.reporting.sections import SECTIONS, findings
from tosa_rescale.reporting.stored import Stored, stored_beside
from tosa_rescale.reporting.stored import read_stored as read_stored
from tosa_rescale.sweeping.results import SweepResult

PAGE = "report.html"


def render(stored: Stored) -> str:
    """The page.

    Raises:
        MissingToolError: matplotlib or jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError:
        raise MissingToolError("the report page needs jinja2; pip install 'tosa-rescale[report]'") from None
    result, version = stored.result, versions()["tosa-rescale"]
    made = [section(stored) for section in SECTIONS]
    files = importlib.resources.files("tosa_rescale.reporting")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["code"] = _with_code
    base = result.base.evaluation
    measure, samples = stored.measure, count(base.samples, "sample")
    accuracy = "no labels" if measure.name == "agreement" else f"original {measure.label} {measure.level(measure.base)}"
    return environment.from_string(files.joinpath("page.html.j2").read_text()).render(
        title=f"How many multiplier bits does {pathlib.Path(result.model).stem} need?",
        subtitle=f"{pathlib.Path(result.data).name}: {samples}, {accuracy}; methods {', '.join(result.methods)}",
        css=files.joinpath("page.css").read_text(),
        version=f" {version}" if version[0].isdigit() else "",
        date=str(result.provenance.get("date", ""))[:10],
        lead=findings.lead(stored),
        tiles=findings.tiles(stored),
        sections=[section for section in made if section is not None],
    )


def _with_code(text: str) -> Any:
    """Escapes a sentence and sets what stands between backquotes as code."""
    import markupsafe

    return markupsafe.Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(markupsafe.escape(text))))


def write_page(path: PathLike, stored: Stored) -> None:
    """Writes the page, whole or not at all. Raises what `render` does, and OutputError."""
    write_text(path, render(stored))


def write_page_of(folder: pathlib.Path, result: SweepResult) -> pathlib.Path:
    """Writes the page of a sweep into its folder, with what is stored beside it."""
    write_page(folder / PAGE, stored_beside(folder, result))
    return folder / PAGE
