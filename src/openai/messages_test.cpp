#include "openai/messages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "openai/fields.h"

namespace brimful::openai {
namespace {

using ::testing::StartsWith;
using json = nlohmann::ordered_json;

const json kUser = {{"role", "user"}, {"content", "Hi"}};
const json kAssistant = {{"role", "assistant"}, {"content", "Well"}};

chat::ChatRequest read(const json& body) {
  chat::ChatRequest out;
  const Status read = read_conversation(body, out);
  EXPECT_TRUE(read) << read.error().message;
  return out;
}
chat::ChatRequest read_messages(json messages) { return read({{"messages", std::move(messages)}}); }
std::string refusal(const json& body) {
  chat::ChatRequest out;
  const Status read = read_conversation(body, out);
  if (read) return "it was taken";
  EXPECT_EQ(read.error().code, ErrorCode::kInvalidArgument);
  EXPECT_TRUE(field_of(read.error().message)) << read.error().message << ": names no field";
  return read.error().message;
}
std::string refusal_of_message(const json& message) { return refusal({{"messages", {kUser, message}}}); }
/// A body with two tools, and the fields of `more`.
json with_tools(const json& more) {
  json out = {{"messages", {kUser}}};
  for (const char* const name : {"look", "walk"})
    out["tools"].push_back({{"type", "function"}, {"function", {{"name", name}}}});
  out.update(more);
  return out;
}

TEST(Messages, AConversationHasOneMessageAtLeast) {
  for (const json& wrong : {json::object(), json{{"messages", nullptr}}, json{{"messages", json::array()}},
                            json{{"messages", "Hi"}}})
    EXPECT_THAT(refusal(wrong), StartsWith("messages: must be an array with at least one message"));
  EXPECT_EQ(refusal({{"messages", {kUser, "Hi"}}}), "messages[1]: must be an object");
}

TEST(Messages, AWrongMessageIsNamedByItsPlace) {
  EXPECT_EQ(refusal_of_message({{"content", "x"}}), "messages[1].role: is missing");
  EXPECT_EQ(refusal_of_message({{"role", 1}, {"content", "x"}}), "messages[1].role: must be a string");
  EXPECT_EQ(refusal_of_message({{"role", "user"}}), "messages[1].content: is missing");
  EXPECT_EQ(refusal_of_message({{"role", "user"}, {"content", 7}}),
            "messages[1].content: must be a string or an array of parts");
  EXPECT_EQ(refusal_of_message({{"role", "user"}, {"content", "x"}, {"name", 1}}),
            "messages[1].name: must be a string");
}

TEST(Messages, ContentThatIsNullSaysNothing) {
  EXPECT_EQ(read_messages(json::array({{{"role", "user"}, {"content", nullptr}}})).messages[0]["content"],
            "");
}

TEST(Messages, PartsAreTextsAndARefusalBecomesOne) {
  const json parts = {{{"type", "text"}, {"text", "a"}}, {{"type", "refusal"}, {"refusal", "no"}}};
  const auto out = read_messages({{{"role", "assistant"}, {"content", parts}}, kUser});
  EXPECT_EQ(out.messages[0]["content"][1], (json{{"type", "text"}, {"text", "no"}}));
  for (const json& wrong : {json{{"type", "image_url"}, {"image_url", "x"}}, json{{"type", "text"}},
                            json("a"), json{{"type", "text"}, {"text", 1}}, json(nullptr)})
    EXPECT_THAT(refusal_of_message({{"role", "user"}, {"content", json::array({wrong})}}),
                StartsWith("messages[1].content: parts must be text"));
}

TEST(Messages, AnAssistantsLastMessageIsContinuedUnlessThatIsNotWanted) {
  EXPECT_FALSE(read_messages(json::array({kUser})).continues);
  EXPECT_TRUE(read_messages({kUser, kAssistant}).continues);
  EXPECT_FALSE(read({{"messages", {kUser, kAssistant}}, {"continue_final_message", false}}).continues);
  EXPECT_THAT(refusal({{"messages", {kUser}}, {"continue_final_message", true}}),
              StartsWith("continue_final_message: the last message is not the assistant's"));
  EXPECT_THAT(refusal({{"messages", {kUser, kAssistant}},
                       {"continue_final_message", true},
                       {"add_generation_prompt", true}}),
              StartsWith("continue_final_message: cannot be true together with"));
  EXPECT_THAT(refusal({{"messages", {kUser, kAssistant, kAssistant}}}),
              StartsWith("messages: end with two messages"));
}

TEST(Messages, CallsHaveArgumentsAsJsonText) {
  const auto arguments = [](const json& given) {
    const json call = {{"id", "1"}, {"function", {{"name", "look"}, {"arguments", given}}}};
    return read_messages({{{"role", "assistant"}, {"tool_calls", {call}}}, kUser})
        .messages[0]["tool_calls"][0];
  };
  EXPECT_EQ(arguments(nullptr)["function"]["arguments"], "{}");
  EXPECT_EQ(arguments(" \n")["function"]["arguments"], "{}");
  EXPECT_EQ(arguments({{"at", 1}})["function"]["arguments"], R"({"at":1})");
  EXPECT_EQ(arguments(R"({"at": 1})")["function"]["arguments"], R"({"at": 1})");
  EXPECT_EQ(arguments(nullptr)["type"], "function");
}

TEST(Messages, ACallThatIsWrongIsNamedByItsPlace) {
  const auto wrong = [](const json& call) {
    return refusal_of_message({{"role", "assistant"}, {"tool_calls", json::array({call})}});
  };
  EXPECT_EQ(wrong("look"), "messages[1].tool_calls[0].function: is missing");
  EXPECT_EQ(wrong(json::object()), "messages[1].tool_calls[0].function: must be an object");
  EXPECT_EQ(wrong({{"function", {{"name", ""}}}}), "messages[1].tool_calls[0].function.name: is missing");
  EXPECT_EQ(wrong({{"function", {{"name", "a"}, {"arguments", 1}}}}),
            "messages[1].tool_calls[0].function.arguments: must be a string of JSON");
  EXPECT_THAT(wrong({{"function", {{"name", "a"}, {"arguments", R"({"at": )"}}}}),
              StartsWith("messages[1].tool_calls[0].function.arguments: is incomplete JSON"));
  EXPECT_THAT(
      wrong({{"function", {{"name", "a"}, {"arguments", std::string(5000, '[') + std::string(5000, ']')}}}}),
      StartsWith("messages[1].tool_calls[0].function.arguments: "))
      << "templates would use the stack for each level";
  EXPECT_EQ(refusal_of_message({{"role", "assistant"}, {"tool_calls", "x"}}),
            "messages[1].tool_calls: must be an array");
}

TEST(Messages, AConversationDoesNotEndWithCallsOfTools) {
  EXPECT_THAT(refusal_of_message({{"role", "assistant"}, {"tool_calls", {{{"function", {{"name", "a"}}}}}}}),
              StartsWith("messages: end with tool calls"));
}

TEST(Tools, EachHasANameAndASchema) {
  const auto wrong = [](const json& tool) {
    return refusal({{"messages", {kUser}}, {"tools", json::array({tool})}});
  };
  EXPECT_EQ(refusal({{"messages", {kUser}}, {"tools", "look"}}), "tools: must be an array");
  EXPECT_EQ(wrong("look"), "tools[0]: must be an object");
  EXPECT_EQ(wrong({{"type", "file_search"}}), "tools[0].type: must be function");
  EXPECT_EQ(wrong({{"type", "function"}}), "tools[0].function: must be an object");
  EXPECT_EQ(wrong({{"function", json::object()}}), "tools[0].function.name: is missing");
  EXPECT_EQ(wrong({{"function", {{"name", "a"}, {"parameters", "x"}}}}),
            "tools[0].function.parameters: must be a JSON schema");
}

TEST(Tools, AChoiceLeavesOnlyTheToolsThatItNames) {
  EXPECT_EQ(read(with_tools(json::object())).tools.size(), 2U);
  EXPECT_EQ(read(with_tools({{"tool_choice", "none"}})).tool_choice, chat::ToolChoice::kNone);
  EXPECT_EQ(read(with_tools({{"tool_choice", "required"}})).tool_choice, chat::ToolChoice::kRequired);
  const auto named = read(with_tools({{"tool_choice", {{"function", {{"name", "walk"}}}}}}));
  ASSERT_EQ(named.tools.size(), 1U);
  EXPECT_EQ(named.tools[0]["function"]["name"], "walk");
  EXPECT_EQ(named.tool_choice, chat::ToolChoice::kRequired);
  EXPECT_THAT(refusal({{"messages", {kUser}}, {"tool_choice", "required"}}),
              StartsWith("tool_choice: needs tools"));
  EXPECT_THAT(refusal(with_tools({{"tool_choice", "any"}})), StartsWith("tool_choice: must be none, auto"));
}

TEST(Thinking, AnEffortOfNoneTurnsItOff) {
  const auto thinks = [](json body) {
    body["messages"] = json::array({kUser});
    return read(body);
  };
  EXPECT_TRUE(thinks(json::object()).enable_thinking);
  EXPECT_FALSE(thinks({{"reasoning_effort", "none"}}).enable_thinking);
  EXPECT_EQ(thinks({{"reasoning_effort", "high"}}).template_arguments.at("reasoning_effort"), "high");
  EXPECT_FALSE(thinks({{"chat_template_kwargs", {{"enable_thinking", false}}}}).enable_thinking);
  EXPECT_FALSE(thinks({{"reasoning_format", "none"}}).thoughts_apart);
}

TEST(Thinking, ABudgetOfTokensIsALimitAndMinusOneIsNone) {
  const auto tokens = [](const char* name, std::int64_t value) {
    return read({{"messages", {kUser}}, {name, value}}).thinking_tokens;
  };
  EXPECT_EQ(tokens("reasoning_budget_tokens", 0), 0);
  EXPECT_EQ(tokens("thinking_budget_tokens", INT32_MAX), INT32_MAX);
  EXPECT_EQ(tokens("reasoning_budget_tokens", -1), std::nullopt);
  EXPECT_THAT(refusal({{"messages", {kUser}}, {"reasoning_budget_tokens", -2}}),
              StartsWith("reasoning_budget_tokens: "));
  EXPECT_THAT(refusal({{"messages", {kUser}}, {"reasoning_format", "xml"}}),
              StartsWith("reasoning_format: must be none"));
}

}  // namespace
}  // namespace brimful::openai
