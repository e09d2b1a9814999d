#include "serve/archive_api.h"

#include <fmt/format.h>

#include <charconv>
#include <fstream>

#include "batch/api_fields.h"
#include "batch/api_request.h"
#include "serve/http_answer.h"

namespace strata::serve {
namespace {

using nlohmann::json;
using Json = Archive::Json;
using Request = httplib::Request;
using Response = httplib::Response;
using Content = httplib::ContentReader;

constexpr std::size_t kLongestField = 256;
constexpr std::size_t kPiece = 64 * 1024;
constexpr std::size_t kMostFiles = 10'000;  // of a page, as OpenAI has them
constexpr std::size_t kUsualFiles = 1000;
constexpr std::size_t kMostBatches = 100;
constexpr std::size_t kUsualBatches = 20;
constexpr std::int64_t kHour = 3600;

void answer(Response& response, const Result<Json>& object) {
  if (!object) return refuse(response, object.error());
  answer_json(response, *object);
}

Result<std::size_t> limit_of(const Request& request, std::size_t usual, std::size_t most) {
  if (!request.has_param("limit")) return usual;
  const std::string text = request.get_param_value("limit");
  std::size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc{} && end == text.data() + text.size() && value >= 1 && value <= most) return value;
  return fail(ErrorCode::kInvalidArgument, fmt::format("limit: must be a number from 1 to {}", most));
}

/// `24h`. Errors: kInvalidArgument.
Result<std::int64_t> seconds_of_window(const std::string& text) {
  std::int64_t hours = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), hours);
  if (error == std::errc{} && std::string_view(end) == "h" && hours >= 1 && hours <= 24 * 365)
    return hours * kHour;
  return fail(ErrorCode::kInvalidArgument, "completion_window: must be hours, such as 24h");
}

/// As OpenAI limits it.
bool is_metadata(const json& value) {
  if (!value.is_object() || value.size() > 16) return false;
  for (const auto& [key, text] : value.items()) {
    if (key.size() > 64 || !text.is_string() || text.get_ref<const std::string&>().size() > 512) return false;
  }
  return true;
}

Result<Json> batch_of(const json& body) {
  const batch::Fields fields(body);
  STRATA_TRY(const auto input, fields.text("input_file_id"));
  if (!input) return fields.refuse("input_file_id", "is missing");
  STRATA_TRY(const auto endpoint, fields.text("endpoint"));
  if (!endpoint || !batch::endpoint_of(*endpoint))
    return fields.refuse("endpoint", "must be /v1/chat/completions, /v1/completions or /v1/embeddings");
  STRATA_TRY(const auto window, fields.text("completion_window"));
  STRATA_TRY(const std::int64_t seconds, seconds_of_window(window.value_or("24h")));
  const json* const metadata = fields.find("metadata");
  if (metadata != nullptr && !is_metadata(*metadata))
    return fields.refuse("metadata", "must be an object of 16 short texts at most");
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
              {"metadata", metadata != nullptr ? Json::parse(metadata->dump()) : Json()}};
}

}  // namespace

void ArchiveApi::add_endpoints(httplib::Server& http) {
  http.Post("/v1/files", [this](const Request& request, Response& response, const Content& content) {
    upload(request, response, content);
  });
  http.Get("/v1/files",
           [this](const Request& request, Response& response) { list(request, response, true); });
  http.Get("/v1/files/([^/]+)", [this](const Request& request, Response& response) {
    answer(response, archive_.file(request.matches[1]));
  });
  http.Get("/v1/files/([^/]+)/content", [this](const Request& request, Response& response) {
    send_content(request.matches[1], response);
  });
  http.Delete("/v1/files/([^/]+)", [this](const Request& request, Response& response, const Content&) {
    const std::string id = request.matches[1];
    if (const Status removed = archive_.remove_file(id); !removed) return refuse(response, removed.error());
    answer_json(response, {{"id", id}, {"object", "file"}, {"deleted", true}});
  });
  http.Post("/v1/batches", [this](const Request&, Response& response, const Content& content) {
    const auto body = read_body_(content);
    if (!body) return refuse(response, body.error());
    create_batch(response, body->json);
  });
  http.Get("/v1/batches",
           [this](const Request& request, Response& response) { list(request, response, false); });
  http.Get("/v1/batches/([^/]+)", [this](const Request& request, Response& response) {
    answer(response, archive_.batch(request.matches[1]));
  });
  http.Post("/v1/batches/([^/]+)/cancel", [this](const Request& request, Response& response, const Content&) {
    cancel_batch(request.matches[1], response);
  });
}

