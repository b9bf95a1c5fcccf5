// Rescales in scope that are left alone, and why. The same ones are silent where they are out of scope.
//
// RUN: tosa-rescale-opt %s --tosa-rescale-narrow="bits=4 scope=all rounding-mode=keep" --split-input-file --verify-diagnostics
// RUN: sed s/expected-remark// %s | tosa-rescale-opt --tosa-rescale-narrow="bits=4 rounding-mode=keep" --split-input-file 2>&1 | FileCheck %s --implicit-check-not=remark

// CHECK-LABEL: func.func @computed_multiplier
func.func @computed_multiplier(%arg0: tensor<2xi8>, %m: tensor<1xi32>) -> tensor<2xi8> {
  %s = "tosa.const"() <{values = dense<40> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  // expected-remark@+1 {{left alone: requires a constant multiplier and shift}}
  %0 = tosa.rescale %arg0, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<2xi8>
  return %0 : tensor<2xi8>
}

// -----

// CHECK-LABEL: func.func @computed_shift
func.func @computed_shift(%arg0: tensor<2xi8>, %s: tensor<1xi8>) -> tensor<2xi8> {
  %m = "tosa.const"() <{values = dense<1355000000> : tensor<1xi32>}> : () -> tensor<1xi32>
  %zp = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  // expected-remark@+1 {{left alone: requires a constant multiplier and shift}}
  %0 = tosa.rescale %arg0, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<2xi8>
  return %0 : tensor<2xi8>
}

// -----

// CHECK-LABEL: func.func @inexact
func.func @inexact(%arg0: tensor<2xi8>) -> tensor<2xi8> {
  %m = "tosa.const"() <{values = dense<1355000000> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<40> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  // expected-remark@+1 {{left alone: the result of INEXACT_ROUND is up to the implementation; rounding-mode=single replaces it}}
  %0 = tosa.rescale %arg0, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = INEXACT_ROUND, scale32 = true} : (tensor<2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<2xi8>
  return %0 : tensor<2xi8>
}

// -----

// CHECK-LABEL: func.func @negative_multiplier
func.func @negative_multiplier(%arg0: tensor<2x2xi8>) -> tensor<2x2xi8> {
  %m = "tosa.const"() <{values = dense<[1355000000, -5]> : tensor<2xi32>}> : () -> tensor<2xi32>
  %s = "tosa.const"() <{values = dense<40> : tensor<2xi8>}> : () -> tensor<2xi8>
  %zp = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  // expected-remark@+1 {{left alone: requires a multiplier of at least 0, got -5 in channel 1}}
  %0 = tosa.rescale %arg0, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = true, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2x2xi8>, tensor<2xi32>, tensor<2xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<2x2xi8>
  return %0 : tensor<2x2xi8>
}

// -----

// 31 bits with a shift of 2 is the largest scale there is.
// CHECK-LABEL: func.func @too_large
func.func @too_large(%arg0: tensor<2xi8>) -> tensor<2xi8> {
  %m = "tosa.const"() <{values = dense<1355000000> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<1> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  // expected-remark@+1 {{left alone: no legal shift expresses the scale 1355000000 * 2^-1}}
  %0 = tosa.rescale %arg0, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<2xi8>
  return %0 : tensor<2xi8>
}

// -----

// CHECK-LABEL: func.func @double_round_16_bit
func.func @double_round_16_bit(%arg0: tensor<2xi8>) -> tensor<2xi8> {
  %m = "tosa.const"() <{values = dense<23170> : tensor<1xi16>}> : () -> tensor<1xi16>
  %s = "tosa.const"() <{values = dense<20> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  // expected-remark@+1 {{left alone: DOUBLE_ROUND requires scale32, got a 16-bit multiplier}}
  %0 = tosa.rescale %arg0, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = DOUBLE_ROUND, scale32 = false} : (tensor<2xi8>, tensor<1xi16>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<2xi8>
  return %0 : tensor<2xi8>
}

// -----

// CHECK-LABEL: func.func @i48_scale32
func.func @i48_scale32(%arg0: tensor<2xi48>) -> tensor<2xi16> {
  %m = "tosa.const"() <{values = dense<1355000000> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<40> : tensor<1xi8>}> : () -> tensor<1xi8>
  %izp = "tosa.const"() <{values = dense<0> : tensor<1xi48>}> : () -> tensor<1xi48>
  %ozp = "tosa.const"() <{values = dense<0> : tensor<1xi16>}> : () -> tensor<1xi16>
  // expected-remark@+1 {{left alone: an i48 input requires a 16-bit multiplier, got scale32}}
  %0 = tosa.rescale %arg0, %m, %s, %izp, %ozp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2xi48>, tensor<1xi32>, tensor<1xi8>, tensor<1xi48>, tensor<1xi16>) -> tensor<2xi16>
  return %0 : tensor<2xi16>
}
