# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Versions, options, seeds and hashes: what it takes to get these figures again."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

from tosa_rescale.core.display import count
from tosa_rescale.reporting.blocks import Block, Section, Table, rows
from tosa_rescale.reporting.stored import Stored, missing


def section(stored: Stored) -> Section:
    """Versions, options, seeds and hashes: what it takes to get these figures again."""
    result, known = stored.result, stored.result.provenance
    calibration = known.get("calibration") or {}
    pairs: list[tuple[str, Any]] = [
        ("model", pathlib.Path(result.model).name),
        ("SHA-256 of the file", known.get("model_file_sha256")),
        ("SHA-256 of the module", known.get("module_sha256")),
        ("data", f"{pathlib.Path(result.data).name}, {count(result.base.evaluation.samples, 'sample')}"),
        ("SHA-256 of data and labels", known.get("data_sha256")),
        ("metric", stored.measure.label),
        ("calibration", _listed(calibration)),
        ("preprocessing", _listed(known.get("preprocessing") or {})),
        ("options of the narrowing", _listed({k: v for k, v in result.options.items() if k != "bits"})),
        ("command", known.get("command")),
        ("measured", known.get("date")),
        *((package, version) for package, version in (known.get("versions") or {}).items()),
    ]
    cells = [(name, str(value)) for name, value in pairs if value]
    table = Table("What the figures came from", ("what", "value"), rows(cells), text=(0, 1))
    lacks = "" if known.get("module_sha256") else missing("hashes, calibration and command")
    return Section("provenance", "Provenance", blocks=(Block(tables=(table,)),), missing=lacks)


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items() if value is not None)
