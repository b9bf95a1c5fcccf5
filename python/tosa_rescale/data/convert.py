# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Single samples, images and arrays, to the integers that a model's input takes."""

from __future__ import annotations

import dataclasses
import io
import pathlib
from typing import Any

import numpy as np

from tosa_rescale.core.errors import DataError
from tosa_rescale.core.functions import find_function, function_name
from tosa_rescale.core.program import InputSpec
from tosa_rescale.data.preprocessing import Preprocessing


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


Image = pathlib.Path | EncodedImage


def read_image(image: Image) -> EncodedImage:
    """The file's bytes. Raises DataError where it cannot be read."""
    if isinstance(image, EncodedImage):
        return image
    try:
        return EncodedImage(str(image), image.read_bytes())
    except OSError as error:
        raise DataError(f"{image}: cannot be read: {error.strerror}") from error


def decode(image: Image) -> Any:
    """The file's PIL.Image, `filename` set. Raises DataError where it cannot be decoded."""
    from PIL import Image as pillow

    try:
        with pillow.open(io.BytesIO(image.data) if isinstance(image, EncodedImage) else image) as opened:
            decoded: Any = opened.copy()
    except Exception as error:  # Pillow raises many kinds on corrupt files
        raise DataError(f"{image}: cannot be decoded; mend or remove it") from error
    decoded.filename = str(image)
    return decoded


def image_to_input(image: Image, spec: InputSpec, preprocessing: Preprocessing) -> np.ndarray:
    """An image as a model's integers.

    Args:
        image: the file.
        spec: [H, W, C], [C, H, W] or [H, W], with C 1 or 3.
        preprocessing: crop, normalisation, or a function in their place.

    Returns:
        spec.dtype, of spec.shape.

    Raises:
        DataError: it cannot be decoded, the input is no image, or the function fails.
    """
    opened = decode(image)
    if preprocessing.preprocess is not None:
        return array_to_input(_preprocessed(opened, image, preprocessing)[None], spec, preprocessing, str(image))[0]
    height, width, channels, first = _layout(image, spec)
    converted = opened.convert("L" if channels == 1 else "RGB")
    side = round(min(converted.size) * preprocessing.crop_fraction)
    left, top = (converted.width - side) // 2, (converted.height - side) // 2
    converted = converted.crop((left, top, left + side, top + side))
    if converted.size != (width, height):
        from PIL import Image as pillow

        converted = converted.resize((width, height), pillow.Resampling.BILINEAR)
    pixels = np.asarray(converted, np.uint8).reshape(height, width, channels)
    pixels = pixels.transpose(2, 0, 1) if first else pixels
    return pixels_to_input(pixels.reshape(spec.shape), spec, preprocessing)


def _layout(image: Image, spec: InputSpec) -> tuple[int, int, int, bool]:
    """Height, width and channels of an input, and whether channels come first."""
    shape = spec.shape
    if len(shape) == 2:
        return (*shape, 1, False)
    if len(shape) == 3 and shape[2] in (1, 3):
        return (*shape, False)
    if len(shape) == 3 and shape[0] in (1, 3):
        return shape[1], shape[2], shape[0], True
    raise DataError(
        f"{image}: the model's input {shape} is no image of 1 or 3 channels; give an .npz instead, or a function (preprocess)"
    )


def _preprocessed(opened: Any, image: Image, preprocessing: Preprocessing) -> np.ndarray:
    name = function_name(preprocessing.preprocess)
    try:
        found = np.asarray(find_function(preprocessing.preprocess, "preprocess")(opened))
    except Exception as error:  # a user's function may raise anything
        raise DataError(f"preprocess: {name} raised {type(error).__name__} on {image}: {error}") from error
    if found.dtype.kind not in "iubf":
        raise DataError(f"preprocess: {name} returns {found.dtype} for {image}; needs an array of numbers")
    return found


def pixels_to_input(pixels: np.ndarray, spec: InputSpec, preprocessing: Preprocessing) -> np.ndarray:
    """uint8 pixels to the model's integers; see Preprocessing.mean."""
    if preprocessing.mean is None and preprocessing.std is None:
        if spec.dtype == np.uint8:
            return pixels
        if spec.dtype == np.int8:
            return (pixels.astype(np.int16) - 128).astype(np.int8)
    mean, std = preprocessing.mean, preprocessing.std
    real = (pixels.astype(np.float64) - (0.0 if mean is None else mean)) / (1.0 if std is None else std)
    return _quantized(real, spec)


def _quantized(real: np.ndarray, spec: InputSpec) -> np.ndarray:
    if spec.quantization is None:
        raise DataError(
            f"the model does not say its input's scale; give data of type {spec.dtype},"
            " or load the .tflite that the model came from"
        )
    return spec.quantization.quantize(real, spec.dtype)


def array_to_input(x: np.ndarray, spec: InputSpec, preprocessing: Preprocessing, source: str) -> np.ndarray:
    """Rows of an array: the model's own integers as they are, uint8 pixels mapped, floats quantized as real values.

    Integers of another width are taken as they are by inputs of 32 and 64 bits, which hold tokens or positions.

    Args:
        x: [N, *spec.shape].
        spec: what the input takes.
        preprocessing: normalisation of pixels.
        source: where they come from, for errors.

    Raises:
        DataError: shape, type or values do not fit the input.
    """
    if x.shape[1:] != spec.shape:
        raise DataError(f"{source}: samples have shape {x.shape[1:]}, the model's input {spec.name} takes {spec.shape}")
    whole = spec.dtype.kind in "iu" and spec.dtype.itemsize >= 4 and x.dtype.kind in "iub"
    if x.dtype == spec.dtype or whole:
        low, high = spec.range
        if x.size and (whole or spec.limits is not None) and not (low <= x.min() and x.max() <= high):
            raise DataError(
                f"{source}: has integers from {x.min()} to {x.max()}, the model's input {spec.name} takes {low} to {high}"
            )
        return x.astype(spec.dtype, copy=False)
    if x.dtype == np.uint8:
        return pixels_to_input(x, spec, preprocessing)
    if np.issubdtype(x.dtype, np.floating):
        if not np.isfinite(x).all():
            raise DataError(f"{source}: has values for {spec.name} that are not finite")
        return _quantized(x, spec)
    raise DataError(f"{source}: samples are {x.dtype}; the model takes {spec.dtype}, uint8 pixels or real values (float)")


def mask_to_labels(image: Image) -> np.ndarray:
    """The class of every pixel of a mask: its grey value, or the index into its palette.

    Returns:
        int64 [H, W].

    Raises:
        DataError: it cannot be decoded, or has colours that are no palette.
    """
    opened = decode(image)
    if opened.mode not in ("L", "P", "1", "I", "I;16"):
        raise DataError(f"{image}: a mask of mode {opened.mode} names no classes; give grey values or a palette's indices")
    return np.asarray(opened).astype(np.int64)
