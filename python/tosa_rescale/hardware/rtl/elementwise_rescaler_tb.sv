// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Runs `elementwise_rescaler` over vectors, one a cycle, and compares what comes two clock edges later with what is expected.
//
//   +vectors=FILE   lines `value multiplier shift zero_point result`, hexadecimal; with DOUBLE_ROUND the multiplier is normalised
//
// Prints `vectors N mismatches M`.
`timescale 1ns / 1ps
module elementwise_rescaler_tb #(
    parameter BITS         = 4,
    parameter RESULT       = 32,
    parameter DOUBLE_ROUND = 0
);
  reg                     clock = 0, valid = 0;
  reg signed [31:0]       value;
  reg [BITS-1:0]          multiplier;
  reg [5:0]               shift;
  reg signed [RESULT-1:0] zero_point;
  wire signed [RESULT-1:0] result;
  elementwise_rescaler #(
      .BITS(BITS),
      .RESULT(RESULT),
      .DOUBLE_ROUND(DOUBLE_ROUND)
  ) dut (
      .*
  );

  // As read; what the module sees is assigned, so that every simulator notices the change.
  reg signed [31:0]       v;
  reg [BITS-1:0]          m;
  reg [5:0]               s;
  reg signed [RESULT-1:0] z;
  reg [RESULT-1:0]        e, expected_next, expected_now;
  reg                     due_next, due_now;

  string  path;
  integer file, got, vectors, mismatches, idle;

  always #1 clock = ~clock;

  // Inputs change and results are read at the falling edge, away from the one that counts.
  task tick;
    @(negedge clock);
    if (due_now) begin
      vectors = vectors + 1;
      if (result !== expected_now) begin
        mismatches = mismatches + 1;
        if (mismatches <= 10) $display("result %0d is %0d, not %0d", vectors, result, $signed(expected_now));
      end
    end
    due_now = due_next;
    expected_now = expected_next;
    due_next = 0;
  endtask

  initial begin
    if (!$value$plusargs("vectors=%s", path)) $fatal(1, "+vectors=FILE is missing");
    file = $fopen(path, "r");
    if (file == 0) $fatal(1, "the vectors cannot be read");
    vectors = 0;
    mismatches = 0;
    due_now = 0;
    due_next = 0;
    tick;
    got = $fscanf(file, "%h %h %h %h %h", v, m, s, z, e);
    while (got == 5) begin
      valid <= 1;
      value <= v;
      multiplier <= m;
      shift <= s;
      zero_point <= z;
      due_next = 1;
      expected_next = e;
      tick;
      got = $fscanf(file, "%h %h %h %h %h", v, m, s, z, e);
    end
    valid <= 0;
    for (idle = 0; idle < 3; idle = idle + 1) tick;
    $display("vectors %0d mismatches %0d", vectors, mismatches);
    $finish;
  end
endmodule
