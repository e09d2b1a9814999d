// Tests jobs with a model that writes a scripted text.

#include "batch/job.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "scripted_model.h"
#include "temporary_directory.h"

namespace brimful::batch {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;
using json = nlohmann::json;
namespace fs = std::filesystem;
using namespace std::chrono_literals;

std::string completion(const std::string& id, const json& more = json::object()) {
  json body = {{"prompt", "Once"}, {"max_tokens", 4}, {"temperature", 0}};
  body.update(more);
  return json{{"custom_id", id}, {"url", "/v1/completions"}, {"body", body}}.dump();
}
std::vector<std::string> ids_in(const fs::path& path) {
  std::vector<std::string> out;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);)
    out.push_back(json::parse(line)["custom_id"].is_null()
                      ? "none"
                      : json::parse(line)["custom_id"].get<std::string>());
  return out;
}

class JobTest : public ::testing::Test {
 protected:
  JobTest() {
    auto opened = engine::Engine::open(
        {.model = tests::write_scripted_model(directory_.path(), {.tokens = {"upon", "a", "time"}}),
         .ram = kGiB});
    if (!opened) throw std::runtime_error(opened.error().message);
    engine_ = std::move(*opened);
    reader_.emplace(openai::ApiReader::create(*engine_).value());
    fs::create_directory(directory_.path() / "work");
    write({completion("a"), completion("b"), completion("c")});
  }
  void write(const std::vector<std::string>& lines) const {
    std::ofstream out(files_.input);
    for (const std::string& line : lines) out << line << '\n';
  }
  [[nodiscard]] Result<std::unique_ptr<Job>> try_open(JobSettings settings = {.model = "m"}) const {
    return Job::open(files_, *reader_, std::move(settings));
  }
  [[nodiscard]] std::unique_ptr<Job> open(JobSettings settings = {.model = "m"}) const {
    auto job = try_open(std::move(settings));
    if (!job) throw std::runtime_error(job.error().message);
    return std::move(*job);
  }
  /// Checks all lines. Returns the message of the error, or an empty text.
  static std::string check(Job& job) {
    for (;;) {
      const auto done = job.check(1h);
      if (!done) return done.error().message;
      if (*done) return "";
    }
  }
  /// Computes the lines that are left. `stop_after`: number of passes after which the run is stopped.
  Status run(Job& job, int stop_after = INT32_MAX) {
    if (!started_) {
      EXPECT_TRUE(engine_->prepare({.context = 512, .ubatch = 64, .sequences = 2, .shared_cells = true}));
      EXPECT_TRUE(engine_->start({}));
      started_ = true;
    }
    schedule::Scheduler scheduler(*engine_, {.most_running = 1});
    return job.run(scheduler, {.stopped = [&] { return stop_after-- <= 0; }});
  }
  [[nodiscard]] bool has_journal() const { return fs::exists(files_.journal_path()); }

  tests::TemporaryDirectory directory_;
  const JobFiles files_{.input = directory_.path() / "work" / "in.jsonl",
                        .output = directory_.path() / "work" / "out.jsonl",
                        .errors = directory_.path() / "work" / "errors.jsonl"};
  std::unique_ptr<engine::Engine> engine_;
  std::optional<openai::ApiReader> reader_;
  bool started_ = false;
};

TEST_F(JobTest, EachLineGetsOneAnswerAndTheJournalIsGone) {
  const auto job = open();
  EXPECT_FALSE(job->resumed());
  ASSERT_EQ(check(*job), "");
  EXPECT_EQ(job->counts().left(), 3);
  ASSERT_TRUE(run(*job));
  EXPECT_FALSE(fs::exists(files_.output)) << "it is not complete";
  ASSERT_TRUE(job->write_out({}));
  EXPECT_THAT(ids_in(files_.output), ElementsAre("a", "b", "c"));
  EXPECT_FALSE(fs::exists(files_.errors));
  EXPECT_FALSE(has_journal());
}

