# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs the LiteRT to TOSA converter; executed as a process of its own by importer.py.

Not imported: the converter is C++ that may abort on a corrupt file, and it writes to standard error behind Python's back.
Usage: python -P _converter.py MODEL.tflite OUT.mlirbc
"""

import sys

from tosa_converter_for_tflite import TosaConverterDebugInfo, tflite_flatbuffer_to_tosa_mlir

if __name__ == "__main__":
    # Locations carry the tensor names of the flatbuffer; they are how an op is recognised from then on.
    tflite_flatbuffer_to_tosa_mlir(sys.argv[1], sys.argv[2], debug_info=TosaConverterDebugInfo.Enable)
