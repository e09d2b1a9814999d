#include "batch/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "temporary_directory.h"

namespace brimful::batch {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
namespace fs = std::filesystem;

/// A line with this number, with prompts and answers of these lengths.
Line line(std::int64_t number, std::uint64_t prompt = 10, std::uint64_t tokens = 20) {
  return {.number = number,
          .custom_id = "id-" + std::to_string(number),
          .offset = static_cast<std::uint64_t>(number) * 100,
          .bytes = 50,
          .prompt = prompt,
          .tokens = tokens};
}

class StoreTest : public ::testing::Test {
 protected:
  [[nodiscard]] Result<Store> try_open(const std::string& input = "input") const {
    return Store::open(path(), input);
  }
  [[nodiscard]] Store open(const std::string& input = "input") const {
    auto store = try_open(input);
    if (!store) throw std::runtime_error(store.error().message);
    return std::move(*store);
  }
  [[nodiscard]] Error refusal(const std::string& input = "input") const {
    const auto store = try_open(input);
    return store ? Error{ErrorCode::kInternal, "it was opened"} : store.error();
  }
  /// Copies the journal as it is on the disk now: what is left when the program is killed here.
  void copy_as_a_crash_leaves_it(const fs::path& to) const {
    for (const char* const end : {"", "-wal"}) {
      if (fs::exists(path().string() + end)) fs::copy_file(path().string() + end, to.string() + end);
    }
  }
  [[nodiscard]] fs::path path(const char* name = "journal") const { return directory_.path() / name; }

 private:
  tests::TemporaryDirectory directory_;
};

std::vector<std::int64_t> left(const Store& store) {
  std::vector<std::int64_t> out;
  for (std::int64_t after = 0;;) {
    const auto next = store.next(after).value();
    if (!next) return out;
    out.push_back(after = next->number);
  }
}
std::vector<std::string> outcomes(const Store& store, std::optional<bool> failed = {}) {
  std::vector<std::string> out;
  EXPECT_TRUE(store.for_each(failed, [&](const std::string& json) {
    out.push_back(json);
    return Status{};
  }));
  return out;
}

TEST_F(StoreTest, ANewJournalIsEmpty) {
  const Store store = open();
  EXPECT_FALSE(store.has_lines().value());
  EXPECT_EQ(store.counts()->lines, 0);
  EXPECT_THAT(left(store), IsEmpty());
  EXPECT_THAT(outcomes(store), IsEmpty());
  EXPECT_THAT(store.settings().value(), IsEmpty());
  EXPECT_EQ(store.choice("context").value(), std::nullopt);
  EXPECT_EQ(store.work(16)->lines, 0);
  EXPECT_THAT(store.prompt_lengths().value(), IsEmpty());
}

TEST_F(StoreTest, LinesAreLeftUntilTheyHaveAnOutcome) {
  Store store = open();
  ASSERT_TRUE(store.add(std::vector{line(1), line(2), line(5)}, std::vector{Outcome{2, true, "wrong"}}, {}));
  EXPECT_TRUE(store.has_lines().value());
  EXPECT_THAT(left(store), ElementsAre(1, 5));
  ASSERT_TRUE(store.finish(std::vector{Outcome{5, false, "five"}}));
  EXPECT_THAT(left(store), ElementsAre(1));
  EXPECT_EQ(store.counts()->lines, 3);
  EXPECT_EQ(store.counts()->completed, 1);
  EXPECT_EQ(store.counts()->failed, 1);
  EXPECT_EQ(store.counts()->left(), 1);
  const auto next = store.next(0).value();
  EXPECT_EQ(next->custom_id, "id-1");
  EXPECT_EQ(next->offset, 100U);
  EXPECT_EQ(next->bytes, 50U);
}

TEST_F(StoreTest, OutcomesComeInTheOrderOfTheLines) {
  Store store = open();
  ASSERT_TRUE(store.add(std::vector{line(1), line(2), line(3)}, {}, {}));
  ASSERT_TRUE(store.finish(std::vector{Outcome{3, false, "three"}, Outcome{2, true, "two"}}));
  ASSERT_TRUE(store.finish(std::vector{Outcome{1, false, "one \xff"}}));
  EXPECT_THAT(outcomes(store), ElementsAre("one \xff", "two", "three"));
  EXPECT_THAT(outcomes(store, true), ElementsAre("two"));
  EXPECT_THAT(outcomes(store, false), ElementsAre("one \xff", "three"));
}

TEST_F(StoreTest, AnErrorOfTheReceiverEndsTheOutcomes) {
  Store store = open();
  ASSERT_TRUE(store.add(std::vector{line(1), line(2)},
                        std::vector{Outcome{1, false, "a"}, Outcome{2, false, "b"}}, {}));
  int taken = 0;
  const Status read = store.for_each({}, [&](const std::string&) -> Status {
    ++taken;
    return fail(ErrorCode::kNoSpace, "full");
  });
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, ErrorCode::kNoSpace);
  EXPECT_EQ(taken, 1);
}

