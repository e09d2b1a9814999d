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

/// One of `count` parts of a batch, for several processes on one machine or many. It takes every `count`th
/// line of the input.
struct Shard {
  /// From 0 to count - 1. Line 1 of the input belongs to shard 0.
  std::uint32_t index = 0;
  std::uint32_t count = 1;

  [[nodiscard]] bool has(std::int64_t line) const { return (line - 1) % count == index; }
};

/// The files of a job.
struct JobFiles {
  /// Lines in the format of OpenAI's batch API. It must be a file that can be read again, see keep_stream().
  std::filesystem::path input;
  /// An answer for each line that did not fail. It may be a stream, see is_stream().
  std::filesystem::path output;
  /// An outcome for each line that failed. The file is made only when a line fails. It may be the same path
  /// as `output`.
  std::filesystem::path errors;
  /// Identifies an input that never changes. Empty: the input is identified by its content.
  std::string identity;
  /// The journal; empty: the name of the output with `.brimful` appended.
  std::filesystem::path journal;
  /// The name of the input in messages; empty: its path.
  std::string input_name;
  /// The file that `input` is moved to, until the job is done; empty: the input stays.
  std::filesystem::path kept_input;

  /// The files of one shard.
  [[nodiscard]] JobFiles of(const Shard& shard) const;

  /// The path of the journal. The journal exists until output and errors are written.
  [[nodiscard]] std::filesystem::path journal_path() const {
    return journal.empty() ? std::filesystem::path(output.string() + ".brimful") : journal;
  }

  /// Renames a journal that was begun under this project's former name. Errors: kIo.
  [[nodiscard]] Status take_over_journal() const;
};

/// The settings that a job is computed with.
struct JobSettings {
  /// The model's name in answers. A job that is resumed keeps the name that it began with.
  std::string model;
  /// All settings that change answers. They are compared with those in the journal.
  Settings answers;
  Shard shard = {};
  /// The largest number of tokens that a context of this job may hold; unset: not known. A line with a longer
  /// text fails without being tokenized, because that takes many times the memory of the text.
  std::optional<std::uint64_t> most_context;
  /// False: one line that cannot be read makes check() refuse the whole input.
  bool unreadable_lines_fail_alone = true;
};

/// A line that cannot be accepted.
struct WrongLine {
  std::int64_t number = 0;
  std::string what;  ///< The reason. It begins with the field's name, if a field is wrong.
};

/// A file of requests. Each request is answered exactly once, whatever interrupts the job (see Store). Output
/// and errors appear when all requests have an outcome, and they are complete then. Threading: one thread at
/// a time.
class Job {
 public:
  /// Begins a job, or resumes one that was stopped. `files`: the files of this shard, see JobFiles::of().
  /// Errors: kNotFound; kInvalidArgument when a new job would overwrite a file; those of Store.
  [[nodiscard]] static Result<std::unique_ptr<Job>> open(JobFiles files, const openai::ApiReader& reader,
                                                         JobSettings settings);
  ~Job();
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  /// Makes check() refuse lines for other endpoints. Call it before check().
  void allow_only(openai::Endpoint endpoint) { only_ = endpoint; }
  /// Makes check() refuse more than `lines` requests. Call it before check().
  void allow_at_most(std::size_t lines) { most_lines_ = lines; }

  /// For people: the settings that differ from those of an earlier run and would change answers, see
  /// batch::difference(). When it is not empty, nothing may be computed: the job can only be given up,
  /// written out, or begun anew.
  [[nodiscard]] const std::string& difference() const { return difference_; }
  /// Forgets everything that an earlier run did. Requires: no request of the job is in a scheduler. Errors:
  /// those of Store; kNotFound.
  [[nodiscard]] Status begin_anew();

