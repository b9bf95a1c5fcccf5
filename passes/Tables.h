//===- Tables.h - tables of 16 bits for another scale of their input ------===//
//
// A table of 513 entries interpolates, so it is known between its entries, too.
// Free of MLIR types.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef TOSA_RESCALE_TABLES_H
#define TOSA_RESCALE_TABLES_H

#include <cstdint>
#include <vector>

namespace tosa_rescale {

/// A table that was sampled anew.
struct ResampledTable {
  std::vector<int64_t> entries;
  /// The largest difference from the old table over all inputs that both have,
  /// in steps of the entries as they were.
  double error = 0;
};

/// The table of 513 entries of i16 for an input whose scale was multiplied by
/// 2^inputFactor, with results whose scale was multiplied by 2^outputFactor:
/// the old one's own interpolation, sampled. Beyond the old input's range it
/// goes on as it ended there.
ResampledTable resampleTable(const std::vector<int64_t> &entries,
                             double inputFactor, double outputFactor);

} // namespace tosa_rescale

#endif // TOSA_RESCALE_TABLES_H
