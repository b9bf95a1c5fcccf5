# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Narrow the rescale multipliers of integer neural networks to k bits, down to a pure shift, and prove it bit for bit.

    import tosa_rescale as tr

    model = tr.load("model_int8.tflite")
    narrowed = model.narrow(bits=4)
    print(narrowed.evaluate(tr.load_data("images/"), reference=model))

Importing this package loads neither TensorFlow nor IREE.
"""

from tosa_rescale import executorch as executorch
from tosa_rescale.api import Model as Model
from tosa_rescale.api import check as check
from tosa_rescale.api import evaluate as evaluate
from tosa_rescale.api import load as load
from tosa_rescale.api import report as report
from tosa_rescale.api import run as run
from tosa_rescale.api import sweep as sweep
from tosa_rescale.core.errors import TosaRescaleError as TosaRescaleError
from tosa_rescale.core.options import CalibrationOptions as CalibrationOptions
from tosa_rescale.core.options import CompensateOptions as CompensateOptions
from tosa_rescale.core.options import Encoding as Encoding
from tosa_rescale.core.options import FinetuneOptions as FinetuneOptions
from tosa_rescale.core.options import Loss as Loss
from tosa_rescale.core.options import LowerOptions as LowerOptions
from tosa_rescale.core.options import MultiplierRounding as MultiplierRounding
from tosa_rescale.core.options import NarrowOptions as NarrowOptions
from tosa_rescale.core.options import Options as Options
from tosa_rescale.core.options import Preset as Preset
from tosa_rescale.core.options import RoundingMode as RoundingMode
from tosa_rescale.core.options import Scope as Scope
from tosa_rescale.core.options import ShiftRounding as ShiftRounding
from tosa_rescale.core.options import WeightRounding as WeightRounding
from tosa_rescale.core.passes import Diagnostic as Diagnostic
from tosa_rescale.core.program import InputSpec as InputSpec
from tosa_rescale.core.program import Program as Program
from tosa_rescale.core.progress import Bars as Bars
from tosa_rescale.core.progress import Progress as Progress
from tosa_rescale.core.progress import Silent as Silent
from tosa_rescale.core.quantization import GraphQuantization as GraphQuantization
from tosa_rescale.core.quantization import TensorQuantization as TensorQuantization
from tosa_rescale.core.recipe import Step as Step
from tosa_rescale.core.rescales import RescaleInfo as RescaleInfo
from tosa_rescale.core.version import versions
from tosa_rescale.data.dataset import Dataset as Dataset
from tosa_rescale.data.dataset import Preprocessing as Preprocessing
from tosa_rescale.data.dataset import load_data as load_data
from tosa_rescale.data.source import CalibrationPlan as CalibrationPlan
from tosa_rescale.data.source import as_dataset as as_dataset
from tosa_rescale.driver.command import compile as compile
from tosa_rescale.measure.check import CheckResult as CheckResult
from tosa_rescale.measure.evaluate import OutputStore as OutputStore
from tosa_rescale.measure.evaluation import Evaluation as Evaluation
from tosa_rescale.measure.evaluation import MetricFigure as MetricFigure
from tosa_rescale.measure.sensitivity import Sensitivity as Sensitivity
from tosa_rescale.sweeping.results import SweepPoint as SweepPoint
from tosa_rescale.sweeping.results import SweepResult as SweepResult
from tosa_rescale.sweeping.training import TrainingPlan as TrainingPlan

__version__ = versions()["tosa-rescale"]
