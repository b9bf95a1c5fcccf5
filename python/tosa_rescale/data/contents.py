# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What lies in a folder of images or in an .npz: samples, labels and what goes with them, before any model is known."""

from __future__ import annotations

import concurrent.futures
import csv
import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tosa_rescale.core.display import count
from tosa_rescale.core.errors import DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".gif", ".tif", ".tiff")
NAMED_AT_MOST = 5  # files named in an error; the rest are counted

LABELS, MASK, SCORE = "y", "mask", "score"
"""Arrays that are no input: labels, which steps of a sequence are real, and how alike the rows 2i and 2i+1 are."""


@dataclasses.dataclass(frozen=True, eq=False)
class Contents:
    """Samples as they were found.

    Attributes:
        samples: files, rows [N, ...], or rows of several inputs by name.
        labels: rows [N, ...], or files of masks; None without.
        extras: `mask` [N, T] and `score` [N / 2], where given.
        notes: what was left out, one sentence each.
    """

    samples: Sequence[pathlib.Path] | np.ndarray | Mapping[str, np.ndarray]
    labels: np.ndarray | Sequence[pathlib.Path] | None = None
    extras: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()


# -- folders -----------------------------------------------------------------------------------------------------------


def read_folder(folder: pathlib.Path, allow_unreadable: bool) -> Contents:
    """A folder of images.

    Labels are in `labels.csv` (columns file,label, or file,mask with the file of a mask), in `labels.npz` (`files` and `y`), or
    the names of the images' sub-folders.

    Raises:
        DataError: labels do not fit the images, or images cannot be read.
    """
    every = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    if (table := folder / "labels.csv").is_file():
        paths, labels = _read_table(table)
        notes = _left_out(table.name, paths, every, labels)
    elif (archive := folder / "labels.npz").is_file():
        paths, labels = _read_label_archive(archive)
        notes = _left_out(archive.name, paths, every, None)
    else:
        paths, labels, notes = every, _class_folders(folder, every), ()
    unreadable = unreadable_images(paths)
    if unreadable and not allow_unreadable:
        raise DataError(
            f"{folder}: {len(unreadable)} of {len(paths)} images cannot be read: {named(unreadable)};"
            " mend them, or pass `allow_unreadable=True` to leave them out"
        )
    keep = [i for i, path in enumerate(paths) if path not in set(unreadable)]
    if unreadable:
        notes = (*notes, f"{len(unreadable)} of {len(paths)} images cannot be read and are left out: {named(unreadable)}")
    chosen = labels[keep] if isinstance(labels, np.ndarray) else labels and [labels[i] for i in keep]
    return Contents([paths[i] for i in keep], chosen, notes=notes)


def _class_folders(folder: pathlib.Path, paths: Sequence[pathlib.Path]) -> np.ndarray | None:
    classes = sorted({p.relative_to(folder).parts[0] for p in paths if p.parent != folder})
    stray = [p for p in paths if p.parent == folder]
    if classes and stray:
        raise DataError(f"{folder}: has class sub-folders and {named(stray)} beside them; move these into a class")
    return np.array([classes.index(p.relative_to(folder).parts[0]) for p in paths], np.int64) if classes else None


def _read_table(table: pathlib.Path) -> tuple[list[pathlib.Path], np.ndarray | list[pathlib.Path]]:
    with open(table, newline="", encoding="utf-8", errors="replace") as stream:
        rows = list(csv.DictReader(stream))
    columns = rows[0].keys() if rows else set()
    if "file" not in columns or not {"label", "mask"} & columns:
        raise DataError(f"{table}: needs a header line and rows with the columns file,label or file,mask")
    _require_files(table, [row["file"] or "" for row in rows])
    paths = [table.parent / row["file"] for row in rows]
    if "label" not in columns:
        _require_files(table, [row["mask"] or "" for row in rows])
        return paths, [table.parent / row["mask"] for row in rows]
    try:
        return paths, np.array([int(row["label"]) for row in rows], np.int64)
    except (TypeError, ValueError):
        bad = next(row["file"] for row in rows if not str(row["label"]).strip().lstrip("-").isdigit())
        raise DataError(f"{table}: the label of {bad} is not a whole number") from None


def _read_label_archive(archive: pathlib.Path) -> tuple[list[pathlib.Path], np.ndarray]:
    arrays = read_archive(archive)
    if "files" not in arrays or LABELS not in arrays or arrays["files"].shape[:1] != arrays[LABELS].shape[:1]:
        raise DataError(f"{archive}: needs arrays `files` [N], names of images, and `{LABELS}` [N, ...], their labels")
    files = [str(name) for name in arrays["files"].tolist()]
    _require_files(archive, files)
    return [archive.parent / name for name in files], arrays[LABELS]


