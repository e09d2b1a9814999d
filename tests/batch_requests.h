#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

namespace brimful::tests {

/// A line of a batch: a request that completes a text at temperature 0, with at most `tokens` tokens.
inline nlohmann::json completion_line(const std::string& id, const std::string& prompt, int tokens) {
  return {{"custom_id", id},
          {"method", "POST"},
          {"url", "/v1/completions"},
          {"body", {{"model", "any"}, {"prompt", prompt}, {"max_tokens", tokens}, {"temperature", 0}}}};
}

/// Makes `count` lines with the ids `request 0`, `request 1` and so on.
inline std::string some_lines(int count, int tokens) {
  std::string out;
  for (int i = 0; i < count; ++i) {
    const std::string number = std::to_string(i);
    out += completion_line("request " + number, "Number " + number + " was", tokens).dump() + "\n";
  }
  return out;
}

/// Parses the lines of an output file. The result holds the outcomes by their custom_id, or by `id` when
/// they have none. The test fails when an id occurs twice; a line that is no JSON throws.
inline std::map<std::string, nlohmann::json> outcomes_of(const std::string& lines) {
  std::map<std::string, nlohmann::json> out;
  std::istringstream in(lines);
  for (std::string line; std::getline(in, line);) {
    const nlohmann::json outcome = nlohmann::json::parse(line);
    const nlohmann::json& id = outcome.at("custom_id");
    EXPECT_TRUE(out.emplace(id.is_null() ? outcome.at("id") : id, outcome).second) << "twice: " << line;
  }
  return out;
}

inline std::string content_of(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline void write_file(const std::filesystem::path& file, const std::string& content) {
  std::ofstream(file, std::ios::binary) << content;
}

}  // namespace brimful::tests
