#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "batch/settings.h"

namespace SQLite {
class Database;
}

namespace brimful::batch {

/// One line of a batch: where it stands in the input.
struct Line {
  std::int64_t number = 0;               ///< from 1
  std::optional<std::string> custom_id;  ///< Unset: the line cannot be read.
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  std::uint64_t prompt = 0;  ///< tokens
  std::uint64_t tokens = 0;  ///< of prompt and answer, at most or about
};

/// What became of a line: the JSON that goes to the output, or to the errors.
struct Outcome {
  std::int64_t number = 0;
  bool failed = false;
  std::string json;
};

/// How far a batch has come, in a SQLite file (WAL, synced with each commit): whatever happens, a line has an
/// outcome, whole, or none. One process at a time. Errors: kIo, with the file and the system's reason, and
/// kNoSpace where the disk is full: nothing has changed then, and the call can be made again.
class Store {
 public:
  /// Opens the file, or makes it. `input` tells one batch from another: a file of another input is begun anew
  /// as long as it holds no outcome. Errors: as above; kInvalidArgument where the file has outcomes of
  /// another input, another version of the program wrote it, or another process is at work on it.
  [[nodiscard]] static Result<Store> open(const std::filesystem::path& path, const std::string& input);
  Store(Store&&) noexcept;
  Store& operator=(Store&&) = delete;
  ~Store();

  /// Whether add() has been called.
  [[nodiscard]] Result<bool> has_lines() const;
  /// Keeps all lines once they have been checked, the outcomes that some of them have already, and the
  /// settings that all later outcomes are computed with. Either everything is kept or nothing.
  [[nodiscard]] Status add(std::span<const Line> lines, std::span<const Outcome> outcomes,
                           const Settings& settings);
  /// What add() was given; empty before.
  [[nodiscard]] Result<Settings> settings() const;

  /// Keeps a decision that the batch made by itself, so that it goes on with the same one.
  [[nodiscard]] Status keep_choice(const std::string& name, const std::string& value);
  [[nodiscard]] Result<std::optional<std::string>> choice(const std::string& name) const;

  /// Forgets lines, their outcomes and settings.
  [[nodiscard]] Status begin_anew();

  struct Counts {
    std::int64_t lines = 0;
    std::int64_t completed = 0;
    std::int64_t failed = 0;
    [[nodiscard]] std::int64_t left() const { return lines - completed - failed; }
  };
  [[nodiscard]] Result<Counts> counts() const;

  /// What lines without an outcome ask for. All are tokens but `lines`.
  struct Work {
    std::int64_t lines = 0;
    std::uint64_t most_tokens = 0;  ///< of one line, prompt and answer
    std::uint64_t least_tokens =
        0;  ///< that hold each prompt and `answer` tokens, or as many as the line asks for
    std::uint64_t mean_prompt = 0;
    std::uint64_t mean_tokens = 0;
  };
  /// Of the lines whose prompt has at most so many tokens.
  [[nodiscard]] Result<Work> work(std::uint64_t answer, std::uint64_t longest_prompt = INT64_MAX) const;
  /// How many tokens the prompts of lines without an outcome have: each number once, ascending.
  [[nodiscard]] Result<std::vector<std::uint64_t>> prompt_lengths() const;
  /// The first line behind number `after` that has no outcome.
  [[nodiscard]] Result<std::optional<Line>> next(std::int64_t after) const;
  /// Keeps outcomes for good; all or none of them. Requires: their lines have none.
  [[nodiscard]] Status finish(std::span<const Outcome> outcomes);
  /// Outcomes in the order of the lines: those that failed, those that did not, or, without `failed`, all. An
  /// error of `take` ends it.
  [[nodiscard]] Status for_each(std::optional<bool> failed,
                                const std::function<Status(const std::string& json)>& take) const;

  /// The batch is over: the file goes. After an error, only this may be called again.
  [[nodiscard]] Status take_away();

 private:
  explicit Store(std::unique_ptr<SQLite::Database> database);
  std::unique_ptr<SQLite::Database> database_;
  std::string path_;  // once it is closed
};

}  // namespace brimful::batch