TEST_F(StoreTest, ALineHasOneOutcomeAndAnotherOneChangesNothing) {
  Store store = open();
  ASSERT_TRUE(store.add(std::vector{line(1), line(2)}, {}, {}));
  ASSERT_TRUE(store.finish(std::vector{Outcome{1, false, "first"}}));
  const Status again = store.finish(std::vector{Outcome{2, false, "two"}, Outcome{1, true, "second"}});
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::kInternal);
  EXPECT_THAT(outcomes(store), ElementsAre("first")) << "all of them or none";
  EXPECT_THAT(left(store), ElementsAre(2));
  EXPECT_FALSE(store.finish(std::vector{Outcome{9, false, "no such line"}}));
}

TEST_F(StoreTest, LinesWithTheSameIdAreRefusedAllTogether) {
  Store store = open();
  Line twin = line(2);
  twin.custom_id = "id-1";
  EXPECT_FALSE(store.add(std::vector{line(1), twin}, {}, {}));
  EXPECT_FALSE(store.has_lines().value());
}

TEST_F(StoreTest, WhatWasCommittedSurvivesACrash) {
  Store store = open();
  ASSERT_TRUE(store.add(std::vector{line(1), line(2), line(3)}, {}, {{"-c", "512", "shown"}}));
  ASSERT_TRUE(store.keep_choice("context", "4096"));
  ASSERT_TRUE(store.finish(std::vector{Outcome{2, false, "two"}}));
  copy_as_a_crash_leaves_it(path("left"));

  const auto after = Store::open(path("left"), "input");
  ASSERT_TRUE(after) << after.error().message;
  EXPECT_THAT(left(*after), ElementsAre(1, 3));
  EXPECT_THAT(outcomes(*after), ElementsAre("two"));
  EXPECT_EQ(after->choice("context").value(), "4096");
  ASSERT_EQ(after->settings()->size(), 1U);
  EXPECT_EQ(after->settings()->front().shown, "shown");
}

TEST_F(StoreTest, ALogThatACrashCutOffLosesOnlyWhatWasNotCommitted) {
  Store store = open();
  ASSERT_TRUE(store.add(std::vector{line(1), line(2)}, {}, {}));
  const auto before = fs::file_size(path("journal-wal"));
  ASSERT_TRUE(store.finish(std::vector{Outcome{1, false, "one"}}));
  copy_as_a_crash_leaves_it(path("left"));
  ASSERT_GT(fs::file_size(path("left-wal")), before);
  fs::resize_file(path("left-wal"), fs::file_size(path("left-wal")) - 100);

  const auto after = Store::open(path("left"), "input");
  ASSERT_TRUE(after) << after.error().message;
  EXPECT_EQ(after->counts()->lines, 2);
  EXPECT_THAT(left(*after), ElementsAre(1, 2)) << "half an outcome is none";
}

