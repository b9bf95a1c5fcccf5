# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Figures of the source paper, to stand beside a sweep's.

Mueller et al., "Rescaling-Aware Training for Efficient Deployment of Deep Learning Models on Full-Integer Hardware", 2025:
top-1 in per cent on the ImageNet validation set, multipliers cut off after the conversion, no training unless said so. The
paper counts mantissa bits after a leading one that hardware does not store: its k is k + 1 significant bits.
"""

from __future__ import annotations

import dataclasses
import re

SOURCE = (
    "Mueller et al., “Rescaling-Aware Training for Efficient Deployment of Deep Learning Models on Full-Integer Hardware”, 2025"
)


@dataclasses.dataclass(frozen=True)
class PaperFigures:
    """One model of the paper.

    Attributes:
        name: as the paper has it.
        pattern: regular expression over file names of the same family.
        base: top-1 of the unchanged integer model, per cent.
        top1: width to top-1 without training, per cent.
        finetuned: width to top-1 after fine-tuning, per cent.
    """

    name: str
    pattern: str
    base: float
    top1: dict[int, float]
    finetuned: dict[int, float]


MODELS = (
    PaperFigures(
        "EfficientNet-Lite0",
        r"efficient.?net.?lite.?0",
        71.28,
        {8: 70.93, 6: 69.83, 5: 69.20, 4: 65.39, 3: 21.72},
        {4: 71.62},
    ),
    PaperFigures("MobileNet-V1", r"mobile.?net.?v?1(?!\d)", 70.51, {8: 70.51, 6: 70.41, 5: 67.24, 4: 63.67, 3: 5.11}, {}),
    PaperFigures("MobileNet-V2", r"mobile.?net.?v?2(?!\d)", 71.09, {8: 71.10, 6: 70.82, 5: 69.28, 4: 54.55, 3: 23.26}, {}),
)


def figures_for(model: str) -> PaperFigures | None:
    """The paper's figures for the family that a file name tells; None where it has none.

    Args:
        model: file name.
    """
    return next((each for each in MODELS if re.search(each.pattern, model, re.IGNORECASE)), None)
