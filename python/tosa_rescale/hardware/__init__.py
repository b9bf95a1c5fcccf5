# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a rescaler of k bits costs in silicon, and the RTL that it was measured on (`rtl/`)."""

from tosa_rescale.hardware.costs import BASE_BITS as BASE_BITS
from tosa_rescale.hardware.costs import BITS as BITS
from tosa_rescale.hardware.costs import MACS as MACS
from tosa_rescale.hardware.costs import PAPER as PAPER
from tosa_rescale.hardware.costs import Cost as Cost
from tosa_rescale.hardware.costs import Relative as Relative
from tosa_rescale.hardware.costs import read_costs as read_costs
from tosa_rescale.hardware.costs import relative_costs as relative_costs
from tosa_rescale.hardware.costs import write_costs as write_costs
