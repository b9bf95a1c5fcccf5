# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Data: samples with what is known of them, turned into the integers that a model's inputs take."""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tosa_rescale.core.display import Shown, Summary, count
from tosa_rescale.core.errors import DataError
from tosa_rescale.core.files import PathLike
from tosa_rescale.core.program import InputSpec
from tosa_rescale.data.contents import IMAGE_SUFFIXES, SCORE, Contents, read_archive, read_folder, sort_arrays
from tosa_rescale.data.convert import EncodedImage, Image, array_to_input, image_to_input, mask_to_labels, read_image
from tosa_rescale.data.preprocessing import Preprocessing as Preprocessing

Samples = Sequence[Image] | np.ndarray | Mapping[str, np.ndarray]
Labels = np.ndarray | Sequence[Image]


class Dataset(Shown):
    """Samples and what is known of them. It is lazy: an image is read when its chunk is asked for.

    Args:
        source: where it came from, for messages.
        samples: image files; an array [N, ...]; or of several inputs an array [N, ...] for each, by name.
        labels: an array [N, ...]: classes [N], masks [N, H, W], keypoints [N, K, 2 or 3], tokens [N, T], real values; or files
            of masks; None without.
        preprocessing: how samples become the model's input.
        extras: `mask` [N, T], 1 where a step of a sequence is real; `score` [N / 2], how alike the rows 2i and 2i+1 are, which
            then stay together.
        notes: what was left out, one sentence each.
    """

    def __init__(
        self,
        source: str,
        samples: Samples,
        labels: Labels | None,
        preprocessing: Preprocessing,
        extras: Mapping[str, np.ndarray] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        self.source = source
        self.samples = samples
        self.labels = labels
        self.preprocessing = preprocessing
        self.extras = dict(extras or {})
        self.notes = tuple(notes)

    def __len__(self) -> int:
        return len(next(iter(self.samples.values()))) if isinstance(self.samples, Mapping) else len(self.samples)

    def __repr__(self) -> str:
        labels = self._labels_in_words()
        return f"Dataset({self.source}: {count(len(self), 'sample')}, {', '.join([labels, *self.extras])})"

    def summary(self) -> Summary:
        """What the samples are, their labels, and how they become the model's input."""
        samples = self.samples if isinstance(self.samples, Mapping) else {"": self.samples}
        kinds = (f"{name} {_in_words(each)}".strip() for name, each in samples.items())
        rows = [("samples", f"{len(self)}: {', '.join(kinds)}"), ("labels", self._labels_in_words())]
        if (classes := self.classes) is not None and len(classes):
            rows[-1] = ("labels", f"classes {classes.min()} to {classes.max()}, {len(np.unique(classes))} of them")
        rows += [(name, _in_words(each)) for name, each in self.extras.items()]
        changed = [f"{name}={value}" for name, value in self.preprocessing.changed().items()]
        return Summary(self.source, [*rows, ("preprocessing", ", ".join(changed) or "as it is by default")], notes=self.notes)

    def _labels_in_words(self) -> str:
        if isinstance(self.labels, np.ndarray):
            return f"labels {list(self.labels.shape)} {self.labels.dtype}"
        return "no labels" if self.labels is None else "masks"

    def __getitem__(self, index: slice) -> Dataset:
        start, stop, _ = index.indices(len(self))
        samples: Any = self.samples
        chosen = {name: each[index] for name, each in samples.items()} if isinstance(samples, Mapping) else samples[index]
        extras = {
            name: each[start // 2 : stop // 2] if name == SCORE else each[start:stop] for name, each in self.extras.items()
        }
        return self._with(chosen, None if self.labels is None else self.labels[index], extras)

    @property
    def classes(self) -> np.ndarray | None:
        """The labels where they are one class a sample, int64 [N]; else None."""
        labels = self.labels
        return labels if isinstance(labels, np.ndarray) and labels.ndim == 1 and labels.dtype.kind in "iu" else None

    @property
    def group(self) -> int:
        """Rows that belong together: 2 where pairs have a score."""
        return 2 if SCORE in self.extras else 1

    # -- parts ---------------------------------------------------------------------------------------------------------

    def take(self, count: int) -> Dataset:
        """`count` samples spread evenly over the dataset (a sorted folder's first files would all be of few classes)."""
        return self.select(self._spread(count))

    def drop(self, count: int) -> Dataset:
        """What `take(count)` leaves."""
        return self.select(np.setdiff1d(np.arange(len(self)), self._spread(count)))

    def without(self, other: Dataset) -> Dataset:
        """The samples that are not in another dataset: other files, or arrays with other values."""
        gone = set(other._identities())
        kept = np.array([each not in gone for each in self._identities()], bool)
        if self.group > 1:
            kept = kept.reshape(-1, self.group).all(1).repeat(self.group)
        return self.select(np.flatnonzero(kept))

    def select(self, index: np.ndarray) -> Dataset:
        """The samples at these positions, in this order."""
        samples, labels = self.samples, self.labels
        chosen: Samples
        if isinstance(samples, Mapping):
            chosen = {name: array[index] for name, array in samples.items()}
        else:
            chosen = samples[index] if isinstance(samples, np.ndarray) else [samples[i] for i in index]
        kept: Labels | None = None
        if labels is not None:
            kept = labels[index] if isinstance(labels, np.ndarray) else [labels[i] for i in index]
        extras = {name: array[index[::2] // 2] if name == SCORE else array[index] for name, array in self.extras.items()}
        return self._with(chosen, kept, extras)

    def detached(self) -> Dataset:
        """The same samples without their files: images as encoded bytes, in memory.

        Raises:
            DataError: a file cannot be read.
        """
        samples, labels = self.samples, self.labels
        if not isinstance(samples, (np.ndarray, Mapping)):
            samples = [read_image(each) for each in samples]
        if labels is not None and not isinstance(labels, np.ndarray):
            labels = [read_image(each) for each in labels]
        return self._with(samples, labels, self.extras)

    def _with(self, samples: Samples, labels: Labels | None, extras: Mapping[str, np.ndarray]) -> Dataset:
        return Dataset(self.source, samples, labels, self.preprocessing, extras, self.notes)

    def _spread(self, count: int) -> np.ndarray:
        if not 0 < count <= len(self):
            raise DataError(f"{self.source}: {count} samples asked for, has {len(self)}; ask for 1 to {len(self)}")
        groups, wanted = len(self) // self.group, max(1, count // self.group)
        chosen = np.unique(np.floor((np.arange(wanted) + 0.5) * groups / wanted).astype(int))
        return (chosen[:, None] * self.group + np.arange(self.group)).reshape(-1)

    def _identities(self) -> list[str | bytes]:
        if isinstance(self.samples, Mapping):
            return [b"".join(each.tobytes() for each in row) for row in zip(*self.samples.values(), strict=True)]
        if isinstance(self.samples, np.ndarray):
            return [each.tobytes() for each in self.samples]
        return [str(pathlib.Path(str(each)).resolve()) for each in self.samples]

    # -- contents ------------------------------------------------------------------------------------------------------

    def quantized(self, spec: InputSpec, chunk: int = 64) -> Iterator[np.ndarray]:
        """The samples as the integers of a model's only input, in chunks of shape `[<= chunk, *spec.shape]`, dtype spec.dtype.

        Raises:
            DataError: a sample cannot be read or does not fit the input.
        """
        for (array,) in self.batches([spec], chunk):
            yield array

    def batches(self, specs: Sequence[InputSpec], chunk: int = 64) -> Iterator[list[np.ndarray]]:
        """The samples as a model's integers, in chunks: for each input an array `[<= chunk, *spec.shape]` of its dtype.

        Args:
            specs: what the inputs take. Of several, each is found by its name; inputs of one name take the same samples.
            chunk: samples at a time.

        Raises:
            DataError: a sample cannot be read or does not fit its input, or there is none for an input or one too many.
        """
        arrays = self._arrays(specs)
        if arrays is not None:
            for start in range(0, len(self), chunk):
                rows = (array[start : start + chunk] for array in arrays)
                pairs = zip(rows, specs, strict=True)
                yield [array_to_input(each, spec, self.preprocessing, self.source) for each, spec in pairs]
            return
        images: Any = self.samples

        def read(image: Image) -> list[np.ndarray]:
            return [image_to_input(image, spec, self.preprocessing) for spec in specs]

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for start in range(0, len(self), chunk):
                read_chunk = pool.map(read, images[start : start + chunk])
                yield [np.stack(column) for column in zip(*read_chunk, strict=True)]

    def _arrays(self, specs: Sequence[InputSpec]) -> list[np.ndarray] | None:
        """The array of each input, in order; None where samples are images."""
        samples, names = self.samples, {spec.name for spec in specs}
        if not isinstance(samples, Mapping):
            if len(names) != 1:
                raise DataError(
                    f"{self.source}: holds samples of one input, the model has {len(specs)}; give an .npz or a dictionary with"
                    f" an array for each: {', '.join(spec.name for spec in specs)}"
                )
            return [samples] * len(specs) if isinstance(samples, np.ndarray) else None
        known = {**samples, **self.extras}
        found = [_named_for(spec, i, len(names) == 1, known) for i, spec in enumerate(specs)]
        missing = [spec.name for spec, name in zip(specs, found, strict=True) if name is None]
        inputs = ", ".join(spec.name for spec in specs)
        if missing:
            raise DataError(
                f"{self.source}: has no array for {', '.join(missing)}; the model's inputs are {inputs}, the arrays"
                f" {', '.join(known)}"
            )
        over = [name for name in samples if name not in found]
        if over and "x" not in found:
            raise DataError(f"{self.source}: has arrays that are no input: {', '.join(over)}; the model's inputs are {inputs}")
        return [known[name] for name in found if name is not None]

    def masks(self, size: tuple[int, int]) -> np.ndarray:
        """Labels of single pixels, fitted to an output's size (the nearest pixel's label is taken).

        Args:
            size: H, W.

        Returns:
            int64 [N, H, W].

        Raises:
            DataError: there are none, or a file cannot be decoded.
        """
        labels = self.labels
        if labels is None or (isinstance(labels, np.ndarray) and (labels.ndim != 3 or labels.dtype.kind not in "iub")):
            kind = "no labels" if labels is None else f"labels of shape {list(labels.shape)} and type {labels.dtype}"
            raise DataError(f"{self.source}: has {kind}; needs a mask for each sample: integers [N, H, W] or image files")
        if isinstance(labels, np.ndarray):
            return _nearest(labels.astype(np.int64), size)
        crop = 1.0 if self.preprocessing.preprocess is not None else self.preprocessing.crop_fraction
        return np.stack([_nearest(_cropped(mask_to_labels(each), crop)[None], size)[0] for each in labels])

    def fingerprint(self) -> str:
        """A hash of what the samples are (names and sizes of files, or array bytes), the labels and the preprocessing."""
        digest = hashlib.sha256(json.dumps(self.preprocessing.identity()).encode())
        arrays = self.samples if isinstance(self.samples, Mapping) else {}
        for part in (self.samples, self.labels):
            if isinstance(part, np.ndarray):
                digest.update(repr((part.shape, part.dtype)).encode() + part.tobytes())
            elif part is not None and not isinstance(part, Mapping):
                for each in part:
                    size = len(each.data) if isinstance(each, EncodedImage) else each.stat().st_size
                    digest.update(f"{pathlib.PurePath(each.name).name}:{size}\n".encode())
        for name, array in sorted({**arrays, **self.extras}.items()):
            digest.update(repr((name, array.shape, array.dtype)).encode() + array.tobytes())
        return digest.hexdigest()


def _in_words(samples: Any) -> str:
    """What samples are, without their number."""
    return f"{samples.dtype} {list(samples.shape[1:])}" if isinstance(samples, np.ndarray) else "images"


def _named_for(spec: InputSpec, index: int, only: bool, arrays: Mapping[str, np.ndarray]) -> str | None:
    """The name of an input's array: that of the input, also without what exporters add to it, or its number."""
    names = [spec.name, *([spec.quantization.name] if spec.quantization else [])]
    short = [name.removeprefix("serving_default_").removesuffix(":0") for name in names]
    candidates = [*names, *short, f"input{index}", f"x{index}", *(["x"] if only else [])]
    return next((name for name in candidates if name in arrays), None)


def _cropped(mask: np.ndarray, fraction: float) -> np.ndarray:
    """The centred square that image_to_input takes."""
    side = round(min(mask.shape) * fraction)
    top, left = ((extent - side) // 2 for extent in mask.shape)
    return mask[top : top + side, left : left + side]


def _nearest(masks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """[N, h, w] to [N, H, W]: at each position the value under its centre."""
    rows, columns = ((np.arange(to) * 2 + 1) * have // (2 * to) for to, have in zip(size, masks.shape[1:], strict=True))
    return masks[:, rows[:, None], columns[None]]


def load_data(path: PathLike, preprocessing: Preprocessing | None = None) -> Dataset:
    """Opens a dataset on disk.

    Args:
        path: a folder of images (with `labels.csv` of columns file,label or file,mask, `labels.npz` of `files` and `y`, one
            sub-folder a class, or none of these: no labels), or an .npz with `x`, or one array for each input by name, and
            where there are any `y`, `mask` and `score` (see Dataset).
        preprocessing: how samples become the model's input.

    Raises:
        DataError: it is missing, empty, of the wrong form, or has images that cannot be read.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise DataError(f"path: {type(path).__name__} is no path of data; as_dataset takes arrays and batches of them")
    path, preprocessing = pathlib.Path(path), preprocessing or Preprocessing()
    if path.is_dir():
        contents = read_folder(path, preprocessing.allow_unreadable)
    elif path.suffix.lower() == ".npz":
        contents = sort_arrays(read_archive(path), str(path))
    elif path.exists():
        raise DataError(f"{path}: is neither a folder of images nor an .npz file")
    else:
        raise DataError(f"{path}: does not exist; give a folder of images or an .npz file")
    return from_contents(str(path), contents, preprocessing)


def from_contents(source: str, contents: Contents, preprocessing: Preprocessing) -> Dataset:
    """A dataset of what was found. Raises DataError where it holds no samples."""
    labels: Any = contents.labels
    if preprocessing.ignore_labels:
        labels = None
    if isinstance(labels, np.ndarray) and labels.dtype.kind in "iu":
        labels = labels.astype(np.int64)
        labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
        labels = labels + preprocessing.label_offset if labels.ndim == 1 else labels
    extras = {} if preprocessing.ignore_labels else contents.extras
    found = Dataset(source, contents.samples, labels, preprocessing, extras, contents.notes)
    if len(found) == 0:
        raise DataError(f"{source}: holds no samples; a folder needs images ({', '.join(IMAGE_SUFFIXES)})")
    return found
