// Errors of single operations. All of them are reported, not only the first one.
//
// RUN: tosa-rescale-opt %s --tosa-rescale-narrow="bits=4 scope=all encoding=scale16 rounding-mode=keep" --split-input-file --verify-diagnostics

func.func @double_round(%arg0: tensor<2xi8>) -> (tensor<2xi8>, tensor<2xi8>) {
  %m = "tosa.const"() <{values = dense<1355000000> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<40> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  // expected-error@+1 {{'tosa.rescale' op requires SINGLE_ROUND for encoding=scale16, got DOUBLE_ROUND}}
  %0 = tosa.rescale %arg0, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = DOUBLE_ROUND, scale32 = true} : (tensor<2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<2xi8>
  // expected-error@+1 {{'tosa.rescale' op requires SINGLE_ROUND for encoding=scale16, got DOUBLE_ROUND}}
  %1 = tosa.rescale %arg0, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = DOUBLE_ROUND, scale32 = true} : (tensor<2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<2xi8>
  return %0, %1 : tensor<2xi8>, tensor<2xi8>
}

// -----

func.func @attribute_too_wide_for_scale16(%arg0: tensor<2xi8>) -> tensor<2xi8> {
  %m = "tosa.const"() <{values = dense<1355000000> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<40> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  // expected-error@+1 {{'tosa.rescale' op requires at most 15 significant bits for encoding=scale16, got 16}}
  %0 = tosa.rescale %arg0, %m, %s, %zp, %zp {tosa_rescale.bits = 16, input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<2xi8>
  return %0 : tensor<2xi8>
}

// -----

func.func @attribute_out_of_range(%arg0: tensor<2xi8>) -> (tensor<2xi8>, tensor<2xi8>, tensor<2xi8>) {
  %m = "tosa.const"() <{values = dense<1355000000> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<40> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  // expected-error@+1 {{'tosa.rescale' op requires 'tosa_rescale.bits' to be an integer from 1 to 31, got 0 : i32}}
  %0 = tosa.rescale %arg0, %m, %s, %zp, %zp {tosa_rescale.bits = 0 : i32, input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<2xi8>
  // expected-error@+1 {{'tosa.rescale' op requires 'tosa_rescale.bits' to be an integer from 1 to 31, got 32 : i64}}
  %1 = tosa.rescale %arg0, %m, %s, %zp, %zp {tosa_rescale.bits = 32 : i64, input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<2xi8>
  // expected-error@+1 {{'tosa.rescale' op requires 'tosa_rescale.bits' to be an integer from 1 to 31, got "four"}}
  %2 = tosa.rescale %arg0, %m, %s, %zp, %zp {tosa_rescale.bits = "four", input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<2xi8>
  return %0, %1, %2 : tensor<2xi8>, tensor<2xi8>, tensor<2xi8>
}
