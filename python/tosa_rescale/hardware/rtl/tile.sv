// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A small tile: ENGINES dot-product engines of MACS products each, one output channel an engine, over the same activations. Activations
// and weights pass a register in front of each engine, as they do behind memories; the memories are not part of the tile.
module tile #(
    parameter ENGINES    = 16,
    parameter MACS       = 4,
    parameter BITS       = 4,
    parameter ACTIVATION = 8
) (
    input  wire                            clock,
    input  wire                            reset,
    input  wire                            valid,
    input  wire                            first,
    input  wire                            last,
    input  wire [ACTIVATION*MACS-1:0]      activations,
    input  wire [8*MACS*ENGINES-1:0]       weights,
    input  wire [(ACTIVATION == 16 ? 48 : 32)*ENGINES-1:0] bias,
    input  wire [BITS*ENGINES-1:0]         multiplier,
    input  wire [6*ENGINES-1:0]            shift,
    input  wire [7:0]                      zero_point,
    output wire [ENGINES-1:0]              result_valid,
    output wire [ACTIVATION*ENGINES-1:0]   result
);
  localparam ACCUMULATOR = ACTIVATION == 16 ? 48 : 32;
  genvar index;
  generate
    for (index = 0; index < ENGINES; index = index + 1) begin : g_engine
      tile_engine #(
          .MACS(MACS),
          .BITS(BITS),
          .ACTIVATION(ACTIVATION)
      ) engine (
          .clock(clock),
          .reset(reset),
          .valid(valid),
          .first(first),
          .last(last),
          .activations(activations),
          .weights(weights[8*MACS*index+:8*MACS]),
          .bias(bias[ACCUMULATOR*index+:ACCUMULATOR]),
          .multiplier(multiplier[BITS*index+:BITS]),
          .shift(shift[6*index+:6]),
          .zero_point(zero_point),
          .result_valid(result_valid[index]),
          .result(result[ACTIVATION*index+:ACTIVATION])
      );
    end
  endgenerate
endmodule

// A dot-product engine behind registers for its operands. `bias` and the pair of the rescale are taken with the beat that they belong to.
module tile_engine #(
    parameter MACS        = 4,
    parameter BITS        = 4,
    parameter ACTIVATION  = 8,
    parameter ACCUMULATOR = ACTIVATION == 16 ? 48 : 32
) (
    input  wire                         clock,
    input  wire                         reset,
    input  wire                         valid,
    input  wire                         first,
    input  wire                         last,
    input  wire [ACTIVATION*MACS-1:0]   activations,
    input  wire [8*MACS-1:0]            weights,
    input  wire [ACCUMULATOR-1:0]       bias,
    input  wire [BITS-1:0]              multiplier,
    input  wire [5:0]                   shift,
    input  wire [7:0]                   zero_point,
    output wire                         result_valid,
    output wire [ACTIVATION-1:0]        result
);
  reg                       valid_held, first_held, last_held;
  reg [ACTIVATION*MACS-1:0] activations_held;
  reg [8*MACS-1:0]          weights_held;
  reg [ACCUMULATOR-1:0]     bias_held;
  reg [BITS-1:0]            multiplier_held;
  reg [5:0]                 shift_held;
  reg [7:0]                 zero_point_held;
  always @(posedge clock) begin
    valid_held <= valid && !reset;
    if (valid) begin
      first_held <= first;
      last_held <= last;
      activations_held <= activations;
      weights_held <= weights;
      if (first) bias_held <= bias;
      if (last) begin
        multiplier_held <= multiplier;
        shift_held <= shift;
        zero_point_held <= zero_point;
      end
    end
  end

  dot_product_engine #(
      .MACS(MACS),
      .BITS(BITS),
      .ACTIVATION(ACTIVATION)
  ) engine (
      .clock(clock),
      .reset(reset),
      .valid(valid_held),
      .first(first_held),
      .last(last_held),
      .activations(activations_held),
      .weights(weights_held),
      .bias(bias_held),
      .multiplier(multiplier_held),
      .shift(shift_held),
      .zero_point(zero_point_held),
      .result_valid(result_valid),
      .result(result)
  );
endmodule
