#include "batch/job.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>
#include <unordered_set>

#include "base/check.h"
#include "base/former_name.h"
#include "batch/stream_file.h"
#include "openai/answer.h"
#include "openai/fields.h"
#include "openai/submit.h"
#include "schedule/prompt_length.h"

namespace brimful::batch {
namespace {

using json = nlohmann::ordered_json;

constexpr std::size_t kLongestId = 512;  // OpenAI's limit, in bytes
constexpr std::size_t kSaid = 10;        // number of wrong lines that are named
// Number of requests that wait in the scheduler, so that it can find their common prefixes.
constexpr std::size_t kAhead = 64;
// The assumed number of tokens of an answer without a limit.
constexpr std::uint64_t kUnlimited = 1024;
constexpr std::chrono::seconds kPause{1};  // time between two tries when the disk is full

struct ParsedLine {
  std::string custom_id;
  openai::ApiRequest request;
  std::optional<Error> fails;  // set when the model's chat template refuses this conversation
};

/// Reads the request of a line. Errors: kInvalidArgument; the message begins with a field's name.
Result<ParsedLine> parse_line(const json& line, const openai::ApiReader& reader,
                              std::optional<openai::Endpoint> only) {
  if (!line.is_object()) return fail(ErrorCode::kInvalidArgument, "must be a JSON object");
  const openai::Fields fields(line);
  BRIMFUL_TRY(const auto custom_id, fields.text("custom_id"));
  if (!custom_id || custom_id->empty()) return fields.refuse("custom_id", "is missing");
  if (custom_id->size() > kLongestId)
    return fields.refuse("custom_id", fmt::format("has more than {} bytes", kLongestId));
  BRIMFUL_TRY(const auto method, fields.text("method"));
  if (method.value_or("POST") != "POST") return fields.refuse("method", "must be POST");
  BRIMFUL_TRY(const auto url, fields.text("url"));
  if (!url) return fields.refuse("url", "is missing");
  const auto endpoint = openai::endpoint_of(*url);
  if (!endpoint)
    return fields.refuse("url", "must be /v1/chat/completions, /v1/completions or /v1/embeddings");
  if (only && endpoint != only) return fields.refuse("url", "differs from the batch's endpoint");
  const json* const body = fields.find("body");
  if (body == nullptr) return fields.refuse("body", "is missing");
  try {
    auto request = reader.read(*endpoint, *body);
    if (!request) {
      Error error{request.error().code, "body." + request.error().message};
      if (error.code == ErrorCode::kUnsupported) return ParsedLine{*custom_id, {}, std::move(error)};
      return std::unexpected(std::move(error));
    }
    return ParsedLine{*custom_id, std::move(*request), {}};
  } catch (const std::exception& error) {  // llama.cpp's readers throw
    return fields.refuse("body", error.what());
  }
}

/// The largest number of text bytes that one token stands for. 0 when the tokenizer may drop text, or may
/// read more text as one token than the token's piece shows.
std::size_t longest_token(const llama_vocab* vocab) {
  const enum llama_vocab_type type = llama_vocab_type(vocab);
  if (type != LLAMA_VOCAB_TYPE_SPM && type != LLAMA_VOCAB_TYPE_BPE) return 0;
  std::size_t out = 0;
  for (llama_token token = 0; token < llama_vocab_n_tokens(vocab); ++token)
    out = std::max(out, std::strlen(llama_vocab_get_text(vocab, token)));
  return out;
}

/// Length in bytes of the longest text in `body` that is tokenized.
std::size_t longest_text(const json& body) {
  const auto of = [](const json& value, const auto& self) -> std::size_t {
    if (value.is_string()) return value.get_ref<const std::string&>().size();
    std::size_t out = 0;
    if (value.is_array()) {
      for (const json& one : value) out = std::max(out, self(one, self));
    }
    for (const char* const name : {"content", "text"}) {
      if (value.is_object() && value.contains(name)) out = std::max(out, self(value[name], self));
    }
    return out;
  };
  std::size_t out = 0;
  for (const char* const name : {"prompt", "input", "messages"}) {
    if (body.is_object() && body.contains(name)) out = std::max(out, of(body[name], of));
  }
  return out;
}

/// Number of tokens of the longest prompt and its answer.
std::uint64_t tokens_of(const openai::ApiRequest& request) {
  const int limit = request.request.limit;
  if (request.endpoint == openai::Endpoint::kEmbeddings) return request.longest_prompt();
  return request.longest_prompt() + (limit < 0 ? kUnlimited : static_cast<std::uint64_t>(limit));
}

/// The outcome of a line, in the format of OpenAI's batch API.
std::string outcome_json(const Line& line, int status, json body, json error) {
  json response;
  if (!body.is_null()) {
    response = {{"status_code", status},
                {"request_id", fmt::format("req_{}", line.number)},
                {"body", std::move(body)}};
  }
  const json out = {{"id", fmt::format("batch_req_{}", line.number)},
                    {"custom_id", line.custom_id ? json(*line.custom_id) : json()},
                    {"response", std::move(response)},
                    {"error", std::move(error)}};
  return out.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace

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

/// The state while lines are being checked.
struct Job::Checking {
  explicit Checking(LineReader reader) : lines(std::move(reader)) {}

  LineReader lines;
  std::vector<Line> of_this_shard;
  std::vector<Outcome> refused;  // of lines of this shard that fail without being computed
  std::unordered_set<std::string> ids;
  std::size_t wrong = 0;
};

Job::Job(JobFiles files, const openai::ApiReader& reader, JobSettings settings, Store store)
    : files_(std::move(files)),
      reader_(reader),
      settings_(std::move(settings)),
      fingerprint_(batch::fingerprint(settings_.answers)),
      longest_token_(longest_token(reader.vocab())),
      store_(std::move(store)) {}
Job::~Job() = default;

Status JobFiles::take_over_journal() const {
  const std::filesystem::path now = journal_path();
  if (now.extension() != ".brimful") return {};
  std::filesystem::path former = now;
  former.replace_extension(kFormerName);
  // The file without a suffix comes last: while it is there, the renaming is not finished.
  for (const char* const suffix : {"-input", "-wal", "-shm", ""}) {
    if (!take_over(former.string() + suffix, now.string() + suffix))
      return fail(ErrorCode::kIo, fmt::format("{}{}: cannot be renamed to {}{}", former.string(), suffix,
                                              now.string(), suffix));
  }
  return {};
}

Result<std::unique_ptr<Job>> Job::open(JobFiles files, const openai::ApiReader& reader,
                                       JobSettings settings) {
  BRIMFUL_TRY_VOID(files.take_over_journal());
  const bool known = std::filesystem::exists(files.journal_path());
  for (const auto& file : {files.output, files.errors}) {
    if (!known) BRIMFUL_TRY_VOID(check_absent(file));
  }
  std::string identity = files.identity;
  if (identity.empty()) {
    BRIMFUL_TRY(identity, read_lines(
                              files.input, [](const auto&) { return Status{}; }, kLongestLine));
  }
  BRIMFUL_TRY_VOID(LineReader::open(files.input, kLongestLine));  // nothing has been created yet
  BRIMFUL_TRY(Store store, Store::open(files.journal_path(), identity));
  if (!files.kept_input.empty()) {
    BRIMFUL_TRY_VOID(move_file(files.input, files.kept_input));
    files.input = files.kept_input;
  }
  std::unique_ptr<Job> out(new Job(std::move(files), reader, std::move(settings), std::move(store)));
  BRIMFUL_TRY(out->resumed_, out->store_.has_lines());
  if (out->resumed_) {
    BRIMFUL_TRY(const Settings before, out->store_.settings());
    out->difference_ = batch::difference(before, out->settings_.answers);
    const auto name = std::ranges::find(before, kServedName, &Setting::name);
    if (name != before.end()) out->settings_.model = name->value;
  } else {
    BRIMFUL_TRY_VOID(out->begin_checking());
  }
  BRIMFUL_TRY(out->counts_, out->store_.counts());
  return out;
}

Status Job::begin_checking() {
  BRIMFUL_TRY(LineReader lines, LineReader::open(files_.input, kLongestLine));
  checking_ = std::make_unique<Checking>(std::move(lines));
  return {};
}

Status Job::begin_anew() {
  BRIMFUL_TRY_VOID(store_.begin_anew());
  BRIMFUL_TRY_VOID(begin_checking());
  resumed_ = false;
  difference_.clear();
  submitted_ = 0;
  BRIMFUL_TRY(counts_, store_.counts());
  return {};
}

Result<bool> Job::check(std::chrono::milliseconds time) {
  const auto end = std::chrono::steady_clock::now() + time;
  while (checking_) {
    BRIMFUL_TRY(const auto line, checking_->lines.next());
    if (line) BRIMFUL_TRY_VOID(look_at(*line));
    if (!line || checking_->ids.size() > most_lines_) {
      BRIMFUL_TRY_VOID(end_checking());
      break;
    }
    if (std::chrono::steady_clock::now() > end) return false;
  }
  BRIMFUL_TRY(counts_, store_.counts());
  return true;
}

/// Checks one line, and keeps what is wrong with it. It returns no error of its own.
Status Job::look_at(const LineReader::Line& line) {
  const auto read = line.too_long ? fail(ErrorCode::kInvalidArgument,
                                         fmt::format("has more than {} MiB", kLongestLine >> 20))
                                  : parse_ordered_json(line.text);
  if (!read && settings_.unreadable_lines_fail_alone) {
    if (!settings_.shard.has(line.number)) return {};
    const Line failed{
        .number = line.number, .custom_id = {}, .offset = line.offset, .bytes = line.text.size()};
    const Error error{ErrorCode::kInvalidArgument,
                      fmt::format("line {}: {}", line.number, read.error().message)};
    checking_->of_this_shard.push_back(failed);
    checking_->refused.push_back(
        {line.number, true, outcome_json(failed, 400, openai::error_body(error), {})});
    if (++unreadable_count_ <= kSaid) unreadable_.push_back({line.number, read.error().message});
    return {};
  }
  Line line_out{.number = line.number, .custom_id = {}, .offset = line.offset, .bytes = line.text.size()};
  if (const auto error = read ? too_long(*read, line_out) : std::nullopt;
      error && checking_->ids.insert(*line_out.custom_id).second) {
    if (!settings_.shard.has(line.number)) return {};
    checking_->of_this_shard.push_back(line_out);
    checking_->refused.push_back(
        {line.number, true, outcome_json(line_out, 400, openai::error_body(*error), {})});
    return {};
  }
  auto parsed =
      read ? parse_line(*read, reader_, only_) : fail(ErrorCode::kInvalidArgument, read.error().message);
  if (parsed && !checking_->ids.insert(parsed->custom_id).second)
    parsed =
        fail(ErrorCode::kInvalidArgument, fmt::format("custom_id: '{}' appears twice", parsed->custom_id));
  if (checking_->ids.size() > most_lines_)
    parsed = fail(ErrorCode::kInvalidArgument,
                  fmt::format("line: a batch can have at most {} requests here", most_lines_));
  if (!parsed) {
    if (++checking_->wrong <= kSaid) wrong_.push_back({line.number, parsed.error().message});
  } else if (settings_.shard.has(line.number)) {
    checking_->of_this_shard.push_back({line.number, parsed->custom_id, line.offset, line.text.size(),
                                        parsed->request.longest_prompt(), tokens_of(parsed->request)});
    if (parsed->fails) {
      line_out.custom_id = parsed->custom_id;
      checking_->refused.push_back(
          {line.number, true, outcome_json(line_out, 400, openai::error_body(*parsed->fails), {})});
    }
  }
  return {};
}

/// An error when the text of the line has more tokens than any context of this job holds, as its bytes alone
/// show. Then `out` gets its custom_id, and a lower bound for its tokens.
std::optional<Error> Job::too_long(const json& line, Line& out) const {
  if (longest_token_ == 0 || !settings_.most_context || !line.is_object()) return std::nullopt;
  const openai::Fields fields(line);
  const json* const body = fields.find("body");
  const auto custom_id = fields.text("custom_id");
  if (body == nullptr || !custom_id || !*custom_id || (*custom_id)->empty() ||
      (*custom_id)->size() > kLongestId)
    return std::nullopt;
  const std::uint64_t tokens = longest_text(*body) / longest_token_;
  if (tokens <= *settings_.most_context) return std::nullopt;
  out.custom_id = **custom_id;
  out.prompt = out.tokens = tokens;
  Error error = schedule::prompt_too_long({tokens, *settings_.most_context});
  error.message += "; its tokens were estimated from its size, so there may be more";
  return error;
}

Status Job::end_checking() {
  // When no line can be read, this is not the file that the user means.
  if (checking_->ids.empty() && checking_->wrong == 0) {
    wrong_ = std::exchange(unreadable_, {});
    checking_->wrong = unreadable_count_;
  }
  std::string why;
  for (const WrongLine& wrong : wrong_)
    why += fmt::format("{}line {}: {}", why.empty() ? "" : "; ", wrong.number, wrong.what);
  if (checking_->wrong > wrong_.size()) why += fmt::format("; and {} more", checking_->wrong - wrong_.size());
  if (checking_->ids.empty() && why.empty()) why = "contains no request";
  if (!why.empty()) {
    BRIMFUL_TRY_VOID(remove_journal());
    const std::string name = files_.input_name.empty() ? files_.input.string() : files_.input_name;
    return fail(ErrorCode::kInvalidArgument, fmt::format("{}: {}", name, why));
  }
  Settings kept = settings_.answers;
  std::erase_if(kept, [](const Setting& setting) { return setting.name == kServedName; });
  kept.push_back({kServedName, settings_.model, ""});
  BRIMFUL_TRY_VOID(store_.add(checking_->of_this_shard, checking_->refused, kept));
  checking_.reset();
  return {};
}

Status Job::run(schedule::Scheduler& scheduler, const Watch& watch) {
  for (;;) {
    if (watch.stopped && watch.stopped()) return fail(ErrorCode::kCancelled, "stopped");
    BRIMFUL_TRY_VOID(submit_some(scheduler, std::chrono::hours(1)));
    BRIMFUL_TRY_VOID(patiently(watch, [&] { return keep_outcomes(); }));
    bool more = false;
    BRIMFUL_TRY_VOID(patiently(watch, [&]() -> Status {
      BRIMFUL_TRY(more, scheduler.step());
      return {};
    }));
    BRIMFUL_TRY_VOID(patiently(watch, [&] { return keep_outcomes(); }));
    if (watch.on_progress) watch.on_progress(*this);
    if (!more && counts_.left() == 0) return {};
  }
}

Status Job::submit_some(schedule::Scheduler& scheduler, std::chrono::milliseconds time) {
  const auto end = std::chrono::steady_clock::now() + time;
  while (scheduler.waiting() < kAhead && std::chrono::steady_clock::now() < end) {
    BRIMFUL_TRY(const auto line, store_.next(submitted_));
    if (!line) return {};
    BRIMFUL_TRY_VOID(submit(scheduler, *line));
    submitted_ = line->number;
  }
  return {};
}

Status Job::submit(schedule::Scheduler& scheduler, const Line& line) {
  BRIMFUL_CHECK(difference_.empty());
  // A prompt that is too long is not read again: tokenizing it takes many times its size.
  if (const Status fits = scheduler.check_length(line.prompt); !fits) {
    refused(line, fits.error());
    return {};
  }
  BRIMFUL_TRY(const std::string text, read_at(files_.input, line.offset, line.bytes));
  const auto read = parse_ordered_json(text);
  auto parsed = read ? parse_line(*read, reader_, only_) : std::unexpected(read.error());
  if (!parsed) {
    refused(line, parsed.error());
    return {};
  }
  const auto request = std::make_shared<openai::ApiRequest>(std::move(parsed->request));
  auto ids = openai::submit(
      scheduler, *request, schedule::Priority::kBatch,
      {.on_piece = {}, .on_end = [this, line, request](Result<std::vector<schedule::Answer>> answers) {
         answered(line, *request, std::move(answers));
       }});
  if (!ids) {
    refused(line, ids.error());
  } else {
    in_scheduler_.emplace(line.number, std::move(*ids));
  }
  return {};
}

void Job::withdraw(schedule::Scheduler& scheduler) {
  // The list is empty when the requests end, so answered() ignores them.
  for (const auto& [line, ids] : std::exchange(in_scheduler_, {})) {
    for (const schedule::Scheduler::Id id : ids) scheduler.cancel(id);
  }
  submitted_ = 0;
}

Result<bool> Job::give_up(schedule::Scheduler& scheduler, const std::string& code,
                          const std::string& message) {
  constexpr std::size_t kAtOnce = 200;
  withdraw(scheduler);
  BRIMFUL_TRY_VOID(keep_outcomes());
  for (std::int64_t after = 0; outcomes_.size() < kAtOnce;) {
    BRIMFUL_TRY(const auto line, store_.next(after));
    if (!line) break;
    after = line->number;
    outcomes_.push_back(
        {line->number, true, outcome_json(*line, 0, {}, {{"code", code}, {"message", message}})});
  }
  BRIMFUL_TRY_VOID(keep_outcomes());
  return counts_.left() == 0;
}

void Job::answered(const Line& line, const openai::ApiRequest& request,
                   Result<std::vector<schedule::Answer>> answers) {
  if (in_scheduler_.erase(line.number) == 0) return;
  if (!answers) return refused(line, answers.error());
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const openai::AnswerHead head{
      fmt::format("{}-{}", request.endpoint == openai::Endpoint::kChat ? "chatcmpl" : "cmpl", line.number),
      settings_.model, std::chrono::duration_cast<std::chrono::seconds>(now).count(), fingerprint_};
  try {
    outcomes_.push_back(
        {line.number, false,
         outcome_json(line, 200, openai::answer_body(head, request, *answers, reader_.vocab()), {})});
  } catch (const std::exception& error) {  // the chat template's own parser does not understand the text
    refused(line, {ErrorCode::kInternal, error.what()});
  }
}

void Job::refused(const Line& line, const Error& error) {
  const int status = error.code == ErrorCode::kInvalidArgument ? 400 : 500;
  outcomes_.push_back({line.number, true, outcome_json(line, status, openai::error_body(error), {})});
}

Status Job::keep_outcomes() {
  if (outcomes_.empty()) return {};
  BRIMFUL_TRY_VOID(store_.finish(outcomes_));
  for (const Outcome& outcome : outcomes_) ++(outcome.failed ? counts_.failed : counts_.completed);
  outcomes_.clear();
  return {};
}

Status Job::write_files() {
  const auto write = [&](const std::filesystem::path& path, std::optional<bool> failed) -> Status {
    if (is_stream(path)) {
      BRIMFUL_TRY(StreamWriter stream, StreamWriter::open(path));
      BRIMFUL_TRY_VOID(
          store_.for_each(failed, [&](const std::string& json) { return stream.write_line(json); }));
      return stream.flush();
    }
    BRIMFUL_TRY(WholeFile file, WholeFile::create(path));
    BRIMFUL_TRY_VOID(store_.for_each(failed, [&](const std::string& json) { return file.write_line(json); }));
    return file.commit();
  };
  if (files_.output == files_.errors) return write(files_.output, std::nullopt);
  BRIMFUL_TRY_VOID(write(files_.output, false));
  return counts_.failed > 0 ? write(files_.errors, true) : Status{};
}

Status Job::write_out(const Watch& watch) {
  BRIMFUL_TRY_VOID(patiently(watch, [&] { return write_files(); }));
  return remove_journal();
}

Status Job::remove_journal() {
  BRIMFUL_TRY_VOID(store_.take_away());
  if (files_.kept_input.empty()) return {};
  std::error_code error;
  std::filesystem::remove(files_.kept_input, error);
  if (!error) return {};
  return fail(ErrorCode::kIo,
              fmt::format("{}: cannot be removed: {}", files_.kept_input.string(), error.message()));
}

}  // namespace brimful::batch
