// RUN: tosa-rescale-opt %s --tosa-rescale-static-batch --split-input-file | FileCheck %s --check-prefixes=CHECK,ONE --implicit-check-not="?"
// RUN: tosa-rescale-opt %s --tosa-rescale-static-batch="batch=3" --split-input-file | FileCheck %s --check-prefixes=CHECK,THREE --implicit-check-not="?"

// The first dimension follows through every operation, -1 of a reshape and a slice included. Both take their shape from one constant, where it means
// the batch in one and five times as much in the other.
// ONE:         func.func @shapes(%{{.*}}: tensor<1x10x2xi8>) -> (tensor<5x4xi8>, tensor<1x4xi8>, tensor<1x10x2xi32>)
// THREE:       func.func @shapes(%{{.*}}: tensor<3x10x2xi8>) -> (tensor<15x4xi8>, tensor<3x4xi8>, tensor<3x10x2xi32>)
// ONE-DAG:     tosa.const_shape {{.*}}dense<[5, 4]>
// ONE-DAG:     tosa.const_shape {{.*}}dense<[1, 4]>
// THREE-DAG:   tosa.const_shape {{.*}}dense<[15, 4]>
// THREE-DAG:   tosa.const_shape {{.*}}dense<[3, 4]>
// CHECK-NOT:   -1
// CHECK:       return
func.func @shapes(%arg0: tensor<?x10x2xi8>) -> (tensor<?x4xi8>, tensor<?x4xi8>, tensor<?x10x2xi32>) {
  %split = tosa.const_shape {values = dense<[-1, 4]> : tensor<2xindex>} : () -> !tosa.shape<2>
  %flat = tosa.const_shape {values = dense<[-1, 20]> : tensor<2xindex>} : () -> !tosa.shape<2>
  %start = tosa.const_shape {values = dense<[0, 2]> : tensor<2xindex>} : () -> !tosa.shape<2>
  %0 = tosa.reshape %arg0, %split : (tensor<?x10x2xi8>, !tosa.shape<2>) -> tensor<?x4xi8>
  %1 = tosa.reshape %arg0, %flat : (tensor<?x10x2xi8>, !tosa.shape<2>) -> tensor<?x20xi8>
  %2 = tosa.slice %1, %start, %split : (tensor<?x20xi8>, !tosa.shape<2>, !tosa.shape<2>) -> tensor<?x4xi8>
  %3 = tosa.cast %arg0 : (tensor<?x10x2xi8>) -> tensor<?x10x2xi32>
  return %0, %2, %3 : tensor<?x4xi8>, tensor<?x4xi8>, tensor<?x10x2xi32>
}

// -----

// A static batch stays what it is.
// CHECK-LABEL: func.func @static
// CHECK-SAME:  tensor<7x2xi8>
func.func @static(%arg0: tensor<7x2xi8>) -> tensor<7x2xi8> {
  %0 = tosa.clamp %arg0 {min_val = 0 : i8, max_val = 5 : i8} : (tensor<7x2xi8>) -> tensor<7x2xi8>
  return %0 : tensor<7x2xi8>
}
