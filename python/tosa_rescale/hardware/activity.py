# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How often the nets of a mapped netlist change: simulation of its cells, many streams at once.

Every net settles once a cycle, so glitches are not in the counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tosa_rescale.hardware.beats import Beats
from tosa_rescale.hardware.liberty import Cell, Library
from tosa_rescale.hardware.mapping import Netlist
from tosa_rescale.hardware.yosys import SynthesisError

WARM_UP = 8  # cycles until the state that the simulation began in is gone
_WORDS = 4  # of 64 streams each

Stimulus = Mapping[str, np.ndarray]


def activities(netlist: Netlist, library: Library, stimulus: Stimulus) -> dict[str, float]:
    """Transitions a cycle of the outputs of each cell, their mean where there are two.

    Args:
        netlist: flat.
        library: of its cells.
        stimulus: input port to its bits, bool [cycles, streams, width], the low bit first; the clock is left out.
    """
    module = json.loads(netlist.json.read_text())["modules"][netlist.top]
    program, registers, nets = _compile(module, library.cells)
    count = 1 + max(nets)
    cycles, streams = next(iter(stimulus.values())).shape[:2]
    values = np.zeros((count, streams // 64), np.uint64)
    values[1] = ~np.uint64(0)
    words = {
        name: np.packbits(bits.transpose(0, 2, 1), axis=2, bitorder="little").view(np.uint64) for name, bits in stimulus.items()
    }
    changes = np.zeros(count, np.int64)
    rows = list(values)
    ports = module["ports"]
    for cycle in range(cycles):
        before = values.copy()
        for q, d in registers:
            values[q] = before[d]
        for name, each in words.items():
            values[ports[name]["bits"]] = each[cycle]
        program(rows)
        if cycle >= WARM_UP:
            changes += np.bitwise_count(values ^ before).sum(1, dtype=np.int64)
    samples = (cycles - WARM_UP) * streams
    found = {}
    for name, cell in module["cells"].items():
        outputs = [cell["connections"][pin][0] for pin in library.cells[cell["type"]].outputs if cell["connections"].get(pin)]
        found[name] = float(np.mean([changes[net] for net in outputs]) / samples) if outputs else 0.0
    return found


def _compile(module: Any, cells: Mapping[str, Cell]) -> tuple[Any, list[tuple[int, int]], set[int]]:
    """A function that settles all logic, the registers as pairs of nets (state, next state), and all nets.

    Nets 0 and 1 are the constants; a flip-flop's next state gets a net of its own.
    """
    nets = {bit for port in module["ports"].values() for bit in port["bits"] if isinstance(bit, int)}
    drivers: dict[int, tuple[str, list[int]]] = {}
    registers: list[tuple[int, int]] = []
    outputs = []
    for each in module["cells"].values():
        nets |= {bit for bits in each["connections"].values() for bit in bits if isinstance(bit, int)}
    free = 1 + max(nets)
    for each in module["cells"].values():
        if each["type"] not in cells:
            raise SynthesisError(f"yosys: cell {each['type']} is none of the library's; give all files of the library")
        cell = cells[each["type"]]
        pins = {pin: _net(bits[0]) for pin, bits in each["connections"].items() if bits}
        if cell.state:
            state, following = free, free + 1
            free += 2
            drivers[following] = _expression(cell.next_state, pins)
            registers.append((state, following))
            pins |= {cell.state[0]: state}
            if len(cell.state) > 1:
                drivers[free] = (f"~n[{state}]", [state])
                pins[cell.state[1]] = free
                free += 1
        for pin, function in cell.outputs.items():
            if pin in pins:
                drivers[pins[pin]] = _expression(function, pins)
                outputs.append(pins[pin])
    order = _order(drivers)
    # An element is assigned in place: rows are views of one array, of which changes are counted at once.
    body = "\n".join(f" n[{net}][:] = {drivers[net][0]}" for net in order)
    scope: dict[str, Any] = {}
    exec(compile(f"def settle(n):\n{body or ' pass'}\n", "<netlist>", "exec"), scope)
    return scope["settle"], registers, nets | set(drivers) | {state for state, _ in registers}


def _net(bit: int | str) -> int:
    return bit if isinstance(bit, int) else int(bit == "1")


def _expression(function: str, pins: Mapping[str, int]) -> tuple[str, list[int]]:
    """A Liberty function as Python, and the nets that it reads.

    In falling precedence: `!a` and `a'`; `a^b`; `a*b`, `a&b` and `a b`; `a+b` and `a|b`.
    """
    words = re.findall(r"[A-Za-z_]\w*|[01]|[()!'*&+|^]", function)[::-1]
    reads: list[int] = []

    def chain(inner: Callable[[], str], signs: str, python: str, bare: bool = False) -> str:
        text = inner()
        while words and (words[-1] in signs or (bare and (words[-1] in "(!" or words[-1][0].isalnum()))):
            if words[-1] in signs:
                words.pop()
            text = f"({text}{python}{inner()})"
        return text

    def any_of() -> str:
        return chain(lambda: chain(lambda: chain(single, "^", "^"), "*&", "&", bare=True), "+|", "|")

    def single() -> str:
        word = words.pop()
        if word == "!":
            return f"(~{single()})"
        if word == "(":
            text = any_of()
            words.pop()
        else:
            net = int(word) if word in "01" else pins.get(word, 0)
            reads.append(net)
            text = f"n[{net}]"
        while words and words[-1] == "'":
            words.pop()
            text = f"(~{text})"
        return text

    return any_of(), reads


def _order(drivers: Mapping[int, tuple[str, list[int]]]) -> list[int]:
    """Nets so that each comes behind those that it reads."""
    order: list[int] = []
    state: dict[int, int] = {}
    for root in drivers:
        stack = [root]
        while stack:
            net = stack[-1]
            if state.get(net) == 2 or net not in drivers:
                stack.pop()
                continue
            if state.get(net) == 1:
                state[net] = 2
                order.append(net)
                stack.pop()
                continue
            state[net] = 1
            stack += [each for each in drivers[net][1] if state.get(each) != 2 and each in drivers]
    return order


def engine_stimulus(beats: Beats, bits: int, cycles: int = 48) -> dict[str, np.ndarray]:
    """Beats as the ports of an engine of so many bits see them, one a cycle; streams begin spread over all outputs."""
    outputs, length = beats.activations.shape[:2]
    streams = 64 * _WORDS
    starts = (np.arange(streams) * outputs // streams) * length
    flat = (starts[None] + np.arange(cycles + WARM_UP)[:, None]) % (outputs * length)
    n, b = flat // length, flat % length
    accumulator = 48 if beats.activation_bits == 16 else 32
    return {
        "reset": np.zeros((*flat.shape, 1), bool),
        "valid": np.ones((*flat.shape, 1), bool),
        "first": (b == 0)[..., None],
        "last": (b == length - 1)[..., None],
        "activations": _bits(beats.activations[n, b], beats.activation_bits).reshape(*flat.shape, -1),
        "weights": _bits(beats.weights[n, b], 8).reshape(*flat.shape, -1),
        "bias": _bits(beats.bias[n], accumulator),
        "multiplier": _bits(beats.multiplier[n], bits),
        "shift": _bits(beats.shift[n], 6),
        "zero_point": _bits(np.full(flat.shape, beats.zero_point), 8),
    }


def _bits(values: np.ndarray, width: int) -> np.ndarray:
    """Two's complement, the low bit first, in a last dimension."""
    return (values[..., None] >> np.arange(width)) & 1 == 1
