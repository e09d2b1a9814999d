// For every chat template in llama.cpp's sources: the text that it renders for an answer is read back as that
// answer.

#include <chat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "chat/chat_parser.h"
#include "spoken_text.h"

namespace brimful::chat {
namespace {

using nlohmann::json;
using tests::Spoken;
using What = Spoken::What;

std::vector<std::filesystem::path> templates() {
  std::vector<std::filesystem::path> out;
  for (const auto& entry : std::filesystem::directory_iterator(BRIMFUL_LLAMA_CPP_DIR "/models/templates")) {
    if (entry.path().extension() == ".jinja") out.push_back(entry.path());
  }
  std::ranges::sort(out);
  return out;
}

class ChatTemplates : public testing::TestWithParam<std::filesystem::path> {};

/// Parses as llama-server does: the whole text, and each longer beginning of it.
TEST_P(ChatTemplates, AnswersAreReadBackWholeAndStreamed) {
  std::ifstream in(GetParam());
  std::ostringstream source;
  source << in.rdbuf();
  const auto read = common_chat_templates_init(nullptr, source.str(), "<s>", "</s>");
  ASSERT_NE(read, nullptr);
  for (const Spoken spoken : {Spoken{}, Spoken{.thinks = true}, Spoken{.what = What::kCall},
                              Spoken{.what = What::kCall, .thinks = true}}) {
    const bool calls = spoken.what == What::kCall;
    SCOPED_TRACE(std::string(spoken.thinks ? "thinks " : "") + (calls ? "calls" : ""));
    std::optional<std::string> text;
    common_chat_params chat;
    try {
      text = tests::rendered_text(read.get(), spoken);
      chat = common_chat_templates_apply(read.get(), tests::spoken_question(calls));
    } catch (const std::exception&) {
      continue;  // the template refuses such a conversation
    }
    if (!text) continue;
    const auto params = std::make_shared<common_chat_parser_params>(chat);
    params->reasoning_format = COMMON_REASONING_FORMAT_DEEPSEEK;
    if (!chat.parser.empty()) params->parser.load(chat.parser);
    const ChatParser parser(params, false);

    const ChatMessage whole = parser.parse(*text);
    std::optional<common_chat_msg> expected;
    try {
      expected = common_chat_parse(*text, false, *params);
    } catch (const std::exception&) {
      EXPECT_EQ(whole.content, *text);  // llama-server answers 500 here
      continue;
    }
    EXPECT_EQ(whole.content, expected->render_content());
    EXPECT_EQ(whole.reasoning, expected->reasoning_content);
    ASSERT_EQ(whole.tool_calls.size(), expected->tool_calls.size());
    for (std::size_t i = 0; i < whole.tool_calls.size(); ++i) {
      EXPECT_EQ(whole.tool_calls[i].name, expected->tool_calls[i].name);
      EXPECT_EQ(whole.tool_calls[i].arguments, expected->tool_calls[i].arguments);
      EXPECT_FALSE(whole.tool_calls[i].id.empty());
    }

    ChatStream stream(parser);
    ChatMessage streamed;
    const auto add = [&](const std::vector<ChatDelta>& deltas) {
      for (const ChatDelta& delta : deltas) {
        streamed.content += delta.content;
        streamed.reasoning += delta.reasoning;
        if (!delta.call) continue;
        if (delta.call->index == streamed.tool_calls.size()) streamed.tool_calls.emplace_back();
        ToolCall& call = streamed.tool_calls.at(delta.call->index);
        call.id += delta.call->added.id;
        call.name += delta.call->added.name;
        call.arguments += delta.call->added.arguments;
      }
    };
    for (std::size_t at = 0; at < text->size(); at += 5) add(stream.add(text->substr(at, 5)));
    add(stream.end());
    EXPECT_EQ(streamed.content.substr(0, whole.content.size()), whole.content);
    EXPECT_EQ(streamed.reasoning.substr(0, whole.reasoning.size()), whole.reasoning);
    ASSERT_EQ(streamed.tool_calls.size(), whole.tool_calls.size());
    for (std::size_t i = 0; i < whole.tool_calls.size(); ++i) {
      EXPECT_EQ(streamed.tool_calls[i].name, whole.tool_calls[i].name);
      EXPECT_EQ(streamed.tool_calls[i].arguments, whole.tool_calls[i].arguments);
      EXPECT_FALSE(streamed.tool_calls[i].id.empty());
    }
    if (!calls) continue;
    RecordProperty("calls_read", static_cast<int>(whole.tool_calls.size()));
    if (!whole.tool_calls.empty()) {
      EXPECT_EQ(whole.tool_calls[0].name, "look");
      EXPECT_EQ(json::parse(whole.tool_calls[0].arguments, nullptr, false), (json{{"at", "moon"}}));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Of, ChatTemplates, testing::ValuesIn(templates()), [](const auto& test) {
  std::string name = test.param.stem().string();
  std::ranges::replace_if(
      name, [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
  return name;
});

}  // namespace
}  // namespace brimful::chat
