# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How weights move: gradients in three parts for each layer, their sizes, and the traced functions of a step.

A step goes along a layer's weights, along its biases, and along the gain of each of its channels, which scales both. Each part
has a unit of its own, a factor that is measured before anything moves.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tosa_rescale.core.errors import ModelError, OptionError
from tosa_rescale.core.options import FinetuneOptions
from tosa_rescale.core.program import Program
from tosa_rescale.twin.backend import tf
from tosa_rescale.twin.objective import Course
from tosa_rescale.twin.replicas import Replicas
from tosa_rescale.twin.samples import Batch
from tosa_rescale.twin.twin import Twin

SHARES = (0.5, 0.3, 0.2)
"""What steps along weights, biases and gains are to take away of a layer's part of the loss."""


SURGE = 2.0
"""A part of a gradient that is longer than this many times what was measured before anything moved counts as if it was not."""


class Optimizer:
    """A tf.keras optimizer on the replicas that it was made for.

    Args:
        given: the optimizer; None: plain SGD.
        options: the rate of plain SGD.
        replicas: which train together.

    Attributes:
        keras: the optimizer.
        backtracks: an epoch that gains nothing is taken back. Another optimizer, and callbacks that steer it, have their own
            idea of the rate.

    Raises:
        OptionError: it was made for another strategy.
    """

    def __init__(self, given: Any, options: FinetuneOptions, replicas: Replicas) -> None:
        self.backtracks, self.replicas = given is None, replicas
        if given is None:
            with replicas.scope():
                given = tf.keras.optimizers.SGD(options.learning_rate)
        elif not replicas.owns(given):
            raise OptionError("optimizer: was made for another strategy; make it within `with strategy.scope():`")
        self.keras = given


class Descent:
    """The weights of a twin, and what moves them.

    Args:
        twin: what is trained, made within the replicas' scope.
        optimizer: what applies the steps.

    Attributes:
        twin: what is trained.
        variables: weights and bias of each layer, in their order.
        units: factors of the parts of the gradient: three for each layer.
        longest: how long each part of a gradient may be; a longer one is shortened to that.
    """

    def __init__(self, twin: Twin, optimizer: Optimizer) -> None:
        self.twin, self.optimizer, self.replicas = twin, optimizer.keras, optimizer.replicas
        self.variables = variables_of(twin)
        with self.replicas.scope():
            # Built now: a checkpoint restores its variables before the first step.
            self.optimizer.build(self.variables)
            self.units, self.longest = (
                [tf.Variable(start, trainable=False, dtype=tf.float64) for _ in twin.layers for _ in SHARES]
                for start in (1.0, float("inf"))
            )

    def parts(self, found: Sequence[Any]) -> list[Any]:
        """For each layer the gradients by weights, by bias and by the logarithm of each channel's gain."""
        parts = []
        for layer, kernel, bias in zip(self.twin.layers.values(), found[::2], found[1::2], strict=True):
            parts += [kernel, bias, layer.gain_gradient(kernel, bias)]
        return parts

    def scaled(self, found: Sequence[Any], kinds: Sequence[int] = range(len(SHARES))) -> list[Any]:
        """The step that a rate of 1 takes, for each variable.

        Args:
            found: gradients by each variable.
            kinds: of the parts to go along; see `halve`.
        """
        parts = []
        for index, (part, unit, longest) in enumerate(zip(self.parts(found), self.units, self.longest, strict=True)):
            length = tf.cast(tf.norm(part), tf.float64)
            factor = tf.where(length > longest, unit * longest / length, unit) if index % len(SHARES) in kinds else 0.0
            parts.append(part * tf.cast(factor, part.dtype))
        steps = []
        for layer, kernel, bias, gain in zip(self.twin.layers.values(), parts[::3], parts[1::3], parts[2::3], strict=True):
            by_kernel, by_bias = layer.spread_gain(gain)
            steps += [kernel + by_kernel, bias + by_bias]
        return steps

    def set_units(self, squares: Sequence[float], loss: float, batches: int) -> None:
        """Chooses the units, and how long parts may be.

        Args:
            squares: of each part's gradient, summed over probed batches.
            loss: of these batches, summed.
            batches: how many they are.
        """
        for index, (unit, longest, square) in enumerate(zip(self.units, self.longest, squares, strict=True)):
            wanted = SHARES[index % len(SHARES)] * loss / len(self.twin.layers)
            unit.assign(wanted / square if square > 0 else 0.0)
            longest.assign(SURGE * math.sqrt(square / batches))

    def halve(self, kinds: Sequence[int] = range(len(SHARES))) -> None:
        """Goes by half of the steps from now on.

        Args:
            kinds: of which parts: 0 along weights, 1 along biases, 2 along gains.
        """
        for index, unit in enumerate(self.units):
            if index % len(SHARES) in kinds:
                unit.assign(tf.convert_to_tensor(unit) / 2)

    def move(self, gradients: Sequence[Any], kinds: Sequence[int]) -> None:
        """Takes one plain step at the optimizer's rate.

        Args:
            gradients: by each variable.
            kinds: of the parts to go along; see `halve`.
        """
        rate = float(tf.convert_to_tensor(self.optimizer.learning_rate))
        # Replicas add their gradients up in float64.
        own = [tf.cast(gradient, variable.dtype) for gradient, variable in zip(gradients, self.variables, strict=True)]
        for variable, step in zip(self.variables, self.scaled(own, kinds), strict=True):
            variable.assign(tf.convert_to_tensor(variable) - tf.cast(rate, step.dtype) * step)
        for layer in self.twin.layers.values():
            layer.project(self.replicas.update)

    def weights(self) -> dict[str, np.ndarray]:
        """A copy of every variable, by name."""
        found = {}
        for key, layer in self.twin.layers.items():
            found[f"{key}.kernel"], found[f"{key}.bias"] = layer.kernel_variable.numpy(), layer.bias_variable.numpy()
        return found

    def set_weights(self, weights: dict[str, np.ndarray]) -> None:
        """Gives every variable the value of a copy."""
        for key, layer in self.twin.layers.items():
            layer.kernel_variable.assign(weights[f"{key}.kernel"])
            layer.bias_variable.assign(weights[f"{key}.bias"])

    def state(self) -> list[np.ndarray]:
        """The optimizer's variables, then units and the longest parts."""
        return [v.numpy() for v in [*self.optimizer.variables, *self.units, *self.longest]]

    def set_state(self, state: Sequence[np.ndarray]) -> None:
        """Gives the optimizer and the units a state of before.

        Raises:
            ModelError: it is another optimizer's.
        """
        variables = [*self.optimizer.variables, *self.units, *self.longest]
        if len(variables) != len(state):
            raise ModelError("the checkpoint is of another optimizer; give the one that it was made with")
        for variable, value in zip(variables, state, strict=True):
            variable.assign(value)

    def outgrown(self) -> bool:
        """Whether the weights of a layer left the bounds that its float type was chosen by, or none were chosen yet."""
        return not all(bool(layer.within_bounds()) for layer in self.twin.layers.values())


