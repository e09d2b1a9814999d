#pragma once

#include <cpp-httplib/httplib.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "memory_cgroup.h"
#include "running_program.h"
#include "tiered_model.h"

namespace brimful::tests {

/// A running `brimful serve`. It serves the demo's model, unless `more` names another one with -m. The
/// destructor kills it.
class ServedProgram {
 public:
  /// Starts the server with the flags `more`, and waits until it listens. With `must_start`, the test fails
  /// when it does not. With a cgroup, all memory of the program is charged there.
  explicit ServedProgram(const std::vector<std::string>& more, bool must_start = true,
                         const MemoryCgroup* cgroup = nullptr)
      : program_(command(more), cgroup) {
    constexpr std::string_view kAddress = "listening on http://127.0.0.1:";
    const auto deadline = std::chrono::steady_clock::now() + RunningProgram::kPatience;
    while (port_ == 0 && !program_.has_ended() && std::chrono::steady_clock::now() < deadline) {
      const std::string text = said();
      const std::size_t at = text.find(kAddress);
      if (at != std::string::npos && text.find('\n', at) != std::string::npos)
        port_ = std::stoi(text.substr(at + kAddress.size()));
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    EXPECT_TRUE(port_ != 0 || !must_start) << said();
  }
  ServedProgram(const ServedProgram&) = delete;
  ServedProgram& operator=(const ServedProgram&) = delete;

  void signal(int number) const { program_.signal(number); }
  int wait() { return program_.wait(); }
  [[nodiscard]] std::string said() const { return program_.said(); }
  /// Waits until the program has written `text` to standard error.
  [[nodiscard]] bool says(const std::string& text) const { return program_.says(text); }
  [[nodiscard]] pid_t pid() const { return program_.pid(); }
  [[nodiscard]] int port() const { return port_; }
  [[nodiscard]] bool has_ended() const { return program_.has_ended(); }
  /// The most memory that the process has held so far, as the kernel counts it. Requires: the process has
  /// not ended.
  [[nodiscard]] Bytes high_water_mark() const {
    std::ifstream in("/proc/" + std::to_string(pid()) + "/status");
    for (std::string line; std::getline(in, line);) {
      if (line.starts_with("VmHWM:")) return Bytes{std::stoull(line.substr(6)) * 1024};
    }
    ADD_FAILURE() << "the process tells no high-water mark";
    return {};
  }
  /// Returns a socket that is connected to the server.
  [[nodiscard]] int connect() const {
    const int out = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{.sin_family = AF_INET,
                        .sin_port = htons(static_cast<std::uint16_t>(port_)),
                        .sin_addr = {},
                        .sin_zero = {}};
    ::inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    EXPECT_EQ(::connect(out, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    return out;
  }
  [[nodiscard]] httplib::Client client() const {
    httplib::Client out("127.0.0.1", port_);
    out.set_read_timeout(kPatience);
    return out;
  }
  /// The value of a metric in /metrics; -1 when there is none.
  [[nodiscard]] double metric(const std::string& name) const {
    const auto got = client().Get("/metrics");
    const std::size_t at = got ? got->body.find("\n" + name + " ") : std::string::npos;
    return at == std::string::npos ? -1 : std::stod(got->body.substr(at + name.size() + 2));
  }
  /// Waits until a metric has the given value. Returns false when it does not within `limit`.
  [[nodiscard]] bool becomes(const std::string& name, double value,
                             std::chrono::milliseconds limit = RunningProgram::kPatience) const {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    while (metric(name) != value) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return true;
  }

 private:
  static std::vector<std::string> command(const std::vector<std::string>& more) {
    std::vector<std::string> out = {"serve", "--port", "0", "-t", "1"};
    if (std::ranges::find(more, "-m") == more.end()) {
      out.emplace_back("-m");
      out.push_back(stories15m().string());
    }
    out.insert(out.end(), more.begin(), more.end());
    return out;
  }

  RunningProgram program_;
  int port_ = 0;
};

/// Flags for a context that is so large that no test fills it: a request writes until its client
/// disconnects.
inline const std::vector<std::string> kEndless = {"-c", "16384"};

/// A request that keeps a sequence of a server with kEndless busy. Its answer is never read. It ends with
/// let_go().
class HeldRequest {
 public:
  explicit HeldRequest(const ServedProgram& server, bool stream = true) : socket_(server.connect()) {
    const nlohmann::json body = {{"prompt", "Once upon a time"},
                                 {"max_tokens", -1},
                                 {"temperature", 0},
                                 {"ignore_eos", true},
                                 {"stream", stream}};
    const std::string text = body.dump();
    const std::string request =
        "POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        "Content-Length: " +
        std::to_string(text.size()) + "\r\n\r\n" + text;
    EXPECT_EQ(::send(socket_, request.data(), request.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(request.size()));
  }
  ~HeldRequest() { let_go(); }
  HeldRequest(const HeldRequest&) = delete;
  HeldRequest& operator=(const HeldRequest&) = delete;

  /// Disconnects from the server.
  void let_go() {
    if (socket_ >= 0) ::close(std::exchange(socket_, -1));
  }

 private:
  int socket_;
};

/// A fixture for tests that need the demo's model. They are skipped when it is missing.
class NeedsStories : public testing::Test {
 protected:
  void SetUp() override {
    if (stories15m().empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  }
};

inline constexpr const char* kJson = "application/json";

/// The body of a request that completes a text with exactly `tokens` tokens.
inline nlohmann::json completion(int tokens, bool stream = false) {
  return {{"prompt", "Once upon a time"},
          {"max_tokens", tokens},
          {"temperature", 0},
          {"ignore_eos", true},
          {"stream", stream}};
}

/// Parses the body of an answer. The test fails when the status is not 200.
inline nlohmann::json parsed(const httplib::Result& got) {
  EXPECT_TRUE(got);
  EXPECT_EQ(got ? got->status : 0, 200) << (got ? got->body : "");
  return got && got->status == 200 ? nlohmann::json::parse(got->body) : nlohmann::json();
}

}  // namespace brimful::tests
