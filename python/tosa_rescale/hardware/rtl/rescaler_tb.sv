// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Runs `rescaler` over golden vectors and the memory images that belong to them (`tosa-rescale export --format hex --goldens ...`).
//
//   +multipliers=FILE +shifts=FILE   memory images of WORDS words
//   +vectors=FILE                    lines `channel accumulator result`, hexadecimal
//   +offset=N +zero_point=N          where the rescale's channels begin in the images; its output zero point
//
// With DOUBLE_ROUND the pairs of the images, which have no trailing zeros, are normalised as the module asks.
//
// Prints `vectors N mismatches M`.
`timescale 1ns / 1ps
module rescaler_tb #(
    parameter BITS         = 4,
    parameter ACCUMULATOR  = 32,
    parameter RESULT       = 8,
    parameter DOUBLE_ROUND = 0,
    parameter WORDS        = 1
);
  localparam LEADING = BITS == 32 ? 30 : BITS - 1;

  reg [BITS-1:0] multipliers[0:WORDS-1];
  reg [7:0]      shifts[0:WORDS-1];

  reg signed [ACCUMULATOR-1:0] accumulator;
  reg signed [ACCUMULATOR-1:0] value;  // as read; what the rescaler sees is assigned, so that every simulator notices the change
  reg [BITS-1:0]               multiplier;
  reg [BITS-1:0]               normal;
  reg [5:0]                    shift;
  reg [7:0]                    moved;
  reg signed [RESULT-1:0]      zero_point;
  reg [RESULT-1:0]             expected;
  wire signed [RESULT-1:0]     result;
  rescaler #(
      .BITS(BITS),
      .ACCUMULATOR(ACCUMULATOR),
      .RESULT(RESULT),
      .DOUBLE_ROUND(DOUBLE_ROUND)
  ) dut (
      .*
  );

  string  path;
  integer file, offset, zero, channel, got, vectors, mismatches;
  initial begin
    if (!$value$plusargs("multipliers=%s", path)) $fatal(1, "+multipliers=FILE is missing");
    $readmemh(path, multipliers);
    if (!$value$plusargs("shifts=%s", path)) $fatal(1, "+shifts=FILE is missing");
    $readmemh(path, shifts);
    if (!$value$plusargs("vectors=%s", path)) $fatal(1, "+vectors=FILE is missing");
    file = $fopen(path, "r");
    if (file == 0) $fatal(1, "the vectors cannot be read");
    if (!$value$plusargs("offset=%d", offset)) offset = 0;
    if (!$value$plusargs("zero_point=%d", zero)) zero = 0;
    zero_point = zero[RESULT-1:0];
    vectors = 0;
    mismatches = 0;
    got = $fscanf(file, "%h %h %h", channel, value, expected);
    while (got == 3) begin
      normal = multipliers[offset+channel];
      moved = shifts[offset+channel];
      if (DOUBLE_ROUND == 1 && normal != 0)
        while (!normal[LEADING]) begin
          normal = normal << 1;
          moved = moved + 1;
        end
      if (moved > 63) $fatal(1, "channel %0d: the shift does not fit the port", channel);
      accumulator = value;
      multiplier = normal;
      shift = moved[5:0];
      #1;
      vectors = vectors + 1;
      if (result !== expected) begin
        mismatches = mismatches + 1;
        if (mismatches <= 10)
          $display("channel %0d: %0d * %0d >> %0d gives %0d, not %0d", channel, accumulator, multiplier, shift, result,
                   $signed(expected));
      end
      got = $fscanf(file, "%h %h %h", channel, value, expected);
    end
    $display("vectors %0d mismatches %0d", vectors, mismatches);
    $finish;
  end
endmodule
