// A program of another author: opens, generates and closes twenty times, and looks at what is left of it.
// Usage: library_cycles MODEL.gguf EMBEDDING_MODEL.gguf

#include <brimful/brimful.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <string>
#include <vector>

extern char** environ;

namespace {

constexpr int kCycles = 20;

/// Bytes that the process holds, by the kernel's count.
long held() {
  std::ifstream status("/proc/self/status");
  long anonymous = 0;
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssAnon:")) anonymous = std::atol(line.c_str() + 8) * 1024;
  }
  return anonymous;
}

long open_files() {
  long count = 0;
  for (int file = 0; file < 1024; ++file) count += ::fcntl(file, F_GETFD) >= 0 ? 1 : 0;
  return count;
}

/// What a library could change behind its user's back.
struct Process {
  std::vector<struct sigaction> handlers;
  std::vector<std::string> environment;
  std::terminate_handler terminate = std::get_terminate();

  Process() {
    for (int signal = 1; signal < SIGRTMAX; ++signal) {
      struct sigaction action {};
      ::sigaction(signal, nullptr, &action);
      handlers.push_back(action);
    }
    for (char** one = environ; *one != nullptr; ++one) environment.emplace_back(*one);
  }
  [[nodiscard]] bool is_as(const Process& other) const {
    for (std::size_t i = 0; i < handlers.size(); ++i) {
      if (handlers[i].sa_handler != other.handlers[i].sa_handler) return false;
    }
    return environment == other.environment && terminate == other.terminate;
  }
};

int fail(const std::string& what) {
  std::printf("%s\n", what.c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return fail("usage: library_cycles MODEL.gguf EMBEDDING_MODEL.gguf");
  const Process before;
  const auto model = brimful::Model::open(argv[1]);
  if (!model) return fail(model.error().message);
  const auto embedding = brimful::Model::open(argv[2]);
  if (!embedding) return fail(embedding.error().message);

  std::array<long, kCycles> bytes{};
  std::array<long, kCycles> files{};
  std::vector<std::int32_t> tokens;
  for (int cycle = 0; cycle < kCycles; ++cycle) {
    {
      auto session = brimful::Session::start(*model, {.ram = brimful::kMiB * 400});
      if (!session) return fail(session.error().message);
      const auto answer = session->generate({.text = "Once upon a time"},
                                            {.numbers = {{"temperature", 0}}, .max_tokens = 20});
      if (!answer) return fail(answer.error().message);
      if (cycle == 0) tokens = answer->tokens;
      if (answer->tokens != tokens || tokens.size() != 20) return fail("the tokens of two sessions differ");
    }
    {
      auto session = brimful::Session::start(*embedding, {.ram = brimful::kMiB * 400});
      if (!session) return fail(session.error().message);
      const auto vector = session->embed("a text");
      if (!vector) return fail(vector.error().message);
    }
    bytes[cycle] = held();
    files[cycle] = open_files();
  }
  const long grown = bytes.back() - bytes[1];
  std::printf("after 2 cycles %ld bytes, after %d %ld bytes: %ld more\n", bytes[1], kCycles, bytes.back(),
              grown);
  if (grown > 1 << 20) return fail("the process grows");
  if (files.back() != files[1]) return fail("files stay open");
  if (!before.is_as(Process()))
    return fail("handlers of signals, std::terminate or the environment were changed");

  const auto wrong = brimful::Session::start(*model, {.ram = brimful::kMiB});
  if (wrong || wrong.error().code != brimful::ErrorCode::kInfeasible)
    return fail("1 MiB should be infeasible");
  return 0;
}
