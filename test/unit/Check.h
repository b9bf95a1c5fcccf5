//===- Check.h - assertions of the unit tests -------------------*- C++ -*-===//
//
// CHECK prints what failed and goes on; report() is the program's exit status.
// No framework: the MLIR wheels bring none, and the tests build with g++ alone.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef TOSA_RESCALE_TEST_UNIT_CHECK_H
#define TOSA_RESCALE_TEST_UNIT_CHECK_H

#include <cstdio>

static int failures = 0;

/// The first failures are told by file, line and a message in the manner of
/// printf, all are counted.
#define CHECK(condition, ...)                                                  \
  do {                                                                         \
    if (!(condition) && ++failures <= 20) {                                    \
      std::printf("%s:%d: %s: ", __FILE__, __LINE__, #condition);              \
      std::printf(__VA_ARGS__);                                                \
      std::printf("\n");                                                       \
    }                                                                          \
  } while (false)

static int report() {
  if (failures != 0)
    std::printf("%d checks failed\n", failures);
  return failures != 0;
}

#endif // TOSA_RESCALE_TEST_UNIT_CHECK_H
