// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// An element-wise rescale of int32 between two registers, one value a cycle: what stands around additions, products, tables and
// means. RESULT is 8, 16 or 32.
module elementwise_rescaler #(
    parameter BITS         = 4,
    parameter RESULT       = 32,
    parameter DOUBLE_ROUND = 0
) (
    input  wire                     clock,
    input  wire                     valid,
    input  wire signed [31:0]       value,
    input  wire        [BITS-1:0]   multiplier,
    input  wire        [5:0]        shift,
    input  wire signed [RESULT-1:0] zero_point,
    output reg  signed [RESULT-1:0] result
);
  reg signed [31:0]       value_held;
  reg [BITS-1:0]          multiplier_held;
  reg [5:0]               shift_held;
  reg signed [RESULT-1:0] zero_point_held;

  wire signed [RESULT-1:0] rescaled;
  rescaler #(
      .BITS(BITS),
      .ACCUMULATOR(32),
      .RESULT(RESULT),
      .DOUBLE_ROUND(DOUBLE_ROUND)
  ) rescale (
      .accumulator(value_held),
      .multiplier(multiplier_held),
      .shift(shift_held),
      .zero_point(zero_point_held),
      .result(rescaled)
  );

  always @(posedge clock) begin
    if (valid) begin
      value_held <= value;
      multiplier_held <= multiplier;
      shift_held <= shift;
      zero_point_held <= zero_point;
    end
    result <= rescaled;
  end
endmodule
