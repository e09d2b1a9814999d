#include "batch/shard.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <map>

#include "batch/line_file.h"
#include "batch/stream_file.h"
#include "openai/fields.h"

namespace brimful::batch {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kMostShards = 100'000;

constexpr std::uint32_t kNone = UINT32_MAX;

std::uint32_t number(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() ? value : kNone;
}

/// The place of an outcome in a file.
struct Place {
  fs::path file;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  bool failed = false;
};
using Places = std::map<std::string, Place>;  // by the key of key_of()

/// The model and the settings that some answers were computed with.
struct Origin {
  std::string fingerprint;  // empty: the answers do not have one
  std::string model;        // the model's name in the answers
};

std::string text_of(const Origin& origin) {
  return origin.fingerprint.empty() ? "no system_fingerprint" : origin.fingerprint;
}

/// The key that an outcome and its line of the input have in common. It is the custom_id. A line that cannot
/// be read has none: its key is `#` and the id that its outcome has, which contains its number.
std::string key_of_line(std::int64_t number) { return fmt::format("#batch_req_{}", number); }

/// The key of a line of the input.
Result<std::string> key_of(const fs::path& path, const LineReader::Line& line) {
  const auto json =
      line.too_long ? fail(ErrorCode::kInvalidArgument, "too long") : parse_ordered_json(line.text);
  if (!json) return key_of_line(line.number);
  if (json->is_object()) {
    const auto id = openai::Fields(*json).text("custom_id");
    if (id && *id) return **id;
  }
  return fail(ErrorCode::kCorrupt, fmt::format("{}: line {}: has no custom_id", path.string(), line.number));
}

/// The key of an outcome. Errors: kCorrupt.
Result<std::string> key_of_outcome(const nlohmann::ordered_json& outcome) {
  if (outcome.is_object()) {
    const openai::Fields fields(outcome);
    const auto custom_id = fields.text("custom_id");
    if (custom_id && *custom_id) return **custom_id;
    const auto id = fields.text("id");
    if (custom_id && id && *id) return "#" + **id;
  }
  return fail(ErrorCode::kCorrupt, "has no custom_id");
}

/// The origin of an answer.
Origin origin_of(const nlohmann::ordered_json& outcome) {
  const auto text = [](const nlohmann::ordered_json& object, const char* name) -> std::string {
    const auto found = object.find(name);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  const auto response = outcome.find("response");
  if (response == outcome.end() || !response->is_object()) return {};
  const auto body = response->find("body");
  if (body == response->end() || !body->is_object()) return {};
  return {text(*body, "system_fingerprint"), text(*body, "model")};
}

/// Adds all outcomes of a file to `places`. Calls `on_answer` with the origin of each outcome that did not
/// fail.
Status find_outcomes(const fs::path& path, bool failed, Places& places,
                     const std::function<Status(const Origin&)>& on_answer) {
  const auto take = [&](const LineReader::Line& line) -> Status {
    const auto json = parse_ordered_json(line.text);
    auto key = json ? key_of_outcome(*json) : fail(ErrorCode::kCorrupt, json.error().message);
    if (!key) {
      return fail(ErrorCode::kCorrupt,
                  fmt::format("{}: line {}: {}", path.string(), line.number, key.error().message));
    }
    const auto [at, fresh] =
        places.try_emplace(std::move(*key), Place{path, line.offset, line.text.size(), failed});
    if (!fresh) {
      return fail(ErrorCode::kCorrupt, fmt::format("{}: line {}: '{}' is also in {}", path.string(),
                                                   line.number, at->first, at->second.file.string()));
    }
    return failed ? Status{} : on_answer(origin_of(*json));
  };
  BRIMFUL_TRY_VOID(read_lines(path, take));
  return {};
}

/// Finds the outcomes of all shards. Errors: kNotFound when a shard is not finished; kInvalidArgument when
/// parts were computed with different models or flags.
Result<Places> find_all_outcomes(const JobFiles& files, std::uint32_t count) {
  Places places;
  std::optional<std::pair<fs::path, Origin>> first;
  for (Shard shard{0, count}; shard.index < count; ++shard.index) {
    const JobFiles part = files.of(shard);
    if (fs::exists(part.journal_path()) || !fs::exists(part.output)) {
      return fail(ErrorCode::kNotFound,
                  fmt::format("{}: shard {}/{} is not finished: run it again, with the same command",
                              part.output.string(), shard.index, count));
    }
    const auto compare = [&](const Origin& origin) -> Status {
      if (!first) first = {part.output, origin};
      if (first->second.fingerprint == origin.fingerprint) return {};
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format("{} holds answers of '{}' ({}) and {} of '{}' ({}): they were computed with different "
                      "models or flags; compute one of them again",
                      first->first.string(), first->second.model, text_of(first->second),
                      part.output.string(), origin.model, text_of(origin)));
    };
    BRIMFUL_TRY_VOID(find_outcomes(part.output, false, places, compare));
    if (fs::exists(part.errors)) BRIMFUL_TRY_VOID(find_outcomes(part.errors, true, places, compare));
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
  if (shard.count == 1 || is_stream(path)) return path;
  fs::path out = path;
  return out.replace_extension(
      fmt::format(".{}-of-{}{}", shard.index, shard.count, path.extension().string()));
}

JobFiles JobFiles::of(const Shard& shard) const {
  JobFiles out = *this;
  out.output = part_of(output, shard);
  out.errors = part_of(errors, shard);
  return out;
}

Result<std::optional<Merged>> finished(const JobFiles& whole, const Shard& shard, const std::string& model,
                                       const std::string& fingerprint) {
  const JobFiles files = whole.of(shard);
  if (is_stream(files.input) || is_stream(files.output)) return std::nullopt;
  if (fs::exists(files.journal_path()) || !fs::exists(files.output)) return std::nullopt;
  std::error_code ec;
  const auto written = fs::last_write_time(files.output, ec);
  if (ec || fs::last_write_time(files.input, ec) > written) return std::nullopt;
  Places places;
  const auto compare = [&](const Origin& origin) -> Status {
    if (origin.fingerprint == fingerprint) return {};
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("{}: holds answers of '{}' ({}), and this command asks for '{}' ({}): the model, or a "
                    "flag that changes answers, is different; name another output, or remove this one",
                    files.output.string(), origin.model, text_of(origin), model, fingerprint));
  };
  Status read = find_outcomes(files.output, false, places, compare);
  if (read && fs::exists(files.errors)) read = find_outcomes(files.errors, true, places, compare);
  Merged out;
  const auto take = [&](const LineReader::Line& line) -> Status {
    if (!shard.has(line.number)) return {};
    BRIMFUL_TRY(const std::string id, key_of(files.input, line));
    const auto at = places.find(id);
    if (at == places.end()) return fail(ErrorCode::kCorrupt, id);
    ++(at->second.failed ? out.failed : out.answers);
    return {};
  };
  if (read) {
    if (const auto content = read_lines(files.input, take, kLongestLine); !content)
      read = std::unexpected(content.error());
  }
  if (!read && read.error().code != ErrorCode::kCorrupt) return std::unexpected(read.error());
  if (!read || static_cast<std::size_t>(out.answers + out.failed) != places.size()) return std::nullopt;
  return out;
}

Result<Merged> merge_parts(const JobFiles& files, std::uint32_t count) {
  if (is_stream(files.output)) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("--output-file {}: --merge finds the parts by the name of the output: give the "
                            "file name that the shards were started with",
                            files.output.string()));
  }
  BRIMFUL_TRY_VOID(check_absent(files.output));
  BRIMFUL_TRY(const Places places, find_all_outcomes(files, count));
  Merged merged;
  BRIMFUL_TRY(WholeFile output, WholeFile::create(files.output));
  std::optional<WholeFile> errors;
  const auto take = [&](const LineReader::Line& line) -> Status {
    BRIMFUL_TRY(const std::string id, key_of(files.input, line));
    const auto at = places.find(id);
    if (at == places.end()) {
      return fail(
          ErrorCode::kCorrupt,
          fmt::format(
              "{}: line {}: no part has an answer to it ('{}'): the parts may belong to another input",
              files.input.string(), line.number, id));
    }
    const Place& place = at->second;
    BRIMFUL_TRY(const std::string outcome, read_at(place.file, place.offset, place.bytes));
    if (place.failed && !errors) {
      BRIMFUL_TRY(WholeFile file, WholeFile::create(files.errors));
      errors.emplace(std::move(file));
    }
    ++(place.failed ? merged.failed : merged.answers);
    return (place.failed ? *errors : output).write_line(outcome);
  };
  BRIMFUL_TRY_VOID(read_lines(files.input, take, kLongestLine));
  if (static_cast<std::size_t>(merged.answers + merged.failed) != places.size()) {
    return fail(
        ErrorCode::kCorrupt,
        fmt::format("the parts hold {} answers, and {} has {} requests: they may belong to another input",
                    places.size(), files.input.string(), merged.answers + merged.failed));
  }
  if (errors) BRIMFUL_TRY_VOID(errors->commit());
  BRIMFUL_TRY_VOID(output.commit());
  return merged;
}

}  // namespace brimful::batch
