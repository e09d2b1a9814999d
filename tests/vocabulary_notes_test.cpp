// Problems of a model's vocabulary that llama.cpp only logs become notes on standard error, because answers
// may be worse.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "program_run.h"
#include "scripted_model.h"
#include "temporary_directory.h"

namespace brimful::tests {
namespace {

using testing::HasSubstr;
using testing::Not;

class VocabularyNotes : public testing::Test {
 protected:
  /// Returns the messages of `brimful run` with a model that writes "one two".
  std::string said_of(Script script, const std::string& prompt = "x") {
    script.tokens = {"one", " two"};
    const auto model = write_scripted_model(directory_.path(), script);
    const ProgramRun ran = run_brimful(
        {"run", "-m", model.string(), "-p", prompt, "-n", "4", "-t", "1", "--temp", "0", "--ram", kAmpleRam});
    EXPECT_EQ(ran.exit_code, 0) << ran.err;
    EXPECT_THAT(ran.out, HasSubstr("one two"));
    return ran.err;
  }
  const TemporaryDirectory directory_;
};

TEST_F(VocabularyNotes, BytePairsWithoutARuleHowTextIsSplit) {
  constexpr const char* kNote = "note: the file does not say how its vocabulary splits text";
  EXPECT_THAT(said_of({.byte_pairs = true, .splits_said = false}), HasSubstr(kNote));
  EXPECT_THAT(said_of({.byte_pairs = true}), Not(HasSubstr(kNote)));
  EXPECT_THAT(said_of({.splits_said = false}), Not(HasSubstr(kNote))) << "SentencePiece needs none";
}

TEST_F(VocabularyNotes, TwoTokensForTheBeginningOfAText) {
  constexpr const char* kNote = "note: the prompt begins with two BOS tokens";
  EXPECT_THAT(said_of({}, "<s>x"), HasSubstr(kNote)) << "the vocabulary adds one";
  EXPECT_THAT(said_of({}), Not(HasSubstr(kNote)));
  // llama.cpp removes one beginning-of-text token that a chat template writes, and no more.
  const std::string turns = "{% for m in messages %}{{ m.content }}{% endfor %}";
  EXPECT_THAT(said_of({.chat_template = "<s><s>" + turns}), HasSubstr(kNote));
  EXPECT_THAT(said_of({.chat_template = "<s>" + turns}), Not(HasSubstr(kNote)));
}

}  // namespace
}  // namespace brimful::tests
