// A 16-bit multiplier has 15 bits: more change nothing.
//
// RUN: tosa-rescale-opt %s --tosa-rescale-narrow="bits=15 scope=all" | FileCheck %s
// RUN: tosa-rescale-opt %s --tosa-rescale-narrow="bits=31 scope=all" | FileCheck %s

// CHECK-LABEL: func.func @i48_input
// CHECK-DAG:   dense<23171> : tensor<1xi16>
// CHECK-DAG:   dense<20> : tensor<1xi8>
func.func @i48_input(%arg0: tensor<2xi48>) -> tensor<2xi16> {
  %m = "tosa.const"() <{values = dense<23171> : tensor<1xi16>}> : () -> tensor<1xi16>
  %s = "tosa.const"() <{values = dense<20> : tensor<1xi8>}> : () -> tensor<1xi8>
  %izp = "tosa.const"() <{values = dense<0> : tensor<1xi48>}> : () -> tensor<1xi48>
  %ozp = "tosa.const"() <{values = dense<0> : tensor<1xi16>}> : () -> tensor<1xi16>
  %0 = tosa.rescale %arg0, %m, %s, %izp, %ozp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = false} : (tensor<2xi48>, tensor<1xi16>, tensor<1xi8>, tensor<1xi48>, tensor<1xi16>) -> tensor<2xi16>
  return %0 : tensor<2xi16>
}
