#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

/// What a machine is and how fast, as data: measured by `brimful probe`, or read from presets. What could not
/// be found out is absent, never 0.
namespace brimful::hardware {

struct Cpu {
  std::string model;
  std::uint32_t cores = 1;                    ///< physical
  std::uint32_t threads = 1;                  ///< that this process may run on
  std::vector<std::string> instruction_sets;  ///< of those that ggml has kernels for: AVX2, AVX512F, ...
};

struct Ram {
  Bytes total;
  Bytes available;
  Bytes swap_total;
  Bytes swap_used;
  std::optional<Bytes> cgroup_limit;                        ///< the tightest
  std::optional<std::string> kind;                          ///< `DDR4`, where the system tells
  std::optional<std::uint32_t> mega_transfers_per_s;        ///< that the modules are set to
  std::optional<std::uint32_t> rated_mega_transfers_per_s;  ///< that they are made for
  std::optional<std::uint32_t> modules;
  double read_bytes_per_s = 0;   ///< by all threads
  double touch_bytes_per_s = 0;  ///< pages made present for the first time
};

struct ReadRate {
  Bytes size;  ///< of one read
  double bytes_per_s = 0;
};

struct Disk {
  std::string device;  ///< `nvme0n1`
  /// `NVMe SSD`, `SATA SSD`, `hard disk`, `USB disk`, `memory card`, `virtual disk`, `network`, `memory`, or
  /// `unknown`
  std::string kind = "unknown";
  std::string file_system;                 ///< `ext4`
  bool direct = true;                      ///< reads can bypass the page cache
  std::vector<ReadRate> reads;             ///< direct, several in flight; ascending sizes
  double beside_compute_bytes_per_s = 0;   ///< large reads while all threads multiply
  std::optional<double> seconds_per_read;  ///< of one small read by itself: latency

  /// Of reads of `size`, between the measured sizes in proportion. Smaller reads are limited by their number:
  /// half the size, half the rate. Larger ones go as the largest. Requires: `reads` is not empty.
  [[nodiscard]] double bytes_per_s(Bytes size) const;
  [[nodiscard]] double best_bytes_per_s() const;
};

struct GpuProcess {
  std::uint64_t pid = 0;
  Bytes used;  ///< of the card's memory: all that it holds there, as the driver counts
};

struct Gpu {
  std::string name;
  Bytes total;
  Bytes free;
  Bytes used;  ///< by all processes, and the driver
  std::optional<std::uint32_t> pcie_generation;
  std::optional<std::uint32_t> pcie_width;
  std::optional<std::string> driver;
  std::optional<double> host_to_device_bytes_per_s;  ///< measured, or of a preset
  std::optional<double> memory_bytes_per_s;
  std::optional<double>
      multiplications_per_s;     ///< of long batches, quantised weights; a multiply-add counts as one
  std::optional<Bytes> runtime;  ///< what driver and kernels hold beside buffers
  // At this moment; in no profile.
  std::optional<std::string> pci_address;  ///< `0000:01:00.0`
  std::vector<GpuProcess> processes;       ///< of those that the driver shows
};

/// How fast products with weights of one type are, in the layout that they are computed in.
struct KernelRate {
  std::string type;                         ///< ggml's name: `q4_K`
  double decode_bytes_per_s = 0;            ///< weights that one token is multiplied with, beyond the caches
  double batch_multiplications_per_s = 0;   ///< multiply-adds with 32 tokens
  double prompt_multiplications_per_s = 0;  ///< multiply-adds with 512 tokens
  double expert_decode_bytes_per_s = 0;     ///< as decode_bytes_per_s, of experts that a router chose
  double expert_multiplications_per_s = 0;  ///< multiply-adds of such experts, with 16 tokens each
  /// Rows rearranged on their way in, by all threads; absent where their order is the file's.
  std::optional<double> repack_bytes_per_s;
  double short_rows_decode = 1;  ///< rows of 1024 weights: the first rate, by that with 4096
  double short_rows_batch = 1;   ///< the second, too
};

/// Multiply-adds with the keys and values of the KV cache, in heads of 128 values.
struct Attention {
  double decode_multiplications_per_s = 0;  ///< of one token
  double prompt_multiplications_per_s = 0;  ///< of 512 tokens
  double share_of_short_heads = 1;          ///< heads of 64 values: one token's rate, by that with 128
};

struct Compute {
  int threads = 1;
  std::vector<KernelRate> kernels;
  Attention attention;             ///< with keys and values in F16
  Attention quantised_attention;   ///< in Q8_0
  double element_bytes_per_s = 0;  ///< what nodes without products read and write
  double seconds_per_node = 0;
  double seconds_per_run = 0;  ///< to hand a stretch of nodes to the threads
  /// While the disk reads at its best: the share of these rates that is left.
  double share_beside_reads = 1;

  [[nodiscard]] const KernelRate* find(std::string_view type) const;
};

struct Profile {
  std::string name;      ///< `this machine`, or the presets' names
  std::string measured;  ///< when, ISO 8601; empty for presets
  Cpu cpu;
  Ram ram;
  Disk disk;
  std::vector<Gpu> gpus;
  std::optional<std::string> gpu_problem;  ///< a card without a working driver: what was seen
  Compute compute;
  /// Processors that other programs used while the rates were measured: these are too low then. Unset where
  /// nothing disturbed.
  std::optional<double> disturbed_by;
};

/// What brimful probe --json writes. Rates must be there, finite and above 0.
/// Errors: kCorrupt, naming the field that is missing or wrong; kUnsupported for another version's.
[[nodiscard]] Result<Profile> parse_profile(std::string_view json);
[[nodiscard]] std::string to_json(const Profile& profile);

}  // namespace brimful::hardware
