// What to do about a mean whose multiplier stays wide, as a remark and, with `strict`, as an error.
// RUN: tosa-rescale-opt %s --tosa-rescale-align="bits=1 strict" --split-input-file --verify-diagnostics

func.func @mean(%x: tensor<1x12xi8>) -> tensor<1x1xi8> {
  %zp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zero = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %one = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s30 = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %m = "tosa.const"() <{values = dense<1431655765> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<34> : tensor<1xi8>}> : () -> tensor<1xi8>
  %wide = tosa.rescale %x, %one, %s30, %zp, %zero {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x12xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x12xi32>
  %sum0 = tosa.reduce_sum %wide {axis = 1 : i32} : (tensor<1x12xi32>) -> tensor<1x1xi32>
  // expected-error @below {{requires a multiplier of at most 1 significant bit: the scales that meet here contradict each other; 1 tensor keeps its scale: an output of the graph; 1 tensor keeps its scale: an input of the graph; option 'weighted-means' frees the multiplier of the mean of 12 values among them}}
  %y = tosa.rescale %sum0, %m, %s, %zero, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x1xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x1xi8>
  return %y : tensor<1x1xi8>
}

// -----

// Nor here, where it would not help.
func.func @power(%x: tensor<1x4xi8>) -> tensor<1x1xi8> {
  %zp = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %zero = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %one = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s30 = "tosa.const"() <{values = dense<30> : tensor<1xi8>}> : () -> tensor<1xi8>
  %m = "tosa.const"() <{values = dense<1717986918> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s = "tosa.const"() <{values = dense<33> : tensor<1xi8>}> : () -> tensor<1xi8>
  %wide = tosa.rescale %x, %one, %s30, %zp, %zero {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x4xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi32>) -> tensor<1x4xi32>
  %sum0 = tosa.reduce_sum %wide {axis = 1 : i32} : (tensor<1x4xi32>) -> tensor<1x1xi32>
  // expected-error @below {{requires a multiplier of at most 1 significant bit: the scales that meet here contradict each other; 1 tensor keeps its scale: an output of the graph; 1 tensor keeps its scale: an input of the graph}}
  %y = tosa.rescale %sum0, %m, %s, %zero, %zp {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x1xi32>, tensor<1xi32>, tensor<1xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<1x1xi8>
  return %y : tensor<1x1xi8>
}
