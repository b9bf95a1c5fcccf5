// Two ways lead from the input to a sum, by 1.4 * 1.7 and by 1.2 and what is left of it. With 2 bits each multiplier for itself would best be 1.5 times a power of two on
// one way, and 2.25 would be left over on the other. As powers of two they agree, and so does every multiplier that one bit makes narrow, with more bits.
//
// RUN: tosa-rescale-opt %s --tosa-rescale-align="bits=1 strict" --tosa-rescale-compensate="bits=1" --tosa-rescale-narrow="bits=1 scope=all" --tosa-rescale-verify="bits=1 scope=all" -o %t
// RUN: tosa-rescale-opt %s --tosa-rescale-align="bits=2 strict" --tosa-rescale-compensate="bits=2" --tosa-rescale-narrow="bits=2 scope=all" --tosa-rescale-verify="bits=2 scope=all" -o %t
// RUN: tosa-rescale-opt %s --tosa-rescale-align="bits=3 strict" --tosa-rescale-compensate="bits=3" --tosa-rescale-narrow="bits=3 scope=all" --tosa-rescale-verify="bits=3 scope=all" -o %t
//
// What hangs on to the sum has no part in it, and keeps its second bit: its scale is 1.11 times what it was, two thirds of the 1.67 that one bit asks for.
// RUN: tosa-rescale-opt %s --tosa-rescale-align="bits=1" | FileCheck %s --check-prefix=ONE
// RUN: tosa-rescale-opt %s --tosa-rescale-align="bits=2" | FileCheck %s
// CHECK:       tosa.add
// CHECK-NEXT:  tosa.rescale {{.*}}tosa_rescale.scale_factor = 1.11
// ONE:         tosa.add
// ONE-NEXT:    tosa.rescale {{.*}}tosa_rescale.scale_factor = 1.66
// CHECK:       return
func.func @circle(%arg0: tensor<1x4x1x2xi8>) -> tensor<1x4x1x2xi8> {
  %zp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zero = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %m_a = "tosa.const"() <{values = dense<1503238554> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s_a = "tosa.const"() <{values = dense<32> : tensor<1xi8>}> : () -> tensor<1xi8>
  %m_b = "tosa.const"() <{values = dense<1288490189> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s_b = "tosa.const"() <{values = dense<32> : tensor<1xi8>}> : () -> tensor<1xi8>
  %m_a32 = "tosa.const"() <{values = dense<1825361101> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s_a32 = "tosa.const"() <{values = dense<20> : tensor<1xi8>}> : () -> tensor<1xi8>
  %m_b32 = "tosa.const"() <{values = dense<2129587951> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s_b32 = "tosa.const"() <{values = dense<20> : tensor<1xi8>}> : () -> tensor<1xi8>
  %m_c = "tosa.const"() <{values = dense<1503238554> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s_c = "tosa.const"() <{values = dense<42> : tensor<1xi8>}> : () -> tensor<1xi8>
  %m_d = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s_d = "tosa.const"() <{values = dense<38> : tensor<1xi8>}> : () -> tensor<1xi8>
  %w = "tosa.const"() <{values = dense<[[[[100, -60]]], [[[20, 30]]]]> : tensor<2x1x1x2xi8>}> : () -> tensor<2x1x1x2xi8>
  %bias = "tosa.const"() <{values = dense<[1000, -400]> : tensor<2xi32>}> : () -> tensor<2xi32>
  %a = tosa.rescale %arg0, %m_a, %s_a, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x4x1x2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x4x1x2xi8>
  %b = tosa.rescale %arg0, %m_b, %s_b, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x4x1x2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x4x1x2xi8>
  %a32 = tosa.rescale %a, %m_a32, %s_a32, %zp, %zero {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x4x1x2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x4x1x2xi32>
  %b32 = tosa.rescale %b, %m_b32, %s_b32, %zp, %zero {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x4x1x2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x4x1x2xi32>
  %sum = tosa.add %a32, %b32 : (tensor<1x4x1x2xi32>, tensor<1x4x1x2xi32>) -> tensor<1x4x1x2xi32>
  %c = tosa.rescale %sum, %m_c, %s_c, %zero, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x4x1x2xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x4x1x2xi8>
  %acc = tosa.conv2d %c, %w, %bias, %zp, %zp {acc_type = i32, dilation = array<i64: 1, 1>, pad = array<i64: 0, 0, 0, 0>, stride = array<i64: 1, 1>} : (tensor<1x4x1x2xi8>, tensor<2x1x1x2xi8>, tensor<2xi32>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x4x1x2xi32>
  %d = tosa.rescale %acc, %m_d, %s_d, %zero, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x4x1x2xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x4x1x2xi8>
  return %d : tensor<1x4x1x2xi8>
}
