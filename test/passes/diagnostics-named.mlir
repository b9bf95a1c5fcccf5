// A converted module has names and no lines: every line says which operation it is about, by the name of its source model, or as
// `tosa-rescale info` counts it. With a line of a text, that is where it is.
//
// RUN: not tosa-rescale-opt %s --tosa-rescale-verify="bits=1 scope=all" -o %t 2>&1 | FileCheck %s --implicit-check-not="{{:0:0|<unknown>|loc\(|current operation}}"
// CHECK: {{^}}block/add: error: 'tosa.rescale' op requires a multiplier of at most 1 significant bit, got 2 (3){{$}}
// CHECK: {{^}}rescale1: error: 'tosa.rescale' op requires a multiplier of at most 1 significant bit, got 3 (5){{$}}
// CHECK: diagnostics-named.mlir:[[#@LINE + 10]]:{{.*}}: error: 'tosa.rescale' op requires a multiplier of at most 1 significant bit, got 3 (7)

func.func @named(%arg0: tensor<2xi8>) -> tensor<2xi8> {
  %m3 = "tosa.const"() <{values = dense<3> : tensor<1xi32>}> : () -> tensor<1xi32>
  %m5 = "tosa.const"() <{values = dense<5> : tensor<1xi32>}> : () -> tensor<1xi32>
  %m7 = "tosa.const"() <{values = dense<7> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<9> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zp = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  %0 = tosa.rescale %arg0, %m3, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<2xi8> loc(fused["block/add;block/other"("model.tflite":0:0), unknown])
  %1 = tosa.rescale %0, %m5, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<2xi8> loc(unknown)
  %2 = tosa.rescale %1, %m7, %s, %zp, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<2xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<2xi8>
  return %2 : tensor<2xi8>
}
