// Statistics of the input: how they direct rounding and bias, and that they are gone afterwards. M = 0.75 * 2^-8 becomes 2^-8 everywhere, r = 0.75. With d = w * r - w', a step of
// weight i by the sign of (Hd)_i lowers d'Hd if 2 * |(Hd)_i| > H_ii.
//
// RUN: tosa-rescale-opt %s --split-input-file --tosa-rescale-compensate="bits=1 shrinkage=0" | FileCheck %s --check-prefixes=CHECK,MEASURED
// RUN: tosa-rescale-opt %s --split-input-file --tosa-rescale-compensate="bits=1 shrinkage=1" | FileCheck %s --check-prefixes=CHECK,PRIOR
// RUN: tosa-rescale-opt %s --split-input-file --tosa-rescale-compensate="bits=1 weight-rounding=nearest" | FileCheck %s --check-prefixes=CHECK,NEAREST
// RUN: tosa-rescale-opt %s --split-input-file --tosa-rescale-compensate="bits=1 use-statistics=false" | FileCheck %s --check-prefix=UNREAD
// RUN: tosa-rescale-opt %s --split-input-file --mlir-disable-threading --tosa-rescale-compensate="bits=1 shrinkage=0" | FileCheck %s --check-prefixes=CHECK,MEASURED

