# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The RTL's other datapaths: int16 activations, int32 results, DOUBLE_ROUND, tiles; bit for bit, against Python's integers."""

from __future__ import annotations

import dataclasses
import pathlib
import shutil

import numpy as np
import pytest
from rtl_simulation import MODULES, call, simulate, simulator
from tosa_rescale.hardware.beats import Beats, packed, random_beats
from tosa_rescale.hardware.yosys import RTL


def rescale(value: int, multiplier: int, shift: int, result: int, second: int | None, zero_point: int = 0) -> int:
    """RESCALE of the specification, saturated to a result of so many bits.

    Args:
        value: zero-point-free.
        multiplier: of so many bits, in units of the shift.
        shift: 0 has nothing to round.
        result: bits.
        second: the bit at which DOUBLE_ROUND's second rounding adds; None for SINGLE_ROUND.
        zero_point: of the result.
    """
    rounding = 1 << (shift - 1) if shift else 0
    if second is not None and shift > second + 1:
        rounding += (1 << second) * (1 if value >= 0 else -1)
    rounded = (value * multiplier + rounding) >> shift
    top = 1 << (result - 1)
    return min(max(rounded + zero_point, -top), top - 1)


def edges(rng: np.random.Generator, bits: int, result: int, multiplier: int, shift: int, second: int | None) -> list[int]:
    """Ends of the accumulator, and values beside the ties and beside the ends of the result."""
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    found = [low, high, 0, -1, 1, int(rng.integers(low, high, endpoint=True))]
    for target in (int(rng.integers(-300, 300)), -(1 << (result - 1)), (1 << (result - 1)) - 1):
        tie = ((2 * target + 1) << shift >> 1) // max(multiplier, 1)
        moved = 0 if second is None else (1 << second) // max(multiplier, 1)
        found += [place + step for place in (tie, tie - moved, tie + moved) for step in (-1, 0, 1)]
    return [min(max(value, low), high) for value in found]


DATAPATHS = [
    # bits, accumulator, result, double rounding
    *((bits, 48, 16, 0) for bits in (1, 3, 15)),
    *((bits, 32, 32, 0) for bits in (1, 2, 31, 32)),
    *((bits, 32, 8, 1) for bits in (1, 2, 8, 32)),
    *((bits, 32, 32, 1) for bits in (1, 4, 32)),
    (4, 32, 16, 0),
]


@pytest.mark.parametrize(("bits", "accumulator", "result", "double"), DATAPATHS)
def test_every_datapath_is_exact_for_every_shift_and_at_every_edge(
    bits: int, accumulator: int, result: int, double: int, tmp_path: pathlib.Path
) -> None:
    tool = simulator()
    rng = np.random.default_rng((bits, accumulator, result, double))
    zero_point = int(rng.integers(-128, 128)) if result == 8 else 0
    leading = 30 if bits == 32 and double else bits - 1
    pairs = [(int(rng.integers(1 << leading, 2 << leading)) if bits > 1 else 1, shift) for shift in range(64) for _ in range(3)]
    if double == 0:
        pairs += [(int(rng.integers(0, 1 << bits)), shift) for shift in range(64) if bits > 1]
    pairs += [((2 << leading) - 1, shift) for shift in range(64)]
    second = leading if double else None
    lines = [
        f"{index:x} {value & (1 << accumulator) - 1:x}"
        f" {rescale(value, multiplier, shift, result, second, zero_point) & (1 << result) - 1:x}"
        for index, (multiplier, shift) in enumerate(pairs)
        for value in edges(rng, accumulator, result, multiplier, shift, second)
    ]
    (tmp_path / "m.hex").write_text("\n".join(f"{multiplier:x}" for multiplier, _ in pairs) + "\n")
    (tmp_path / "s.hex").write_text("\n".join(f"{shift:x}" for _, shift in pairs) + "\n")
    (tmp_path / "v.txt").write_text("\n".join(lines) + "\n")
    parameters = {"BITS": bits, "ACCUMULATOR": accumulator, "RESULT": result, "DOUBLE_ROUND": double, "WORDS": len(pairs)}
    arguments = {"multipliers": "m.hex", "shifts": "s.hex", "vectors": "v.txt", "zero_point": zero_point}
    assert simulate(tool, "rescaler_tb", tmp_path, parameters, arguments) == (len(lines), 0)


