// Constants as LiteRT has them, of 8 bits before a rescale: where a multiplier would stay wide for one, it is written at another scale, as finely as its type allows, and each use gets one of its own.
//
// RUN: tosa-rescale-opt %s --tosa-rescale-align="bits=1 litert" --split-input-file | FileCheck %s
// RUN: tosa-rescale-opt %s --tosa-rescale-align="bits=1 litert strict" --tosa-rescale-verify="bits=1 scope=all" --split-input-file -o %t
// RUN: tosa-rescale-opt %s --tosa-rescale-align="bits=1 litert" --split-input-file -o %t.once
// RUN: tosa-rescale-opt %t.once --tosa-rescale-align="bits=1 litert" --split-input-file -o %t.twice
// RUN: diff %t.once %t.twice

// Input and output keep their scales. 100 at 2/3 of its scale would be 150, which i8 does not hold: at 4/3 it is 75, and 0.75 * 2^-7 becomes 2^-7.
// CHECK-LABEL: func.func @product_that_would_overflow
// CHECK:       %[[S:.*]] = "tosa.const"() <{values = dense<37> : tensor<1xi8>}>
// CHECK:       %[[C:.*]] = "tosa.const"() <{values = dense<{{\[}}[75, -38]]> : tensor<1x2xi8>}> {tosa_rescale.scale_factor = 1.333
// CHECK:       tosa.rescale %[[C]],
// CHECK-NEXT:  tosa.mul
// CHECK-NEXT:  tosa.rescale %{{.*}}, %{{.*}}, %[[S]]
func.func @product_that_would_overflow(%arg0: tensor<1x2xi8>) -> tensor<1x2xi8> {
  %m75 = "tosa.const"() <{values = dense<1610612736> : tensor<1xi32>}> : () -> tensor<1xi32>
  %one = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %z8 = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %z32 = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s30 = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %s38 = "tosa.const"() <{values = dense<38> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zc = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %c = "tosa.const"() <{values = dense<[[100, -50]]> : tensor<1x2xi8>}> : () -> tensor<1x2xi8>
  %x32 = tosa.rescale %arg0, %one, %s30, %z8, %z32 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x2xi32>
  %c32 = tosa.rescale %c, %one, %s30, %zc, %z32 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x2xi32>
  %p = tosa.mul %x32, %c32, %z8 : (tensor<1x2xi32>, tensor<1x2xi32>, tensor<1xi8>) -> tensor<1x2xi32>
  %y = tosa.rescale %p, %m75, %s38, %z32, %z8 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x2xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x2xi8>
  return %y : tensor<1x2xi8>
}

// -----

// There is room for 3/2 of 60, and about a zero point of -20, of which 80 is left of it.
// CHECK-LABEL: func.func @product_with_room
// CHECK:       %[[S:.*]] = "tosa.const"() <{values = dense<38> : tensor<1xi8>}>
// CHECK:       "tosa.const"() <{values = dense<{{\[}}[100, -95]]> : tensor<1x2xi8>}> {tosa_rescale.scale_factor = 0.666
// CHECK:       tosa.mul
// CHECK-NEXT:  tosa.rescale %{{.*}}, %{{.*}}, %[[S]]
func.func @product_with_room(%arg0: tensor<1x2xi8>) -> tensor<1x2xi8> {
  %m75 = "tosa.const"() <{values = dense<1610612736> : tensor<1xi32>}> : () -> tensor<1xi32>
  %one = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %z8 = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %z32 = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s30 = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %s38 = "tosa.const"() <{values = dense<38> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zc = "tosa.const"() <{values = dense<-20> : tensor<1xi8>}> : () -> tensor<1xi8>
  %c = "tosa.const"() <{values = dense<[[60, -70]]> : tensor<1x2xi8>}> : () -> tensor<1x2xi8>
  %x32 = tosa.rescale %arg0, %one, %s30, %z8, %z32 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x2xi32>
  %c32 = tosa.rescale %c, %one, %s30, %zc, %z32 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x2xi32>
  %p = tosa.mul %x32, %c32, %z8 : (tensor<1x2xi32>, tensor<1x2xi32>, tensor<1xi8>) -> tensor<1x2xi32>
  %y = tosa.rescale %p, %m75, %s38, %z32, %z8 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x2xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x2xi8>
  return %y : tensor<1x2xi8>
}

// -----

// Two sums read one constant, of which 127 holds no finer scale: for 0.75 it gets 4/3, for 1/2 nothing.
// CHECK-LABEL: func.func @shared_addend
// CHECK:       %[[KEPT:.*]] = "tosa.const"() <{values = dense<{{\[}}[127, -64]]> : tensor<1x2xi8>}>
// CHECK:       %[[MOVED:.*]] = "tosa.const"() <{values = dense<{{\[}}[95, -48]]> : tensor<1x2xi8>}> {tosa_rescale.scale_factor = 1.333
// CHECK:       tosa.rescale %[[MOVED]]
// CHECK:       tosa.add
// CHECK:       tosa.rescale %[[KEPT]]
// CHECK:       tosa.add
func.func @shared_addend(%arg0: tensor<1x2xi8>) -> (tensor<1x2xi8>, tensor<1x2xi8>) {
  %m75 = "tosa.const"() <{values = dense<1610612736> : tensor<1xi32>}> : () -> tensor<1xi32>
  %one = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %z8 = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %z32 = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s11 = "tosa.const"() <{values = dense<11> : tensor<1xi8>}> : () -> tensor<1xi8>
  %s12 = "tosa.const"() <{values = dense<12> : tensor<1xi8>}> : () -> tensor<1xi8>
  %s49 = "tosa.const"() <{values = dense<49> : tensor<1xi8>}> : () -> tensor<1xi8>
  %c = "tosa.const"() <{values = dense<[[127, -64]]> : tensor<1x2xi8>}> : () -> tensor<1x2xi8>
  %x0 = tosa.rescale %arg0, %one, %s11, %z8, %z32 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x2xi32>
  %c0 = tosa.rescale %c, %m75, %s12, %z8, %z32 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x2xi32>
  %a0 = tosa.add %x0, %c0 : (tensor<1x2xi32>, tensor<1x2xi32>) -> tensor<1x2xi32>
  %y0 = tosa.rescale %a0, %one, %s49, %z32, %z8 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x2xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x2xi8>
  %x1 = tosa.rescale %arg0, %one, %s11, %z8, %z32 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x2xi32>
  %c1 = tosa.rescale %c, %one, %s12, %z8, %z32 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x2xi32>
  %a1 = tosa.add %x1, %c1 : (tensor<1x2xi32>, tensor<1x2xi32>) -> tensor<1x2xi32>
  %y1 = tosa.rescale %a1, %one, %s49, %z32, %z8 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x2xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x2xi8>
  return %y0, %y1 : tensor<1x2xi8>, tensor<1x2xi8>
}

// -----

// The constant joins a tensor that goes from 0.75 over 3/2 of its scale to 2/3: it has to be at that scale too.
// CHECK-LABEL: func.func @joined
// CHECK:       %[[C:.*]] = "tosa.const"() <{values = dense<{{\[}}[60, -20]]> : tensor<1x2xi8>}> {tosa_rescale.scale_factor = 1.5
// CHECK:       tosa.concat %{{.*}}, %[[C]]
func.func @joined(%arg0: tensor<1x2xi8>) -> tensor<1x4xi8> {
  %m75 = "tosa.const"() <{values = dense<1610612736> : tensor<1xi32>}> : () -> tensor<1xi32>
  %one = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %z8 = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %z32 = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s31 = "tosa.const"() <{values = dense<31> : tensor<1xi8>}> : () -> tensor<1xi8>
  %third = "tosa.const"() <{values = dense<1431655765> : tensor<1xi32>}> : () -> tensor<1xi32>
  %c = "tosa.const"() <{values = dense<[[90, -30]]> : tensor<1x2xi8>}> : () -> tensor<1x2xi8>
  %x = tosa.rescale %arg0, %m75, %s31, %z8, %z8 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x2xi8>
  %j = tosa.concat %x, %c {axis = 1 : i32} : (tensor<1x2xi8>, tensor<1x2xi8>) -> tensor<1x4xi8>
  %y = tosa.rescale %j, %third, %s31, %z8, %z8 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x4xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x4xi8>
  return %y : tensor<1x4xi8>
}

// -----

// Without a contradiction the constant stays as it is: the sum's other operand takes the factor.
// CHECK-LABEL: func.func @left_alone
// CHECK-DAG:   "tosa.const"() <{values = dense<{{\[}}[100, -50]]> : tensor<1x2xi8>}> : ()
// CHECK:       tosa.mul
func.func @left_alone(%arg0: tensor<1x2xi8>) -> tensor<1x2xi8> {
  %m75 = "tosa.const"() <{values = dense<1610612736> : tensor<1xi32>}> : () -> tensor<1xi32>
  %one = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %z8 = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %z32 = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s30 = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %s38 = "tosa.const"() <{values = dense<38> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zc = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %c = "tosa.const"() <{values = dense<[[100, -50]]> : tensor<1x2xi8>}> : () -> tensor<1x2xi8>
  %x32 = tosa.rescale %arg0, %one, %s30, %z8, %z32 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x2xi32>
  %c32 = tosa.rescale %c, %one, %s30, %zc, %z32 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x2xi32>
  %p = tosa.mul %x32, %c32, %z8 : (tensor<1x2xi32>, tensor<1x2xi32>, tensor<1xi8>) -> tensor<1x2xi32>
  %y = tosa.rescale %p, %one, %s38, %z32, %z8 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x2xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x2xi8>
  return %y : tensor<1x2xi8>
}

// -----

// LiteRT multiplies and sums up after the zero point alone, so nothing is halved on the way to 32 bits, where a scale shrinks by a little as well.
// CHECK-LABEL: func.func @widened
// CHECK:       %[[ONE:.*]] = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}>
// CHECK:       %[[S30:.*]] = "tosa.const"() <{values = dense<30> : tensor<1xi8>}>
// CHECK:       tosa.rescale %arg0{{.*}}tosa_rescale.scale_factor = 0.9375
// CHECK-NEXT:  tosa.rescale %{{.*}}, %[[ONE]], %[[S30]]
// CHECK-NEXT:  tosa.reduce_sum
func.func @widened(%arg0: tensor<1x2xi8>) -> tensor<1x1xi8> {
  %m75 = "tosa.const"() <{values = dense<1610612736> : tensor<1xi32>}> : () -> tensor<1xi32>
  %one = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %z8 = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %z32 = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s30 = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %s31 = "tosa.const"() <{values = dense<31> : tensor<1xi8>}> : () -> tensor<1xi8>
  %less = "tosa.const"() <{values = dense<2013265920> : tensor<1xi32>}> : () -> tensor<1xi32>
  %more = "tosa.const"() <{values = dense<1145324612> : tensor<1xi32>}> : () -> tensor<1xi32>
  %x = tosa.rescale %arg0, %less, %s31, %z8, %z8 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x2xi8>
  %x32 = tosa.rescale %x, %one, %s30, %z8, %z32 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x2xi32>
  %sum = tosa.reduce_sum %x32 {axis = 1 : i32} : (tensor<1x2xi32>) -> tensor<1x1xi32>
  %y = tosa.rescale %sum, %more, %s31, %z32, %z8 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x1xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x1xi8>
  return %y : tensor<1x1xi8>
}
