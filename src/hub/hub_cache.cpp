#include "hub/hub_cache.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <system_error>

#include "base/replace_file.h"
#include "hub/download.h"
#include "hub/file_lock.h"
#include "model/split_names.h"

namespace brimful::hub {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "models--";
constexpr std::string_view kPartEnding = ".brimful-part";
constexpr std::size_t kMostNames = 8;

/// The folder that a variable names. `~/` means HOME, as in huggingface_hub.
fs::path variable(const char* name) {
  const char* const value = std::getenv(name);
  if (value == nullptr) return {};
  const std::string_view text = value;
  const char* const home = std::getenv("HOME");
  if (text.starts_with("~/") && home != nullptr) return fs::path(home) / text.substr(2);
  return text;
}

fs::path folder_of_environment() {
  // The second is an older name, which huggingface_hub and llama.cpp still read.
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}) {
    if (fs::path cache = variable(name); !cache.empty()) return cache;
  }
  if (const fs::path home = variable("HF_HOME"); !home.empty()) return home / "hub";
  fs::path base = variable("XDG_CACHE_HOME");
  if (base.empty()) {
    const fs::path home = variable("HOME");
    base = (home.empty() ? fs::path(".") : home) / ".cache";
  }
  return base / "huggingface" / "hub";
}

std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> out;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    out.push_back(it->path());
  std::ranges::sort(out);
  return out;
}

/// Returns the files in `folder` and below, relative to it.
std::vector<std::string> files_below(const fs::path& folder) {
  std::vector<std::string> out;
  std::error_code error;
  for (fs::recursive_directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    std::error_code unknown;
    if (it->is_regular_file(unknown)) out.push_back(it->path().lexically_relative(folder).string());
  }
  std::ranges::sort(out);
  return out;
}

std::string first_line(const fs::path& file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return line;
}

std::string repository_of(const fs::path& folder) {
  const std::string name = folder.filename().string().substr(kPrefix.size());
  const std::size_t slash = name.find("--");
  if (slash == std::string::npos) return {};
  return fmt::format("{}/{}", name.substr(0, slash), name.substr(slash + 2));
}

Error failed(const fs::path& path, const std::error_code& why) {
  return {ErrorCode::kIo, fmt::format("{}: cannot be written: {}; HF_HUB_CACHE names another cache",
                                      path.string(), why.message())};
}

/// Reads what is known of one file of a snapshot. Nullopt when a part is missing.
std::optional<CachedModel> read(const std::string& repository, const fs::path& snapshot,
                                const std::string& path) {
  CachedModel out{.repository = repository, .quantisation = quantisation_of(path), .path = path};
  out.file = snapshot / path;
  const auto split = model::parse_split_name(out.file);
  const std::uint32_t parts = split ? split->parts : 1;
  for (std::uint32_t part = 1; part <= parts; ++part) {
    const fs::path file = split ? split->path_of(part) : out.file;
    std::error_code error;
    const std::uint64_t size = fs::file_size(file, error);
    if (error) return std::nullopt;
    out.size = out.size + Bytes{size};
    out.files.push_back(file);
    out.blobs.push_back(fs::canonical(file, error));
    if (!error) out.changed = std::max(out.changed, fs::last_write_time(file, error));
    if (error) return std::nullopt;
  }
  return out;
}

}  // namespace

std::string CachedModel::name() const {
  return tag.empty() ? repository : fmt::format("{}:{}", repository, tag);
}

HubCache HubCache::of_environment() {
  fs::path folder = folder_of_environment();
  std::vector<fs::path> also;
  if (fs::path llama = variable("LLAMA_CACHE"); !llama.empty() && llama != folder)
    also.push_back(std::move(llama));
  return HubCache(std::move(folder), std::move(also));
}

fs::path HubCache::repository_folder(std::string_view repository) const {
  const std::size_t slash = repository.find('/');
  return folder_ /
         fmt::format("{}{}--{}", kPrefix, repository.substr(0, slash), repository.substr(slash + 1));
}

fs::path HubCache::blob(std::string_view repository, std::string_view hash) const {
  return repository_folder(repository) / "blobs" / hash;
}

fs::path HubCache::lock(std::string_view repository, std::string_view hash) const {
  return folder_ / ".locks" / repository_folder(repository).filename() / fmt::format("{}.lock", hash);
}

fs::path HubCache::snapshot(std::string_view repository, std::string_view commit,
                            std::string_view path) const {
  return repository_folder(repository) / "snapshots" / commit / path;
}

