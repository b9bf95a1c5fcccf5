# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The LiteRT flatbuffer: reading what TOSA drops, writing weights, biases and scales back."""
