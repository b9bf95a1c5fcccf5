# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The report as one self-contained HTML page: no network, no script, light and dark, for screens from 360 pixels on."""

from __future__ import annotations

import importlib.resources
import json
import pathlib
import re
from typing import Any

from tosa_rescale.core.errors import MissingToolError, OutputError
from tosa_rescale.core.files import PathLike, write_text
from tosa_rescale.core.version import versions
from tosa_rescale.reporting import sections
from tosa_rescale.reporting.blocks import number
from tosa_rescale.reporting.sections import Stored
from tosa_rescale.sweeping.results import DetailStore, SweepResult, read_sweep

PAGE = "report.html"


def read_stored(path: PathLike) -> Stored:
    """Reads all that a report is made from.

    Args:
        path: a sweep's folder, or its `sweep.json`.

    Raises:
        OutputError: it holds no sweep, or a file beside it is no JSON.
    """
    path = pathlib.Path(path)
    return _with_details(read_sweep(path), path if path.is_dir() else path.parent)


def _with_details(result: SweepResult, folder: pathlib.Path) -> Stored:
    store = DetailStore(folder, result.identity)
    details = {(p.method, p.bits): found for p in result.points if (found := store.read(p.method, p.bits))}
    return Stored(result, details, _beside(folder, "finetune", dict), _beside(folder, "errors", list))


def _beside(folder: pathlib.Path, kind: str, form: type[Any]) -> dict[str, Any]:
    found = {}
    for path in sorted(folder.glob(f"{kind}*.json")):
        try:
            values = json.loads(path.read_text())
        except (OSError, ValueError):
            values = None
        if not isinstance(values, form):
            raise OutputError(f"{path}: is not what `tosa-rescale {kind} --json` writes; mend or remove it")
        found[path.stem] = values
    return found


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
    made = [
        sections.accuracy(stored),
        sections.hardware(stored),
        sections.paper(stored),
        sections.outputs(stored),
        sections.layers(stored),
        sections.multipliers(stored),
        sections.weights(stored),
        sections.training(stored),
        sections.provenance(stored),
    ]
    files = importlib.resources.files("tosa_rescale.reporting")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["code"] = _with_code
    base = result.base.evaluation
    accuracy = "no labels" if base.top1 is None else f"original top-1 {number(base.top1)} %"
    return environment.from_string(files.joinpath("page.html.j2").read_text()).render(
        title=f"How many multiplier bits does {pathlib.Path(result.model).stem} need?",
        subtitle=f"{pathlib.Path(result.data).name}: {base.samples} samples, {accuracy}; methods {', '.join(result.methods)}",
        css=files.joinpath("page.css").read_text(),
        version=f" {version}" if version[0].isdigit() else "",
        date=str(result.provenance.get("date", ""))[:10],
        lead=sections.lead(stored),
        tiles=sections.tiles(stored),
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
    write_page(folder / PAGE, _with_details(result, folder))
    return folder / PAGE