def at_the_ends(beats: Beats, rng: np.random.Generator) -> Beats:
    """The same beats with operands at the ends of their types, where the multipliers' signs are treated row by row."""
    top = 1 << (beats.activation_bits - 1)
    activations = rng.choice([-top, 1 - top, -1, 0, 1, top - 1], beats.activations.shape)
    weights = rng.choice([-128, -127, -1, 0, 1, 127], beats.weights.shape)
    totals = beats.bias + (activations * weights).sum((1, 2))
    triples = zip(totals, beats.multiplier, beats.shift, strict=True)
    result = np.array([rescale(int(a), int(m), int(s), beats.activation_bits, None) for a, m, s in triples])
    return Beats(activations, weights, beats.bias, beats.multiplier, beats.shift, 0, result, beats.activation_bits)


def in_every_cycle(beats: Beats, rng: np.random.Generator) -> tuple[str, str]:
    """Files of outputs of one beat, each with its own shift and zero point: what is held too short or too long shows."""
    shift = np.maximum(beats.shift + rng.integers(-3, 4, len(beats.shift)), 1)
    zero_points = rng.integers(-128, 128, len(shift)) if beats.activation_bits == 8 else np.zeros_like(shift)
    totals = beats.bias + (beats.activations * beats.weights).sum((1, 2))
    outputs = zip(totals, beats.multiplier, shift, zero_points, strict=True)
    result = np.array([rescale(int(a), int(m), int(s), beats.activation_bits, None, int(z)) for a, m, s, z in outputs])
    lines, results = dataclasses.replace(beats, shift=shift, result=result).lines()
    fields = zip(lines.splitlines(), zero_points, strict=True)
    return "".join(f"{line.rsplit(' ', 1)[0]} {int(zero_point) & 0xFF:x}\n" for line, zero_point in fields), results


@pytest.mark.parametrize(("macs", "bits"), [(4, 15), (8, 1)])
@pytest.mark.parametrize("ends", [False, True])
def test_the_engine_of_int16_activations_is_exact(macs: int, bits: int, ends: bool, tmp_path: pathlib.Path) -> None:
    tool = simulator()
    beats = random_beats(macs, bits, activation_bits=16, outputs=60)
    # The bias reaches beyond 32 bits: the accumulator has 48.
    rng = np.random.default_rng(bits)
    wide = Beats(*(getattr(beats, name) for name in ("activations", "weights")), rng.integers(-(1 << 40), 1 << 40, 60),
                 beats.multiplier, beats.shift + 12, 0, beats.result, 16)  # fmt: skip
    for each in (at_the_ends(wide, rng), at_the_ends(beats, rng)) if ends else (beats,):
        lines, results = each.lines()
        (tmp_path / "b.txt").write_text(lines)
        (tmp_path / "r.txt").write_text(results)
        parameters = {"MACS": macs, "BITS": bits, "ACTIVATION": 16}
        arguments = {"beats": "b.txt", "results": "r.txt"}
        assert simulate(tool, "beats_tb", tmp_path, parameters, arguments) == (60, 0)


