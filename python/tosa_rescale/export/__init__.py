# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes a model for what comes after: LiteRT flatbuffers for runtimes, tables and golden vectors for hardware and firmware."""
