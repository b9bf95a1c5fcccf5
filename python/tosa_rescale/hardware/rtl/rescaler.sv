// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One RESCALE of the TOSA specification, combinational, from ACCUMULATOR bits (32 or 48) to RESULT bits (8, 16 or 32):
//
//   result = saturate(zero_point + ((accumulator * multiplier + second + (1 << (shift - 1))) >> shift))
//
// Exact for every accumulator, every multiplier of BITS bits and every shift from 1 to 63; shift 0 gives accumulator * multiplier. Where
// the specification leaves the result open, because it does not fit 32 bits before the zero point, this module saturates.
//
// With SINGLE_ROUND `second` is 0. With DOUBLE_ROUND (parameter 1) it is 1 << (BITS-1) with the sign of the accumulator where
// shift > BITS, and 0 elsewhere; the multiplier must then be normalised, its leading one at bit BITS-1, as the specification's are at bit
// 30. BITS = 32 takes the specification's pairs as they stand: 1 << 30 where shift > 31.
//
// With BITS = 1 there is no multiplier and the port `multiplier` is not read: it stands for 1. A multiplier of 0 is then said by a
// shift above ACCUMULATOR, at which every accumulator rounds to 0.
module rescaler #(
    parameter BITS         = 4,
    parameter ACCUMULATOR  = 32,
    parameter RESULT       = 8,
    parameter DOUBLE_ROUND = 0
) (
    input  wire signed [ACCUMULATOR-1:0] accumulator,
    // verilator lint_off UNUSEDSIGNAL
    input  wire        [BITS-1:0]        multiplier,
    // verilator lint_on UNUSEDSIGNAL
    input  wire        [5:0]             shift,
    input  wire signed [RESULT-1:0]      zero_point,
    output wire signed [RESULT-1:0]      result
);
  // A signed number times an unsigned BITS-bit number; a power of two needs no bit more than the accumulator, the second rounding one.
  localparam PRODUCT = BITS == 1 && DOUBLE_ROUND == 0 ? ACCUMULATOR : ACCUMULATOR + BITS;
  localparam SECOND = BITS == 32 ? 30 : BITS - 1;

  wire signed [PRODUCT-1:0] product;
  generate
    if (BITS == 1) begin : g_shift_only
      if (DOUBLE_ROUND == 0) begin : g_single
        assign product = accumulator;
      end else begin : g_double
        // Away from 0 by one: 1 or -1 is added.
        wire twice = shift > 1;
        assign product = {accumulator[ACCUMULATOR-1], accumulator} + {{ACCUMULATOR{twice & accumulator[ACCUMULATOR-1]}}, twice};
      end
    end else begin : g_multiply
      // Baugh-Wooley: the sign's row is inverted and a constant takes off what that adds, so that no row is extended by its sign.
      localparam [PRODUCT-1:0] CORRECTION = {1'b1, {BITS - 1{1'b0}}, 1'b1, {ACCUMULATOR - 1{1'b0}}};
      wire [PRODUCT-1:0] magnitude = accumulator[ACCUMULATOR-2:0] * multiplier;
      wire [BITS-1:0] sign_row = ~(multiplier & {BITS{accumulator[ACCUMULATOR-1]}});
      if (DOUBLE_ROUND == 0) begin : g_single
        assign product = magnitude + {1'b0, sign_row, {ACCUMULATOR - 1{1'b0}}} + CORRECTION;
      end else begin : g_double
        wire twice = {26'b0, shift} > SECOND + 1;
        wire [PRODUCT-1:0] second = {{PRODUCT - SECOND - 1{twice & accumulator[ACCUMULATOR-1]}}, twice, {SECOND{1'b0}}};
        assign product = magnitude + {1'b0, sign_row, {ACCUMULATOR - 1{1'b0}}} + CORRECTION + second;
      end
    end
  endgenerate

  // One bit below the point decides the rounding: floor((floor(p * 2^(1-s)) + 1) / 2) = floor((p + 2^(s-1)) / 2^s). So the constant
  // 1 << (s-1), and a second shifter for it, are not needed.
  wire signed [PRODUCT:0] doubled = {product, 1'b0};
  wire signed [PRODUCT:0] shifted = doubled >>> shift;
  // verilator lint_off UNUSEDSIGNAL
  wire sign = shifted[PRODUCT];
  // verilator lint_on UNUSEDSIGNAL

  // One bit more than the result says all that matters: from 2^RESULT on the sum saturates with any zero point, and so it does
  // below -2^RESULT.
  wire signed [RESULT:0] integral;
  generate
    if (PRODUCT > RESULT + 1) begin : g_clamp
      wire fits = shifted[PRODUCT-1:RESULT+1] == {PRODUCT - RESULT - 1{sign}};
      assign integral = {sign, fits ? shifted[RESULT:1] : {RESULT{~sign}}};
    end else begin : g_extend
      assign integral = {{RESULT + 1 - PRODUCT{sign}}, shifted[PRODUCT:1]};
    end
  endgenerate

  // The rounding bit goes in as a carry.
  wire signed [RESULT+1:0] sum = {integral[RESULT], integral} + {{2{zero_point[RESULT-1]}}, zero_point} + {{RESULT + 1{1'b0}}, shifted[0]};
  wire in_range = sum[RESULT+1] == sum[RESULT] && sum[RESULT] == sum[RESULT-1];
  assign result = in_range ? sum[RESULT-1:0] : {sum[RESULT+1], {RESULT - 1{~sum[RESULT+1]}}};
endmodule
