# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How samples become what a model takes: the options that all kinds of data share."""

from __future__ import annotations

import dataclasses
from typing import Any

from tosa_rescale.core.functions import find_function, function_identity, function_name
from tosa_rescale.core.options import Options, option


@dataclasses.dataclass(frozen=True)
class Preprocessing(Options):
    """How samples become the model's input, and what is made of labels; each field says so itself (`about`).

    `preprocess` may be a function as well as its name: it is given a PIL.Image, whose `filename` is the file's, and returns an
    array of the input's shape: the model's own integers, uint8 pixels or real values (float). It takes the place of cropping
    and resizing; `mean` and `std` apply to pixels that it returns.

    Raises:
        OptionError: a value is out of range, or `preprocess` names no function.
    """

    mean: float | None = option(
        "Real input = (pixel - mean) / std, then quantized. Default: pixels 0..255 one to one onto the input's 256 levels.",
        default=None,
    )
    std: float | None = option("See --input-mean.", default=None, low=0, high=float("inf"), open_low=True, open_high=True)
    crop_fraction: float = option(
        "Side of the square that is cut from the centre, as a share of the image's shorter side.",
        default=0.875,
        low=0,
        high=1,
        open_low=True,
    )
    label_offset: int = option("Added to every label; 1 where class 0 is background.", default=0)
    allow_unreadable: bool = option("Leave unreadable images out instead of refusing the folder.", default=False)
    preprocess: Any = option(
        "A function of your own in the place of crop and resize: an image (PIL) to an array.",
        default=None,
        metavar="MODULE:FUNCTION",
    )
    ignore_labels: bool = option("Use the samples without their labels.", default=False)

    def check(self) -> None:
        if self.preprocess is not None:
            find_function(self.preprocess, "preprocess")

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**super().as_dict(), "preprocess": self.preprocess and function_name(self.preprocess)}

    def identity(self) -> dict[str, Any]:
        """What the model's input depends on, for a hash: as as_dict, with the text of the function."""
        return {**self.as_dict(), "preprocess": self.preprocess and function_identity(self.preprocess, "preprocess")}
