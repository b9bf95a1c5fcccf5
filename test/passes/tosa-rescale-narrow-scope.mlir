// Which rescales each scope holds. One bit makes 1355000000 = 1.26 * 2^30 into 2^30 = 1073741824, elementwise-bits=4 into 10 * 2^27 = 1342177280.
//
// RUN: tosa-rescale-opt %s --tosa-rescale-narrow="bits=1" --split-input-file | FileCheck %s --check-prefixes=CHECK,ACCUMULATOR
// RUN: tosa-rescale-opt %s --tosa-rescale-narrow="bits=1 scope=accumulator" --split-input-file | FileCheck %s --check-prefixes=CHECK,ACCUMULATOR
// RUN: tosa-rescale-opt %s --tosa-rescale-narrow="bits=1 scope=all" --split-input-file | FileCheck %s --check-prefixes=CHECK,ALL
// RUN: tosa-rescale-opt %s --tosa-rescale-narrow="bits=1 scope=all elementwise-bits=4" --split-input-file | FileCheck %s --check-prefixes=CHECK,BOTH

// CHECK-LABEL: func.func @conv2d
// CHECK:       dense<1073741824> : tensor<1xi32>
func.func @conv2d(%arg0: tensor<1x4x4x2xi8>, %w: tensor<3x1x1x2xi8>, %b: tensor<3xi32>) -> tensor<1x4x4x3xi8> {
  %m = "tosa.const"() <{values = dense<1355000000> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<40> : tensor<1xi8>}> : () -> tensor<1xi8>
  %izp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %zp = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  %acc = tosa.conv2d %arg0, %w, %b, %zp, %zp {acc_type = i32, dilation = array<i64: 1, 1>, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>} : (tensor<1x4x4x2xi8>, tensor<3x1x1x2xi8>, tensor<3xi32>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x4x4x3xi32>
  %0 = tosa.rescale %acc, %m, %s, %izp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = DOUBLE_ROUND, scale32 = true} : (tensor<1x4x4x3xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x4x4x3xi8>
  return %0 : tensor<1x4x4x3xi8>
}

// -----

// CHECK-LABEL: func.func @conv3d
// CHECK:       dense<1073741824> : tensor<1xi32>
func.func @conv3d(%arg0: tensor<1x4x4x4x2xi8>, %w: tensor<3x1x1x1x2xi8>, %b: tensor<3xi32>) -> tensor<1x4x4x4x3xi8> {
  %m = "tosa.const"() <{values = dense<1355000000> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<40> : tensor<1xi8>}> : () -> tensor<1xi8>
  %izp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %zp = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  %acc = tosa.conv3d %arg0, %w, %b, %zp, %zp {acc_type = i32, dilation = array<i64: 1, 1, 1>, pad = array<i64: 0, 0, 0, 0, 0, 0>, stride = array<i64: 1, 1, 1>} : (tensor<1x4x4x4x2xi8>, tensor<3x1x1x1x2xi8>, tensor<3xi32>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x4x4x4x3xi32>
  %0 = tosa.rescale %acc, %m, %s, %izp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = DOUBLE_ROUND, scale32 = true} : (tensor<1x4x4x4x3xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x4x4x4x3xi8>
  return %0 : tensor<1x4x4x4x3xi8>
}

// -----

// CHECK-LABEL: func.func @depthwise_conv2d_through_transpose
// CHECK:       dense<1073741824> : tensor<1xi32>
func.func @depthwise_conv2d_through_transpose(%arg0: tensor<1x4x5x2xi8>, %w: tensor<1x1x2x1xi8>, %b: tensor<2xi32>) -> tensor<1x5x4x2xi8> {
  %m = "tosa.const"() <{values = dense<1355000000> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<40> : tensor<1xi8>}> : () -> tensor<1xi8>
  %izp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %zp = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  %acc = tosa.depthwise_conv2d %arg0, %w, %b, %zp, %zp {acc_type = i32, dilation = array<i64: 1, 1>, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>} : (tensor<1x4x5x2xi8>, tensor<1x1x2x1xi8>, tensor<2xi32>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x4x5x2xi32>
  %t = tosa.transpose %acc {perms = array<i32: 0, 2, 1, 3>} : (tensor<1x4x5x2xi32>) -> tensor<1x5x4x2xi32>
  %0 = tosa.rescale %t, %m, %s, %izp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = DOUBLE_ROUND, scale32 = true} : (tensor<1x5x4x2xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x5x4x2xi8>
  return %0 : tensor<1x5x4x2xi8>
}

// -----

// CHECK-LABEL: func.func @transpose_conv2d_through_slice
// CHECK:       dense<1073741824> : tensor<1xi32>
func.func @transpose_conv2d_through_slice(%arg0: tensor<1x4x4x2xi8>, %w: tensor<3x1x1x2xi8>, %b: tensor<3xi32>) -> tensor<1x2x4x3xi8> {
  %m = "tosa.const"() <{values = dense<1355000000> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<40> : tensor<1xi8>}> : () -> tensor<1xi8>
  %izp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %zp = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  %start = tosa.const_shape {values = dense<0> : tensor<4xindex>} : () -> !tosa.shape<4>
  %size = tosa.const_shape {values = dense<[1, 2, 4, 3]> : tensor<4xindex>} : () -> !tosa.shape<4>
  %acc = tosa.transpose_conv2d %arg0, %w, %b, %zp, %zp {acc_type = i32, out_pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>} : (tensor<1x4x4x2xi8>, tensor<3x1x1x2xi8>, tensor<3xi32>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x4x4x3xi32>
  %part = tosa.slice %acc, %start, %size : (tensor<1x4x4x3xi32>, !tosa.shape<4>, !tosa.shape<4>) -> tensor<1x2x4x3xi32>
  %0 = tosa.rescale %part, %m, %s, %izp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = DOUBLE_ROUND, scale32 = true} : (tensor<1x2x4x3xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x2x4x3xi8>
  return %0 : tensor<1x2x4x3xi8>
}

// -----

// CHECK-LABEL: func.func @matmul_through_reshape_and_identity
// CHECK:       dense<1073741824> : tensor<1xi32>
func.func @matmul_through_reshape_and_identity(%a: tensor<1x2x3xi8>, %b: tensor<1x3x4xi8>) -> tensor<8xi8> {
  %m = "tosa.const"() <{values = dense<1355000000> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<40> : tensor<1xi8>}> : () -> tensor<1xi8>
  %izp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %zp = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  %shape = tosa.const_shape {values = dense<8> : tensor<1xindex>} : () -> !tosa.shape<1>
  %acc = tosa.matmul %a, %b, %zp, %zp : (tensor<1x2x3xi8>, tensor<1x3x4xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x2x4xi32>
  %flat = tosa.reshape %acc, %shape : (tensor<1x2x4xi32>, !tosa.shape<1>) -> tensor<8xi32>
  %same = tosa.identity %flat : (tensor<8xi32>) -> tensor<8xi32>
  %0 = tosa.rescale %same, %m, %s, %izp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = DOUBLE_ROUND, scale32 = true} : (tensor<8xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<8xi8>
  return %0 : tensor<8xi8>
}

// -----

// A concatenation is an accumulator if every part of it is.
// CHECK-LABEL: func.func @concat
// CHECK:       dense<1073741824> : tensor<1xi32>
func.func @concat(%a: tensor<1x2x3xi8>, %b: tensor<1x3x4xi8>) -> tensor<1x4x4xi8> {
  %m = "tosa.const"() <{values = dense<1355000000> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<40> : tensor<1xi8>}> : () -> tensor<1xi8>
  %izp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %zp = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  %acc = tosa.matmul %a, %b, %zp, %zp : (tensor<1x2x3xi8>, tensor<1x3x4xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x2x4xi32>
  %both = tosa.concat %acc, %acc {axis = 1 : i32} : (tensor<1x2x4xi32>, tensor<1x2x4xi32>) -> tensor<1x4x4xi32>
  %0 = tosa.rescale %both, %m, %s, %izp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = DOUBLE_ROUND, scale32 = true} : (tensor<1x4x4xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x4x4xi8>
  return %0 : tensor<1x4x4xi8>
}

// -----

// CHECK-LABEL: func.func @concat_with_other
// ACCUMULATOR: dense<1355000000> : tensor<1xi32>
// ACCUMULATOR: DOUBLE_ROUND
// ALL:         dense<1073741824> : tensor<1xi32>
// BOTH:        dense<1342177280> : tensor<1xi32>
func.func @concat_with_other(%a: tensor<1x2x3xi8>, %b: tensor<1x3x4xi8>, %c: tensor<1x2x4xi32>) -> tensor<1x4x4xi8> {
  %m = "tosa.const"() <{values = dense<1355000000> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<40> : tensor<1xi8>}> : () -> tensor<1xi8>
  %izp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %zp = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  %acc = tosa.matmul %a, %b, %zp, %zp : (tensor<1x2x3xi8>, tensor<1x3x4xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x2x4xi32>
  %both = tosa.concat %acc, %c {axis = 1 : i32} : (tensor<1x2x4xi32>, tensor<1x2x4xi32>) -> tensor<1x4x4xi32>
  %0 = tosa.rescale %both, %m, %s, %izp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = DOUBLE_ROUND, scale32 = true} : (tensor<1x4x4xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x4x4xi8>
  return %0 : tensor<1x4x4xi8>
}

// -----

// CHECK-LABEL: func.func @add
// ACCUMULATOR: dense<1355000000> : tensor<1xi32>
// ACCUMULATOR: DOUBLE_ROUND
// ALL:         dense<1073741824> : tensor<1xi32>
// BOTH:        dense<1342177280> : tensor<1xi32>
func.func @add(%a: tensor<4xi32>) -> tensor<4xi8> {
  %m = "tosa.const"() <{values = dense<1355000000> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<40> : tensor<1xi8>}> : () -> tensor<1xi8>
  %izp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %zp = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  %sum = tosa.add %a, %a : (tensor<4xi32>, tensor<4xi32>) -> tensor<4xi32>
  %0 = tosa.rescale %sum, %m, %s, %izp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = DOUBLE_ROUND, scale32 = true} : (tensor<4xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<4xi8>
  return %0 : tensor<4xi8>
}

// -----

// The attribute puts a rescale in scope, and wins: 1355000000 = 5.05 * 2^28, and 5 * 2^28 = 1342177280 with 3 bits. Any integer type will do.
// CHECK-LABEL: func.func @bits_attribute
// CHECK:       dense<1342177280> : tensor<1xi32>
// CHECK:       SINGLE_ROUND{{.*}}tosa_rescale.bits = 3 : i64
func.func @bits_attribute(%a: tensor<4xi32>) -> tensor<4xi8> {
  %m = "tosa.const"() <{values = dense<1355000000> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<40> : tensor<1xi8>}> : () -> tensor<1xi8>
  %izp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %zp = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  %0 = tosa.rescale %a, %m, %s, %izp, %zp {tosa_rescale.bits = 3 : i64, input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = DOUBLE_ROUND, scale32 = true} : (tensor<4xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<4xi8>
  return %0 : tensor<4xi8>
}
