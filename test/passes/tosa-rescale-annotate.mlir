// Producers, scopes, and the range that the analysis finds for each kind of operation. Everything is worked out by hand from int8, -128 to 127.
//
// RUN: tosa-rescale-opt %s --tosa-rescale-annotate --split-input-file | FileCheck %s

// One output is the sum of w * (x - 1) over two inputs, plus a bias, for the weights 3 and -2:
//   least 10 + 3 * (-129) - 2 * 126 = -629, most 10 + 3 * 126 - 2 * (-129) = 646.
// CHECK-LABEL: func.func @conv2d
// CHECK:       tosa_rescale.info = {producer = "conv2d", scope = "accumulator", value_max = 646 : i64, value_min = -629 : i64, violations = []}
func.func @conv2d(%x: tensor<1x1x1x2xi8>) -> tensor<1x1x1x1xi8> {
  %w = "tosa.const"() <{values = dense<[[[[3, -2]]]]> : tensor<1x1x1x2xi8>}> : () -> tensor<1x1x1x2xi8>
  %b = "tosa.const"() <{values = dense<10> : tensor<1xi32>}> : () -> tensor<1xi32>
  %m = "tosa.const"() <{values = dense<1> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp0 = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp1 = "tosa.const"() <{values = dense<1> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp32 = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %acc = tosa.conv2d %x, %w, %b, %zp1, %zp0 {acc_type = i32, dilation = array<i64: 1, 1>, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>} : (tensor<1x1x1x2xi8>, tensor<1x1x1x2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x1x1x1xi32>
  %0 = tosa.rescale %acc, %m, %s, %zp32, %zp0 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x1x1x1xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x1x1x1xi8>
  return %0 : tensor<1x1x1x1xi8>
}

// -----

// The same with x clamped to 11 .. 20 and a border: a tap outside adds nothing, although x - 1 is 10 at least.
//   least 10 + 0 - 2 * 19 = -28, most 10 + 3 * 19 - 0 = 67.
// CHECK-LABEL: func.func @conv2d_with_padding
// CHECK:       value_max = 67 : i64, value_min = -28 : i64
func.func @conv2d_with_padding(%arg0: tensor<1x1x1x2xi8>) -> tensor<1x2x1x1xi8> {
  %w = "tosa.const"() <{values = dense<[[[[3, -2]]]]> : tensor<1x1x1x2xi8>}> : () -> tensor<1x1x1x2xi8>
  %b = "tosa.const"() <{values = dense<10> : tensor<1xi32>}> : () -> tensor<1xi32>
  %m = "tosa.const"() <{values = dense<1> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp0 = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp1 = "tosa.const"() <{values = dense<1> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp32 = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %x = tosa.clamp %arg0 {min_val = 11 : i8, max_val = 20 : i8} : (tensor<1x1x1x2xi8>) -> tensor<1x1x1x2xi8>
  %acc = tosa.conv2d %x, %w, %b, %zp1, %zp0 {acc_type = i32, dilation = array<i64: 1, 1>, pad = array<i64: 1, 0, 0, 0>, stride = array<i64: 1, 1>} : (tensor<1x1x1x2xi8>, tensor<1x1x1x2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x2x1x1xi32>
  %0 = tosa.rescale %acc, %m, %s, %zp32, %zp0 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x2x1x1xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x2x1x1xi8>
  return %0 : tensor<1x2x1x1xi8>
}

// -----

// Depthwise weights arrive reshaped. Channel 0 has weight 1 and input 0 .. 5, channel 1 weight 2 - the weight's zero point is 1 - and input 0 .. 7;
// a multiplier of 2 gives each input channel two outputs: 1 * 5, 4 * 5, 2 * 7, 3 * 7.
// CHECK-LABEL: func.func @depthwise_conv2d
// CHECK:       producer = "depthwise_conv2d", scope = "accumulator", value_max = 21 : i64, value_min = 0 : i64
func.func @depthwise_conv2d(%arg0: tensor<1x1x1x1xi8>) -> tensor<1x1x1x4xi8> {
  %c = "tosa.const"() <{values = dense<[[[2, 5, 3, 4]]]> : tensor<1x1x4xi8>}> : () -> tensor<1x1x4xi8>
  %shape = tosa.const_shape {values = dense<[1, 1, 2, 2]> : tensor<4xindex>} : () -> !tosa.shape<4>
  %w = tosa.reshape %c, %shape : (tensor<1x1x4xi8>, !tosa.shape<4>) -> tensor<1x1x2x2xi8>
  %b = "tosa.const"() <{values = dense<0> : tensor<4xi32>}> : () -> tensor<4xi32>
  %m = "tosa.const"() <{values = dense<1> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp0 = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp1 = "tosa.const"() <{values = dense<1> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp32 = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %x0 = tosa.clamp %arg0 {min_val = 0 : i8, max_val = 5 : i8} : (tensor<1x1x1x1xi8>) -> tensor<1x1x1x1xi8>
  %x1 = tosa.clamp %arg0 {min_val = 0 : i8, max_val = 7 : i8} : (tensor<1x1x1x1xi8>) -> tensor<1x1x1x1xi8>
  %x = tosa.concat %x0, %x1 {axis = 3 : i32} : (tensor<1x1x1x1xi8>, tensor<1x1x1x1xi8>) -> tensor<1x1x1x2xi8>
  %acc = tosa.depthwise_conv2d %x, %w, %b, %zp0, %zp1 {acc_type = i32, dilation = array<i64: 1, 1>, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>} : (tensor<1x1x1x2xi8>, tensor<1x1x2x2xi8>, tensor<4xi32>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x1x1x4xi32>
  %0 = tosa.rescale %acc, %m, %s, %zp32, %zp0 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x1x1x4xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x1x1x4xi8>
  return %0 : tensor<1x1x1x4xi8>
}

// -----

// Three products of int8 by int8: from 3 * (-128 * 127) = -48768 to 3 * (-128 * -128) = 49152.
// CHECK-LABEL: func.func @matmul
// CHECK:       producer = "matmul", scope = "accumulator", value_max = 49152 : i64, value_min = -48768 : i64
func.func @matmul(%a: tensor<1x2x3xi8>, %b: tensor<1x3x4xi8>) -> tensor<1x2x4xi8> {
  %m = "tosa.const"() <{values = dense<1> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp32 = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %acc = tosa.matmul %a, %b, %zp, %zp : (tensor<1x2x3xi8>, tensor<1x3x4xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x2x4xi32>
  %0 = tosa.rescale %acc, %m, %s, %zp32, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x2x4xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x2x4xi8>
  return %0 : tensor<1x2x4xi8>
}

// -----

// The sum of two int8 that were widened by 2^2 without their zero point 3: 2 * 4 * (-131 .. 124). A violation is recorded, not reported.
// CHECK-LABEL: func.func @add
// CHECK:       producer = "argument", scope = "elementwise", value_max = 124 : i64, value_min = -131 : i64, violations = []
// CHECK:       producer = "add", scope = "elementwise", value_max = 992 : i64, value_min = -1048 : i64
// CHECK-SAME:  violations = ["requires a value from -512 to 511 for scale32 with shift 10, got -1048 to 992"]
func.func @add(%arg0: tensor<2xi8>) -> tensor<2xi8> {
  %m1 = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s1 = "tosa.const"() <{values = dense<28> : tensor<1xi8>}> : () -> tensor<1xi8>
  %m2 = "tosa.const"() <{values = dense<1> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s2 = "tosa.const"() <{values = dense<10> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp32 = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %wide = tosa.rescale %arg0, %m1, %s1, %zp, %zp32 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<2xi32>
  %sum = tosa.add %wide, %wide : (tensor<2xi32>, tensor<2xi32>) -> tensor<2xi32>
  %0 = tosa.rescale %sum, %m2, %s2, %zp32, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<2xi8>
  return %0 : tensor<2xi8>
}

// -----

// A signless type read as unsigned: 0 .. 255 minus 128. The result, unsigned in a signless type again, is any bit pattern.
// CHECK-LABEL: func.func @unsigned
// CHECK:       value_max = 127 : i64, value_min = -128 : i64
// CHECK:       value_max = 127 : i64, value_min = -128 : i64
// CHECK:       value_max = 255 : i64, value_min = 0 : i64
func.func @unsigned(%arg0: tensor<2xi8>, %arg1: tensor<2xui8>) -> tensor<2xi8> {
  %m = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp0 = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp = "tosa.const"() <{values = dense<-128> : tensor<1xi8>}> : () -> tensor<1xi8>
  %0 = tosa.rescale %arg0, %m, %s, %zp, %zp0 {input_unsigned = true, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<2xi8>
  %1 = tosa.rescale %0, %m, %s, %zp0, %zp {input_unsigned = false, output_unsigned = true, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<2xi8>
  %2 = tosa.rescale %1, %m, %s, %zp0, %zp0 {input_unsigned = true, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<2xi8>
  return %2 : tensor<2xi8>
}

// -----

// Interval arithmetic, one operation after another, each shown by an identity rescale (2^30 * 2^-30) of its result.
// CHECK-LABEL: func.func @arithmetic
// x: -128 .. 127 clamped to -3 .. 5.
// CHECK:       producer = "mul", {{.*}}value_max = 25 : i64, value_min = -15 : i64
// CHECK:       producer = "sub", {{.*}}value_max = 8 : i64, value_min = -8 : i64
// CHECK:       producer = "abs", {{.*}}value_max = 5 : i64, value_min = 0 : i64
// CHECK:       producer = "maximum", {{.*}}value_max = 5 : i64, value_min = 2 : i64
// CHECK:       producer = "reduce_sum", {{.*}}value_max = 20 : i64, value_min = -12 : i64
// (-3 + 1) >> 1 is -1, (5 + 1) >> 1 is 3.
// CHECK:       producer = "arithmetic_right_shift", {{.*}}value_max = 3 : i64, value_min = -1 : i64
// CHECK:       producer = "logical_left_shift", {{.*}}value_max = 10 : i64, value_min = -6 : i64
// Never negative, as one operand is not.
// CHECK:       producer = "bitwise_and", {{.*}}value_max = 2 : i64, value_min = 0 : i64
func.func @arithmetic(%arg0: tensor<1x4xi32>) -> tensor<1x4xi32> {
  %m = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %zero = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %one = "tosa.const"() <{values = dense<1> : tensor<1x1xi32>}> : () -> tensor<1x1xi32>
  %two = "tosa.const"() <{values = dense<2> : tensor<1x1xi32>}> : () -> tensor<1x1xi32>
  %x = tosa.clamp %arg0 {min_val = -3 : i32, max_val = 5 : i32} : (tensor<1x4xi32>) -> tensor<1x4xi32>
  %mul = tosa.mul %x, %x, %zero : (tensor<1x4xi32>, tensor<1x4xi32>, tensor<1xi8>) -> tensor<1x4xi32>
  %r0 = tosa.rescale %mul, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x4xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi32>) -> tensor<1x4xi32>
  %sub = tosa.sub %x, %x : (tensor<1x4xi32>, tensor<1x4xi32>) -> tensor<1x4xi32>
  %r1 = tosa.rescale %sub, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x4xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi32>) -> tensor<1x4xi32>
  %abs = tosa.abs %x : (tensor<1x4xi32>) -> tensor<1x4xi32>
  %r2 = tosa.rescale %abs, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x4xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi32>) -> tensor<1x4xi32>
  %max = tosa.maximum %x, %two : (tensor<1x4xi32>, tensor<1x1xi32>) -> tensor<1x4xi32>
  %r3 = tosa.rescale %max, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x4xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi32>) -> tensor<1x4xi32>
  %sum = tosa.reduce_sum %x {axis = 1 : i32} : (tensor<1x4xi32>) -> tensor<1x1xi32>
  %r4 = tosa.rescale %sum, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x1xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi32>) -> tensor<1x1xi32>
  %asr = tosa.arithmetic_right_shift %x, %one {round = true} : (tensor<1x4xi32>, tensor<1x1xi32>) -> tensor<1x4xi32>
  %r5 = tosa.rescale %asr, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x4xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi32>) -> tensor<1x4xi32>
  %lsl = tosa.logical_left_shift %x, %one : (tensor<1x4xi32>, tensor<1x1xi32>) -> tensor<1x4xi32>
  %r6 = tosa.rescale %lsl, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x4xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi32>) -> tensor<1x4xi32>
  %and = tosa.bitwise_and %x, %two : (tensor<1x4xi32>, tensor<1x1xi32>) -> tensor<1x4xi32>
  %r7 = tosa.rescale %and, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x4xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi32>) -> tensor<1x4xi32>
  return %r7 : tensor<1x4xi32>
}

// -----

// An overflow may leave anything: all of i32, although both summands are near its upper end.
// CHECK-LABEL: func.func @overflow
// CHECK:       producer = "add", {{.*}}value_max = 2147483647 : i64, value_min = -2147483648 : i64
func.func @overflow(%arg0: tensor<4xi32>) -> tensor<4xi32> {
  %m = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<62> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %x = tosa.clamp %arg0 {min_val = 2147483000 : i32, max_val = 2147483647 : i32} : (tensor<4xi32>) -> tensor<4xi32>
  %sum = tosa.add %x, %x : (tensor<4xi32>, tensor<4xi32>) -> tensor<4xi32>
  %0 = tosa.rescale %sum, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<4xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi32>) -> tensor<4xi32>
  return %0 : tensor<4xi32>
}

// -----

// An int8 table of 256 entries from -7 to 9; a pool and a pad with -20 around it.
// CHECK-LABEL: func.func @table_pool_pad
// CHECK:       producer = "table", {{.*}}value_max = 9 : i64, value_min = -7 : i64
// CHECK:       producer = "max_pool2d", {{.*}}value_max = 9 : i64, value_min = -7 : i64
// The mean lies between the ends, up to the rounding of its reciprocal.
// CHECK:       producer = "avg_pool2d", {{.*}}value_max = 10 : i64, value_min = -8 : i64
// CHECK:       producer = "pad", {{.*}}value_max = 9 : i64, value_min = -20 : i64
func.func @table_pool_pad(%arg0: tensor<1x2x2x1xi8>) -> tensor<1x3x2x1xi8> {
  %m = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %fill = "tosa.const"() <{values = dense<-20> : tensor<1xi8>}> : () -> tensor<1xi8>
  %table = "tosa.const"() <{values = dense<"0xF909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909F909"> : tensor<256xi8>}> : () -> tensor<256xi8>
  %padding = tosa.const_shape {values = dense<[0, 0, 1, 0, 0, 0, 0, 0]> : tensor<8xindex>} : () -> !tosa.shape<8>
  %t = tosa.table %arg0, %table : (tensor<1x2x2x1xi8>, tensor<256xi8>) -> tensor<1x2x2x1xi8>
  %r0 = tosa.rescale %t, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x2x2x1xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x2x2x1xi8>
  %max = tosa.max_pool2d %t {kernel = array<i64: 2, 2>, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 2, 2>} : (tensor<1x2x2x1xi8>) -> tensor<1x1x1x1xi8>
  %r1 = tosa.rescale %max, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x1x1x1xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x1x1x1xi8>
  %avg = tosa.avg_pool2d %t, %zp, %zp {acc_type = i32, kernel = array<i64: 2, 2>, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 2, 2>} : (tensor<1x2x2x1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x1x1x1xi8>
  %r2 = tosa.rescale %avg, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x1x1x1xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x1x1x1xi8>
  %pad = tosa.pad %t, %padding, %fill : (tensor<1x2x2x1xi8>, !tosa.shape<8>, tensor<1xi8>) -> tensor<1x3x2x1xi8>
  %r3 = tosa.rescale %pad, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x3x2x1xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x3x2x1xi8>
  return %r3 : tensor<1x3x2x1xi8>
}

// -----

// Interpolated results are larger than the elements by the size of the grid, 4 * 6; those in the same type are elements.
// CHECK-LABEL: func.func @resize
// CHECK:       producer = "resize", {{.*}}value_max = 786408 : i64, value_min = -786432 : i64
// CHECK:       producer = "resize", {{.*}}value_max = 32767 : i64, value_min = -32768 : i64
func.func @resize(%arg0: tensor<1x2x2x1xi16>) -> (tensor<1x4x4x1xi16>, tensor<1x4x4x1xi16>) {
  %m = "tosa.const"() <{values = dense<16384> : tensor<1xi16>}> : () -> tensor<1xi16>
  %s = "tosa.const"() <{values = dense<19> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp = "tosa.const"() <{values = dense<0> : tensor<1xi48>}> : () -> tensor<1xi48>
  %zp16 = "tosa.const"() <{values = dense<0> : tensor<1xi16>}> : () -> tensor<1xi16>
  %scale = tosa.const_shape {values = dense<[4, 2, 6, 3]> : tensor<4xindex>} : () -> !tosa.shape<4>
  %offset = tosa.const_shape {values = dense<[-1, -1]> : tensor<2xindex>} : () -> !tosa.shape<2>
  %border = tosa.const_shape {values = dense<[1, 2]> : tensor<2xindex>} : () -> !tosa.shape<2>
  %wide = tosa.resize %arg0, %scale, %offset, %border {mode = BILINEAR} : (tensor<1x2x2x1xi16>, !tosa.shape<4>, !tosa.shape<2>, !tosa.shape<2>) -> tensor<1x4x4x1xi48>
  %r0 = tosa.rescale %wide, %m, %s, %zp, %zp16 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = false} : (tensor<1x4x4x1xi48>, tensor<1xi16>, tensor<1xi8>, tensor<1xi48>, tensor<1xi16>) -> tensor<1x4x4x1xi16>
  %near = tosa.resize %arg0, %scale, %offset, %border {mode = NEAREST_NEIGHBOR} : (tensor<1x2x2x1xi16>, !tosa.shape<4>, !tosa.shape<2>, !tosa.shape<2>) -> tensor<1x4x4x1xi16>
  %r1 = tosa.rescale %near, %m, %s, %zp16, %zp16 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = false} : (tensor<1x4x4x1xi16>, tensor<1xi16>, tensor<1xi8>, tensor<1xi16>, tensor<1xi16>) -> tensor<1x4x4x1xi16>
  return %r0, %r1 : tensor<1x4x4x1xi16>, tensor<1x4x4x1xi16>
}
