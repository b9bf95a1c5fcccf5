# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Building executables and running them on many samples, over many processes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from .compile import DEFAULT_FLAGS, Cache, compile_module
from .errors import ExecutionError
from .externalize import Skeleton, Tap, externalize
from .iree_forms import rewrite_for_iree
from .loaded import Loaded
from .module import Module
from .workers import borrow

_WORTH_PROCESSES = 32  # Below so many samples a process is not worth its start, about 0.3 s.
_CHUNK = 8  # Samples handed to a process at a time.


@dataclass(frozen=True)
class Tapped:
    """What a run gives of some samples.

    Attributes:
        outputs: for each output of the model an array `[n, *sample_shape]`.
        taps: the same for each tap, under the tap that was asked for.

    """

    outputs: tuple[np.ndarray, ...]
    taps: Mapping[Tap, np.ndarray]


@dataclass(frozen=True, eq=False)
class Executable(Loaded):
    """A compiled model with its numbers, ready to run: in this process by `run`, over many by `run_many`.

    Made by `build`, which compiles once for all widths and weights, or by `from_constants`. See `Loaded` for its attributes.
    """

    @classmethod
    def build(
        cls,
        data: bytes | str,
        *,
        taps: Sequence[Tap | str] = (),
        flags: Sequence[str] = DEFAULT_FLAGS,
        cache: Cache | bool = True,
        source: str = "module",
    ) -> Executable:
        """Compiles a module's skeleton, or finds it in the cache, and gives it the module's numbers.

        Args:
            data: the TOSA module, bytecode or text.
            taps: values to return in addition; see `externalize`.
            flags: flags of iree-compile.
            cache: see `compile_module`.
            source: what to call the module in messages.

        Raises:
            ModuleError: see `externalize`.
            CompileError: see `compile_module`.

        """
        return cls.from_skeleton(externalize(data, taps, source), flags=flags, cache=cache)

    @classmethod
    def from_skeleton(
        cls, skeleton: Skeleton, *, flags: Sequence[str] = DEFAULT_FLAGS, cache: Cache | bool = True
    ) -> Executable:
        """Compiles a skeleton, or finds it in the cache, and gives it its parameters.

        Raises:
            CompileError: see `compile_module`.

        """
        vmfb = compile_module(skeleton.bytecode, flags, cache)
        return cls(vmfb, skeleton.signature, skeleton.parameters, skeleton.taps, skeleton.tap_specs)

    @classmethod
    def from_constants(
        cls,
        data: bytes | str,
        *,
        flags: Sequence[str] = DEFAULT_FLAGS,
        cache: Cache | bool = True,
        source: str = "module",
    ) -> Executable:
        """Compiles a module as it stands, numbers included: the reference that `build` is compared with.

        Raises:
            ModuleError: the module cannot be read, or takes or gives floating point.
            CompileError: see `compile_module`.

        """
        module = Module.parse(data, source)
        signature = module.signature
        signature.require_integers(source)
        rewrite_for_iree(module)
        module.strip_locations()
        return cls(compile_module(module.to_bytecode(), flags, cache), signature)

    def with_parameters(self, parameters: Mapping[str, np.ndarray]) -> Executable:
        """Returns the same executable with other numbers; nothing is compiled.

        Args:
            parameters: one array for each name in `self.parameters`, of the same shape and dtype.

        Raises:
            ExecutionError: a name is missing or unknown, or a shape or dtype differs.

        """
        for name in sorted(parameters.keys() ^ self.parameters.keys()):
            raise ExecutionError(f"parameter `{name}` is {'missing' if name in self.parameters else 'unknown'}")
        for name, value in parameters.items():
            want = self.parameters[name]
            if value.shape != want.shape or value.dtype != want.dtype:
                raise ExecutionError(
                    f"parameter `{name}` requires {want.dtype} {list(want.shape)}, got {value.dtype} {list(value.shape)}"
                )
        return replace(self, parameters={name: np.ascontiguousarray(value) for name, value in parameters.items()})

    def run_many(
        self, *arrays: np.ndarray, workers: int | None = None, progress: Callable[[int], None] | None = None
    ) -> tuple[np.ndarray, ...]:
        """Runs the function on many samples, over many processes.

        Args:
            *arrays: for each input an array `[N, *sample_shape]`. Where the graph is batched, a sample has the input's shape
                without its first dimension, else the whole (see `Signature`).
            workers: number of processes; 1 runs in this one. Where None, the CPU cores this process may use, or 1 for
                a few samples only.
            progress: called with the number of samples just done, from any thread but never from two at once.

        Returns:
            For each of `outputs` an array `[N, *sample_shape]`, samples in the order given.

        Raises:
            ExecutionError: number, shape or dtype of the arrays does not fit, a worker process failed, or IREE did.

        """
        count = self.count(arrays)
        wanted = workers or (usable_cores() if count >= _WORTH_PROCESSES else 1)
        if wanted == 1:
            return self.run_each(arrays, progress)
        results = tuple(np.empty((count, *shape), spec.dtype) for spec, shape in self.output_samples())
        chunk = max(1, min(_CHUNK, count // wanted))
        lock = threading.Lock()

        def run_chunk(start: int) -> None:
            with borrow() as worker:
                values = worker.run(self, [array[start : start + chunk] for array in arrays])
            for result, value in zip(results, values, strict=True):
                result[start : start + len(value)] = value
            if progress is not None:
                with lock:
                    progress(min(chunk, count - start))

        # These threads only wait for the processes.
        with ThreadPoolExecutor(wanted, thread_name_prefix="tosa-rescale") as pool:
            futures = [pool.submit(run_chunk, start) for start in range(0, count, chunk)]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return results

    def run_taps(self, *arrays: np.ndarray, chunk: int = 1, workers: int | None = 1) -> Iterator[Tapped]:
        """Runs samples, a few at a time, and gives outputs and taps apart.

        Args:
            *arrays: for each input an array `[N, *sample_shape]`; see `run_many`.
            chunk: samples to run before their values are given: so many are in memory at once, each with all its taps.
            workers: see `run_many`; each chunk is spread over them.

        Yields:
            Outputs and taps of samples 0 to `chunk`-1, then of the next ones, until all are done; the last chunk may be
            smaller.

        Raises:
            ExecutionError: `chunk` is below 1, or see `run_many`.

        """
        if chunk < 1:
            raise ExecutionError(f"chunk: {chunk} is out of range; give at least 1")
        plain = len(self.signature.outputs)
        for start in range(0, self.count(arrays), chunk):
            values = self.run_many(*(array[start : start + chunk] for array in arrays), workers=workers)
            yield Tapped(values[:plain], dict(zip(self.taps, values[plain:], strict=True)))


def usable_cores() -> int:
    """Returns the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
