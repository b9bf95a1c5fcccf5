# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One function for each TOSA op, by family. To add one, write it in its family's file and name it in a `@lowers` line.

Every value has the batch of samples as an extra first dimension, before the graph's own: an axis of the graph is one
further to the right, and a graph that mixes its batch dimension with others (a transformer's reshapes) needs no thought.

Forward results equal the specification's integers. Gradients are those of the same op on real numbers: roundings are
straight through, saturation has its true mask, a table has the slope of its neighbours, counting zeros has none.
"""

from tosa_rescale.twin.ops import bits, elementwise, mac, movement, pooling, rescale, tables
from tosa_rescale.twin.ops.registry import LOWERINGS as LOWERINGS

FAMILIES = (bits, elementwise, mac, movement, pooling, rescale, tables)
"""The files whose `@lowers` lines fill LOWERINGS."""
