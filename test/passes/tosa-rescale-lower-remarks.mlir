// Rescales that stay, and why; with `strict` each is an error, and nothing changes.
//
// RUN: tosa-rescale-opt %s --tosa-rescale-lower --split-input-file --verify-diagnostics
// RUN: sed 's/expected-remark@+1 {{stays a rescale: /expected-error@+1 {{cannot be lowered: /' %s | tosa-rescale-opt --tosa-rescale-lower=strict --split-input-file --verify-diagnostics
// RUN: not tosa-rescale-opt %s --tosa-rescale-lower=rounding=up 2>&1 | FileCheck %s
// CHECK: Cannot find option named 'up'

func.func @computed_multiplier(%x: tensor<2xi8>, %m: tensor<1xi32>) -> tensor<2xi8> {
  %s = "tosa.const"() <{values = dense<40> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  // expected-remark@+1 {{stays a rescale: requires a constant multiplier and shift, got a computed one}}
  %0 = tosa.rescale %x, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<2xi8>
  return %0 : tensor<2xi8>
}

// -----

func.func @computed_zero_point(%x: tensor<2xi8>, %zp: tensor<1xi8>) -> tensor<2xi8> {
  %m = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<40> : tensor<1xi8>}> : () -> tensor<1xi8>
  // expected-remark@+1 {{stays a rescale: requires constant zero points, got a computed one}}
  %0 = tosa.rescale %x, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<2xi8>
  return %0 : tensor<2xi8>
}

// -----

// Nothing is known of the argument, so its range is that of i32: enough for one bit, too much for two.
func.func @unknown_range(%x: tensor<2x2xi32>) -> (tensor<2x2xi8>, tensor<2x2xi8>) {
  %m = "tosa.const"() <{values = dense<[1073741824, 1610612736]> : tensor<2xi32>}> : () -> tensor<2xi32>
  %s = "tosa.const"() <{values = dense<[40, 39]> : tensor<2xi8>}> : () -> tensor<2xi8>
  %m1 = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s1 = "tosa.const"() <{values = dense<40> : tensor<1xi8>}> : () -> tensor<1xi8>
  %none = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %none32 = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  // expected-remark@+1 {{stays a rescale: requires a value from -715827882 to 715827882 for a 32-bit product with 3, got -2147483648 to 2147483647 in channel 1}}
  %0 = tosa.rescale %x, %m, %s, %none32, %none {input_unsigned = false, output_unsigned = false, per_channel = true, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2x2xi32>, tensor<2xi32>, tensor<2xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<2x2xi8>
  %1 = tosa.rescale %x, %m1, %s1, %none32, %none {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2x2xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<2x2xi8>
  return %0, %1 : tensor<2x2xi8>, tensor<2x2xi8>
}

// -----

func.func @double_round(%x: tensor<2xi32>) -> tensor<2xi8> {
  %m = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<40> : tensor<1xi8>}> : () -> tensor<1xi8>
  %none = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %none32 = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  // expected-remark@+1 {{stays a rescale: requires SINGLE_ROUND, or a shift of at most 31, got DOUBLE_ROUND with shift 40}}
  %0 = tosa.rescale %x, %m, %s, %none32, %none {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = DOUBLE_ROUND, scale32 = true} : (tensor<2xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<2xi8>
  return %0 : tensor<2xi8>
}

// -----

func.func @inexact(%x: tensor<2xi8>) -> tensor<2xi8> {
  %m = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<40> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  // expected-remark@+1 {{stays a rescale: requires SINGLE_ROUND or DOUBLE_ROUND, got INEXACT_ROUND}}
  %0 = tosa.rescale %x, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = INEXACT_ROUND, scale32 = true} : (tensor<2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<2xi8>
  return %0 : tensor<2xi8>
}

// -----

// An unsigned type, as the borders of a uint8 model have it: no operation but rescale reads it.
func.func @unsigned_type(%x: tensor<2xui8>) -> tensor<2xi8> {
  %m = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp = "tosa.const"() <{values = dense<-128> : tensor<1xi8>}> : () -> tensor<1xi8>
  // expected-remark@+1 {{stays a rescale: requires ranked tensors of signless integers, which tosa.cast takes, got tensor<2xui8>}}
  %0 = tosa.rescale %x, %m, %s, %zp, %zp {input_unsigned = true, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2xui8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<2xi8>
  return %0 : tensor<2xi8>
}

// -----

func.func @wide(%x: tensor<2xi48>) -> tensor<2xi16> {
  %m = "tosa.const"() <{values = dense<16384> : tensor<1xi16>}> : () -> tensor<1xi16>
  %s = "tosa.const"() <{values = dense<40> : tensor<1xi8>}> : () -> tensor<1xi8>
  %none48 = "tosa.const"() <{values = dense<0> : tensor<1xi48>}> : () -> tensor<1xi48>
  %none16 = "tosa.const"() <{values = dense<0> : tensor<1xi16>}> : () -> tensor<1xi16>
  // expected-remark@+1 {{stays a rescale: requires an input of at most 32 bits, or the option wide-inputs, got i48}}
  %0 = tosa.rescale %x, %m, %s, %none48, %none16 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = false} : (tensor<2xi48>, tensor<1xi16>, tensor<1xi8>, tensor<1xi48>, tensor<1xi16>) -> tensor<2xi16>
  return %0 : tensor<2xi16>
}
