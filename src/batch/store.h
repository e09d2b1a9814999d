#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/result.h"

namespace SQLite {
class Database;
}

namespace strata::batch {

/// One line of a batch: where it stands in the input.
struct Line {
  std::int64_t number = 0;  ///< from 1
  std::string custom_id;
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
  /// Opens the file, or makes it. `input` tells one batch from another. Errors: as above; kInvalidArgument
  /// where the file belongs to another input, or another process is at work on it.
  [[nodiscard]] static Result<Store> open(const std::filesystem::path& path, const std::string& input);
  Store(Store&&) noexcept;
  Store& operator=(Store&&) = delete;
  ~Store();

  /// Whether add() has been called.
  [[nodiscard]] Result<bool> has_lines() const;
  /// All lines, once they have been checked; all or none of them are added.
  [[nodiscard]] Status add(std::span<const Line> lines);

  struct Counts {
    std::int64_t lines = 0;
    std::int64_t completed = 0;
    std::int64_t failed = 0;
    std::uint64_t most_tokens = 0;  ///< of one line
    std::uint64_t longest_prompt = 0;
    std::uint64_t mean_prompt = 0;
    std::uint64_t mean_tokens = 0;
    [[nodiscard]] std::int64_t left() const { return lines - completed - failed; }
  };
  [[nodiscard]] Result<Counts> counts() const;
  /// The first line behind number `after` that has no outcome.
  [[nodiscard]] Result<std::optional<Line>> next(std::int64_t after) const;
  /// Keeps outcomes for good; all or none of them. Requires: their lines have none.
  [[nodiscard]] Status finish(std::span<const Outcome> outcomes);
  /// In the order of the lines; an error of `take` ends it.
  [[nodiscard]] Status for_each(bool failed,
                                const std::function<Status(const std::string& json)>& take) const;

  /// The batch is over: the file goes. After an error, only this may be called again.
  [[nodiscard]] Status take_away();

 private:
  explicit Store(std::unique_ptr<SQLite::Database> database);
  std::unique_ptr<SQLite::Database> database_;
  std::string path_;  // once it is closed
};

}  // namespace strata::batch
