// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// `dot_product_engine` built in other ways, to see what each does to its cost:
//
//   PIPELINED = 1   a register between the rescaler's multiplier and its shifter: three stages, accumulate, multiply, and shift, round and
//                   saturate. `result_valid` and `result` follow three clock edges after `last`; outputs still follow each other without
//                   a pause. With BITS = 1 there is no multiplier to put a register behind, and the engine keeps its two stages.
//   PLAIN = 1       rounding, zero point and saturation as the specification writes them: 1 << (shift-1) is added to the product, and
//                   the zero point at full width to what was shifted.
//
// With both 0 it computes in the same way as `dot_product_engine`.
module variant_engine #(
    parameter MACS        = 4,
    parameter BITS        = 4,
    parameter ACTIVATION  = 8,                            // 8 or 16; the result has as many bits
    parameter PIPELINED   = 0,
    parameter PLAIN       = 0,
    parameter ACCUMULATOR = ACTIVATION == 16 ? 48 : 32
) (
    input  wire                          clock,
    input  wire                          reset,         // synchronous; control only, data needs none
    input  wire                          valid,         // this cycle carries a beat
    input  wire                          first,
    input  wire                          last,
    input  wire        [ACTIVATION*MACS-1:0] activations,   // lane 0 in the low bits
    input  wire        [8*MACS-1:0]      weights,       // int8
    input  wire signed [ACCUMULATOR-1:0] bias,
    input  wire        [BITS-1:0]        multiplier,
    input  wire        [5:0]             shift,
    // verilator lint_off UNUSEDSIGNAL
    input  wire signed [7:0]             zero_point,
    // verilator lint_on UNUSEDSIGNAL
    output reg                           result_valid,
    output reg  signed [ACTIVATION-1:0]  result
);
  localparam PRODUCT = BITS == 1 ? ACCUMULATOR : ACCUMULATOR + BITS;

  reg signed [ACCUMULATOR-1:0] accumulator;
  reg                          accumulated;
  // verilator lint_off UNUSEDSIGNAL
  reg [BITS-1:0]               multiplier_held;
  // verilator lint_on UNUSEDSIGNAL
  reg [5:0]                    shift_held;
  // verilator lint_off UNUSEDSIGNAL
  reg signed [7:0]             zero_point_held;
  // verilator lint_on UNUSEDSIGNAL

  // The sum is formed as `dot_product_engine` forms it, so that the two differ by the register alone.
  localparam signed [ACCUMULATOR-1:0] CORRECTION = MACS * (128 + (1 << (ACTIVATION - 1)) - (1 << (ACTIVATION + 7)));
  reg [ACCUMULATOR-1:0]  sum;
  reg [ACTIVATION-1:0]   a;
  reg [7:0]              w;
  reg [ACTIVATION+5:0]   magnitude;
  reg [ACTIVATION+6:0]   signs_a;
  reg [ACTIVATION+5:0]   signs_w;
  integer                lane;
  always @* begin
    sum = (first ? bias : accumulator) + CORRECTION;
    for (lane = 0; lane < MACS; lane = lane + 1) begin
      a = activations[ACTIVATION*lane+:ACTIVATION];
      w = weights[8*lane+:8];
      magnitude = {7'b0, a[ACTIVATION-2:0]} * {{ACTIVATION - 1{1'b0}}, w[6:0]};
      signs_a = {a[ACTIVATION-1] & w[7], ~(w[6:0] & {7{a[ACTIVATION-1]}}), {ACTIVATION - 1{1'b0}}};
      signs_w = {~(a[ACTIVATION-2:0] & {ACTIVATION - 1{w[7]}}), 7'b0};
      sum = sum + {{ACCUMULATOR - ACTIVATION - 6{1'b0}}, magnitude} + {{ACCUMULATOR - ACTIVATION - 7{1'b0}}, signs_a}
          + {{ACCUMULATOR - ACTIVATION - 6{1'b0}}, signs_w};
    end
  end

  always @(posedge clock) begin
    if (valid) accumulator <= sum;
    if (valid && last) begin
      multiplier_held <= multiplier;
      shift_held <= shift;
      zero_point_held <= zero_point;
    end
    accumulated <= valid && last && !reset;
  end

  wire signed [PRODUCT-1:0] product;
  generate
    if (BITS == 1) begin : g_shift_only
      assign product = accumulator;
    end else begin : g_multiply
      // Baugh-Wooley, as in `rescaler`.
      localparam [PRODUCT-1:0] SIGN_CORRECTION = {1'b1, {BITS - 1{1'b0}}, 1'b1, {ACCUMULATOR - 1{1'b0}}};
      wire [PRODUCT-1:0] magnitudes = accumulator[ACCUMULATOR-2:0] * multiplier_held;
      wire [BITS-1:0]    sign_row = ~(multiplier_held & {BITS{accumulator[ACCUMULATOR-1]}});
      assign product = magnitudes + {1'b0, sign_row, {ACCUMULATOR - 1{1'b0}}} + SIGN_CORRECTION;
    end
  endgenerate

  wire signed [PRODUCT-1:0] product_used;
  wire                      product_valid;
  wire [5:0]                shift_used;
  // verilator lint_off UNUSEDSIGNAL
  wire signed [7:0]         zero_point_used;
  // verilator lint_on UNUSEDSIGNAL
  generate
    if (PIPELINED == 0 || BITS == 1) begin : g_through
      assign product_used = product;
      assign product_valid = accumulated;
      assign shift_used = shift_held;
      assign zero_point_used = zero_point_held;
    end else begin : g_register
      reg signed [PRODUCT-1:0] product_held;
      reg                      multiplied;
      reg [5:0]                shift_behind;
      reg signed [7:0]         zero_point_behind;
      always @(posedge clock) begin
        multiplied <= accumulated && !reset;
        if (accumulated) begin
          product_held <= product;
          shift_behind <= shift_held;
          zero_point_behind <= zero_point_held;
        end
      end
      assign product_used = product_held;
      assign product_valid = multiplied;
      assign shift_used = shift_behind;
      assign zero_point_used = zero_point_behind;
    end
  endgenerate

  wire signed [ACTIVATION-1:0] zero_point_added;
  generate
    if (ACTIVATION == 8) begin : g_zero_point
      assign zero_point_added = zero_point_used;
    end else begin : g_symmetric
      assign zero_point_added = 0;
    end
  endgenerate

  wire signed [ACTIVATION-1:0] rescaled;
  generate
    if (PLAIN == 0) begin : g_lean
      // A product that is only shifted: the rescaler of one bit, over a wider accumulator.
      rescaler #(
          .BITS(1),
          .ACCUMULATOR(PRODUCT),
          .RESULT(ACTIVATION)
      ) rescale (
          .accumulator(product_used),
          .multiplier(1'b1),
          .shift(shift_used),
          .zero_point(zero_point_added),
          .result(rescaled)
      );
    end else begin : g_plain
      // One bit more than the product for the rounding, and one for the zero point.
      localparam signed [PRODUCT+1:0] TOP = (1 << (ACTIVATION - 1)) - 1;
      wire [PRODUCT+1:0]        unit = {{PRODUCT + 1{1'b0}}, 1'b1};
      wire signed [PRODUCT+1:0] rounding = shift_used == 0 ? {PRODUCT + 2{1'b0}} : unit << (shift_used - 6'd1);
      wire signed [PRODUCT+1:0] rounded = {{2{product_used[PRODUCT-1]}}, product_used} + rounding;
      wire signed [PRODUCT+1:0] shifted = rounded >>> shift_used;
      wire signed [PRODUCT+1:0] moved = shifted + {{PRODUCT + 2 - ACTIVATION{zero_point_added[ACTIVATION-1]}}, zero_point_added};
      assign rescaled = moved > TOP ? TOP[ACTIVATION-1:0] : moved < -TOP - 1 ? ~TOP[ACTIVATION-1:0] : moved[ACTIVATION-1:0];
    end
  endgenerate

  always @(posedge clock) begin
    result_valid <= product_valid && !reset;
    if (product_valid) result <= rescaled;
  end
endmodule
