/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * RESCALE of the TOSA specification on compact pairs: the reference for a
 * kernel or an RTL model. C11, no dependency, no floating point.
 *
 *   result = saturate(output_zp + ((v * multiplier + half + second) >> shift)),
 * v = value - input_zp
 *
 * with half = 1 << (shift - 1), and second = +-(1 << second_round) with the
 * sign of v under double rounding, else 0. Where shift <= 0 there is nothing to
 * round: v * multiplier << -shift.
 */
#ifndef TOSA_RESCALE_KERNEL_H
#define TOSA_RESCALE_KERNEL_H

#include <stddef.h>
#include <stdint.h>

/* One rescale of the model. The channel is the index in the last dimension;
 * with channels == 1 all share one pair. */
typedef struct {
  const char *key;            /* position in the graph, such as "rescale12" */
  const char *name;           /* name in the source model */
  uint32_t channels;          /* length of the arrays */
  const void *multiplier;     /* uint8_t, uint16_t or uint32_t */
  uint8_t multiplier_bytes;   /* 1, 2 or 4 */
  const int8_t *shift;        /* right, negative: left */
  const int8_t *second_round; /* -1: none; NULL: none in any channel */
  int32_t input_zp;
  int32_t output_zp;
  uint8_t input_bits; /* 8, 16, 32 or 48 */
  uint8_t input_unsigned;
  uint8_t output_bits; /* 8, 16 or 32 */
  uint8_t output_unsigned;
} tosa_rescale_table;

static inline int64_t tosa_rescale_multiplier(const tosa_rescale_table *table,
                                              uint32_t channel) {
  switch (table->multiplier_bytes) {
  case 1:
    return ((const uint8_t *)table->multiplier)[channel];
  case 2:
    return ((const uint16_t *)table->multiplier)[channel];
  default:
    return ((const uint32_t *)table->multiplier)[channel];
  }
}

/* The quotient by 2^shift, rounded down: >> of a negative number is the
 * compiler's choice in C. */
static inline int64_t tosa_rescale_floor_shift(int64_t value, int shift) {
  return value >= 0 ? value >> shift : ~(~value >> shift);
}

/* Rescales one value. `channel` is below table->channels, or anything where
 * that is 1. */
static inline int64_t tosa_rescale_apply(const tosa_rescale_table *table,
                                         uint32_t channel, int64_t value) {
  const uint32_t c = table->channels == 1 ? 0 : channel;
  const int shift = table->shift[c];
  const int second = table->second_round ? table->second_round[c] : -1;
  const int64_t low =
      table->output_unsigned ? 0 : -((int64_t)1 << (table->output_bits - 1));
  const int64_t high = low + (((int64_t)1 << table->output_bits) - 1);
  int64_t result;

  value -= table->input_zp;
  result = value * tosa_rescale_multiplier(table, c);
  if (shift > 0) {
    result += (int64_t)1 << (shift - 1);
    if (second >= 0)
      result += value >= 0 ? (int64_t)1 << second : -((int64_t)1 << second);
    result = tosa_rescale_floor_shift(result, shift);
  } else {
    result *= (int64_t)1 << -shift;
  }
  result += table->output_zp;
  return result < low ? low : result > high ? high : result;
}

#endif
