//===- Tables.h - tables for another scale of their input -----------------===//
//
// A table of 513 entries interpolates, so it is known between its entries, too;
// of a table of 256 entries that is monotone, what lies between two entries
// lies between their values. Free of MLIR types.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef TOSA_RESCALE_TABLES_H
#define TOSA_RESCALE_TABLES_H

#include <cstdint>
#include <vector>

namespace tosa_rescale {

/// A table that was written anew.
struct ResampledTable {
  std::vector<int64_t> entries;
  /// In steps of the entries as they were. Of 513 entries the largest
  /// difference from the old table over all inputs that both have. Of 256 the
  /// largest difference where entries are left out and interpolated from their
  /// neighbours, which is more than between neighbours.
  double error = 0;
  /// In the same steps: what no monotone function with the old entries can
  /// differ by, rounding included. Of 513 entries the same as `error`.
  double bound = 0;
};

/// The table of 513 entries of i16 for an input whose scale was multiplied by
/// 2^inputFactor, with results whose scale was multiplied by 2^outputFactor:
/// the old one's own interpolation, sampled. Beyond the old input's range it
/// goes on as it ended there.
ResampledTable resampleTable(const std::vector<int64_t> &entries,
                             double inputFactor, double outputFactor);

/// The scales and zero points of a table of 256 entries of i8.
struct TableScales {
  /// What the scales were multiplied by, as log2.
  double inputFactor = 0, outputFactor = 0;
  int64_t inputZeroPoint = 0, outputZeroPoint = 0;
};

/// The table of 256 entries of i8 for other scales: a monotone cubic through
/// the old entries, sampled. Beyond the old input's range it goes on as it
/// ended there, which is where inputs saturated.
ResampledTable interpolateTable(const std::vector<int64_t> &entries,
                                const TableScales &scales);

/// Whether entries never fall, or never rise.
bool isMonotone(const std::vector<int64_t> &entries);

} // namespace tosa_rescale

#endif // TOSA_RESCALE_TABLES_H
