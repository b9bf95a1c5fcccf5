# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The demo's int8 models and data set: digits of scikit-learn, 8 x 8 pixels, made by `make_demo.py` beside this file.

`tosa-rescale demo` tells a story with them; tests and documentation use them too.
"""

import pathlib

MODEL = pathlib.Path(__file__).parent / "digits_int8.tflite"
TRANSFORMER = pathlib.Path(__file__).parent / "digits_transformer_int8.tflite"
DATA = pathlib.Path(__file__).parent / "digits.npz"
