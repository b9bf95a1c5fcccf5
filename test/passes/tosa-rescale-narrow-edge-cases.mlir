// Multipliers and shifts at the ends of what TOSA allows, and the other input types. Four bits, so 27 of 31 are dropped.
//
// RUN: tosa-rescale-opt %s --tosa-rescale-narrow="bits=4 scope=all" --split-input-file | FileCheck %s
// RUN: tosa-rescale-opt %s --tosa-rescale-narrow="bits=4 scope=all encoding=scale16" --split-input-file | FileCheck %s --check-prefix=SCALE16

// A zero stays zero, with its shift.
// CHECK-LABEL: func.func @zero_multiplier
// CHECK-DAG:   dense<0> : tensor<1xi32>
// CHECK-DAG:   dense<40> : tensor<1xi8>
// SCALE16-LABEL: func.func @zero_multiplier
// SCALE16-DAG:   dense<0> : tensor<1xi16>
// SCALE16-DAG:   dense<40> : tensor<1xi8>
func.func @zero_multiplier(%arg0: tensor<2xi8>) -> tensor<2xi8> {
  %m = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<40> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  %0 = tosa.rescale %arg0, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<2xi8>
  return %0 : tensor<2xi8>
}

// -----

// 1355000000 = 10.10 * 2^27. The largest legal shift leaves the multiplier at the top.
// CHECK-LABEL: func.func @largest_shift
// CHECK-DAG:   dense<1342177280> : tensor<1xi32>
// CHECK-DAG:   dense<62> : tensor<1xi8>
// SCALE16-LABEL: func.func @largest_shift
// SCALE16-DAG:   dense<10> : tensor<1xi16>
// SCALE16-DAG:   dense<35> : tensor<1xi8>
func.func @largest_shift(%arg0: tensor<2xi8>) -> tensor<2xi8> {
  %m = "tosa.const"() <{values = dense<1355000000> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<62> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  %0 = tosa.rescale %arg0, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<2xi8>
  return %0 : tensor<2xi8>
}

// -----

// An illegal shift becomes a legal one: 10 * 2^27 * 2^-64 is 10 * 2^25 * 2^-62.
// CHECK-LABEL: func.func @shift_above_62
// CHECK-DAG:   dense<335544320> : tensor<1xi32>
// CHECK-DAG:   dense<62> : tensor<1xi8>
// SCALE16-LABEL: func.func @shift_above_62
// SCALE16-DAG:   dense<10> : tensor<1xi16>
// SCALE16-DAG:   dense<37> : tensor<1xi8>
func.func @shift_above_62(%arg0: tensor<2xi8>) -> tensor<2xi8> {
  %m = "tosa.const"() <{values = dense<1355000000> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<64> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  %0 = tosa.rescale %arg0, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<2xi8>
  return %0 : tensor<2xi8>
}

// -----

// 3 * 2^-65 is 0.375 * 2^-62: nothing is left of it.
// CHECK-LABEL: func.func @underflow
// CHECK-DAG:   dense<0> : tensor<1xi32>
// CHECK-DAG:   dense<62> : tensor<1xi8>
// SCALE16-LABEL: func.func @underflow
// SCALE16-DAG:   dense<0> : tensor<1xi16>
func.func @underflow(%arg0: tensor<2xi8>) -> tensor<2xi8> {
  %m = "tosa.const"() <{values = dense<3> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<65> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  %0 = tosa.rescale %arg0, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<2xi8>
  return %0 : tensor<2xi8>
}

// -----

// Four bits already, but compact: 10 * 2^-17 is moved to the top, where its value range is largest. 10 * 2^27, 17 + 27.
// CHECK-LABEL: func.func @compact
// CHECK-DAG:   dense<1342177280> : tensor<1xi32>
// CHECK-DAG:   dense<44> : tensor<1xi8>
// SCALE16-LABEL: func.func @compact
// SCALE16-DAG:   dense<10> : tensor<1xi16>
// SCALE16-DAG:   dense<17> : tensor<1xi8>
func.func @compact(%arg0: tensor<2xi8>) -> tensor<2xi8> {
  %m = "tosa.const"() <{values = dense<10> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<17> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  %0 = tosa.rescale %arg0, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<2xi8>
  return %0 : tensor<2xi8>
}

// -----

// Four is 8 * 2^-1, but the shift must be 2 at least: 16 * 2^-2.
// CHECK-LABEL: func.func @smallest_shift
// CHECK-DAG:   dense<1073741824> : tensor<1xi32>
// CHECK-DAG:   dense<28> : tensor<1xi8>
// SCALE16-LABEL: func.func @smallest_shift
// SCALE16-DAG:   dense<16> : tensor<1xi16>
// SCALE16-DAG:   dense<2> : tensor<1xi8>
func.func @smallest_shift(%arg0: tensor<2xi8>) -> tensor<2xi8> {
  %m = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<28> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  %0 = tosa.rescale %arg0, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<2xi8>
  return %0 : tensor<2xi8>
}

// -----

// An i48 input forbids scale32. 23170 = 11.3 * 2^11, and 11 * 2^11 = 22528.
// CHECK-LABEL: func.func @i48_input
// CHECK-DAG:   dense<22528> : tensor<1xi16>
// CHECK-DAG:   dense<20> : tensor<1xi8>
// CHECK:       scale32 = false
// SCALE16-LABEL: func.func @i48_input
// SCALE16-DAG:   dense<11> : tensor<1xi16>
// SCALE16-DAG:   dense<9> : tensor<1xi8>
func.func @i48_input(%arg0: tensor<2xi48>) -> tensor<2xi16> {
  %m = "tosa.const"() <{values = dense<23170> : tensor<1xi16>}> : () -> tensor<1xi16>
  %s = "tosa.const"() <{values = dense<20> : tensor<1xi8>}> : () -> tensor<1xi8>
  %izp = "tosa.const"() <{values = dense<0> : tensor<1xi48>}> : () -> tensor<1xi48>
  %ozp = "tosa.const"() <{values = dense<0> : tensor<1xi16>}> : () -> tensor<1xi16>
  %0 = tosa.rescale %arg0, %m, %s, %izp, %ozp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = false} : (tensor<2xi48>, tensor<1xi16>, tensor<1xi8>, tensor<1xi48>, tensor<1xi16>) -> tensor<2xi16>
  return %0 : tensor<2xi16>
}

// -----

// Signs do not touch the multiplier; the attributes stay.
// CHECK-LABEL: func.func @unsigned
// CHECK-DAG:   dense<1342177280> : tensor<1xi32>
// CHECK:       input_unsigned = true, output_unsigned = false
// CHECK:       input_unsigned = false, output_unsigned = true
// SCALE16-LABEL: func.func @unsigned
// SCALE16-DAG:   dense<10> : tensor<1xi16>
// SCALE16:       input_unsigned = true, output_unsigned = false
// SCALE16:       input_unsigned = false, output_unsigned = true
func.func @unsigned(%arg0: tensor<2xui8>) -> tensor<2xui8> {
  %m = "tosa.const"() <{values = dense<1355000000> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<31> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp = "tosa.const"() <{values = dense<-128> : tensor<1xi8>}> : () -> tensor<1xi8>
  %0 = tosa.rescale %arg0, %m, %s, %zp, %zp {input_unsigned = true, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2xui8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<2xi8>
  %1 = tosa.rescale %0, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = true, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<2xui8>
  return %1 : tensor<2xui8>
}

// -----

// The multiplier's constant is also an operand of the add, and the shift's is shared by two rescales: the add keeps the old one.
// CHECK-LABEL: func.func @shared_constants
// CHECK-DAG:   %[[OLD:.*]] = "tosa.const"() <{values = dense<1355000000>
// CHECK-DAG:   dense<1342177280>
// CHECK:       tosa.add %{{.*}}, %[[OLD]]
// CHECK-NOT:   tosa.rescale %{{.*}}, %[[OLD]]
// SCALE16-LABEL: func.func @shared_constants
// SCALE16:       %[[OLD:.*]] = "tosa.const"() <{values = dense<1355000000>
// SCALE16:       tosa.add %{{.*}}, %[[OLD]]
func.func @shared_constants(%arg0: tensor<2xi32>) -> (tensor<2xi32>, tensor<2xi32>) {
  %m = "tosa.const"() <{values = dense<1355000000> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<35> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %sum = tosa.add %arg0, %m : (tensor<2xi32>, tensor<1xi32>) -> tensor<2xi32>
  %0 = tosa.rescale %sum, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi32>) -> tensor<2xi32>
  %1 = tosa.rescale %arg0, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi32>) -> tensor<2xi32>
  return %0, %1 : tensor<2xi32>, tensor<2xi32>
}

// -----

// Two rescales of one pair of constants get a pair each, and the old pair is gone.
// CHECK-LABEL: func.func @no_dead_constants
// CHECK-COUNT-2: dense<1342177280> : tensor<1xi32>
// CHECK-NOT:   dense<1355000000>
// CHECK:       return
// SCALE16-LABEL: func.func @no_dead_constants
// SCALE16-COUNT-2: dense<10> : tensor<1xi16>
// SCALE16-NOT:   dense<1355000000>
func.func @no_dead_constants(%arg0: tensor<2xi32>) -> (tensor<2xi32>, tensor<2xi32>) {
  %m = "tosa.const"() <{values = dense<1355000000> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<35> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %0 = tosa.rescale %arg0, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi32>) -> tensor<2xi32>
  %1 = tosa.rescale %arg0, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi32>) -> tensor<2xi32>
  return %0, %1 : tensor<2xi32>, tensor<2xi32>
}

// -----

// A multiplier that is a reshaped constant is a constant.
// CHECK-LABEL: func.func @reshaped_multiplier
// CHECK-NOT:   tosa.reshape
// CHECK:       dense<1342177280> : tensor<1xi32>
// SCALE16-LABEL: func.func @reshaped_multiplier
// SCALE16:       dense<10> : tensor<1xi16>
func.func @reshaped_multiplier(%arg0: tensor<2xi8>) -> tensor<2xi8> {
  %c = "tosa.const"() <{values = dense<1355000000> : tensor<1x1xi32>}> : () -> tensor<1x1xi32>
  %shape = tosa.const_shape {values = dense<1> : tensor<1xindex>} : () -> !tosa.shape<1>
  %m = tosa.reshape %c, %shape : (tensor<1x1xi32>, !tosa.shape<1>) -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<35> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  %0 = tosa.rescale %arg0, %m, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<2xi8>
  return %0 : tensor<2xi8>
}

// -----

// Other attributes of the operation survive.
// CHECK-LABEL: func.func @attributes
// CHECK:       tosa.rescale {{.*}}example = "kept"
// SCALE16-LABEL: func.func @attributes
// SCALE16:       tosa.rescale {{.*}}example = "kept"
func.func @attributes(%arg0: tensor<2xi8>) -> tensor<2xi8> {
  %m = "tosa.const"() <{values = dense<1355000000> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<35> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  %0 = tosa.rescale %arg0, %m, %s, %zp, %zp {example = "kept", input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<2xi8>
  return %0 : tensor<2xi8>
}
