// RUN: tosa-rescale-opt %s --tosa-rescale-carry --tosa-rescale-verify="bits=31" --split-input-file | FileCheck %s
// RUN: tosa-rescale-opt %s --tosa-rescale-carry --tosa-rescale-carry --split-input-file | FileCheck %s

// 2^15 * 384 * 2^7 is less than 2^31: squares are divided into 128 steps each, and the shift behind their sum is larger by 7.
// CHECK-LABEL: func.func @squares
// CHECK-DAG:   %[[S38:.*]] = "tosa.const"() <{values = dense<38> : tensor<1xi8>}>
// CHECK-DAG:   %[[S44:.*]] = "tosa.const"() <{values = dense<44> : tensor<1xi8>}>
// CHECK:       %[[P:.*]] = tosa.mul
// CHECK:       %[[W:.*]] = tosa.rescale %[[P]], %{{.*}}, %[[S38]], {{.*}} -> tensor<1x8x384xi32>
// CHECK-NEXT:  %[[LOW:.*]] = "tosa.const"() <{values = dense<-4194304> : tensor<1x1x1xi32>}>
// CHECK-NEXT:  %[[HIGH:.*]] = "tosa.const"() <{values = dense<4194176> : tensor<1x1x1xi32>}>
// CHECK-NEXT:  %[[A:.*]] = tosa.maximum %[[W]], %[[LOW]]
// CHECK-NEXT:  %[[B:.*]] = tosa.minimum %[[A]], %[[HIGH]]
// CHECK-NEXT:  %[[SUM:.*]] = tosa.reduce_sum %[[B]]
// CHECK-NEXT:  tosa.rescale %[[SUM]], %{{.*}}, %[[S44]], {{.*}} -> tensor<1x8x1xi16>
func.func @squares(%arg0: tensor<1x8x384xi16>) -> tensor<1x8x1xi16> {
  %z16 = "tosa.const"() <{values = dense<0> : tensor<1xi16>}> : () -> tensor<1xi16>
  %z32 = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %one = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s30 = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %three = "tosa.const"() <{values = dense<1610612736> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s45 = "tosa.const"() <{values = dense<45> : tensor<1xi8>}> : () -> tensor<1xi8>
  %s37 = "tosa.const"() <{values = dense<37> : tensor<1xi8>}> : () -> tensor<1xi8>
  %none = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %w = tosa.rescale %arg0, %one, %s30, %z16, %z32 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x8x384xi16>, tensor<1xi32>, tensor<1xi8>, tensor<1xi16>, tensor<1xi32>) -> tensor<1x8x384xi32>
  %p = tosa.mul %w, %w, %none : (tensor<1x8x384xi32>, tensor<1x8x384xi32>, tensor<1xi8>) -> tensor<1x8x384xi32>
  %sq = tosa.rescale %p, %one, %s45, %z32, %z16 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x8x384xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi16>) -> tensor<1x8x384xi16>
  %wide = tosa.rescale %sq, %one, %s30, %z16, %z32 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x8x384xi16>, tensor<1xi32>, tensor<1xi8>, tensor<1xi16>, tensor<1xi32>) -> tensor<1x8x384xi32>
  %sum = tosa.reduce_sum %wide {axis = 2 : i32} : (tensor<1x8x384xi32>) -> tensor<1x8x1xi32>
  %y = tosa.rescale %sum, %three, %s37, %z32, %z16 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x8x1xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi16>) -> tensor<1x8x1xi16>
  return %y : tensor<1x8x1xi16>
}

// -----

