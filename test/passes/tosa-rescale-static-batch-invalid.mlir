// RUN: tosa-rescale-opt %s --tosa-rescale-static-batch="batch=3" --split-input-file --verify-diagnostics

// expected-error@+1 {{'func.func' op requires dimension 2 of argument 1 to be static, got 'tensor<?x4x?xi8>'}}
func.func @other_dimension(%arg0: tensor<?x4xi8>, %arg1: tensor<?x4x?xi8>) -> tensor<?x4xi8> {
  return %arg0 : tensor<?x4xi8>
}

// -----

// expected-error@+1 {{'func.func' op requires a ranked argument 0, got 'tensor<*xi8>'}}
func.func @unranked(%arg0: tensor<*xi8>) -> tensor<*xi8> {
  return %arg0 : tensor<*xi8>
}

// -----

// 3 * 5 elements are no multiple of 2.
func.func @shape_does_not_fit(%arg0: tensor<?x5xi8>) -> tensor<?x2xi8> {
  %shape = tosa.const_shape {values = dense<[-1, 2]> : tensor<2xindex>} : () -> !tosa.shape<2>
  // expected-error@+1 {{'tosa.reshape' op requires a shape that fits its input 'tensor<3x5xi8>', got -1 in dimension 0}}
  %0 = tosa.reshape %arg0, %shape : (tensor<?x5xi8>, !tosa.shape<2>) -> tensor<?x2xi8>
  return %0 : tensor<?x2xi8>
}

// -----

// What the batch does not determine stays unknown.
func.func @not_determined(%arg0: tensor<?x5xi8>) -> tensor<?x5xi8> {
  %0 = tosa.clamp %arg0 {min_val = 0 : i8, max_val = 5 : i8} : (tensor<?x5xi8>) -> tensor<?x5xi8>
  // expected-error@+1 {{'func.call' op requires a result whose shape follows from its operands, got 'tensor<?x5xi8>'}}
  %1 = func.call @other(%0) : (tensor<?x5xi8>) -> tensor<?x5xi8>
  return %1 : tensor<?x5xi8>
}
func.func private @other(tensor<?x5xi8>) -> tensor<?x5xi8>
