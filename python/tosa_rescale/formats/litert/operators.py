# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What is known of LiteRT's operators: one table for each question. Data only."""

from __future__ import annotations

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Operands:
    """Positions among an operator's inputs, and the weights' channel dimension."""

    input: int
    weights: int
    bias: int | None
    channel: int


OPERANDS = {
    "CONV_2D": Operands(0, 1, 2, 0),
    "DEPTHWISE_CONV_2D": Operands(0, 1, 2, 3),
    "FULLY_CONNECTED": Operands(0, 1, 2, 0),
    "TRANSPOSE_CONV": Operands(2, 1, 3, 0),
    "BATCH_MATMUL": Operands(0, 1, None, 0),
}
TOSA_KINDS = {
    "CONV_2D": ("conv2d",),
    "DEPTHWISE_CONV_2D": ("depthwise_conv2d", "conv2d"),  # one input channel: the converter may write either
    "FULLY_CONNECTED": ("conv2d", "matmul", "fully_connected"),
    "TRANSPOSE_CONV": ("transpose_conv2d",),
    "BATCH_MATMUL": ("matmul",),
}


# Operators whose int8 kernel computes what the uint8 one does with every zero point lowered by 128, and the operator
# version from which the int8 kernel is there.
INT8_VERSIONS = {
    "ADD": 2,
    "ARG_MAX": 2,
    "AVERAGE_POOL_2D": 2,
    "BATCH_TO_SPACE_ND": 2,
    "CONCATENATION": 2,
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "DEPTH_TO_SPACE": 1,
    "DEQUANTIZE": 2,
    "EXPAND_DIMS": 1,
    "FULLY_CONNECTED": 4,
    "L2_NORMALIZATION": 2,
    "LOGISTIC": 2,
    "MAXIMUM": 2,
    "MAX_POOL_2D": 2,
    "MEAN": 2,
    "MINIMUM": 2,
    "MUL": 2,
    "PACK": 2,
    "PAD": 2,
    "PADV2": 2,
    "QUANTIZE": 2,
    "RELU": 2,
    "RELU6": 2,
    "RESHAPE": 1,
    "RESIZE_BILINEAR": 2,
    "RESIZE_NEAREST_NEIGHBOR": 2,
    "SLICE": 2,
    "SOFTMAX": 2,
    "SPACE_TO_BATCH_ND": 2,
    "SPACE_TO_DEPTH": 2,
    "SPLIT": 2,
    "SPLIT_V": 2,
    "SQUEEZE": 1,
    "STRIDED_SLICE": 2,
    "SUB": 2,
    "TANH": 2,
    "TRANSPOSE": 2,
    "TRANSPOSE_CONV": 2,
    "UNPACK": 2,
}


# Versions of DEPTHWISE_CONV_2D with kernels for the type of its input.
DEPTHWISE_VERSIONS = {"uint8": 1, "int8": 3, "int16": 5}


# The same of FULLY_CONNECTED; from 5 on it keeps the number of dimensions.
FULLY_CONNECTED_VERSIONS = {"uint8": 5, "int8": 5, "int16": 7}


# Activation functions that other operators end with, by the schema's ActivationFunctionType.
FUSED_ACTIVATIONS = {1: "RELU", 2: "RELU_N1_TO_1", 3: "RELU6"}


# Where activation functions cut off, in real units; their lower limits are 0, or as far below.
UPPER_LIMITS = {"RELU": math.inf, "RELU_0_TO_1": 1.0, "RELU_N1_TO_1": 1.0, "RELU6": 6.0}


# Operators whose int8 kernels make one scale, whatever the file says.
FIXED_OUTPUT_SCALE = {"L2_NORMALIZATION", "LOGISTIC", "LOG_SOFTMAX", "SOFTMAX", "TANH"}


# Operators whose results are elements of their operands, unchanged: of integers as of real numbers.
MOVES = {
    "BROADCAST_TO",
    "CONCATENATION",
    "DEPTH_TO_SPACE",
    "EXPAND_DIMS",
    "GATHER",
    "MAXIMUM",
    "MAX_POOL_2D",
    "MINIMUM",
    "PACK",
    "RESHAPE",
    "REVERSE_V2",
    "SLICE",
    "SPACE_TO_DEPTH",
    "SPLIT",
    "SPLIT_V",
    "SQUEEZE",
    "STRIDED_SLICE",
    "TILE",
    "TRANSPOSE",
    "UNPACK",
}


# Operators whose operands and results have one scale.
SAME_SCALE = MOVES | {
    "AVERAGE_POOL_2D",
    "BATCH_TO_SPACE_ND",
    "MIRROR_PAD",
    "PAD",
    "PADV2",
    "RESIZE_BILINEAR",
    "RESIZE_NEAREST_NEIGHBOR",
    "SELECT",
    "SPACE_TO_BATCH_ND",
}


PER_CHANNEL_FULLY_CONNECTED = 12  # operator version that allows one scale for each row

# What TOSA has no place for: state that outlives a run, control flow, and what an application brought itself.
STATEFUL = {
    "ASSIGN_VARIABLE",
    "CALL_ONCE",
    "HASHTABLE",
    "HASHTABLE_FIND",
    "HASHTABLE_IMPORT",
    "HASHTABLE_SIZE",
    "IF",
    "READ_VARIABLE",
    "VAR_HANDLE",
    "WHILE",
}
FOREIGN = {"CUSTOM", "DELEGATE", "PLACEHOLDER_FOR_GREATER_OP_CODES"}
