#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "batch/api_answer.h"
#include "serve/archive_api.h"
#include "serve/board.h"
#include "serve/inbox.h"

namespace httplib {
class Server;
struct Request;
struct Response;
class ContentReader;
}  // namespace httplib

namespace strata::serve {

struct ServerOptions {
  std::vector<std::string> api_keys;   ///< empty: whoever reaches it may use it
  std::size_t most_connections = 256;  ///< a thread for each
  Bytes largest_body = kMiB * 8;
  Bytes largest_bodies = kMiB * 32;  ///< of all that are read at the same time
  Bytes largest_file = kMiB * 512;   ///< that a client may send: it goes to the disk
  std::uint32_t longest_text =
      UINT32_MAX;  ///< Tokens of a request with its answer; the context may hold more.
};

/// An address that is this program's from now on; who connects waits until an ApiServer takes it over.
class Listener {
 public:
  /// Port 0: any that is free. Errors: kIo where the address cannot be had.
  [[nodiscard]] static Result<Listener> bind(const std::string& host, int port);
  Listener(Listener&&) noexcept;
  Listener& operator=(Listener&&) = delete;
  ~Listener();

  [[nodiscard]] int port() const { return port_; }

 private:
  friend class ApiServer;
  Listener();
  std::unique_ptr<httplib::Server> http_;
  int port_ = 0;
};

/// OpenAI's API over HTTP, as far as docs/design-serve.md says: reads requests, puts them into the inbox,
/// writes what comes of them. Has threads of its own. Threading: one thread uses it.
class ApiServer {
 public:
  /// What a connection takes of memory, about: stack, buffers, the kernel's part.
  static constexpr Bytes kConnection{96 * 1024};

  /// Answers at once: 503, until loaded() is called. All outlive it. `archive` may be null: no files, no
  /// batches. Requires: the engine's context has been made.
  ApiServer(Listener listener, ServerOptions options, const engine::Engine& engine,
            const batch::ApiReader& reader, std::string model, Inbox& inbox, const Board& board,
            Archive* archive);
  /// Blocks until what is sent in pieces has been taken, or a minute long. Requires: what is in the inbox
  /// gets its end meanwhile, or has it.
  ~ApiServer();
  ApiServer(const ApiServer&) = delete;
  ApiServer& operator=(const ApiServer&) = delete;

  /// There is somebody now who takes from the inbox.
  void loaded() { loaded_ = true; }
  /// Whatever is asked from now on is refused; what was asked is answered, while this lives.
  void refuse_more() { stopping_ = true; }

 private:
  void add_checks();
  [[nodiscard]] bool refuse_at_once(const httplib::Request& request, httplib::Response& response) const;
  void add_endpoints();
  [[nodiscard]] bool may_use(const httplib::Request& request) const;
  [[nodiscard]] Result<ReadBody> read_body(const httplib::ContentReader& content);
  void answer(batch::Endpoint endpoint, const httplib::Request& request, httplib::Response& response,
              ReadBody body);
  void answer_whole(const std::shared_ptr<Ticket>& ticket, const batch::AnswerHead& head,
                    httplib::Response& response);
  void answer_in_pieces(std::shared_ptr<Ticket> ticket, batch::AnswerHead head, httplib::Response& response,
                        std::shared_ptr<Counted> open);
  [[nodiscard]] nlohmann::ordered_json model_json() const;

  const ServerOptions options_;
  const engine::Engine& engine_;
  const batch::ApiReader& reader_;
  const std::string model_;
  const std::int64_t started_;  // s since 1970
  const std::size_t
      most_tokens_;  // of the context: whatever its budget is, and another one may take its place
  Inbox& inbox_;
  const Board& board_;
  const std::unique_ptr<httplib::Server> http_;
  std::atomic<bool> loaded_ = false;
  std::atomic<bool> stopping_ = false;
  std::atomic<std::uint64_t> bodies_ = 0;   // bytes of those that are read
  std::atomic<std::uint64_t> streams_ = 0;  // answers and files that are sent in pieces
  std::atomic<std::uint64_t> number_ = 0;   // of the last request
  std::optional<ArchiveApi> archive_api_;
  std::thread thread_;
};

}  // namespace strata::serve
