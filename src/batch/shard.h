#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "base/result.h"
#include "batch/job.h"

namespace brimful::batch {

/// `I/N`, as a Slurm array or an indexed job of Kubernetes count: from 0. Errors: kInvalidArgument.
[[nodiscard]] Result<Shard> parse_shard(const std::string& text);

/// Where a shard writes what is a part of `path`: `answers.0-of-4.jsonl` for `answers.jsonl`; `path` itself
/// where there is only one.
[[nodiscard]] std::filesystem::path part_of(const std::filesystem::path& path, const Shard& shard);

struct Merged {
  std::int64_t answers = 0;
  std::int64_t failed = 0;
};

/// What output and errors of a shard hold, where it is finished: each request of the input once, and no
/// other. Nothing where it is not, other content is there, the input is newer, or input or output is a
/// stream. Errors: kNotFound, kIo; kInvalidArgument where an answer has another `system_fingerprint` than
/// `fingerprint`; `model` is what the message calls the model of this command.
[[nodiscard]] Result<std::optional<Merged>> finished(const JobFiles& files, const Shard& shard,
                                                     const std::string& model,
                                                     const std::string& fingerprint);

/// Puts the parts of `count` shards together, in the order of the input: output and, where there are some,
/// errors. The parts stay. Errors: kNotFound for a part that is missing or not finished; kCorrupt where the
/// parts do not hold each request of the input exactly once; kInvalidArgument where they were computed with
/// different models or flags; kIo, kNoSpace.
[[nodiscard]] Result<Merged> merge_parts(const JobFiles& files, std::uint32_t count);

}  // namespace brimful::batch
