#pragma once

#include <atomic>
#include <optional>
#include <string>

#include "openai/answer.h"
#include "serve/files_api.h"
#include "serve/http_access.h"
#include "serve/metrics_snapshot.h"
#include "serve/request_queue.h"

namespace brimful::serve {

struct ServerOptions {
  AccessRules access;
  HttpLimits http;
  Bytes largest_body = kMiB * 8;
  Bytes largest_bodies = kMiB * 32;  ///< of all that are read at the same time
  Bytes largest_file = kMiB * 512;   ///< that a client may send: it goes to the disk
  std::uint32_t longest_text =
      UINT32_MAX;  ///< Tokens of a request with its answer; the context may hold more.
};

/// OpenAI's API over HTTP, as far as docs/design-serve.md says: reads requests, puts them into the
/// request_queue, writes what comes of them. Has threads of its own. Threading: one thread uses it.
class ApiServer final : private HttpHandler {
 public:
  /// What a connection takes of memory at most while no request is complete: buffers and the kernel's part.
  static constexpr Bytes kConnection{20 * 1024};

  /// Answers at once: 503, until loaded() is called. All outlive it. `store` may be null: no files, no
  /// batches. Requires: the engine's context has been made.
  ApiServer(Listener listener, ServerOptions options, const engine::Engine& engine,
            const openai::ApiReader& reader, std::string model, RequestQueue& request_queue,
            const MetricsSnapshot& metrics, FileStore* store);
  /// Blocks until the clients have taken their answers, or a minute long. Requires: what is in the
  /// request_queue gets its end meanwhile, or has it.
  ~ApiServer() override;
  ApiServer(const ApiServer&) = delete;
  ApiServer& operator=(const ApiServer&) = delete;

  /// There is somebody now who takes from the request_queue.
  void loaded() { loaded_ = true; }
  /// Whatever is asked from now on is refused; what was asked is answered, while this lives.
  void refuse_more() { stopping_ = true; }

 private:
  std::variant<HttpResponse, HttpPlan> begin(const HttpRequest& request) override;
  HttpResponse refusal(int status, const std::string& why) override;
  void add_fields(const HttpRequest& request, HttpResponse& response) override;

  [[nodiscard]] std::optional<HttpResponse> refuse_client(const HttpRequest& request) const;
  void add_endpoints();
  [[nodiscard]] Result<openai::ApiRequest> read(openai::Endpoint endpoint, const ReadBody& body) const;
  [[nodiscard]] HttpResponse answer(openai::Endpoint endpoint, ReadBody body);
  [[nodiscard]] nlohmann::ordered_json model_json() const;

  const ServerOptions options_;
  const HttpAccess access_;
  const engine::Engine& engine_;
  const openai::ApiReader& reader_;
  const std::string model_;
  const std::int64_t started_;  // s since 1970
  const std::size_t
      most_tokens_;  // of the context: whatever its budget is, and another one may take its place
  RequestQueue& request_queue_;
  const MetricsSnapshot& metrics_;
  BodyLimits bodies_;
  std::atomic<bool> loaded_ = false;
  std::atomic<bool> stopping_ = false;
  std::atomic<std::uint64_t> number_ = 0;  // of the last request
  std::optional<FilesApi> files_api_;
  HttpRoutes routes_;
  std::optional<HttpServer> http_;  // last: it uses all others
};

}  // namespace brimful::serve
