# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""All that the commands print for people, by what is shown."""

from tosa_rescale.cli.show.console import Column as Column
from tosa_rescale.cli.show.console import line as line
from tosa_rescale.cli.show.console import listing as listing
from tosa_rescale.cli.show.console import note as note
from tosa_rescale.cli.show.console import plain as plain
from tosa_rescale.cli.show.console import table as table
from tosa_rescale.cli.show.hardware import costs as costs
from tosa_rescale.cli.show.hardware import exported as exported
from tosa_rescale.cli.show.measurements import check as check
from tosa_rescale.cli.show.measurements import evaluation as evaluation
from tosa_rescale.cli.show.measurements import warnings as warnings
from tosa_rescale.cli.show.rescale_errors import rescale_errors as rescale_errors
from tosa_rescale.cli.show.rescales import rescales as rescales
from tosa_rescale.cli.show.rescales import too_wide as too_wide
from tosa_rescale.cli.show.steps import compensation as compensation
from tosa_rescale.cli.show.steps import divisions as divisions
from tosa_rescale.cli.show.steps import finetuned as finetuned
from tosa_rescale.cli.show.steps import lowered as lowered
from tosa_rescale.cli.show.steps import narrowed as narrowed
from tosa_rescale.cli.show.steps import remarks as remarks
from tosa_rescale.cli.show.steps import search as search
from tosa_rescale.cli.show.sweeps import sweep as sweep
from tosa_rescale.cli.show.sweeps import training as training
from tosa_rescale.core.display import count as count
