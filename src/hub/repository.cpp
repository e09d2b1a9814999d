#include "hub/repository.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "hub/http_headers.h"
#include "hub/hub_cache.h"
#include "hub/json_request.h"
#include "hub/near_names.h"
#include "model/gguf_reader.h"

namespace brimful::hub {
namespace {

constexpr std::size_t kMostPages = 100;
constexpr Bytes kLargestPage = kMiB * 32;

bool is_name(std::string_view text) {
  return !text.empty() && text.find_first_not_of('.') != std::string_view::npos &&
         std::ranges::all_of(text, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                  c == '_' || c == '.';
         });
}

/// Whether a text may stand after the colon of a name: a quantisation, or the path of a file.
bool is_tag(std::string_view text) {
  return is_name(text) || (lower(text).ends_with(".gguf") && is_safe_path(text));
}

/// Returns the name in the address of a page of huggingface.co, as people copy it: of a model, of its list of
/// files, or of one file. Any other text is returned as it is.
std::string name_in_address(std::string_view text) {
  std::string_view path = text;
  for (const std::string_view scheme : {"https://", "http://", "hf://"}) {
    if (lower(path.substr(0, scheme.size())) == scheme) path.remove_prefix(scheme.size());
  }
  bool address = path.size() < text.size() && text.starts_with("hf:");
  for (const std::string_view host : {"huggingface.co/", "www.huggingface.co/", "hf.co/"}) {
    if (lower(path.substr(0, host.size())) != host) continue;
    path.remove_prefix(host.size());
    address = true;
    break;
  }
  if (!address) return std::string(text);
  path = path.substr(0, path.find_first_of("?#"));
  while (path.ends_with('/')) path.remove_suffix(1);
  const std::size_t repository = path.find('/', path.find('/') + 1);
  if (repository == std::string_view::npos) return std::string(path);
  const std::string_view rest = path.substr(repository);
  for (const std::string_view page : {"/tree/main", "/blob/main", "/resolve/main"}) {
    if (rest == page) return std::string(path.substr(0, repository));
    if (rest.starts_with(page) && rest[page.size()] == '/' && lower(rest).ends_with(".gguf"))
      return fmt::format("{}:{}", path.substr(0, repository), rest.substr(page.size() + 1));
  }
  return std::string(path);
}

/// What to do about a text that is no name.
std::string how_to_write(std::string_view name) {
  constexpr std::string_view kForm = "ORGANISATION/REPOSITORY or ORGANISATION/REPOSITORY:QUANTISATION";
  const std::size_t slash = name.find('/');
  const std::size_t file = slash == std::string_view::npos ? slash : name.find('/', slash + 1);
  if (file != std::string_view::npos && lower(name).ends_with(".gguf") && is_safe_path(name) &&
      !name.contains(':'))
    return fmt::format("write {}:{} for this file", name.substr(0, file), name.substr(file + 1));
  if (name.ends_with(':') && slash != std::string_view::npos)
    return "write a quantization after the colon, or leave the colon out";
  std::string out = fmt::format("give {}, as in ggml-org/gemma-3-1b-it-GGUF:Q4_K_M", kForm);
  if (is_name(name.substr(0, name.find(':'))))
    out += fmt::format("; https://huggingface.co/models?library=gguf&search={} lists some",
                       name.substr(0, name.find(':')));
  return out;
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
    BRIMFUL_TRY(const nlohmann::json list, get_json(http, url, kLargestPage, page));
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
  const std::string name = name_in_address(text);
  const std::size_t slash = name.find('/');
  const std::size_t colon = std::min(name.find(':'), name.size());
  HubModel model{.repository = name.substr(0, colon), .quantisation = std::nullopt};
  if (colon < name.size()) model.quantisation = name.substr(colon + 1);
  const bool named = slash < colon && is_name(name.substr(0, slash)) &&
                     is_name(name.substr(slash + 1, colon - slash - 1)) &&
                     (!model.quantisation || is_tag(*model.quantisation));
  if (model.quantisation && lower(*model.quantisation) == "latest") model.quantisation.reset();
  if (named) return model;
  return fail(ErrorCode::kInvalidArgument, fmt::format("{} is not the name of a model on the hub: {}",
                                                       model::in_quotes(text), how_to_write(name)));
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
  BRIMFUL_TRY(const nlohmann::json facts, get_json(http, url, kLargestPage, next));
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
  auto files = files_at(http, model.repository, "main");
  if (!files) {
    const bool unknown = http.status() == 401 || http.status() == 404;
    if (unknown) files.error().message += near_names(http, model.repository);
    return std::unexpected(std::move(files.error()));
  }
  const std::vector<std::string> paths = RemoteFiles{.commit = {}, .files = *files}.paths();
  const auto path = choose_file(paths, model.quantisation);
  if (path) return address_of(http.settings(), model.repository, "main", *path);
  const bool no_model = std::ranges::none_of(paths, is_model_file);
  return fail(path.error().code,
              fmt::format("{}/{}: {}{}", shown(http.settings().endpoint), model.repository,
                          path.error().message, no_model ? near_names(http, model.repository) : ""));
}

}  // namespace brimful::hub
