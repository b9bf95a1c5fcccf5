// RUN: tosa-rescale-opt %s --tosa-rescale-pools --split-input-file --verify-diagnostics | FileCheck %s

// 49 values: 2^12 is the largest power of two that weights up to 127 add up to, and 2^-12 = 1073741824 * 2^-42.
// CHECK-LABEL: func.func @seven
// CHECK: "tosa.const"() <{values = dense<{{.*}}> : tensor<7x7x2x1xi8>
// CHECK: tosa.depthwise_conv2d {{.*}}pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>} : {{.*}} -> tensor<1x1x1x2xi32>
// CHECK: values = dense<1073741824>
// CHECK: values = dense<42>
// CHECK: tosa.rescale {{.*}}per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true, tosa_rescale.scale_factor = 2.000000e+00 : f64
// CHECK-NOT: avg_pool2d
func.func @seven(%x: tensor<1x7x7x2xi8>) -> tensor<1x1x1x2xi8> {
  %zp = "tosa.const"() <{values = dense<-3> : tensor<1xi8>}> : () -> tensor<1xi8>
  %y = tosa.avg_pool2d %x, %zp, %zp {acc_type = i32, kernel = array<i64: 7, 7>, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>, tosa_rescale.scale_factor = 2.0 : f64} : (tensor<1x7x7x2xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x1x1x2xi8>
  return %y : tensor<1x1x1x2xi8>
}

// -----

// 256 = 85 + 85 + 86, and 512 would need weights above 127. 2^-8 = 1073741824 * 2^-38.
// CHECK-LABEL: func.func @three
// CHECK{LITERAL}: dense<[[[[85]], [[85]], [[86]]]]> : tensor<1x3x1x1xi8>
// CHECK: values = dense<38>
func.func @three(%x: tensor<1x1x6x1xi8>) -> tensor<1x1x2x1xi8> {
  %zp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %y = tosa.avg_pool2d %x, %zp, %zp {acc_type = i32, kernel = array<i64: 1, 3>, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 3>} : (tensor<1x1x6x1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x1x2x1xi8>
  return %y : tensor<1x1x2x1xi8>
}

// -----

// i16: the accumulator has 48 bits, and its rescale multipliers of 16. 2^10 = 9 times 113 or 114; 2^-10 = 16384 * 2^-24.
// CHECK-LABEL: func.func @wide
// CHECK: tosa.depthwise_conv2d {{.*}}acc_type = i48{{.*}} -> tensor<1x1x1x1xi48>
// CHECK: values = dense<16384>
// CHECK: values = dense<24>
// CHECK: tosa.rescale {{.*}}scale32 = false
func.func @wide(%x: tensor<1x3x3x1xi16>) -> tensor<1x1x1x1xi16> {
  %zp = "tosa.const"() <{values = dense<0> : tensor<1xi16>}> : () -> tensor<1xi16>
  %y = tosa.avg_pool2d %x, %zp, %zp {acc_type = i32, kernel = array<i64: 3, 3>, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>} : (tensor<1x3x3x1xi16>, tensor<1xi16>, tensor<1xi16>) -> tensor<1x1x1x1xi16>
  return %y : tensor<1x1x1x1xi16>
}

// -----

// A power of two is a shift already; so is one that the border cuts to powers of two: 3 of 4 places, 2 of which are padding.
// CHECK-LABEL: func.func @powers
// CHECK-COUNT-2: tosa.avg_pool2d
// CHECK-NOT: depthwise_conv2d
func.func @powers(%x: tensor<1x4x4x1xi8>, %z: tensor<1x1x1x1xi8>) -> (tensor<1x2x2x1xi8>, tensor<1x1x1x1xi8>) {
  %zp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %y = tosa.avg_pool2d %x, %zp, %zp {acc_type = i32, kernel = array<i64: 2, 2>, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 2, 2>} : (tensor<1x4x4x1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x2x2x1xi8>
  %w = tosa.avg_pool2d %z, %zp, %zp {acc_type = i32, kernel = array<i64: 3, 3>, pad = array<i64: 1, 1, 1, 1>, stride = array<i64: 1, 1>} : (tensor<1x1x1x1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x1x1x1xi8>
  return %y, %w : tensor<1x2x2x1xi8>, tensor<1x1x1x1xi8>
}

// -----

// CHECK-LABEL: func.func @border
// CHECK: tosa.avg_pool2d
func.func @border(%x: tensor<1x5x5x1xi8>) -> tensor<1x5x5x1xi8> {
  %zp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  // expected-remark @+1 {{stays a division: requires windows of 3x3 values each, got ones that reach over the border and hold fewer}}
  %y = tosa.avg_pool2d %x, %zp, %zp {acc_type = i32, kernel = array<i64: 3, 3>, pad = array<i64: 1, 1, 1, 1>, stride = array<i64: 1, 1>} : (tensor<1x5x5x1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x5x5x1xi8>
  return %y : tensor<1x5x5x1xi8>
}

// -----

// CHECK-LABEL: func.func @dynamic
// CHECK: tosa.avg_pool2d
func.func @dynamic(%x: tensor<1x?x3x1xi8>) -> tensor<1x?x1x1xi8> {
  %zp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  // expected-remark @+1 {{stays a division: requires known extents, got tensor<1x?x3x1xi8>}}
  %y = tosa.avg_pool2d %x, %zp, %zp {acc_type = i32, kernel = array<i64: 3, 3>, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>} : (tensor<1x?x3x1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x?x1x1xi8>
  return %y : tensor<1x?x1x1xi8>
}

// -----

// CHECK-LABEL: func.func @zero_point
// CHECK: tosa.avg_pool2d
func.func @zero_point(%x: tensor<1x3x3x1xi8>, %zp: tensor<1xi8>) -> tensor<1x1x1x1xi8> {
  // expected-remark @+1 {{stays a division: requires zero points that are constants}}
  %y = tosa.avg_pool2d %x, %zp, %zp {acc_type = i32, kernel = array<i64: 3, 3>, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>} : (tensor<1x3x3x1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x1x1x1xi8>
  return %y : tensor<1x1x1x1xi8>
}

// -----

// 1 << 23 weights of i8 are the most that an accumulator of 32 bits holds.
// CHECK-LABEL: func.func @large
// CHECK: tosa.avg_pool2d
func.func @large(%x: tensor<1x400x401x1xi8>) -> tensor<1x1x1x1xi8> {
  %zp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  // expected-remark @+1 {{stays a division: requires windows of at most 131072 values, got 160400}}
  %y = tosa.avg_pool2d %x, %zp, %zp {acc_type = i32, kernel = array<i64: 400, 401>, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>} : (tensor<1x400x401x1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x1x1x1xi8>
  return %y : tensor<1x1x1x1xi8>
}
