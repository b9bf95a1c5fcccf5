# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Data: folders of images, labels.csv and .npz, turned into the integers that a model's input takes."""

from __future__ import annotations

import concurrent.futures
import csv
import dataclasses
import hashlib
import io
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from tosa_rescale.core.errors import DataError
from tosa_rescale.core.files import PathLike
from tosa_rescale.core.program import InputSpec

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".gif", ".tif", ".tiff")
NAMED_AT_MOST = 5  # files named in an error; the rest are counted


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the model's input.

    Attributes:
        mean, std: real input = (pixel - mean) / std, then quantized with the input's scale and zero point. None (default):
            pixels 0..255 go one to one onto the 256 levels of an 8-bit input, as almost every integer vision model expects.
        crop_fraction: side of the centred square crop over the image's short side; 0.875 is 224 of 256.
        label_offset: added to every label (1 for models whose class 0 is background).
        allow_unreadable: leave unreadable images out instead of refusing the folder.
    """

    mean: float | None = None
    std: float | None = None
    crop_fraction: float = 0.875
    label_offset: int = 0
    allow_unreadable: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.crop_fraction <= 1:
            raise DataError(f"crop-fraction: {self.crop_fraction} is out of range; give a number above 0, at most 1")
        if self.std is not None and self.std <= 0:
            raise DataError(f"input-std: {self.std} is out of range; give a number above 0")


@dataclasses.dataclass(frozen=True)
class EncodedImage:
    """An image file's bytes, for where the file itself cannot be seen.

    Attributes:
        name: path of the file, for messages.
        data: what is in it.
    """

    name: str
    data: bytes

    def __str__(self) -> str:
        return self.name


class Dataset:
    """Samples and, where there are any, labels.

    A dataset is lazy: an image is read when its chunk is asked for. `take` and `drop` split it.
    """

    def __init__(
        self,
        source: str,
        samples: Sequence[pathlib.Path] | Sequence[EncodedImage] | np.ndarray,
        labels: np.ndarray | None,
        preprocessing: Preprocessing,
    ) -> None:
        self.source = source
        self.samples = samples
        self.labels = labels
        self.preprocessing = preprocessing

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: slice) -> Dataset:
        labels = None if self.labels is None else self.labels[index]
        return Dataset(self.source, self.samples[index], labels, self.preprocessing)

    def take(self, count: int) -> Dataset:
        """`count` samples spread evenly over the dataset (a sorted folder's first files would all be of few classes)."""
        return self.select(self._spread(count))

    def drop(self, count: int) -> Dataset:
        """What `take(count)` leaves."""
        return self.select(np.setdiff1d(np.arange(len(self)), self._spread(count)))

    def detached(self) -> Dataset:
        """The same samples without their files: images as encoded bytes, in memory.

        Raises:
            DataError: a file cannot be read.
        """
        if isinstance(self.samples, np.ndarray):
            return self
        return Dataset(self.source, [_read_image(each) for each in self.samples], self.labels, self.preprocessing)

    def without(self, other: Dataset) -> Dataset:
        """The samples that are not in another dataset: other files, or arrays with other values."""
        gone = set(other._identities())
        return self.select(np.array([i for i, each in enumerate(self._identities()) if each not in gone], np.int64))

    def _identities(self) -> list[str | bytes]:
        if isinstance(self.samples, np.ndarray):
            return [each.tobytes() for each in self.samples]
        return [str(pathlib.Path(str(each)).resolve()) for each in self.samples]

    def quantized(self, spec: InputSpec, chunk: int = 64) -> Iterator[np.ndarray]:
        """The samples as the model's integers, in chunks of shape `[<= chunk, *spec.shape]`, dtype spec.dtype.

        Raises:
            DataError: a sample cannot be read or does not fit the input.
        """
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for start in range(0, len(self), chunk):
                part = self.samples[start : start + chunk]
                if isinstance(part, np.ndarray):
                    yield _quantize_arrays(part, spec, self.preprocessing, self.source)
                else:
                    yield np.stack(list(pool.map(lambda path: _quantize_image(path, spec, self.preprocessing), part)))

    def fingerprint(self) -> str:
        """A hash of what the samples are (names and sizes of files, or array bytes), the labels and the preprocessing."""
        digest = hashlib.sha256(repr(self.preprocessing).encode())
        if isinstance(self.samples, np.ndarray):
            digest.update(repr((self.samples.shape, self.samples.dtype)).encode() + self.samples.tobytes())
        else:
            for each in self.samples:
                size = len(each.data) if isinstance(each, EncodedImage) else each.stat().st_size
                digest.update(f"{pathlib.PurePath(each.name).name}:{size}\n".encode())
        if self.labels is not None:
            digest.update(self.labels.tobytes())
        return digest.hexdigest()

    def _spread(self, count: int) -> np.ndarray:
        if not 0 < count <= len(self):
            raise DataError(f"{self.source}: {count} samples asked for, has {len(self)}; ask for 1 to {len(self)}")
        return np.unique(np.floor((np.arange(count) + 0.5) * len(self) / count).astype(int))

    def select(self, index: np.ndarray) -> Dataset:
        """The samples at these positions, in this order."""
        samples = self.samples[index] if isinstance(self.samples, np.ndarray) else [self.samples[i] for i in index]
        return Dataset(self.source, samples, None if self.labels is None else self.labels[index], self.preprocessing)


def load_data(path: PathLike, preprocessing: Preprocessing | None = None) -> Dataset:
    """Opens a dataset.

    Args:
        path: a folder of images (with `labels.csv` of columns file,label, or one sub-folder a class, or neither: no
            labels), or an .npz with `x` [N, ...] and optional `y` [N].
        preprocessing: how samples become the model's input.

    Raises:
        DataError: it is missing, empty, of the wrong form, or has images that cannot be read.
    """
    path, preprocessing = pathlib.Path(path), preprocessing or Preprocessing()
    if path.is_dir():
        dataset = _load_folder(path, preprocessing)
    elif path.suffix.lower() == ".npz":
        dataset = _load_npz(path, preprocessing)
    elif path.exists():
        raise DataError(f"{path}: is neither a folder of images nor an .npz file")
    else:
        raise DataError(f"{path}: does not exist; give a folder of images or an .npz file")
    if len(dataset) == 0:
        raise DataError(f"{path}: holds no samples; a folder needs images ({', '.join(IMAGE_SUFFIXES)})")
    if dataset.labels is not None:
        dataset.labels = dataset.labels + preprocessing.label_offset
    return dataset


def _load_folder(folder: pathlib.Path, preprocessing: Preprocessing) -> Dataset:
    table = folder / "labels.csv"
    if table.is_file():
        paths, labels = _read_label_table(table)
    else:
        paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
        classes = sorted({p.relative_to(folder).parts[0] for p in paths if p.parent != folder})
        stray = [p for p in paths if p.parent == folder]
        if classes and stray:
            raise DataError(f"{folder}: has class sub-folders and {_named(stray)} beside them; move these into a class")
        labels = np.array([classes.index(p.relative_to(folder).parts[0]) for p in paths], np.int64) if classes else None
    unreadable = _unreadable(paths)
    if unreadable and not preprocessing.allow_unreadable:
        raise DataError(
            f"{folder}: {len(unreadable)} of {len(paths)} images cannot be read: {_named(unreadable)};"
            " mend them, or pass --allow-unreadable to leave them out"
        )
    keep = [i for i, p in enumerate(paths) if p not in set(unreadable)]
    return Dataset(str(folder), [paths[i] for i in keep], None if labels is None else labels[keep], preprocessing)


def _read_label_table(table: pathlib.Path) -> tuple[list[pathlib.Path], np.ndarray]:
    with open(table, newline="", encoding="utf-8", errors="replace") as stream:
        rows = list(csv.DictReader(stream))
    if not rows or not {"file", "label"} <= rows[0].keys():
        raise DataError(f"{table}: needs a header line and rows with the columns file,label")
    missing = [row["file"] for row in rows if not (table.parent / (row["file"] or "")).is_file()]
    if missing:
        raise DataError(f"{table}: {len(missing)} of {len(rows)} files do not exist: {_named(missing)}")
    try:
        labels = np.array([int(row["label"]) for row in rows], np.int64)
    except (TypeError, ValueError):
        bad = next(row["file"] for row in rows if not str(row["label"]).strip().lstrip("-").isdigit())
        raise DataError(f"{table}: the label of {bad} is not a whole number") from None
    return [table.parent / row["file"] for row in rows], labels


def _load_npz(path: pathlib.Path, preprocessing: Preprocessing) -> Dataset:
    try:
        # Never unpickle: a data file must not be able to run code.
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as archive:
            if "x" not in archive:
                raise DataError(f"{path}: has no array `x`; save it with numpy.savez(path, x=samples, y=labels)")
            x, y = archive["x"], archive.get("y")
    except DataError:
        raise
    except Exception as error:  # NumPy, zipfile and zlib raise many kinds on corrupt files, and MemoryError on wrong shapes
        raise DataError(f"{path}: not a readable .npz of plain arrays") from error
    if not all(isinstance(each, np.ndarray) for each in (x, y) if each is not None):  # members without NumPy's header
        raise DataError(f"{path}: not a readable .npz of plain arrays")
    if x.ndim < 2:
        raise DataError(f"{path}: `x` has shape {x.shape}; needs samples along the first dimension")
    if y is not None and (y.shape != (len(x),) or not np.issubdtype(y.dtype, np.integer)):
        raise DataError(f"{path}: `y` has shape {y.shape} and type {y.dtype}; needs integers of shape ({len(x)},)")
    return Dataset(str(path), x, None if y is None else y.astype(np.int64), preprocessing)


def _unreadable(paths: Sequence[pathlib.Path]) -> list[pathlib.Path]:
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


def _read_image(image: pathlib.Path | EncodedImage) -> EncodedImage:
    if isinstance(image, EncodedImage):
        return image
    try:
        return EncodedImage(str(image), image.read_bytes())
    except OSError as error:
        raise DataError(f"{image}: cannot be read: {error.strerror}") from error


def _quantize_image(path: pathlib.Path | EncodedImage, spec: InputSpec, preprocessing: Preprocessing) -> np.ndarray:
    from PIL import Image

    if len(spec.shape) != 3 or spec.shape[2] not in (1, 3):
        raise DataError(f"{path}: the model's input {spec.shape} is no image of 1 or 3 channels; give an .npz instead")
    height, width, channels = spec.shape
    try:
        with Image.open(io.BytesIO(path.data) if isinstance(path, EncodedImage) else path) as opened:
            image = opened.convert("L" if channels == 1 else "RGB")
    except Exception as error:
        raise DataError(f"{path}: cannot be decoded; mend or remove it") from error
    side = round(min(image.size) * preprocessing.crop_fraction)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side))
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return _quantize_pixels(np.asarray(image, np.uint8).reshape(spec.shape), spec, preprocessing)


