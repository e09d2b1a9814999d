#include "serve/files_api.h"

#include <fmt/format.h>

#include <charconv>
#include <fstream>

#include "openai/fields.h"
#include "openai/request.h"
#include "serve/form_data.h"
#include "serve/http_answer.h"

namespace brimful::serve {
namespace {

using Json = FileStore::Json;

constexpr std::size_t kLongestField = 256;
constexpr std::size_t kLongestBoundary = 200;
constexpr std::size_t kPiece = 64 * 1024;
constexpr std::size_t kMostFiles = 10'000;  // The limits on the length of a list are those of OpenAI.
constexpr std::size_t kUsualFiles = 1000;
constexpr std::size_t kMostBatches = 100;
constexpr std::size_t kUsualBatches = 20;
constexpr std::int64_t kHour = 3600;

Result<std::size_t> limit_of(const HttpRequest& request, std::size_t usual, std::size_t most) {
  const auto given = request.parameter("limit");
  if (!given) return usual;
  const std::string_view text = *given;
  std::size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc{} && end == text.data() + text.size() && value >= 1 && value <= most) return value;
  return fail(ErrorCode::kInvalidArgument, fmt::format("limit: must be a number from 1 to {}", most));
}

/// Parses a time such as `24h`. Errors: kInvalidArgument.
Result<std::int64_t> seconds_of_window(const std::string& text) {
  std::int64_t hours = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), hours);
  if (error == std::errc{} && std::string_view(end) == "h" && hours >= 1 && hours <= 24 * 365)
    return hours * kHour;
  return fail(ErrorCode::kInvalidArgument, "completion_window: must be hours, such as 24h");
}

/// Returns whether the value is metadata within OpenAI's limits.
bool is_metadata(const Json& value) {
  if (!value.is_object() || value.size() > 16) return false;
  for (const auto& [key, text] : value.items()) {
    if (key.size() > 64 || !text.is_string() || text.get_ref<const std::string&>().size() > 512) return false;
  }
  return true;
}

Result<Json> batch_of(const Json& body) {
  const openai::Fields fields(body);
  BRIMFUL_TRY(const auto input, fields.text("input_file_id"));
  if (!input) return fields.refuse("input_file_id", "is missing");
  BRIMFUL_TRY(const auto endpoint, fields.text("endpoint"));
  if (!endpoint || !openai::endpoint_of(*endpoint))
    return fields.refuse("endpoint", "must be /v1/chat/completions, /v1/completions or /v1/embeddings");
  BRIMFUL_TRY(const auto window, fields.text("completion_window"));
  BRIMFUL_TRY(const std::int64_t seconds, seconds_of_window(window.value_or("24h")));
  const Json* const metadata = fields.find("metadata");
  if (metadata != nullptr && !is_metadata(*metadata))
    return fields.refuse("metadata", "must be an object of at most 16 short strings");
  const std::int64_t now = unix_time();
  return Json{{"object", "batch"},
              {"endpoint", *endpoint},
              {"errors", nullptr},
              {"input_file_id", *input},
              {"completion_window", window.value_or("24h")},
              {"status", "validating"},
              {"output_file_id", nullptr},
              {"error_file_id", nullptr},
              {"created_at", now},
              {"in_progress_at", nullptr},
              {"expires_at", now + seconds},
              {"finalizing_at", nullptr},
              {"completed_at", nullptr},
              {"failed_at", nullptr},
              {"expired_at", nullptr},
              {"cancelling_at", nullptr},
              {"cancelled_at", nullptr},
              {"request_counts", {{"total", 0}, {"completed", 0}, {"failed", 0}}},
              {"metadata", metadata != nullptr ? *metadata : Json()}};
}

/// Stores a file that a client sends.
class UploadTask final : public HttpTask {
 public:
  UploadTask(FileStore& store, const std::string& boundary, std::shared_ptr<Counted> counted)
      : store_(store),
        counted_(std::move(counted)),
        form_(boundary,
              [this](const FormData::Part& part, std::string_view bytes) { return keep(part, bytes); }) {}

