// Templates for which llama.cpp makes no grammar of a schema, or a grammar that forbids the template's own
// marks.

#include "chat/framed_schema.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "chat/chat_parser.h"
#include "constraint/grammar_factoring.h"
#include "constraint/grammar_rules.h"
#include "grammar_acceptance.h"
#include "spoken_text.h"

namespace brimful::chat {
namespace {

using tests::accepts;
using tests::Spoken;
using What = Spoken::What;

constexpr const char* kSchema =
    R"({"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"],
        "additionalProperties": false})";

std::string source_of(const std::string& name) {
  std::ifstream in(BRIMFUL_LLAMA_CPP_DIR "/models/templates/" + name + ".jinja");
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

/// A template applied to a question with a schema.
struct Asked {
  common_chat_templates_ptr templates;
  common_chat_templates_inputs inputs = tests::spoken_question(false);
  common_chat_params chat;

  explicit Asked(const std::string& name)
      : templates(common_chat_templates_init(nullptr, source_of(name), "<s>", "</s>")) {
    inputs.json_schema = kSchema;
    chat = common_chat_templates_apply(templates.get(), inputs);
  }
  [[nodiscard]] std::string says(bool thinks) const {
    const auto text = tests::spoken_text(templates.get(), {.what = What::kJson, .thinks = thinks});
    EXPECT_TRUE(text);
    return text ? text->text : "";
  }
};

class FramedSchema : public testing::TestWithParam<const char*> {};

TEST_P(FramedSchema, LetsTheModelWriteTheTemplatesMarksAndNothingButTheSchema) {
  Asked asked(GetParam());
  ASSERT_TRUE(frame_schema(asked.templates.get(), asked.inputs, asked.chat));
  const auto params = std::make_shared<common_chat_parser_params>(asked.chat);
  params->reasoning_format = asked.inputs.reasoning_format;
  params->parser.load(asked.chat.parser);
  const ChatParser parser(params, false);
  const bool can_think = !asked.chat.thinking_end_tags.empty();
  for (const bool thinks : {false, true}) {
    if (thinks && !can_think) continue;
    std::string text = asked.says(thinks);
    // After the content, the grammar allows only the end of the text. So the marks behind the content are
    // removed.
    text.resize(text.find(tests::kSpokenJson) + std::string_view(tests::kSpokenJson).size());
    EXPECT_TRUE(accepts(asked.chat.grammar, asked.chat.generation_prompt + text)) << text;
    const ChatMessage message = parser.parse(text);
    EXPECT_EQ(message.content, tests::kSpokenJson) << text;
    EXPECT_EQ(message.reasoning, thinks ? tests::kSpokenThoughts : "") << text;

    std::string other = text;
    other.replace(other.find("place"), 5, "where");
    EXPECT_FALSE(accepts(asked.chat.grammar, asked.chat.generation_prompt + other)) << other;
  }
}

INSTANTIATE_TEST_SUITE_P(Of, FramedSchema,
                         testing::Values("Kimi-K2-Instruct", "Kimi-K2-Thinking", "Kimi-K3", "MiniMax-M3",
                                         "inclusionai-ling-3.0-flash", "meetkai-functionary-medium-v3.2",
                                         "GigaChat3-10B-A1.8B",
                                         "CohereForAI-c4ai-command-r7b-12-2024-tool_use"),
                         [](const auto& test) {
                           std::string name(test.param);
                           std::erase_if(name, [](unsigned char c) { return std::isalnum(c) == 0; });
                           return name;
                         });

TEST(FramedSchema, LeavesAGrammarAloneInWhichTheMarksHaveTheirPlace) {
  for (const char* const name : {"Qwen3-Coder", "openai-gpt-oss-120b", "Qwen-Qwen3-0.6B"}) {
    Asked asked(name);
    const std::string before = asked.chat.grammar;
    ASSERT_FALSE(before.empty()) << name;
    ASSERT_TRUE(frame_schema(asked.templates.get(), asked.inputs, asked.chat));
    EXPECT_EQ(asked.chat.grammar, before) << name;
  }
}

}  // namespace
}  // namespace brimful::chat
