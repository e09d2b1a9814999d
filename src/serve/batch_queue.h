#pragma once

#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <string>

#include "batch/job.h"
#include "serve/file_store.h"

namespace brimful::serve {

/// Computes the batches of a FileStore, one after the other. Their requests wait behind all other requests
/// of the scheduler. A batch that is interrupted by the end of the process goes on after the next start.
/// Threading: the scheduler's thread calls all functions.
class BatchQueue {
 public:
  /// The most lines of a batch, as in OpenAI's API.
  static constexpr std::size_t kMostLines = 50'000;

  /// `model` is the model's name in answers. `settings` are the settings that change answers: a batch that
  /// was begun with other settings fails, and keeps the answers that it has. Lifetime: all references
  /// outlive this object.
  BatchQueue(FileStore& store, const openai::ApiReader& reader, schedule::Scheduler& scheduler,
             std::string model, batch::Settings settings)
      : store_(store),
        reader_(reader),
        scheduler_(scheduler),
        model_(std::move(model)),
        settings_(std::move(settings)) {}

  /// Does the next step of the current batch: takes it up, checks some lines, submits some requests, or ends
  /// it. The ServeLoop calls this before each pass. Returns whether there is work now. Errors never end the
  /// server: they delay or end the batch, and are written into its object.
  bool advance();
  /// Says that a pass failed. The batch waits a little and tries again, a few times over minutes. After that
  /// it fails, and keeps the answers that it has.
  void failed(const Error& error);
  /// Ends the work because the server ends: withdraws the batch's requests from the scheduler, and keeps its
  /// answers for the next start.
  void stop();

 private:
  using Clock = std::chrono::steady_clock;

  [[nodiscard]] Status choose();
  [[nodiscard]] Status go_on();
  [[nodiscard]] Status take_up();
  [[nodiscard]] Status look_at_lines();
  [[nodiscard]] Status compute();
  void begin_to_write(const std::string& status);
  [[nodiscard]] Status finish();
  void pause(const Error& error);
  void leave_job();
  void end_attempt();
  [[nodiscard]] Status end_with_errors(FileStore::Json errors);
  [[nodiscard]] Status change(const std::function<Status(FileStore::Json&)>& change);
  void show_counts(FileStore::Json& batch) const;

  FileStore& store_;
  const openai::ApiReader& reader_;
  schedule::Scheduler& scheduler_;
  const std::string model_;
  const batch::Settings settings_;
  std::optional<FileStore::Json> batch_;  // The current batch, as the store has it.
  std::unique_ptr<batch::Job> job_;
  // The ids of the files that the current batch writes.
  std::string output_;
  std::string errors_;
  std::future<Status> writing_;  // Valid while another thread writes these files.
  std::string end_status_;       // The status that the batch gets when they are written.
  std::uint64_t seen_ = 0;       // The value of FileStore::changes() at the last look.
  Clock::time_point looked_;
  Clock::time_point not_before_;
  Clock::time_point counted_;
  int failures_ = 0;                    // The number of failures in a row.
  std::optional<std::string> attempt_;  // The batch whose attempt is counted in the store.
  std::optional<std::string> gave_up_;  // Why the current batch is given up; unset: it is not.
  std::int64_t done_ = 0;               // The number of finished requests that the store shows.
};

}  // namespace brimful::serve
