#pragma once

#include <filesystem>
#include <functional>
#include <vector>

#include "batch/api_request.h"
#include "batch/executor.h"
#include "batch/store.h"

namespace strata::batch {

/// Of a batch that several processes work on, on one machine or many: every `count`th line, from the
/// `index`th on.
struct Shard {
  std::uint32_t index = 0;
  std::uint32_t count = 1;

  [[nodiscard]] bool has(std::int64_t line) const { return (line - 1) % count == index; }
};

struct JobFiles {
  std::filesystem::path input;   ///< lines of OpenAI's batch API
  std::filesystem::path output;  ///< an answer for each line that got one
  std::filesystem::path errors;  ///< for each of the others; made only where there are some

  /// Those of a part.
  [[nodiscard]] JobFiles of(const Shard& shard) const;

  /// How far it has come, until output and errors are written.
  [[nodiscard]] std::filesystem::path account() const { return output.string() + ".strata"; }
};

/// A file of requests, answered once each, whatever happens meanwhile: see Store. Output and errors appear
/// when all are, whole. Threading: one thread.
class Job {
 public:
  /// Begins, or goes on where an earlier one was stopped. Checks all lines, those of other shards too, before
  /// any is answered, and says what is wrong with the first ones. Errors: kInvalidArgument, with line and
  /// field; kNotFound; those of Store.
  [[nodiscard]] static Result<Job> open(JobFiles files, const ApiReader& reader, std::string model,
                                        Shard shard = {});

  [[nodiscard]] const Store::Counts& counts() const { return counts_; }
  /// Whether an earlier one had begun it.
  [[nodiscard]] bool resumed() const { return resumed_; }

  struct Watch {
    std::function<bool()> stopped;                ///< asked before each pass; true: end with kCancelled
    std::function<void(const Job&)> on_progress;  ///< after each pass
    std::function<void(const Error&)> on_pause;   ///< the disk is full: it goes on when there is room
  };
  /// Answers what has no answer yet. Errors: kCancelled, those of Executor::step and of Store.
  [[nodiscard]] Status run(Executor& executor, const Watch& watch);
  /// Writes output and errors, and takes the account away. Requires: nothing is left.
  [[nodiscard]] Status write_out(const Watch& watch);

 private:
  Job(JobFiles files, const ApiReader& reader, std::string model, Shard shard, Store store)
      : files_(std::move(files)),
        reader_(reader),
        model_(std::move(model)),
        shard_(shard),
        store_(std::move(store)) {}
  [[nodiscard]] Status check_lines();
  [[nodiscard]] Status submit_some(Executor& executor);
  [[nodiscard]] Status submit(Executor& executor, const Line& line);
  void answered(const Line& line, const ApiRequest& request, const std::string& text, Result<Answer> answer);
  void refused(const Line& line, const Error& error);
  [[nodiscard]] Status keep_outcomes(const Watch& watch);

  JobFiles files_;
  const ApiReader& reader_;
  std::string model_;
  Shard shard_;
  Store store_;
  Store::Counts counts_;
  bool resumed_ = false;
  std::int64_t submitted_ = 0;  // the last line that was
  std::vector<Outcome> outcomes_;
};

}  // namespace strata::batch
