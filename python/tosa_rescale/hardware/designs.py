# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The blocks whose cost in standard cells is measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from tosa_rescale.core.display import count
from tosa_rescale.core.errors import OptionError

MAX_MACS = 256


@dataclasses.dataclass(frozen=True)
class Design:
    """One block.

    Attributes:
        name: as options and stored tables have it.
        says: what it is, for people.
        top: its module.
        sources: files of `rtl/`.
        base_bits: the multiplier of today's models, with which others are compared.
        parameters: of the module, beside BITS and MACS.
        has_macs: whether the module has a parameter MACS.
        tile: MACs of the whole block where it holds several engines; 0 for one engine.
        kept: modules that are mapped once and then placed as often as the block has them; none where it is mapped as one.
    """

    name: str
    says: str
    top: str
    sources: tuple[str, ...]
    base_bits: int = 32
    parameters: Mapping[str, int] = dataclasses.field(default_factory=dict)
    has_macs: bool = True
    tile: int = 0
    kept: tuple[str, ...] = ()

    def title(self, macs: int) -> str:
        """What it is with so many MACs to a rescaler, for people."""
        if self.tile:
            return f"{self.says}, a rescaler for each {macs}"
        return f"{self.says}, {count(macs, 'MAC')}" if self.has_macs else self.says

    def asked(self, macs: int, bits: int) -> str:
        """What was asked for, in the words of the options, for messages: `int8, 4 MACs at 1 bit`."""
        lanes = f", {count(macs, 'MAC')}" if self.has_macs else ""
        return f"{self.name}{lanes} at {count(bits, 'bit')}"

    def values(self, macs: int, bits: int) -> dict[str, int]:
        """The module's parameters for so many MACs to a rescaler of so many bits. Raises OptionError."""
        if not 1 <= macs <= MAX_MACS:
            raise OptionError(f"macs: {macs} is out of range; give a whole number from 1 to {MAX_MACS}")
        if not 1 <= bits <= self.base_bits:
            raise OptionError(f"bits: {bits} is out of range for {self.name}; give a whole number from 1 to {self.base_bits}")
        found = {**self.parameters, "BITS": bits}
        if self.has_macs:
            found["MACS"] = macs
        if self.tile:
            if self.tile % macs:
                raise OptionError(f"macs: {macs} does not divide the {self.tile} MACs of {self.name}; give 4, 8 or 16")
            found["ENGINES"] = self.tile // macs
        return found


_ENGINE = ("rescaler.sv", "dot_product_engine.sv")
_VARIANT = ("rescaler.sv", "variant_engine.sv")
_TILE = (*_ENGINE, "tile.sv")
_ELEMENTWISE = ("rescaler.sv", "elementwise_rescaler.sv")

DESIGNS = {
    design.name: design
    for design in (
        Design("int8", "dot-product engine of int8", "dot_product_engine", _ENGINE),
        Design("int8-double-round", "the same with DOUBLE_ROUND", "dot_product_engine", _ENGINE, 32, {"DOUBLE_ROUND": 1}),
        Design("int8-registers", "the same with registers in front of its operands", "tile", _TILE, 32, {"ENGINES": 1}),
        Design(
            "int8-pipelined", "the same with a register behind its multiplier", "variant_engine", _VARIANT, 32, {"PIPELINED": 1}
        ),
        Design(
            "int8-plain",
            "the same with a rescaler as the specification writes it",
            "variant_engine",
            _VARIANT,
            32,
            {"PLAIN": 1},
        ),
        Design("int16", "dot-product engine of int16 by int8", "dot_product_engine", _ENGINE, 15, {"ACTIVATION": 16}),
        Design("elementwise", "rescale of int32 to int32", "elementwise_rescaler", _ELEMENTWISE, 32, {"RESULT": 32}, False),
        Design(
            "elementwise-double-round",
            "the same with DOUBLE_ROUND",
            "elementwise_rescaler",
            _ELEMENTWISE,
            32,
            {"RESULT": 32, "DOUBLE_ROUND": 1},
            False,
        ),
        *(
            Design(
                f"tile{macs}",
                f"tile of {macs} int8 MACs",
                "tile",
                _TILE,
                tile=macs,
                kept=("dot_product_engine", "shared_operands"),
            )
            for macs in (64, 256)
        ),
    )
}
