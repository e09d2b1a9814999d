#include "serve/batch_queue.h"

#include <fmt/format.h>

namespace strata::serve {
namespace {

using Json = Archive::Json;

constexpr std::chrono::milliseconds kLooking{5};  // between two passes
constexpr std::chrono::seconds kPause{1};
constexpr std::chrono::seconds kBetweenCounts{1};
constexpr int kMostFailures = 10;

/// `messages[0].content: must be a string` is about a field; not all messages are.
std::optional<std::string> field_of(const std::string& message) {
  const std::size_t colon = message.find(": ");
  if (colon == std::string::npos || message.find(' ') < colon) return std::nullopt;
  return message.substr(0, colon);
}

Json list_of_errors(const std::vector<batch::WrongLine>& wrong) {
  Json data = Json::array();
  for (const batch::WrongLine& line : wrong) {
    const auto field = field_of(line.what);
    data.push_back({{"code", "invalid_request"},
                    {"message", line.what},
                    {"param", field ? Json(*field) : Json()},
                    {"line", line.number}});
  }
  return data;
}

Json one_error(const std::string& code, const std::string& message) {
  return Json::array({{{"code", code}, {"message", message}, {"param", nullptr}, {"line", nullptr}}});
}

}  // namespace

bool BatchQueue::advance() {
  if (Clock::now() < not_before_) return false;
  if (const Status status = go_on(); !status) pause(status.error());
  return batch_.has_value();
}

void BatchQueue::pause(const Error& error) {
  not_before_ = Clock::now() + kPause;
  if (failures_++ == 0) fmt::print(stderr, "strata: a batch waits: {}\n", error.message);
  if (failures_ < kMostFailures || error.code == ErrorCode::kNoSpace || !batch_) return;
  // Where not even this can be written down, it is tried again, too.
  if (const Status ended = give_up("failed", "server_error", error.message); ended) failures_ = 0;
}

void BatchQueue::failed(const Error& error) {
  if (!job_) return;
  job_->withdraw(executor_);
  pause(error);
}

void BatchQueue::stop() {
  if (!job_) return;
  job_->withdraw(executor_);
  if (const Status kept = job_->keep_outcomes(); !kept)
    fmt::print(stderr, "strata: some answers of a batch are computed again: {}\n", kept.error().message);
}

Status BatchQueue::change(const std::function<void(Json&)>& change) {
  STRATA_TRY(batch_, archive_.change_batch((*batch_)["id"], [&](Json& batch) -> Status {
    change(batch);
    return {};
  }));
  return {};
}

Status BatchQueue::go_on() {
  if (seen_ != archive_.changes()) {
    seen_ = archive_.changes();
    STRATA_TRY(auto next, archive_.next_batch());
    if (!next || !batch_ || (*next)["id"] != (*batch_)["id"]) job_.reset();
    batch_ = std::move(next);
  }
  if (!batch_) return {};
  const std::string status = (*batch_)["status"];
  if (status == "cancelling")
    return give_up("cancelled", "batch_cancelled",
                   "the batch was cancelled before this request was computed");
  if (status != "finalizing" && unix_time() >= (*batch_)["expires_at"].get<std::int64_t>())
    return give_up("expired", "batch_expired", "the batch's time was over before this request was computed");
  if (!job_) return take_up();
  if (status == "validating") return look_at_lines();
  return compute();
}

Status BatchQueue::take_up() {
  const std::string id = (*batch_)["id"];
  output_ = output_of(id);
  errors_ = errors_of(id);
  batch::JobFiles files{archive_.content((*batch_)["input_file_id"]), archive_.content(output_),
                        archive_.content(errors_), id};
  auto job = batch::Job::open(std::move(files), reader_, model_);
  if (!job && job.error().code != ErrorCode::kNotFound) return std::unexpected(job.error());
  if (!job) return end_with_errors(one_error("invalid_input_file", "the input file is gone"));
  job_ = std::move(*job);
  job_->allow_only(*batch::endpoint_of((*batch_)["endpoint"].get<std::string>()));
  job_->allow_at_most(kMostLines);
  done_ = -1;
  return {};
}

Status BatchQueue::look_at_lines() {
  const auto checked = job_->check(kLooking);
  if (!checked && checked.error().code != ErrorCode::kInvalidArgument)
    return std::unexpected(checked.error());
  if (!checked) {
    const auto& wrong = job_->wrong_lines();
    return end_with_errors(wrong.empty() ? one_error("empty_file", "the input file holds no request")
                                         : list_of_errors(wrong));
  }
  if (!*checked) return {};
  return change([&](Json& batch) {
    batch["status"] = "in_progress";
    batch["in_progress_at"] = unix_time();
    show_counts(batch);
  });
}

void BatchQueue::show_counts(Json& batch) const {
  const batch::Store::Counts& counts = job_->counts();
  batch["request_counts"] = {
      {"total", counts.lines}, {"completed", counts.completed}, {"failed", counts.failed}};
}

Status BatchQueue::compute() {
  STRATA_TRY_VOID(job_->keep_outcomes());
  const batch::Store::Counts& counts = job_->counts();
  if (counts.left() == 0) return finish("completed");
  const std::int64_t done = counts.lines - counts.left();
  if (done != done_ && Clock::now() - counted_ > kBetweenCounts) {
    counted_ = Clock::now();
    done_ = done;
    failures_ = 0;
    STRATA_TRY_VOID(change([&](Json& batch) { show_counts(batch); }));
  }
  return job_->submit_some(executor_);
}

Status BatchQueue::give_up(const std::string& status, const std::string& code, const std::string& message) {
  if (!job_ && (*batch_)["in_progress_at"].is_null()) {
    return change([&](Json& batch) {
      batch["status"] = status;
      batch[status + "_at"] = unix_time();
    });
  }
  if (!job_) return take_up();  // what it has computed is still to be had
  if ((*batch_)["in_progress_at"].is_null()) {
    STRATA_TRY_VOID(job_->take_account_away());
    job_.reset();
    return {};
  }
  STRATA_TRY_VOID(job_->give_up(executor_, code, message));
  return finish(status);
}

/// The account goes last: killed before that, this is done again.
Status BatchQueue::finish(const std::string& status) {
  if ((*batch_)["status"] == "in_progress") {
    STRATA_TRY_VOID(change([&](Json& batch) {
      batch["status"] = "finalizing";
      batch["finalizing_at"] = unix_time();
      show_counts(batch);
    }));
  }
  STRATA_TRY_VOID(job_->write_files());
  const std::string id = (*batch_)["id"];
  STRATA_TRY_VOID(archive_.keep_content(output_, id + "_output.jsonl", "batch_output"));
  const bool some_failed = job_->counts().failed > 0;
  if (some_failed) STRATA_TRY_VOID(archive_.keep_content(errors_, id + "_errors.jsonl", "batch_output"));
  STRATA_TRY_VOID(change([&](Json& batch) {
    batch["status"] = status;
    batch[status + "_at"] = unix_time();
    batch["output_file_id"] = output_;
    if (some_failed) batch["error_file_id"] = errors_;
    show_counts(batch);
  }));
  STRATA_TRY_VOID(job_->take_account_away());
  job_.reset();
  failures_ = 0;
  return {};
}

Status BatchQueue::end_with_errors(Json errors) {
  job_.reset();
  return change([&](Json& batch) {
    batch["status"] = "failed";
    batch["failed_at"] = unix_time();
    batch["errors"] = {{"object", "list"}, {"data", std::move(errors)}};
  });
}

}  // namespace strata::serve
