// Answers of OpenAI's API, whole and in pieces. They are made from given texts, because a model would have
// to be trained to write them.

#include <gtest/gtest.h>

#include "openai/stream.h"
#include "scripted_model.h"
#include "synth_model.h"
#include "temporary_directory.h"

namespace brimful::tests {
namespace {

using nlohmann::json;

class AnswerStreamTest : public testing::Test {
 protected:
  void SetUp() override {
    auto engine =
        engine::Engine::open({.model = synth_model(directory_, {.like = "qwen3"}), .ram = kMiB * 512});
    ASSERT_TRUE(engine) << engine.error().message;
    engine_ = std::move(*engine);
    auto reader = openai::ApiReader::create(*engine_, kChatMl);
    ASSERT_TRUE(reader) << reader.error().message;
    reader_.emplace(std::move(*reader));
  }

  [[nodiscard]] openai::ApiRequest chat(const json& more) const {
    json body = {{"messages", {{{"role", "user"}, {"content", "Where?"}}}}};
    body.update(more);
    auto request = reader_->read(openai::Endpoint::kChat, body);
    EXPECT_TRUE(request) << request.error().message;
    return std::move(*request);
  }

  /// The deltas of all events, put together as a client does. `text` arrives in pieces of `size` bytes.
  struct Seen {
    std::string content;
    std::string name;
    std::string arguments;
    std::string reason;
    std::size_t events = 0;
  };
  [[nodiscard]] Seen stream(const openai::ApiRequest& request, const std::string& text,
                            std::size_t size) const {
    openai::AnswerStream stream({"id", "model", 1}, request, reader_->vocab());
    std::string all;
    for (std::size_t at = 0; at < text.size(); at += size)
      all += stream.add(0, {.text = text.substr(at, size)});
    all += stream.end({{.text = text, .reason = engine::StopReason::kEndOfText}});
    EXPECT_TRUE(all.ends_with("data: [DONE]\n\n"));
    Seen seen;
    for (std::size_t at = 0; all.substr(at, 7) != "data: [";) {
      const std::size_t end = all.find("\n\n", at);
      const json choice = json::parse(all.substr(at + 6, end - at - 6)).at("choices").at(0);
      const json& delta = choice.at("delta");
      seen.content += delta.value("content", "");
      if (delta.contains("tool_calls")) {
        const json& function = delta["tool_calls"][0].at("function");
        seen.name += function.value("name", "");
        seen.arguments += function.value("arguments", "");
      }
      if (choice.at("finish_reason").is_string()) seen.reason = choice["finish_reason"];
      ++seen.events;
      at = end + 2;
    }
    return seen;
  }

  const TemporaryDirectory directory_;
  std::unique_ptr<engine::Engine> engine_;
  std::optional<openai::ApiReader> reader_;
};

const json kTools = {
    {"tools",
     {{{"type", "function"},
       {"function",
        {{"name", "look"},
         {"parameters",
          {{"type", "object"}, {"properties", {{"at", {{"type", "string"}}}}}, {"required", {"at"}}}}}}}}}};

TEST_F(AnswerStreamTest, ToolCallsComeInPiecesAndWhole) {
  const std::string text =
      "I will look.\n<tool_call>\n{\"name\": \"look\", \"arguments\": {\"at\": \"moon\"}}\n</tool_call>";
  const openai::ApiRequest request = chat(kTools);
  for (const std::size_t size : {1U, 7U, 1000U}) {
    const Seen seen = stream(request, text, size);
    EXPECT_EQ(seen.name, "look");
    EXPECT_EQ(json::parse(seen.arguments), (json{{"at", "moon"}})) << size;
    EXPECT_TRUE(seen.content.starts_with("I will look.")) << seen.content;
    EXPECT_EQ(seen.content.find("tool_call"), std::string::npos) << seen.content;
    EXPECT_EQ(seen.reason, "tool_calls");
  }
  const auto body =
      openai::answer_body({"id", "model", 1}, request,
                          {{.text = text, .reason = engine::StopReason::kEndOfText}}, reader_->vocab());
  EXPECT_EQ(body.at("choices").at(0).at("finish_reason"), "tool_calls");
  const auto& call = body.at("choices").at(0).at("message").at("tool_calls").at(0).at("function");
  EXPECT_EQ(call.at("name"), "look");
  EXPECT_EQ(json::parse(call.at("arguments").get<std::string>()), (json{{"at", "moon"}}));
}

TEST_F(AnswerStreamTest, ChoicesHaveTheirOwnTextAndEnd) {
  const openai::ApiRequest request = chat({{"n", 2}, {"seed", 7}});
  const auto parts = request.parts();
  ASSERT_EQ(parts.size(), 2U);
  EXPECT_NE(parts[0].sampling.seed, parts[1].sampling.seed);
  openai::AnswerStream stream({"id", "model", 1}, request, reader_->vocab());
  const std::string all = stream.add(1, {.text = "b"}) + stream.add(0, {.text = "a"}) +
                          stream.add(1, {.text = "B"}) +
                          stream.end({{.text = "a", .reason = engine::StopReason::kLimit},
                                      {.text = "bB", .reason = engine::StopReason::kEndOfText}});
  std::array<std::string, 2> texts;
  std::array<std::string, 2> reasons;
  for (std::size_t at = 0; all.substr(at, 7) != "data: [";) {
    const std::size_t end = all.find("\n\n", at);
    const json choice = json::parse(all.substr(at + 6, end - at - 6)).at("choices").at(0);
    const std::size_t index = choice.at("index");
    texts.at(index) += choice.at("delta").value("content", "");
    if (choice.at("finish_reason").is_string()) reasons.at(index) = choice["finish_reason"];
    at = end + 2;
  }
  EXPECT_EQ(texts, (std::array<std::string, 2>{"a", "bB"}));
  EXPECT_EQ(reasons, (std::array<std::string, 2>{"length", "stop"}));
}

TEST_F(AnswerStreamTest, CharactersAreNeverCut) {
  const std::string text = "ä€😀 and \xff";
  for (const std::size_t size : {1U, 2U, 3U}) {
    const Seen seen = stream(chat(json::object()), text, size);
    EXPECT_TRUE(seen.content.starts_with("ä€😀 and ")) << size << ": " << seen.content;
    EXPECT_EQ(seen.reason, "stop");
  }
}

}  // namespace
}  // namespace brimful::tests
