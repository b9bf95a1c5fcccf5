// A table of 256 entries is interpolated for another scale of its input where a multiplier would stay wide else: if it is monotone, and within table-error. One that is made anew from the scales moves without either.
//
// RUN: tosa-rescale-opt %s --tosa-rescale-align="bits=1" --split-input-file 2>%t.remarks | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t.remarks
// RUN: tosa-rescale-opt %s --tosa-rescale-align="bits=1 table-error=0" --split-input-file -o %t 2>&1 | FileCheck %s --check-prefix=LEFT
// RUN: tosa-rescale-opt %s --tosa-rescale-align="bits=1 litert" --split-input-file -o %t 2>&1 | FileCheck %s --check-prefix=LITERT
// REMARK:      remark: is interpolated for an input at 1.500 times its scale; it differs by 0.00 steps of its entries where entries are left out, and by 1.50 at most
// REMARK:      remark: keeps a multiplier of more than 1 significant bit: {{.*}}read by a table (Abs) that is not monotone
// REMARK:      remark: keeps a multiplier of more than 1 significant bit: {{.*}}read by a table (Step) that cannot be written anew within 'table-error'
// REMARK-NOT:  remark:
// LEFT-COUNT-4: remark: keeps a multiplier of more than 1 significant bit:
// LITERT-COUNT-3: remark: keeps a multiplier of more than 1 significant bit: {{.*}}read by table
// LITERT-NOT:  remark:

// 0.75 becomes 1/2, and the table, of what is 3/2 of it, ends where its entries do.
// CHECK-LABEL: func.func @line
// CHECK:       tosa.rescale %arg0{{.*}}tosa_rescale.scale_factor = 1.5
// CHECK:       %[[T:.*]] = "tosa.const"() <{values = dense<"0x808080{{.*}}80808283858688{{.*}}FBFDFE00020305{{.*}}7D7E7F7F7F{{.*}}7F"> : tensor<256xi8>}>
// CHECK:       tosa.table %{{.*}}, %[[T]]
func.func @line(%arg0: tensor<1x4xi8>) -> tensor<1x4xi8> {
  %m75 = "tosa.const"() <{values = dense<1610612736> : tensor<1xi32>}> : () -> tensor<1xi32>
  %one = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %z8 = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %z32 = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s31 = "tosa.const"() <{values = dense<31> : tensor<1xi8>}> : () -> tensor<1xi8>
  %entries = "tosa.const"() <{values = dense<"0x808182838485868788898A8B8C8D8E8F909192939495969798999A9B9C9D9E9FA0A1A2A3A4A5A6A7A8A9AAABACADAEAFB0B1B2B3B4B5B6B7B8B9BABBBCBDBEBFC0C1C2C3C4C5C6C7C8C9CACBCCCDCECFD0D1D2D3D4D5D6D7D8D9DADBDCDDDEDFE0E1E2E3E4E5E6E7E8E9EAEBECEDEEEFF0F1F2F3F4F5F6F7F8F9FAFBFCFDFEFF000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F202122232425262728292A2B2C2D2E2F303132333435363738393A3B3C3D3E3F404142434445464748494A4B4C4D4E4F505152535455565758595A5B5C5D5E5F606162636465666768696A6B6C6D6E6F707172737475767778797A7B7C7D7E7F"> : tensor<256xi8>}> : () -> tensor<256xi8>
  %x = tosa.rescale %arg0, %m75, %s31, %z8, %z8 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x4xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x4xi8>
  %y = tosa.table %x, %entries : (tensor<1x4xi8>, tensor<256xi8>) -> tensor<1x4xi8>
  return %y : tensor<1x4xi8>
}

// -----

