// RUN: tosa-rescale-opt %s --tosa-rescale-align="bits=1 weighted-means" --tosa-rescale-verify="bits=1 scope=all" --split-input-file --verify-diagnostics | FileCheck %s

// Between scales that stay: a third of 0.8. The weights take up what is no power of two: 205 = 68 + 68 + 69 is 0.8 * 2^8, and 2^-8 is 2^30 * 2^-38.
// CHECK-LABEL: func.func @ratio
// CHECK: %[[ZP:.*]] = "tosa.const"() <{values = dense<-5>
// CHECK: tosa.reshape %{{.*}} : (tensor<2x3xi8>, !tosa.shape<4>) -> tensor<2x1x1x3xi8>
// CHECK{LITERAL}: dense<[[[[68, 68, 69]]]]> : tensor<1x1x1x3xi8>
// CHECK: tosa.conv2d {{.*}}, %[[ZP]], {{.*}} -> tensor<2x1x1x1xi32>
// CHECK: values = dense<1073741824>
// CHECK: values = dense<38>
// CHECK: tosa.rescale {{.*}}rounding_mode = SINGLE_ROUND, scale32 = true
// CHECK: tosa.reshape {{.*}} -> tensor<2x1xi8>
// CHECK-NOT: tosa.reduce_sum
func.func @ratio(%x: tensor<2x3xi8>) -> tensor<2x1xi8> {
  %zp = "tosa.const"() <{values = dense<-5> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zero = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %one = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s30 = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %m = "tosa.const"() <{values = dense<1145324612> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<32> : tensor<1xi8>}> : () -> tensor<1xi8>
  %wide = tosa.rescale %x, %one, %s30, %zp, %zero {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2x3xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<2x3xi32>
  %sum0 = tosa.reduce_sum %wide {axis = 1 : i32} : (tensor<2x3xi32>) -> tensor<2x1xi32>
  %y = tosa.rescale %sum0, %m, %s, %zero, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2x1xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<2x1xi8>
  return %y : tensor<2x1xi8>
}

// -----

// A twelfth of 1: 1024 = 4 * 86 + 8 * 85, evenly.
// CHECK-LABEL: func.func @even
// CHECK{LITERAL}: dense<[[[[85, 85, 86, 85, 85, 86, 85, 85, 86, 85, 85, 86]]]]> : tensor<1x1x1x12xi8>
// CHECK: values = dense<40>
func.func @even(%x: tensor<1x12xi8>) -> tensor<1x1xi8> {
  %zp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zero = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %one = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s30 = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %m = "tosa.const"() <{values = dense<1431655765> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<34> : tensor<1xi8>}> : () -> tensor<1xi8>
  %wide = tosa.rescale %x, %one, %s30, %zp, %zero {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x12xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x12xi32>
  %sum0 = tosa.reduce_sum %wide {axis = 1 : i32} : (tensor<1x12xi32>) -> tensor<1x1xi32>
  %y = tosa.rescale %sum0, %m, %s, %zero, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x1xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x1xi8>
  return %y : tensor<1x1xi8>
}

// -----

// i16: the accumulator has 48 bits, and its rescale multipliers of 16: 2^14 * 2^-22.
// CHECK-LABEL: func.func @short
// CHECK{LITERAL}: dense<[[[[85, 85, 86]]]]> : tensor<1x1x1x3xi8>
// CHECK: tosa.conv2d {{.*}}acc_type = i48
// CHECK: values = dense<16384>
// CHECK: values = dense<22>
// CHECK: tosa.rescale {{.*}}scale32 = false
func.func @short(%x: tensor<1x3xi16>) -> tensor<1x1xi16> {
  %zp = "tosa.const"() <{values = dense<0> : tensor<1xi16>}> : () -> tensor<1xi16>
  %zero = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %one = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s30 = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %m = "tosa.const"() <{values = dense<1431655765> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<32> : tensor<1xi8>}> : () -> tensor<1xi8>
  %wide = tosa.rescale %x, %one, %s30, %zp, %zero {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x3xi16>, tensor<1xi32>, tensor<1xi8>, tensor<1xi16>, tensor<1xi32>) -> tensor<1x3xi32>
  %sum0 = tosa.reduce_sum %wide {axis = 1 : i32} : (tensor<1x3xi32>) -> tensor<1x1xi32>
  %y = tosa.rescale %sum0, %m, %s, %zero, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x1xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi16>) -> tensor<1x1xi16>
  return %y : tensor<1x1xi16>
}

// -----

// Other dimensions follow: each channel has means of its own, over windows of 3x2. 512 = 4 * 85 + 2 * 86.
// CHECK-LABEL: func.func @image
// CHECK-NOT: tosa.reshape
// CHECK: tensor<3x2x4x1xi8>
// CHECK: tosa.depthwise_conv2d %arg0, {{.*}}(tensor<2x3x2x4xi8>, tensor<3x2x4x1xi8>, {{.*}} -> tensor<2x1x1x4xi32>
// CHECK: values = dense<39>
func.func @image(%x: tensor<2x3x2x4xi8>) -> tensor<2x1x1x4xi8> {
  %zp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zero = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %one = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s30 = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %m = "tosa.const"() <{values = dense<1431655765> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<33> : tensor<1xi8>}> : () -> tensor<1xi8>
  %wide = tosa.rescale %x, %one, %s30, %zp, %zero {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2x3x2x4xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<2x3x2x4xi32>
  %sum0 = tosa.reduce_sum %wide {axis = 1 : i32} : (tensor<2x3x2x4xi32>) -> tensor<2x1x2x4xi32>
  %sum1 = tosa.reduce_sum %sum0 {axis = 2 : i32} : (tensor<2x1x2x4xi32>) -> tensor<2x1x1x4xi32>
  %y = tosa.rescale %sum1, %m, %s, %zero, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2x1x1x4xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<2x1x1x4xi8>
  return %y : tensor<2x1x1x4xi8>
}

// -----

// The same over one dimension.
// CHECK-LABEL: func.func @middle
// CHECK: tosa.reshape {{.*}} -> tensor<2x3x1x4xi8>
// CHECK: tosa.depthwise_conv2d {{.*}}(tensor<2x3x1x4xi8>, tensor<3x1x4x1xi8>, {{.*}} -> tensor<2x1x1x4xi32>
// CHECK: tosa.reshape {{.*}} -> tensor<2x1x4xi8>
func.func @middle(%x: tensor<2x3x4xi8>) -> tensor<2x1x4xi8> {
  %zp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zero = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %one = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s30 = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %m = "tosa.const"() <{values = dense<1431655765> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<32> : tensor<1xi8>}> : () -> tensor<1xi8>
  %wide = tosa.rescale %x, %one, %s30, %zp, %zero {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2x3x4xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<2x3x4xi32>
  %sum0 = tosa.reduce_sum %wide {axis = 1 : i32} : (tensor<2x3x4xi32>) -> tensor<2x1x4xi32>
  %y = tosa.rescale %sum0, %m, %s, %zero, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2x1x4xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<2x1x4xi8>
  return %y : tensor<2x1x4xi8>
}

// -----

// Something else lies between, as in a group normalization.
// CHECK-LABEL: func.func @groups
// CHECK: tosa.transpose %arg0 {perms = array<i32: 0, 2, 1, 3>} : (tensor<1x3x2x2xi8>) -> tensor<1x2x3x2xi8>
// CHECK: tosa.reshape {{.*}} -> tensor<2x1x1x6xi8>
// CHECK: tosa.conv2d {{.*}} -> tensor<2x1x1x1xi32>
// CHECK: tosa.reshape {{.*}} -> tensor<1x1x2x1xi8>
func.func @groups(%x: tensor<1x3x2x2xi8>) -> tensor<1x1x2x1xi8> {
  %zp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zero = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %one = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s30 = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %m = "tosa.const"() <{values = dense<1431655765> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<33> : tensor<1xi8>}> : () -> tensor<1xi8>
  %wide = tosa.rescale %x, %one, %s30, %zp, %zero {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x3x2x2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x3x2x2xi32>
  %sum0 = tosa.reduce_sum %wide {axis = 1 : i32} : (tensor<1x3x2x2xi32>) -> tensor<1x1x2x2xi32>
  %sum1 = tosa.reduce_sum %sum0 {axis = 3 : i32} : (tensor<1x1x2x2xi32>) -> tensor<1x1x2x1xi32>
  %y = tosa.rescale %sum1, %m, %s, %zero, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x1x2x1xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x1x2x1xi8>
  return %y : tensor<1x1x2x1xi8>
}

// -----

// Weights would change nothing: four values weigh the same.
// CHECK-LABEL: func.func @power
// CHECK: tosa.reduce_sum
func.func @power(%x: tensor<1x4xi8>) -> tensor<1x1xi8> {
  %zp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zero = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %one = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s30 = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %m = "tosa.const"() <{values = dense<1717986918> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<33> : tensor<1xi8>}> : () -> tensor<1xi8>
  %wide = tosa.rescale %x, %one, %s30, %zp, %zero {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x4xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x4xi32>
  %sum0 = tosa.reduce_sum %wide {axis = 1 : i32} : (tensor<1x4xi32>) -> tensor<1x1xi32>
  // expected-remark @below {{keeps a multiplier of more than 1 significant bit: the scales that meet here contradict each other; 1 tensor keeps its scale: an output of the graph; 1 tensor keeps its scale: an input of the graph}}
  %y = tosa.rescale %sum0, %m, %s, %zero, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x1xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x1xi8>
  return %y : tensor<1x1xi8>
}

// -----

// 255 * 127 * 66052 is the most that an accumulator of 32 bits holds.
// CHECK-LABEL: func.func @many
// CHECK: tosa.reduce_sum
func.func @many(%x: tensor<1x66053xi8>) -> tensor<1x1xi8> {
  %zp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zero = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %one = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s30 = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %m = "tosa.const"() <{values = dense<2130675190> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<47> : tensor<1xi8>}> : () -> tensor<1xi8>
  %wide = tosa.rescale %x, %one, %s30, %zp, %zero {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x66053xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x66053xi32>
  %sum0 = tosa.reduce_sum %wide {axis = 1 : i32} : (tensor<1x66053xi32>) -> tensor<1x1xi32>
  // expected-remark @below {{keeps a multiplier of more than 1 significant bit: the scales that meet here contradict each other; 1 tensor keeps its scale: an output of the graph; 1 tensor keeps its scale: an input of the graph; the mean of 66053 values among them gets no weights: it requires a mean of at most 66052 values, got 66053}}
  %y = tosa.rescale %sum0, %m, %s, %zero, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x1xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x1xi8>
  return %y : tensor<1x1xi8>
}

// -----

// CHECK-LABEL: func.func @long
// CHECK: tosa.reduce_sum
func.func @long(%x: tensor<1x12000x2xi8>) -> tensor<1x1x2xi8> {
  %zp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zero = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %one = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s30 = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %m = "tosa.const"() <{values = dense<1466015504> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<44> : tensor<1xi8>}> : () -> tensor<1xi8>
  %wide = tosa.rescale %x, %one, %s30, %zp, %zero {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x12000x2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x12000x2xi32>
  %sum0 = tosa.reduce_sum %wide {axis = 1 : i32} : (tensor<1x12000x2xi32>) -> tensor<1x1x2xi32>
  // expected-remark @below {{keeps a multiplier of more than 1 significant bit: the scales that meet here contradict each other; 1 tensor keeps its scale: an output of the graph; 1 tensor keeps its scale: an input of the graph; the mean of 12000 values among them gets no weights: it requires at most 8192 values in front of other dimensions, got 12000}}
  %y = tosa.rescale %sum0, %m, %s, %zero, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x1x2xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x1x2xi8>
  return %y : tensor<1x1x2xi8>
}

// -----

// CHECK-LABEL: func.func @open
// CHECK: tosa.reduce_sum
func.func @open(%x: tensor<?x3xi8>) -> tensor<?x1xi8> {
  %zp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zero = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %one = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s30 = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %m = "tosa.const"() <{values = dense<1431655765> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<32> : tensor<1xi8>}> : () -> tensor<1xi8>
  %wide = tosa.rescale %x, %one, %s30, %zp, %zero {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<?x3xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<?x3xi32>
  %sum0 = tosa.reduce_sum %wide {axis = 1 : i32} : (tensor<?x3xi32>) -> tensor<?x1xi32>
  // expected-remark @below {{keeps a multiplier of more than 1 significant bit: the scales that meet here contradict each other; 1 tensor keeps its scale: an output of the graph; 1 tensor keeps its scale: an input of the graph; the mean of 3 values among them gets no weights: it requires known extents, got tensor<?x3xi8>}}
  %y = tosa.rescale %sum0, %m, %s, %zero, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<?x1xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<?x1xi8>
  return %y : tensor<?x1xi8>
}
