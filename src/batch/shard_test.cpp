#include "batch/shard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "temporary_directory.h"

namespace brimful::batch {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using json = nlohmann::json;
namespace fs = std::filesystem;

std::vector<std::string> lines_of(const fs::path& path) {
  std::vector<std::string> out;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) out.push_back(line);
  return out;
}
void write(const fs::path& path, const std::vector<std::string>& lines) {
  std::ofstream out(path);
  for (const std::string& line : lines) out << line << '\n';
}
std::string request(const std::string& id) { return json{{"custom_id", id}}.dump(); }
/// An answer to the request with this id, made with these settings.
std::string answer(const std::string& id, const std::string& fingerprint = "fp_1") {
  return json{{"custom_id", id},
              {"response", {{"body", {{"model", "m"}, {"system_fingerprint", fingerprint}}}}}}
      .dump();
}
std::string failure(const std::string& id) {
  return json{{"custom_id", id}, {"error", {{"code", "x"}}}}.dump();
}
/// The outcome of a line that cannot be read.
std::string unreadable(int line) {
  return json{{"id", "batch_req_" + std::to_string(line)}, {"custom_id", nullptr}}.dump();
}

TEST(ParseShard, AShardIsOneOfSome) {
  const auto first = parse_shard("0/4");
  ASSERT_TRUE(first);
  EXPECT_EQ(first->index, 0U);
  EXPECT_EQ(first->count, 4U);
  EXPECT_TRUE(parse_shard("3/4"));
  EXPECT_TRUE(parse_shard("0/1"));
  EXPECT_TRUE(parse_shard("99999/100000"));
  for (const char* const wrong : {"", "/", "0", "0/", "/4", "4/4", "-1/4", "0/0", "0/-1", "1/2/3", "0/100001",
                                  " 0/4", "0/4 ", "4294967295/4294967296", "a/b"}) {
    const auto shard = parse_shard(wrong);
    ASSERT_FALSE(shard) << wrong;
    EXPECT_EQ(shard.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(shard.error().message, HasSubstr("I/N"));
  }
}

TEST(Shard, EachLineBelongsToOneOfThem) {
  for (std::int64_t line = 1; line < 20; ++line) {
    int having = 0;
    for (std::uint32_t i = 0; i < 3; ++i) having += Shard{i, 3}.has(line) ? 1 : 0;
    EXPECT_EQ(having, 1) << line;
    EXPECT_TRUE((Shard{0, 1}.has(line)));
  }
  EXPECT_TRUE((Shard{0, 4}.has(1)));
}

TEST(PartOf, APartHasItsNumberBeforeTheExtension) {
  EXPECT_EQ(part_of("a/answers.jsonl", {0, 4}), "a/answers.0-of-4.jsonl");
  EXPECT_EQ(part_of("answers", {3, 4}), "answers.3-of-4");
  EXPECT_EQ(part_of("answers.jsonl", {0, 1}), "answers.jsonl");
  EXPECT_EQ(part_of("-", {0, 4}), "-");
}

class Merging : public ::testing::Test {
 protected:
  Merging() { write(files_.input, {request("a"), request("b"), "{ no json", "", request("d")}); }

  /// Writes the parts of two shards, complete and right.
  void write_parts() const {
    write(files_.of({0, 2}).output, {answer("d"), answer("a")});
    write(files_.of({0, 2}).errors, {unreadable(3)});
    write(files_.of({1, 2}).output, {});
    write(files_.of({1, 2}).errors, {failure("b")});
  }
  [[nodiscard]] Error refusal() const {
    const auto merged = merge_parts(files_, 2);
    EXPECT_FALSE(fs::exists(files_.output)) << "nothing is written";
    return merged ? Error{ErrorCode::kInternal, "they were merged"} : merged.error();
  }
  [[nodiscard]] std::optional<Merged> finished_whole(const std::string& fingerprint = "fp_1") const {
    const auto out = finished(files_, {0, 1}, "m", fingerprint);
    EXPECT_TRUE(out) << out.error().message;
    return out.value_or(std::nullopt);
  }

  tests::TemporaryDirectory directory_;
  const JobFiles files_{.input = directory_.path() / "in.jsonl",
                        .output = directory_.path() / "out.jsonl",
                        .errors = directory_.path() / "errors.jsonl"};
};

TEST_F(Merging, PartsComeTogetherInTheOrderOfTheInput) {
  write_parts();
  const auto merged = merge_parts(files_, 2);
  ASSERT_TRUE(merged) << merged.error().message;
  EXPECT_EQ(merged->answers, 2);
  EXPECT_EQ(merged->failed, 2);
  EXPECT_THAT(lines_of(files_.output), ElementsAre(answer("a"), answer("d")));
  EXPECT_THAT(lines_of(files_.errors), ElementsAre(failure("b"), unreadable(3)));
  EXPECT_TRUE(fs::exists(files_.of({0, 2}).output)) << "the parts stay";
}

TEST_F(Merging, WithoutFailuresThereIsNoFileOfErrors) {
  write(files_.input, {request("a"), request("b")});
  write(files_.of({0, 2}).output, {answer("a")});
  write(files_.of({1, 2}).output, {answer("b")});
  ASSERT_TRUE(merge_parts(files_, 2));
  EXPECT_FALSE(fs::exists(files_.errors));
}

TEST_F(Merging, APartThatIsMissingOrNotFinishedIsNamed) {
  write_parts();
  write(files_.of({1, 2}).journal_path(), {"a journal"});
  EXPECT_EQ(refusal().code, ErrorCode::kNotFound);
  EXPECT_THAT(refusal().message, HasSubstr("shard 1/2"));
  fs::remove(files_.of({1, 2}).journal_path());
  fs::remove(files_.of({0, 2}).output);
  EXPECT_THAT(refusal().message, HasSubstr("shard 0/2"));
}

TEST_F(Merging, EachRequestHasOneAnswer) {
  write_parts();
  write(files_.of({1, 2}).output, {answer("a")});
  EXPECT_EQ(refusal().code, ErrorCode::kCorrupt);
  EXPECT_THAT(refusal().message, HasSubstr("'a'"));
  write_parts();
  write(files_.of({1, 2}).errors, {});
  EXPECT_EQ(refusal().code, ErrorCode::kCorrupt);
  EXPECT_THAT(refusal().message, HasSubstr("'b'"));
  write_parts();
  write(files_.of({1, 2}).output, {answer("z")});
  EXPECT_EQ(refusal().code, ErrorCode::kCorrupt) << "an answer to no request";
}

TEST_F(Merging, APartThatWasCutOffIsNamedWithItsLine) {
  write_parts();
  std::ofstream(files_.of({1, 2}).output) << answer("x") << '\n' << R"({"custom_id": "y", "resp)";
  EXPECT_EQ(refusal().code, ErrorCode::kCorrupt);
  EXPECT_THAT(refusal().message, HasSubstr(files_.of({1, 2}).output.string() + ": line 2"));
  write(files_.of({1, 2}).output, {"[]"});
  EXPECT_THAT(refusal().message, HasSubstr("line 1"));
}

