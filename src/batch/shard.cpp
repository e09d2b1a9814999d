#include "batch/shard.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>

#include "batch/api_fields.h"
#include "batch/line_file.h"

namespace strata::batch {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kMostShards = 100'000;

constexpr std::uint32_t kNone = UINT32_MAX;

std::uint32_t number(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() ? value : kNone;
}

/// Where an outcome lies.
struct Place {
  fs::path file;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  bool failed = false;
};
using Places = std::map<std::string, Place>;  // by custom_id

Result<std::string> custom_id(const fs::path& path, const LineReader::Line& line) {
  const auto json = parse_json(line.text);
  if (json && json->is_object()) {
    const auto id = Fields(*json).text("custom_id");
    if (id && *id) return **id;
  }
  return fail(ErrorCode::kCorrupt, fmt::format("{}: line {}: has no custom_id", path.string(), line.number));
}

Status find_outcomes(const fs::path& path, bool failed, Places& places) {
  const auto take = [&](const LineReader::Line& line) -> Status {
    STRATA_TRY(std::string id, custom_id(path, line));
    const auto [at, fresh] =
        places.try_emplace(std::move(id), Place{path, line.offset, line.text.size(), failed});
    if (fresh) return {};
    return fail(ErrorCode::kCorrupt, fmt::format("{}: line {}: '{}' is in {}, too", path.string(),
                                                 line.number, at->first, at->second.file.string()));
  };
  STRATA_TRY(const std::string content, read_lines(path, take));
  return {};
}

Result<Places> find_all_outcomes(const JobFiles& files, std::uint32_t count) {
  Places places;
  for (Shard shard{0, count}; shard.index < count; ++shard.index) {
    const JobFiles part = files.of(shard);
    if (fs::exists(part.account()) || !fs::exists(part.output)) {
      return fail(ErrorCode::kNotFound,
                  fmt::format("{}: shard {}/{} is not finished: run it again, with the same command",
                              part.output.string(), shard.index, count));
    }
    STRATA_TRY_VOID(find_outcomes(part.output, false, places));
    if (fs::exists(part.errors)) STRATA_TRY_VOID(find_outcomes(part.errors, true, places));
  }
  return places;
}

}  // namespace

Result<Shard> parse_shard(const std::string& text) {
  const std::size_t slash = std::min(text.find('/'), text.size());
  const std::uint32_t index = number(std::string_view(text).substr(0, slash));
  const std::uint32_t count = number(std::string_view(text).substr(std::min(slash + 1, text.size())));
  if (count == 0 || count > kMostShards || index >= count) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("--shard {}: must be I/N, with I from 0 to N - 1: 0/4 is the first of four", text));
  }
  return Shard{index, count};
}

fs::path part_of(const fs::path& path, const Shard& shard) {
  if (shard.count == 1) return path;
  fs::path out = path;
  return out.replace_extension(
      fmt::format(".{}-of-{}{}", shard.index, shard.count, path.extension().string()));
}

JobFiles JobFiles::of(const Shard& shard) const {
  return {input, part_of(output, shard), part_of(errors, shard), identity};
}

Result<std::optional<Merged>> finished(const JobFiles& whole, const Shard& shard) {
  const JobFiles files = whole.of(shard);
  if (fs::exists(files.account()) || !fs::exists(files.output)) return std::nullopt;
  std::error_code ec;
  const auto written = fs::last_write_time(files.output, ec);
  if (ec || fs::last_write_time(files.input, ec) > written) return std::nullopt;
  Places places;
  Status read = find_outcomes(files.output, false, places);
  if (read && fs::exists(files.errors)) read = find_outcomes(files.errors, true, places);
  Merged out;
  const auto take = [&](const LineReader::Line& line) -> Status {
    if (!shard.has(line.number)) return {};
    STRATA_TRY(const std::string id, custom_id(files.input, line));
    const auto at = places.find(id);
    if (at == places.end()) return fail(ErrorCode::kCorrupt, id);
    ++(at->second.failed ? out.failed : out.answers);
    return {};
  };
  if (read) {
    if (const auto content = read_lines(files.input, take); !content) read = std::unexpected(content.error());
  }
  if (!read && read.error().code != ErrorCode::kCorrupt) return std::unexpected(read.error());
  if (!read || static_cast<std::size_t>(out.answers + out.failed) != places.size()) return std::nullopt;
  return out;
}

Result<Merged> merge_parts(const JobFiles& files, std::uint32_t count) {
  STRATA_TRY_VOID(check_absent(files.output));
  STRATA_TRY(const Places places, find_all_outcomes(files, count));
  Merged merged;
  STRATA_TRY(WholeFile output, WholeFile::create(files.output));
  std::optional<WholeFile> errors;
  const auto take = [&](const LineReader::Line& line) -> Status {
    STRATA_TRY(const std::string id, custom_id(files.input, line));
    const auto at = places.find(id);
    if (at == places.end()) {
      return fail(ErrorCode::kCorrupt,
                  fmt::format("{}: line {}: no part has an answer to '{}': were the parts made of "
                              "another input?",
                              files.input.string(), line.number, id));
    }
    const Place& place = at->second;
    STRATA_TRY(const std::string outcome, read_at(place.file, place.offset, place.bytes));
    if (place.failed && !errors) {
      STRATA_TRY(WholeFile file, WholeFile::create(files.errors));
      errors.emplace(std::move(file));
    }
    ++(place.failed ? merged.failed : merged.answers);
    return (place.failed ? *errors : output).write_line(outcome);
  };
  STRATA_TRY(const std::string content, read_lines(files.input, take));
  if (static_cast<std::size_t>(merged.answers + merged.failed) != places.size()) {
    return fail(
        ErrorCode::kCorrupt,
        fmt::format("the parts hold {} answers, and {} has {} requests: were they made of another input?",
                    places.size(), files.input.string(), merged.answers + merged.failed));
  }
  if (errors) STRATA_TRY_VOID(errors->commit());
  STRATA_TRY_VOID(output.commit());
  return merged;
}

}  // namespace strata::batch
