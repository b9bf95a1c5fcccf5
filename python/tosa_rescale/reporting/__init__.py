# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a sweep leaves behind for people and programs: CSV, JSON, charts, page."""

from tosa_rescale.reporting.page import write_page as write_page
from tosa_rescale.reporting.stored import read_stored as read_stored
from tosa_rescale.reporting.tables import write_csv as write_csv
from tosa_rescale.reporting.tables import write_json as write_json
from tosa_rescale.reporting.tables import write_report as write_report
from tosa_rescale.reporting.training import write_training as write_training
