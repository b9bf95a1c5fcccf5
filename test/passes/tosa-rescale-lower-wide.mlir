// Accumulators of i48. Where the range fits i32 a rescale of factor 1 makes them i32; raised, both are one rescale again.
//
// RUN: tosa-rescale-opt %s --tosa-rescale-lower="wide-inputs" --verify-diagnostics | FileCheck %s
// RUN: tosa-rescale-opt %s --tosa-rescale-lower="wide-inputs" 2>/dev/null | tosa-rescale-opt - --tosa-rescale-raise | FileCheck %s --check-prefix=RAISED

// CHECK-LABEL: func.func @fits
// CHECK: [[ACC:%.+]] = tosa.conv2d
// CHECK: [[ONE:%.+]] = "tosa.const"() <{values = dense<4> : tensor<1xi16>}>
// CHECK: [[TWO:%.+]] = "tosa.const"() <{values = dense<2> : tensor<1xi8>}>
// CHECK: [[NARROW:%.+]] = tosa.rescale [[ACC]], [[ONE]], [[TWO]], {{.*}}scale32 = false{{.*}} -> tensor<1x2x2x1xi32>
// CHECK: tosa.arithmetic_right_shift [[NARROW]]
// CHECK: tosa.cast {{.*}} -> tensor<1x2x2x1xi16>
// RAISED-LABEL: func.func @fits
// RAISED: [[ACC:%.+]] = tosa.conv2d
// RAISED: [[M:%.+]] = "tosa.const"() <{values = dense<1> : tensor<1xi16>}>
// RAISED: [[S:%.+]] = "tosa.const"() <{values = dense<9> : tensor<1xi8>}>
// RAISED: tosa.rescale [[ACC]], [[M]], [[S]], {{.*}}scale32 = false{{.*}}(tensor<1x2x2x1xi48>
// RAISED-NEXT: return
func.func @fits(%x: tensor<1x2x2x2xi16>) -> tensor<1x2x2x1xi16> {
  %w = "tosa.const"() <{values = dense<3> : tensor<1x1x1x2xi8>}> : () -> tensor<1x1x1x2xi8>
  %b = "tosa.const"() <{values = dense<100> : tensor<1xi48>}> : () -> tensor<1xi48>
  %none16 = "tosa.const"() <{values = dense<0> : tensor<1xi16>}> : () -> tensor<1xi16>
  %none8 = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %none48 = "tosa.const"() <{values = dense<0> : tensor<1xi48>}> : () -> tensor<1xi48>
  %m = "tosa.const"() <{values = dense<16384> : tensor<1xi16>}> : () -> tensor<1xi16>
  %s = "tosa.const"() <{values = dense<23> : tensor<1xi8>}> : () -> tensor<1xi8>
  %acc = tosa.conv2d %x, %w, %b, %none16, %none8 {acc_type = i48, dilation = array<i64: 1, 1>, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>} : (tensor<1x2x2x2xi16>, tensor<1x1x1x2xi8>, tensor<1xi48>, tensor<1xi16>, tensor<1xi8>) -> tensor<1x2x2x1xi48>
  %y = tosa.rescale %acc, %m, %s, %none48, %none16 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = false} : (tensor<1x2x2x1xi48>, tensor<1xi16>, tensor<1xi8>, tensor<1xi48>, tensor<1xi16>) -> tensor<1x2x2x1xi16>
  return %y : tensor<1x2x2x1xi16>
}

// CHECK-LABEL: func.func @too_large
// CHECK-NOT: arithmetic_right_shift
func.func @too_large(%x: tensor<1x2x2x2xi16>) -> tensor<1x2x2x1xi16> {
  %w = "tosa.const"() <{values = dense<3> : tensor<1x1x1x2xi8>}> : () -> tensor<1x1x1x2xi8>
  %b = "tosa.const"() <{values = dense<4000000000> : tensor<1xi48>}> : () -> tensor<1xi48>
  %none16 = "tosa.const"() <{values = dense<0> : tensor<1xi16>}> : () -> tensor<1xi16>
  %none8 = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %none48 = "tosa.const"() <{values = dense<0> : tensor<1xi48>}> : () -> tensor<1xi48>
  %m = "tosa.const"() <{values = dense<16384> : tensor<1xi16>}> : () -> tensor<1xi16>
  %s = "tosa.const"() <{values = dense<23> : tensor<1xi8>}> : () -> tensor<1xi8>
  %acc = tosa.conv2d %x, %w, %b, %none16, %none8 {acc_type = i48, dilation = array<i64: 1, 1>, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>} : (tensor<1x2x2x2xi16>, tensor<1x1x1x2xi8>, tensor<1xi48>, tensor<1xi16>, tensor<1xi8>) -> tensor<1x2x2x1xi48>
  // expected-remark@+1 {{stays a rescale: requires a value that fits i32, got 3999803392 to 4000196602}}
  %y = tosa.rescale %acc, %m, %s, %none48, %none16 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = false} : (tensor<1x2x2x1xi48>, tensor<1xi16>, tensor<1xi8>, tensor<1xi48>, tensor<1xi16>) -> tensor<1x2x2x1xi16>
  return %y : tensor<1x2x2x1xi16>
}