Status HubCache::link(std::string_view repository, std::string_view commit, std::string_view path,
                      std::string_view hash) const {
  const fs::path name = snapshot(repository, commit, path);
  const fs::path to = blob(repository, hash).lexically_relative(name.parent_path());
  std::error_code error;
  if (fs::is_symlink(name, error) && fs::read_symlink(name, error) == to) return {};
  error.clear();
  fs::create_directories(name.parent_path(), error);
  if (error) return std::unexpected(failed(name, error));
  const fs::path temporary = fmt::format("{}.brimful-{}", name.string(), ::getpid());
  fs::create_symlink(to, temporary, error);
  if (!error) fs::rename(temporary, name, error);
  if (error) return std::unexpected(failed(name, error));
  return {};
}

Status HubCache::set_main(std::string_view repository, std::string_view commit) const {
  const fs::path file = repository_folder(repository) / "refs" / "main";
  if (first_line(file) == commit) return {};
  Status written = replace_file(file, [&](std::ostream& out) { out << commit; });
  if (!written) written.error().message += "; HF_HUB_CACHE names another cache";
  return written;
}

std::vector<CachedModel> HubCache::models() const {
  std::vector<CachedModel> out;
  std::vector<fs::path> folders = entries_of(folder_);
  for (const fs::path& other : also_) std::ranges::copy(entries_of(other), std::back_inserter(folders));
  std::vector<std::string> seen;
  for (const fs::path& folder : folders) {
    if (!folder.filename().string().starts_with(kPrefix)) continue;
    const std::string repository = repository_of(folder);
    if (repository.empty()) continue;
    const fs::path main = folder / "snapshots" / first_line(folder / "refs" / "main");
    std::vector<fs::path> snapshots = entries_of(folder / "snapshots");
    // The newest commit comes first, so that its files are the ones that are named.
    std::ranges::stable_partition(snapshots, [&](const fs::path& snapshot) { return snapshot == main; });
    std::map<std::string, CachedModel> by_path;
    for (const fs::path& snapshot : snapshots) {
      for (const std::string& path : files_below(snapshot)) {
        if (!is_model_file(path) || by_path.contains(path)) continue;
        if (auto model = read(repository, snapshot, path)) by_path.emplace(path, std::move(*model));
      }
    }
    std::vector<std::string> paths;
    for (const auto& [path, model] : by_path) paths.push_back(path);
    for (auto& [path, model] : by_path) {
      model.folder = folder;
      model.tag = tag_of(paths, path);
      // Of a model that two caches have, the first one counts.
      if (std::ranges::find(seen, model.name()) != seen.end()) continue;
      seen.push_back(model.name());
      out.push_back(std::move(model));
    }
  }
  std::ranges::stable_sort(out, {}, &CachedModel::repository);
  return out;
}

Result<CachedModel> HubCache::find(const HubModel& model) const {
  std::vector<CachedModel> all = models();
  std::vector<std::string> names;
  std::vector<std::string> paths;
  for (const CachedModel& cached : all) {
    if (cached.repository == model.repository) paths.push_back(cached.path);
    names.push_back(cached.name());
  }
  if (!paths.empty()) {
    const auto path = choose_file(paths, model.quantisation);
    if (!path) {
      return fail(path.error().code, fmt::format("{} in the cache {}: {}", model.repository, folder_.string(),
                                                 path.error().message));
    }
    const auto found = std::ranges::find_if(all, [&](const CachedModel& cached) {
      return cached.repository == model.repository && cached.path == *path;
    });
    return std::move(*found);
  }
  const bool more = names.size() > kMostNames;
  if (more) names.resize(kMostNames);
  return fail(ErrorCode::kNotFound,
              fmt::format("{}: is not in the cache {}, which has {}{}", model.repository, folder_.string(),
                          names.empty() ? "no model" : fmt::format("{}", fmt::join(names, ", ")),
                          more ? " and more: see 'brimful list'" : ""));
}

std::vector<UnfinishedFile> HubCache::unfinished() const {
  std::vector<UnfinishedFile> out;
  for (const fs::path& folder : entries_of(folder_)) {
    if (!folder.filename().string().starts_with(kPrefix)) continue;
    for (const fs::path& file : entries_of(folder / "blobs")) {
      if (!file.string().ends_with(kPartEnding)) continue;
      const std::string name = file.string();
      const fs::path blob = name.substr(0, name.size() - kPartEnding.size());
      out.push_back({repository_of(folder), blob, unfinished_bytes(blob)});
    }
  }
  return out;
}

