# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The state of a fine-tuning in one .npz, written whole or not at all. Arrays and JSON: nothing in it is executed."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import zipfile
from typing import Any

import numpy as np

from tosa_rescale.core.errors import DataError, ModelError
from tosa_rescale.core.files import atomic_write

VERSION = 1


@dataclasses.dataclass(frozen=True, eq=False)
class Checkpoint:
    """Everything that a run needs to go on as if it had not been stopped.

    Attributes:
        identity: what the run belongs to: model, data and options.
        epoch: number of finished epochs.
        weights: variables by layer, as trained (not rounded).
        best: those of the best epoch so far.
        optimizer: the optimizer's variables, in its order.
        history: one entry for each finished epoch, the start first.
        best_epoch: 0 for the start.
    """

    identity: dict[str, Any]
    epoch: int
    weights: dict[str, np.ndarray]
    best: dict[str, np.ndarray]
    optimizer: list[np.ndarray]
    history: list[dict[str, Any]]
    best_epoch: int

    def write(self, path: pathlib.Path) -> None:
        """Writes it; a kill or a full disk leaves the former checkpoint.

        Raises:
            OutputError: it cannot be written.
        """
        state = {
            "version": VERSION,
            "identity": self.identity,
            "epoch": self.epoch,
            "history": self.history,
            "best_epoch": self.best_epoch,
        }
        arrays = {f"weight:{key}": value for key, value in self.weights.items()}
        arrays |= {f"best:{key}": value for key, value in self.best.items()}
        arrays |= {f"optimizer:{index:06d}": value for index, value in enumerate(self.optimizer)}
        with atomic_write(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, state=np.array(json.dumps(state)), **arrays)  # type: ignore[arg-type]


def read_checkpoint(path: pathlib.Path, identity: dict[str, Any]) -> Checkpoint:
    """Reads a checkpoint.

    Args:
        path: the file.
        identity: what the run at hand belongs to.

    Raises:
        DataError: it is missing or not readable.
        ModelError: it belongs to another model, other data or other options; the message names which.
    """
    try:
        # Opened here: NumPy leaves a broken archive open.
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = dict(file)
        state = json.loads(str(arrays.pop("state")))
        found = state["identity"]
    except FileNotFoundError:
        raise DataError(f"{path}: there is no checkpoint to go on from; start without `resume`") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: is not a readable checkpoint; remove it and start without `resume`") from error
    different = [name for name in identity if found.get(name) != identity[name]]
    if different:
        raise ModelError(f"{path}: is a checkpoint of another {different[0]}; name that one, or start without `resume`")

    def part(prefix: str) -> dict[str, np.ndarray]:
        return {key.removeprefix(prefix): arrays[key] for key in sorted(arrays) if key.startswith(prefix)}

    return Checkpoint(
        found,
        state["epoch"],
        part("weight:"),
        part("best:"),
        list(part("optimizer:").values()),
        state["history"],
        state["best_epoch"],
    )
