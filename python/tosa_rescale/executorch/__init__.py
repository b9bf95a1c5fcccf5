# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""PyTorch, through ExecuTorch's Arm backend (extra `executorch`): torch and executorch are imported when they are used."""

from tosa_rescale.executorch.errors import ExecutorchError as ExecutorchError
from tosa_rescale.executorch.load import load as load
from tosa_rescale.executorch.rescaling import Rescaled as Rescaled
from tosa_rescale.executorch.rescaling import RescaledPartition as RescaledPartition
from tosa_rescale.executorch.rescaling import applying as applying
from tosa_rescale.executorch.rescaling import inserting as inserting
from tosa_rescale.executorch.rescaling import rescaling as rescaling
from tosa_rescale.executorch.samples import dataset as dataset
