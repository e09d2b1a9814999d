#include "plan/device_rows.h"

#include <algorithm>
#include <cmath>

#include "plan/cost_model.h"
#include "plan/kernel_rows.h"
#include "plan/tensor_use.h"

namespace brimful::plan {
namespace {

// Cores that wait for memory read at about 78% of its peak, and together with a link at about 88%: DDR4-3600
// in two channels has 57.6 GB/s, gives the cores 45, and both together 50.
constexpr double kRamBesideLink = 10.0 / 9;

// Alignment of a tensor in a device's buffer.
constexpr Bytes kAlignment{256};

bool is_divisible(const model::TensorInfo& tensor) {
  return tensor.is_dense_matrix_of_layer() && tensor.rows() > kRowStep && tensor.shape[2] == 1 &&
         tensor.shape[3] == 1 && tensor.rows() % kKernelRows == 0;
}

Bytes vectors(std::int64_t length) {
  return Bytes{static_cast<std::uint64_t>(length * kMostColumnsOfRows) * sizeof(float)};
}

}  // namespace

MemoryBesideLink memory_beside_link(const hardware::Ram& ram, const hardware::Gpu& gpu) {
  const auto& copies = gpu.copies_beside_reads_bytes_per_s;
  const auto& reads = gpu.reads_beside_copies_bytes_per_s;
  if (!copies || !reads) return {ram.read_bytes_per_s * kRamBesideLink, std::nullopt};
  return {*copies + *reads, *copies / (*copies + *reads)};
}

double rate_together(double cores_bytes_per_s, double link_bytes_per_s, const MemoryBesideLink& memory) {
  return std::min(cores_bytes_per_s + link_bytes_per_s, std::max(cores_bytes_per_s, memory.bytes_per_s));
}

double share_of_link(double cores_bytes_per_s, double link_bytes_per_s, const MemoryBesideLink& memory) {
  const double least = 1 - cores_bytes_per_s / rate_together(cores_bytes_per_s, link_bytes_per_s, memory);
  const double most = link_bytes_per_s / (cores_bytes_per_s + link_bytes_per_s);
  return std::clamp(memory.share_of_link.value_or((least + most) / 2), std::min(least, most), most);
}

Bytes bytes_of(const model::ModelProfile& profile, std::span<const DeviceRows> rows) {
  Bytes out;
  for (const DeviceRows& some : rows) {
    const model::TensorInfo& tensor = profile.tensors[some.tensor];
    out += tensor.row_bytes() * static_cast<std::uint64_t>(tensor.rows() - some.first_row);
  }
  return out;
}

RowBuffers row_buffers(const model::ModelProfile& profile, std::span<const DeviceRows> rows) {
  RowBuffers out;
  for (const DeviceRows& some : rows) {
    const model::TensorInfo& tensor = profile.tensors[some.tensor];
    out.inputs = std::max(out.inputs, align_up(vectors(tensor.shape[0]), kAlignment));
    out.results = std::max(out.results, align_up(vectors(tensor.rows() - some.first_row), kAlignment) * 2);
  }
  return out;
}

std::vector<DeviceRows> device_rows(const model::ModelProfile& profile, const hardware::Profile& machine,
                                    const hardware::Gpu& gpu) {
  std::vector<DeviceRows> out;
  const double link = *gpu.host_to_device_bytes_per_s;
  const MemoryBesideLink memory = memory_beside_link(machine.ram, gpu);
  const double round_trip = kSecondsPerDividedProduct + 2 * machine.compute.seconds_per_segment;
  for (std::uint32_t i = 0; i < profile.tensors.size(); ++i) {
    const model::TensorInfo& tensor = profile.tensors[i];
    if (!is_divisible(tensor)) continue;
    const std::int64_t rows = tensor.rows();
    const Products product{.type = tensor.type,
                           .multiplications = static_cast<double>(rows * tensor.shape[0]),
                           .row = tensor.shape[0]};
    const auto bytes = static_cast<double>(tensor.bytes.value);
    const double alone = product_seconds(product, machine.compute);
    const double cores = bytes / alone;
    const double together = rate_together(cores, link, memory);
    if (alone - bytes / together <= round_trip) continue;
    const double share = share_of_link(cores, link, memory);
    const auto first =
        static_cast<std::int64_t>(std::lround(static_cast<double>(rows) * (1 - share) / kRowStep)) * kRowStep;
    if (first > 0 && first < rows) out.push_back({i, first});
  }
  return out;
}

}  // namespace brimful::plan
