# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How far results are from what is wanted, for each position: a decision, a step of a sequence, a pixel, or a whole sample.

Each function takes what is wanted first: real values float32 [n, ..., C], or classes int64 [n, ...]; then what was found, real
values float32 [n, ..., C]. It gives the loss float32 [n, ...], and whether the decision is the wanted one, float32 [n, ...];
None where there are no decisions.
"""

from __future__ import annotations

from typing import Any

from tosa_rescale.core.options import Loss
from tosa_rescale.data.dataset import Dataset
from tosa_rescale.data.kinds import Kind, has_keypoints, output_kind
from tosa_rescale.twin.backend import tf


def cross_entropy(wanted: Any, found: Any) -> tuple[Any, Any]:
    """Minus the logarithm of the likelihood of the label."""
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(wanted, found)
    return loss, tf.cast(tf.argmax(found, -1) == wanted, tf.float32)


def divergence(wanted: Any, found: Any) -> tuple[Any, Any]:
    """Kullback-Leibler: zero where student and teacher are one, so that the start of a lossless width shows as 0."""
    share = tf.nn.softmax(wanted)
    loss = tf.reduce_sum(share * (tf.nn.log_softmax(wanted) - tf.nn.log_softmax(found)), -1)
    return loss, tf.cast(tf.argmax(found, -1) == tf.argmax(wanted, -1), tf.float32)


def squares(wanted: Any, found: Any) -> tuple[Any, None]:
    """The mean of squared differences."""
    return tf.reduce_mean((found - wanted) ** 2, -1), None


def fitting_loss(output: tuple[int, ...], inputs: list[tuple[int, ...]], quantization: Any, dtype: Any, data: Dataset) -> Loss:
    """The loss for an output that a teacher gives, by what the output holds.

    Args:
        output: shape of one sample.
        inputs: shapes of one sample of the inputs.
        quantization, dtype: of the output.
        data: whose labels may tell what the shape does not.
    """
    kind = output_kind(output, dtype, quantization, inputs, data)
    real = kind in (Kind.VALUES, Kind.SEQUENCE) or has_keypoints(data)
    return Loss.SQUARES if real else Loss.DIVERGENCE
