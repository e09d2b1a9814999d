#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "base/result.h"
#include "batch/job.h"

namespace brimful::batch {

/// Reads `I/N`, where I counts from 0, as in a Slurm array or an indexed job of Kubernetes. Errors:
/// kInvalidArgument.
[[nodiscard]] Result<Shard> parse_shard(const std::string& text);

/// The path of a shard's part of `path`: `answers.0-of-4.jsonl` for `answers.jsonl`. It is `path` itself when
/// there is only one shard, or when `path` is a stream.
[[nodiscard]] std::filesystem::path part_of(const std::filesystem::path& path, const Shard& shard);

/// Number of lines in the output and in the errors.
struct Merged {
  std::int64_t answers = 0;
  std::int64_t failed = 0;
};

/// Counts the outcomes in output and errors of a shard that is finished: they hold each request of the shard
/// once, and no other. Returns nothing when the shard is not finished, the files hold other content, the
/// input is newer than the output, or input or output is a stream. Errors: kNotFound, kIo; kInvalidArgument
/// when an answer has another `system_fingerprint` than `fingerprint`. `model` is the model's name in that
/// message.
[[nodiscard]] Result<std::optional<Merged>> finished(const JobFiles& files, const Shard& shard,
                                                     const std::string& model,
                                                     const std::string& fingerprint);

/// Puts the parts of `count` shards together, in the order of the input: the output, and the errors if there
/// are any. The parts stay. Errors: kNotFound when a part is missing or not finished; kCorrupt when the parts
/// do not hold each request of the input exactly once; kInvalidArgument when they were computed with
/// different models or flags, or when the output exists or is a stream; kIo, kNoSpace.
[[nodiscard]] Result<Merged> merge_parts(const JobFiles& files, std::uint32_t count);

}  // namespace brimful::batch
