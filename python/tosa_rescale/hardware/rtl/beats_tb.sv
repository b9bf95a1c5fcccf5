// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Runs `dot_product_engine`, with VARIANT = 1 `variant_engine`, or with TILE = 1 a `tile` of engines, over beats, one a cycle without a
// pause, and compares what the engines give with what is expected.
//
//   +beats=FILE     lines `first last activations weights bias multiplier shift zero_point`, hexadecimal;
//                   weights, bias, multiplier and shift of all engines, the first in the low bits
//   +results=FILE   the expected results of all engines as one number a line, hexadecimal, in order
//
// Prints `vectors N mismatches M`.
`timescale 1ns / 1ps
module beats_tb #(
    parameter TILE         = 0,
    parameter VARIANT      = 0,
    parameter PIPELINED    = 0,  // of a variant, as PLAIN is
    parameter PLAIN        = 0,
    parameter ENGINES      = 1,  // of a tile
    parameter MACS         = 4,
    parameter BITS         = 4,
    parameter ACTIVATION   = 8,
    parameter DOUBLE_ROUND = 0   // of `dot_product_engine`
);
  localparam ACCUMULATOR = ACTIVATION == 16 ? 48 : 32;
  reg clock = 0, reset = 1, valid = 0, first = 0, last = 0;
  reg [ACTIVATION*MACS-1:0]     activations;
  reg [8*MACS*ENGINES-1:0]      weights;
  reg [ACCUMULATOR*ENGINES-1:0] bias;
  reg [BITS*ENGINES-1:0]        multiplier;
  reg [6*ENGINES-1:0]           shift;
  reg [7:0]                     zero_point;
  wire [ENGINES-1:0]            result_valid;
  wire [ACTIVATION*ENGINES-1:0] result;
  generate
    if (TILE != 0) begin : g_tile
      tile #(
          .ENGINES(ENGINES),
          .MACS(MACS),
          .BITS(BITS),
          .ACTIVATION(ACTIVATION)
      ) dut (
          .*
      );
    end else if (VARIANT != 0) begin : g_variant
      variant_engine #(
          .MACS(MACS),
          .BITS(BITS),
          .ACTIVATION(ACTIVATION),
          .PIPELINED(PIPELINED),
          .PLAIN(PLAIN)
      ) dut (
          .*
      );
    end else begin : g_engine
      dot_product_engine #(
          .MACS(MACS),
          .BITS(BITS),
          .ACTIVATION(ACTIVATION),
          .DOUBLE_ROUND(DOUBLE_ROUND)
      ) dut (
          .*
      );
    end
  endgenerate

  // A beat as read from the file; what the engines see is assigned, so that every simulator notices the change.
  reg                           is_first, is_last;
  reg [ACTIVATION*MACS-1:0]     a;
  reg [8*MACS*ENGINES-1:0]      w;
  reg [ACCUMULATOR*ENGINES-1:0] b;
  reg [BITS*ENGINES-1:0]        m;
  reg [6*ENGINES-1:0]           s;
  reg [7:0]                     z;

  reg [ACTIVATION*ENGINES-1:0] expected;
  string               path;
  integer beats, results, got, ignored, vectors, mismatches, idle;

  always #1 clock = ~clock;

  // Inputs change and results are read at the falling edge, away from the one that counts.
  task tick;
    @(negedge clock);
    if (|result_valid) begin
      if (!(&result_valid)) mismatches = mismatches + 1;  // all engines or none
      ignored = $fscanf(results, "%h", expected);
      vectors = vectors + 1;
      if (ignored != 1 || result !== expected) begin
        mismatches = mismatches + 1;
        if (mismatches <= 10) $display("results %0d are %h, not %h", vectors, result, expected);
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
    reset <= 0;
    got = $fscanf(beats, "%h %h %h %h %h %h %h %h", is_first, is_last, a, w, b, m, s, z);
    while (got == 8) begin
      valid <= 1;
      first <= is_first;
      last <= is_last;
      activations <= a;
      weights <= w;
      bias <= b;
      multiplier <= m;
      shift <= s;
      zero_point <= z;
      tick;
      got = $fscanf(beats, "%h %h %h %h %h %h %h %h", is_first, is_last, a, w, b, m, s, z);
    end
    valid <= 0;
    for (idle = 0; idle < 4; idle = idle + 1) tick;
    if ($fscanf(results, "%h", expected) == 1) mismatches = mismatches + 1;  // a result is missing
    $display("vectors %0d mismatches %0d", vectors, mismatches);
    $finish;
  end
endmodule