void ArchiveApi::upload(const Request& request, Response& response, const Content& content) {
  const auto refuse_rest = [&](const Error& error) {
    response.set_header("Connection", "close");  // what is left of the body is not read
    refuse(response, error);
  };
  if (!request.is_multipart_form_data())
    return refuse_rest(
        {ErrorCode::kInvalidArgument, "the body must be a multipart form with purpose and file"});
  auto upload = archive_.begin_upload();
  if (!upload) return refuse_rest(upload.error());
  std::string field;
  std::string purpose;
  std::optional<std::string> name;
  std::optional<Error> error;
  const bool whole = content(
      [&](const httplib::FormData& part) {
        field = part.name;
        if (field == "file") name = part.filename;
        return true;
      },
      [&](const char* data, std::size_t size) {
        if (field == "purpose" && purpose.size() + size <= kLongestField) purpose.append(data, size);
        if (field != "file") return true;
        const Status written = upload->content.write({data, size});
        if (!written) error = written.error();
        return written.has_value();
      });
  if (error) return refuse_rest(*error);
  if (!whole)
    return refuse_rest({ErrorCode::kInvalidArgument, "the body did not come whole, or is too large"});
  if (!name) return refuse(response, {ErrorCode::kInvalidArgument, "file: is missing"});
  if (purpose.empty())
    return refuse(response, {ErrorCode::kInvalidArgument, "purpose: is missing: say batch"});
  answer(response, archive_.keep(std::move(*upload), *name, purpose));
}

void ArchiveApi::list(const Request& request, Response& response, bool files) {
  const auto limit =
      limit_of(request, files ? kUsualFiles : kUsualBatches, files ? kMostFiles : kMostBatches);
  if (!limit) return refuse(response, limit.error());
  const Archive::Select select{.after = request.get_param_value("after"),
                               .limit = *limit,
                               .oldest_first = request.get_param_value("order") == "asc",
                               .purpose = request.get_param_value("purpose")};
  auto page = files ? archive_.files(select) : archive_.batches(select);
  if (!page) return refuse(response, page.error());
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
  answer_json(response, out);
}

void ArchiveApi::send_content(const std::string& id, Response& response) {
  const auto file = archive_.file(id);
  if (!file) return refuse(response, file.error());
  const auto in = std::make_shared<std::ifstream>(archive_.content(id), std::ios::binary);
  if (!*in) return refuse(response, {ErrorCode::kIo, fmt::format("{}: its content cannot be read", id)});
  response.set_content_provider((*file)["bytes"].get<std::size_t>(), "application/octet-stream",
                                [in, open = hold_(), piece = std::string(kPiece, '\0')](
                                    std::size_t offset, std::size_t length, httplib::DataSink& sink) mutable {
                                  in->seekg(static_cast<std::streamoff>(offset));
                                  const std::size_t size = std::min(length, kPiece);
                                  return in->read(piece.data(), static_cast<std::streamsize>(size)) &&
                                         sink.write(piece.data(), size);
                                });
}

void ArchiveApi::create_batch(Response& response, const json& body) {
  auto batch = batch_of(body);
  if (!batch) return refuse(response, batch.error());
  const auto input = archive_.file((*batch)["input_file_id"]);
  if (!input)
    return refuse(response, {ErrorCode::kInvalidArgument, "input_file_id: " + input.error().message});
  if ((*input)["purpose"] != "batch")
    return refuse(response, {ErrorCode::kInvalidArgument, "input_file_id: the file's purpose is not batch"});
  answer(response, archive_.add_batch(std::move(*batch)));
}

void ArchiveApi::cancel_batch(const std::string& id, Response& response) {
  answer(response, archive_.change_batch(id, [](Json& batch) -> Status {
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

}  // namespace strata::serve
