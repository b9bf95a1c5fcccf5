// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A dot-product engine: MACS products a cycle of an int8 or int16 activation and an int8 weight into one accumulator of 32 or 48 bits,
// and a rescaler of BITS bits behind it.
//
// Two pipeline stages: multiply-accumulate, then rescale. One output is computed beat by beat: `first` loads the bias in place of the
// old accumulator, `last` hands the sum to the rescaler. `bias`, `multiplier`, `shift` and `zero_point` belong to the output channel:
// `bias` is read with `first`, the others with `last`. `result_valid` and `result` follow two clock edges after `last`; the next output
// may begin in the very next cycle, so the multipliers never wait.
//
// The zero point of the activations is folded into the bias: bias - zero_point * sum(weights). With int16 activations TOSA knows no zero
// points, and the port `zero_point` is not read.
module dot_product_engine #(
    parameter MACS         = 4,
    parameter BITS         = 4,
    parameter ACTIVATION   = 8,                            // 8 or 16; the result has as many bits
    parameter DOUBLE_ROUND = 0,
    parameter ACCUMULATOR  = ACTIVATION == 16 ? 48 : 32
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
  reg signed [ACCUMULATOR-1:0] accumulator;
  reg                          accumulated;
  reg [BITS-1:0]               multiplier_held;
  reg [5:0]                    shift_held;
  // verilator lint_off UNUSEDSIGNAL
  reg signed [7:0]             zero_point_held;
  // verilator lint_on UNUSEDSIGNAL

  // Baugh-Wooley: the rows of the signs are inverted, and 2^7 + 2^(ACTIVATION-1) - 2^(ACTIVATION+7) a lane takes off what that adds, so
  // that no row is extended by its sign. All rows of all lanes, and the accumulator, go into one carry-save tree.
  localparam signed [ACCUMULATOR-1:0] CORRECTION = MACS * (128 + (1 << (ACTIVATION - 1)) - (1 << (ACTIVATION + 7)));
  reg [ACCUMULATOR-1:0]  sum;
  reg [ACTIVATION-1:0]   a;
  reg [7:0]              w;
  reg [ACTIVATION+5:0]   magnitude;  // rows of the bits below the signs
  reg [ACTIVATION+6:0]   signs_a;    // inverted row of the activation's sign, and the product of both signs
  reg [ACTIVATION+5:0]   signs_w;    // inverted row of the weight's sign
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

  wire signed [ACTIVATION-1:0] zero_point_used;
  generate
    if (ACTIVATION == 8) begin : g_zero_point
      assign zero_point_used = zero_point_held;
    end else begin : g_symmetric
      assign zero_point_used = 0;
    end
  endgenerate

  wire signed [ACTIVATION-1:0] rescaled;
  rescaler #(
      .BITS(BITS),
      .ACCUMULATOR(ACCUMULATOR),
      .RESULT(ACTIVATION),
      .DOUBLE_ROUND(DOUBLE_ROUND)
  ) rescale (
      .accumulator(accumulator),
      .multiplier(multiplier_held),
      .shift(shift_held),
      .zero_point(zero_point_used),
      .result(rescaled)
  );

  always @(posedge clock) begin
    if (valid) accumulator <= sum;
    if (valid && last) begin
      multiplier_held <= multiplier;
      shift_held <= shift;
      zero_point_held <= zero_point;
    end
    accumulated <= valid && last && !reset;
    result_valid <= accumulated && !reset;
    if (accumulated) result <= rescaled;
  end
endmodule
