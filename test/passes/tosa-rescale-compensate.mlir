// What the pass makes of one layer. Expected numbers are derived above each function: M = m * 2^-s is the original multiplier, r its ratio to the new one.
//
// RUN: tosa-rescale-opt %s --split-input-file --tosa-rescale-compensate="bits=1" | FileCheck %s --check-prefixes=CHECK,VALUES,ONE
// RUN: tosa-rescale-opt %s --split-input-file --tosa-rescale-compensate="bits=3" | FileCheck %s --check-prefixes=CHECK,VALUES,THREE
// RUN: tosa-rescale-opt %s --split-input-file --tosa-rescale-compensate="bits=2 hidden-bit" | FileCheck %s --check-prefixes=CHECK,VALUES,THREE
// RUN: tosa-rescale-opt %s --split-input-file --tosa-rescale-compensate="bits=3 encoding=scale16" | FileCheck %s --check-prefixes=CHECK,VALUES,SCALE16
// RUN: tosa-rescale-opt %s --split-input-file --tosa-rescale-compensate="bits=1 promote=false" | FileCheck %s --check-prefixes=CHECK,TENSOR
// RUN: tosa-rescale-opt %s --split-input-file --tosa-rescale-compensate="bits=1 weight-rounding=nearest rounding-mode=keep" | FileCheck %s --check-prefixes=CHECK,NEAREST
// RUN: tosa-rescale-opt %s --split-input-file --tosa-rescale-compensate="bits=1 clip=false" | FileCheck %s --check-prefixes=CHECK,NOCLIP

