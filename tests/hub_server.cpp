#include "hub_server.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <random>

#include "hub/hasher.h"

namespace brimful::tests {

HubServer::HubServer(Files files, Change change, Sizes sizes)
    : commits_{{kCommit, std::move(files)}},
      change_(std::move(change)),
      sizes_(std::move(sizes)),
      server_([this](const ModelServer::Request& request) { return answer(request); }) {}

void HubServer::push(const std::string& commit, Files files) {
  const std::lock_guard lock(mutex_);
  commits_[commit] = std::move(files);
  main_ = commit;
}

void HubServer::find(std::vector<std::string> repositories) {
  const std::lock_guard lock(mutex_);
  found_ = std::move(repositories);
}

std::string HubServer::hash(const std::string& path) const {
  const std::lock_guard lock(mutex_);
  return sha256_of(commits_.at(main_).at(path));
}

std::size_t HubServer::file_requests() const {
  const auto all = server_.requests();
  return static_cast<std::size_t>(
      std::ranges::count_if(all, [](const auto& request) { return request.path.contains("/resolve/"); }));
}

ModelServer::Reply HubServer::list(const Files& files) const {
  auto list = nlohmann::json::array();
  for (const auto& [path, content] : files) {
    const auto size = sizes_.contains(path) ? sizes_.at(path) : content.size();
    list.push_back({{"type", "file"},
                    {"path", path},
                    {"size", size},
                    {"oid", std::string(40, 'a')},
                    {"lfs", {{"oid", sha256_of(content)}, {"size", size}, {"pointerSize", 134}}}});
  }
  return {.body = list.dump(), .type = "application/json"};
}

ModelServer::Reply HubServer::answer(const ModelServer::Request& asked) const {
  ModelServer::Request request = asked;
  // A client that takes this server for a proxy sends the whole address.
  if (request.path.starts_with("http://"))
    request.path.erase(0, std::min(request.path.find('/', 7), request.path.size()));
  const std::string api = std::string("/api/models/") + kRepository;
  const std::string tree = api + "/tree/";
  const std::string resolve = std::string("/") + kRepository + "/resolve/";
  const std::lock_guard lock(mutex_);
  if (request.path == api + "/revision/main")
    return {.body = nlohmann::json{{"sha", main_}}.dump(), .type = "application/json"};
  if (request.path.starts_with("/api/models?")) {
    auto list = nlohmann::json::array();
    for (const std::string& name : found_) list.push_back({{"id", name}});
    return {.body = list.dump(), .type = "application/json"};
  }
  for (const auto& [commit, files] : commits_) {
    if (request.path == tree + commit + "?recursive=true") return list(files);
    // As the real hub, `main` is a name of its newest commit.
    const bool main = request.path.starts_with(resolve + "main/") && commit == main_;
    const std::string folder = resolve + (main ? "main" : commit) + "/";
    if (!request.path.starts_with(folder)) continue;
    const std::string path = request.path.substr(folder.size());
    const auto file = files.find(path);
    if (file == files.end()) return {.status = 404, .body = "Entry not found"};
    ModelServer::Reply reply{
        .body = file->second,
        .size = sizes_.contains(path) ? sizes_.at(path) : 0,
        .headers = {{"X-Linked-Etag", '"' + sha256_of(file->second) + '"'}, {"X-Repo-Commit", commit}}};
    if (change_) change_(request, reply);
    return reply;
  }
  if (request.path == tree + "main?recursive=true") return list(commits_.at(main_));
  return {.status = 404, .body = "{}"};
}

std::string random_text(std::size_t size, unsigned seed) {
  std::minstd_rand random(seed);
  std::string out(size, '\0');
  for (char& c : out) c = static_cast<char>(random() >> 8);
  return out;
}

std::string sha256_of(const std::string& text) {
  hub::Hasher hasher = std::move(hub::Hasher::start().value());
  hasher.add(std::as_bytes(std::span(text)));
  return hasher.hex();
}

}  // namespace brimful::tests