@pytest.mark.parametrize(("macs", "bits", "activation"), [(4, 32, 8), (4, 4, 8), (8, 1, 8), (16, 3, 8), (4, 15, 16)])
@pytest.mark.parametrize(("pipelined", "plain"), [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_engines_built_in_other_ways_compute_the_same(
    pipelined: int, plain: int, macs: int, bits: int, activation: int, tmp_path: pathlib.Path
) -> None:
    tool = simulator()
    rng = np.random.default_rng(3)
    beats = random_beats(macs, bits, activation, outputs=200, products=4 * macs)
    single = random_beats(macs, bits, activation, outputs=200, products=macs, seed=1)
    for lines, results in (beats.lines(), at_the_ends(beats, rng).lines(), in_every_cycle(single, rng)):
        (tmp_path / "b.txt").write_text(lines)
        (tmp_path / "r.txt").write_text(results)
        parameters = {
            "VARIANT": 1,
            "PIPELINED": pipelined,
            "PLAIN": plain,
            "MACS": macs,
            "BITS": bits,
            "ACTIVATION": activation,
        }
        arguments = {"beats": "b.txt", "results": "r.txt"}
        assert simulate(tool, "beats_tb", tmp_path, parameters, arguments) == (200, 0)


@pytest.mark.parametrize(("bits", "result", "double"), [(1, 32, 0), (32, 32, 0), (8, 32, 1), (4, 8, 0), (1, 16, 1)])
def test_the_elementwise_rescaler_takes_one_value_a_cycle(bits: int, result: int, double: int, tmp_path: pathlib.Path) -> None:
    tool = simulator()
    rng = np.random.default_rng(7)
    leading = 30 if bits == 32 else bits - 1
    lines = []
    for _ in range(200):
        value, shift = int(rng.integers(-(1 << 31), 1 << 31)), int(rng.integers(1, 40))
        multiplier = int(rng.integers(1 << leading, 2 << leading))
        zero_point = int(rng.integers(-128, 128)) if result == 8 else 0
        wanted = rescale(value, multiplier, shift, result, leading if double else None, zero_point)
        words = (value & 0xFFFFFFFF, multiplier, shift, zero_point & (1 << result) - 1, wanted & (1 << result) - 1)
        lines.append(" ".join(f"{word:x}" for word in words))
    (tmp_path / "v.txt").write_text("\n".join(lines) + "\n")
    parameters = {"BITS": bits, "RESULT": result, "DOUBLE_ROUND": double}
    assert simulate(tool, "elementwise_rescaler_tb", tmp_path, parameters, {"vectors": "v.txt"}) == (200, 0)


@pytest.mark.parametrize("engines", [1, 4, 6])
def test_a_tile_computes_one_channel_an_engine(engines: int, tmp_path: pathlib.Path) -> None:
    """Four engines share registers: of six the last two share others."""
    tool = simulator()
    macs, bits, outputs = 4, 3, 40
    parts = [random_beats(macs, bits, outputs=outputs, products=16, seed=seed) for seed in range(engines)]
    shared = parts[0].activations
    lines, results = [], []
    for n in range(outputs):
        result = [
            rescale(
                int(part.bias[n] + (shared[n] * part.weights[n]).sum()), int(part.multiplier[n]), int(part.shift[n]), 8, None, 9
            )
            for part in parts
        ]
        results.append(f"{packed(np.array(result), 8):x}")
        for b in range(shared.shape[1]):
            weights = packed(np.concatenate([part.weights[n, b] for part in parts]), 8)
            fields = [packed(np.array([getattr(part, name)[n] for part in parts]), width)
                      for name, width in (("bias", 32), ("multiplier", bits), ("shift", 6))]  # fmt: skip
            words = (b == 0, b == shared.shape[1] - 1, packed(shared[n, b], 8), weights, *fields, 9)
            lines.append(" ".join(f"{int(word):x}" for word in words))
    (tmp_path / "b.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "r.txt").write_text("\n".join(results) + "\n")
    parameters = {"TILE": 1, "ENGINES": engines, "MACS": macs, "BITS": bits}
    arguments = {"beats": "b.txt", "results": "r.txt"}
    assert simulate(tool, "beats_tb", tmp_path, parameters, arguments) == (outputs, 0)


@pytest.mark.slow
def test_verilator_agrees_on_the_other_datapaths_and_has_nothing_to_warn_of(tmp_path: pathlib.Path) -> None:
    if not shutil.which("verilator"):
        pytest.skip("Verilator is not installed (Debian: verilator)")
    sources = [str(RTL / f"{name}.sv") for name in MODULES]
    for top, *values in (
        ("dot_product_engine", "ACTIVATION=16", "BITS=1"),
        ("dot_product_engine", "DOUBLE_ROUND=1", "BITS=8"),
        ("elementwise_rescaler", "BITS=1", "DOUBLE_ROUND=1"),
        ("elementwise_rescaler", "BITS=32"),
        ("variant_engine", "BITS=32", "PIPELINED=1"),
        ("variant_engine", "BITS=1", "ACTIVATION=16"),
        ("variant_engine", "BITS=4", "PLAIN=1"),
        ("tile", "BITS=4"),
        ("tile", "BITS=1", "ENGINES=6"),
        ("tile", "ENGINES=1"),
    ):
        flags = [f"-G{value}" for value in values]
        call(["verilator", "--lint-only", "-Wall", "-Wno-DECLFILENAME", *flags, "--top-module", top, *sources], tmp_path)
    lines, results = random_beats(4, 15, activation_bits=16, outputs=60).lines()
    (tmp_path / "b.txt").write_text(lines)
    (tmp_path / "r.txt").write_text(results)
    parameters, arguments = {"MACS": 4, "BITS": 15, "ACTIVATION": 16}, {"beats": "b.txt", "results": "r.txt"}
    assert simulate("verilator", "beats_tb", tmp_path, parameters, arguments) == (60, 0)
