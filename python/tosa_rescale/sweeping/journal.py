# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The finished points of a sweep on disk, after each one: an interrupted sweep goes on where it stopped."""

from __future__ import annotations

import json
import pathlib
from typing import Any

from tosa_rescale.core.errors import OutputError
from tosa_rescale.core.files import write_text
from tosa_rescale.sweeping.results import STATE_FILE, SweepPoint


class Journal:
    """The finished points of a sweep, on disk after each one."""

    def __init__(self, folder: pathlib.Path, identity: str, about: dict[str, Any], force: bool) -> None:
        self.folder, self._identity, self._about = folder, identity, about
        self.done: dict[tuple[str, int], SweepPoint] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: cannot be made: {error.strerror}") from error
        path = folder / STATE_FILE
        if not path.exists():
            return
        try:
            state = json.loads(path.read_text())
            points = [SweepPoint.from_dict(each) for each in state["points"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            if force:
                return
            raise OutputError(f"{path}: is not a sweep's state; pass `force=True` to start anew") from error
        if state.get("identity") == identity:
            self.done = {(point.method, point.bits): point for point in points}
            said = {**(state.get("methods") or {}), **about.get("methods", {})}
            self._about = {**about, "provenance": state.get("provenance", about["provenance"]), "methods": said}
            if state.get("max_drop") != about.get("max_drop"):
                self._write()  # another verdict on the same points
        elif not force:
            raise OutputError(
                f"{folder}: holds a sweep of {', '.join(_differences(state, about)) or 'other options of a method'};"
                " choose another folder or pass `force=True` to start anew"
            )

    @property
    def provenance(self) -> dict[str, Any]:
        """Of the run that measured the points, not of one that only found them."""
        return self._about["provenance"]

    def add(self, point: SweepPoint) -> None:
        self.done[point.method, point.bits] = point
        self._write()

    def _write(self) -> None:
        state = {"identity": self._identity, **self._about, "points": [each.as_dict() for each in self.done.values()]}
        write_text(self.folder / STATE_FILE, json.dumps(state, indent=1))


def _differences(stored: dict[str, Any], asked: dict[str, Any]) -> list[str]:
    """What a stored sweep was of, where that is not what is asked for: "another model (a.tflite)", "hidden_bit=True"."""
    old, new = stored.get("provenance") or {}, asked["provenance"]
    found = []
    for key, what, named in (("module_sha256", "another model", "model"), ("data_sha256", "other data", "data")):
        if old.get(key) != new[key]:
            found.append(f"{what} ({stored.get(named)})")
    for key, value in (stored.get("options") or {}).items():
        if key != "bits" and value != asked["options"].get(key):
            found.append(f"{key.replace('_', '-')} {value}")
    if old.get("calibration") != new["calibration"]:
        calibration = old.get("calibration") or {}
        found.append("calibration " + " ".join(f"{key}={value}" for key, value in calibration.items()))
    if (measured := stored.get("metrics") or []) != asked.get("metrics", []):
        found.append(f"metrics {', '.join(measured) or 'that follow from the outputs'}")
    ours, theirs = (each.get("versions", {}).get("tosa-rescale") for each in (new, old))
    return [*found, *([f"tosa-rescale {theirs}"] if ours != theirs else [])]
