/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * Compares the reference kernel with golden vectors: check_goldens FOLDER,
 * where FOLDER holds one file for each rescale with lines `channel input
 * result`, hexadecimal, two's complement. Exit status: 0 equal, 1 not, 2 a file
 * is missing.
 */
#include <inttypes.h>
#include <stdio.h>

#include "rescales.h"

static int64_t from_twos_complement(uint64_t word, unsigned bits,
                                    int is_unsigned) {
  const uint64_t sign = (uint64_t)1 << (bits - 1);
  return !is_unsigned && (word & sign) ? (int64_t)(word - sign) - (int64_t)sign
                                       : (int64_t)word;
}

int main(int argc, char **argv) {
  uint64_t vectors = 0, mismatches = 0;
  if (argc != 2) {
    fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
    return 2;
  }
  for (size_t i = 0; i < TOSA_RESCALE_COUNT; ++i) {
    const tosa_rescale_table *table = &tosa_rescale_tables[i];
    char path[4096];
    uint32_t channel;
    uint64_t input, expected;
    FILE *file;
    if (snprintf(path, sizeof path, "%s/%s.txt", argv[1], table->key) >=
            (int)sizeof path ||
        !(file = fopen(path, "r"))) {
      fprintf(stderr, "%s: cannot be read\n", path);
      return 2;
    }
    while (fscanf(file, "%" SCNx32 " %" SCNx64 " %" SCNx64, &channel, &input,
                  &expected) == 3) {
      const int64_t value =
          from_twos_complement(input, table->input_bits, table->input_unsigned);
      const int64_t want = from_twos_complement(expected, table->output_bits,
                                                table->output_unsigned);
      const int64_t got = tosa_rescale_apply(table, channel, value);
      ++vectors;
      if (got != want && ++mismatches <= 10)
        printf("%s (%s) channel %" PRIu32 ": %" PRId64 " gives %" PRId64
               ", not %" PRId64 "\n",
               table->key, table->name, channel, value, got, want);
    }
    fclose(file);
  }
  printf("vectors %" PRIu64 " mismatches %" PRIu64 "\n", vectors, mismatches);
  return mismatches != 0;
}