// The result is widened by 2^11 and 2^12, behind another shape: it gets the finer scale at once, and the other is half of that.
// 2^15 * 2^-1 cannot exceed 16 bits, so nothing saturates.
// CHECK-LABEL: func.func @additions
// CHECK-DAG:   %[[S19:.*]] = "tosa.const"() <{values = dense<19> : tensor<1xi8>}>
// CHECK-DAG:   %[[S31:.*]] = "tosa.const"() <{values = dense<31> : tensor<1xi8>}>
// CHECK:       %[[X:.*]] = tosa.rescale %arg0
// CHECK:       %[[W:.*]] = tosa.rescale %[[X]], %{{.*}}, %[[S19]], {{.*}} -> tensor<1x4x2xi32>
// CHECK-NEXT:  %[[R:.*]] = tosa.reshape %[[W]], {{.*}} -> tensor<1x8x1xi32>
// CHECK:       %[[HALF:.*]] = tosa.rescale %[[R]], %{{.*}}, %[[S31]], {{.*}} -> tensor<1x8x1xi32>
// CHECK-NEXT:  tosa.add %[[R]], %[[HALF]]
func.func @additions(%arg0: tensor<1x4x2xi16>) -> tensor<1x8x1xi16> {
  %z16 = "tosa.const"() <{values = dense<0> : tensor<1xi16>}> : () -> tensor<1xi16>
  %z32 = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %one = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s30 = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %s31 = "tosa.const"() <{values = dense<31> : tensor<1xi8>}> : () -> tensor<1xi8>
  %s18 = "tosa.const"() <{values = dense<18> : tensor<1xi8>}> : () -> tensor<1xi8>
  %s19 = "tosa.const"() <{values = dense<19> : tensor<1xi8>}> : () -> tensor<1xi8>
  %s43 = "tosa.const"() <{values = dense<43> : tensor<1xi8>}> : () -> tensor<1xi8>
  %shape = tosa.const_shape {values = dense<[1, 8, 1]> : tensor<3xindex>} : () -> !tosa.shape<3>
  %x = tosa.rescale %arg0, %one, %s30, %z16, %z32 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x4x2xi16>, tensor<1xi32>, tensor<1xi8>, tensor<1xi16>, tensor<1xi32>) -> tensor<1x4x2xi32>
  %t = tosa.rescale %x, %one, %s31, %z32, %z16 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x4x2xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi16>) -> tensor<1x4x2xi16>
  %moved = tosa.reshape %t, %shape : (tensor<1x4x2xi16>, !tosa.shape<3>) -> tensor<1x8x1xi16>
  %a = tosa.rescale %moved, %one, %s18, %z16, %z32 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x8x1xi16>, tensor<1xi32>, tensor<1xi8>, tensor<1xi16>, tensor<1xi32>) -> tensor<1x8x1xi32>
  %b = tosa.rescale %moved, %one, %s19, %z16, %z32 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x8x1xi16>, tensor<1xi32>, tensor<1xi8>, tensor<1xi16>, tensor<1xi32>) -> tensor<1x8x1xi32>
  %sum = tosa.add %a, %b : (tensor<1x8x1xi32>, tensor<1x8x1xi32>) -> tensor<1x8x1xi32>
  %y = tosa.rescale %sum, %one, %s43, %z32, %z16 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x8x1xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi16>) -> tensor<1x8x1xi16>
  return %y : tensor<1x8x1xi16>
}

// -----

// A product needs its 16 bits.
// CHECK-LABEL: func.func @product
// CHECK:       tosa.rescale {{.*}} -> tensor<1x4x2xi16>
// CHECK:       return
func.func @product(%arg0: tensor<1x4x2xi16>) -> tensor<1x4x2xi16> {
  %z16 = "tosa.const"() <{values = dense<0> : tensor<1xi16>}> : () -> tensor<1xi16>
  %z32 = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %one = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s30 = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %s31 = "tosa.const"() <{values = dense<31> : tensor<1xi8>}> : () -> tensor<1xi8>
  %s45 = "tosa.const"() <{values = dense<45> : tensor<1xi8>}> : () -> tensor<1xi8>
  %none = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %x = tosa.rescale %arg0, %one, %s30, %z16, %z32 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x4x2xi16>, tensor<1xi32>, tensor<1xi8>, tensor<1xi16>, tensor<1xi32>) -> tensor<1x4x2xi32>
  %t = tosa.rescale %x, %one, %s31, %z32, %z16 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x4x2xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi16>) -> tensor<1x4x2xi16>
  %w = tosa.rescale %t, %one, %s30, %z16, %z32 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x4x2xi16>, tensor<1xi32>, tensor<1xi8>, tensor<1xi16>, tensor<1xi32>) -> tensor<1x4x2xi32>
  %p = tosa.mul %w, %w, %none : (tensor<1x4x2xi32>, tensor<1x4x2xi32>, tensor<1xi8>) -> tensor<1x4x2xi32>
  %y = tosa.rescale %p, %one, %s45, %z32, %z16 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x4x2xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi16>) -> tensor<1x4x2xi16>
  return %y : tensor<1x4x2xi16>
}

