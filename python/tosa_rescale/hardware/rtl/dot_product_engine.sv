// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// An int8 dot-product engine: MACS products a cycle into one 32-bit accumulator, and a rescaler of BITS bits behind it.
//
// Two pipeline stages: multiply-accumulate, then rescale. One output is computed beat by beat: `first` loads the bias in place of the
// old accumulator, `last` hands the sum to the rescaler. `bias`, `multiplier`, `shift` and `zero_point` belong to the output channel:
// `bias` is read with `first`, the others with `last`. `result_valid` and `result` follow two clock edges after `last`; the next output
// may begin in the very next cycle, so the multipliers never wait.
//
// The zero point of the activations is folded into the bias: bias - zero_point * sum(weights).
module dot_product_engine #(
    parameter MACS = 4,
    parameter BITS = 4
) (
    input  wire                     clock,
    input  wire                     reset,         // synchronous; control only, data needs none
    input  wire                     valid,         // this cycle carries a beat
    input  wire                     first,
    input  wire                     last,
    input  wire        [8*MACS-1:0] activations,   // int8, lane 0 in the low byte
    input  wire        [8*MACS-1:0] weights,       // int8
    input  wire signed [31:0]       bias,
    input  wire        [BITS-1:0]   multiplier,
    input  wire        [5:0]        shift,
    input  wire signed [7:0]        zero_point,
    output reg                      result_valid,
    output reg  signed [7:0]        result
);
  reg signed [31:0] accumulator;
  reg               accumulated;
  reg [BITS-1:0]    multiplier_held;
  reg [5:0]         shift_held;
  reg signed [7:0]  zero_point_held;

  // Baugh-Wooley: the rows of the signs are inverted, and 2^8 - 2^15 a lane takes off what that adds, so that no row is extended by its
  // sign. All rows of all lanes, and the accumulator, go into one carry-save tree.
  localparam signed [31:0] CORRECTION = MACS * (256 - 32768);
  reg [31:0] sum;
  reg [7:0]  a, w;
  reg [13:0] magnitude;  // rows of the low seven bits
  reg [14:0] signs_a;    // inverted row of the activation's sign, and the product of both signs
  reg [13:0] signs_w;    // inverted row of the weight's sign
  integer    lane;
  always @* begin
    sum = (first ? bias : accumulator) + CORRECTION;
    for (lane = 0; lane < MACS; lane = lane + 1) begin
      a = activations[8*lane+:8];
      w = weights[8*lane+:8];
      magnitude = {7'b0, a[6:0]} * {7'b0, w[6:0]};
      signs_a = {a[7] & w[7], ~(w[6:0] & {7{a[7]}}), 7'b0};
      signs_w = {~(a[6:0] & {7{w[7]}}), 7'b0};
      sum = sum + {18'b0, magnitude} + {17'b0, signs_a} + {18'b0, signs_w};
    end
  end

  wire signed [7:0] rescaled;
  rescaler #(
      .BITS(BITS)
  ) rescale (
      .accumulator(accumulator),
      .multiplier(multiplier_held),
      .shift(shift_held),
      .zero_point(zero_point_held),
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
