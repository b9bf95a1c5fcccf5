// LiteRT's MAXIMUM and MINIMUM, whose operands and result have one scale.
//
// RUN: tosa-rescale-opt %s --tosa-rescale-align="bits=1 litert" --split-input-file | FileCheck %s

// LiteRT's maximum gives one of the integers that it takes: its operands have the scale of its result, which an output keeps.
// CHECK-LABEL: func.func @larger
// CHECK-DAG:   %[[M75:.*]] = "tosa.const"() <{values = dense<1610612736> : tensor<1xi32>}>
// CHECK-DAG:   %[[ONE:.*]] = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}>
// CHECK:       tosa.rescale %arg0, %[[M75]]
// CHECK:       tosa.rescale %arg1, %[[M75]]
// CHECK:       %[[Y:.*]] = tosa.maximum
// CHECK-NEXT:  tosa.rescale %[[Y]], %[[ONE]]
func.func @larger(%arg0: tensor<1x2xi16>, %arg1: tensor<1x2xi16>) -> tensor<1x2xi16> {
  %m75 = "tosa.const"() <{values = dense<1610612736> : tensor<1xi32>}> : () -> tensor<1xi32>
  %one = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %z16 = "tosa.const"() <{values = dense<0> : tensor<1xi16>}> : () -> tensor<1xi16>
  %z32 = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s30 = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %s31 = "tosa.const"() <{values = dense<31> : tensor<1xi8>}> : () -> tensor<1xi8>
  %a = tosa.rescale %arg0, %m75, %s31, %z16, %z16 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x2xi16>, tensor<1xi32>, tensor<1xi8>, tensor<1xi16>, tensor<1xi16>) -> tensor<1x2xi16>
  %b = tosa.rescale %arg1, %m75, %s31, %z16, %z16 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x2xi16>, tensor<1xi32>, tensor<1xi8>, tensor<1xi16>, tensor<1xi16>) -> tensor<1x2xi16>
  %a32 = tosa.rescale %a, %one, %s30, %z16, %z32 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x2xi16>, tensor<1xi32>, tensor<1xi8>, tensor<1xi16>, tensor<1xi32>) -> tensor<1x2xi32>
  %b32 = tosa.rescale %b, %one, %s30, %z16, %z32 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x2xi16>, tensor<1xi32>, tensor<1xi8>, tensor<1xi16>, tensor<1xi32>) -> tensor<1x2xi32>
  %y32 = tosa.maximum %a32, %b32 : (tensor<1x2xi32>, tensor<1x2xi32>) -> tensor<1x2xi32>
  %y = tosa.rescale %y32, %one, %s30, %z32, %z16 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x2xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi16>) -> tensor<1x2xi16>
  return %y : tensor<1x2xi16>
}
