# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Running a compiled model in this process."""

from __future__ import annotations

import importlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from .builder import SCOPE
from .errors import ExecutionError, one_line
from .externalize import Tap
from .packed import unpack
from .signature import Signature, TensorSpec

_DRIVER = "local-sync"


@dataclass(frozen=True, eq=False)
class Loaded:
    """A compiled model with its numbers, run in this process.

    Instances can be used by many threads: a call takes an idle IREE context or makes one, so none waits for another.

    Attributes:
        vmfb: what the compiler made.
        signature: what the model takes and gives.
        parameters: the numbers of a skeleton; empty where they are constants in the vmfb.
        taps: values inside the graph that are returned after the model's outputs.
        tap_specs: a spec for each tap.

    """

    vmfb: bytes
    signature: Signature
    parameters: Mapping[str, np.ndarray] = field(default_factory=dict)
    taps: tuple[Tap, ...] = ()
    tap_specs: tuple[TensorSpec, ...] = ()
    identity: uuid.UUID = field(default_factory=uuid.uuid4, init=False, repr=False)
    _idle: list[Callable[..., Any]] = field(default_factory=list, init=False, repr=False)

    @property
    def function(self) -> str:
        """Symbol name of the function that is called."""
        return self.signature.function

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What `run` takes."""
        return self.signature.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What `run` gives: the model's outputs, `signature.outputs`, and after them the taps."""
        return self.signature.outputs + self.tap_specs

    def run(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """Runs the function once.

        Args:
            *arrays: one array for each input, of exactly its shape and dtype.

        Returns:
            One array for each of `outputs`, with its shape and dtype; copies that outlive the executable.

        Raises:
            ExecutionError: number, shape or dtype of the arrays does not fit, or IREE failed.

        """
        self._check(arrays, [spec.shape for spec in self.inputs])
        return self._invoke(arrays)

    def without_taps(self) -> Self:
        """The same executable; what it returns of its taps is dropped."""
        return replace(self, taps=(), tap_specs=())

    def run_each(self, arrays: Sequence[np.ndarray], progress: Callable[[int], None] | None = None) -> tuple[np.ndarray, ...]:
        """Runs samples one after the other.

        Args:
            arrays: for each input an array `[N, *sample_shape]`; see `Signature.sample_shape`.
            progress: called with 1 after each sample.

        Returns:
            For each of `outputs` an array `[N, *sample_shape]`.

        Raises:
            ExecutionError: number, shape or dtype of the arrays does not fit, or IREE failed.

        """
        count = self.count(arrays)
        results = tuple(np.empty((count, *shape), spec.dtype) for spec, shape in self.output_samples())
        for index in range(count):
            given = [array[index].reshape(_static(spec)) for array, spec in zip(arrays, self.inputs, strict=True)]
            for result, value in zip(results, self._invoke(given), strict=True):
                result[index] = value.reshape(result.shape[1:])
            if progress is not None:
                progress(1)
        return results

    def count(self, arrays: Sequence[np.ndarray]) -> int:
        """Returns how many samples arrays hold.

        Args:
            arrays: for each input an array `[N, *sample_shape]`.

        Raises:
            ExecutionError: number, shape or dtype of the arrays does not fit.

        """
        count = len(arrays[0]) if arrays and getattr(arrays[0], "ndim", 0) else 0
        self._check(arrays, [(count, *self.signature.sample_shape(spec)) for spec in self.inputs])
        return count

    def output_samples(self) -> list[tuple[TensorSpec, tuple[int, ...]]]:
        """Returns each of `outputs` with the shape of a sample of it.

        Raises:
            ExecutionError: an input or output has a dynamic extent beside the batch.

        """
        for spec in (*self.inputs, *self.outputs):
            if None in self.signature.sample_shape(spec):
                raise ExecutionError(f"`{spec.name}` requires a static shape to run samples, got {list(spec.shape)}")
        return [(spec, tuple(n or 0 for n in self.signature.sample_shape(spec))) for spec in self.outputs]

    def _check(self, arrays: Sequence[np.ndarray], shapes: Sequence[tuple[int | None, ...]]) -> None:
        if len(arrays) != len(self.inputs):
            raise ExecutionError(
                f"`{self.function}` requires {len(self.inputs)} input{'' if len(self.inputs) == 1 else 's'}, got {len(arrays)}"
            )
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
        except Exception as error:  # IREE's statuses come as exceptions of a dozen types.
            raise ExecutionError(f"IREE failed in `{self.function}`: {one_line(str(error))}") from None
        returned = returned if isinstance(returned, tuple) else (returned,)
        outputs = self.signature.outputs
        plain, packed = returned[: len(outputs)], returned[len(outputs) :]
        results = [_to_numpy(v, spec.dtype) for v, spec in zip(plain, outputs, strict=True)]
        if self.taps:
            results += unpack(packed, self.tap_specs)
        self._idle.append(call)
        return tuple(results)

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
        except Exception as error:  # As above: 33 bindings are an IndexError.
            raise ExecutionError(f"IREE cannot load the executable: {one_line(str(error))}") from None
        return context.modules.module[self.function]


def _static(spec: TensorSpec) -> tuple[int, ...]:
    """The shape of one call; a dynamic batch is called with one sample."""
    return tuple(1 if n is None else n for n in spec.shape)


def _to_numpy(value: Any, dtype: np.dtype[Any]) -> np.ndarray:
    # Neither `np.asarray` nor `to_host` copies on a CPU device: both may alias memory that IREE frees with `value`.
    host = np.array(value.to_host(), copy=True)
    return host.view(dtype) if host.dtype.itemsize == dtype.itemsize else host.astype(dtype)
