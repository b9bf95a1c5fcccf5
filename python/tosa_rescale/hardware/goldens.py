# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Golden vectors: what goes into every rescale and what comes out while IREE runs the model."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tosa_rescale.core.progress import Progress, Silent
from tosa_rescale.core.rescales import raised
from tosa_rescale.hardware.pairs import RescaleTable

if TYPE_CHECKING:
    from tosa_rescale.core.program import Program


@dataclasses.dataclass(frozen=True, eq=False)
class Vectors:
    """Values of one rescale, taken from the tensors that IREE computed.

    Attributes:
        sample: int64 [V], which sample of the graph's inputs.
        position: int64 [V], flat position in the tensor of that sample.
        channel: int64 [V], position in the table's pairs; 0 where all channels share one.
        input: int64 [V], zero point included.
        output: int64 [V].
    """

    sample: np.ndarray
    position: np.ndarray
    channel: np.ndarray
    input: np.ndarray
    output: np.ndarray

    def text(self, table: RescaleTable) -> str:
        """Lines `channel input result`, hexadecimal, two's complement of the element's width."""
        widths = (table.input_bits, table.output_bits)
        digits, masks = [bits // 4 for bits in widths], [(1 << bits) - 1 for bits in widths]
        rows = zip(self.channel.tolist(), self.input.tolist(), self.output.tolist(), strict=True)
        return "".join(f"{c:x} {x & masks[0]:0{digits[0]}x} {y & masks[1]:0{digits[1]}x}\n" for c, x, y in rows)


@dataclasses.dataclass(frozen=True, eq=False)
class Goldens:
    """One run of a model.

    Attributes:
        inputs: one array [N, ...] for each input of the graph.
        outputs: one array [N, ...] for each output.
        vectors: for each table its values, in the tables' order.
    """

    inputs: Sequence[np.ndarray]
    outputs: Sequence[np.ndarray]
    vectors: Sequence[Vectors]

    def arrays(self, tables: Sequence[RescaleTable]) -> dict[str, np.ndarray]:
        """Everything by name, for an .npz: input0, output0, rescale12.channel and so on."""
        named = {f"input{i}": array for i, array in enumerate(self.inputs)}
        named |= {f"output{i}": array for i, array in enumerate(self.outputs)}
        for table, vectors in zip(tables, self.vectors, strict=True):
            named |= {f"{table.key}.{field.name}": getattr(vectors, field.name) for field in dataclasses.fields(vectors)}
        return named


def record_goldens(
    model: Program,
    tables: Sequence[RescaleTable],
    inputs: Sequence[np.ndarray],
    limit: int = 256,
    seed: int = 0,
    progress: Progress | None = None,
) -> Goldens:
    """Runs a model in IREE and takes values at every rescale.

    Args:
        model: the model.
        tables: its rescales, all or some; see `read_tables`.
        inputs: one array [N, *shape of a sample] for each input.
        limit: vectors for each rescale and sample, at most; where a tensor has more values, the lowest and the highest input
            and random positions, seeded.
        seed: of the positions.
        progress: shows rate and remaining time.

    Raises:
        ModuleError: a tensor has a dynamic shape.
        CompileError, ExecutionError: IREE failed.
    """
    from tosa_rescale_runtime import Executable, Tap

    taps = [(Tap(table.key, 0), Tap(table.key)) for table in tables]
    model = raised(model)
    executable = Executable.build(model.bytecode, taps=[tap for pair in taps for tap in pair], source=model.source)
    graph: list[tuple[np.ndarray, ...]] = []
    parts: list[list[Vectors]] = [[] for _ in tables]
    with (progress or Silent()).task("run on iree", len(inputs[0])) as advance:
        for sample, run in enumerate(executable.run_taps(*inputs)):  # one at a time: all its tensors are in memory
            graph.append(run.outputs)
            for table, kept, (before, after) in zip(tables, parts, taps, strict=True):
                kept.append(_take(table, run.taps[before], run.taps[after], sample, limit, seed))
            advance(1)
    vectors = [
        Vectors(*(np.concatenate([getattr(part, field.name) for part in each]) for field in dataclasses.fields(Vectors)))
        for each in parts
    ]
    return Goldens(inputs, [np.concatenate(column) for column in zip(*graph, strict=True)], vectors)


def _take(table: RescaleTable, before: np.ndarray, after: np.ndarray, sample: int, limit: int, seed: int) -> Vectors:
    flat, result = _signed(before, table.input_unsigned), _signed(after, table.output_unsigned)
    if flat.size <= limit:
        positions = np.arange(flat.size)
    else:
        rng = np.random.default_rng((seed, sample, zlib.crc32(table.key.encode())))
        positions = rng.choice(flat.size, limit, replace=False)
        positions[: min(2, limit)] = [flat.argmin(), flat.argmax()][:limit]  # where ranges are wrong, it shows here
        positions = np.unique(positions)
    channel = positions % after.shape[-1] if table.channels > 1 else np.zeros_like(positions)
    return Vectors(np.full_like(positions, sample), positions, channel, flat[positions], result[positions])


def _signed(values: np.ndarray, unsigned: bool) -> np.ndarray:
    """Flat int64; TOSA's tensors are signless, whether they count as unsigned the rescale says."""
    kind = f"{'u' if unsigned else ''}int{values.dtype.itemsize * 8}"
    return values.reshape(-1).view(kind).astype(np.int64)
