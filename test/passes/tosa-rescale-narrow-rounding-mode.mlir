// rounding_mode of the result, and where aligning must stop: DOUBLE_ROUND rounds twice from a shift of 32 on, so moving a multiplier
// across would change results.
//
// RUN: tosa-rescale-opt %s --tosa-rescale-narrow="bits=4 scope=all" --split-input-file | FileCheck %s --check-prefixes=CHECK,SINGLE
// RUN: tosa-rescale-opt %s --tosa-rescale-narrow="bits=4 scope=all rounding-mode=single" --split-input-file | FileCheck %s --check-prefixes=CHECK,SINGLE
// RUN: tosa-rescale-opt %s --tosa-rescale-narrow="bits=4 scope=all rounding-mode=double" --split-input-file | FileCheck %s --check-prefixes=CHECK,DOUBLE
// RUN: tosa-rescale-opt %s --tosa-rescale-narrow="bits=4 scope=all rounding-mode=keep" --split-input-file | FileCheck %s --check-prefixes=CHECK,KEEP

// 10 * 2^-17: aligned fully 10 * 2^27 and 44; up to 31 it is 10 * 2^14 = 163840.
// CHECK-LABEL: func.func @double_below_32
// SINGLE-DAG:  dense<1342177280> : tensor<1xi32>
// SINGLE-DAG:  dense<44> : tensor<1xi8>
// SINGLE:      SINGLE_ROUND
// DOUBLE-DAG:  dense<163840> : tensor<1xi32>
// DOUBLE-DAG:  dense<31> : tensor<1xi8>
// DOUBLE:      DOUBLE_ROUND
// KEEP-DAG:    dense<163840> : tensor<1xi32>
// KEEP-DAG:    dense<31> : tensor<1xi8>
// KEEP:        DOUBLE_ROUND
func.func @double_below_32(%arg0: tensor<2xi8>) -> tensor<2xi8> {
  %m = "tosa.const"() <{values = dense<10> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<17> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  %0 = tosa.rescale %arg0, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = DOUBLE_ROUND, scale32 = true} : (tensor<2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<2xi8>
  return %0 : tensor<2xi8>
}

// -----

// Above, there is nothing to stop it: 10 * 2^27, 35 + 27 = 62.
// CHECK-LABEL: func.func @single_above_31
// SINGLE:      SINGLE_ROUND
// DOUBLE-DAG:  dense<1342177280> : tensor<1xi32>
// DOUBLE-DAG:  dense<62> : tensor<1xi8>
// DOUBLE:      DOUBLE_ROUND
// KEEP-DAG:    dense<1342177280> : tensor<1xi32>
// KEEP-DAG:    dense<62> : tensor<1xi8>
// KEEP:        SINGLE_ROUND
func.func @single_above_31(%arg0: tensor<2xi8>) -> tensor<2xi8> {
  %m = "tosa.const"() <{values = dense<10> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<35> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  %0 = tosa.rescale %arg0, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<2xi8>
  return %0 : tensor<2xi8>
}

// -----

// INEXACT_ROUND is replaced, unless it is to be kept: then the rescale is left alone.
// CHECK-LABEL: func.func @inexact
// SINGLE:      dense<1342177280>
// SINGLE:      SINGLE_ROUND
// DOUBLE:      dense<1342177280>
// DOUBLE:      DOUBLE_ROUND
// KEEP:        dense<1355000000>
// KEEP:        INEXACT_ROUND
func.func @inexact(%arg0: tensor<2xi8>) -> tensor<2xi8> {
  %m = "tosa.const"() <{values = dense<1355000000> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<40> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  %0 = tosa.rescale %arg0, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = INEXACT_ROUND, scale32 = true} : (tensor<2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<2xi8>
  return %0 : tensor<2xi8>
}
