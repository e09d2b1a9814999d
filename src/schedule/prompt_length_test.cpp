#include "schedule/prompt_length.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace brimful::schedule {
namespace {

TEST(PromptLength, TheNumbersAreReadFromTheErrorThatHasThem) {
  for (const auto [prompt, context] :
       {PromptLength{600, 511}, PromptLength{1, 0}, PromptLength{SIZE_MAX, 1}}) {
    const Error error = prompt_too_long({prompt, context});
    EXPECT_EQ(error.code, ErrorCode::kInvalidArgument);
    const auto read = too_long_prompt(error);
    ASSERT_TRUE(read) << error.message;
    EXPECT_EQ(read->prompt, prompt);
    EXPECT_EQ(read->context, context);
  }
}

TEST(PromptLength, OtherErrorsHaveNoSuchNumbers) {
  const std::string message = prompt_too_long({600, 511}).message;
  EXPECT_FALSE(too_long_prompt({ErrorCode::kInvalidArgument, "the prompt has no token"}));
  EXPECT_FALSE(too_long_prompt({ErrorCode::kInvalidArgument, ""}));
  EXPECT_FALSE(too_long_prompt({ErrorCode::kInvalidArgument, "prompt: " + message}));
  EXPECT_FALSE(too_long_prompt({ErrorCode::kInvalidArgument, message.substr(0, message.size() - 3)}))
      << "the second number is missing";
  EXPECT_FALSE(too_long_prompt({ErrorCode::kInternal, message}));
}

}  // namespace
}  // namespace brimful::schedule
