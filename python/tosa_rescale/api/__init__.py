# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What users call: `load`, `Model`, and the questions that are asked of models.

Signatures repeat the options classes of core/options.py, so that editors and notebooks show every option with its type and
default; a test holds them equal.
"""

from tosa_rescale.api.measure import check as check
from tosa_rescale.api.measure import evaluate as evaluate
from tosa_rescale.api.measure import report as report
from tosa_rescale.api.measure import run as run
from tosa_rescale.api.measure import sweep as sweep
from tosa_rescale.api.model import Model as Model
from tosa_rescale.api.model import load as load
