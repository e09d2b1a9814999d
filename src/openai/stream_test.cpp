#include "openai/stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace brimful::openai {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::IsEmpty;
using json = nlohmann::json;

constexpr std::string_view kData = "data: ";

/// The JSON of each event. The last event `[DONE]` becomes the text "[DONE]".
std::vector<json> events_in(std::string_view text) {
  std::vector<json> out;
  while (!text.empty()) {
    const std::size_t end = text.find("\n\n");
    if (!text.starts_with(kData) || end == std::string_view::npos) {
      ADD_FAILURE() << "no event: " << text;
      break;
    }
    const std::string_view data = text.substr(kData.size(), end - kData.size());
    EXPECT_EQ(data.find('\n'), std::string_view::npos) << "an event is one line";
    out.push_back(data == "[DONE]" ? json("[DONE]") : json::parse(data));
    text.remove_prefix(end + 2);
  }
  return out;
}
/// The text of a choice in these events of a completion.
std::string text_in(const std::string& events) {
  std::string out;
  for (const json& event : events_in(events)) {
    if (event.is_object() && !event["choices"].empty()) out += event["choices"][0]["text"].get<std::string>();
  }
  return out;
}

AnswerStream stream_of(const ApiRequest& request) { return {{"cmpl-1", "model", 17}, request, nullptr}; }
schedule::Answer answer(engine::StopReason reason, std::vector<llama_token> tokens = {}) {
  return {.token_ids = std::move(tokens), .reason = reason};
}

