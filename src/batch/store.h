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

/// One line of a batch: where it stands in the input, and how long it is.
struct Line {
  std::int64_t number = 0;               ///< From 1.
  std::optional<std::string> custom_id;  ///< Unset: the line cannot be read.
  /// Offset of the line in the input, in bytes.
  std::uint64_t offset = 0;
  /// Length of the line, in bytes.
  std::uint64_t bytes = 0;
  /// Tokens of the longest prompt.
  std::uint64_t prompt = 0;
  /// Tokens of the longest prompt and its answer. The answer counts with its limit, or with an estimate if it
  /// has none.
  std::uint64_t tokens = 0;
};

/// The result of a line: the JSON text for the output or for the errors.
struct Outcome {
  std::int64_t number = 0;
  bool failed = false;
  std::string json;
};

/// The journal of a batch, in a SQLite file (WAL, synced with each commit). Whatever interrupts the program,
/// a line has a complete outcome, or none. One process at a time can open it. Errors of all functions: kIo,
/// with the file and the system's reason; kCorrupt for a damaged file; kNoSpace when the disk is full.
/// Nothing has changed then, and the call can be repeated.
class Store {
 public:
  /// Opens the file, or creates it. `input` identifies the batch's input. A file of another input is emptied,
  /// as long as it holds no outcome. Errors: as above; kInvalidArgument when the file has outcomes of another
  /// input, when another version of the program wrote it, or when another process uses it.
  [[nodiscard]] static Result<Store> open(const std::filesystem::path& path, const std::string& input);
  Store(Store&&) noexcept;
  Store& operator=(Store&&) = delete;
  ~Store();

  /// Whether the journal has lines, that is, whether add() has succeeded.
  [[nodiscard]] Result<bool> has_lines() const;
  /// Adds all lines of the batch, the outcomes that some of them have already, and the settings for all later
  /// outcomes. Adds everything or nothing. Called once, when all lines are checked.
  [[nodiscard]] Status add(std::span<const Line> lines, std::span<const Outcome> outcomes,
                           const Settings& settings);
  /// The settings that add() was given; empty before add().
  [[nodiscard]] Result<Settings> settings() const;

  /// Saves a decision of the program under a name, so that a resumed batch makes the same one.
  [[nodiscard]] Status keep_choice(const std::string& name, const std::string& value);
  /// A decision that was saved; nothing when there is none with this name.
  [[nodiscard]] Result<std::optional<std::string>> choice(const std::string& name) const;

  /// Removes all lines, outcomes, settings and decisions.
  [[nodiscard]] Status begin_anew();

  struct Counts {
    std::int64_t lines = 0;
    std::int64_t completed = 0;
    std::int64_t failed = 0;
    [[nodiscard]] std::int64_t left() const { return lines - completed - failed; }
  };
  [[nodiscard]] Result<Counts> counts() const;

  /// A summary of lines without an outcome. All numbers but `lines` are tokens.
  struct Work {
    std::int64_t lines = 0;
    /// The largest Line::tokens.
    std::uint64_t most_tokens = 0;
    /// Enough for every prompt with an answer of `answer` tokens, or of the line's own limit if that is less.
    std::uint64_t least_tokens = 0;
    std::uint64_t mean_prompt = 0;
    std::uint64_t mean_tokens = 0;
  };
  /// The summary of the lines without an outcome whose prompts have at most `longest_prompt` tokens.
  [[nodiscard]] Result<Work> work(std::uint64_t answer, std::uint64_t longest_prompt = INT64_MAX) const;
  /// The different prompt lengths of lines without an outcome, ascending.
  [[nodiscard]] Result<std::vector<std::uint64_t>> prompt_lengths() const;
  /// The first line after line number `after` that has no outcome; nothing when there is none.
  [[nodiscard]] Result<std::optional<Line>> next(std::int64_t after) const;
  /// Writes outcomes for good: all of them or none. Requires: their lines have no outcome.
  [[nodiscard]] Status finish(std::span<const Outcome> outcomes);
  /// Calls `take` with the outcomes in the order of the lines: only failed ones, only others, or all if
  /// `failed` is unset. An error of `take` ends the loop and is returned.
  [[nodiscard]] Status for_each(std::optional<bool> failed,
                                const std::function<Status(const std::string& json)>& take) const;

  /// Closes and removes the file. After an error, only this function may be called, again.
  [[nodiscard]] Status take_away();

 private:
  explicit Store(std::unique_ptr<SQLite::Database> database);
  std::unique_ptr<SQLite::Database> database_;
  std::string path_;  // set when the database is closed
};

}  // namespace brimful::batch
