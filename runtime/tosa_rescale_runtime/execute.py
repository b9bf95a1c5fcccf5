# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Running compiled models on the CPU."""

from __future__ import annotations

import importlib
import os
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .compile import DEFAULT_FLAGS, Cache, compile_module
from .errors import ExecutionError, one_line
from .module import Module, TensorSpec
from .parameters import SCOPE, Skeleton, Tap, externalize
from .workers import borrow

_DRIVER = "local-sync"
_WORTH_PROCESSES = 32  # Below so many samples a process is not worth its start, about 0.3 s.
_CHUNK = 8  # Samples handed to a process at a time.


@dataclass(frozen=True, eq=False)
class Executable:
    """A compiled model with its numbers, ready to run.

    Instances can be used by many threads: a call takes an idle IREE context or makes one, so none waits for another.

    Attributes:
        vmfb: what the compiler made.
        function: symbol name of the function to call.
        inputs: what the function takes.
        outputs: what it gives.
        parameters: the numbers of a skeleton; empty where they are constants in the vmfb.

    """

    vmfb: bytes
    function: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parameters: Mapping[str, np.ndarray] = field(default_factory=dict)
    identity: uuid.UUID = field(default_factory=uuid.uuid4, init=False, repr=False)
    _idle: list[Callable[..., Any]] = field(default_factory=list, init=False, repr=False)

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
        return cls(vmfb, skeleton.function, skeleton.inputs, skeleton.outputs, skeleton.parameters)

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
            ModuleError: the module cannot be read.
            CompileError: see `compile_module`.

        """
        module = Module.parse(data, source)
        signature = module.signature
        module.strip_locations()
        vmfb = compile_module(module.to_bytecode(), flags, cache)
        return cls(vmfb, signature.function, signature.inputs, signature.outputs)

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

    def run(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """Runs the function once.

        Args:
            *arrays: one array for each input, of exactly its shape and dtype.

        Returns:
            One array for each output, with its shape and dtype; copies that outlive the executable.

        Raises:
            ExecutionError: number, shape or dtype of the arrays does not fit, or IREE failed.

        """
        self._check(arrays, [spec.shape for spec in self.inputs])
        return self._invoke(arrays)

    def run_many(
        self, *arrays: np.ndarray, workers: int | None = None, progress: Callable[[int], None] | None = None
    ) -> tuple[np.ndarray, ...]:
        """Runs the function on many samples, over many processes.

        Args:
            *arrays: for each input an array [N, ...]: N samples, each of the input's shape without its first dimension,
                which must be 1.
            workers: number of processes; 1 runs in this one. Where None, the CPU cores this process may use, or 1 for
                a few samples only.
            progress: called with the number of samples just done, from any thread but never from two at once.

        Returns:
            One array [N, ...] for each output, samples in the order given. Outputs whose first dimension is not 1, such
            as taps of channel sums, get a new first dimension.

        Raises:
            ExecutionError: number, shape or dtype of the arrays does not fit, or IREE failed.

        """
        for spec in self.inputs:
            if spec.shape[:1] != (1,):
                raise ExecutionError(f"`{spec.name}` requires a first dimension of 1 to run samples, got {list(spec.shape)}")
        count = len(arrays[0]) if arrays and arrays[0].ndim else 0
        self._check(arrays, [(count, *spec.shape[1:]) for spec in self.inputs])
        results = tuple(np.empty((count, *_sample_shape(spec)), spec.dtype) for spec in self.outputs)
        wanted = workers or (usable_cores() if count >= _WORTH_PROCESSES else 1)
        chunk = max(1, min(_CHUNK, count // wanted))
        lock = threading.Lock()

        def done(start: int, values: Sequence[np.ndarray]) -> None:
            for result, value in zip(results, values, strict=True):
                result[start : start + len(value)] = value
            if progress is not None:
                with lock:
                    progress(len(values[0]))

        def run_chunk(start: int) -> None:
            with borrow() as worker:
                done(start, worker.run(self, [a[start : start + chunk] for a in arrays]))

        if wanted == 1:
            for index in range(count):
                values = self._invoke([a[index : index + 1] for a in arrays])
                done(index, [v.reshape(1, *r.shape[1:]) for v, r in zip(values, results, strict=True)])
            return results
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

    def _check(self, arrays: Sequence[np.ndarray], shapes: Sequence[tuple[int | None, ...]]) -> None:
        if len(arrays) != len(self.inputs):
            raise ExecutionError(f"`{self.function}` requires {len(self.inputs)} inputs, got {len(arrays)}")
        for spec, shape, array in zip(self.inputs, shapes, arrays, strict=True):
            if not isinstance(array, np.ndarray) or array.dtype != spec.dtype:
                got = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
                raise ExecutionError(f"`{spec.name}` requires dtype {spec.dtype}, got {got}")
            if len(shape) != array.ndim or any(want not in (None, have) for want, have in zip(shape, array.shape, strict=True)):
                raise ExecutionError(f"`{spec.name}` requires shape {list(shape)}, got {list(array.shape)}")

    def _invoke(self, arrays: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        try:
            call = self._idle.pop()  # Atomic, as is `append`: no lock.
        except IndexError:
            call = self._load()
        # IREE knows bytes, not signs.
        signless = [a.view(a.dtype.str.replace("u", "i")) if a.dtype.kind == "u" else a for a in arrays]
        try:
            returned = call(*signless)
        except (RuntimeError, ValueError) as error:
            raise ExecutionError(f"IREE failed in `{self.function}`: {one_line(str(error))}") from None
        returned = returned if isinstance(returned, tuple) else (returned,)
        results = tuple(_to_numpy(value, spec.dtype) for value, spec in zip(returned, self.outputs, strict=True))
        self._idle.append(call)
        return results

    def _load(self) -> Callable[..., Any]:
        """Makes a context: reads the parameters and lays the weights out for this CPU."""
        # Its stubs lag behind: `create_default_device` takes no argument there.
        rt: Any = importlib.import_module("iree.runtime")
        config = rt.Config(device=rt.get_driver(_DRIVER).create_default_device())
        instance = config.vm_instance
        modules = []
        if self.parameters:
            index = rt.ParameterIndex()
            for name, value in self.parameters.items():
                # The index refers to the memory and does not copy it; `self.parameters` keeps it alive.
                index.add_buffer(name, value.reshape(-1).view(np.uint8))
            modules.append(rt.create_io_parameters_module(instance, index.create_provider(SCOPE)))
        try:
            modules.append(rt.VmModule.copy_buffer(instance, self.vmfb))
            context = rt.SystemContext(vm_modules=modules, config=config)
        except (RuntimeError, ValueError) as error:
            raise ExecutionError(f"IREE cannot load the executable: {one_line(str(error))}") from None
        return context.modules.module[self.function]


def _sample_shape(spec: TensorSpec) -> tuple[int, ...]:
    shape = tuple(n for n in spec.shape if n is not None)
    if len(shape) != len(spec.shape):
        raise ExecutionError(f"`{spec.name}` requires a static shape to run samples, got {list(spec.shape)}")
    return shape[1:] if shape[:1] == (1,) else shape


def _to_numpy(value: Any, dtype: np.dtype[Any]) -> np.ndarray:
    # Neither `np.asarray` nor `to_host` copies on a CPU device: both may alias memory that IREE frees with `value`.
    host = np.array(value.to_host(), copy=True)
    return host.view(dtype) if host.dtype.itemsize == dtype.itemsize else host.astype(dtype)


def usable_cores() -> int:
    """Returns the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
