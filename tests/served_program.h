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

/// `brimful serve` until it is stopped: with the demo's model, where `more` names no other.
class ServedProgram {
 public:
  /// With a cgroup, all that the program takes is charged there.
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
  /// Waits until it has said `text` on standard error.
  [[nodiscard]] bool says(const std::string& text) const { return program_.says(text); }
  [[nodiscard]] pid_t pid() const { return program_.pid(); }
  [[nodiscard]] int port() const { return port_; }
  [[nodiscard]] bool has_ended() const { return program_.has_ended(); }
  /// The most memory that the process ever held, as the kernel counts it. Requires: it has not ended.
  [[nodiscard]] Bytes high_water_mark() const {
    std::ifstream in("/proc/" + std::to_string(pid()) + "/status");
    for (std::string line; std::getline(in, line);) {
      if (line.starts_with("VmHWM:")) return Bytes{std::stoull(line.substr(6)) * 1024};
    }
    ADD_FAILURE() << "the process tells no high-water mark";
    return {};
  }
  /// A plain socket.
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
  /// Of /metrics.
  [[nodiscard]] double metric(const std::string& name) const {
    const auto got = client().Get("/metrics");
    const std::size_t at = got ? got->body.find("\n" + name + " ") : std::string::npos;
    return at == std::string::npos ? -1 : std::stod(got->body.substr(at + name.size() + 2));
  }
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

/// A context that a request fills in no test: it writes until its client goes away.
inline const std::vector<std::string> kEndless = {"-c", "16384"};

/// A request that holds a sequence of a server with kEndless, streams and is never read, until it is let go.
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

  /// The client goes away.
  void let_go() {
    if (socket_ >= 0) ::close(std::exchange(socket_, -1));
  }

 private:
  int socket_;
};

class NeedsStories : public testing::Test {
 protected:
  void SetUp() override {
    if (stories15m().empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  }
};

inline constexpr const char* kJson = "application/json";

inline nlohmann::json completion(int tokens, bool stream = false) {
  return {{"prompt", "Once upon a time"},
          {"max_tokens", tokens},
          {"temperature", 0},
          {"ignore_eos", true},
          {"stream", stream}};
}

/// Of an answer that is 200.
inline nlohmann::json parsed(const httplib::Result& got) {
  EXPECT_TRUE(got);
  EXPECT_EQ(got ? got->status : 0, 200) << (got ? got->body : "");
  return got && got->status == 200 ? nlohmann::json::parse(got->body) : nlohmann::json();
}

}  // namespace brimful::tests
