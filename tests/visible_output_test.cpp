// Text from a model file, such as a token, a name or a template's error, controls no terminal. A pipe gets
// it unchanged.

#include <gtest/gtest.h>

#include <fstream>

#include "program_run.h"
#include "scripted_model.h"
#include "served_program.h"
#include "temporary_directory.h"
#include "typed_terminal.h"

namespace brimful::tests {
namespace {

// U+009B begins a control sequence as ESC [ does, U+202E changes the direction of text, and 0x9b alone is
// not UTF-8.
const std::string kC1 = "\xc2\x9b";
const std::string kTurned = "\xe2\x80\xae";
const std::string kName = "a\x1b[31mb" + kC1 + "31mc" + kTurned + "d\x9b" + "e";

/// Returns whether a terminal would only show the text: it has whole characters, and no C0 (except
/// newlines), DEL, C1 or direction marks.
testing::AssertionResult is_only_shown(const std::string& text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto first = static_cast<unsigned char>(text[i]);
    const std::size_t size = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (size == 0 || i + size > text.size()) return testing::AssertionFailure() << "no UTF-8 at " << i;
    unsigned code = size == 1 ? first : first & (0xffU >> (size + 1));
    for (std::size_t k = 1; k < size; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      if ((next & 0xc0U) != 0x80) return testing::AssertionFailure() << "no UTF-8 at " << i;
      code = code << 6U | (next & 0x3fU);
    }
    const bool is_control = (code < 0x20 && code != '\n' && code != '\r') || (code >= 0x7f && code < 0xa0);
    if (is_control || (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069))
      return testing::AssertionFailure() << "U+" << std::hex << code << " at " << std::dec << i;
    i += size;
  }
  return testing::AssertionSuccess();
}

class VisibleOutput : public testing::Test {
 protected:
  void SetUp() override {
    model_ = write_scripted_model(directory_.path(),
                                  {.tokens = {"one", kC1, "31m", kTurned, "<0x9B>", "two"}, .name = kName})
                 .string();
  }
  /// Returns everything that `brimful ARGUMENTS` writes to a terminal, on standard output and standard
  /// error.
  static std::string shown(const std::vector<std::string>& arguments) {
    TypedTerminal terminal(arguments);
    terminal.wait_for_end();
    return terminal.rest();
  }
  [[nodiscard]] std::vector<std::string> run(const std::vector<std::string>& more) const {
    std::vector<std::string> out{"run", "-m", model_, "-p", "x", "-n", "20", "-t", "1", "--temp", "0"};
    out.insert(out.end(), {"--ram", kAmpleRam});
    out.insert(out.end(), more.begin(), more.end());
    return out;
  }

  const TemporaryDirectory directory_;
  std::string model_;
};

TEST_F(VisibleOutput, AnAnswerIsMadeVisibleForATerminalOnly) {
  const std::string seen = shown(run({"--raw"}));
  EXPECT_TRUE(is_only_shown(seen)) << seen;
  EXPECT_NE(seen.find("one"), std::string::npos) << seen;
  EXPECT_NE(seen.find("two"), std::string::npos) << seen;
  const ProgramRun piped = run_brimful(run({"--raw"}));
  EXPECT_EQ(piped.exit_code, 0) << piped.err;
  EXPECT_NE(piped.out.find("one" + kC1 + "31m" + kTurned + "\x9btwo"), std::string::npos) << piped.out;
}

TEST_F(VisibleOutput, ANameIsMadeVisibleForATerminal) {
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"show", model_}, {"plan", model_, "--like", "16gb-ddr4-3200, nvme-gen3"}}) {
    SCOPED_TRACE(command.front());
    const std::string seen = shown(command);
    EXPECT_TRUE(is_only_shown(seen)) << seen;
    EXPECT_NE(seen.find("[31m"), std::string::npos) << "the name is there: " << seen;
  }
  const auto file = directory_.path() / "template.jinja";
  std::ofstream(file) << "{{ messages[0].content }}";
  TypedTerminal chat(
      {"run", "-m", model_, "-t", "1", "--ram", kAmpleRam, "--chat-template-file", file.string()});
  chat.expect("\x1b[?2004h");  // This sequence is the program's own. It makes the terminal mark pastes.
  const std::string greeting = chat.expect("/help lists commands");
  EXPECT_TRUE(is_only_shown(greeting)) << greeting;
  EXPECT_NE(greeting.find("[31m"), std::string::npos) << greeting;
}

TEST_F(VisibleOutput, ANameThatIsNoUtf8IsAnsweredAsJson) {
  const ServedProgram server({"-m", model_, "--ram", kAmpleRam});
  const nlohmann::json models = parsed(server.client().Get("/v1/models"));
  ASSERT_FALSE(models.is_null());
  const std::string id = models["data"][0]["id"];
  EXPECT_TRUE(id.starts_with("a\x1b[31mb")) << id;
  const nlohmann::json answer = parsed(server.client().Post("/v1/completions", completion(8).dump(), kJson));
  ASSERT_FALSE(answer.is_null());
  EXPECT_EQ(answer["model"], id);
  EXPECT_TRUE(is_only_shown(server.said())) << "standard error is for people";
}

TEST_F(VisibleOutput, WhatATemplateRaisesIsMadeVisible) {
  const auto file = directory_.path() / "template.jinja";
  std::ofstream(file) << "{{ raise_exception('\x1b[31mno" << kC1 << kTurned << "\x9b"
                      << "') }}";
  const std::string seen = shown(run({"--chat-template-file", file.string()}));
  EXPECT_TRUE(is_only_shown(seen)) << seen;
  EXPECT_NE(seen.find("[31mno"), std::string::npos) << "the reason is there: " << seen;
}

}  // namespace
}  // namespace brimful::tests
