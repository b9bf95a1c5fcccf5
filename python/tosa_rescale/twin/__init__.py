# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The differentiable twin: the integer model in TensorFlow, bit for bit, with gradients (extra `train`)."""

from tosa_rescale.twin.graph import read_graph as read_graph
from tosa_rescale.twin.twin import Twin as Twin
from tosa_rescale.twin.twin import emit as emit
from tosa_rescale.twin.values import LoweringError as LoweringError
