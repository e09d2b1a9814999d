#include "serve/batch_queue.h"

#include <fmt/format.h>

#include "base/standard_error.h"
#include "openai/fields.h"

namespace brimful::serve {
namespace {

using Json = FileStore::Json;

constexpr std::chrono::milliseconds kLooking{5};  // The longest time for reading lines between two passes.
constexpr const char* kWhy = "the batch ended before this request was computed";
// The pause after the first failure. It doubles with each further one.
constexpr std::chrono::seconds kPause{1};
constexpr std::chrono::seconds kLongestPause{60};  // The longest pause after a failure.
// The longest time between two looks at waiting batches, which may expire.
constexpr std::chrono::seconds kBetweenLooks{60};
constexpr std::chrono::seconds kBetweenCounts{1};
constexpr int kMostFailures = 10;
// A batch is not taken up again after the process has ended so many times in a row while it was computed.
constexpr int kMostAttempts = 2;

Json list_of_errors(const std::vector<batch::WrongLine>& wrong) {
  Json data = Json::array();
  for (const batch::WrongLine& line : wrong) {
    const auto field = openai::field_of(line.what);
    data.push_back({{"code", "invalid_request"},
                    {"message", line.what},
                    {"param", field ? Json(*field) : Json()},
                    {"line", line.number}});
  }
  return data;
}

/// Returns the status with which a batch has to end before all of it is computed; nullopt when it goes on.
std::optional<std::string> early_end(const Json& batch) {
  const std::string status = batch["status"];
  if (status == "cancelling") return "cancelled";
  if (status != "finalizing" && unix_time() >= batch["expires_at"].get<std::int64_t>()) return "expired";
  return std::nullopt;
}

Status end_now(Json& batch, const std::string& status) {
  batch["status"] = status;
  batch[status + "_at"] = unix_time();
  return {};
}

Json one_error(const std::string& code, const std::string& message) {
  return Json::array({{{"code", code}, {"message", message}, {"param", nullptr}, {"line", nullptr}}});
}

void set_errors(Json& batch, Json errors) {
  batch["errors"] = {{"object", "list"}, {"data", std::move(errors)}};
}

}  // namespace

bool BatchQueue::advance() {
  if (Clock::now() < not_before_) return false;
  if (const Status status = go_on(); !status) pause(status.error());
  return batch_.has_value() && !writing_.valid();
}

/// Handles an error of the current batch. The batch pauses and is tried again, because a full disk may have
/// room by then. After many failures it is given up.
void BatchQueue::pause(const Error& error) {
  not_before_ = Clock::now() + std::min(kPause * (1 << std::min(failures_, 6)), kLongestPause);
  if (failures_++ == 0) tell("brimful: a batch is paused: {}\n", error.message);
  if (failures_ < kMostFailures || error.code == ErrorCode::kNoSpace || !batch_) return;
  if (job_ && job_->is_checked()) {  // The answers that it has are kept.
    gave_up_ = error.message;
    failures_ = 0;
  } else if (end_with_errors(one_error("server_error", error.message))) {
    // When not even this can be written, it is tried again later.
    failures_ = 0;
  }
}

void BatchQueue::failed(const Error& error) {
  if (!job_ || writing_.valid()) return;
  job_->withdraw(scheduler_);
  pause(error);
}

void BatchQueue::stop() {
  if (writing_.valid()) writing_.wait();
  end_attempt();
  if (!job_) return;
  job_->withdraw(scheduler_);
  if (const Status kept = job_->keep_outcomes(); !kept)
    tell("brimful: some answers of a batch are computed again: {}\n", kept.error().message);
}

void BatchQueue::leave_job() {
  if (job_) job_->withdraw(scheduler_);
  job_.reset();
  end_attempt();
}

/// When this cannot be written, the next start counts one attempt too many. That is no reason to end the
/// batch.
void BatchQueue::end_attempt() {
  if (!attempt_) return;
  if (store_.end_attempt(*attempt_)) attempt_.reset();
}

Status BatchQueue::change(const std::function<Status(Json&)>& change) {
  BRIMFUL_TRY(batch_, store_.change_batch((*batch_)["id"], change));
  return {};
}

/// Chooses the oldest batch that has not ended as the current one. Batches behind it that were cancelled or
/// have expired end at once.
Status BatchQueue::choose() {
  const std::uint64_t changes = store_.changes();
  if (seen_ == changes && Clock::now() - looked_ < kBetweenLooks) return {};
  BRIMFUL_TRY(auto open_ones, store_.open_batches());
  std::optional<Json> next;
  for (Json& batch : open_ones) {
    if (!next) {
      next = std::move(batch);
    } else if (const auto end = early_end(batch); end && batch["in_progress_at"].is_null()) {
      BRIMFUL_TRY_VOID(store_.change_batch(batch["id"], [&](Json& now) { return end_now(now, *end); }));
    }
  }
  if (!next || !batch_ || (*next)["id"] != (*batch_)["id"]) {
    leave_job();
    gave_up_.reset();
  }
  batch_ = std::move(next);
  seen_ = changes;
  looked_ = Clock::now();
  return {};
}

Status BatchQueue::go_on() {
  if (writing_.valid()) {
    if (writing_.wait_for(std::chrono::seconds(0)) != std::future_status::ready) return {};
    BRIMFUL_TRY_VOID(writing_.get());
    return finish();
  }
  BRIMFUL_TRY_VOID(choose());
  if (!batch_) return {};
  const auto end = gave_up_ ? std::optional<std::string>("failed") : early_end(*batch_);
  if (end && (*batch_)["in_progress_at"].is_null()) {
    if (job_) BRIMFUL_TRY_VOID(job_->remove_journal());
    job_.reset();
    end_attempt();
    return change([&](Json& batch) {
      if (gave_up_) set_errors(batch, one_error("server_error", *gave_up_));
      return end_now(batch, *end);
    });
  }
  if (!job_) return take_up();
  if (!job_->is_checked() || (*batch_)["status"] == "validating") return look_at_lines();
  if (!end) return compute();
  BRIMFUL_TRY(const bool done,
              job_->give_up(scheduler_, fmt::format("batch_{}", *end), gave_up_.value_or(kWhy)));
  if (done) begin_to_write(*end);
  return {};
}

Status BatchQueue::take_up() {
  const std::string id = (*batch_)["id"];
  if (!attempt_) {
    BRIMFUL_TRY(const int attempts, store_.begin_attempt(id));
    attempt_ = id;
    if (attempts > kMostAttempts) {
      return end_with_errors(
          one_error("server_error",
                    fmt::format("the server ended {} times in a row while it computed this batch, before any "
                                "of its requests was answered: send them in smaller batches to find the one",
                                attempts - 1)));
    }
  }
  output_ = output_of(id);
  errors_ = errors_of(id);
  batch::JobFiles files{store_.content((*batch_)["input_file_id"]), store_.content(output_),
                        store_.content(errors_), id};
  auto job = batch::Job::open(std::move(files), reader_,
                              {.model = model_,
                               .answers = settings_,
                               .shard = {},
                               .most_context = scheduler_.longest_prompt(),
                               .unreadable_lines_fail_alone = false});
  if (!job && job.error().code != ErrorCode::kNotFound) return std::unexpected(job.error());
  if (!job) return end_with_errors(one_error("invalid_input_file", "the input file is gone"));
  job_ = std::move(*job);
  job_->allow_only(*openai::endpoint_of((*batch_)["endpoint"].get<std::string>()));
  job_->allow_at_most(kMostLines);
  done_ = -1;
  if (job_->difference().empty() || (job_->is_checked() && job_->counts().left() == 0)) return {};
  if (job_->counts().left() == job_->counts().lines) return job_->begin_anew();
  gave_up_ = fmt::format(
      "the server was restarted with settings that give other answers: {}; send the rest in a new batch",
      job_->difference());
  return {};
}

Status BatchQueue::look_at_lines() {
  const auto checked = job_->check(kLooking);
  if (!checked && checked.error().code != ErrorCode::kInvalidArgument)
    return std::unexpected(checked.error());
  if (!checked) {
    const auto& wrong = job_->wrong_lines();
    return end_with_errors(wrong.empty() ? one_error("empty_file", "the input file contains no request")
                                         : list_of_errors(wrong));
  }
  if (!*checked) return {};
  return change([&](Json& batch) -> Status {
    // The batch was cancelled meanwhile, or it is taken up again.
    if (batch["status"] != "validating") return {};
    batch["status"] = "in_progress";
    batch["in_progress_at"] = unix_time();
    show_counts(batch);
    return {};
  });
}

void BatchQueue::show_counts(Json& batch) const {
  const batch::Store::Counts& counts = job_->counts();
  batch["request_counts"] = {
      {"total", counts.lines}, {"completed", counts.completed}, {"failed", counts.failed}};
}

Status BatchQueue::compute() {
  BRIMFUL_TRY_VOID(job_->keep_outcomes());
  const batch::Store::Counts& counts = job_->counts();
  if (counts.left() == 0) {
    BRIMFUL_TRY_VOID(change([&](Json& batch) -> Status {
      if (batch["status"] != "in_progress") return {};
      batch["status"] = "finalizing";
      batch["finalizing_at"] = unix_time();
      return {};
    }));
    if ((*batch_)["status"] == "finalizing") begin_to_write("completed");
    return {};
  }
  const std::int64_t done = counts.lines - counts.left();
  if (done != done_ && Clock::now() - counted_ > kBetweenCounts) {
    counted_ = Clock::now();
    done_ = done;
    failures_ = 0;
    end_attempt();
    BRIMFUL_TRY_VOID(change([&](Json& batch) -> Status {
      show_counts(batch);
      return {};
    }));
  }
  return job_->submit_some(scheduler_, kLooking);
}

/// Writes the output files on another thread, beside the passes. Nobody else uses the job until that is
/// done.
void BatchQueue::begin_to_write(const std::string& status) {
  end_status_ = status;
  writing_ = std::async(std::launch::async, [this] { return job_->write_files(); });
}

/// Ends a batch whose files are written. The journal is removed last: when the process is killed before
/// that, all of this is done again.
Status BatchQueue::finish() {
  const std::string id = (*batch_)["id"];
  const batch::Store::Counts& counts = job_->counts();
  if (counts.completed > 0)
    BRIMFUL_TRY_VOID(store_.keep_content(output_, id + "_output.jsonl", "batch_output"));
  if (counts.failed > 0) BRIMFUL_TRY_VOID(store_.keep_content(errors_, id + "_errors.jsonl", "batch_output"));
  BRIMFUL_TRY_VOID(change([&](Json& batch) -> Status {
    if (counts.completed > 0) batch["output_file_id"] = output_;
    if (counts.failed > 0) batch["error_file_id"] = errors_;
    show_counts(batch);
    if (gave_up_) set_errors(batch, one_error("server_error", *gave_up_));
    return end_now(batch, end_status_);
  }));
  BRIMFUL_TRY_VOID(job_->remove_journal());
  job_.reset();
  end_attempt();
  failures_ = 0;
  gave_up_.reset();
  return {};
}

Status BatchQueue::end_with_errors(Json errors) {
  leave_job();
  return change([&](Json& batch) -> Status {
    set_errors(batch, std::move(errors));
    return end_now(batch, "failed");
  });
}

}  // namespace brimful::serve