// What is between two entries of opposite directions is not known.
// CHECK-LABEL: func.func @not_monotone
// CHECK-NOT:   scale_factor
func.func @not_monotone(%arg0: tensor<1x4xi8>) -> tensor<1x4xi8> {
  %m75 = "tosa.const"() <{values = dense<1610612736> : tensor<1xi32>}> : () -> tensor<1xi32>
  %one = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %z8 = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %z32 = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s31 = "tosa.const"() <{values = dense<31> : tensor<1xi8>}> : () -> tensor<1xi8>
  %entries = "tosa.const"() <{values = dense<"0x7F7E7D7C7B7A797877767574737271706F6E6D6C6B6A696867666564636261605F5E5D5C5B5A595857565554535251504F4E4D4C4B4A494847464544434241403F3E3D3C3B3A393837363534333231302F2E2D2C2B2A292827262524232221201F1E1D1C1B1A191817161514131211100F0E0D0C0B0A09080706050403020100FF000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F202122232425262728292A2B2C2D2E2F303132333435363738393A3B3C3D3E3F404142434445464748494A4B4C4D4E4F505152535455565758595A5B5C5D5E5F606162636465666768696A6B6C6D6E6F707172737475767778797A7B7C7D7E"> : tensor<256xi8>}> : () -> tensor<256xi8>
  %x = tosa.rescale %arg0, %m75, %s31, %z8, %z8 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x4xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x4xi8>
  %y = tosa.table %x, %entries : (tensor<1x4xi8>, tensor<256xi8>) -> tensor<1x4xi8> loc("Abs")
  return %y : tensor<1x4xi8>
}

// -----

// CHECK-LABEL: func.func @steep
// CHECK-NOT:   scale_factor
func.func @steep(%arg0: tensor<1x4xi8>) -> tensor<1x4xi8> {
  %m75 = "tosa.const"() <{values = dense<1610612736> : tensor<1xi32>}> : () -> tensor<1xi32>
  %one = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %z8 = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %z32 = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s31 = "tosa.const"() <{values = dense<31> : tensor<1xi8>}> : () -> tensor<1xi8>
  %entries = "tosa.const"() <{values = dense<"0x9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C9C6464646464646464646464646464646464646464646464646464646464646464646464646464646464646464646464646464646464646464646464646464646464646464646464646464646464646464646464646464646464646464646464646464646464646464646464646464646464646464646464646464646464646464"> : tensor<256xi8>}> : () -> tensor<256xi8>
  %x = tosa.rescale %arg0, %m75, %s31, %z8, %z8 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x4xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x4xi8>
  %y = tosa.table %x, %entries : (tensor<1x4xi8>, tensor<256xi8>) -> tensor<1x4xi8> loc("Step")
  return %y : tensor<1x4xi8>
}

// -----

// CHECK-LABEL: func.func @function
// CHECK:       tosa.rescale %arg0{{.*}}tosa_rescale.scale_factor = 1.5
// CHECK-NOT:   tosa_rescale.function
// CHECK:       return
func.func @function(%arg0: tensor<1x4xi8>) -> tensor<1x4xi8> {
  %m75 = "tosa.const"() <{values = dense<1610612736> : tensor<1xi32>}> : () -> tensor<1xi32>
  %one = "tosa.const"() <{values = dense<1073741824> : tensor<1xi32>}> : () -> tensor<1xi32>
  %z8 = "tosa.const"() <{values = dense<0> : tensor<1xi8>}> : () -> tensor<1xi8>
  %z32 = "tosa.const"() <{values = dense<0> : tensor<1xi32>}> : () -> tensor<1xi32>
  %s31 = "tosa.const"() <{values = dense<31> : tensor<1xi8>}> : () -> tensor<1xi8>
  %entries = "tosa.const"() <{values = dense<"0x7F7E7D7C7B7A797877767574737271706F6E6D6C6B6A696867666564636261605F5E5D5C5B5A595857565554535251504F4E4D4C4B4A494847464544434241403F3E3D3C3B3A393837363534333231302F2E2D2C2B2A292827262524232221201F1E1D1C1B1A191817161514131211100F0E0D0C0B0A09080706050403020100FF000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F202122232425262728292A2B2C2D2E2F303132333435363738393A3B3C3D3E3F404142434445464748494A4B4C4D4E4F505152535455565758595A5B5C5D5E5F606162636465666768696A6B6C6D6E6F707172737475767778797A7B7C7D7E"> : tensor<256xi8>}> : () -> tensor<256xi8>
  %x = tosa.rescale %arg0, %m75, %s31, %z8, %z8 {input_unsigned = false, output_unsigned = false, per_channel = false, rounding_mode = SINGLE_ROUND, scale32 = true} : (tensor<1x4xi8>, tensor<1xi32>, tensor<1xi8>, tensor<1xi8>, tensor<1xi8>) -> tensor<1x4xi8>
  %y = tosa.table %x, %entries {tosa_rescale.function = 1 : i64} : (tensor<1x4xi8>, tensor<256xi8>) -> tensor<1x4xi8>
  return %y : tensor<1x4xi8>
}