  std::optional<HttpResponse> take(std::string_view piece) override {
    if (!upload_) {
      auto begun = store_.begin_upload();
      if (!begun) return refused(begun.error());
      upload_.emplace(std::move(*begun));
    }
    const Status taken = form_.take(piece);
    return taken ? std::nullopt : std::optional(refused(taken.error()));
  }

  HttpResponse answer() override {
    if (!form_.is_complete())
      return refused(wrong("the body is not a complete multipart form: its last boundary is missing"));
    if (!name_) return refused(wrong("file: is missing"));
    if (purpose_.empty()) return refused(wrong("purpose: is missing; it must be batch"));
    return json_response(store_.keep(std::move(*upload_), *name_, purpose_));
  }

 private:
  static Error wrong(const char* why) { return {ErrorCode::kInvalidArgument, why}; }

  Status keep(const FormData::Part& part, std::string_view bytes) {
    if (part.name == "purpose" && purpose_.size() + bytes.size() <= kLongestField) purpose_ += bytes;
    if (part.name != "file") return {};
    if (bytes.empty() && std::exchange(has_file_, true))
      return fail(ErrorCode::kInvalidArgument, "file: appears twice");
    name_ = part.filename.value_or("");
    return upload_->content.write(bytes);
  }

  FileStore& store_;
  const std::shared_ptr<Counted> counted_;
  FormData form_;
  std::optional<FileStore::Upload> upload_;
  std::string purpose_;
  std::optional<std::string> name_;
  bool has_file_ = false;
};

/// Makes a plan for a request that is refused before its body is read.
HttpPlan refuse_body(const Error& error) {
  class Refusal final : public HttpTask {
   public:
    explicit Refusal(const Error& error) : error_(error) {}
    std::optional<HttpResponse> take(std::string_view) override { return refused(error_); }
    HttpResponse answer() override { return refused(error_); }

   private:
    const Error error_;
  };
  HttpPlan out;
  out.task = std::make_unique<Refusal>(error);
  out.lane = Lane::kNow;
  out.largest_body = UINT64_MAX;
  return out;
}

/// Sends the content of a file piece by piece.
class FileSource final : public HttpSource {
 public:
  FileSource(std::ifstream in, std::uint64_t size, std::shared_ptr<Counted> counted)
      : in_(std::move(in)), left_(size), counted_(std::move(counted)) {}

  Part next() override {
    Part out;
    out.bytes.resize(std::min<std::uint64_t>(left_, kPiece));
    if (!in_.read(out.bytes.data(), static_cast<std::streamsize>(out.bytes.size())))
      throw std::runtime_error("the file's content cannot be read");
    left_ -= out.bytes.size();
    out.ends = left_ == 0;
    return out;
  }
  [[nodiscard]] bool waits_for_disk() const override { return true; }

 private:
  std::ifstream in_;
  std::uint64_t left_;
  const std::shared_ptr<Counted> counted_;
};

}  // namespace

void FilesApi::add_endpoints(HttpRoutes& routes) {
  const auto get = [&](const char* path, auto answer) {
    routes.add("GET", path, Lane::kFiles,
               [answer](const HttpRequest&, const std::string& id) { return answer(id); });
  };
  routes.add("POST", "/v1/files",
             [this](const HttpRequest& request, const std::string&) { return upload(request); });
  routes.add("GET", "/v1/files", Lane::kFiles,
             [this](const HttpRequest& request, const std::string&) { return list(request, true); });
  get("/v1/files/{}", [this](const std::string& id) { return json_response(store_.file(id)); });
  get("/v1/files/{}/content", [this](const std::string& id) { return send_content(id); });
  routes.add("DELETE", "/v1/files/{}", Lane::kFiles, [this](const HttpRequest&, const std::string& id) {
    if (const Status removed = store_.remove_file(id); !removed) return refused(removed.error());
    return json_response(Json{{"id", id}, {"object", "file"}, {"deleted", true}});
  });
  routes.add("POST", "/v1/batches", [this](const HttpRequest&, const std::string&) {
    return json_plan(limits_, Lane::kFiles, [this](const ReadBody& body) { return create_batch(body.json); });
  });
  routes.add("GET", "/v1/batches", Lane::kFiles,
             [this](const HttpRequest& request, const std::string&) { return list(request, false); });
  get("/v1/batches/{}", [this](const std::string& id) { return json_response(store_.batch(id)); });
  routes.add("POST", "/v1/batches/{}/cancel", Lane::kFiles,
             [this](const HttpRequest&, const std::string& id) { return cancel_batch(id); });
}

