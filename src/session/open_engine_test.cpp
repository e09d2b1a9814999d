#include "session/open_engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "session/context_choice.h"
#include "session/open_options.h"

namespace brimful::session {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

const std::filesystem::path kMissing = "there/is/no/such.gguf";

Error refusal(const ContextOptions& context) {
  std::vector<std::string> notes;
  const auto engine = open_and_prepare(kMissing, {}, context, nullptr, notes_into(notes));
  return engine ? Error{ErrorCode::kInternal, "it was opened"} : engine.error();
}

TEST(OpenAndPrepare, OptionsThatMakeNoSenseAreRefusedBeforeTheModelIsLookedFor) {
  for (const auto& [context, field] : std::vector<std::pair<ContextOptions, std::string>>{
           {{.sequences = 0}, "context.sequences: "},
           {{.sequences = 100'000}, "context.sequences: "},
           {{.threads = 0}, "context.threads: "},
           {{.sequences = 2, .sharing = Sharing::kConversation}, "context.sequences: "},
           {{.caller_reserve = {.share = 0.6}}, "context.caller_reserve.share: "},
           {{.caller_reserve = {.share = NAN}}, "context.caller_reserve.share: "}}) {
    EXPECT_EQ(refusal(context).code, ErrorCode::kInvalidArgument) << field;
    EXPECT_THAT(refusal(context).message, StartsWith(field));
  }
}

TEST(OpenAndPrepare, AMissingModelIsNamed) {
  EXPECT_EQ(refusal({}).code, ErrorCode::kNotFound);
  EXPECT_THAT(refusal({}).message, HasSubstr(kMissing.string()));
  EXPECT_EQ(refusal({.threads = UINT32_MAX}).code, ErrorCode::kNotFound)
      << "so many threads are lowered, they do not overflow";
}

TEST(OpenOptions, WithoutNumbersOfThreadsBothAreTheSame) {
  std::vector<std::string> notes;
  const auto options = open_options({.model = kMissing}, {}, notes_into(notes));
  ASSERT_TRUE(options);
  EXPECT_EQ(options->model, kMissing);
  EXPECT_GE(options->threads, 1);
  EXPECT_EQ(options->threads_batch, options->threads);
  EXPECT_EQ(options->ram, std::nullopt);
  EXPECT_THAT(options->offload, IsEmpty());
  EXPECT_THAT(options->notes, IsEmpty());
  EXPECT_TRUE(options->make_reader);
}

TEST(OpenOptions, ThreadsThatCannotRunAreLoweredWithANoteThatNamesTheOption) {
  std::vector<std::string> notes;
  const auto options = open_options({.model = kMissing, .threads = 1, .threads_batch = 1'000'000},
                                    {.threads_batch = "--batch-threads"}, notes_into(notes));
  ASSERT_TRUE(options);
  EXPECT_EQ(options->threads, 1);
  EXPECT_LT(options->threads_batch, 1'000'000);
  EXPECT_THAT(options->notes, ElementsAre(HasSubstr("--batch-threads")));
}

TEST(OpenOptions, TheEngineLearnsWhatItsUserCallsTheOptions) {
  std::vector<std::string> notes;
  const auto options =
      open_options({.model = kMissing}, {.ram = "memory", .no_drafts = "drafts: off"}, notes_into(notes));
  ASSERT_TRUE(options);
  EXPECT_EQ(options->names.ram, "memory");
  EXPECT_EQ(options->names.no_drafts, "drafts: off");
  EXPECT_EQ(options->names.context, "context.tokens") << "the field of the library";
}

TEST(UsualRequests, TheContextIsNoLargerThanTheModelWasTrainedOn) {
  EXPECT_EQ(usual_requests({.train_context = 512}, 3, 256).most_tokens, 512U);
  const ExpectedRequests usual = usual_requests({.train_context = 1'000'000}, 3, 256);
  EXPECT_LT(usual.most_tokens, 100'000U);
  EXPECT_EQ(usual_requests({.train_context = 0}, 3, 256).most_tokens, usual.most_tokens)
      << "0: the file does not say it";
  EXPECT_EQ(usual.work.requests, 3U);
  EXPECT_EQ(usual.least_tokens, 256U);
  EXPECT_FALSE(usual.lengths_known);
}

}  // namespace
}  // namespace brimful::session
