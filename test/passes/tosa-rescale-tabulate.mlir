// RUN: tosa-rescale-opt %s --tosa-rescale-tabulate="bits=1" --split-input-file | FileCheck %s
// RUN: tosa-rescale-opt %s --tosa-rescale-tabulate="bits=1" --tosa-rescale-tabulate="bits=1" --split-input-file | FileCheck %s
// RUN: tosa-rescale-opt %s --tosa-rescale-tabulate="bits=1" --split-input-file -o /dev/null 2>&1 | FileCheck %s --check-prefix=REMARK
// RUN: tosa-rescale-opt %s --tosa-rescale-tabulate="bits=31" --split-input-file | FileCheck %s --check-prefix=NARROW
// RUN: not tosa-rescale-opt %s --tosa-rescale-tabulate 2>&1 | FileCheck %s --check-prefix=BITS
// BITS: error: tosa-rescale-tabulate requires option 'bits' from 1 to 31, got 0
// With 31 bits no multiplier is wide.
// NARROW-NOT: tabulated

// A leaky ReLU of slope 0.2 about a zero point of 3: -128 becomes 3 + round(-131 / 5) = -23, and 127 stays.
// CHECK-LABEL: func.func @leaky
// CHECK:       %[[T:.*]] = "tosa.const"() <{values = dense<"0x{{E9.*}}7F"> : tensor<256xi8>}>
// CHECK-NEXT:  %[[Y:.*]] = tosa.table %arg0, %[[T]] {tosa_rescale.tabulated = 1 : i64}
// CHECK-NEXT:  return %[[Y]]
// REMARK: remark: {{.*}}is a table of 256 entries in the place of 3 rescales
func.func @leaky(%arg0: tensor<1x8xi8>) -> tensor<1x8xi8> {
  %one = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %slope = "tosa.const"() <{values = dense<1717986918> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s30 = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %s33 = "tosa.const"() <{values = dense<33> : tensor<1xi8>}> : () -> tensor<1xi8>
  %z8 = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  %z32 = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %kept = tosa.rescale %arg0, %one, %s30, %z8, %z32 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x8xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x8xi32>
  %small = tosa.rescale %arg0, %slope, %s33, %z8, %z32 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x8xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x8xi32>
  %larger = tosa.maximum %kept, %small : (tensor<1x8xi32>, tensor<1x8xi32>) -> tensor<1x8xi32>
  %y = tosa.rescale %larger, %one, %s30, %z32, %z8 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x8xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x8xi8>
  return %y : tensor<1x8xi8>
}

// -----

// One rescale between two scales of i8. Its factor stays.
// CHECK-LABEL: func.func @alone
// CHECK-NOT:   tosa.rescale
// CHECK:       tosa.table %arg0, %{{.*}} {tosa_rescale.scale_factor = 1.250000e+00 : f64, tosa_rescale.tabulated = 1 : i64}
func.func @alone(%arg0: tensor<1x8xi8>) -> tensor<1x8xi8> {
  %one = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %slope = "tosa.const"() <{values = dense<1717986918> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s30 = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %s33 = "tosa.const"() <{values = dense<33> : tensor<1xi8>}> : () -> tensor<1xi8>
  %z8 = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  %z32 = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %y = tosa.rescale %arg0, %slope, %s33, %z8, %z8 {tosa_rescale.scale_factor = 1.25 : f64, input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x8xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x8xi8>
  return %y : tensor<1x8xi8>
}

// -----

// A table that nothing else reads becomes part of the new one.
// CHECK-LABEL: func.func @behind_table
// CHECK-COUNT-1: tosa.table %arg0
// CHECK-NOT:   tosa.table
// CHECK-NOT:   tosa.rescale
// CHECK:       return
func.func @behind_table(%arg0: tensor<1x8xi8>, %arg1: tensor<1x8xi8>) -> tensor<1x8xi8> {
  %one = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %slope = "tosa.const"() <{values = dense<1717986918> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s30 = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %s33 = "tosa.const"() <{values = dense<33> : tensor<1xi8>}> : () -> tensor<1xi8>
  %z8 = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  %z32 = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %entries = "tosa.const"() <{values = dense<7> : tensor<256xi8>}> : () -> tensor<256xi8>
  %t = tosa.table %arg0, %entries : (tensor<1x8xi8>, tensor<256xi8>) -> tensor<1x8xi8>
  %y = tosa.rescale %t, %slope, %s33, %z8, %z8 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x8xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x8xi8>
  return %y : tensor<1x8xi8>
}

// -----

// Another operation needs the wide product: it stays, and so does the chain.
// CHECK-LABEL: func.func @shared
// CHECK-NOT:   tosa.table
// CHECK-COUNT-3: tosa.rescale
// CHECK:       return
func.func @shared(%arg0: tensor<1x8xi8>) -> (tensor<1x8xi8>, tensor<1x8xi32>) {
  %one = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %slope = "tosa.const"() <{values = dense<1717986918> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s30 = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %s33 = "tosa.const"() <{values = dense<33> : tensor<1xi8>}> : () -> tensor<1xi8>
  %z8 = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  %z32 = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %kept = tosa.rescale %arg0, %one, %s30, %z8, %z32 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x8xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x8xi32>
  %small = tosa.rescale %arg0, %slope, %s33, %z8, %z32 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x8xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x8xi32>
  %larger = tosa.maximum %kept, %small : (tensor<1x8xi32>, tensor<1x8xi32>) -> tensor<1x8xi32>
  %y = tosa.rescale %larger, %one, %s30, %z32, %z8 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x8xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x8xi8>
  return %y, %small : tensor<1x8xi8>, tensor<1x8xi32>
}

// -----

// Two results of one wide product: both become tables.
// CHECK-LABEL: func.func @two_results
// CHECK-COUNT-2: tosa.table %arg0
// CHECK-NOT:   tosa.rescale
// CHECK:       return
func.func @two_results(%arg0: tensor<1x8xi8>) -> (tensor<1x8xi8>, tensor<1x8xi8>) {
  %one = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %slope = "tosa.const"() <{values = dense<1717986918> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s30 = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %s33 = "tosa.const"() <{values = dense<33> : tensor<1xi8>}> : () -> tensor<1xi8>
  %z8 = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  %z32 = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %kept = tosa.rescale %arg0, %one, %s30, %z8, %z32 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x8xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x8xi32>
  %small = tosa.rescale %arg0, %slope, %s33, %z8, %z32 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x8xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x8xi32>
  %larger = tosa.maximum %kept, %small : (tensor<1x8xi32>, tensor<1x8xi32>) -> tensor<1x8xi32>
  %y = tosa.rescale %larger, %one, %s30, %z32, %z8 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x8xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x8xi8>
  %y2 = tosa.rescale %small, %one, %s30, %z32, %z8 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x8xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x8xi8>
  return %y, %y2 : tensor<1x8xi8>, tensor<1x8xi8>
}

// -----

// Two tensors go in.
// CHECK-LABEL: func.func @two_tensors
// CHECK-NOT:   tosa.table
// CHECK:       return
func.func @two_tensors(%arg0: tensor<1x8xi8>, %arg1: tensor<1x8xi8>) -> tensor<1x8xi8> {
  %one = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %slope = "tosa.const"() <{values = dense<1717986918> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s30 = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %s33 = "tosa.const"() <{values = dense<33> : tensor<1xi8>}> : () -> tensor<1xi8>
  %z8 = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  %z32 = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %kept = tosa.rescale %arg0, %one, %s30, %z8, %z32 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x8xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x8xi32>
  %small = tosa.rescale %arg1, %slope, %s33, %z8, %z32 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x8xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x8xi32>
  %larger = tosa.maximum %kept, %small : (tensor<1x8xi32>, tensor<1x8xi32>) -> tensor<1x8xi32>
  %y = tosa.rescale %larger, %one, %s30, %z32, %z8 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x8xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x8xi8>
  return %y : tensor<1x8xi8>
}

// -----

// A slope for each channel is no function of the value alone.
// CHECK-LABEL: func.func @slopes
// CHECK-NOT:   tosa.table
// CHECK:       return
func.func @slopes(%arg0: tensor<1x2xi8>) -> tensor<1x2xi8> {
  %one = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %slope = "tosa.const"() <{values = dense<1717986918> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s30 = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %s33 = "tosa.const"() <{values = dense<33> : tensor<1xi8>}> : () -> tensor<1xi8>
  %z8 = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  %z32 = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %ms = "tosa.const"() <{values = dense<[1717986918, 1073741824]> : tensor<2xi32>}> : () -> tensor<2xi32>
  %ss = "tosa.const"() <{values = dense<[33, 30]> : tensor<2xi8>}> : () -> tensor<2xi8>
  %y = tosa.rescale %arg0, %ms, %ss, %z8, %z8 {input_unsigned = false, output_unsigned = false, per_channel = true, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x2xi8>, tensor<2xi32>, tensor<2xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x2xi8>
  return %y : tensor<1x2xi8>
}

// -----

// Unsigned values stay, and so do those of 16 bits.
// CHECK-LABEL: func.func @other_types
// CHECK-NOT:   tosa.table
// CHECK:       return
func.func @other_types(%arg0: tensor<1x8xi8>, %arg1: tensor<1x8xi16>) -> (tensor<1x8xi8>, tensor<1x8xi16>) {
  %one = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %slope = "tosa.const"() <{values = dense<1717986918> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s30 = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %s33 = "tosa.const"() <{values = dense<33> : tensor<1xi8>}> : () -> tensor<1xi8>
  %z8 = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  %z32 = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %z16 = "tosa.const"() <{values = dense<0> : tensor<1xi16>}> : () -> tensor<1xi16>
  %y = tosa.rescale %arg0, %slope, %s33, %z8, %z8 {input_unsigned = false, output_unsigned = true, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x8xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x8xi8>
  %w = tosa.rescale %arg1, %slope, %s33, %z16, %z16 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x8xi16>, tensor<1xi32>, tensor<1xi8>, tensor<1xi16>, tensor<1xi16>) -> tensor<1x8xi16>
  return %y, %w : tensor<1x8xi8>, tensor<1x8xi16>
}

// -----

// The shift of 2 takes values below 2 only: what becomes of others is left open.
// CHECK-LABEL: func.func @left_open
// CHECK-NOT:   tosa.table
// CHECK:       return
func.func @left_open(%arg0: tensor<1x8xi8>) -> tensor<1x8xi8> {
  %one = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %slope = "tosa.const"() <{values = dense<1717986918> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s30 = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %s33 = "tosa.const"() <{values = dense<33> : tensor<1xi8>}> : () -> tensor<1xi8>
  %z8 = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  %z32 = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s2 = "tosa.const"() <{values = dense<2> : tensor<1xi8>}> : () -> tensor<1xi8>
  %three = "tosa.const"() <{values = dense<3> : tensor<1xi32>}> : () -> tensor<1xi32>
  %y = tosa.rescale %arg0, %three, %s2, %z8, %z8 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x8xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x8xi8>
  return %y : tensor<1x8xi8>
}
