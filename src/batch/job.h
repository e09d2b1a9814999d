#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "batch/line_file.h"
#include "batch/store.h"
#include "openai/request.h"
#include "schedule/scheduler.h"

namespace brimful::batch {

/// Of a batch that several processes work on, on one machine or many: every `count`th line, from the
/// `index`th on.
struct Shard {
  std::uint32_t index = 0;
  std::uint32_t count = 1;

  [[nodiscard]] bool has(std::int64_t line) const { return (line - 1) % count == index; }
};

struct JobFiles {
  std::filesystem::path
      input;  ///< lines of OpenAI's batch API; a file that can be read again: see keep_stream()
  std::filesystem::path output;   ///< an answer for each line that got one; may be a stream: see is_stream()
  std::filesystem::path errors;   ///< for each of the others; a file is made only where there are some
  std::string identity;           ///< of an input that never changes; empty: its content tells it from others
  std::filesystem::path journal;  ///< Empty: the output's name with `.brimful` behind it.
  std::string input_name;         ///< What messages call the input; empty: its path.
  std::filesystem::path kept_input;  ///< Where `input` moves to, until the journal goes; empty: it stays.

  /// Those of a part.
  [[nodiscard]] JobFiles of(const Shard& shard) const;

  /// How far it has come, until output and errors are written.
  [[nodiscard]] std::filesystem::path account() const {
    return journal.empty() ? std::filesystem::path(output.string() + ".brimful") : journal;
  }

  /// Renames an account that was begun under this project's former name. Errors: kIo.
  [[nodiscard]] Status take_over_account() const;
};

/// What a job is computed with.
struct JobSettings {
  std::string model;  ///< The model's name in answers. A job that goes on keeps the name that it began with.
  Settings answers;   ///< Everything that changes answers; compared with what an earlier run kept.
  Shard shard = {};
  /// Tokens that no context of this job exceeds; unset: not known. A line whose text cannot be that short
  /// fails alone before it becomes tokens, which takes many times the memory of the text.
  std::optional<std::uint64_t> most_context;
  bool unreadable_lines_fail_alone = true;  ///< False: one of them is reason to refuse the whole input.
};

/// What is wrong with a line, beginning with the field.
struct WrongLine {
  std::int64_t number = 0;
  std::string what;
};

/// A file of requests, answered once each, whatever happens meanwhile: see Store. Output and errors appear
/// when all are, whole. Threading: one thread.
class Job {
 public:
  /// Begins, or goes on where an earlier one was stopped. `files`: those of the shard. Errors: kNotFound;
  /// those of Store.
  [[nodiscard]] static Result<std::unique_ptr<Job>> open(JobFiles files, const openai::ApiReader& reader,
                                                         JobSettings settings);
  ~Job();
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  /// Which lines are right, beside what ApiReader says; unset: all.
  void allow_only(openai::Endpoint endpoint) { only_ = endpoint; }
  void allow_at_most(std::size_t lines) { most_lines_ = lines; }

  /// What an earlier run was given that would make other answers, for people: see batch::difference(). Where
  /// it is not empty, nothing may be computed: the job can only be given up, written out or begun anew.
  [[nodiscard]] const std::string& difference() const { return difference_; }
  /// Forgets what an earlier run did. Requires: nothing is in an scheduler. Errors: those of Store,
  /// kNotFound.
  [[nodiscard]] Status begin_anew();

  /// Looks at lines that it has not looked at yet, those of other shards too, for about so long. True: at all
  /// of them, and they can be answered. Errors: kInvalidArgument, with line and field of the first ones that
  /// are wrong, and the account is gone; those of Store.
  [[nodiscard]] Result<bool> check(std::chrono::milliseconds time);
  /// The first lines that are wrong.
  [[nodiscard]] const std::vector<WrongLine>& wrong_lines() const { return wrong_; }
  /// The first lines of this shard that cannot be read and fail alone, and how many there are; known in the
  /// run that has checked them.
  [[nodiscard]] const std::vector<WrongLine>& unreadable_lines() const { return unreadable_; }
  [[nodiscard]] std::size_t unreadable_count() const { return unreadable_count_; }
  [[nodiscard]] bool is_checked() const { return checking_ == nullptr; }

