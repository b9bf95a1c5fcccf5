# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Names of the attributes that carry state in the IR; passes/Attributes.h has those that the passes know.

docs/architecture.md says who writes and who reads each of them.
"""

BITS = "tosa_rescale.bits"
INFO = "tosa_rescale.info"
INPUT_MEAN = "tosa_rescale.input_mean"
INPUT_SQUARE = "tosa_rescale.input_square"
INPUT_MOMENT = "tosa_rescale.input_moment"
INPUT_FACTORS = "tosa_rescale.input_factors"
COMPENSATED = "tosa_rescale.compensated"
CLIPPING_ERRORS = "tosa_rescale.clipping_errors"
FIXED_FACTOR = "tosa_rescale.fixed_factor"
REACH = "tosa_rescale.reach"
FUNCTION = "tosa_rescale.function"
TABULATED = "tosa_rescale.tabulated"
LOWERED = "tosa_rescale.lowered"
SCALE_FACTOR = "tosa_rescale.scale_factor"
CONSTANT_BITS = "tosa_rescale.constant_bits"
INPUTS = "tosa_rescale.inputs"
OUTPUTS = "tosa_rescale.outputs"
RECIPE = "tosa_rescale.recipe"
