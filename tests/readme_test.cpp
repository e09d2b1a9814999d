// The README must show what the program shows.

#include <gtest/gtest.h>

#include <fstream>
#include <regex>
#include <sstream>
#include <vector>

#include "program_run.h"
#include "sanitized.h"
#include "tiered_model.h"

namespace brimful::tests {
namespace {

/// Returns the lines of a memory map in `text`, from its title to the layers.
std::vector<std::string> memory_map_in(const std::string& text) {
  std::vector<std::string> out;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (out.empty() && !line.starts_with("host memory, budget")) continue;
    out.push_back(line);
    if (line.starts_with("resident share by layer")) return out;
  }
  return out;
}

/// Returns a line without its figures, which differ from machine to machine.
std::string without_figures(std::string line) {
  if (line.starts_with('[')) return "[bar]";
  if (line.starts_with("resident share")) return "layers";
  line = std::regex_replace(line, std::regex("[0-9]+\\.[0-9]+"), "N");
  return std::regex_replace(line, std::regex(" +"), " ");
}

double mebibytes_in(const std::string& line) {
  std::smatch found;
  return std::regex_search(line, found, std::regex("([0-9.]+) MiB")) ? std::stod(found[1]) : -1;
}

TEST(Readme, ShowsTheMemoryMapThatTheDemoShows) {
  if (kSanitized) GTEST_SKIP() << "no small budget holds a sanitizer";
  const auto model = stories15m();
  if (model.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  std::ifstream readme(BRIMFUL_EXAMPLES_DIR "/../../README.md");
  const std::string text((std::istreambuf_iterator<char>(readme)), {});
  const std::vector<std::string> shown = memory_map_in(text);
  ASSERT_FALSE(shown.empty());

  // As scripts/demo runs it.
  const ProgramRun run = run_brimful(
      {"run", "-m", model, "-p", "Once upon a time", "-n", "200", "--seed", "1", "--ram", "48MiB"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const std::vector<std::string> now = memory_map_in(run.err);
  ASSERT_EQ(now.size(), shown.size()) << run.err;
  for (std::size_t i = 0; i < now.size(); ++i) {
    EXPECT_EQ(without_figures(now[i]), without_figures(shown[i]));
    // Layers and the bar have no figures. A figure differs a little between machines, and not much.
    EXPECT_NEAR(mebibytes_in(now[i]), mebibytes_in(shown[i]), 4)
        << "README.md shows other figures: " << shown[i];
  }
}

}  // namespace
}  // namespace brimful::tests
