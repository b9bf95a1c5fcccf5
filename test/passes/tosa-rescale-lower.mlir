// RUN: tosa-rescale-opt %s --tosa-rescale-lower --split-input-file | FileCheck %s --check-prefixes=CHECK,SHIFT --implicit-check-not=tosa.rescale
// RUN: tosa-rescale-opt %s --tosa-rescale-lower=rounding=bias --split-input-file | FileCheck %s --check-prefixes=CHECK,BIAS --implicit-check-not=tosa.rescale
// Raised, every rescale stands for the number that it was, and lowering that gives the same again.
// RUN: tosa-rescale-opt %s --tosa-rescale-lower --split-input-file > %t.once
// RUN: tosa-rescale-opt %t.once --tosa-rescale-raise --tosa-rescale-lower --split-input-file | diff %t.once -
// RUN: tosa-rescale-opt %s --tosa-rescale-lower=rounding=bias --split-input-file > %t.once
// RUN: tosa-rescale-opt %t.once --tosa-rescale-raise --tosa-rescale-lower=rounding=bias --split-input-file | diff %t.once -

// A convolution with one bit for each channel: no product, the shifts broadcast along the channels. 2^-6 and 2^-7.
// CHECK-LABEL: func.func @conv
// SHIFT: "tosa.const"() <{values = dense<[100, -100]>
// BIAS: "tosa.const"() <{values = dense<[132, -36]> : tensor<2xi32>}>
// CHECK: [[ACC:%.+]] = tosa.conv2d
// CHECK: [[STEPS:%.+]] = "tosa.const"() <{values = dense<{{\[\[\[\[}}6, 7]]]]> : tensor<1x1x1x2xi32>}>
// SHIFT: [[SHIFTED:%.+]] = tosa.arithmetic_right_shift [[ACC]], [[STEPS]] {round = true, tosa_rescale.lowered}
// BIAS: [[SHIFTED:%.+]] = tosa.arithmetic_right_shift [[ACC]], [[STEPS]] {round = false, tosa_rescale.lowered}
// CHECK: [[ZP:%.+]] = "tosa.const"() <{values = dense<-3> : tensor<1x1x1x1xi32>}>
// CHECK: [[SUM:%.+]] = tosa.add [[SHIFTED]], [[ZP]]
// CHECK: [[LOW:%.+]] = "tosa.const"() <{values = dense<-128> : tensor<1x1x1x1xi32>}>
// CHECK: [[ABOVE:%.+]] = tosa.maximum [[SUM]], [[LOW]]
// CHECK: [[HIGH:%.+]] = "tosa.const"() <{values = dense<127> : tensor<1x1x1x1xi32>}>
// CHECK: [[CUT:%.+]] = tosa.minimum [[ABOVE]], [[HIGH]]
// Attributes of the rescale go to what makes its result.
// CHECK: tosa.cast [[CUT]] {tosa_rescale.scale_factor = 2.000000e+00 : f64} : (tensor<1x2x2x2xi32>) -> tensor<1x2x2x2xi8>
func.func @conv(%x: tensor<1x2x2x2xi8>) -> tensor<1x2x2x2xi8> {
  %w = "tosa.const"() <{values = dense<3> : tensor<2x1x1x2xi8>}> : () -> tensor<2x1x1x2xi8>
  %b = "tosa.const"() <{values = dense<[100, -100]> : tensor<2xi32>}> : () -> tensor<2xi32>
  %zp = "tosa.const"() <{values = dense<-3> : tensor<1xi8>}> : () -> tensor<1xi8>
  %none = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %none32 = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %m = "tosa.const"() <{values = dense<1073741824> : tensor<2xi32>}> : () -> tensor<2xi32>
  %s = "tosa.const"() <{values = dense<[36, 37]> : tensor<2xi8>}> : () -> tensor<2xi8>
  %acc = tosa.conv2d %x, %w, %b, %zp, %none {acc_type = i32, dilation = array<i64: 1, 1>, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>} : (tensor<1x2x2x2xi8>, tensor<2x1x1x2xi8>, tensor<2xi32>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x2x2x2xi32>
  %y = tosa.rescale %acc, %m, %s, %none32, %zp {input_unsigned = false, output_unsigned = false, per_channel = true, rounding_mode = SINGLE_ROUND, scale32 = true, tosa_rescale.scale_factor = 2.0 : f64} : (tensor<1x2x2x2xi32>, tensor<2xi32>, tensor<2xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x2x2x2xi8>
  return %y : tensor<1x2x2x2xi8>
}

// -----

// Something else reads the accumulator: its bias stays, and half is added behind it.
// CHECK-LABEL: func.func @shared_accumulator
// CHECK: dense<[100, -100]> : tensor<2xi32>
// CHECK: [[ACC:%.+]] = tosa.conv2d
// BIAS: [[HALF:%.+]] = "tosa.const"() <{values = dense<32> : tensor<1x1x1x1xi32>}>
// BIAS: [[SUM:%.+]] = tosa.add [[ACC]], [[HALF]]
// BIAS: tosa.arithmetic_right_shift [[SUM]], {{.*}} {round = false, tosa_rescale.lowered}
func.func @shared_accumulator(%x: tensor<1x2x2x2xi8>) -> (tensor<1x2x2x2xi8>, tensor<1x2x2x2xi32>) {
  %w = "tosa.const"() <{values = dense<3> : tensor<2x1x1x2xi8>}> : () -> tensor<2x1x1x2xi8>
  %b = "tosa.const"() <{values = dense<[100, -100]> : tensor<2xi32>}> : () -> tensor<2xi32>
  %none = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %none32 = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %m = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<36> : tensor<1xi8>}> : () -> tensor<1xi8>
  %acc = tosa.conv2d %x, %w, %b, %none, %none {acc_type = i32, dilation = array<i64: 1, 1>, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>} : (tensor<1x2x2x2xi8>, tensor<2x1x1x2xi8>, tensor<2xi32>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x2x2x2xi32>
  %y = tosa.rescale %acc, %m, %s, %none32, %none {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x2x2x2xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x2x2x2xi8>
  return %y, %acc : tensor<1x2x2x2xi8>, tensor<1x2x2x2xi32>
}

// -----

// 2^20, as an operand of an addition has it: a left shift, and no limits, as i32 has room. DOUBLE_ROUND rounds once at shifts up to 31.
// CHECK-LABEL: func.func @widen
// CHECK: [[WIDE:%.+]] = tosa.cast %arg0 : (tensor<4xi8>) -> tensor<4xi32>
// CHECK: [[ZP:%.+]] = "tosa.const"() <{values = dense<-5> : tensor<1xi32>}>
// CHECK: [[PLAIN:%.+]] = tosa.sub [[WIDE]], [[ZP]]
// CHECK: [[STEPS:%.+]] = "tosa.const"() <{values = dense<20> : tensor<1xi32>}>
// CHECK: [[LEFT:%.+]] = tosa.logical_left_shift [[PLAIN]], [[STEPS]] {tosa_rescale.lowered}
// CHECK-NEXT: return [[LEFT]]
func.func @widen(%x: tensor<4xi8>) -> tensor<4xi32> {
  %zp = "tosa.const"() <{values = dense<-5> : tensor<1xi8>}> : () -> tensor<1xi8>
  %none32 = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %m = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<10> : tensor<1xi8>}> : () -> tensor<1xi8>
  %y = tosa.rescale %x, %m, %s, %zp, %none32 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = DOUBLE_ROUND, scale32 = true} : (tensor<4xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<4xi32>
  return %y : tensor<4xi32>
}

// -----

// 13 * 2^-8 and 2^-3 in two channels: a product with the compact multiplier. i16 to i16.
// CHECK-LABEL: func.func @product
// CHECK: [[WIDE:%.+]] = tosa.cast %arg0 : (tensor<3x2xi16>) -> tensor<3x2xi32>
// CHECK: [[M:%.+]] = "tosa.const"() <{values = dense<{{\[\[}}13, 1]]> : tensor<1x2xi32>}>
// CHECK: [[PRODUCT:%.+]] = tosa.mul [[WIDE]], [[M]], {{%.+}} {tosa_rescale.lowered}
// BIAS: [[HALF:%.+]] = "tosa.const"() <{values = dense<{{\[\[}}128, 4]]> : tensor<1x2xi32>}>
// BIAS: [[SUM:%.+]] = tosa.add [[PRODUCT]], [[HALF]]
// CHECK: [[S:%.+]] = "tosa.const"() <{values = dense<{{\[\[}}8, 3]]> : tensor<1x2xi32>}>
// SHIFT: tosa.arithmetic_right_shift [[PRODUCT]], [[S]] {round = true, tosa_rescale.lowered}
// BIAS: tosa.arithmetic_right_shift [[SUM]], [[S]] {round = false, tosa_rescale.lowered}
// CHECK: dense<-32768> : tensor<1x1xi32>
// CHECK: dense<32767> : tensor<1x1xi32>
// CHECK: tosa.cast {{.*}} -> tensor<3x2xi16>
func.func @product(%x: tensor<3x2xi16>) -> tensor<3x2xi16> {
  %none = "tosa.const"() <{values = dense<0> : tensor<1xi16>}> : () -> tensor<1xi16>
  %m = "tosa.const"() <{values = dense<[13, 8]> : tensor<2xi16>}> : () -> tensor<2xi16>
  %s = "tosa.const"() <{values = dense<[8, 6]> : tensor<2xi8>}> : () -> tensor<2xi8>
  %y = tosa.rescale %x, %m, %s, %none, %none {input_unsigned = false, output_unsigned = false, per_channel = true, rounding_mode = SINGLE_ROUND, scale32 = false} : (tensor<3x2xi16>, tensor<2xi16>, tensor<2xi8>, tensor<1xi16>, tensor<1xi16>) -> tensor<3x2xi16>
  return %y : tensor<3x2xi16>
}

// -----

// Unsigned by a flag, in signless types: 128 is the zero point of the input. Factor 1 is a right shift by 0, which always rounds.
// CHECK-LABEL: func.func @unsigned
// CHECK: [[WIDE:%.+]] = tosa.cast %arg0
// CHECK: [[MASK:%.+]] = "tosa.const"() <{values = dense<255> : tensor<1xi32>}>
// CHECK: [[BITS:%.+]] = tosa.bitwise_and [[WIDE]], [[MASK]]
// CHECK: [[ZP:%.+]] = "tosa.const"() <{values = dense<128> : tensor<1xi32>}>
// CHECK: [[PLAIN:%.+]] = tosa.sub [[BITS]], [[ZP]]
// CHECK: [[STEPS:%.+]] = "tosa.const"() <{values = dense<0> : tensor<1xi32>}>
// CHECK: [[SAME:%.+]] = tosa.arithmetic_right_shift [[PLAIN]], [[STEPS]] {round = true, tosa_rescale.lowered}
// CHECK: [[INNER:%.+]] = tosa.cast
// The other way.
// CHECK: [[BACK:%.+]] = tosa.cast [[INNER]] : (tensor<4xi8>) -> tensor<4xi32>
// CHECK: [[OFFSET:%.+]] = "tosa.const"() <{values = dense<200> : tensor<1xi32>}>
// CHECK: tosa.add {{.*}}, [[OFFSET]]
// CHECK: dense<0> : tensor<1xi32>
// CHECK: tosa.maximum
// CHECK: dense<255> : tensor<1xi32>
// CHECK: tosa.minimum
func.func @unsigned(%x: tensor<4xi8>) -> tensor<4xi8> {
  %zp = "tosa.const"() <{values = dense<-128> : tensor<1xi8>}> : () -> tensor<1xi8>
  %high = "tosa.const"() <{values = dense<-56> : tensor<1xi8>}> : () -> tensor<1xi8>
  %none = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %m = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %y = tosa.rescale %x, %m, %s, %zp, %none {input_unsigned = true, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<4xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<4xi8>
  %s1 = "tosa.const"() <{values = dense<31> : tensor<1xi8>}> : () -> tensor<1xi8>
  %z = tosa.rescale %y, %m, %s1, %none, %high {input_unsigned = false, output_unsigned = true, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<4xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<4xi8>
  return %z : tensor<4xi8>
}

// -----

// A shift of 40 leaves 0 of any i32, a shift of 31 does not: the multiplier becomes 0. Of what stays below 2^30 31 leaves 0, too.
// CHECK-LABEL: func.func @long_shift
// CHECK: [[NONE:%.+]] = "tosa.const"() <{values = dense<0> : tensor<1xi32>}>
// CHECK: tosa.mul %arg0, [[NONE]]
// CHECK: [[WIDE:%.+]] = tosa.cast %arg1
// CHECK: [[STEPS:%.+]] = "tosa.const"() <{values = dense<31> : tensor<1xi32>}>
// CHECK: tosa.arithmetic_right_shift {{.*}}, [[STEPS]]
func.func @long_shift(%x: tensor<4xi32>, %small: tensor<4xi8>) -> (tensor<4xi8>, tensor<4xi8>) {
  %none = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %none32 = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %m = "tosa.const"() <{values = dense<4194304> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<62> : tensor<1xi8>}> : () -> tensor<1xi8>
  %y = tosa.rescale %x, %m, %s, %none32, %none {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<4xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<4xi8>
  %z = tosa.rescale %small, %m, %s, %none, %none {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<4xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<4xi8>
  return %y, %z : tensor<4xi8>, tensor<4xi8>
}
