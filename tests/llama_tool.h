#pragma once

#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

namespace brimful::tests {

/// What one of llama.cpp's own tools wrote.
struct ToolRun {
  int exit_code = -1;
  std::string out;
};

/// Runs `llama-NAME ARGUMENTS`, which was built from the sources that Brimful is built from, through the
/// shell. `errors`: whether standard error belongs to the result.
[[nodiscard]] inline ToolRun run_llama_tool(const std::string& name, const std::string& arguments,
                                            bool errors = true) {
  ToolRun run;
  const std::string command = std::string(BRIMFUL_LLAMA_TOOLS) + "/llama-" + name + "-tool " + arguments +
                              (errors ? " 2>&1" : " 2>/dev/null");
  FILE* const out = ::popen(command.c_str(), "r");
  if (out == nullptr) return run;
  std::array<char, 4096> piece{};
  while (const std::size_t got = std::fread(piece.data(), 1, piece.size(), out))
    run.out.append(piece.data(), got);
  const int status = ::pclose(out);
  run.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return run;
}

/// The content of a file; empty where there is none.
[[nodiscard]] inline std::string bytes_of(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// The part of `text` from `beginning` to the end of its line; empty where it is not there. llama.cpp's tools
/// put the time in front of some lines.
[[nodiscard]] inline std::string line_of(const std::string& text, const std::string& beginning) {
  const std::size_t at = text.find(beginning);
  return at == std::string::npos ? "" : text.substr(at, text.find('\n', at) - at);
}

}  // namespace brimful::tests
