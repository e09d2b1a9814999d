#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "hardware/profile.h"
#include "model/model_profile.h"

namespace brimful::plan {

/// The rows of a host matrix that a device multiplies in passes of few tokens: those from `first_row` on. The
/// link sends them while the cores multiply the rows before.
struct DeviceRows {
  /// Index into ModelProfile::tensors.
  std::uint32_t tensor = 0;
  /// A multiple of kRowStep, above 0 and below the number of rows.
  std::int64_t first_row = 0;

  bool operator==(const DeviceRows&) const = default;
};

/// Largest number of columns of a product that is divided in this way. Products of more columns are computed
/// by the host alone, or sent as a whole.
inline constexpr std::int64_t kMostColumnsOfRows = 32;

/// Bytes of these rows: what crosses the link in each pass.
[[nodiscard]] Bytes bytes_of(const model::ModelProfile& profile, std::span<const DeviceRows> rows);

/// Memory on a device, and as much on the host, for the vectors of products that are divided.
struct RowBuffers {
  /// Room for the input of one product with kMostColumnsOfRows columns.
  Bytes inputs;
  /// Room for the results of two of the products with the most rows on the device.
  Bytes results;

  [[nodiscard]] Bytes total() const { return inputs + results; }
};
/// The buffers for these rows; nothing where there are none.
[[nodiscard]] RowBuffers row_buffers(const model::ModelProfile& profile, std::span<const DeviceRows> rows);

/// Divides the matrices of the layers between cores and link, by their rates in a pass of one token. A matrix
/// without an entry stays whole: because it is small, because a row more or less on the host would change the
/// kernel, or because the cores alone reach what the memory gives. Pure. Requires:
/// `machine` has kernels, and the copies to `gpu` were measured. Formula: cores at rate h and a link at rate
/// l get through a matrix at R = rate_together() = min(h + l, max(h, memory_beside_link())). The link gets
/// share_of_link() of the rows. The matrix is divided if bytes / h - bytes / R is more than a round trip to
/// the device takes.
[[nodiscard]] std::vector<DeviceRows> device_rows(const model::ModelProfile& profile,
                                                  const hardware::Profile& machine, const hardware::Gpu& gpu);

/// How cores and a link read the host's memory at once.
struct MemoryBesideLink {
  /// The most that both together read, in bytes per second.
  double bytes_per_s = 0;
  /// The link's share of that, 0..1. Unset where it was not measured.
  std::optional<double> share_of_link;
};
/// As it was measured. Where it was not: 10/9 of what all cores read.
[[nodiscard]] MemoryBesideLink memory_beside_link(const hardware::Ram& ram, const hardware::Gpu& gpu);

/// The rate at which cores and link together get through weights that the cores alone get through at
/// `cores_bytes_per_s`.
[[nodiscard]] double rate_together(double cores_bytes_per_s, double link_bytes_per_s,
                                   const MemoryBesideLink& memory);
/// The share of the weights that crosses the link, 0..1. It lies between 1 - h/R, with which the cores never
/// wait, and l / (h + l), with which both end together if both run at the same share of their rates. Where
/// memory is not the limit, the two are the same. Where it is, the measured share is taken, and without one
/// the middle: too few rows cost little, as the cores alone get most of R, and too many leave the cores
/// waiting for the link.
[[nodiscard]] double share_of_link(double cores_bytes_per_s, double link_bytes_per_s,
                                   const MemoryBesideLink& memory);

/// The time that a product on the host takes longer because a device multiplies some of its rows: the input
/// crosses the link, the device is started and waited for, and the result comes back.
inline constexpr double kSecondsPerDividedProduct = 60e-6;

}  // namespace brimful::plan
