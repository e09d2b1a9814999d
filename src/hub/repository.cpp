#include "hub/repository.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/json_text.h"
#include "hub/http_headers.h"
#include "model/gguf_reader.h"

namespace brimful::hub {
namespace {

constexpr std::size_t kMostPages = 100;
constexpr std::size_t kLargestPage = 32 * 1024 * 1024;

bool is_name(std::string_view text) {
  return !text.empty() && text.find_first_not_of('.') != std::string_view::npos &&
         std::ranges::all_of(text, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                  c == '_' || c == '.';
         });
}

/// Reads one page of a list of files, and adds the files to `paths`. Returns the address of the next page;
/// empty on the last one.
Result<std::string> read_page(Http& http, const std::string& url, std::vector<std::string>& paths) {
  std::string text;
  bool too_large = false;
  const Sink append = [&](const Answer&, std::span<const std::byte> bytes) {
    too_large = text.size() + bytes.size() > kLargestPage;
    if (!too_large) text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return !too_large;
  };
  BRIMFUL_TRY(const Answer answer, http.get(url, std::nullopt, append));
  const auto list = parse_json(text);
  if (too_large || !list || !list->is_array()) {
    return fail(
        ErrorCode::kCorrupt,
        fmt::format("{}: the server did not answer with a list of files: check HF_ENDPOINT", shown(url)));
  }
  for (const auto& entry : *list) {
    if (!entry.is_object() || !entry.contains("path") || !entry["path"].is_string()) continue;
    if (entry.value("type", nlohmann::json()) == "file") paths.push_back(entry["path"].get<std::string>());
  }
  return answer.next_page;
}

}  // namespace

Result<HubModel> parse_hub_model(std::string_view text) {
  const std::size_t slash = text.find('/');
  const std::size_t colon = std::min(text.find(':'), text.size());
  HubModel model{.repository = std::string(text.substr(0, colon)), .quantisation = std::nullopt};
  if (colon < text.size()) model.quantisation = text.substr(colon + 1);
  const bool named = slash < colon && is_name(text.substr(0, slash)) &&
                     is_name(text.substr(slash + 1, colon - slash - 1)) &&
                     (!model.quantisation || is_name(*model.quantisation));
  if (named) return model;
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("{} is not the name of a model on the hub: give ORGANISATION/REPOSITORY or "
                          "ORGANISATION/REPOSITORY:QUANTISATION, as in ggml-org/gemma-3-1b-it-GGUF:Q4_K_M",
                          model::in_quotes(text)));
}

Result<std::string> find_model(Http& http, const HubModel& model) {
  const std::string& endpoint = http.settings().endpoint;
  std::vector<std::string> paths;
  std::string page = fmt::format("{}/api/models/{}/tree/main?recursive=true", endpoint, model.repository);
  for (std::size_t pages = 0; !page.empty() && pages < kMostPages; ++pages) {
    BRIMFUL_TRY(page, read_page(http, page, paths));
  }
  const auto path = choose_file(paths, model.quantisation);
  if (!path) {
    return fail(path.error().code,
                fmt::format("{}/{}: {}", shown(endpoint), model.repository, path.error().message));
  }
  return fmt::format("{}/{}/resolve/main/{}", endpoint, model.repository, percent_encoded(*path));
}

}  // namespace brimful::hub
