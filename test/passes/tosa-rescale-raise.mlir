// What is a rescale, with and without the attribute, and what is none.
//
// RUN: tosa-rescale-opt %s --tosa-rescale-raise | FileCheck %s
// RUN: tosa-rescale-opt %s --tosa-rescale-verify="bits=1 scope=all" --split-input-file --verify-diagnostics

// Constants may stand on either side, and the limits in either order.
// CHECK-LABEL: func.func @other_order
// CHECK: [[M:%.+]] = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}>
// CHECK: [[S:%.+]] = "tosa.const"() <{values = dense<39> : tensor<1xi8>}>
// CHECK: tosa.rescale %arg0, [[M]], [[S]], {{.*}}rounding_mode = SINGLE_ROUND, scale32 = true, tosa_rescale.lowered
// CHECK-NEXT: return
func.func @other_order(%x: tensor<4xi32>) -> tensor<4xi8> {
  %nine = "tosa.const"() <{values = dense<9> : tensor<1xi32>}> : () -> tensor<1xi32>
  %zp = "tosa.const"() <{values = dense<7> : tensor<1xi32>}> : () -> tensor<1xi32>
  %low = "tosa.const"() <{values = dense<-128> : tensor<1xi32>}> : () -> tensor<1xi32>
  %high = "tosa.const"() <{values = dense<127> : tensor<1xi32>}> : () -> tensor<1xi32>
  %0 = tosa.arithmetic_right_shift %x, %nine {round = true} : (tensor<4xi32>, tensor<1xi32>) -> tensor<4xi32>
  %1 = tosa.add %zp, %0 : (tensor<1xi32>, tensor<4xi32>) -> tensor<4xi32>
  %2 = tosa.minimum %high, %1 : (tensor<1xi32>, tensor<4xi32>) -> tensor<4xi32>
  %3 = tosa.maximum %2, %low : (tensor<4xi32>, tensor<1xi32>) -> tensor<4xi32>
  %y = tosa.cast %3 : (tensor<4xi32>) -> tensor<4xi8>
  return %y : tensor<4xi8>
}

// A shift between two i32 is one of the network, unless it says otherwise; and so are limits of no type, and a shift that rounds down.
// CHECK-LABEL: func.func @of_the_network
// CHECK-NOT: tosa.rescale
// CHECK: return
func.func @of_the_network(%x: tensor<4xi32>) -> (tensor<4xi32>, tensor<4xi8>, tensor<4xi8>) {
  %nine = "tosa.const"() <{values = dense<9> : tensor<1xi32>}> : () -> tensor<1xi32>
  %low = "tosa.const"() <{values = dense<-128> : tensor<1xi32>}> : () -> tensor<1xi32>
  %six = "tosa.const"() <{values = dense<6> : tensor<1xi32>}> : () -> tensor<1xi32>
  %high = "tosa.const"() <{values = dense<127> : tensor<1xi32>}> : () -> tensor<1xi32>
  %0 = tosa.arithmetic_right_shift %x, %nine {round = true} : (tensor<4xi32>, tensor<1xi32>) -> tensor<4xi32>
  %1 = tosa.maximum %0, %low : (tensor<4xi32>, tensor<1xi32>) -> tensor<4xi32>
  %2 = tosa.minimum %1, %six : (tensor<4xi32>, tensor<1xi32>) -> tensor<4xi32>
  %y = tosa.cast %2 : (tensor<4xi32>) -> tensor<4xi8>
  %3 = tosa.arithmetic_right_shift %x, %nine {round = false} : (tensor<4xi32>, tensor<1xi32>) -> tensor<4xi32>
  %4 = tosa.maximum %3, %low : (tensor<4xi32>, tensor<1xi32>) -> tensor<4xi32>
  %5 = tosa.minimum %4, %high : (tensor<4xi32>, tensor<1xi32>) -> tensor<4xi32>
  %z = tosa.cast %5 : (tensor<4xi32>) -> tensor<4xi8>
  return %0, %y, %z : tensor<4xi32>, tensor<4xi8>, tensor<4xi8>
}

// CHECK-LABEL: func.func @marked
// CHECK: tosa.rescale
func.func @marked(%x: tensor<4xi32>) -> tensor<4xi32> {
  %nine = "tosa.const"() <{values = dense<9> : tensor<1xi32>}> : () -> tensor<1xi32>
  %0 = tosa.arithmetic_right_shift %x, %nine {round = true, tosa_rescale.lowered} : (tensor<4xi32>, tensor<1xi32>) -> tensor<4xi32>
  return %0 : tensor<4xi32>
}

// The product of the network with a constant stays one beside a shift that is marked.
// CHECK-LABEL: func.func @product_of_the_network
// CHECK: [[P:%.+]] = tosa.mul
// CHECK: tosa.rescale [[P]]
func.func @product_of_the_network(%x: tensor<4xi8>) -> tensor<4xi8> {
  %gamma = "tosa.const"() <{values = dense<[1, 5, 7, 3]> : tensor<4xi32>}> : () -> tensor<4xi32>
  %none = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %nine = "tosa.const"() <{values = dense<9> : tensor<1xi32>}> : () -> tensor<1xi32>
  %low = "tosa.const"() <{values = dense<-128> : tensor<1xi32>}> : () -> tensor<1xi32>
  %high = "tosa.const"() <{values = dense<127> : tensor<1xi32>}> : () -> tensor<1xi32>
  %wide = tosa.cast %x : (tensor<4xi8>) -> tensor<4xi32>
  %p = tosa.mul %wide, %gamma, %none : (tensor<4xi32>, tensor<4xi32>, tensor<1xi8>) -> tensor<4xi32>
  %0 = tosa.arithmetic_right_shift %p, %nine {round = true, tosa_rescale.lowered} : (tensor<4xi32>, tensor<1xi32>) -> tensor<4xi32>
  %1 = tosa.maximum %0, %low : (tensor<4xi32>, tensor<1xi32>) -> tensor<4xi32>
  %2 = tosa.minimum %1, %high : (tensor<4xi32>, tensor<1xi32>) -> tensor<4xi32>
  %y = tosa.cast %2 : (tensor<4xi32>) -> tensor<4xi8>
  return %y : tensor<4xi8>
}

// A lowered rescale of more bits is held to the width, too.
func.func @too_wide(%x: tensor<4xi8>) -> tensor<4xi32> {
  %five = "tosa.const"() <{values = dense<5> : tensor<1xi32>}> : () -> tensor<1xi32>
  %none = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %nine = "tosa.const"() <{values = dense<9> : tensor<1xi32>}> : () -> tensor<1xi32>
  %wide = tosa.cast %x : (tensor<4xi8>) -> tensor<4xi32>
  %p = tosa.mul %wide, %five, %none {tosa_rescale.lowered} : (tensor<4xi32>, tensor<1xi32>, tensor<1xi8>) -> tensor<4xi32>
  // expected-error@+1 {{requires a multiplier of at most 1 significant bit, got 3 (1342177280)}}
  %0 = tosa.arithmetic_right_shift %p, %nine {round = true, tosa_rescale.lowered} : (tensor<4xi32>, tensor<1xi32>) -> tensor<4xi32>
  return %0 : tensor<4xi32>
}