TEST_F(JobTest, AStoppedJobGoesOnWhereItWas) {
  {
    const auto job = open({.model = "first"});
    ASSERT_EQ(check(*job), "");
    const Status stopped = run(*job, 6);
    ASSERT_FALSE(stopped);
    EXPECT_EQ(stopped.error().code, ErrorCode::kCancelled);
    ASSERT_GT(job->counts().completed, 0) << "one request at a time takes fewer passes than that";
    ASSERT_GT(job->counts().left(), 0);
  }
  const auto job = open({.model = "second"});
  EXPECT_TRUE(job->resumed());
  EXPECT_TRUE(job->is_checked()) << "lines are checked once";
  EXPECT_GT(job->counts().completed, 0);
  EXPECT_EQ(job->counts().lines, 3);
  ASSERT_EQ(check(*job), "");
  ASSERT_TRUE(run(*job));
  ASSERT_TRUE(job->write_out({}));
  EXPECT_THAT(ids_in(files_.output), ElementsAre("a", "b", "c"));
}

TEST_F(JobTest, AJobThatIsCheckedAndNotComputedIsNotCheckedAgain) {
  ASSERT_EQ(check(*open()), "");
  const auto job = open();
  EXPECT_TRUE(job->resumed());
  EXPECT_TRUE(job->is_checked());
  EXPECT_EQ(job->counts().left(), 3);
}

TEST_F(JobTest, AJobThatWasCutOffWhileItWasCheckedIsCheckedAnew) {
  EXPECT_TRUE(open()->check(-1h).has_value()) << "one line is checked in any case";
  const auto job = open();
  EXPECT_FALSE(job->resumed());
  ASSERT_EQ(check(*job), "");
  EXPECT_EQ(job->counts().lines, 3);
}

TEST_F(JobTest, OtherSettingsAreToldAndNothingIsComputedWithThem) {
  ASSERT_EQ(check(*open({.model = "m", .answers = {{"-c", "512", ""}}})), "");
  const auto job = open({.model = "m", .answers = {{"-c", "256", ""}}});
  EXPECT_EQ(job->difference(), "-c was 512 and is now 256");
  ASSERT_TRUE(job->begin_anew());
  EXPECT_EQ(job->difference(), "");
  EXPECT_FALSE(job->resumed());
  EXPECT_FALSE(job->is_checked());
}

TEST_F(JobTest, ALineThatCannotBeReadFailsAlone) {
  write({completion("a"), "{ no json", completion("c"), "\xff"});
  const auto job = open();
  ASSERT_EQ(check(*job), "");
  EXPECT_EQ(job->unreadable_count(), 2U);
  ASSERT_EQ(job->unreadable_lines().size(), 2U);
  EXPECT_EQ(job->unreadable_lines()[0].number, 2);
  EXPECT_EQ(job->counts().failed, 2);
  ASSERT_TRUE(run(*job));
  ASSERT_TRUE(job->write_out({}));
  EXPECT_THAT(ids_in(files_.output), ElementsAre("a", "c"));
  EXPECT_THAT(ids_in(files_.errors), ElementsAre("none", "none"));
}

TEST_F(JobTest, WrongLinesAreNamedTenAtMostAndTheJournalIsRemoved) {
  std::vector<std::string> lines(12, completion("same"));
  lines[0] = R"({"custom_id": "x", "url": "/v1/nothing", "body": {}})";
  write(lines);
  const auto job = open();
  const std::string message = check(*job);
  EXPECT_THAT(message, HasSubstr("url"));
  EXPECT_THAT(message, HasSubstr("'same' appears twice"));
  ASSERT_EQ(job->wrong_lines().size(), 10U);
  EXPECT_EQ(job->wrong_lines()[0].number, 1);
  EXPECT_EQ(job->wrong_lines()[1].number, 3) << "line 2 is the first with this id";
  EXPECT_FALSE(has_journal());
}