// Channel 0, M = 9/16 * 2^-8, largest weight 80: M * 80/127 = 0.354 * 2^-8.
//   1 bit: 0.5 * 2^-8, r = 1.125: 90, -63, bias 1125. 3 bits: 0.375 * 2^-8 (3 * 2^29 at the top, 0b110 in three bits), r = 1.5: 120, -84, bias 1500.
// Channel 1, M = 0.625 * 2^-7, largest weight 127.
//   1 bit: 2^-7, r = 0.625: 31.25, -79.375, bias -4.375. 3 bits: it has no more, so all stays.
// CHECK-LABEL: func.func @conv2d_per_channel
// ONE-DAG:     %[[W:.*]] = "tosa.const"() <{values = dense<{{\[\[\[\[}}90, -63]]], {{\[\[\[}}31, -79]]]]> : tensor<2x1x1x2xi8>}>
// ONE-DAG:     %[[B:.*]] = "tosa.const"() <{values = dense<[1125, -4]> : tensor<2xi32>}>
// ONE-DAG:     %[[M:.*]] = "tosa.const"() <{values = dense<1073741824> : tensor<2xi32>}>
// ONE-DAG:     %[[S:.*]] = "tosa.const"() <{values = dense<[39, 37]> : tensor<2xi8>}>
// THREE-DAG:   %[[W:.*]] = "tosa.const"() <{values = dense<{{\[\[\[\[}}120, -84]]], {{\[\[\[}}50, -127]]]]> : tensor<2x1x1x2xi8>}>
// THREE-DAG:   %[[B:.*]] = "tosa.const"() <{values = dense<[1500, -7]> : tensor<2xi32>}>
// THREE-DAG:   %[[M:.*]] = "tosa.const"() <{values = dense<[1610612736, 1342177280]> : tensor<2xi32>}>
// THREE-DAG:   %[[S:.*]] = "tosa.const"() <{values = dense<[40, 38]> : tensor<2xi8>}>
// SCALE16-DAG: %[[W:.*]] = "tosa.const"() <{values = dense<{{\[\[\[\[}}120, -84]]], {{\[\[\[}}50, -127]]]]> : tensor<2x1x1x2xi8>}>
// SCALE16-DAG: %[[B:.*]] = "tosa.const"() <{values = dense<[1500, -7]> : tensor<2xi32>}>
// SCALE16-DAG: %[[M:.*]] = "tosa.const"() <{values = dense<[6, 5]> : tensor<2xi16>}>
// SCALE16-DAG: %[[S:.*]] = "tosa.const"() <{values = dense<[12, 10]> : tensor<2xi8>}>
// VALUES:      tosa.conv2d %arg0, %[[W]], %[[B]],
// VALUES:      tosa.rescale %{{.*}}, %[[M]], %[[S]],
// VALUES-SAME: per_channel = true, rounding_mode = SINGLE_ROUND
// SCALE16-SAME: scale32 = false
// ONE-SAME:    tosa_rescale.compensated = {ratio_max = 1.125000e+00 : f64, ratio_min = 6.250000e-01 : f64, weights_changed = 4 : i64}
// THREE-SAME:  tosa_rescale.compensated = {ratio_max = 1.500000e+00 : f64, ratio_min = 1.500000e+00 : f64, weights_changed = 2 : i64}
func.func @conv2d_per_channel(%arg0: tensor<1x1x1x2xi8>) -> tensor<1x1x1x2xi8> {
  %w = "tosa.const"() <{values = dense<[[[[80, -56]]], [[[50, -127]]]]> : tensor<2x1x1x2xi8>}> : () -> tensor<2x1x1x2xi8>
  %b = "tosa.const"() <{values = dense<[1000, -7]> : tensor<2xi32>}> : () -> tensor<2xi32>
  %m = "tosa.const"() <{values = dense<[1207959552, 1342177280]> : tensor<2xi32>}> : () -> tensor<2xi32>
  %s = "tosa.const"() <{values = dense<[39, 38]> : tensor<2xi8>}> : () -> tensor<2xi8>
  %izp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %wzp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %azp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %ozp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %acc = tosa.conv2d %arg0, %w, %b, %izp, %wzp {acc_type = i32, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>, dilation = array<i64: 1, 1>} : (tensor<1x1x1x2xi8>, tensor<2x1x1x2xi8>, tensor<2xi32>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x1x1x2xi32>
  %y = tosa.rescale %acc, %m, %s, %azp, %ozp {input_unsigned = false, output_unsigned = false, per_channel = true, rounding_mode = DOUBLE_ROUND, scale32 = true} : (tensor<1x1x1x2xi32>, tensor<2xi32>, tensor<2xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x1x1x2xi8>
  return %y : tensor<1x1x1x2xi8>
}

// -----

// Depthwise with two outputs for each of two input channels: [KH, KW, C, M]. One multiplier, 0.75 * 2^-8, becomes four. 1 bit:
//   largest weight 100: 2^-8, r = 0.75; 20: 0.118 * 2^-8 to 2^-11, r = 6; 40: 0.236 * 2^-8 to 2^-10, r = 3;
//   no weight at all: rounded up to 2^-8, r = 0.75.
// The bias of all, 100, becomes 75, 600, 300, 75.
// CHECK-LABEL: func.func @depthwise_promoted
// ONE-DAG:     %[[W:.*]] = "tosa.const"() <{values = dense<{{\[\[\[\[}}75, 120], [-120, 0]], {{\[\[}}-45, 60], [90, 0]]]]> : tensor<1x2x2x2xi8>}>
// ONE-DAG:     %[[B:.*]] = "tosa.const"() <{values = dense<[75, 600, 300, 75]> : tensor<4xi32>}>
// ONE-DAG:     %[[M:.*]] = "tosa.const"() <{values = dense<1073741824> : tensor<4xi32>}>
// ONE-DAG:     %[[S:.*]] = "tosa.const"() <{values = dense<[38, 41, 40, 38]> : tensor<4xi8>}>
// ONE:         tosa.depthwise_conv2d %arg0, %[[W]], %[[B]],
// ONE:         tosa.rescale %{{.*}}, %[[M]], %[[S]],
// ONE-SAME:    per_channel = true
func.func @depthwise_promoted(%arg0: tensor<1x1x2x2xi8>) -> tensor<1x1x1x4xi8> {
  %w = "tosa.const"() <{values = dense<[[[[100, 20], [-40, 0]], [[-60, 10], [30, 0]]]]> : tensor<1x2x2x2xi8>}> : () -> tensor<1x2x2x2xi8>
  %b = "tosa.const"() <{values = dense<100> : tensor<1xi32>}> : () -> tensor<1xi32>
  %m = "tosa.const"() <{values = dense<1610612736> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<39> : tensor<1xi8>}> : () -> tensor<1xi8>
  %izp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %wzp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %azp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %ozp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %acc = tosa.depthwise_conv2d %arg0, %w, %b, %izp, %wzp {acc_type = i32, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>, dilation = array<i64: 1, 1>} : (tensor<1x1x2x2xi8>, tensor<1x2x2x2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x1x1x4xi32>
  %y = tosa.rescale %acc, %m, %s, %azp, %ozp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = DOUBLE_ROUND, scale32 = true} : (tensor<1x1x1x4xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x1x1x4xi8>
  return %y : tensor<1x1x1x4xi8>
}

// -----

// Weights 99 and -128 with a zero point of 28. 1 bit: 2^-8 and r = 0.75, 74.25 and -96; promoted, the zero point is 0.
// CHECK-LABEL: func.func @zero_point
// ONE-DAG:     %[[W:.*]] = "tosa.const"() <{values = dense<{{\[\[\[\[}}74, -96]]]]> : tensor<1x1x1x2xi8>}>
// ONE-DAG:     %[[ZP:.*]] = "tosa.const"() <{values = dense<0> : tensor<1xi8>}>
// ONE-DAG:     %[[IZP:.*]] = "tosa.const"() <{values = dense<-128> : tensor<1xi8>}>
// ONE:         tosa.conv2d %arg0, %[[W]], %{{.*}}, %[[IZP]], %[[ZP]]
// ONE:         per_channel = true
// TENSOR-DAG:  %[[W:.*]] = "tosa.const"() <{values = dense<{{\[\[\[\[}}102, -68]]]]> : tensor<1x1x1x2xi8>}>
// TENSOR-DAG:  %[[ZP:.*]] = "tosa.const"() <{values = dense<28> : tensor<1xi8>}>
// TENSOR:      tosa.conv2d %arg0, %[[W]], %{{.*}}, %{{.*}}, %[[ZP]]
// TENSOR:      per_channel = false
func.func @zero_point(%arg0: tensor<1x1x1x2xi8>) -> tensor<1x1x1x1xi8> {
  %w = "tosa.const"() <{values = dense<[[[[127, -100]]]]> : tensor<1x1x1x2xi8>}> : () -> tensor<1x1x1x2xi8>
  %b = "tosa.const"() <{values = dense<1000> : tensor<1xi32>}> : () -> tensor<1xi32>
  %m = "tosa.const"() <{values = dense<1610612736> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<39> : tensor<1xi8>}> : () -> tensor<1xi8>
  %izp = "tosa.const"() <{values = dense<-128> : tensor<1xi8>}> : () -> tensor<1xi8>
  %wzp = "tosa.const"() <{values = dense<28> : tensor<1xi8>}> : () -> tensor<1xi8>
  %azp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %ozp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %acc = tosa.conv2d %arg0, %w, %b, %izp, %wzp {acc_type = i32, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>, dilation = array<i64: 1, 1>} : (tensor<1x1x1x2xi8>, tensor<1x1x1x2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x1x1x1xi32>
  %y = tosa.rescale %acc, %m, %s, %azp, %ozp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = DOUBLE_ROUND, scale32 = true} : (tensor<1x1x1x1xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x1x1x1xi8>
  return %y : tensor<1x1x1x1xi8>
}

// -----

// promote=false: one multiplier for both channels, rounded up, r = 0.75: 1.5 is 2 (half up), -5.25 is -5.
// CHECK-LABEL: func.func @per_tensor
// TENSOR-DAG:  %[[W:.*]] = "tosa.const"() <{values = dense<{{\[\[\[\[}}75, -45]]], {{\[\[\[}}2, 0]]]]> : tensor<2x1x1x2xi8>}>
// TENSOR-DAG:  %[[B:.*]] = "tosa.const"() <{values = dense<[750, -5]> : tensor<2xi32>}>
// TENSOR-DAG:  %[[M:.*]] = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}>
// TENSOR-DAG:  %[[S:.*]] = "tosa.const"() <{values = dense<38> : tensor<1xi8>}>
// TENSOR:      tosa.conv2d %arg0, %[[W]], %[[B]],
// TENSOR:      tosa.rescale %{{.*}}, %[[M]], %[[S]],
// TENSOR-SAME: per_channel = false
func.func @per_tensor(%arg0: tensor<1x1x1x2xi8>) -> tensor<1x1x1x2xi8> {
  %w = "tosa.const"() <{values = dense<[[[[100, -60]]], [[[2, 0]]]]> : tensor<2x1x1x2xi8>}> : () -> tensor<2x1x1x2xi8>
  %b = "tosa.const"() <{values = dense<[1000, -7]> : tensor<2xi32>}> : () -> tensor<2xi32>
  %m = "tosa.const"() <{values = dense<1610612736> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<39> : tensor<1xi8>}> : () -> tensor<1xi8>
  %izp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %wzp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %azp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %ozp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %acc = tosa.conv2d %arg0, %w, %b, %izp, %wzp {acc_type = i32, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>, dilation = array<i64: 1, 1>} : (tensor<1x1x1x2xi8>, tensor<2x1x1x2xi8>, tensor<2xi32>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x1x1x2xi32>
  %y = tosa.rescale %acc, %m, %s, %azp, %ozp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = DOUBLE_ROUND, scale32 = true} : (tensor<1x1x1x2xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x1x1x2xi8>
  return %y : tensor<1x1x1x2xi8>
}

// -----

// CHECK-LABEL: func.func @transpose_conv2d
// ONE-DAG:     %[[W:.*]] = "tosa.const"() <{values = dense<{{\[\[\[\[}}75], [-45]]]]> : tensor<1x1x2x1xi8>}>
// ONE-DAG:     %[[B:.*]] = "tosa.const"() <{values = dense<750> : tensor<1xi32>}>
// ONE:         tosa.transpose_conv2d %arg0, %[[W]], %[[B]],
func.func @transpose_conv2d(%arg0: tensor<1x1x1x1xi8>) -> tensor<1x1x2x1xi8> {
  %w = "tosa.const"() <{values = dense<[[[[100], [-60]]]]> : tensor<1x1x2x1xi8>}> : () -> tensor<1x1x2x1xi8>
  %b = "tosa.const"() <{values = dense<1000> : tensor<1xi32>}> : () -> tensor<1xi32>
  %m = "tosa.const"() <{values = dense<[1610612736]> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<39> : tensor<1xi8>}> : () -> tensor<1xi8>
  %izp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %wzp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %azp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %ozp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %acc = tosa.transpose_conv2d %arg0, %w, %b, %izp, %wzp {acc_type = i32, out_pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>} : (tensor<1x1x1x1xi8>, tensor<1x1x2x1xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x1x2x1xi32>
  %y = tosa.rescale %acc, %m, %s, %azp, %ozp {input_unsigned = false, output_unsigned = false, per_channel = true, rounding_mode = DOUBLE_ROUND, scale32 = true} : (tensor<1x1x2x1xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x1x2x1xi8>
  return %y : tensor<1x1x2x1xi8>
}

// -----

// CHECK-LABEL: func.func @conv3d
// ONE-DAG:     %[[W:.*]] = "tosa.const"() <{values = dense<{{\[\[\[\[\[}}75, -45]]]]]> : tensor<1x1x1x1x2xi8>}>
// ONE:         tosa.conv3d %arg0, %[[W]],
func.func @conv3d(%arg0: tensor<1x1x1x1x2xi8>) -> tensor<1x1x1x1x1xi8> {
  %w = "tosa.const"() <{values = dense<[[[[[100, -60]]]]]> : tensor<1x1x1x1x2xi8>}> : () -> tensor<1x1x1x1x2xi8>
  %b = "tosa.const"() <{values = dense<1000> : tensor<1xi32>}> : () -> tensor<1xi32>
  %m = "tosa.const"() <{values = dense<[1610612736]> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<39> : tensor<1xi8>}> : () -> tensor<1xi8>
  %izp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %wzp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %azp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %ozp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %acc = tosa.conv3d %arg0, %w, %b, %izp, %wzp {acc_type = i32, pad = array<i64: 0, 0, 0, 0, 0, 0>, stride = array<i64: 1, 1, 1>, dilation = array<i64: 1, 1, 1>} : (tensor<1x1x1x1x2xi8>, tensor<1x1x1x1x2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x1x1x1x1xi32>
  %y = tosa.rescale %acc, %m, %s, %azp, %ozp {input_unsigned = false, output_unsigned = false, per_channel = true, rounding_mode = DOUBLE_ROUND, scale32 = true} : (tensor<1x1x1x1x1xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x1x1x1x1xi8>
  return %y : tensor<1x1x1x1x1xi8>
}

// -----

// Weights keep the reshape that they come through, and the accumulator is found behind one. Numbers as above.
// CHECK-LABEL: func.func @fully_connected
// ONE-DAG:     %[[W0:.*]] = "tosa.const"() <{values = dense<{{\[\[}}90, -63], [31, -79]]> : tensor<2x2xi8>}>
// ONE-DAG:     %[[W:.*]] = tosa.reshape %[[W0]],
// ONE-DAG:     %[[B:.*]] = "tosa.const"() <{values = dense<[1125, -4]> : tensor<2xi32>}>
// ONE-NOT:     tosa.reshape
// ONE:         tosa.conv2d %arg0, %[[W]], %[[B]],
// ONE:         tosa.reshape
func.func @fully_connected(%arg0: tensor<1x1x1x2xi8>) -> tensor<1x2xi8> {
  %w0 = "tosa.const"() <{values = dense<[[80, -56], [50, -127]]> : tensor<2x2xi8>}> : () -> tensor<2x2xi8>
  %ws = tosa.const_shape {values = dense<[2, 1, 1, 2]> : tensor<4xindex>} : () -> !tosa.shape<4>
  %w = tosa.reshape %w0, %ws : (tensor<2x2xi8>, !tosa.shape<4>) -> tensor<2x1x1x2xi8>
  %b = "tosa.const"() <{values = dense<[1000, -7]> : tensor<2xi32>}> : () -> tensor<2xi32>
  %m = "tosa.const"() <{values = dense<[1207959552, 1342177280]> : tensor<2xi32>}> : () -> tensor<2xi32>
  %s = "tosa.const"() <{values = dense<[39, 38]> : tensor<2xi8>}> : () -> tensor<2xi8>
  %izp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %wzp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %azp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %ozp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %acc = tosa.conv2d %arg0, %w, %b, %izp, %wzp {acc_type = i32, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>, dilation = array<i64: 1, 1>} : (tensor<1x1x1x2xi8>, tensor<2x1x1x2xi8>, tensor<2xi32>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x1x1x2xi32>
  %fs = tosa.const_shape {values = dense<[1, 2]> : tensor<2xindex>} : () -> !tosa.shape<2>
  %flat = tosa.reshape %acc, %fs : (tensor<1x1x1x2xi32>, !tosa.shape<2>) -> tensor<1x2xi32>
  %y = tosa.rescale %flat, %m, %s, %azp, %ozp {input_unsigned = false, output_unsigned = false, per_channel = true, rounding_mode = DOUBLE_ROUND, scale32 = true} : (tensor<1x2xi32>, tensor<2xi32>, tensor<2xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x2xi8>
  return %y : tensor<1x2xi8>
}

// -----

// r = 0.75: 95.25 and four times 2.25. To nearest, each misses 0.25, and the sum 1.25: 5 * 0.25^2 + 1.25^2 = 1.875. One step up, of the
// first among equals: 0.75^2 + 4 * 0.25^2 + 0.25^2 = 0.875.
// CHECK-LABEL: func.func @sum_of_weights
// ONE:         dense<{{\[\[\[\[}}96, 2, 2, 2, 2]]]]> : tensor<1x1x1x5xi8>
// NEAREST:     dense<{{\[\[\[\[}}95, 2, 2, 2, 2]]]]> : tensor<1x1x1x5xi8>
func.func @sum_of_weights(%arg0: tensor<1x1x1x5xi8>) -> tensor<1x1x1x1xi8> {
  %w = "tosa.const"() <{values = dense<[[[[127, 3, 3, 3, 3]]]]> : tensor<1x1x1x5xi8>}> : () -> tensor<1x1x1x5xi8>
  %b = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %m = "tosa.const"() <{values = dense<[1610612736]> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<39> : tensor<1xi8>}> : () -> tensor<1xi8>
  %izp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %wzp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %azp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %ozp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %acc = tosa.conv2d %arg0, %w, %b, %izp, %wzp {acc_type = i32, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>, dilation = array<i64: 1, 1>} : (tensor<1x1x1x5xi8>, tensor<1x1x1x5xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x1x1x1xi32>
  %y = tosa.rescale %acc, %m, %s, %azp, %ozp {input_unsigned = false, output_unsigned = false, per_channel = true, rounding_mode = DOUBLE_ROUND, scale32 = true} : (tensor<1x1x1x1xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x1x1x1xi8>
  return %y : tensor<1x1x1x1xi8>
}

// -----

// M = 31/32 * 2^-8. M * 66/127 = 0.503 * 2^-8 rounds up to 2^-8, and 16 * 31/32 = 15.5 is as bad as can be. With half of that
// multiplier r = 31/16: 16 becomes 31 exactly, and 66 becomes 127.875, of which 0.875 is cut off.
// Without clipping: 63.9375 and seven times 15.5, rounded half up the sum misses -0.0625 - 7 * 0.5 = -3.5625. Four steps down leave 0.4375.
// CHECK-LABEL: func.func @clipping
// ONE-DAG:     dense<{{\[\[\[\[}}127, 31, 31, 31, 31, 31, 31, 31]]]]> : tensor<1x1x1x8xi8>
// ONE-DAG:     %[[M:.*]] = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}>
// ONE-DAG:     %[[S:.*]] = "tosa.const"() <{values = dense<39> : tensor<1xi8>}>
// ONE:         tosa.rescale %{{.*}}, %[[M]], %[[S]],
// NOCLIP-DAG:  dense<{{\[\[\[\[}}64, 15, 15, 15, 15, 16, 16, 16]]]]> : tensor<1x1x1x8xi8>
// NOCLIP-DAG:  %[[S:.*]] = "tosa.const"() <{values = dense<38> : tensor<1xi8>}>
// NOCLIP:      tosa.rescale %{{.*}}, %{{.*}}, %[[S]],
func.func @clipping(%arg0: tensor<1x1x1x8xi8>) -> tensor<1x1x1x1xi8> {
  %w = "tosa.const"() <{values = dense<[[[[66, 16, 16, 16, 16, 16, 16, 16]]]]> : tensor<1x1x1x8xi8>}> : () -> tensor<1x1x1x8xi8>
  %b = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %m = "tosa.const"() <{values = dense<[2080374784]> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<39> : tensor<1xi8>}> : () -> tensor<1xi8>
  %izp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %wzp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %azp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %ozp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %acc = tosa.conv2d %arg0, %w, %b, %izp, %wzp {acc_type = i32, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>, dilation = array<i64: 1, 1>} : (tensor<1x1x1x8xi8>, tensor<1x1x1x8xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x1x1x1xi32>
  %y = tosa.rescale %acc, %m, %s, %azp, %ozp {input_unsigned = false, output_unsigned = false, per_channel = true, rounding_mode = DOUBLE_ROUND, scale32 = true} : (tensor<1x1x1x1xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x1x1x1xi8>
  return %y : tensor<1x1x1x1xi8>
}

// -----

// 2^-8 * (1 + 2^-24), as it comes back from a file with float32 scales: 2^-8, not 2^-7.
// CHECK-LABEL: func.func @nearly_narrow
// ONE-DAG:     dense<{{\[\[\[\[}}127, -60]]]]> : tensor<1x1x1x2xi8>
// ONE-DAG:     dense<1000> : tensor<1xi32>
// ONE-DAG:     %[[M:.*]] = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}>
// ONE-DAG:     %[[S:.*]] = "tosa.const"() <{values = dense<38> : tensor<1xi8>}>
// ONE:         tosa.rescale %{{.*}}, %[[M]], %[[S]],
func.func @nearly_narrow(%arg0: tensor<1x1x1x2xi8>) -> tensor<1x1x1x1xi8> {
  %w = "tosa.const"() <{values = dense<[[[[127, -60]]]]> : tensor<1x1x1x2xi8>}> : () -> tensor<1x1x1x2xi8>
  %b = "tosa.const"() <{values = dense<1000> : tensor<1xi32>}> : () -> tensor<1xi32>
  %m = "tosa.const"() <{values = dense<[1073741888]> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<38> : tensor<1xi8>}> : () -> tensor<1xi8>
  %izp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %wzp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %azp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %ozp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %acc = tosa.conv2d %arg0, %w, %b, %izp, %wzp {acc_type = i32, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>, dilation = array<i64: 1, 1>} : (tensor<1x1x1x2xi8>, tensor<1x1x1x2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x1x1x1xi32>
  %y = tosa.rescale %acc, %m, %s, %azp, %ozp {input_unsigned = false, output_unsigned = false, per_channel = true, rounding_mode = DOUBLE_ROUND, scale32 = true} : (tensor<1x1x1x1xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x1x1x1xi8>
  return %y : tensor<1x1x1x1xi8>
}

// -----

// Weights of 1 would allow r = 96 at 2^-15, but the bias 1e8 at most 21.47: 0.75 * 2^-8 / 21.47 rounds up to 2^-12, r = 12.
// CHECK-LABEL: func.func @bias_limits_ratio
// ONE-DAG:     dense<{{\[\[\[\[}}12, -12]]]]> : tensor<1x1x1x2xi8>
// ONE-DAG:     dense<1200000000> : tensor<1xi32>
// ONE-DAG:     %[[S:.*]] = "tosa.const"() <{values = dense<42> : tensor<1xi8>}>
// ONE:         tosa.rescale %{{.*}}, %{{.*}}, %[[S]],
func.func @bias_limits_ratio(%arg0: tensor<1x1x1x2xi8>) -> tensor<1x1x1x1xi8> {
  %w = "tosa.const"() <{values = dense<[[[[1, -1]]]]> : tensor<1x1x1x2xi8>}> : () -> tensor<1x1x1x2xi8>
  %b = "tosa.const"() <{values = dense<100000000> : tensor<1xi32>}> : () -> tensor<1xi32>
  %m = "tosa.const"() <{values = dense<[1610612736]> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<39> : tensor<1xi8>}> : () -> tensor<1xi8>
  %izp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %wzp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %azp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %ozp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %acc = tosa.conv2d %arg0, %w, %b, %izp, %wzp {acc_type = i32, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>, dilation = array<i64: 1, 1>} : (tensor<1x1x1x2xi8>, tensor<1x1x1x2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x1x1x1xi32>
  %y = tosa.rescale %acc, %m, %s, %azp, %ozp {input_unsigned = false, output_unsigned = false, per_channel = true, rounding_mode = DOUBLE_ROUND, scale32 = true} : (tensor<1x1x1x1xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x1x1x1xi8>
  return %y : tensor<1x1x1x1xi8>
}

// -----

// M is almost 1. M * 63/127 = 0.496: 0.5 would be 2^30 * 2^-31, whose values end at 2^30, but r = 2 takes the bias to 1.2e9.
// So r is at most 2 * 2^30 / 1.2e9 = 1.79, and the next 3-bit multiplier is 0.625: r = 1.6, 100.8 and 9.6e8.
// CHECK-LABEL: func.func @shift_limits_ratio
// THREE-DAG:   dense<101> : tensor<1x1x1x1xi8>
// THREE-DAG:   dense<960000000> : tensor<1xi32>
// THREE-DAG:   %[[M:.*]] = "tosa.const"() <{values = dense<1342177280> : tensor<1xi32>}>
// THREE-DAG:   %[[S:.*]] = "tosa.const"() <{values = dense<31> : tensor<1xi8>}>
// THREE:       tosa.rescale %{{.*}}, %[[M]], %[[S]],
func.func @shift_limits_ratio(%arg0: tensor<1x1x1x1xi8>) -> tensor<1x1x1x1xi8> {
  %w = "tosa.const"() <{values = dense<63> : tensor<1x1x1x1xi8>}> : () -> tensor<1x1x1x1xi8>
  %b = "tosa.const"() <{values = dense<600000000> : tensor<1xi32>}> : () -> tensor<1xi32>
  %m = "tosa.const"() <{values = dense<[2147483647]> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<31> : tensor<1xi8>}> : () -> tensor<1xi8>
  %izp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %wzp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %azp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %ozp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %acc = tosa.conv2d %arg0, %w, %b, %izp, %wzp {acc_type = i32, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>, dilation = array<i64: 1, 1>} : (tensor<1x1x1x1xi8>, tensor<1x1x1x1xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x1x1x1xi32>
  %y = tosa.rescale %acc, %m, %s, %azp, %ozp {input_unsigned = false, output_unsigned = false, per_channel = true, rounding_mode = DOUBLE_ROUND, scale32 = true} : (tensor<1x1x1x1xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x1x1x1xi8>
  return %y : tensor<1x1x1x1xi8>
}

// -----

// Three bits here, whatever the option says: r = 1.5 as above.
// CHECK-LABEL: func.func @attribute
// ONE:         dense<{{\[\[\[\[}}120, -84]]]]> : tensor<1x1x1x2xi8>
func.func @attribute(%arg0: tensor<1x1x1x2xi8>) -> tensor<1x1x1x1xi8> {
  %w = "tosa.const"() <{values = dense<[[[[80, -56]]]]> : tensor<1x1x1x2xi8>}> : () -> tensor<1x1x1x2xi8>
  %b = "tosa.const"() <{values = dense<1000> : tensor<1xi32>}> : () -> tensor<1xi32>
  %m = "tosa.const"() <{values = dense<[1207959552]> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<39> : tensor<1xi8>}> : () -> tensor<1xi8>
  %izp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %wzp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %azp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %ozp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %acc = tosa.conv2d %arg0, %w, %b, %izp, %wzp {acc_type = i32, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>, dilation = array<i64: 1, 1>} : (tensor<1x1x1x2xi8>, tensor<1x1x1x2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x1x1x1xi32>
  %y = tosa.rescale %acc, %m, %s, %azp, %ozp {tosa_rescale.bits = 3, input_unsigned = false, output_unsigned = false, per_channel = true, rounding_mode = DOUBLE_ROUND, scale32 = true} : (tensor<1x1x1x1xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x1x1x1xi8>
  return %y : tensor<1x1x1x1xi8>
}

// -----

// One constant, two layers: r = 0.75 for the first, and the second is narrow already.
// CHECK-LABEL: func.func @shared_weights
// ONE-DAG:     %[[NEW:.*]] = "tosa.const"() <{values = dense<{{\[\[\[\[}}75, -45]]]]> : tensor<1x1x1x2xi8>}>
// ONE-DAG:     %[[OLD:.*]] = "tosa.const"() <{values = dense<{{\[\[\[\[}}100, -60]]]]> : tensor<1x1x1x2xi8>}>
// ONE-DAG:     %[[NEWB:.*]] = "tosa.const"() <{values = dense<750> : tensor<1xi32>}>
// ONE-DAG:     %[[OLDB:.*]] = "tosa.const"() <{values = dense<1000> : tensor<1xi32>}>
// ONE:         tosa.conv2d %arg0, %[[NEW]], %[[NEWB]],
// ONE:         tosa.conv2d %arg0, %[[OLD]], %[[OLDB]],
func.func @shared_weights(%arg0: tensor<1x1x1x2xi8>) -> (tensor<1x1x1x1xi8>, tensor<1x1x1x1xi8>) {
  %w = "tosa.const"() <{values = dense<[[[[100, -60]]]]> : tensor<1x1x1x2xi8>}> : () -> tensor<1x1x1x2xi8>
  %b = "tosa.const"() <{values = dense<1000> : tensor<1xi32>}> : () -> tensor<1xi32>
  %m = "tosa.const"() <{values = dense<[1610612736]> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<39> : tensor<1xi8>}> : () -> tensor<1xi8>
  %izp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %wzp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %azp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %ozp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %acc = tosa.conv2d %arg0, %w, %b, %izp, %wzp {acc_type = i32, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>, dilation = array<i64: 1, 1>} : (tensor<1x1x1x2xi8>, tensor<1x1x1x2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x1x1x1xi32>
  %y = tosa.rescale %acc, %m, %s, %azp, %ozp {input_unsigned = false, output_unsigned = false, per_channel = true, rounding_mode = DOUBLE_ROUND, scale32 = true} : (tensor<1x1x1x1xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x1x1x1xi8>
  %acc2 = tosa.conv2d %arg0, %w, %b, %izp, %wzp {acc_type = i32, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>, dilation = array<i64: 1, 1>} : (tensor<1x1x1x2xi8>, tensor<1x1x1x2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x1x1x1xi32>
  %m2 = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s2 = "tosa.const"() <{values = dense<38> : tensor<1xi8>}> : () -> tensor<1xi8>
  %y2 = tosa.rescale %acc2, %m2, %s2, %azp, %ozp {input_unsigned = false, output_unsigned = false, per_channel = true, rounding_mode = DOUBLE_ROUND, scale32 = true} : (tensor<1x1x1x1xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x1x1x1xi8>
  return %y, %y2 : tensor<1x1x1x1xi8>, tensor<1x1x1x1xi8>
}

// -----

// CHECK-LABEL: func.func @keep_double_round
// ONE:         rounding_mode = SINGLE_ROUND
// NEAREST:     rounding_mode = DOUBLE_ROUND
func.func @keep_double_round(%arg0: tensor<1x1x1x2xi8>) -> tensor<1x1x1x1xi8> {
  %w = "tosa.const"() <{values = dense<[[[[100, -60]]]]> : tensor<1x1x1x2xi8>}> : () -> tensor<1x1x1x2xi8>
  %b = "tosa.const"() <{values = dense<1000> : tensor<1xi32>}> : () -> tensor<1xi32>
  %m = "tosa.const"() <{values = dense<[1610612736]> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<39> : tensor<1xi8>}> : () -> tensor<1xi8>
  %izp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %wzp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %azp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %ozp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %acc = tosa.conv2d %arg0, %w, %b, %izp, %wzp {acc_type = i32, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>, dilation = array<i64: 1, 1>} : (tensor<1x1x1x2xi8>, tensor<1x1x1x2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x1x1x1xi32>
  %y = tosa.rescale %acc, %m, %s, %azp, %ozp {input_unsigned = false, output_unsigned = false, per_channel = true, rounding_mode = DOUBLE_ROUND, scale32 = true} : (tensor<1x1x1x1xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x1x1x1xi8>
  return %y : tensor<1x1x1x1xi8>
}

// -----

// 0.75 * 2^-8 as a 16-bit multiplier stays one: 2^14 * 2^-22.
// CHECK-LABEL: func.func @multiplier_of_16_bits
// ONE-DAG:     dense<{{\[\[\[\[}}75, -45]]]]> : tensor<1x1x1x2xi8>
// ONE-DAG:     %[[M:.*]] = "tosa.const"() <{values = dense<16384> : tensor<1xi16>}>
// ONE-DAG:     %[[S:.*]] = "tosa.const"() <{values = dense<22> : tensor<1xi8>}>
// ONE:         tosa.rescale %{{.*}}, %[[M]], %[[S]],
// ONE-SAME:    scale32 = false
func.func @multiplier_of_16_bits(%arg0: tensor<1x1x1x2xi8>) -> tensor<1x1x1x1xi8> {
  %w = "tosa.const"() <{values = dense<[[[[100, -60]]]]> : tensor<1x1x1x2xi8>}> : () -> tensor<1x1x1x2xi8>
  %b = "tosa.const"() <{values = dense<1000> : tensor<1xi32>}> : () -> tensor<1xi32>
  %m = "tosa.const"() <{values = dense<[24576]> : tensor<1xi16>}> : () -> tensor<1xi16>
  %s = "tosa.const"() <{values = dense<23> : tensor<1xi8>}> : () -> tensor<1xi8>
  %izp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %wzp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %azp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %ozp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %acc = tosa.conv2d %arg0, %w, %b, %izp, %wzp {acc_type = i32, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>, dilation = array<i64: 1, 1>} : (tensor<1x1x1x2xi8>, tensor<1x1x1x2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x1x1x1xi32>
  %y = tosa.rescale %acc, %m, %s, %azp, %ozp {input_unsigned = false, output_unsigned = false, per_channel = true, rounding_mode = SINGLE_ROUND, scale32 = false} : (tensor<1x1x1x1xi32>, tensor<1xi16>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x1x1x1xi8>
  return %y : tensor<1x1x1x1xi8>
}
