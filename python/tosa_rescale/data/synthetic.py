# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Synthetic calibration inputs: seeded, of many textures, for users who have no data.

White noise alone has the wrong second moments for images. Four generators take turns, from white to flat: uniform noise,
smooth noise on grids of several sizes, 1/f noise, and discs that cover one another (the "dead leaves" model of natural
images). For inputs that are no images they still span white to flat.
"""

from __future__ import annotations

import numpy as np

from tosa_rescale.core.program import InputSpec

DISCS = 150
MIN_RADIUS = 0.04  # of the largest; radii follow a power law, as objects at random distances do


def synthetic_inputs(spec: InputSpec, count: int, seed: int = 0) -> np.ndarray:
    """Synthetic samples over all that an input may take.

    Args:
        spec: the input's; a sample of shape [H, W, C] is treated as an image, another as one of a single channel and row.
        count: number of samples.
        seed: of the random numbers; sample i depends on it and on i alone.

    Returns:
        [count, *spec.shape] of spec.dtype.
    """
    shape, (low, high) = spec.shape, spec.range
    height, width, channels = shape if len(shape) == 3 else (1, int(np.prod(shape)), 1)
    samples = np.empty((count, *shape), spec.dtype)
    for i in range(count):
        rng = np.random.default_rng((seed, i))
        levels = _GENERATORS[i % len(_GENERATORS)](rng, height, width, channels)  # 0..256
        span = (high - low + 1) / 256
        samples[i] = np.clip(np.floor(levels * span) + low, low, high).reshape(shape)
    return samples


def _white(rng: np.random.Generator, height: int, width: int, channels: int) -> np.ndarray:
    return rng.uniform(0, 256, (height, width, channels))


def _smooth(rng: np.random.Generator, height: int, width: int, channels: int) -> np.ndarray:
    """Noise on a coarse grid of 2 to 32 pixels, interpolated linearly."""
    grid = 2 ** int(rng.integers(1, 6))
    coarse = rng.uniform(0, 256, (max(2, -(-height // grid)), max(2, -(-width // grid)), channels))
    return _stretch(_stretch(coarse, height, 0), width, 1)


def _stretch(values: np.ndarray, size: int, axis: int) -> np.ndarray:
    place = np.linspace(0, values.shape[axis] - 1, size)
    low = np.minimum(place.astype(int), values.shape[axis] - 2)
    weight = (place - low).reshape([-1 if i == axis else 1 for i in range(values.ndim)])
    return np.take(values, low, axis) * (1 - weight) + np.take(values, low + 1, axis) * weight


def _pink(rng: np.random.Generator, height: int, width: int, channels: int) -> np.ndarray:
    """1/f noise; the channels share most of it, as colours do."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1
    spectrum = np.fft.rfft2(rng.standard_normal((channels, height, width))) / frequency
    noise = np.moveaxis(np.fft.irfft2(spectrum, s=(height, width)), 0, -1)
    noise = 0.4 * noise + 0.6 * noise.sum(-1, keepdims=True)
    noise = (noise - noise.mean()) / max(noise.std(), 1e-9)
    return 128 + rng.uniform(-60, 60) + noise * rng.uniform(30, 80)


def _leaves(rng: np.random.Generator, height: int, width: int, channels: int) -> np.ndarray:
    """Discs of random place and colour over one another, with a little noise."""
    image = np.broadcast_to(rng.uniform(0, 256, channels), (height, width, channels)).copy()
    y, x = np.mgrid[:height, :width]
    largest = 0.5 * min(height, width) if height > 1 else 0.5 * width
    for _ in range(DISCS):
        radius = largest * MIN_RADIUS / rng.uniform(MIN_RADIUS, 1)
        centre_y, centre_x = rng.uniform(0, height), rng.uniform(0, width)
        image[(y - centre_y) ** 2 + (x - centre_x) ** 2 < radius**2] = rng.uniform(0, 256, channels)
    return image + rng.normal(0, 4, image.shape)


_GENERATORS = (_white, _smooth, _leaves, _pink)