  [[nodiscard]] const Store::Counts& counts() const { return counts_; }
  /// What is left, and the decisions that the job keeps.
  [[nodiscard]] Store& store() { return store_; }
  /// Whether an earlier one had begun it.
  [[nodiscard]] bool resumed() const { return resumed_; }

  struct Watch {
    std::function<bool()> stopped;                ///< asked before each pass; true: end with kCancelled
    std::function<void(const Job&)> on_progress;  ///< after each pass
    std::function<void(const Error&)> on_pause;   ///< the disk is full: it goes on when there is room
  };
  /// Answers what has no answer yet. Errors: kCancelled, those of schedule::Scheduler::step and of Store.
  [[nodiscard]] Status run(schedule::Scheduler& scheduler, const Watch& watch);
  /// Writes output and errors, and takes the account away. Requires: nothing is left. Errors: kIo where an
  /// output is a stream that takes no more: the journal stays, and all is written again by the next run.
  [[nodiscard]] Status write_out(const Watch& watch);

  // --- The parts of these, for who drives the scheduler himself ---

  /// Lines, as many as should wait in the scheduler, for about so long. Errors: kIo; those of Store.
  [[nodiscard]] Status submit_some(schedule::Scheduler& scheduler, std::chrono::milliseconds time);
  /// Keeps the outcomes that have come. Errors: those of Store: they are still to be kept.
  [[nodiscard]] Status keep_outcomes();
  /// Takes back what is in the scheduler, as if it had not been submitted.
  void withdraw(schedule::Scheduler& scheduler);
  /// Some of what has no outcome get this one; false: there are more. Errors: those of Store.
  [[nodiscard]] Result<bool> give_up(schedule::Scheduler& scheduler, const std::string& code,
                                     const std::string& message);
  /// Output and errors, again where they are there. Requires: nothing is left.
  [[nodiscard]] Status write_files();
  [[nodiscard]] Status take_account_away();

 private:
  struct Checking;
  Job(JobFiles files, const openai::ApiReader& reader, JobSettings settings, Store store);
  [[nodiscard]] Status begin_checking();
  [[nodiscard]] Status look_at(const LineReader::Line& line);
  [[nodiscard]] std::optional<Error> too_long(const nlohmann::ordered_json& line, Line& out) const;
  [[nodiscard]] Status end_checking();
  [[nodiscard]] Status submit(schedule::Scheduler& scheduler, const Line& line);
  void answered(const Line& line, const openai::ApiRequest& request,
                Result<std::vector<schedule::Answer>> answers);
  void refused(const Line& line, const Error& error);

  JobFiles files_;
  const openai::ApiReader& reader_;
  JobSettings settings_;
  std::string fingerprint_;
  std::size_t longest_token_;  // bytes of text that one token stands for, at most; 0: not known
  Store store_;
  Store::Counts counts_;
  bool resumed_ = false;
  std::string difference_;
  std::optional<openai::Endpoint> only_;
  std::size_t most_lines_ = SIZE_MAX;
  std::unique_ptr<Checking> checking_;  // until all lines have been
  std::vector<WrongLine> wrong_;
  std::vector<WrongLine> unreadable_;
  std::size_t unreadable_count_ = 0;
  std::int64_t submitted_ = 0;  // the last line that was
  std::map<std::int64_t, std::vector<schedule::Scheduler::Id>> in_scheduler_;
  std::vector<Outcome> outcomes_;
};

/// Again and again, while it fails with kNoSpace, until `watch` says to stop. Blocks.
[[nodiscard]] Status patiently(const Job::Watch& watch, const std::function<Status()>& work);

}  // namespace brimful::batch
