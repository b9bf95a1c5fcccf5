# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Training on the replicas of a `tf.distribute` strategy.

A batch is cut into consecutive shares, one for each replica. Gradients are added over all replicas in float64, and each replica
then applies the same sum to its own copy of the weights and projects that copy by itself: copies are never averaged, which
would round them, and a copy that is projected first and averaged after would leave the grid again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tosa_rescale.core.errors import OptionError
from tosa_rescale.twin.backend import tf


class Replicas:
    """The replicas that train together; one, where there is no strategy.

    Args:
        strategy: MirroredStrategy, MultiWorkerMirroredStrategy; None: this process alone.

    Attributes:
        count: replicas of all workers.
        chief: this process writes files.

    Raises:
        OptionError: a strategy whose replicas do not hold all variables.
    """

    def __init__(self, strategy: Any = None) -> None:
        self._strategy = tf.distribute.get_strategy() if strategy is None else strategy
        if not isinstance(self._strategy, tf.distribute.Strategy) or type(self._strategy).__name__.startswith(("TPU", "Param")):
            raise OptionError(
                f"strategy: {type(strategy).__name__} does not keep a copy of the weights on every replica; use"
                " tf.distribute.MirroredStrategy or MultiWorkerMirroredStrategy"
            )
        self.count = int(self._strategy.num_replicas_in_sync)
        ids = self._strategy.experimental_distribute_values_from_function(lambda context: context.replica_id_in_sync_group)
        self._local = [int(each) for each in self._strategy.experimental_local_results(ids)]
        self.chief = self._local[0] == 0
        # Traced once: each call to `gather` would trace anew, and TensorFlow complains about that.
        self._gather = tf.function(lambda values: self._strategy.gather(values, axis=0), autograph=False)

    def scope(self) -> Any:
        """Where variables are made."""
        return self._strategy.scope()

    def owns(self, optimizer: Any) -> bool:
        """Whether an optimizer was made in this strategy's scope."""
        return getattr(optimizer, "_distribution_strategy", self._strategy) is self._strategy

    def share(self, rows: np.ndarray) -> np.ndarray:
        """The part of a batch that this process computes."""
        first, end = self._local[0], self._local[-1] + 1
        return rows[first * len(rows) // self.count : end * len(rows) // self.count]

    def own(self, count: Any, *tensors: Any) -> list[Any]:
        """Within `run`: the part of this process's share that this replica computes.

        Args:
            count: samples of the whole batch.
            tensors: shares, [n, ...].
        """
        if self.count == 1:
            return list(tensors)
        replica = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.int32)
        offset = self._local[0] * count // self.count
        start, end = (each * count // self.count - offset for each in (replica, replica + 1))
        return [tensor[start:end] for tensor in tensors]

    def gradients(self, found: Sequence[Any]) -> list[Any]:
        """Gradients as an optimizer shall add them up over replicas: of one type, which its reduction asks for."""
        return list(found) if self.count == 1 else [tf.cast(each, tf.float64) for each in found]

    def run(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """Runs a function on every replica, within a tf.function.

        Returns:
            Its tensors, each summed over all replicas.
        """
        found = self._strategy.run(function, args=arguments)
        return [self._strategy.reduce(tf.distribute.ReduceOp.SUM, each, axis=None) for each in found]

    def update(self, variable: Any, function: Callable[[Any], Any]) -> None:
        """Applies a function to every copy of a variable; outside of `run`."""
        self._strategy.extended.update(variable, lambda copy: copy.assign(function(copy)), group=False)

    def digests(self, arrays_of: Callable[[Callable[[Any], Any]], Sequence[np.ndarray]]) -> np.ndarray:
        """Digests of what each replica holds.

        Args:
            arrays_of: given a function that turns a variable into one replica's copy, gives that replica's arrays.

        Returns:
            int64 [replicas, 4], the same on all workers.
        """

        def digest(context: Any) -> Any:
            position = self._local.index(int(context.replica_id_in_sync_group))
            hashed = hashlib.sha256()
            for array in arrays_of(lambda variable: self._strategy.experimental_local_results(variable)[position]):
                hashed.update(np.ascontiguousarray(array).tobytes())
            return tf.constant(np.frombuffer(hashed.digest(), np.int64)[None])

        if self.count == 1:
            return np.zeros((1, 4), np.int64)
        values = self._strategy.experimental_distribute_values_from_function(digest)
        return self._gather(values).numpy()

    def differing(self, arrays_of: Callable[[Callable[[Any], Any]], Sequence[np.ndarray]]) -> list[int]:
        """Replicas that hold something else than the first; see `digests`."""
        found = self.digests(arrays_of)
        return [index for index, row in enumerate(found) if (row != found[0]).any()]


def strategy_named(name: str) -> Any:
    """A strategy by name: none, mirrored (all GPUs of this machine), multi-worker (processes, by TF_CONFIG).

    Raises:
        OptionError: another name, or multi-worker without TF_CONFIG.
    """
    if name == "none":
        return None
    if name == "mirrored":
        return tf.distribute.MirroredStrategy()
    if name != "multi-worker":
        raise OptionError(f"strategy: {name!r} is not one of none, mirrored, multi-worker")
    if not os.environ.get("TF_CONFIG"):
        raise OptionError(
            "strategy: multi-worker needs TF_CONFIG, which names all workers and this one; see docs/distributed.md"
        )
    return tf.distribute.MultiWorkerMirroredStrategy()
