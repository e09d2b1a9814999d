#include "hub/repository.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/json_text.h"
#include "hub/http_headers.h"
#include "hub/hub_cache.h"
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

/// GETs JSON. `next` gets the address of the next page; empty on the last one.
Result<nlohmann::json> get_json(Http& http, const std::string& url, std::string& next) {
  std::string text;
  bool too_large = false;
  const Sink append = [&](const Answer&, std::span<const std::byte> bytes) {
    too_large = text.size() + bytes.size() > kLargestPage;
    if (!too_large) text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return !too_large;
  };
  BRIMFUL_TRY(const Answer answer, http.get(url, std::nullopt, append));
  auto json = parse_json(text);
  if (too_large || !json) {
    return fail(ErrorCode::kCorrupt,
                fmt::format("{}: the server did not answer as a hub does: check HF_ENDPOINT", shown(url)));
  }
  next = answer.next_page;
  return std::move(*json);
}

std::string text_of(const nlohmann::json& object, const char* name) {
  const auto it = object.find(name);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}

/// Reads one entry of a list of files. Nullopt for a folder and for anything that is no entry.
std::optional<RemoteFile> read_entry(const nlohmann::json& entry) {
  if (!entry.is_object() || text_of(entry, "type") != "file") return std::nullopt;
  RemoteFile file{.path = text_of(entry, "path"), .hash = text_of(entry, "oid")};
  if (file.path.empty()) return std::nullopt;
  if (const auto size = entry.find("size"); size != entry.end() && size->is_number_unsigned())
    file.size = size->get<std::uint64_t>();
  if (const auto lfs = entry.find("lfs"); lfs != entry.end() && lfs->is_object()) {
    file.hash = text_of(*lfs, "oid");
    if (const auto size = lfs->find("size"); size != lfs->end() && size->is_number_unsigned())
      file.size = size->get<std::uint64_t>();
  }
  return file;
}

/// Returns all files of a repository at a commit or a branch.
Result<std::vector<RemoteFile>> files_at(Http& http, std::string_view repository, std::string_view revision) {
  std::vector<RemoteFile> files;
  std::string page =
      fmt::format("{}/api/models/{}/tree/{}?recursive=true", http.settings().endpoint, repository, revision);
  for (std::size_t pages = 0; !page.empty() && pages < kMostPages; ++pages) {
    const std::string url = page;
    BRIMFUL_TRY(const nlohmann::json list, get_json(http, url, page));
    if (!list.is_array()) {
      return fail(
          ErrorCode::kCorrupt,
          fmt::format("{}: the server did not answer with a list of files: check HF_ENDPOINT", shown(url)));
    }
    for (const auto& entry : list) {
      if (auto file = read_entry(entry)) files.push_back(std::move(*file));
    }
  }
  return files;
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

std::vector<std::string> RemoteFiles::paths() const {
  std::vector<std::string> out;
  for (const RemoteFile& file : files) out.push_back(file.path);
  return out;
}

const RemoteFile* RemoteFiles::find(std::string_view path) const {
  const auto it = std::ranges::find(files, path, &RemoteFile::path);
  return it == files.end() ? nullptr : &*it;
}

Result<RemoteFiles> list_files(Http& http, const std::string& repository) {
  const std::string url = fmt::format("{}/api/models/{}/revision/main", http.settings().endpoint, repository);
  std::string next;
  BRIMFUL_TRY(const nlohmann::json facts, get_json(http, url, next));
  RemoteFiles out;
  if (facts.is_object()) out.commit = text_of(facts, "sha");
  if (!is_hash(out.commit)) {
    return fail(
        ErrorCode::kCorrupt,
        fmt::format("{}: the server does not say which commit this is: check HF_ENDPOINT", shown(url)));
  }
  BRIMFUL_TRY(out.files, files_at(http, repository, out.commit));
  return out;
}

std::string address_of(const Settings& settings, std::string_view repository, std::string_view revision,
                       std::string_view path) {
  return fmt::format("{}/{}/resolve/{}/{}", settings.endpoint, repository, revision, percent_encoded(path));
}

Result<std::string> find_model(Http& http, const HubModel& model) {
  BRIMFUL_TRY(const std::vector<RemoteFile> files, files_at(http, model.repository, "main"));
  const auto path = choose_file(RemoteFiles{.commit = {}, .files = files}.paths(), model.quantisation);
  if (!path) {
    return fail(path.error().code, fmt::format("{}/{}: {}", shown(http.settings().endpoint), model.repository,
                                               path.error().message));
  }
  return address_of(http.settings(), model.repository, "main", *path);
}

}  // namespace brimful::hub
