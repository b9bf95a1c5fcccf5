// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A small tile: ENGINES dot-product engines of MACS products each, one output channel an engine, over the same activations. Operands pass
// a register in front of each engine, as they do behind memories; the memories are not part of the tile. What all engines read is
// registered once for each SHARED of them, so that no register drives more.
module tile #(
    parameter ENGINES    = 16,
    parameter MACS       = 4,
    parameter BITS       = 4,
    parameter ACTIVATION = 8,
    parameter SHARED     = 4
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
  localparam COPIES = (ENGINES + SHARED - 1) / SHARED;
  wire [COPIES-1:0]                 valid_held, first_held, last_held;
  wire [ACTIVATION*MACS*COPIES-1:0] activations_held;
  wire [8*COPIES-1:0]               zero_point_held;
  genvar copy, index;
  generate
    for (copy = 0; copy < COPIES; copy = copy + 1) begin : g_copy
      shared_operands #(
          .WIDTH(ACTIVATION * MACS)
      ) operands (
          .clock(clock),
          .reset(reset),
          .valid(valid),
          .first(first),
          .last(last),
          .activations(activations),
          .zero_point(zero_point),
          .valid_held(valid_held[copy]),
          .first_held(first_held[copy]),
          .last_held(last_held[copy]),
          .activations_held(activations_held[ACTIVATION*MACS*copy+:ACTIVATION*MACS]),
          .zero_point_held(zero_point_held[8*copy+:8])
      );
    end
    for (index = 0; index < ENGINES; index = index + 1) begin : g_engine
      reg [8*MACS-1:0]      weights_held;
      reg [ACCUMULATOR-1:0] bias_held;
      reg [BITS-1:0]        multiplier_held;
      reg [5:0]             shift_held;
      // Bias and the pair of the rescale are taken with the beat that they belong to.
      always @(posedge clock)
        if (valid) begin
          weights_held <= weights[8*MACS*index+:8*MACS];
          if (first) bias_held <= bias[ACCUMULATOR*index+:ACCUMULATOR];
          if (last) begin
            multiplier_held <= multiplier[BITS*index+:BITS];
            shift_held <= shift[6*index+:6];
          end
        end

      dot_product_engine #(
          .MACS(MACS),
          .BITS(BITS),
          .ACTIVATION(ACTIVATION)
      ) engine (
          .clock(clock),
          .reset(reset),
          .valid(valid_held[index/SHARED]),
          .first(first_held[index/SHARED]),
          .last(last_held[index/SHARED]),
          .activations(activations_held[ACTIVATION*MACS*(index/SHARED)+:ACTIVATION*MACS]),
          .weights(weights_held),
          .bias(bias_held),
          .multiplier(multiplier_held),
          .shift(shift_held),
          .zero_point(zero_point_held[8*(index/SHARED)+:8]),
          .result_valid(result_valid[index]),
          .result(result[ACTIVATION*index+:ACTIVATION])
      );
    end
  endgenerate
endmodule

// Registers of what engines share. A module of its own, as synthesis makes equal registers of one module into one; it has to be kept.
module shared_operands #(
    parameter WIDTH = 32
) (
    input  wire             clock,
    input  wire             reset,
    input  wire             valid,
    input  wire             first,
    input  wire             last,
    input  wire [WIDTH-1:0] activations,
    input  wire [7:0]       zero_point,
    output reg              valid_held,
    output reg              first_held,
    output reg              last_held,
    output reg  [WIDTH-1:0] activations_held,
    output reg  [7:0]       zero_point_held
);
  always @(posedge clock) begin
    valid_held <= valid && !reset;
    if (valid) begin
      first_held <= first;
      last_held <= last;
      activations_held <= activations;
      if (last) zero_point_held <= zero_point;
    end
  end
endmodule
