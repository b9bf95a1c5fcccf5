# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a multiplier's width costs, and which points of a sweep are worth their cost."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

from tosa_rescale.hardware import read_costs, relative_costs


@dataclasses.dataclass(frozen=True)
class Area:
    """Cost of an engine's width against 32 bits, per cent; between two synthesised widths, interpolated."""

    area: float
    delay: float
    area_delay: float
    interpolated: bool


@functools.cache
def areas(macs: int) -> Callable[[int], Area | None]:
    """From a multiplier's width to the cost of a dot-product engine with so many MACs; None outside what was synthesised."""
    known = {each.cost.bits: each for each in relative_costs(read_costs()) if each.cost.macs == macs}

    def area(bits: int) -> Area | None:
        if not min(known) <= bits <= max(known):
            return None
        low, high = max(b for b in known if b <= bits), min(b for b in known if b >= bits)
        part = (bits - low) / (high - low) if high > low else 0.0

        def between(name: str) -> float:
            return 100 * ((1 - part) * getattr(known[low], name) + part * getattr(known[high], name))

        return Area(between("transistors"), between("depth"), between("area_delay"), low != high)

    return area


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A point that may be on the front.

    Attributes:
        cost: what it costs.
        low, high: bounds of its loss.
        rank: decides between points of the same cost; the larger is the better one.
    """

    cost: float
    low: float
    high: float
    rank: tuple[float, ...]


def front(points: Sequence[Candidate]) -> list[int]:
    """The places of the points that are worth looking at: the cheapest, and those proven to lose less than every cheaper one.

    A dearer point whose difference from a cheaper one may be noise is not among them. Of points with the same cost, the one
    with the largest rank is; equal ones are all.
    """

    def beaten(point: Candidate, other: Candidate) -> bool:
        if other.cost == point.cost:
            return other.rank > point.rank
        return other.cost < point.cost and not point.high < other.low

    return [i for i, point in enumerate(points) if not any(beaten(point, other) for other in points)]