TEST(AnswerStream, ACompletionIsSentAsItsTextComes) {
  const ApiRequest request{.endpoint = Endpoint::kCompletion};
  AnswerStream stream = stream_of(request);
  const auto first = events_in(stream.add(0, {"Once", {}}));
  ASSERT_EQ(first.size(), 1U);
  EXPECT_EQ(first[0],
            (json{{"id", "cmpl-1"},
                  {"object", "text_completion"},
                  {"created", 17},
                  {"model", "model"},
                  {"choices",
                   {{{"text", "Once"}, {"index", 0}, {"logprobs", nullptr}, {"finish_reason", nullptr}}}}}));
  EXPECT_EQ(text_in(stream.add(0, {" upon", {}})), " upon");
  const auto last = events_in(stream.end({answer(engine::StopReason::kLimit)}));
  ASSERT_EQ(last.size(), 2U);
  EXPECT_EQ(last[0]["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(last[0]["choices"][0]["text"], "");
  EXPECT_EQ(last[1], "[DONE]");
}

TEST(AnswerStream, CharactersAreSentWholeWhereverTheirBytesAreCut) {
  const std::string text = "a\u00e9\u20ac\U0001F600z";  // characters of 1, 2, 3 and 4 bytes
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    const ApiRequest request{.endpoint = Endpoint::kCompletion};
    AnswerStream stream = stream_of(request);
    std::string events = stream.add(0, {text.substr(0, cut), {}});
    events += stream.add(0, {text.substr(cut), {}});
    EXPECT_EQ(text_in(events), text) << "cut after " << cut;
  }
}

TEST(AnswerStream, HalfACharacterWaitsAndTheEndSendsIt) {
  const ApiRequest request{.endpoint = Endpoint::kCompletion};
  AnswerStream stream = stream_of(request);
  EXPECT_THAT(stream.add(0, {"\xe2\x82", {}}), IsEmpty());
  EXPECT_EQ(text_in(stream.end({answer(engine::StopReason::kEndOfText)})), "\ufffd");
}

TEST(AnswerStream, BytesThatAreNoTextDoNotHoldItUp) {
  const ApiRequest request{.endpoint = Endpoint::kCompletion};
  AnswerStream stream = stream_of(request);
  EXPECT_EQ(text_in(stream.add(0, {std::string(5, '\x80'), {}})), "\ufffd\ufffd\ufffd\ufffd\ufffd");
}

TEST(AnswerStream, AChatBeginsWithItsRoleOnce) {
  const ApiRequest request;
  AnswerStream stream = stream_of(request);
  std::string text = stream.add(0, {"Hi", {}});
  text += stream.add(0, {" you", {}});
  const auto events = events_in(text);
  ASSERT_EQ(events.size(), 3U);
  EXPECT_EQ(events[0]["object"], "chat.completion.chunk");
  EXPECT_EQ(events[0]["choices"][0]["delta"], (json{{"role", "assistant"}, {"content", ""}}));
  EXPECT_EQ(events[1]["choices"][0]["delta"], (json{{"content", "Hi"}}));
  EXPECT_EQ(events[2]["choices"][0]["delta"], (json{{"content", " you"}}));
}

TEST(AnswerStream, AChatWithoutTextHasItsRoleToo) {
  const ApiRequest request;
  AnswerStream stream = stream_of(request);
  const auto events = events_in(stream.end({answer(engine::StopReason::kEndOfText)}));
  ASSERT_EQ(events.size(), 3U);
  EXPECT_EQ(events[0]["choices"][0]["delta"]["role"], "assistant");
  EXPECT_EQ(events[1]["choices"][0]["delta"], json::object());
  EXPECT_EQ(events[1]["choices"][0]["finish_reason"], "stop");
}

TEST(AnswerStream, EachChoiceHasItsNumberAndItsEnd) {
  ApiRequest request{.endpoint = Endpoint::kCompletion, .answers = 2};
  AnswerStream stream = stream_of(request);
  EXPECT_EQ(events_in(stream.add(1, {"b", {}}))[0]["choices"][0]["index"], 1);
  const auto last = events_in(
      stream.end({answer(engine::StopReason::kEndOfText), answer(engine::StopReason::kContextFull)}));
  ASSERT_EQ(last.size(), 3U);
  EXPECT_EQ(last[0]["choices"][0]["index"], 0);
  EXPECT_EQ(last[0]["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(last[1]["choices"][0]["index"], 1);
  EXPECT_EQ(last[1]["choices"][0]["finish_reason"], "length");
}

TEST(AnswerStream, UsageIsNullUntilTheEndWhereItIsWanted) {
  ApiRequest request{.endpoint = Endpoint::kCompletion, .stream_usage = true};
  request.request.prompt = {1, 2, 3};
  AnswerStream stream = stream_of(request);
  const json first = events_in(stream.add(0, {"a", {}}))[0];
  EXPECT_TRUE(first.contains("usage"));
  EXPECT_EQ(first["usage"], nullptr);
  const auto last = events_in(stream.end({answer(engine::StopReason::kEndOfText, {7, 8})}));
  ASSERT_EQ(last.size(), 3U);
  EXPECT_THAT(last[1]["choices"], IsEmpty());
  EXPECT_EQ(last[1]["usage"]["prompt_tokens"], 3);
  EXPECT_EQ(last[1]["usage"]["completion_tokens"], 2);
  EXPECT_EQ(last[1]["usage"]["total_tokens"], 5);
}

TEST(AnswerStream, WarningsComeOnceWithTheFirstEnd) {
  ApiRequest request{.endpoint = Endpoint::kCompletion, .answers = 2, .warnings = {"magic: is not known"}};
  AnswerStream stream = stream_of(request);
  const auto last =
      events_in(stream.end({answer(engine::StopReason::kEndOfText), answer(engine::StopReason::kEndOfText)}));
  EXPECT_EQ(last[0]["warnings"], json::array({"magic: is not known"}));
  EXPECT_FALSE(last[1].contains("warnings"));
}

TEST(AnswerStream, AnErrorIsAnEventOfItsOwn) {
  const auto events = events_in(AnswerStream::fail({ErrorCode::kInvalidArgument, "seed: two\nlines"}));
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0]["error"]["param"], "seed");
  EXPECT_EQ(events[0]["error"]["type"], "invalid_request_error");
}

}  // namespace
}  // namespace brimful::openai
