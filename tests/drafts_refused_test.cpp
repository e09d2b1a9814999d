// batch uses no drafts. Flags that ask for drafts are refused in one line, before anything is
// loaded.

#include <gtest/gtest.h>

#include "program_run.h"

namespace brimful::tests {
namespace {

class DraftsRefused : public testing::Test {
 protected:
  [[nodiscard]] static ProgramRun run(const std::vector<std::string>& flags) {
    std::vector<std::string> arguments = {
        "batch", "-m", "no-such-model.gguf", "-i", "no-such-input.jsonl", "-o", "no-such-output.jsonl"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    return run_brimful(arguments);
  }
};

TEST_F(DraftsRefused, FlagsThatAskForDraftsAreRefusedInOneLine) {
  const std::vector<std::vector<std::string>> asking = {
      {"-md", "draft.gguf"}, {"--spec-type", "ngram-simple"}, {"--spec-draft-n-max", "4"}, {"--spec-always"}};
  for (const auto& flags : asking) expect_refused(run(flags), flags.front() + (flags.size() > 1 ? "" : ":"));
}

TEST_F(DraftsRefused, FlagsThatAskForNoDraftsAreTaken) {
  for (const std::vector<std::string>& flags :
       {std::vector<std::string>{"--spec-type", "none"}, {"--spec-draft-n-max", "0"}})
    expect_refused(run(flags), "no-such-model.gguf");
}

}  // namespace
}  // namespace brimful::tests
