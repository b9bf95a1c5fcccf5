# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a multiplier's width costs, and which points of a sweep are worth their cost."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

from tosa_rescale.hardware.cells import CellCosts, stored_cells

LIBRARY = "sg13g2_stdcell"  # of the stored ones that which is manufactured: IHP's, 130 nm


@dataclasses.dataclass(frozen=True)
class Area:
    """Cost of an engine, in per cent of that of 32 bits, each at its fastest clock; interpolated between synthesised widths."""

    area: float
    delay: float
    area_delay: float
    interpolated: bool


def largest_engine() -> int:
    """MACs of the largest engine of which costs are stored: the one where the rescaler weighs least."""
    return max(each.macs for each in _stored().costs if each.design == "int8")


def _stored() -> CellCosts:
    (costs,) = (each for each in stored_cells() if each.library == LIBRARY)
    return costs


@functools.cache
def areas(macs: int) -> Callable[[int], Area | None]:
    """From a multiplier's width to the cost of a dot-product engine with so many MACs; None outside what was synthesised."""
    costs = _stored()
    engines = [each for each in costs.costs if (each.design, each.macs) == ("int8", macs)]
    base = costs.base_of(engines[0])
    known = {
        each.bits: (each.area / base.area, each.period / base.period, each.area_delay / base.area_delay) for each in engines
    }

    def area(bits: int) -> Area | None:
        if not min(known) <= bits <= max(known):
            return None
        low, high = max(b for b in known if b <= bits), min(b for b in known if b >= bits)
        part = (bits - low) / (high - low) if high > low else 0.0

        figures = [100 * ((1 - part) * a + part * b) for a, b in zip(known[low], known[high], strict=True)]
        return Area(*figures, interpolated=low != high)

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
