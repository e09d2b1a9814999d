#include "chat/chat_parser.h"

#include <chat.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "scripted_model.h"
#include "spoken_text.h"

namespace brimful::chat {
namespace {

ChatParser parser() {
  const auto templates = common_chat_templates_init(nullptr, tests::kChatMl);
  common_chat_templates_inputs inputs;
  common_chat_msg question;
  question.role = "user";
  question.content = "Where?";
  inputs.messages = {question};
  inputs.tools = {
      {"look", "", R"({"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]})"}};
  inputs.reasoning_format = COMMON_REASONING_FORMAT_DEEPSEEK;
  inputs.parallel_tool_calls = true;
  const common_chat_params chat = common_chat_templates_apply(templates.get(), inputs);
  const auto params = std::make_shared<common_chat_parser_params>(chat);
  params->reasoning_format = inputs.reasoning_format;
  params->parser.load(chat.parser);
  return {params, false};
}

/// Streams `text` in pieces of `size` bytes, and puts all deltas together as a client does.
ChatMessage put_together(const ChatParser& parser, const std::string& text, std::size_t size) {
  ChatStream stream(parser);
  ChatMessage out;
  const auto add = [&](const std::vector<ChatDelta>& deltas) {
    for (const ChatDelta& delta : deltas) {
      out.content += delta.content;
      out.reasoning += delta.reasoning;
      if (!delta.call) continue;
      const auto& [index, added] = *delta.call;
      if (index == out.tool_calls.size()) {
        EXPECT_FALSE(added.id.empty());
        EXPECT_FALSE(added.name.empty());
        out.tool_calls.emplace_back();
      }
      ASSERT_LT(index, out.tool_calls.size());
      ToolCall& call = out.tool_calls[index];
      call.id += added.id;
      call.name += added.name;
      call.arguments += added.arguments;
    }
  };
  for (std::size_t at = 0; at < text.size(); at += size) add(stream.add(text.substr(at, size)));
  add(stream.end());
  return out;
}

constexpr std::size_t kSizes[] = {1, 3, 7, 1000};
const std::string kCall =
    "<tool_call>\n{\"name\": \"look\", \"arguments\": {\"at\": \"moon\"}}\n</tool_call>";

TEST(ChatParser, TellsThoughtsContentAndCallsApart) {
  const std::string text = "<think>\nHm.\n</think>\n\nI will look.\n" + kCall;
  const ChatMessage whole = parser().parse(text);
  EXPECT_EQ(whole.reasoning, "Hm.\n");
  EXPECT_TRUE(whole.content.starts_with("I will look.")) << whole.content;
  ASSERT_EQ(whole.tool_calls.size(), 1U);
  EXPECT_EQ(whole.tool_calls[0].name, "look");
  for (const std::size_t size : kSizes) {
    const ChatMessage streamed = put_together(parser(), text, size);
    EXPECT_EQ(streamed.reasoning, whole.reasoning) << size;
    EXPECT_TRUE(streamed.content.starts_with("I will look.")) << size << ": " << streamed.content;
    ASSERT_EQ(streamed.tool_calls.size(), 1U) << size;
    EXPECT_EQ(streamed.tool_calls[0].name, "look") << size;
    EXPECT_EQ(streamed.tool_calls[0].arguments, whole.tool_calls[0].arguments) << size;
  }
}

TEST(ChatParser, GivesEachCallAnIdOfItsOwn) {
  const ChatMessage message = parser().parse(kCall + "\n" + kCall);
  ASSERT_EQ(message.tool_calls.size(), 2U);
  for (const ToolCall& call : message.tool_calls) {
    EXPECT_EQ(call.id.size(), 9U);
    EXPECT_TRUE(std::ranges::all_of(call.id, [](unsigned char c) { return std::isalnum(c) != 0; }))
        << call.id;
  }
  EXPECT_NE(message.tool_calls[0].id, message.tool_calls[1].id);
}

TEST(ChatParser, KeepsATextThatItDoesNotUnderstandAsContent) {
  for (const std::string text :
       {"<tool_call>\n{\"name\": \"nobody\", \"arguments\": {}}\n</tool_call>",
        "I will.\n<tool_call>\nno call at all\n</tool_call> and more", "<tool_call>{]"}) {
    EXPECT_EQ(parser().parse(text).content, text);
    for (const std::size_t size : kSizes) {
      const ChatMessage streamed = put_together(parser(), text, size);
      // Deltas from before the text became invalid cannot be taken back; but no text is missing.
      std::string all = streamed.reasoning + streamed.content;
      for (const ToolCall& call : streamed.tool_calls) all += call.name + call.arguments;
      EXPECT_TRUE(all == text || !streamed.tool_calls.empty()) << size << ": " << all;
    }
  }
}

TEST(ChatParser, KeepsATextInWhichThereIsNothingButMarksAsContent) {
  for (const std::string text : {"<think>", "<think>\n</think>\n"}) {
    EXPECT_EQ(parser().parse(text).content, text);
    for (const std::size_t size : kSizes) EXPECT_EQ(put_together(parser(), text, size).content, text) << size;
  }
  EXPECT_EQ(parser().parse("").content, "");
}

/// The parameters of a parser for a question with a tool, or for one with a schema for the answer.
std::shared_ptr<common_chat_parser_params> params_of(const common_chat_templates* templates, bool with_tool) {
  common_chat_templates_inputs inputs = tests::spoken_question(with_tool);
  if (!with_tool) inputs.json_schema = R"({"type": "object", "properties": {"place": {"type": "string"}}})";
  const common_chat_params chat = common_chat_templates_apply(templates, inputs);
  auto out = std::make_shared<common_chat_parser_params>(chat);
  out->reasoning_format = inputs.reasoning_format;
  out->parser.load(chat.parser);
  return out;
}

TEST(ChatParser, TellsACallThatIsPlainJsonFromAnAnswerByASchema) {
  std::ifstream in(BRIMFUL_LLAMA_CPP_DIR "/models/templates/meta-llama-Llama-3.1-8B-Instruct.jinja");
  std::ostringstream source;
  source << in.rdbuf();
  const auto templates = common_chat_templates_init(nullptr, source.str(), "<s>", "</s>");
  ChatParser either(params_of(templates.get(), true), false);
  either.read_by_schema(params_of(templates.get(), false));
  const std::string call = R"({"name": "look", "parameters": {"at": "moon"}})";
  for (const std::size_t size : kSizes) {
    const ChatMessage called = put_together(either, call, size);
    EXPECT_EQ(called.content, "") << size;
    ASSERT_EQ(called.tool_calls.size(), 1U) << size;
    EXPECT_EQ(called.tool_calls[0].arguments, R"({"at": "moon"})") << size;
    const ChatMessage answered = put_together(either, tests::kSpokenJson, size);
    EXPECT_EQ(answered.content, tests::kSpokenJson) << size;
    EXPECT_TRUE(answered.tool_calls.empty()) << size;
  }
  EXPECT_EQ(either.parse(call).tool_calls.size(), 1U);
  EXPECT_EQ(either.parse(tests::kSpokenJson).content, tests::kSpokenJson);
}

TEST(ChatParser, NeverCutsCharactersAndReplacesBytesThatAreNone) {
  const std::string text = "ä€😀 \xff and \xe4";
  EXPECT_EQ(parser().parse(text).content, "ä€😀 \uFFFD and \uFFFD");
  for (const std::size_t size : kSizes)
    EXPECT_EQ(put_together(parser(), text, size).content, "ä€😀 \uFFFD and \uFFFD") << size;
}

TEST(ChatParser, WithoutATemplateAllTextIsContentByteByByte) {
  const std::string text = "<think>\xff " + kCall;
  EXPECT_EQ(ChatParser().parse(text).content, text);
  for (const std::size_t size : kSizes) EXPECT_EQ(put_together(ChatParser(), text, size).content, text);
}

}  // namespace
}  // namespace brimful::chat
