// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One RESCALE of the TOSA specification with SINGLE_ROUND, int32 to int8, combinational:
//
//   result = saturate_int8(zero_point + ((accumulator * multiplier + (1 << (shift - 1))) >> shift))
//
// Exact for every accumulator, every multiplier of BITS bits and every shift from 1 to 63; shift 0 gives accumulator * multiplier. Where
// the specification leaves the result open, because it does not fit 32 bits before the zero point, this module saturates.
//
// With BITS = 1 there is no multiplier and the port `multiplier` is not read: it stands for 1. A multiplier of 0 is then said by a
// shift above 32, at which every accumulator rounds to 0.
module rescaler #(
    parameter BITS = 4
) (
    input  wire signed [31:0]     accumulator,
    // verilator lint_off UNUSEDSIGNAL
    input  wire        [BITS-1:0] multiplier,
    // verilator lint_on UNUSEDSIGNAL
    input  wire        [5:0]      shift,
    input  wire signed [7:0]      zero_point,
    output wire signed [7:0]      result
);
  // A signed 32-bit times an unsigned BITS-bit number; a power of two needs no bit more than the accumulator.
  localparam PRODUCT = BITS == 1 ? 32 : 32 + BITS;

  wire signed [PRODUCT-1:0] product;
  generate
    if (BITS == 1) begin : g_shift_only
      assign product = accumulator;
    end else begin : g_multiply
      // Baugh-Wooley: the sign's row is inverted and a constant takes off what that adds, so that no row is extended by its sign.
      localparam [PRODUCT-1:0] CORRECTION = {1'b1, {BITS - 1{1'b0}}, 1'b1, 31'b0};
      wire [PRODUCT-1:0] magnitude = accumulator[30:0] * multiplier;
      wire [BITS-1:0] sign_row = ~(multiplier & {BITS{accumulator[31]}});
      assign product = magnitude + {1'b0, sign_row, 31'b0} + CORRECTION;
    end
  endgenerate

  // One bit below the point decides the rounding: floor((floor(p * 2^(1-s)) + 1) / 2) = floor((p + 2^(s-1)) / 2^s). So the constant
  // 1 << (s-1), and a second shifter for it, are not needed.
  wire signed [PRODUCT:0] doubled = {product, 1'b0};
  wire signed [PRODUCT:0] shifted = doubled >>> shift;

  // Nine bits say all that matters: from 256 on the sum saturates with any zero point, and so it does below -256.
  wire sign = shifted[PRODUCT];
  wire fits9 = shifted[PRODUCT-1:9] == {PRODUCT - 9{sign}};
  wire signed [8:0] integral = {sign, fits9 ? shifted[8:1] : {8{~sign}}};

  // The rounding bit goes in as a carry.
  wire signed [9:0] sum = {integral[8], integral} + {{2{zero_point[7]}}, zero_point} + {9'b0, shifted[0]};
  wire fits8 = sum[9] == sum[8] && sum[8] == sum[7];
  assign result = fits8 ? sum[7:0] : {sum[9], {7{~sum[9]}}};
endmodule
