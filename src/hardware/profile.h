#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

/// The facts and speeds of a machine as data: measured by `brimful probe`, or taken from presets. A fact
/// that could not be found out is unset, never 0. A rate that is not optional is 0 until it was measured.
namespace brimful::hardware {

/// The CPU of a machine.
struct Cpu {
  /// The name of the CPU, for people.
  std::string model;
  /// The number of physical cores.
  std::uint32_t cores = 1;
  /// The number of threads that this process may run at the same time.
  std::uint32_t threads = 1;
  /// The instruction sets of the CPU for which ggml has kernels: AVX2, AVX512F, ...
  std::vector<std::string> instruction_sets;
};

/// The memory of a machine.
struct Ram {
  Bytes total;
  Bytes available;
  Bytes swap_total;
  Bytes swap_used;
  /// The smallest limit of this process's memory cgroups. Unset when there is no limit.
  std::optional<Bytes> cgroup_limit;
  /// The kind of the modules, such as `DDR4`.
  std::optional<std::string> kind;
  /// The speed to which the modules are set.
  std::optional<std::uint32_t> mega_transfers_per_s;
  /// The speed for which the modules are made.
  std::optional<std::uint32_t> rated_mega_transfers_per_s;
  /// The number of modules.
  std::optional<std::uint32_t> modules;
  /// The rate at which all threads together read.
  double read_bytes_per_s = 0;
  /// The rate at which memory becomes present when it is touched for the first time.
  double touch_bytes_per_s = 0;
};

/// The rate of reads of one size from a disk.
struct ReadRate {
  /// The size of one read.
  Bytes size;
  double bytes_per_s = 0;
};

/// The disk on which a model lies.
struct Disk {
  /// The kernel's name, such as `nvme0n1`.
  std::string device;
  /// `NVMe SSD`, `SATA SSD`, `hard disk`, `USB disk`, `memory card`, `virtual disk`, `network`, `memory`, or
  /// `unknown`.
  std::string kind = "unknown";
  /// The type of the file system, such as `ext4`.
  std::string file_system;
  /// Whether reads can bypass the page cache (O_DIRECT).
  bool direct = true;
  /// The rates of direct reads with several in flight, by ascending size.
  std::vector<ReadRate> reads;
  /// The rate of large reads while all threads compute matrix products.
  double beside_compute_bytes_per_s = 0;
  /// The latency of one small read with no other in flight.
  std::optional<double> seconds_per_read;

