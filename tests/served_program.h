#pragma once

#include <cpp-httplib/httplib.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "memory_cgroup.h"
#include "tiered_model.h"

namespace strata::tests {

/// `strata serve` until it is stopped: with the demo's model, where `more` names no other.
class ServedProgram {
 public:
  /// With a cgroup, all that the program takes is charged there.
  explicit ServedProgram(const std::vector<std::string>& more, bool must_start = true,
                         const MemoryCgroup* cgroup = nullptr) {
    std::vector<std::string> arguments = {STRATA_PROGRAM, "serve", "--port", "0", "-t", "1"};
    if (std::ranges::find(more, "-m") == more.end()) {
      arguments.emplace_back("-m");
      arguments.push_back(stories15m().string());
    }
    arguments.insert(arguments.end(), more.begin(), more.end());
    const std::string entrance = cgroup != nullptr ? cgroup->entrance().string() : std::string();
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return;
    pid_ = ::fork();
    if (pid_ == 0) {
      if (!entrance.empty()) {
        const int file = ::open(entrance.c_str(), O_WRONLY | O_CLOEXEC);
        if (file < 0 || ::write(file, "0", 1) != 1) ::_exit(126);
      }
      ::dup2(ends[1], STDERR_FILENO);
      std::vector<char*> argv;
      for (std::string& argument : arguments) argv.push_back(argument.data());
      argv.push_back(nullptr);
      ::execv(STRATA_PROGRAM, argv.data());
      ::_exit(127);
    }
    ::close(ends[1]);
    // Its words are read to the end, so that it is never held up.
    reader_ = std::thread([this, fd = ends[0]] {
      char byte = 0;
      while (::read(fd, &byte, 1) == 1) {
        const std::lock_guard lock(mutex_);
        said_ += byte;
      }
      ::close(fd);
      ended_ = true;
    });
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (port_ == 0 && !ended_ && std::chrono::steady_clock::now() < deadline) {
      const std::string text = said();
      const std::size_t at = text.find("listening on http://127.0.0.1:");
      if (at != std::string::npos && text.find('\n', at) != std::string::npos)
        port_ = std::stoi(text.substr(at + 30));
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    EXPECT_TRUE(port_ != 0 || !must_start) << said();
  }
  ~ServedProgram() {
    if (status_) return;
    signal(SIGKILL);
    wait();
  }
  ServedProgram(const ServedProgram&) = delete;
  ServedProgram& operator=(const ServedProgram&) = delete;

  void signal(int number) const { ::kill(pid_, number); }
  int wait() {
    if (!status_) {
      int status = 0;
      ::waitpid(pid_, &status, 0);
      status_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
      reader_.join();
    }
    return *status_;
  }
  [[nodiscard]] std::string said() const {
    const std::lock_guard lock(mutex_);
    return said_;
  }
  [[nodiscard]] int port() const { return port_; }
  /// The most memory that the process ever held, as the kernel counts it. Requires: it has not ended.
  [[nodiscard]] Bytes high_water_mark() const {
    std::ifstream in("/proc/" + std::to_string(pid_) + "/status");
    for (std::string line; std::getline(in, line);) {
      if (line.starts_with("VmHWM:")) return Bytes{std::stoull(line.substr(6)) * 1024};
    }
    ADD_FAILURE() << "the process tells no high-water mark";
    return {};
  }
  [[nodiscard]] bool has_ended() const { return ended_; }
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
    out.set_read_timeout(std::chrono::seconds(100));
    return out;
  }
  /// Of /metrics.
  [[nodiscard]] double metric(const std::string& name) const {
    const auto got = client().Get("/metrics");
    const std::size_t at = got ? got->body.find("\n" + name + " ") : std::string::npos;
    return at == std::string::npos ? -1 : std::stod(got->body.substr(at + name.size() + 2));
  }
  [[nodiscard]] bool becomes(const std::string& name, double value,
                             std::chrono::milliseconds limit = std::chrono::seconds(20)) const {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    while (metric(name) != value) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return true;
  }

 private:
  pid_t pid_ = 0;
  int port_ = 0;
  std::thread reader_;
  mutable std::mutex mutex_;
  std::string said_;
  std::atomic<bool> ended_ = false;
  std::optional<int> status_;
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

}  // namespace strata::tests
