# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`python -m tosa_rescale` is the command line."""

import sys

from tosa_rescale.cli import main

sys.exit(main())