  /// Checks lines that were not checked yet, including those of other shards, for about `time`. Returns true
  /// when all lines are checked and can be computed. Errors: kInvalidArgument, with line and field of the
  /// first wrong lines; the journal is removed then. Also those of Store, and of reading the input.
  [[nodiscard]] Result<bool> check(std::chrono::milliseconds time);
  /// The first lines that are wrong, at most ten.
  [[nodiscard]] const std::vector<WrongLine>& wrong_lines() const { return wrong_; }
  /// The first lines of this shard that cannot be read and fail alone, at most ten. They are known only in
  /// the run that has checked the lines.
  [[nodiscard]] const std::vector<WrongLine>& unreadable_lines() const { return unreadable_; }
  /// The number of all lines of this shard that cannot be read and fail alone.
  [[nodiscard]] std::size_t unreadable_count() const { return unreadable_count_; }
  /// Whether all lines are checked.
  [[nodiscard]] bool is_checked() const { return checking_ == nullptr; }

  [[nodiscard]] const Store::Counts& counts() const { return counts_; }
  /// The journal: the lines without an outcome, and the job's own decisions.
  [[nodiscard]] Store& store() { return store_; }
  /// Whether an earlier run had begun the job.
  [[nodiscard]] bool resumed() const { return resumed_; }

  /// Functions that run() and write_out() call. All may be unset.
  struct Watch {
    std::function<bool()> stopped;  ///< Asked before each pass; true: the job ends with kCancelled.
    std::function<void(const Job&)> on_progress;  ///< Called after each pass.
    std::function<void(const Error&)>
        on_pause;  ///< Called when the disk is full. The job waits, and goes on when there is room.
  };
  /// Computes all lines that have no outcome yet. Requires: check() has returned true. Errors: kCancelled;
  /// those of schedule::Scheduler::step and of Store.
  [[nodiscard]] Status run(schedule::Scheduler& scheduler, const Watch& watch);
  /// Writes output and errors, and removes the journal. Requires: every line has an outcome. Errors: kIo, for
  /// example when an output is a stream that takes no more. The journal stays then, and the next run writes
  /// everything again.
  [[nodiscard]] Status write_out(const Watch& watch);

  // --- The steps of run() and write_out(), for callers that drive the scheduler themselves ---

  /// Submits lines to the scheduler, until enough of them wait there or `time` is over. Errors: kIo; those of
  /// Store.
  [[nodiscard]] Status submit_some(schedule::Scheduler& scheduler, std::chrono::milliseconds time);
  /// Writes the new outcomes to the journal. Errors: those of Store; call it again then.
  [[nodiscard]] Status keep_outcomes();
  /// Cancels all requests of the job that are in the scheduler. Their lines have no outcome, and are
  /// submitted again later.
  void withdraw(schedule::Scheduler& scheduler);
  /// Withdraws all requests, and gives some of the lines without an outcome this error as their outcome.
  /// Returns false when such lines are left: call it again. Errors: those of Store.
  [[nodiscard]] Result<bool> give_up(schedule::Scheduler& scheduler, const std::string& code,
                                     const std::string& message);
  /// Writes output and errors; replaces files that exist. Requires: every line has an outcome.
  [[nodiscard]] Status write_files();
  /// Removes the journal, and the kept input.
  [[nodiscard]] Status remove_journal();

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
  std::size_t longest_token_;  // the largest number of text bytes that one token stands for; 0: not known
  Store store_;
  Store::Counts counts_;
  bool resumed_ = false;
  std::string difference_;
  std::optional<openai::Endpoint> only_;
  std::size_t most_lines_ = SIZE_MAX;
  std::unique_ptr<Checking> checking_;  // null when all lines are checked
  std::vector<WrongLine> wrong_;
  std::vector<WrongLine> unreadable_;
  std::size_t unreadable_count_ = 0;
  std::int64_t submitted_ = 0;  // the number of the last line that was submitted
  std::map<std::int64_t, std::vector<schedule::Scheduler::Id>> in_scheduler_;
  std::vector<Outcome> outcomes_;
};

/// Repeats `work` as long as it fails with kNoSpace, until `watch.stopped` returns true. Blocks.
[[nodiscard]] Status patiently(const Job::Watch& watch, const std::function<Status()>& work);

}  // namespace brimful::batch