HttpPlan FilesApi::upload(const HttpRequest& request) {
  const auto boundary = parameter_of(request.field("content-type"), "boundary");
  if (request.content_type() != "multipart/form-data" || !boundary || boundary->empty() ||
      boundary->size() > kLongestBoundary)
    return refuse_body(
        {ErrorCode::kInvalidArgument, "the body must be a multipart form with purpose and file"});
  auto counted = std::make_shared<Counted>(limits_.taken);
  if (Bytes{counted->add(2 * kPiece)} > limits_.all)
    return refuse_body({ErrorCode::kBudgetExceeded, "too many file transfers at the same time: try again"});
  HttpPlan out;
  out.task = std::make_unique<UploadTask>(store_, *boundary, std::move(counted));
  out.lane = Lane::kFiles;
  out.takes_in_lane = true;
  out.largest_body = largest_file_.value;
  return out;
}

HttpResponse FilesApi::list(const HttpRequest& request, bool files) const {
  const auto limit =
      limit_of(request, files ? kUsualFiles : kUsualBatches, files ? kMostFiles : kMostBatches);
  if (!limit) return refused(limit.error());
  const FileStore::Select select{
      .after = std::string(request.parameter("after").value_or("")),
      .limit = *limit,
      .oldest_first = request.parameter("order") == "asc",
      // Batches have no purpose: OpenAI's API leaves the parameter out there.
      .purpose = files ? std::string(request.parameter("purpose").value_or("")) : ""};
  auto page = files ? store_.files(select) : store_.batches(select);
  if (!page) return refused(page.error());
  const auto id = [&](bool first) {
    if (page->objects.empty()) return Json();
    return (first ? page->objects.front() : page->objects.back())["id"];
  };
  Json out = {{"object", "list"},
              {"data", nullptr},
              {"first_id", id(true)},
              {"last_id", id(false)},
              {"has_more", page->has_more}};
  out["data"] = std::move(page->objects);
  return json_response(out);
}

HttpResponse FilesApi::send_content(const std::string& id) {
  const auto file = store_.file(id);
  if (!file) return refused(file.error());
  auto counted = std::make_shared<Counted>(limits_.taken);
  if (Bytes{counted->add(2 * kPiece)} > limits_.all)
    return refused({ErrorCode::kBudgetExceeded, "too many file transfers at the same time: try again"});
  std::ifstream in(store_.content(id), std::ios::binary);
  if (!in) return refused({ErrorCode::kIo, fmt::format("{}: its content cannot be read", id)});
  HttpResponse out;
  out.set("Content-Type", "application/octet-stream");
  out.length = (*file)["bytes"].get<std::uint64_t>();
  out.source = std::make_shared<FileSource>(std::move(in), *out.length, std::move(counted));
  return out;
}

HttpResponse FilesApi::create_batch(const Json& body) {
  auto batch = batch_of(body);
  if (!batch) return refused(batch.error());
  const auto input = store_.file((*batch)["input_file_id"]);
  if (!input) return refused({ErrorCode::kInvalidArgument, "input_file_id: " + input.error().message});
  if ((*input)["purpose"] != "batch")
    return refused({ErrorCode::kInvalidArgument, "input_file_id: the file's purpose is not batch"});
  return json_response(store_.add_batch(*batch));
}

HttpResponse FilesApi::cancel_batch(const std::string& id) {
  return json_response(store_.change_batch(id, [](Json& batch) -> Status {
    const std::string status = batch["status"];
    if (status == "cancelling") return {};
    if (has_ended(batch) || status == "finalizing")
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("the batch is {}: it cannot be cancelled", status));
    batch["status"] = "cancelling";
    batch["cancelling_at"] = unix_time();
    return {};
  }));
}

}  // namespace brimful::serve
