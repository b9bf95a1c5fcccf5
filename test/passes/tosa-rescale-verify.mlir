// What holds, and where each limit lies: the twins in tosa-rescale-verify-invalid.mlir are one step beyond.
//
// RUN: tosa-rescale-opt %s --tosa-rescale-verify="bits=4 scope=all" --split-input-file --verify-diagnostics | FileCheck %s
// RUN: tosa-rescale-opt %s --tosa-rescale-verify="bits=3 hidden-bit scope=all" --split-input-file --verify-diagnostics | FileCheck %s
// RUN: tosa-rescale-opt %s --tosa-rescale-verify="bits=1 elementwise-bits=4 scope=all" --split-input-file --verify-diagnostics | FileCheck %s

// An int8 minus 3 lies in -131 to 124: a shift of 9 allows -256 to 255, and 0b1111 has four bits.
// CHECK-LABEL: func.func @argument
// CHECK:       dense<15> : tensor<1xi32>
func.func @argument(%arg0: tensor<2xi8>) -> tensor<2xi8> {
  %m = "tosa.const"() <{values = dense<15> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<9> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  %0 = tosa.rescale %arg0, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<2xi8>
  return %0 : tensor<2xi8>
}

// -----

// Zero has no bits, 2 and 62 are legal shifts.
// CHECK-LABEL: func.func @shifts
func.func @shifts(%arg0: tensor<2x2xi8>) -> tensor<2x2xi8> {
  %m = "tosa.const"() <{values = dense<[1, 0]> : tensor<2xi16>}> : () -> tensor<2xi16>
  %s = "tosa.const"() <{values = dense<[2, 62]> : tensor<2xi8>}> : () -> tensor<2xi8>
  %zp = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  %0 = tosa.rescale %arg0, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = true, rounding_mode = SINGLE_ROUND, scale32 = false} : (tensor<2x2xi8>, tensor<2xi16>, tensor<2xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<2x2xi8>
  return %0 : tensor<2x2xi8>
}

// -----

// A 16-bit multiplier takes any value: the full range of i32 times 2^14 * 2^-14 still fits.
// CHECK-LABEL: func.func @scale16
func.func @scale16(%arg0: tensor<2xi32>) -> tensor<2xi32> {
  %m = "tosa.const"() <{values = dense<16384> : tensor<1xi16>}> : () -> tensor<1xi16>
  %s = "tosa.const"() <{values = dense<14> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %0 = tosa.rescale %arg0, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = false} : (tensor<2xi32>, tensor<1xi16>, tensor<1xi8>, tensor<1xi32>, tensor<1xi32>) -> tensor<2xi32>
  return %0 : tensor<2xi32>
}

// -----

// Of each channel its own range: with one input of -128 to 127 the accumulators are 1000 - 128 to 1000 + 127, and 100 * (-128 to 127).
// The first would not fit a shift of 11, which allows -1024 to 1023; the second not even one of 14.
// CHECK-LABEL: func.func @per_channel
func.func @per_channel(%arg0: tensor<1x1x1x1xi8>) -> tensor<1x1x1x2xi8> {
  %w = "tosa.const"() <{values = dense<[[[[1]]], [[[100]]]]> : tensor<2x1x1x1xi8>}> : () -> tensor<2x1x1x1xi8>
  %b = "tosa.const"() <{values = dense<[1000, 0]> : tensor<2xi32>}> : () -> tensor<2xi32>
  %m = "tosa.const"() <{values = dense<1> : tensor<2xi32>}> : () -> tensor<2xi32>
  %s = "tosa.const"() <{values = dense<[12, 15]> : tensor<2xi8>}> : () -> tensor<2xi8>
  %izp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %zp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %acc = tosa.conv2d %arg0, %w, %b, %zp, %zp {acc_type = i32, dilation = array<i64: 1, 1>, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>} : (tensor<1x1x1x1xi8>, tensor<2x1x1x1xi8>, tensor<2xi32>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x1x1x2xi32>
  %0 = tosa.rescale %acc, %m, %s, %izp, %zp {input_unsigned = false, output_unsigned = false, per_channel = true, rounding_mode = DOUBLE_ROUND, scale32 = true} : (tensor<1x1x1x2xi32>, tensor<2xi32>, tensor<2xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x1x1x2xi8>
  return %0 : tensor<1x1x1x2xi8>
}