// r = 0.75: 74.25 and -37.5. To nearest 74 and -37 (half up), d = (0.25, -0.5), bias 750 + 8 * 0.25 - 4 * 0.5 = 750.
// shrinkage=1: sum(d) = -0.25, nothing to gain.
// shrinkage=0: the mean square of the means is 40, so H = 40 I + mm' = ((104, 32), (32, 56)) and Hd = (10, -20): 2 * 20 < 56.
// Unread, the bias makes up for nothing: 750.
// CHECK-LABEL: func.func @mean_only
// UNREAD-NOT:  tosa_rescale.input
// PRIOR-DAG:   dense<{{\[\[\[\[}}74, -37]]]]> : tensor<1x1x1x2xi8>
// MEASURED-DAG: dense<{{\[\[\[\[}}74, -37]]]]> : tensor<1x1x1x2xi8>
// CHECK-DAG:   %[[B:.*]] = "tosa.const"() <{values = dense<750> : tensor<1xi32>}>
// CHECK:       tosa.conv2d %arg0, %{{.*}}, %[[B]],
// CHECK-NOT:   tosa_rescale.input_mean
// CHECK:       tosa_rescale.compensated = {ratio_max = 7.500000e-01 : f64, ratio_min = 7.500000e-01 : f64, weights_changed = 2 : i64}
func.func @mean_only(%arg0: tensor<1x1x1x2xi8>) -> tensor<1x1x1x1xi8> {
  %w = "tosa.const"() <{values = dense<[[[[99, -50]]]]> : tensor<1x1x1x2xi8>}> : () -> tensor<1x1x1x2xi8>
  %b = "tosa.const"() <{values = dense<1000> : tensor<1xi32>}> : () -> tensor<1xi32>
  %m = "tosa.const"() <{values = dense<[1610612736]> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<39> : tensor<1xi8>}> : () -> tensor<1xi8>
  %izp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %wzp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %azp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %ozp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %acc = tosa.conv2d %arg0, %w, %b, %izp, %wzp {tosa_rescale.input_mean = dense<[[[8.0, 4.0]]]> : tensor<1x1x2xf32>, acc_type = i32, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>, dilation = array<i64: 1, 1>} : (tensor<1x1x1x2xi8>, tensor<1x1x1x2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x1x1x1xi32>
  %y = tosa.rescale %acc, %m, %s, %azp, %ozp {input_unsigned = false, output_unsigned = false, per_channel = true, rounding_mode = DOUBLE_ROUND, scale32 = true} : (tensor<1x1x1x1xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x1x1x1xi8>
  return %y : tensor<1x1x1x1xi8>
}

// -----

// The same with a negative mean. shrinkage=1: bias 750 + 8 * 0.25 + 4 * 0.5 = 754.
// shrinkage=0: H = ((104, -32), (-32, 56)), Hd = (42, -36): 2 * 42 < 104, but 2 * 36 > 56. A step down, d = (0.25, 0.5), Hd = (10, 20) ends it;
// the bias is 750 + 2 - 2.
// CHECK-LABEL: func.func @mean_only_of_two_signs
// PRIOR-DAG:   dense<{{\[\[\[\[}}74, -37]]]]> : tensor<1x1x1x2xi8>
// PRIOR-DAG:   dense<754> : tensor<1xi32>
// MEASURED-DAG: dense<{{\[\[\[\[}}74, -38]]]]> : tensor<1x1x1x2xi8>
// MEASURED-DAG: dense<750> : tensor<1xi32>
// CHECK:       tosa.conv2d
func.func @mean_only_of_two_signs(%arg0: tensor<1x1x1x2xi8>) -> tensor<1x1x1x1xi8> {
  %w = "tosa.const"() <{values = dense<[[[[99, -50]]]]> : tensor<1x1x1x2xi8>}> : () -> tensor<1x1x1x2xi8>
  %b = "tosa.const"() <{values = dense<1000> : tensor<1xi32>}> : () -> tensor<1xi32>
  %m = "tosa.const"() <{values = dense<[1610612736]> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<39> : tensor<1xi8>}> : () -> tensor<1xi8>
  %izp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %wzp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %azp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %ozp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %acc = tosa.conv2d %arg0, %w, %b, %izp, %wzp {tosa_rescale.input_mean = dense<[[[8.0, -4.0]]]> : tensor<1x1x2xf32>, acc_type = i32, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>, dilation = array<i64: 1, 1>} : (tensor<1x1x1x2xi8>, tensor<1x1x1x2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x1x1x1xi32>
  %y = tosa.rescale %acc, %m, %s, %azp, %ozp {input_unsigned = false, output_unsigned = false, per_channel = true, rounding_mode = DOUBLE_ROUND, scale32 = true} : (tensor<1x1x1x1xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x1x1x1xi8>
  return %y : tensor<1x1x1x1xi8>
}

// -----

// 74.25 and -36.75, d = (0.25, 0.25). shrinkage=0: Hd = (35, 27.5), 2 * 27.5 > 50: a step up to -36, d = (0.25, -0.75), Hd = (-25, -22.5) ends it.
// Error to nearest: d'Hd = 15.625. The bias 750 + 0.5 is rounded to 751, which leaves e = -1: with 2 * e * sum(d) + e^2 still 15.625.
// Error chosen: d'Hd = 10.625, bias 750 - 0.5 rounded to 750, e = 0: 10.625. Both times 2^-16.
// CHECK-LABEL: func.func @moment
// NEAREST-DAG: dense<{{\[\[\[\[}}74, -37]]]]> : tensor<1x1x1x2xi8>
// MEASURED-DAG: dense<{{\[\[\[\[}}74, -36]]]]> : tensor<1x1x1x2xi8>
// MEASURED-DAG: dense<750> : tensor<1xi32>
// CHECK:       tosa.conv2d
// CHECK-NOT:   tosa_rescale.input
// MEASURED:    tosa_rescale.compensated = {error = 1.621246337890625E-4 : f64, error_nearest = 2.384185791015625E-4 : f64,
// NEAREST:     tosa_rescale.compensated = {error = 2.384185791015625E-4 : f64, error_nearest = 2.384185791015625E-4 : f64,
func.func @moment(%arg0: tensor<1x1x1x2xi8>) -> tensor<1x1x1x1xi8> {
  %w = "tosa.const"() <{values = dense<[[[[99, -49]]]]> : tensor<1x1x1x2xi8>}> : () -> tensor<1x1x1x2xi8>
  %b = "tosa.const"() <{values = dense<1000> : tensor<1xi32>}> : () -> tensor<1xi32>
  %m = "tosa.const"() <{values = dense<[1610612736]> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<39> : tensor<1xi8>}> : () -> tensor<1xi8>
  %izp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %wzp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %azp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %ozp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %acc = tosa.conv2d %arg0, %w, %b, %izp, %wzp {tosa_rescale.input_mean = dense<1.0> : tensor<1x1x2xf32>, tosa_rescale.input_moment = dense<[[80.0, 60.0], [60.0, 50.0]]> : tensor<2x2xf32>, acc_type = i32, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>, dilation = array<i64: 1, 1>} : (tensor<1x1x1x2xi8>, tensor<1x1x1x2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x1x1x1xi32>
  %y = tosa.rescale %acc, %m, %s, %azp, %ozp {input_unsigned = false, output_unsigned = false, per_channel = true, rounding_mode = DOUBLE_ROUND, scale32 = true} : (tensor<1x1x1x1xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x1x1x1xi8>
  return %y : tensor<1x1x1x1xi8>
}

// -----

// The same moments, but nearly all of them mean, which the bias makes up for. To nearest: bias 750 + 2 + 1.5 rounded to 754, e = -4, error
// 15.625 - 2 * 4 * 3.5 + 16 = 3.625. After the step: bias 750 + 2 - 4.5 rounded to 748, e = 2, 10.625 - 2 * 2 * 2.5 + 4 = 4.625. So the layer stays at nearest.
// CHECK-LABEL: func.func @nearest_is_better
// MEASURED-DAG: dense<{{\[\[\[\[}}74, -37]]]]> : tensor<1x1x1x2xi8>
// MEASURED-DAG: dense<754> : tensor<1xi32>
// CHECK:       tosa.conv2d
// MEASURED:    tosa_rescale.compensated = {error = 5.53131103515625E-5 : f64, error_nearest = 5.53131103515625E-5 : f64,
func.func @nearest_is_better(%arg0: tensor<1x1x1x2xi8>) -> tensor<1x1x1x1xi8> {
  %w = "tosa.const"() <{values = dense<[[[[99, -49]]]]> : tensor<1x1x1x2xi8>}> : () -> tensor<1x1x1x2xi8>
  %b = "tosa.const"() <{values = dense<1000> : tensor<1xi32>}> : () -> tensor<1xi32>
  %m = "tosa.const"() <{values = dense<[1610612736]> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<39> : tensor<1xi8>}> : () -> tensor<1xi8>
  %izp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %wzp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %azp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %ozp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %acc = tosa.conv2d %arg0, %w, %b, %izp, %wzp {tosa_rescale.input_mean = dense<[[[8.0, 6.0]]]> : tensor<1x1x2xf32>, tosa_rescale.input_moment = dense<[[80.0, 60.0], [60.0, 50.0]]> : tensor<2x2xf32>, acc_type = i32, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>, dilation = array<i64: 1, 1>} : (tensor<1x1x1x2xi8>, tensor<1x1x1x2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x1x1x1xi32>
  %y = tosa.rescale %acc, %m, %s, %azp, %ozp {input_unsigned = false, output_unsigned = false, per_channel = true, rounding_mode = DOUBLE_ROUND, scale32 = true} : (tensor<1x1x1x1xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x1x1x1xi8>
  return %y : tensor<1x1x1x1xi8>
}

// -----

// Channel 0 has weights 99 and -50 and the metric of @mean_only_of_two_signs: 74, -38, bias 75 + 2 - 2 (to nearest: 74, -37, bias 75 + 4).
// d'Hd = 0.25 * 42 + 0.5 * 36 = 28.5 to nearest, less the mean 2 * 4 * 4 - 4^2 = 16: 12.5. After the step 0.25 * 10 + 0.5 * 20 = 12.5, mean 0. No
// worse, so the step stays. Channel 1: 0.75 and 94.5, nearest 1 and 95, d = (-0.25, -0.5), sum -0.75. Its moments are 0, so the prior
// decides: 0.5 + 0.75 > 1, a step down: 94. Its means are 0, so the bias is 75.
// CHECK-LABEL: func.func @depthwise
// MEASURED-DAG: dense<{{\[\[\[\[}}74], [1]], {{\[\[}}-38], [94]]]]> : tensor<1x2x2x1xi8>
// MEASURED-DAG: dense<75> : tensor<2xi32>
// CHECK:       tosa.depthwise_conv2d
func.func @depthwise(%arg0: tensor<1x1x2x2xi8>) -> tensor<1x1x1x2xi8> {
  %w = "tosa.const"() <{values = dense<[[[[99], [1]], [[-50], [126]]]]> : tensor<1x2x2x1xi8>}> : () -> tensor<1x2x2x1xi8>
  %b = "tosa.const"() <{values = dense<100> : tensor<1xi32>}> : () -> tensor<1xi32>
  %m = "tosa.const"() <{values = dense<1610612736> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<39> : tensor<1xi8>}> : () -> tensor<1xi8>
  %izp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %wzp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %azp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %ozp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %acc = tosa.depthwise_conv2d %arg0, %w, %b, %izp, %wzp {tosa_rescale.input_mean = dense<[[[8.0, 0.0], [-4.0, 0.0]]]> : tensor<1x2x2xf32>, tosa_rescale.input_moment = dense<[[[104.0, -32.0], [-32.0, 56.0]], [[0.0, 0.0], [0.0, 0.0]]]> : tensor<2x2x2xf32>, acc_type = i32, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>, dilation = array<i64: 1, 1>} : (tensor<1x1x2x2xi8>, tensor<1x2x2x1xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x1x1x2xi32>
  %y = tosa.rescale %acc, %m, %s, %azp, %ozp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = DOUBLE_ROUND, scale32 = true} : (tensor<1x1x1x2xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x1x1x2xi8>
  return %y : tensor<1x1x1x2xi8>
}

// -----

// Moments as squares and a factor: E[xx'] = ((80, 8 * 7), (8 * 7, 50)). d = (0.25, 0.25) to nearest, Hd = (34, 26.5), 2 * 26.5 > 50: a step up,
// d = (0.25, -0.75), Hd = (-22, -23.5) ends it. Errors 15.125 and 12.125 with biases 751 and 750 as for @moment, times 2^-16.
// CHECK-LABEL: func.func @factors
// MEASURED-DAG: dense<{{\[\[\[\[}}74, -36]]]]> : tensor<1x1x1x2xi8>
// MEASURED-DAG: dense<750> : tensor<1xi32>
// CHECK:       tosa.conv2d
// CHECK-NOT:   tosa_rescale.input
// MEASURED:    tosa_rescale.compensated = {error = 1.850128173828125E-4 : f64, error_nearest = 2.307891845703125E-4 : f64,
func.func @factors(%arg0: tensor<1x1x1x2xi8>) -> tensor<1x1x1x1xi8> {
  %w = "tosa.const"() <{values = dense<[[[[99, -49]]]]> : tensor<1x1x1x2xi8>}> : () -> tensor<1x1x1x2xi8>
  %b = "tosa.const"() <{values = dense<1000> : tensor<1xi32>}> : () -> tensor<1xi32>
  %m = "tosa.const"() <{values = dense<[1610612736]> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<39> : tensor<1xi8>}> : () -> tensor<1xi8>
  %izp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %wzp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %azp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %ozp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %acc = tosa.conv2d %arg0, %w, %b, %izp, %wzp {tosa_rescale.input_mean = dense<1.0> : tensor<1x1x2xf32>, tosa_rescale.input_square = dense<[[[80.0, 50.0]]]> : tensor<1x1x2xf32>, tosa_rescale.input_factors = dense<[[8.0, 7.0]]> : tensor<1x2xf32>, acc_type = i32, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>, dilation = array<i64: 1, 1>} : (tensor<1x1x1x2xi8>, tensor<1x1x1x2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x1x1x1xi32>
  %y = tosa.rescale %acc, %m, %s, %azp, %ozp {input_unsigned = false, output_unsigned = false, per_channel = true, rounding_mode = DOUBLE_ROUND, scale32 = true} : (tensor<1x1x1x1xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x1x1x1xi8>
  return %y : tensor<1x1x1x1xi8>
}

// -----

// The same through the depth of a conv3d: [KD,KH,KW,IC], and K counts taps of all planes.
// CHECK-LABEL: func.func @conv3d_factors
// MEASURED-DAG: dense<{{\[\[\[\[\[}}74]]], {{\[\[\[}}-36]]]]]> : tensor<1x2x1x1x1xi8>
// MEASURED-DAG: dense<750> : tensor<1xi32>
// CHECK:       tosa.conv3d
// CHECK-NOT:   tosa_rescale.input
// MEASURED:    tosa_rescale.compensated = {error = 1.850128173828125E-4 : f64, error_nearest = 2.307891845703125E-4 : f64,
func.func @conv3d_factors(%arg0: tensor<1x2x1x1x1xi8>) -> tensor<1x1x1x1x1xi8> {
  %w = "tosa.const"() <{values = dense<[[[[[99]]], [[[-49]]]]]> : tensor<1x2x1x1x1xi8>}> : () -> tensor<1x2x1x1x1xi8>
  %b = "tosa.const"() <{values = dense<1000> : tensor<1xi32>}> : () -> tensor<1xi32>
  %m = "tosa.const"() <{values = dense<[1610612736]> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<39> : tensor<1xi8>}> : () -> tensor<1xi8>
  %izp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %wzp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %azp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %ozp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %acc = tosa.conv3d %arg0, %w, %b, %izp, %wzp {tosa_rescale.input_mean = dense<1.0> : tensor<2x1x1x1xf32>, tosa_rescale.input_square = dense<[[[[80.0]]], [[[50.0]]]]> : tensor<2x1x1x1xf32>, tosa_rescale.input_factors = dense<[[8.0, 7.0]]> : tensor<1x2xf32>, acc_type = i32, pad = array<i64: 0, 0, 0, 0, 0, 0>, stride = array<i64: 1, 1, 1>, dilation = array<i64: 1, 1, 1>} : (tensor<1x2x1x1x1xi8>, tensor<1x2x1x1x1xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x1x1x1x1xi32>
  %y = tosa.rescale %acc, %m, %s, %azp, %ozp {input_unsigned = false, output_unsigned = false, per_channel = true, rounding_mode = DOUBLE_ROUND, scale32 = true} : (tensor<1x1x1x1x1xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x1x1x1x1xi8>
  return %y : tensor<1x1x1x1x1xi8>
}

// -----

// The same moments as in @depthwise, as squares and a factor for each channel.
// CHECK-LABEL: func.func @depthwise_factors
// MEASURED-DAG: dense<{{\[\[\[\[}}74], [1]], {{\[\[}}-38], [94]]]]> : tensor<1x2x2x1xi8>
// MEASURED-DAG: dense<75> : tensor<2xi32>
// CHECK:       tosa.depthwise_conv2d
func.func @depthwise_factors(%arg0: tensor<1x1x2x2xi8>) -> tensor<1x1x1x2xi8> {
  %w = "tosa.const"() <{values = dense<[[[[99], [1]], [[-50], [126]]]]> : tensor<1x2x2x1xi8>}> : () -> tensor<1x2x2x1xi8>
  %b = "tosa.const"() <{values = dense<100> : tensor<1xi32>}> : () -> tensor<1xi32>
  %m = "tosa.const"() <{values = dense<1610612736> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<39> : tensor<1xi8>}> : () -> tensor<1xi8>
  %izp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %wzp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %azp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %ozp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %acc = tosa.depthwise_conv2d %arg0, %w, %b, %izp, %wzp {tosa_rescale.input_mean = dense<[[[8.0, 0.0], [-4.0, 0.0]]]> : tensor<1x2x2xf32>, tosa_rescale.input_square = dense<[[[104.0, 0.0], [56.0, 0.0]]]> : tensor<1x2x2xf32>, tosa_rescale.input_factors = dense<[[[8.0, -4.0]], [[0.0, 0.0]]]> : tensor<2x1x2xf32>, acc_type = i32, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>, dilation = array<i64: 1, 1>} : (tensor<1x1x2x2xi8>, tensor<1x2x2x1xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x1x1x2xi32>
  %y = tosa.rescale %acc, %m, %s, %azp, %ozp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = DOUBLE_ROUND, scale32 = true} : (tensor<1x1x1x2xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x1x1x2xi8>
  return %y : tensor<1x1x1x2xi8>
}
