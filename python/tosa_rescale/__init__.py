# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Narrow the rescale multipliers of integer neural networks to k bits, down to a pure shift, and prove it bit for bit.

    import tosa_rescale as tr

    model = tr.load("model_int8.tflite")
    narrowed = model.narrow(bits=4)
    print(narrowed.evaluate(tr.load_data("images/"), reference=model))

Importing this package loads neither TensorFlow nor IREE.
"""

from tosa_rescale.compile_driver import compile as compile
from tosa_rescale.data import Dataset as Dataset
from tosa_rescale.data import Preprocessing as Preprocessing
from tosa_rescale.data import load_data as load_data
from tosa_rescale.errors import TosaRescaleError as TosaRescaleError
from tosa_rescale.evaluation import Evaluation as Evaluation
from tosa_rescale.evaluation import evaluate as evaluate
from tosa_rescale.inspection import RescaleInfo as RescaleInfo
from tosa_rescale.model import Model as Model
from tosa_rescale.model import load as load
from tosa_rescale.options import NarrowOptions as NarrowOptions
from tosa_rescale.parity import CheckResult as CheckResult
from tosa_rescale.parity import check as check
from tosa_rescale.sweeping import SweepResult as SweepResult
from tosa_rescale.sweeping import sweep as sweep
from tosa_rescale.version import versions

__version__ = versions()["tosa-rescale"]