def _require_files(table: pathlib.Path, names: Sequence[str]) -> None:
    missing = [name for name in names if not (table.parent / name).is_file()]
    if missing:
        raise DataError(f"{table}: {len(missing)} of {len(names)} files do not exist: {named(missing)}")


def _left_out(table: str, listed: Sequence[pathlib.Path], every: Sequence[pathlib.Path], labels: Any) -> tuple[str, ...]:
    masks = labels if isinstance(labels, list) else []
    known = {path.resolve() for path in (*listed, *masks)}
    unlisted = [path for path in every if path.resolve() not in known]
    if not unlisted:
        return ()
    images = len(every) - sum(path.resolve() in {mask.resolve() for mask in masks} for path in every)
    return (f"{table} lists {len(listed)} of {images} images; {len(unlisted)} left out: {named(unlisted)}",)


def unreadable_images(paths: Sequence[pathlib.Path]) -> list[pathlib.Path]:
    """The files whose header is no image's."""
    from PIL import Image

    def broken(path: pathlib.Path) -> bool:
        try:
            with Image.open(path) as image:
                image.verify()
            return False
        except Exception:  # Pillow raises many kinds on corrupt files
            return True

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return [path for path, bad in zip(paths, pool.map(broken, paths), strict=True) if bad]


# -- arrays ------------------------------------------------------------------------------------------------------------


def read_archive(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz by name. Raises DataError where it is none."""
    try:
        # Never unpickle: a data file must not be able to run code.
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except Exception as error:  # NumPy, zipfile and zlib raise many kinds on corrupt files, and MemoryError on wrong shapes
        raise DataError(f"{path}: not a readable .npz of plain arrays") from error
    if not all(isinstance(each, np.ndarray) for each in arrays.values()):  # members without NumPy's header
        raise DataError(f"{path}: not a readable .npz of plain arrays")
    return arrays


def sort_arrays(arrays: Mapping[str, np.ndarray], source: str) -> Contents:
    """Tells samples from labels.

    Args:
        arrays: `x`, or one array for each input by name, all [N, ...]; `y` [N, ...]: labels; `mask` [N, T]: 1 where a step of
            a sequence is real; `score` [N / 2]: how alike the rows 2i and 2i+1 are.
        source: where they come from, for errors.

    Raises:
        DataError: there are no samples, or numbers of rows contradict each other.
    """
    labels = arrays.get(LABELS)
    extras = {name: arrays[name] for name in (MASK, SCORE) if name in arrays}
    rest = {name: array for name, array in arrays.items() if name not in (LABELS, MASK, SCORE)}
    samples: np.ndarray | dict[str, np.ndarray] = rest
    if not rest:
        raise DataError(f"{source}: has no samples; save them with numpy.savez(path, x=samples, y=labels)")
    if "x" in rest:
        same = {name: array for name, array in rest.items() if array.shape[:1] == rest["x"].shape[:1] and array.ndim}
        # Beside `x` lies what somebody else keeps there, or another input; which one, the model will say.
        samples = same if len(same) > 1 else rest["x"]
    counts = {
        name: len(array) if array.ndim else None
        for name, array in (samples if isinstance(samples, dict) else {"x": samples}).items()
    }
    expected = next(iter(counts.values()))
    if expected is None or len(set(counts.values())) != 1:
        listed = ", ".join(f"`{name}` {'a single number' if rows is None else rows}" for name, rows in counts.items())
        raise DataError(
            f"{source}: needs samples along the first dimension of every array, as many for each input; has {listed}"
        )
    for name, array, wanted in (
        (LABELS, labels, expected),
        (MASK, extras.get(MASK), expected),
        (SCORE, extras.get(SCORE), expected / 2),
    ):
        if array is not None and (not array.ndim or len(array) != wanted):
            rows = count(len(array), "row") if array.ndim else "a single number"
            raise DataError(f"{source}: `{name}` has {rows}, needs {wanted:g} for {expected} samples")
    if labels is not None and labels.dtype.kind not in "iubf":
        raise DataError(f"{source}: `{LABELS}` has type {labels.dtype}; needs numbers")
    return Contents(samples, labels, extras)


def named(items: Sequence[object]) -> str:
    """The first names of a list, and how many more there are."""
    names = ", ".join(getattr(item, "name", str(item)) for item in items[:NAMED_AT_MOST])
    return names + (f" and {len(items) - NAMED_AT_MOST} more" if len(items) > NAMED_AT_MOST else "")