TEST_F(Merging, PartsOfOtherModelsOrFlagsAreNotMixed) {
  write_parts();
  write(files_.of({1, 2}).output, {answer("b", "fp_2")});
  write(files_.of({1, 2}).errors, {});
  EXPECT_EQ(refusal().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(refusal().message, HasSubstr("fp_2"));
}

TEST_F(Merging, AnOutputThatExistsOrIsAStreamIsNotWritten) {
  write_parts();
  write(files_.output, {"mine"});
  EXPECT_EQ(merge_parts(files_, 2).error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(lines_of(files_.output), ElementsAre("mine"));
  JobFiles stream = files_;
  stream.output = "-";
  EXPECT_EQ(merge_parts(stream, 2).error().code, ErrorCode::kInvalidArgument);
}

TEST_F(Merging, AFinishedJobIsCounted) {
  write(files_.output, {answer("a"), answer("d")});
  write(files_.errors, {failure("b"), unreadable(3)});
  const auto all = finished_whole();
  ASSERT_TRUE(all);
  EXPECT_EQ(all->answers, 2);
  EXPECT_EQ(all->failed, 2);
}

TEST_F(Merging, WhatIsNotFinishedIsComputed) {
  EXPECT_FALSE(finished_whole()) << "there is no output";
  write(files_.output, {answer("a"), answer("d")});
  EXPECT_FALSE(finished_whole()) << "two outcomes are missing";
  write(files_.errors, {failure("b"), unreadable(3), failure("e")});
  EXPECT_FALSE(finished_whole()) << "one is too many";
  write(files_.errors, {failure("b"), unreadable(3)});
  EXPECT_TRUE(finished_whole());
  write(files_.journal_path(), {"a journal"});
  EXPECT_FALSE(finished_whole()) << "the journal is still there";
  fs::remove(files_.journal_path());
  fs::last_write_time(files_.input, fs::last_write_time(files_.output) + std::chrono::seconds(1));
  EXPECT_FALSE(finished_whole()) << "the input is newer";
}

TEST_F(Merging, AFinishedJobOfOtherFlagsIsNotTakenForThisOne) {
  write(files_.output, {answer("a"), answer("d")});
  write(files_.errors, {failure("b"), unreadable(3)});
  const auto other = finished(files_, {0, 1}, "m", "fp_2");
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(other.error().message, HasSubstr("fp_1"));
}

}  // namespace
}  // namespace brimful::batch