// -----

// Something else reads the squares, in 16 bits.
// CHECK-LABEL: func.func @read
// CHECK:       tosa.mul
// CHECK-NEXT:  tosa.rescale {{.*}} -> tensor<1x8x384xi16>
func.func @read(%arg0: tensor<1x8x384xi16>) -> tensor<1x8x1xi16> {
  %z16 = "tosa.const"() <{values = dense<0> : tensor<1xi16>}> : () -> tensor<1xi16>
  %z32 = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %one = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s30 = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %three = "tosa.const"() <{values = dense<1610612736> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s45 = "tosa.const"() <{values = dense<45> : tensor<1xi8>}> : () -> tensor<1xi8>
  %s37 = "tosa.const"() <{values = dense<37> : tensor<1xi8>}> : () -> tensor<1xi8>
  %none = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %w = tosa.rescale %arg0, %one, %s30, %z16, %z32 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x8x384xi16>, tensor<1xi32>, tensor<1xi8>, tensor<1xi16>, tensor<1xi32>) -> tensor<1x8x384xi32>
  %p = tosa.mul %w, %w, %none : (tensor<1x8x384xi32>, tensor<1x8x384xi32>, tensor<1xi8>) -> tensor<1x8x384xi32>
  %sq = tosa.rescale %p, %one, %s45, %z32, %z16 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x8x384xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi16>) -> tensor<1x8x384xi16>
  %wide = tosa.rescale %sq, %one, %s30, %z16, %z32 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x8x384xi16>, tensor<1xi32>, tensor<1xi8>, tensor<1xi16>, tensor<1xi32>) -> tensor<1x8x384xi32>
  %sum = tosa.reduce_sum %wide {axis = 2 : i32} : (tensor<1x8x384xi32>) -> tensor<1x8x1xi32>
  %y = tosa.rescale %sum, %three, %s37, %z32, %z16 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x8x1xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi16>) -> tensor<1x8x1xi16>
  %most = tosa.reduce_max %sq {axis = 2 : i32} : (tensor<1x8x384xi16>) -> tensor<1x8x1xi16>
  %both = tosa.maximum %y, %most : (tensor<1x8x1xi16>, tensor<1x8x1xi16>) -> tensor<1x8x1xi16>
  return %both : tensor<1x8x1xi16>
}

// -----

// 2^15 * 70000 leaves no bit.
// CHECK-LABEL: func.func @long
// CHECK:       tosa.mul
// CHECK-NEXT:  tosa.rescale {{.*}} -> tensor<1x8x70000xi16>
func.func @long(%arg0: tensor<1x8x70000xi16>) -> tensor<1x8x1xi16> {
  %z16 = "tosa.const"() <{values = dense<0> : tensor<1xi16>}> : () -> tensor<1xi16>
  %z32 = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %one = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s30 = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %three = "tosa.const"() <{values = dense<1610612736> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s45 = "tosa.const"() <{values = dense<45> : tensor<1xi8>}> : () -> tensor<1xi8>
  %s37 = "tosa.const"() <{values = dense<37> : tensor<1xi8>}> : () -> tensor<1xi8>
  %none = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %w = tosa.rescale %arg0, %one, %s30, %z16, %z32 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x8x70000xi16>, tensor<1xi32>, tensor<1xi8>, tensor<1xi16>, tensor<1xi32>) -> tensor<1x8x70000xi32>
  %p = tosa.mul %w, %w, %none : (tensor<1x8x70000xi32>, tensor<1x8x70000xi32>, tensor<1xi8>) -> tensor<1x8x70000xi32>
  %sq = tosa.rescale %p, %one, %s45, %z32, %z16 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x8x70000xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi16>) -> tensor<1x8x70000xi16>
  %wide = tosa.rescale %sq, %one, %s30, %z16, %z32 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x8x70000xi16>, tensor<1xi32>, tensor<1xi8>, tensor<1xi16>, tensor<1xi32>) -> tensor<1x8x70000xi32>
  %sum = tosa.reduce_sum %wide {axis = 2 : i32} : (tensor<1x8x70000xi32>) -> tensor<1x8x1xi32>
  %y = tosa.rescale %sum, %three, %s37, %z32, %z16 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x8x1xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi16>) -> tensor<1x8x1xi16>
  return %y : tensor<1x8x1xi16>
}
