#pragma once

#include <atomic>
#include <thread>

#include "served_program.h"

namespace brimful::tests {

/// A client that sends one request for a stream after the other, on a thread of its own, and reads the
/// answers. It counts the pieces that it got, and the requests that failed.
class OtherClient {
 public:
  explicit OtherClient(const ServedProgram& server) : thread_([this, &server] { ask(server); }) {}
  ~OtherClient() {
    stopping_ = true;
    thread_.join();
  }
  [[nodiscard]] int pieces() const { return pieces_; }
  [[nodiscard]] int failures() const { return failures_; }

 private:
  void ask(const ServedProgram& server) {
    const auto body = completion(100, true).dump();
    while (!stopping_) {
      httplib::Request request;
      request.method = "POST";
      request.path = "/v1/completions";
      request.body = body;
      request.headers = {{"Content-Type", kJson}};
      request.content_receiver = [&](const char*, std::size_t, std::uint64_t, std::uint64_t) {
        ++pieces_;
        return !stopping_;
      };
      const auto got = server.client().send(request);
      if (!stopping_ && (!got || got->status != 200)) ++failures_;
    }
  }

  std::atomic<bool> stopping_ = false;
  std::atomic<int> pieces_ = 0;
  std::atomic<int> failures_ = 0;
  std::thread thread_;
};

}  // namespace brimful::tests
