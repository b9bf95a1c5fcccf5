// A multiplier that would stay wide is rounded where no result moves by more than 1/16 of a step.
//
// RUN: tosa-rescale-opt %s --tosa-rescale-align="bits=1" --split-input-file --verify-diagnostics | FileCheck %s
// RUN: not tosa-rescale-opt %s --tosa-rescale-align="bits=1 litert strict" --split-input-file 2>&1 | FileCheck %s --check-prefix=LITERT

// 1.0002 moves 256 steps by 0.05.
// LITERT-COUNT-3: requires a multiplier of at most 1 significant bit
// CHECK-LABEL: func.func @near
// CHECK-DAG:   %[[ONE:.*]] = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}>
// CHECK:       tosa.rescale %arg0, %[[ONE]],
func.func @near(%arg0: tensor<4xi8>) -> tensor<4xi8> {
  %m = "tosa.const"() <{values = dense<1073956572> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %y = tosa.rescale %arg0, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<4xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<4xi8>
  return %y : tensor<4xi8>
}

// -----

// 1.0003 moves them by 0.08.
// CHECK-LABEL: func.func @far
// CHECK:       dense<1074063946>
func.func @far(%arg0: tensor<4xi8>) -> tensor<4xi8> {
  %m = "tosa.const"() <{values = dense<1074063946> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  // expected-remark @+1 {{keeps a multiplier of more than 1 significant bit}}
  %y = tosa.rescale %arg0, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<4xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<4xi8>
  return %y : tensor<4xi8>
}

// -----

// 1.0002 moves 65,536 steps by 13.
// CHECK-LABEL: func.func @wide_tensor
// CHECK:       dense<1073956572>
func.func @wide_tensor(%arg0: tensor<4xi16>) -> tensor<4xi16> {
  %m = "tosa.const"() <{values = dense<1073956572> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp = "tosa.const"() <{values = dense<0> : tensor<1xi16>}> : () -> tensor<1xi16>
  // expected-remark @+1 {{keeps a multiplier of more than 1 significant bit}}
  %y = tosa.rescale %arg0, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<4xi16>, tensor<1xi32>, tensor<1xi8>, tensor<1xi16>, tensor<1xi16>) -> tensor<4xi16>
  return %y : tensor<4xi16>
}
