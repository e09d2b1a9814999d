#include "model_server.h"

#include <cpp-httplib/httplib.h>
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace brimful::tests {

struct ModelServer::State {
  Handler handler;
  httplib::Server server;
  int port = 0;
  std::thread thread;
  std::atomic<std::uint64_t> sent = 0;
  mutable std::mutex mutex;
  std::condition_variable changed;
  bool ends = false;
  std::vector<Request> requests;

  void answer(const httplib::Request& asked, httplib::Response& to);
  bool write(const Reply& reply, std::uint64_t offset, std::uint64_t most, httplib::DataSink& sink);
};

/// Returns a piece of the file at `offset`, of at most `most` bytes.
bool ModelServer::State::write(const Reply& reply, std::uint64_t offset, std::uint64_t most,
                               httplib::DataSink& sink) {
  static const std::string zeros(64 * 1024, '\0');
  const bool in_body = offset < reply.body.size();
  const char* const from = in_body ? reply.body.data() + offset : zeros.data();
  std::uint64_t count =
      std::min<std::uint64_t>(in_body ? reply.body.size() - offset : reply.size - offset, zeros.size());
  count = std::min(count, most);
  if (count == 0 || !sink.write(from, count)) return false;
  sent += count;
  return true;
}

void ModelServer::State::answer(const httplib::Request& asked, httplib::Response& to) {
  const Request request{.host = asked.get_header_value("Host"),
                        .path = asked.target,
                        .range = asked.get_header_value("Range"),
                        .authorization = asked.get_header_value("Authorization"),
                        .proxy_authorization = asked.get_header_value("Proxy-Authorization")};
  {
    const std::lock_guard lock(mutex);
    requests.push_back(request);
  }
  Reply reply = handler(request);
  reply.size = std::max<std::uint64_t>(reply.size, reply.body.size());
  if (reply.status) to.status = *reply.status;
  for (const auto& [name, value] : reply.headers) to.set_header(name, value);
  {
    std::unique_lock lock(mutex);
    changed.wait_for(lock, reply.delay, [this] { return ends; });
  }
  if (reply.size == 0) return;
  if (!reply.tells_size) {
    to.set_content_provider(reply.type, [this, reply](std::size_t offset, httplib::DataSink& sink) {
      if (offset < reply.size) return write(reply, offset, reply.size, sink);
      sink.done();
      return true;
    });
    return;
  }
  to.set_content_provider(
      reply.size, reply.type,
      [this, reply, left = reply.stalls_after ? reply.stalls_after : reply.breaks_after](
          std::size_t offset, std::size_t length, httplib::DataSink& sink) mutable {
        if (reply.stalls_after && left == 0U) {
          std::unique_lock lock(mutex);
          changed.wait(lock, [this] { return ends; });
          return false;
        }
        const std::uint64_t most = std::min<std::uint64_t>({length, left.value_or(length), 64 * 1024});
        if (left) *left -= most;
        return write(reply, offset, most, sink);
      });
}

ModelServer::ModelServer(Handler handler) : state_(std::make_unique<State>()) {
  state_->handler = std::move(handler);
  state_->server.Get(
      ".*", [this](const httplib::Request& asked, httplib::Response& to) { state_->answer(asked, to); });
  state_->port = state_->server.bind_to_any_port("127.0.0.1");
  state_->thread = std::thread([this] { state_->server.listen_after_bind(); });
  state_->server.wait_until_ready();
}

ModelServer::~ModelServer() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->ends = true;
  }
  state_->changed.notify_all();
  state_->server.stop();
  state_->thread.join();
}

std::string ModelServer::address(const std::string& host) const {
  return "http://" + host + ":" + std::to_string(state_->port);
}

std::vector<ModelServer::Request> ModelServer::requests() const {
  const std::lock_guard lock(state_->mutex);
  return state_->requests;
}

std::uint64_t ModelServer::bytes_sent() const { return state_->sent; }

}  // namespace brimful::tests
