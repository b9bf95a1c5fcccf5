// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Runs `dot_product_engine` over beats, one a cycle without a pause, and compares what it gives with what is expected.
//
//   +beats=FILE     lines `first last activations weights bias multiplier shift zero_point`, hexadecimal
//   +results=FILE   one expected result (int8) a line, hexadecimal, in order
//
// Prints `vectors N mismatches M`.
`timescale 1ns / 1ps
module dot_product_engine_tb #(
    parameter MACS = 4,
    parameter BITS = 4
);
  reg clock = 0, reset = 1, valid = 0, first = 0, last = 0;
  reg [8*MACS-1:0]  activations, weights;
  reg signed [31:0] bias;
  reg [BITS-1:0]    multiplier;
  reg [5:0]         shift;
  reg signed [7:0]  zero_point;
  wire              result_valid;
  wire signed [7:0] result;
  dot_product_engine #(.MACS(MACS), .BITS(BITS)) dut (.*);

  string  path;
  integer beats, results, got, ignored, expected, vectors, mismatches, idle;

  task tick;
    #1 clock = 1;
    #1 clock = 0;
    if (result_valid) begin
      ignored = $fscanf(results, "%h", expected);
      vectors = vectors + 1;
      if (ignored != 1 || result !== expected[7:0]) begin
        mismatches = mismatches + 1;
        if (mismatches <= 10) $display("result %0d is %0d, not %0d", vectors, result, $signed(expected[7:0]));
      end
    end
  endtask

  initial begin
    if (!$value$plusargs("beats=%s", path)) $fatal(1, "+beats=FILE is missing");
    beats = $fopen(path, "r");
    if (!$value$plusargs("results=%s", path)) $fatal(1, "+results=FILE is missing");
    results = $fopen(path, "r");
    if (beats == 0 || results == 0) $fatal(1, "beats or results cannot be read");
    vectors = 0;
    mismatches = 0;
    tick;
    tick;
    reset = 0;
    got = $fscanf(beats, "%h %h %h %h %h %h %h %h", first, last, activations, weights, bias, multiplier, shift, zero_point);
    while (got == 8) begin
      valid = 1;
      tick;
      got = $fscanf(beats, "%h %h %h %h %h %h %h %h", first, last, activations, weights, bias, multiplier, shift, zero_point);
    end
    valid = 0;
    for (idle = 0; idle < 4; idle = idle + 1) tick;
    if ($fscanf(results, "%h", expected) == 1) mismatches = mismatches + 1;  // a result is missing
    $display("vectors %0d mismatches %0d", vectors, mismatches);
    $finish;
  end
endmodule
