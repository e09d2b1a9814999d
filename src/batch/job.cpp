#include "batch/job.h"

#include <fmt/format.h>

#include <chrono>
#include <set>
#include <thread>

#include "batch/api_answer.h"
#include "batch/api_fields.h"
#include "batch/line_file.h"

namespace strata::batch {
namespace {

using nlohmann::json;
using Json = nlohmann::ordered_json;

constexpr std::size_t kSaid = 10;           // lines that are wrong
constexpr std::size_t kAhead = 64;          // requests that wait: to be compared for common prefixes
constexpr std::uint64_t kUnlimited = 1024;  // tokens of an answer without a limit, about
constexpr std::chrono::seconds kPause{1};   // until a full disk is looked at again

struct ParsedLine {
  std::string custom_id;
  ApiRequest request;
};

/// Errors: kInvalidArgument, beginning with a field.
Result<ParsedLine> parse_line(std::string_view text, const ApiReader& reader) {
  STRATA_TRY(const json line, parse_json(text));
  if (!line.is_object()) return fail(ErrorCode::kInvalidArgument, "must be a JSON object");
  const Fields fields(line);
  STRATA_TRY(const auto custom_id, fields.text("custom_id"));
  if (!custom_id || custom_id->empty()) return fields.refuse("custom_id", "is missing");
  STRATA_TRY(const auto method, fields.text("method"));
  if (method.value_or("POST") != "POST") return fields.refuse("method", "must be POST");
  STRATA_TRY(const auto url, fields.text("url"));
  if (!url) return fields.refuse("url", "is missing");
  const auto endpoint = endpoint_of(*url);
  if (!endpoint) return fields.refuse("url", "must be /v1/chat/completions or /v1/completions");
  const json* const body = fields.find("body");
  if (body == nullptr) return fields.refuse("body", "is missing");
  auto request = reader.read(*endpoint, *body);
  if (!request) return fail(request.error().code, "body." + request.error().message);
  return ParsedLine{*custom_id, std::move(*request)};
}

std::uint64_t tokens_of(const ApiRequest& request) {
  const int limit = request.request.limit;
  return request.request.prompt.size() + (limit < 0 ? kUnlimited : static_cast<std::uint64_t>(limit));
}

/// As OpenAI writes them.
std::string outcome_json(const Line& line, int status, Json body, Json error) {
  Json response;
  if (!body.is_null()) {
    response = {{"status_code", status},
                {"request_id", fmt::format("req_{}", line.number)},
                {"body", std::move(body)}};
  }
  const Json out = {{"id", fmt::format("batch_req_{}", line.number)},
                    {"custom_id", line.custom_id},
                    {"response", std::move(response)},
                    {"error", std::move(error)}};
  return out.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// Again and again, while the disk is full.
Status patiently(const Job::Watch& watch, const std::function<Status()>& work) {
  for (bool said = false;;) {
    const Status status = work();
    if (status || status.error().code != ErrorCode::kNoSpace) return status;
    if (!said && watch.on_pause) watch.on_pause(status.error());
    said = true;
    if (watch.stopped && watch.stopped()) return status;
    std::this_thread::sleep_for(kPause);
  }
}

}  // namespace

Result<Job> Job::open(JobFiles files, const ApiReader& reader, std::string model, Shard shard) {
  files = files.of(shard);
  const bool known = std::filesystem::exists(files.account());
  for (const auto& file : {files.output, files.errors}) {
    if (!known) STRATA_TRY_VOID(check_absent(file));
  }
  STRATA_TRY(const std::string input, read_lines(files.input, [](auto, auto, auto) { return Status{}; }));
  STRATA_TRY(Store store, Store::open(files.account(), input));
  Job out(std::move(files), reader, std::move(model), shard, std::move(store));
  STRATA_TRY(out.resumed_, out.store_.has_lines());
  if (!out.resumed_) {
    const Status checked = out.check_lines();
    if (!checked) {
      STRATA_TRY_VOID(out.store_.take_away());
      return std::unexpected(checked.error());
    }
  }
  STRATA_TRY(out.counts_, out.store_.counts());
  return out;
}

Status Job::check_lines() {
  std::vector<Line> lines;
  std::set<std::string> ids;
  std::vector<std::string> wrong;
  std::size_t count = 0;
  const auto check = [&](std::int64_t number, std::uint64_t offset, std::string_view text) -> Status {
    auto parsed = parse_line(text, reader_);
    if (parsed && !ids.insert(parsed->custom_id).second)
      parsed = fail(ErrorCode::kInvalidArgument,
                    fmt::format("custom_id: '{}' was there before", parsed->custom_id));
    if (!parsed) {
      if (++count <= kSaid) wrong.push_back(fmt::format("line {}: {}", number, parsed.error().message));
      return {};
    }
    if (shard_.has(number))
      lines.push_back({number, parsed->custom_id, offset, text.size(), tokens_of(parsed->request)});
    return {};
  };
  STRATA_TRY_VOID(read_lines(files_.input, check));
  if (count > 0) {
    const std::string more = count > kSaid ? fmt::format("; and {} more lines", count - kSaid) : "";
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: {}{}", files_.input.string(), fmt::join(wrong, "; "), more));
  }
  if (ids.empty())
    return fail(ErrorCode::kInvalidArgument, fmt::format("{}: holds no request", files_.input.string()));
  return store_.add(lines);
}

Status Job::run(Executor& executor, const Watch& watch) {
  for (;;) {
    if (watch.stopped && watch.stopped()) return fail(ErrorCode::kCancelled, "stopped");
    STRATA_TRY_VOID(submit_some(executor));
    STRATA_TRY_VOID(keep_outcomes(watch));
    bool more = false;
    STRATA_TRY_VOID(patiently(watch, [&]() -> Status {
      STRATA_TRY(more, executor.step());
      return {};
    }));
    STRATA_TRY_VOID(keep_outcomes(watch));
    if (watch.on_progress) watch.on_progress(*this);
    if (!more && counts_.left() == 0) return {};
  }
}

Status Job::submit_some(Executor& executor) {
  while (executor.waiting() < kAhead) {
    STRATA_TRY(const auto line, store_.next(submitted_));
    if (!line) return {};
    submitted_ = line->number;
    STRATA_TRY_VOID(submit(executor, *line));
  }
  return {};
}

Status Job::submit(Executor& executor, const Line& line) {
  STRATA_TRY(const std::string text, read_at(files_.input, line.offset, line.bytes));
  auto parsed = parse_line(text, reader_);
  if (!parsed) {
    refused(line, parsed.error());
    return {};
  }
  const auto request = std::make_shared<ApiRequest>(std::move(parsed->request));
  const auto written = std::make_shared<std::string>();
  const auto id = executor.submit(
      request->request,
      {.on_text =
           [written](std::string_view piece) {
             *written += piece;
             return true;
           },
       .on_end = [this, line, request, written](
                     Result<Answer> answer) { answered(line, *request, *written, std::move(answer)); }});
  if (!id) refused(line, id.error());
  return {};
}

void Job::answered(const Line& line, const ApiRequest& request, const std::string& text,
                   Result<Answer> answer) {
  if (!answer) return refused(line, answer.error());
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const AnswerHead head{
      fmt::format("{}-{}", request.endpoint == Endpoint::kChat ? "chatcmpl" : "cmpl", line.number), model_,
      std::chrono::duration_cast<std::chrono::seconds>(now).count()};
  const std::size_t prompt = request.request.prompt.size();
  outcomes_.push_back(
      {line.number, false,
       outcome_json(line, 200, answer_body(head, request, prompt, *answer, text, reader_.vocab()), {})});
}

void Job::refused(const Line& line, const Error& error) {
  const int status = error.code == ErrorCode::kInvalidArgument ? 400 : 500;
  outcomes_.push_back({line.number, true, outcome_json(line, status, error_body(error), {})});
}

Status Job::keep_outcomes(const Watch& watch) {
  if (outcomes_.empty()) return {};
  STRATA_TRY_VOID(patiently(watch, [&] { return store_.finish(outcomes_); }));
  for (const Outcome& outcome : outcomes_) ++(outcome.failed ? counts_.failed : counts_.completed);
  outcomes_.clear();
  return {};
}

Status Job::write_out(const Watch& watch) {
  const auto write = [&](const std::filesystem::path& path, bool failed) -> Status {
    STRATA_TRY(WholeFile file, WholeFile::create(path));
    STRATA_TRY_VOID(store_.for_each(failed, [&](const std::string& json) { return file.write_line(json); }));
    return file.commit();
  };
  STRATA_TRY_VOID(patiently(watch, [&] { return write(files_.output, false); }));
  if (counts_.failed > 0) STRATA_TRY_VOID(patiently(watch, [&] { return write(files_.errors, true); }));
  return store_.take_away();
}

}  // namespace strata::batch