def variables_of(twin: Twin) -> list[Any]:
    """Weights and bias of each layer."""
    return [variable for layer in twin.layers.values() for variable in (layer.kernel_variable, layer.bias_variable)]


class Steps:
    """The functions of a training as TensorFlow graphs, each traced when it is first called and whenever bounds change.

    Args:
        model: what is trained.
        course: what it learns from.
        descent: what moves.
    """

    def __init__(self, model: Program, course: Course, descent: Descent) -> None:
        self._descent, self._loss, self._replicas = descent, course.objective.loss, descent.replicas
        lesson = course.training
        self._signature = [
            tuple(tf.TensorSpec([None, *each.shape], each.dtype) for each in model.input_specs),
            *(tf.TensorSpec([None, *each.shape[1:]], each.dtype) for each in (lesson.targets, lesson.weights)),
            tf.TensorSpec([], tf.int32),
        ]
        self._trace()

    def score(self, *batch: Any) -> list[Any]:
        """Loss, and number of decisions that equal the target's."""
        return self._traced["score"](*batch)

    def gradients(self, *batch: Any) -> list[Any]:
        """Loss, and the gradient by each variable."""
        return self._traced["gradients"](*batch)

    def step(self, *batch: Any) -> tuple[Any, Any, Any]:
        """Moves the weights.

        Returns:
            Loss; for each variable whether it and its gradient are finite; for each layer whether it keeps its bounds.
        """
        return self._traced["step"](*batch)

    def keep_bounds(self) -> None:
        """Chooses float types anew where weights left their bounds."""
        if self._descent.outgrown():
            self.renew()

    def renew(self) -> None:
        """Chooses float types anew."""
        self._descent.twin.retrace()
        self._trace()

    def _trace(self) -> None:
        def traced(function: Callable[..., Any]) -> Callable[..., Any]:
            # Concrete: one of several functions made in a row is no sign of a mistake here, which TensorFlow warns of.
            made = functools.cache(
                tf.function(function, input_signature=self._signature, autograph=False).get_concrete_function
            )
            return lambda *batch: made()(*batch)

        # Traced when first called: some weights that outgrow their bounds do so many times.
        functions = {"score": self._score, "gradients": self._gradients, "step": self._step}
        self._traced = {name: traced(function) for name, function in functions.items()}

    def _own(self, inputs: tuple[Any, ...], target: Any, weights: Any, count: Any) -> Batch:
        """What this replica computes of its process's share."""
        *own, target, weights = self._replicas.own(count, *inputs, target, weights)
        return tuple(own), target, weights, count

    def _differentiated(self, *batch: Any) -> tuple[Any, list[Any]]:
        own = self._own(*batch)
        with tf.GradientTape() as tape:
            loss, _ = self._loss(*own)
        return loss, tape.gradient(loss, self._descent.variables, unconnected_gradients="zero")

    def _score(self, *batch: Any) -> list[Any]:
        return self._replicas.run(lambda *share: self._loss(*self._own(*share)), *batch)

    def _gradients(self, *batch: Any) -> list[Any]:
        def on_replica(*share: Any) -> list[Any]:
            loss, found = self._differentiated(*share)
            return [loss, *self._replicas.gradients(found)]

        return self._replicas.run(on_replica, *batch)

    def _step(self, *batch: Any) -> tuple[Any, Any, Any]:
        descent, layers = self._descent, self._descent.twin.layers.values()

        def on_replica(*share: Any) -> list[Any]:
            loss, found = self._differentiated(*share)
            summed = self._replicas.gradients(descent.scaled(found))
            descent.optimizer.apply_gradients(zip(summed, descent.variables, strict=True))  # adds them up over the replicas
            spoiled = [tf.logical_not(tf.reduce_all(tf.math.is_finite(g))) for g in found]
            return [loss, tf.cast(tf.stack(spoiled), tf.float32)]

        loss, spoiled = self._replicas.run(on_replica, *batch)
        # Beyond the grid a weight's gradient is masked and it would never come back.
        for layer in layers:
            layer.project(self._replicas.update)
        # The weights too: an optimizer may spoil what the gradients left whole.
        checked = [tf.reduce_all(tf.math.is_finite(tf.convert_to_tensor(v))) for v in descent.variables]
        finite = tf.logical_and(spoiled == 0, tf.stack(checked))
        return loss, finite, tf.stack([layer.within_bounds() for layer in layers])
