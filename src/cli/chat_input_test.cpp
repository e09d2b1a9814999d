#include "cli/chat_input.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace brimful::cli {
namespace {

using Kind = ChatInput::Kind;
using testing::HasSubstr;

ChatInput input_of(std::string_view line) {
  ChatLines lines;
  const auto input = lines.take(line);
  EXPECT_TRUE(input) << line;
  return input.value_or(ChatInput{});
}

TEST(ChatLines, KnowsItsCommands) {
  EXPECT_EQ(input_of("/help").kind, Kind::kHelp);
  EXPECT_EQ(input_of("/?").kind, Kind::kHelp);
  for (const char* leave : {"/bye", "/exit", "/quit", "/bye  "})
    EXPECT_EQ(input_of(leave).kind, Kind::kLeave) << leave;
  EXPECT_EQ(input_of("/clear").kind, Kind::kClear);
  EXPECT_EQ(input_of("/stats").kind, Kind::kStatistics);
  EXPECT_EQ(input_of("/system").kind, Kind::kSystem);
  EXPECT_EQ(input_of("/system").text, "");
  EXPECT_EQ(input_of("/system  Be kind. ").text, "Be kind.");
}

TEST(ChatLines, SaysWhichCommandIsUnknownAndWhichIsNear) {
  EXPECT_EQ(input_of("/hlep").kind, Kind::kUnknown);
  EXPECT_THAT(input_of("/hlep").text, HasSubstr("no command /hlep; do you mean '/help'?"));
  EXPECT_THAT(input_of("/nosuch me").text, HasSubstr("no command /nosuch; /help"));
  EXPECT_THAT(input_of("/clear all").text, HasSubstr("/clear takes no text after it"));
}

TEST(ChatLines, TakesMessagesThatOnlyLookLikeCommands) {
  for (const char* message :
       {"hello", " /bye", "/etc/fstab: what is it?", "/", "/* a comment */", "/bye\nnow", "a /bye"}) {
    EXPECT_EQ(input_of(message).kind, Kind::kMessage) << message;
    EXPECT_EQ(input_of(message).text, message);
  }
  EXPECT_EQ(input_of("").kind, Kind::kNothing);
  EXPECT_EQ(input_of(" \t ").kind, Kind::kNothing);
}

TEST(ChatLines, JoinsTheLinesBetweenQuotes) {
  ChatLines lines;
  EXPECT_FALSE(lines.take("\"\"\"first"));
  EXPECT_TRUE(lines.goes_on());
  EXPECT_FALSE(lines.take("/bye")) << "part of the message";
  EXPECT_FALSE(lines.take(""));
  const auto input = lines.take("last\"\"\"");
  ASSERT_TRUE(input);
  EXPECT_EQ(input->kind, Kind::kMessage);
  EXPECT_EQ(input->text, "first\n/bye\n\nlast");
  EXPECT_FALSE(lines.goes_on());

  EXPECT_EQ(input_of("\"\"\"one line\"\"\"").text, "one line");
  EXPECT_EQ(input_of("\"\"\"\nthree\nlines\n\"\"\" and more").text, "three\nlines\n and more");
  EXPECT_EQ(input_of("\"\"\"\"\"\"").kind, Kind::kNothing);
}

TEST(ChatLines, ForgetsAMessageThatWasGivenUp) {
  ChatLines lines;
  EXPECT_FALSE(lines.take("\"\"\"first"));
  EXPECT_EQ(lines.forget(), "first");
  EXPECT_FALSE(lines.goes_on());
  EXPECT_EQ(lines.take("hello")->text, "hello");
}

}  // namespace
}  // namespace brimful::cli
