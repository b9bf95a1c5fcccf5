// What a 16-bit multiplier cannot express keeps 32 bits, and what it must not be combined with is an error.
//
// RUN: tosa-rescale-opt %s --tosa-rescale-narrow="bits=4 scope=all encoding=scale16" --split-input-file --verify-diagnostics | FileCheck %s

// 2^30 * 2^-11 = 2^19; 15 bits and a shift of 2 end below 2^13.
// CHECK-LABEL: func.func @large_scale
// CHECK-DAG:   dense<1073741824> : tensor<1xi32>
// CHECK-DAG:   dense<11> : tensor<1xi8>
// CHECK:       scale32 = true
func.func @large_scale(%arg0: tensor<2xi8>) -> tensor<2xi32> {
  %m = "tosa.const"() <{values = dense<1073741825> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<11> : tensor<1xi8>}> : () -> tensor<1xi8>
  %izp = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  %ozp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  // expected-remark@+1 {{keeps its 32-bit multiplier: no 16-bit multiplier expresses the scale 1073741825 * 2^-11}}
  %0 = tosa.rescale %arg0, %m, %s, %izp, %ozp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<2xi32>
  return %0 : tensor<2xi32>
}