def _quantize_pixels(pixels: np.ndarray, spec: InputSpec, preprocessing: Preprocessing) -> np.ndarray:
    """uint8 pixels to the model's integers; see Preprocessing.mean."""
    if preprocessing.mean is None and preprocessing.std is None:
        if spec.dtype == np.uint8:
            return pixels
        if spec.dtype == np.int8:
            return (pixels.astype(np.int16) - 128).astype(np.int8)
    real = (pixels.astype(np.float64) - (preprocessing.mean or 0.0)) / (preprocessing.std or 1.0)
    return _quantize_real(real, spec)


def _quantize_real(real: np.ndarray, spec: InputSpec) -> np.ndarray:
    if spec.quantization is None:
        raise DataError(
            f"the model does not say its input's scale; give data of type {spec.dtype},"
            " or load the .tflite that the model came from"
        )
    return spec.quantization.quantize(real, spec.dtype)


def _quantize_arrays(x: np.ndarray, spec: InputSpec, preprocessing: Preprocessing, source: str) -> np.ndarray:
    """Rows of an .npz: the model's own integers as they are, uint8 pixels mapped, floats quantized as real values."""
    if x.shape[1:] != spec.shape:
        raise DataError(f"{source}: samples have shape {x.shape[1:]}, the model's input takes {spec.shape}")
    if x.dtype == spec.dtype:
        return x
    if x.dtype == np.uint8:
        return _quantize_pixels(x, spec, preprocessing)
    if np.issubdtype(x.dtype, np.floating):
        if not np.isfinite(x).all():
            raise DataError(f"{source}: `x` has values that are not finite")
        return _quantize_real(x, spec)
    raise DataError(f"{source}: samples are {x.dtype}; the model takes {spec.dtype}, uint8 pixels or real values (float)")


def _named(items: Sequence[object]) -> str:
    names = ", ".join(getattr(item, "name", str(item)) for item in items[:NAMED_AT_MOST])
    return names + (f" and {len(items) - NAMED_AT_MOST} more" if len(items) > NAMED_AT_MOST else "")