Result<CachedModel> HubCache::copy(const CachedModel& model, const std::string& repository) const {
  const auto same = [&](const CachedModel& cached) {
    return cached.repository == repository && cached.path == model.path;
  };
  if (std::ranges::any_of(models(), same))
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: the cache has a model of this name already: 'brimful rm {}' removes it",
                            repository, repository));
  // The files lie below snapshots/COMMIT.
  const fs::path snapshots = model.folder / "snapshots";
  const std::string commit = model.file.lexically_relative(snapshots).begin()->string();
  for (std::size_t i = 0; i < model.files.size(); ++i) {
    const std::string hash = model.blobs[i].filename().string();
    const fs::path to = blob(repository, hash);
    std::error_code error;
    fs::create_directories(to.parent_path(), error);
    if (!error && !fs::exists(to, error)) fs::create_hard_link(model.blobs[i], to, error);
    if (error) return std::unexpected(failed(to, error));
    BRIMFUL_TRY_VOID(
        link(repository, commit, model.files[i].lexically_relative(snapshots / commit).string(), hash));
  }
  // A repository that is there already keeps the commit that other tools look for.
  if (first_line(repository_folder(repository) / "refs" / "main").empty())
    BRIMFUL_TRY_VOID(set_main(repository, commit));
  const std::vector<CachedModel> all = models();
  const auto copied = std::ranges::find_if(all, same);
  if (copied != all.end()) return *copied;
  return fail(ErrorCode::kIo, fmt::format("{}: the copy was removed meanwhile", repository));
}

Result<Bytes> HubCache::remove(const CachedModel& model) const {
  const fs::path& folder = model.folder;
  std::vector<fs::path> names;
  std::vector<fs::path> kept;  // The blobs that other names lead to.
  for (const fs::path& snapshot : entries_of(folder / "snapshots")) {
    for (const std::string& path : files_below(snapshot)) {
      std::error_code error;
      const fs::path blob = fs::canonical(snapshot / path, error);
      const bool same = std::ranges::any_of(model.files, [&](const fs::path& file) {
        return file.filename() == fs::path(path).filename() &&
               fs::path(path).parent_path() == fs::path(model.path).parent_path();
      });
      if (same) {
        names.push_back(snapshot / path);
      } else if (!error) {
        kept.push_back(blob);
      }
    }
  }
  Bytes freed;
  std::vector<fs::path> blobs = model.blobs;
  for (const fs::path& name : names) {
    std::error_code unknown;
    if (fs::path blob = fs::canonical(name, unknown); !unknown) blobs.push_back(std::move(blob));
  }
  std::ranges::sort(blobs);
  blobs.erase(std::unique(blobs.begin(), blobs.end()), blobs.end());
  std::error_code error;
  // A link may lead to a file of another program, which stays.
  const fs::path own = fs::weakly_canonical(folder / "blobs", error);
  for (const fs::path& name : names) {
    if (!fs::remove(name, error) && error) return std::unexpected(failed(name, error));
  }
  for (const fs::path& blob : blobs) {
    if (std::ranges::find(kept, blob) != kept.end() || blob.parent_path() != own) continue;
    const std::uint64_t size = fs::file_size(blob, error);
    const bool last = fs::hard_link_count(blob, error) == 1;
    if (fs::remove(blob, error) && last) freed += Bytes{size};
    if (error) return std::unexpected(failed(blob, error));
  }
  // A reference to a snapshot that is not there would be a damaged cache for other tools.
  if (files_below(folder / "snapshots").empty() && entries_of(folder / "blobs").empty())
    fs::remove_all(folder, error);
  return freed;
}

Result<Bytes> HubCache::remove_unfinished(std::string_view repository) const {
  Bytes freed;
  for (const UnfinishedFile& file : unfinished()) {
    if (file.repository != repository) continue;
    const auto lock = FileLock::try_to_take(this->lock(repository, file.blob.filename().string()));
    if (!lock) return std::unexpected(lock.error());
    std::error_code error;
    const std::uint64_t size = fs::file_size(part_of(file.blob), error);
    for (const fs::path& path : {part_of(file.blob), pieces_of(file.blob)}) {
      fs::remove(path, error);
      if (error) return std::unexpected(failed(path, error));
    }
    freed += Bytes{size};
  }
  return freed;
}

std::string cached_name(const fs::path& path) {
  fs::path repository;
  fs::path inside;
  for (auto part = path.begin(); part != path.end(); ++part) {
    if (!part->string().starts_with(kPrefix)) continue;
    auto next = std::next(part);
    if (next == path.end() || *next != "snapshots" || ++next == path.end()) continue;
    repository = *part;
    inside.clear();
    for (++next; next != path.end(); ++next) inside /= *next;
  }
  if (inside.empty()) return {};
  const std::string tag = quantisation_of(inside.string());
  const std::string name = repository_of(repository);
  return tag.empty() || name.empty() ? name : fmt::format("{}:{}", name, tag);
}

bool is_safe_path(std::string_view path) {
  if (path.empty() || path.size() > 1024) return false;
  if (std::ranges::any_of(
          path, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F || c == '\\'; }))
    return false;
  while (true) {
    const std::size_t end = std::min(path.find('/'), path.size());
    const std::string_view part = path.substr(0, end);
    if (part.empty() || part == "." || part == ".." || part.size() > 200) return false;
    if (end == path.size()) return true;
    path.remove_prefix(end + 1);
  }
}

bool is_hash(std::string_view text) {
  return (text.size() == 40 || text.size() == 64) &&
         std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

}  // namespace brimful::hub
