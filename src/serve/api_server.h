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

/// The options of an ApiServer.
struct ServerOptions {
  AccessRules access;
  HttpLimits http;
  /// The largest body of a request that is read as JSON.
  Bytes largest_body = kMiB * 8;
  /// The most memory that all bodies take which are read at the same time.
  Bytes largest_bodies = kMiB * 32;
  /// The largest file that a client may send. Files go to the disk.
  Bytes largest_file = kMiB * 512;
  /// The most tokens that a request and its answer may have together. The context may hold more.
  std::uint32_t longest_text = UINT32_MAX;
};

/// OpenAI's API over HTTP, as far as docs/design-serve.md describes it. The server reads requests, puts them
/// into the RequestQueue, and writes the answers that the scheduler's thread makes.
/// Threading: one thread calls the functions; the server has threads of its own.
class ApiServer final : private HttpHandler {
 public:
  /// The most memory that a connection takes while no request is complete: its buffers and the kernel's
  /// part.
  static constexpr Bytes kConnection{20 * 1024};

  /// Starts to answer: every request gets 503 until loaded() is called. `model` is the model's name in
  /// answers. `store` may be null: then there are no files and no batches. Requires: the engine's context
  /// has been made.
  /// Lifetime: everything that is passed by reference or pointer outlives the server.
  ApiServer(Listener listener, ServerOptions options, const engine::Engine& engine,
            const openai::ApiReader& reader, std::string model, RequestQueue& request_queue,
            const MetricsSnapshot& metrics, FileStore* store);
  /// Refuses further requests, and blocks until the clients have taken their answers, for at most a minute.
  /// Requires: every request in the RequestQueue has its end, or gets it meanwhile.
  ~ApiServer() override;
  ApiServer(const ApiServer&) = delete;
  ApiServer& operator=(const ApiServer&) = delete;

  /// Says that the model is loaded: from now on, requests go to the RequestQueue.
  void loaded() { loaded_ = true; }
  /// Refuses all further requests with 503. Earlier requests are still answered.
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
  const std::int64_t started_;  // Seconds since 1970.
  // The most tokens of a request with its answer. The number stays the same when the budgets change and
  // another context takes the place of this one.
  const std::size_t most_tokens_;
  RequestQueue& request_queue_;
  const MetricsSnapshot& metrics_;
  BodyLimits bodies_;
  std::atomic<bool> loaded_ = false;
  std::atomic<bool> stopping_ = false;
  std::atomic<std::uint64_t> number_ = 0;  // The number of the last request.
  std::optional<FilesApi> files_api_;
  HttpRoutes routes_;
  std::optional<HttpServer> http_;  // The last member, because its threads use all others.
};

}  // namespace brimful::serve