  /// The rate of reads of `size`, interpolated linearly between the measured sizes. Smaller reads are
  /// limited by their number, so half the size gives half the rate. Larger reads have the rate of the
  /// largest measured size.
  /// Requires: `reads` is not empty.
  [[nodiscard]] double bytes_per_s(Bytes size) const;
  /// The highest of the measured rates; 0 when nothing was measured.
  [[nodiscard]] double best_bytes_per_s() const;
};

/// A process that uses a GPU.
struct GpuProcess {
  std::uint64_t pid = 0;
  /// All of the card's memory that the process holds, as the driver counts it.
  Bytes used;
};

/// One GPU.
struct Gpu {
  std::string name;
  Bytes total;
  Bytes free;
  /// The memory that is not free: what all processes use, and `reserved`.
  Bytes used;
  /// The highest generation and width (number of lanes) of the PCIe link.
  std::optional<std::uint32_t> pcie_generation;
  std::optional<std::uint32_t> pcie_width;
  /// The version of the driver.
  std::optional<std::string> driver;
  /// The rate of copies from host memory to the card.
  std::optional<double> host_to_device_bytes_per_s;
  /// The rate at which the card reads its own memory.
  std::optional<double> memory_bytes_per_s;
  /// The multiply-adds per second with quantised weights and long batches.
  std::optional<double> multiplications_per_s;
  /// The memory of the card that the driver and the kernels hold beside our buffers.
  std::optional<Bytes> runtime;
  /// The part of `used` that the driver and the firmware keep for themselves, whatever runs. Unset when the
  /// driver does not say it.
  std::optional<Bytes> reserved;
  /// The rate of copies from host memory to the card while all threads read memory, and the rate of these
  /// reads meanwhile. Both are set, or none.
  std::optional<double> copies_beside_reads_bytes_per_s;
  std::optional<double> reads_beside_copies_bytes_per_s;
  // The fields below describe the card at this moment. They are not written to a profile.
  /// The address on the PCI bus, such as `0000:01:00.0`. An instance of a divided card (MIG) has the address
  /// of the whole card.
  std::optional<std::string> pci_address;
  /// The UUID of the instance of a divided card, such as `MIG-4f1e...`. Unset for a whole card.
  std::optional<std::string> instance;
  /// Whether a program draws on the card, or a screen is connected to it and in use.
  bool draws = false;
  /// Whether Windows manages the memory (WSL). It moves to RAM what does not fit, where others would refuse.
  bool managed_by_windows = false;
  /// The processes on the card that the driver shows.
  std::vector<GpuProcess> processes;
};

/// The CPU's speed of matrix products with weights of one type, in the layout in which ggml computes them.
struct KernelRate {
  /// The type in ggml's words, such as `q4_K`.
  std::string type;
  /// The bytes of weights per second for one token, when the weights lie in memory and not in the CPU's
  /// caches.
  double decode_bytes_per_s = 0;
  /// The multiply-adds per second with 32 tokens.
  double batch_multiplications_per_s = 0;
  /// The multiply-adds per second with 512 tokens.
  double prompt_multiplications_per_s = 0;
  /// The same as decode_bytes_per_s, for experts that a router chose.
  double expert_decode_bytes_per_s = 0;
  /// The multiply-adds per second for experts that a router chose, with 16 tokens for each expert.
  double expert_multiplications_per_s = 0;
  /// The bytes per second at which all threads rearrange the rows of streamed weights to that layout. Unset
  /// when the layout is that of the file.
  std::optional<double> repack_bytes_per_s;
  /// The decode rate with rows of 1024 weights, divided by the decode rate with rows of 4096 weights.
  double short_rows_decode = 1;
  /// The batch rate with rows of 1024 weights, divided by the batch rate with rows of 4096 weights.
  double short_rows_batch = 1;
  /// The same as decode_bytes_per_s, with weights in the layout of the file. Unset when they are computed in
  /// that layout anyway, and when it was not measured.
  std::optional<double> file_order_decode_bytes_per_s;
  /// The bytes per second at which one thread turns rows back to the layout of the file. Unset when they have
  /// that layout anyway, when they cannot be turned back, and when it was not measured.
  std::optional<double> turn_back_bytes_per_s;
};

/// The CPU's speed of attention: multiply-adds per second with the keys and values of the KV cache, in heads
/// of 128 values.
struct Attention {
  /// The rate with one token.
  double decode_multiplications_per_s = 0;
  /// The rate with 512 tokens.
  double prompt_multiplications_per_s = 0;
  /// The rate with one token and heads of 64 values, divided by that with heads of 128 values.
  double share_of_short_heads = 1;
};

/// The CPU's compute rates, with all `threads` together.
struct Compute {
  int threads = 1;
  /// One entry for each type of weights that was measured.
  std::vector<KernelRate> kernels;
  /// Attention with keys and values in F16.
  Attention attention;
  /// Attention with keys and values in Q8_0.
  Attention quantised_attention;
  /// The rate at which graph nodes without matrix products read and write.
  double element_bytes_per_s = 0;
  /// The fixed time of one graph node.
  double seconds_per_node = 0;
  /// The fixed time to hand one segment of graph nodes to the threads.
  double seconds_per_segment = 0;
  /// The share of these rates that is left while the disk reads at its best rate.
  double share_beside_reads = 1;

  /// Returns the rates for a type in ggml's words, or null when it was not measured. Lifetime: that of this.
  [[nodiscard]] const KernelRate* find(std::string_view type) const;
};

/// A whole machine.
struct Profile {
  /// `this machine`, or the names of the presets.
  std::string name;
  /// The time of the measurement in ISO 8601; empty for presets.
  std::string measured;
  Cpu cpu;
  Ram ram;
  Disk disk;
  std::vector<Gpu> gpus;
  /// What is wrong with a card or its driver, as Gpus::problem says it. Unset when nothing is wrong.
  std::optional<std::string> gpu_problem;
  Compute compute;
  /// The average number of processors that other programs used during the measurement, which makes the rates
  /// too low. Unset when nothing disturbed it.
  std::optional<double> disturbed_by;
};

/// Parses the JSON that brimful probe --json writes. All rates must be there, finite and above 0.
/// Errors: kCorrupt, naming the field that is missing or wrong; kUnsupported for a profile of another
/// version.
[[nodiscard]] Result<Profile> parse_profile(std::string_view json);

/// Writes a profile as JSON, in the form that parse_profile() reads.
[[nodiscard]] std::string to_json(const Profile& profile);

}  // namespace brimful::hardware