TEST_F(JobTest, EachFieldOfALineIsChecked) {
  const auto wrong = [&](const json& line) {
    write({line.dump()});
    const auto job = open({.model = "m", .unreadable_lines_fail_alone = false});
    EXPECT_NE(check(*job), "");
    return job->wrong_lines().at(0).what;
  };
  const json good = json::parse(completion("a"));
  const auto with = [&](const char* name, const json& value) {
    json out = good;
    out[name] = value;
    return out;
  };
  EXPECT_THAT(wrong("text"), HasSubstr("JSON object"));
  EXPECT_THAT(wrong(with("custom_id", nullptr)), StartsWith("custom_id: "));
  EXPECT_THAT(wrong(with("custom_id", "")), StartsWith("custom_id: "));
  EXPECT_THAT(wrong(with("custom_id", std::string(513, 'x'))), StartsWith("custom_id: "));
  EXPECT_THAT(wrong(with("method", "GET")), StartsWith("method: "));
  EXPECT_THAT(wrong(with("url", nullptr)), StartsWith("url: "));
  EXPECT_THAT(wrong(with("body", nullptr)), StartsWith("body: "));
  EXPECT_THAT(wrong(json::parse(completion("a", {{"temperature", -1}}))), StartsWith("body.temperature: "));
}

TEST_F(JobTest, AnEndpointAndANumberOfLinesCanBeAllBounds) {
  const auto other = open();
  other->allow_only(openai::Endpoint::kChat);
  EXPECT_THAT(check(*other), HasSubstr("url"));
  const auto many = open();
  many->allow_at_most(2);
  EXPECT_THAT(check(*many), HasSubstr("2 requests"));
  const auto enough = open();
  enough->allow_at_most(3);
  EXPECT_EQ(check(*enough), "");
}

TEST_F(JobTest, AShardHasItsOwnLines) {
  const auto job = open({.model = "m", .shard = {1, 2}});
  ASSERT_EQ(check(*job), "");
  EXPECT_EQ(job->counts().lines, 1);
  EXPECT_EQ(job->store().next(0).value()->custom_id, "b");
}

TEST_F(JobTest, AGivenUpJobHasTheErrorForEachLineThatWasLeft) {
  const auto job = open();
  ASSERT_EQ(check(*job), "");
  ASSERT_FALSE(run(*job, 0));
  schedule::Scheduler scheduler(*engine_, {});
  EXPECT_TRUE(job->give_up(scheduler, "batch_expired", "it took too long").value());
  ASSERT_TRUE(job->write_out({}));
  EXPECT_THAT(ids_in(files_.output), IsEmpty());
  EXPECT_THAT(ids_in(files_.errors), ElementsAre("a", "b", "c"));
}

TEST_F(JobTest, AFileThatWouldBeOverwrittenIsRefusedAndNoJournalIsMade) {
  std::ofstream(files_.output) << "mine";
  const auto job = try_open();
  ASSERT_FALSE(job);
  EXPECT_EQ(job.error().code, ErrorCode::kInvalidArgument);
  EXPECT_FALSE(has_journal());
}

TEST_F(JobTest, AMissingInputIsNamedAndNoJournalIsMade) {
  fs::remove(files_.input);
  const auto job = try_open();
  ASSERT_FALSE(job);
  EXPECT_EQ(job.error().code, ErrorCode::kNotFound);
  EXPECT_FALSE(has_journal());
}

TEST(Patiently, OnlyAFullDiskIsWaitedForAndToldOnce) {
  int told = 0;
  const Job::Watch watch{.stopped = [] { return true; }, .on_pause = [&](const Error&) { ++told; }};
  EXPECT_EQ(patiently(watch, [] { return fail(ErrorCode::kIo, "x"); }).error().code, ErrorCode::kIo);
  EXPECT_EQ(told, 0);
  EXPECT_EQ(patiently(watch, [] { return fail(ErrorCode::kNoSpace, "x"); }).error().code,
            ErrorCode::kNoSpace);
  EXPECT_EQ(told, 1);
  EXPECT_TRUE(patiently(watch, [] { return Status{}; }));
}

}  // namespace
}  // namespace brimful::batch
