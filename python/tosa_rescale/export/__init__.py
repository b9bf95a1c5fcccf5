# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes a compensated model for the tools that run it: LiteRT flatbuffers so far."""
