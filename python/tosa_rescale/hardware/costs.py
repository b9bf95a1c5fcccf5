# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The measured costs of the dot-product engine, from `costs.json`: reading them needs no synthesis tool."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Sequence

from tosa_rescale.core.errors import DataError
from tosa_rescale.core.files import PathLike, write_text

COSTS = pathlib.Path(__file__).with_name("costs.json")
MACS = (4, 8, 16)
BITS = (32, 16, 8, 6, 4, 3, 2, 1)
BASE_BITS = 32  # what all others are compared with: the int32 operand of today's models

# Area of 4 bits against 32, per cent, by MACs, in a 16 nm process and a commercial flow. Mueller et al., "Rescaling-Aware
# Training for Efficient Deployment of Deep Learning Models on Full-Integer Hardware", NXP, 2025.
PAPER = {4: -58.5, 8: -47.5, 16: -34.8}


@dataclasses.dataclass(frozen=True)
class Cost:
    """One engine, synthesised.

    Attributes:
        macs: products a cycle.
        bits: width of the rescaler's multiplier.
        cells: logic gates and flip-flops.
        transistors: in static CMOS, as yosys' `stat -tech cmos` estimates.
        depth: gates on the longest path between registers.
    """

    macs: int
    bits: int
    cells: int
    transistors: int
    depth: int

    @property
    def area_delay(self) -> int:
        """Transistors times depth."""
        return self.transistors * self.depth


@dataclasses.dataclass(frozen=True)
class Relative:
    """One engine against the one with as many MACs and 32 bits; every figure is a ratio, 1 for no difference."""

    cost: Cost
    cells: float
    transistors: float
    depth: float
    area_delay: float


def read_costs(path: PathLike = COSTS) -> tuple[Cost, ...]:
    """Reads measured costs.

    Args:
        path: the file; that of the package unless given.

    Raises:
        DataError: it is missing or not of that form.
    """
    try:
        return tuple(Cost(**each) for each in json.loads(pathlib.Path(path).read_text())["costs"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: is no file of hardware costs ({error}); renew it: tosa-rescale hardware-cost --regenerate"
        ) from None


def write_costs(costs: Sequence[Cost], tool: str, sources: str, path: PathLike = COSTS) -> None:
    """Writes measured costs.

    Args:
        costs: in the order in which they are to stand.
        tool: name and version of what measured them.
        sources: fingerprint of what was measured; see `tosa_rescale.hardware.synthesis.fingerprint`.
        path: the file; that of the package unless given.
    """
    rows = ",\n  ".join(json.dumps(dataclasses.asdict(cost)) for cost in costs)
    write_text(path, f'{{\n "tool": {json.dumps(tool)},\n "sources": {json.dumps(sources)},\n "costs": [\n  {rows}\n ]\n}}\n')


def relative_costs(costs: Sequence[Cost]) -> tuple[Relative, ...]:
    """Every cost against that of 32 bits with as many MACs.

    Raises:
        DataError: 32 bits are missing.
    """
    base = {cost.macs: cost for cost in costs if cost.bits == BASE_BITS}
    found = []
    for cost in costs:
        if cost.macs not in base:
            raise DataError(f"costs: {cost.macs} MACs lack the {BASE_BITS}-bit engine that the others are compared with")
        whole = base[cost.macs]
        found.append(
            Relative(
                cost,
                cost.cells / whole.cells,
                cost.transistors / whole.transistors,
                cost.depth / whole.depth,
                cost.area_delay / whole.area_delay,
            )
        )
    return tuple(found)
