// What each option makes of the same multipliers. Three channels, each with a 31-bit multiplier m:
//
//   m           m / 2^27 (4 bits stay)   m / 2^26 (5 bits stay)
//   1409286145  10.5 and a little        21 and a little
//   1355000000  10.10                    20.19
//   2147483647  a little below 16        a little below 32
//
// RUN: tosa-rescale-opt %s --tosa-rescale-narrow="bits=4 scope=all" | FileCheck %s --check-prefixes=CHECK,NEAREST
// RUN: tosa-rescale-opt %s --tosa-rescale-narrow="bits=4 scope=all multiplier-rounding=up" | FileCheck %s --check-prefixes=CHECK,UP
// RUN: tosa-rescale-opt %s --tosa-rescale-narrow="bits=4 scope=all multiplier-rounding=truncate" | FileCheck %s --check-prefixes=CHECK,TRUNCATE
// RUN: tosa-rescale-opt %s --tosa-rescale-narrow="bits=4 scope=all hidden-bit" | FileCheck %s --check-prefixes=CHECK,HIDDEN
// RUN: tosa-rescale-opt %s --tosa-rescale-narrow="bits=4 scope=all preset=paper" | FileCheck %s --check-prefixes=CHECK,PAPER
// RUN: tosa-rescale-opt %s --tosa-rescale-narrow="bits=4 scope=all preset=paper multiplier-rounding=up rounding-mode=double" | FileCheck %s --check-prefixes=CHECK,PAPER
// RUN: tosa-rescale-opt %s --tosa-rescale-narrow="bits=4 scope=all encoding=scale16" | FileCheck %s --check-prefixes=CHECK,SCALE16
// RUN: tosa-rescale-opt %s --tosa-rescale-narrow="bits=1 scope=all" | FileCheck %s --check-prefixes=CHECK,ONE
// RUN: tosa-rescale-opt %s --tosa-rescale-narrow="bits=31 scope=all" | FileCheck %s --check-prefixes=CHECK,FULL
// RUN: tosa-rescale-opt %s --tosa-rescale-narrow="bits=31 scope=all hidden-bit" | FileCheck %s --check-prefixes=CHECK,FULL
// RUN: tosa-rescale-opt %s --tosa-rescale-narrow="bits=31 scope=all elementwise-bits=4" | FileCheck %s --check-prefixes=CHECK,NEAREST
// RUN: tosa-rescale-opt %s --tosa-rescale-narrow="bits=4" | FileCheck %s --check-prefix=UNTOUCHED

// CHECK-LABEL: func.func @per_channel

// 10.5 and a little is 11, 11 * 2^27 = 1476395008; 10 * 2^27 = 1342177280; 16 has five bits: 8, one shift less, 8 * 2^27 = 2^30.
// NEAREST-DAG:   %[[M:.*]] = "tosa.const"() <{values = dense<[1476395008, 1342177280, 1073741824]> : tensor<3xi32>}>
// NEAREST-DAG:   %[[S:.*]] = "tosa.const"() <{values = dense<[40, 39, 37]> : tensor<3xi8>}>

// 11, 11, 16.
// UP-DAG:        %[[M:.*]] = "tosa.const"() <{values = dense<[1476395008, 1476395008, 1073741824]> : tensor<3xi32>}>
// UP-DAG:        %[[S:.*]] = "tosa.const"() <{values = dense<[40, 39, 37]> : tensor<3xi8>}>

// 10, 10, 15; 15 * 2^27 = 2013265920.
// TRUNCATE-DAG:  %[[M:.*]] = "tosa.const"() <{values = dense<[1342177280, 1342177280, 2013265920]> : tensor<3xi32>}>
// TRUNCATE-DAG:  %[[S:.*]] = "tosa.const"() <{values = dense<[40, 39, 38]> : tensor<3xi8>}>

// Five bits: 21 * 2^26 = 1409286144, 20 * 2^26 = 1342177280, 32 carries.
// HIDDEN-DAG:    %[[M:.*]] = "tosa.const"() <{values = dense<[1409286144, 1342177280, 1073741824]> : tensor<3xi32>}>
// HIDDEN-DAG:    %[[S:.*]] = "tosa.const"() <{values = dense<[40, 39, 37]> : tensor<3xi8>}>

// Five bits, truncated: 21, 20, 31 * 2^26 = 2080374784. The preset overrides what is given beside it.
// PAPER-DAG:     %[[M:.*]] = "tosa.const"() <{values = dense<[1409286144, 1342177280, 2080374784]> : tensor<3xi32>}>
// PAPER-DAG:     %[[S:.*]] = "tosa.const"() <{values = dense<[40, 39, 38]> : tensor<3xi8>}>

// As NEAREST without the 27 bits below: 11, 10, and 8 for the carry.
// SCALE16-DAG:   %[[M:.*]] = "tosa.const"() <{values = dense<[11, 10, 8]> : tensor<3xi16>}>
// SCALE16-DAG:   %[[S:.*]] = "tosa.const"() <{values = dense<[13, 12, 10]> : tensor<3xi8>}>

// m / 2^30 is 1.31, 1.26 and almost 2.
// ONE-DAG:       %[[M:.*]] = "tosa.const"() <{values = dense<1073741824> : tensor<3xi32>}>
// ONE-DAG:       %[[S:.*]] = "tosa.const"() <{values = dense<[40, 39, 37]> : tensor<3xi8>}>

// FULL-DAG:      %[[M:.*]] = "tosa.const"() <{values = dense<[1409286145, 1355000000, 2147483647]> : tensor<3xi32>}>
// FULL-DAG:      %[[S:.*]] = "tosa.const"() <{values = dense<[40, 39, 38]> : tensor<3xi8>}>

// A function argument is not an accumulator.
// UNTOUCHED-DAG: "tosa.const"() <{values = dense<[1409286145, 1355000000, 2147483647]> : tensor<3xi32>}>
// UNTOUCHED:     rounding_mode = DOUBLE_ROUND

// CHECK:       tosa.rescale %{{.*}}, %[[M]], %[[S]], %{{.*}}, %{{.*}} {
// CHECK-SAME:  rounding_mode = SINGLE_ROUND
// SCALE16-SAME: scale32 = false
func.func @per_channel(%arg0: tensor<2x3xi32>) -> tensor<2x3xi8> {
  %m = "tosa.const"() <{values = dense<[1409286145, 1355000000, 2147483647]> : tensor<3xi32>}> : () -> tensor<3xi32>
  %s = "tosa.const"() <{values = dense<[40, 39, 38]> : tensor<3xi8>}> : () -> tensor<3xi8>
  %izp = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %ozp = "tosa.const"() <{values = dense<3> : tensor<1xi8>}> : () -> tensor<1xi8>
  %0 = tosa.rescale %arg0, %m, %s, %izp, %ozp {input_unsigned = false, output_unsigned = false, per_channel = true, rounding_mode = DOUBLE_ROUND, scale32 = true} : (tensor<2x3xi32>, tensor<3xi32>, tensor<3xi8>, tensor<1xi32>, tensor<1xi8>) -> tensor<2x3xi8>
  return %0 : tensor<2x3xi8>
}
