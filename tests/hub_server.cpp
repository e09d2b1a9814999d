#include "hub_server.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <random>

#include "hub/hasher.h"

namespace brimful::tests {

HubServer::HubServer(Files files, Change change)
    : files_(std::move(files)),
      change_(std::move(change)),
      server_([this](const ModelServer::Request& request) { return answer(request); }) {}

std::string HubServer::hash(const std::string& path) const { return sha256_of(files_.at(path)); }

std::size_t HubServer::file_requests() const {
  const auto all = server_.requests();
  return static_cast<std::size_t>(
      std::ranges::count_if(all, [](const auto& request) { return request.path.contains("/resolve/"); }));
}

ModelServer::Reply HubServer::answer(const ModelServer::Request& request) const {
  const std::string api = std::string("/api/models/") + kRepository;
  const std::string resolve = std::string("/") + kRepository + "/resolve/" + kCommit + "/";
  if (request.path == api + "/revision/main")
    return {.body = nlohmann::json{{"sha", kCommit}}.dump(), .type = "application/json"};
  if (request.path == api + "/tree/" + kCommit + "?recursive=true") {
    auto list = nlohmann::json::array();
    for (const auto& [path, content] : files_) {
      list.push_back(
          {{"type", "file"},
           {"path", path},
           {"size", content.size()},
           {"oid", std::string(40, 'a')},
           {"lfs", {{"oid", sha256_of(content)}, {"size", content.size()}, {"pointerSize", 134}}}});
    }
    return {.body = list.dump(), .type = "application/json"};
  }
  if (!request.path.starts_with(resolve)) return {.status = 404, .body = "{}"};
  const auto file = files_.find(request.path.substr(resolve.size()));
  if (file == files_.end()) return {.status = 404, .body = "Entry not found"};
  ModelServer::Reply reply{
      .body = file->second,
      .headers = {{"X-Linked-Etag", '"' + sha256_of(file->second) + '"'}, {"X-Repo-Commit", kCommit}}};
  if (change_) change_(request, reply);
  return reply;
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
