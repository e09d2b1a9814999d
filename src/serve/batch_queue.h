#pragma once

#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <string>

#include "batch/job.h"
#include "serve/file_store.h"

namespace brimful::serve {

/// The batches of the store on the scheduler's thread: one after the other, behind whatever else the
/// scheduler has to do. What stops in between goes on with the next start. Threading: one thread calls it.
class BatchQueue {
 public:
  static constexpr std::size_t kMostLines = 50'000;  ///< of a batch, as OpenAI has it

  /// All outlive it. `model`: its name in answers. `settings`: what changes answers; a batch that was begun
  /// with other ones fails, with the answers that it has.
  BatchQueue(FileStore& store, const openai::ApiReader& reader, schedule::Scheduler& scheduler,
             std::string model, batch::Settings settings)
      : store_(store),
        reader_(reader),
        scheduler_(scheduler),
        model_(std::move(model)),
        settings_(std::move(settings)) {}

  /// Before each pass: takes up a batch, looks at its lines, submits some, ends it. Whether there is work
  /// now. No error ends the server: what a batch meets is its own, and said there.
  bool advance();
  /// After a pass that failed: the batch waits a little, and then tries again; a few times, over minutes.
  /// Then it fails, with what has been answered.
  void failed(const Error& error);
  /// The server ends: what the scheduler has of it is taken back.
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
  std::optional<FileStore::Json> batch_;  // the current one, as the store has it
  std::unique_ptr<batch::Job> job_;
  std::string output_;  // ids of its files
  std::string errors_;
  std::future<Status> writing_;  // of these
  std::string end_status_;       // then
  std::uint64_t seen_ = 0;       // of FileStore::changes()
  Clock::time_point looked_;
  Clock::time_point not_before_;
  Clock::time_point counted_;
  int failures_ = 0;                    // in a row
  std::optional<std::string> attempt_;  // the batch whose attempt is counted in the store
  std::optional<std::string> gave_up_;  // on the current one, and why
  std::int64_t done_ = 0;
};

}  // namespace brimful::serve
