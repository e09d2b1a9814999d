#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

/// The results of `brimful bench`, with llama-bench's names where they mean the same. Pure.
namespace brimful::cli {

/// What one test computed, and how long it took.
struct BenchResult {
  std::string cpu_info;
  std::string gpu_info;
  std::string backends;
  std::string model_filename;
  std::string model_type;
  std::uint64_t model_size = 0;
  std::uint64_t model_n_params = 0;
  std::uint32_t n_batch = 0;
  std::uint32_t n_ubatch = 0;
  int n_threads = 1;
  std::string type_k;
  std::string type_v;
  std::uint32_t n_prompt = 0;
  std::uint32_t n_gen = 0;
  std::uint32_t n_depth = 0;
  /// Number of sequences that are computed together.
  std::uint32_t n_seqs = 1;
  std::string test_time;
  std::vector<std::uint64_t> samples_ns;

  Bytes ram_budget;
  /// The most that the process held, as the kernel counts it; unset where it does not tell.
  std::optional<Bytes> ram_peak;
  /// Bytes that were read from disk in all samples.
  Bytes disk_read;

  /// Number of tokens in one sample, of all sequences.
  [[nodiscard]] std::uint64_t tokens() const { return std::uint64_t{n_prompt + n_gen} * n_seqs; }
  [[nodiscard]] double disk_bytes_per_token() const;
  /// Of the samples: tokens per second, and its mean and standard deviation.
  [[nodiscard]] std::vector<double> tokens_per_second() const;
  /// `pp512`, `tg128`, `pp512+tg128 @ d4096`, `tg128 x8`.
  [[nodiscard]] std::string test() const;
};

enum class BenchFormat { kMarkdown, kJson, kJsonLines, kCsv };
/// Errors: kInvalidArgument for a name that is none of md, json, jsonl, csv.
[[nodiscard]] Result<BenchFormat> bench_format(const std::string& name);

/// What stands before the first result, for a result, and behind the last one. `first`: whether it is the
/// first result.
[[nodiscard]] std::string bench_header(BenchFormat format);
[[nodiscard]] std::string bench_row(BenchFormat format, const BenchResult& result, bool first);
[[nodiscard]] std::string bench_footer(BenchFormat format);

/// Reads a list of numbers as llama-bench does: `128,512`, `1-8`, `1-9+2`, `1-64*2`. Errors:
/// kInvalidArgument; the message begins with `flag`.
[[nodiscard]] Result<std::vector<std::uint32_t>> bench_numbers(const std::string& flag,
                                                               const std::string& text);

}  // namespace brimful::cli