TEST_F(StoreTest, AChoiceCanBeMadeAnew) {
  Store store = open();
  ASSERT_TRUE(store.keep_choice("context", "4096"));
  ASSERT_TRUE(store.keep_choice("context", "512"));
  EXPECT_EQ(store.choice("context").value(), "512");
}

TEST_F(StoreTest, TheWorkThatIsLeftIsSummedUp) {
  Store store = open();
  const std::vector lines = {line(1, 10, 1000), line(2, 30, 40), line(3, 500, 600), line(4, 70, 80),
                             line(5, 30, 90)};
  ASSERT_TRUE(store.add(lines, std::vector{Outcome{4, true, "x"}}, {}));
  const auto work = store.work(16, 100).value();
  EXPECT_EQ(work.lines, 3) << "line 3 is too long, and line 4 is done";
  EXPECT_EQ(work.most_tokens, 1000U);
  EXPECT_EQ(work.least_tokens, 46U) << "30 and an answer of 16: the limit of line 2 is lower";
  EXPECT_EQ(work.mean_prompt, 23U);
  EXPECT_EQ(work.mean_tokens, 376U);
  EXPECT_THAT(store.prompt_lengths().value(), ElementsAre(10U, 30U, 500U));
}

TEST_F(StoreTest, ToBeginAnewForgetsEverything) {
  Store store = open();
  ASSERT_TRUE(store.add(std::vector{line(1)}, std::vector{Outcome{1, false, "x"}}, {{"-c", "512", ""}}));
  ASSERT_TRUE(store.keep_choice("context", "4096"));
  ASSERT_TRUE(store.begin_anew());
  EXPECT_FALSE(store.has_lines().value());
  EXPECT_THAT(store.settings().value(), IsEmpty());
  EXPECT_EQ(store.choice("context").value(), std::nullopt);
  EXPECT_TRUE(store.add(std::vector{line(1)}, {}, {}));
}

TEST_F(StoreTest, AnotherInputEmptiesAJournalThatHoldsNoAnswer) {
  Line unreadable = line(1);
  unreadable.custom_id.reset();
  ASSERT_TRUE(open("first").add(std::vector{unreadable, line(2)},
                                std::vector{Outcome{1, true, "cannot be read"}}, {}));
  EXPECT_FALSE(open("second").has_lines().value()) << "a line that cannot be read was not computed";
  ASSERT_TRUE(open("second").add(std::vector{line(1)}, std::vector{Outcome{1, false, "one"}}, {}));
  EXPECT_EQ(refusal("third").code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(refusal("third").message, HasSubstr(path().string()));
  EXPECT_THAT(outcomes(open("second")), ElementsAre("one")) << "the refusal changed nothing";
}

TEST_F(StoreTest, OneAtATimeHasTheJournal) {
  const Store store = open();
  EXPECT_EQ(refusal().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(refusal().message, HasSubstr("another process"));
}

TEST_F(StoreTest, AFileThatIsNoJournalIsLeftAsItIs) {
  std::ofstream(path()) << std::string(5000, 'x');
  EXPECT_EQ(refusal().code, ErrorCode::kCorrupt);
  EXPECT_THAT(refusal().message, HasSubstr(path().string()));
  EXPECT_EQ(fs::file_size(path()), 5000U);
}

TEST_F(StoreTest, AJournalInAMissingFolderIsAnError) {
  const auto store = Store::open(path("missing") / "journal", "input");
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, ErrorCode::kIo);
}

TEST_F(StoreTest, OnlyItsUserCanReadAJournal) {
  const Store store = open();
  EXPECT_EQ(fs::status(path()).permissions(), fs::perms::owner_read | fs::perms::owner_write);
}

TEST_F(StoreTest, TakenAwayNothingIsLeftOfIt) {
  Store store = open();
  ASSERT_TRUE(store.add(std::vector{line(1)}, {}, {}));
  ASSERT_TRUE(store.take_away());
  EXPECT_TRUE(fs::is_empty(path().parent_path()));
  EXPECT_TRUE(store.take_away()) << "it can be called again";
}

}  // namespace
}  // namespace brimful::batch
