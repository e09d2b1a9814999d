// serve and batch use no drafts. Flags that ask for drafts are refused in one line, before anything is
// loaded.

#include <gtest/gtest.h>

#include "program_run.h"

namespace brimful::tests {
namespace {

class DraftsRefused : public testing::TestWithParam<const char*> {
 protected:
  [[nodiscard]] static ProgramRun run(std::vector<std::string> flags) {
    std::vector<std::string> arguments = {GetParam(), "-m", "no-such-model.gguf"};
    if (GetParam() == std::string("batch")) {
      for (const char* more : {"-i", "no-such-input.jsonl", "-o", "no-such-output.jsonl"})
        arguments.emplace_back(more);
    }
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    return run_brimful(arguments);
  }
};

TEST_P(DraftsRefused, FlagsThatAskForDraftsAreRefusedInOneLine) {
  const std::vector<std::vector<std::string>> asking = {
      {"-md", "draft.gguf"}, {"--spec-type", "ngram-simple"}, {"--spec-draft-n-max", "4"}, {"--spec-always"}};
  for (const auto& flags : asking) expect_refused(run(flags), flags.front() + (flags.size() > 1 ? "" : ":"));
}

TEST_P(DraftsRefused, FlagsThatAskForNoDraftsAreTaken) {
  for (const std::vector<std::string>& flags :
       {std::vector<std::string>{"--spec-type", "none"}, {"--spec-draft-n-max", "0"}})
    expect_refused(run(flags), "no-such-model.gguf");
}

INSTANTIATE_TEST_SUITE_P(All, DraftsRefused, testing::Values("serve", "batch"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace brimful::tests
