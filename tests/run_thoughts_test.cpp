// `brimful run` with templates of models that think. Thoughts are shown apart from the answer, and no tag of
// a template becomes a part of the conversation.

#include <chat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "program_run.h"
#include "scripted_model.h"
#include "spoken_chunks.h"
#include "spoken_text.h"
#include "temporary_directory.h"

namespace brimful::tests {
namespace {

using testing::HasSubstr;
using testing::Not;

/// A prefix for a template. With it, the template refuses a conversation that begins with kQuestion when an
/// answer in it is anything else than the model's answer.
constexpr const char* kOnlyCleanHistories = R"({%- for m in messages -%}
{%- if m.role == 'assistant' and messages[0].content == 'Where is it?' and m.content != 'It is there.' -%}
{{- raise_exception('the history has ' + m.content) -}}
{%- endif -%}{%- endfor -%})";

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t out = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++out;
  return out;
}

class RunThoughts : public testing::TestWithParam<const char*> {
 protected:
  /// Makes a model that thinks and then answers.
  [[nodiscard]] std::string model() const {
    std::ifstream in(std::string(BRIMFUL_LLAMA_CPP_DIR "/models/templates/") + GetParam());
    std::ostringstream source;
    source << kOnlyCleanHistories << in.rdbuf();
    const auto templates = common_chat_templates_init(nullptr, source.str(), "<s>", "</s>");
    const auto text = spoken_text(templates.get(), {.thinks = true});
    EXPECT_TRUE(text);
    if (!text) return {};
    const common_chat_params chat = common_chat_templates_apply(templates.get(), spoken_question(false));
    const SpokenChunks chunks = spoken_chunks(text->text, chat.preserved_tokens, {chat.prompt});
    EXPECT_FALSE(chunks.control.empty()) << "its marks are control tokens";
    Script script{.tokens = chunks.tokens, .control = chunks.control, .chat_template = source.str()};
    // From these llama.cpp knows that <|end|> does not end an answer.
    std::ranges::copy(std::array{"<|return|>", "<|call|>"}, std::back_inserter(script.control));
    script.trained_context = 4096;
    return write_scripted_model(directory_.path(), script).string();
  }
  [[nodiscard]] std::vector<std::string> command() const {
    return {"run", "-m", model(), "--temp", "0", "-t", "1", "-n", "100", "--ram", kAmpleRam};
  }
  static void expect_no_marks(const std::string& text) {
    for (const char* const mark : {"<|", "|>", "think>", "analysis", "the history has"})
      EXPECT_THAT(text, Not(HasSubstr(mark)));
  }

  TemporaryDirectory directory_;
};

TEST_P(RunThoughts, StandApartOnATerminalAndLeaveTheHistoryClean) {
  const ProgramRun run = run_brimful_on_terminal(command(), {kQuestion, "And then?"});
  EXPECT_EQ(run.exit_code, 0) << run.out;
  EXPECT_EQ(count(run.out, "\033[2m"), 2U) << run.out;  // The control sequence for dimmed text.
  EXPECT_EQ(count(run.out, kSpokenThoughts), 2U) << run.out;
  EXPECT_EQ(count(run.out, kSpokenContent), 2U) << run.out;
  expect_no_marks(run.out);
}

TEST_P(RunThoughts, GoToStandardErrorWhereMessagesComeFromAPipe) {
  const std::string errors = (directory_.path() / "errors").string();
  std::string line = std::string("printf '") + kQuestion + "\\nAnd then?\\n' | " BRIMFUL_PROGRAM;
  for (const std::string& word : command()) line += " '" + word + "'";
  line += " 2>'" + errors + "'";
  FILE* const out = ::popen(line.c_str(), "r");
  ASSERT_NE(out, nullptr);
  std::string answers;
  std::array<char, 256> block{};
  while (std::fgets(block.data(), block.size(), out) != nullptr) answers += block.data();
  EXPECT_EQ(::pclose(out), 0);
  std::ostringstream said;
  said << std::ifstream(errors).rdbuf();
  EXPECT_EQ(answers, std::string(kSpokenContent) + "\n" + kSpokenContent + "\n") << said.str();
  EXPECT_EQ(count(said.str(), kSpokenThoughts), 2U) << said.str();
  expect_no_marks(said.str());
}

INSTANTIATE_TEST_SUITE_P(Of, RunThoughts,
                         testing::Values("openai-gpt-oss-120b.jinja",
                                         "deepseek-ai-DeepSeek-R1-Distill-Llama-8B.jinja",
                                         "Qwen-Qwen3-0.6B.jinja"),
                         [](const auto& test) {
                           std::string name(test.param);
                           std::erase_if(name, [](unsigned char c) { return std::isalnum(c) == 0; });
                           return name;
                         });

}  // namespace
}  // namespace brimful::tests
