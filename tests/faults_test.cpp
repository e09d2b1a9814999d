// Whatever the disk does, the tokens are right or there is an error. There are never wrong tokens, a crash
// or a hang.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <random>
#include <thread>

#include "synth/synth.h"
#include "temporary_directory.h"
#include "tiered_model.h"

namespace brimful::tests {
namespace {

constexpr int kSteps = 4;
constexpr std::size_t kPrompt = 40;

/// The faults of a disk, for all readers that share it.
struct Disk {
  // The number of completions until one fails; negative: none fails.
  std::atomic<std::int64_t> weights_fail_in{-1};
  std::atomic<std::int64_t> rows_fail_in{-1};
  std::atomic<bool> broken{false};  // Whether every read fails.
  std::atomic<int> slow_us{0};      // The longest delay of a completion.
  std::atomic<std::int64_t> weight_reads{0};
  std::uint64_t embedding_begin = 0;  // The position of the embedding in the file, in whole blocks.
  std::uint64_t embedding_end = 0;
};

class FaultyReader final : public tier::DiskReader {
 public:
  FaultyReader(std::unique_ptr<DiskReader> inner, Disk& disk) : inner_(std::move(inner)), disk_(disk) {}

  void submit(const tier::BlockRead& read) override {
    // Only the reader of embedding rows reads inside the embedding.
    rows_ |= read.offset >= disk_.embedding_begin && read.offset + read.size <= disk_.embedding_end;
    inner_->submit(read);
  }
  tier::BlockDone wait() override {
    tier::BlockDone done = inner_->wait();
    if (!rows_) ++disk_.weight_reads;
    if (const int slow = disk_.slow_us; slow > 0) ::usleep(static_cast<unsigned>(random_() % slow));
    const bool now = (rows_ ? disk_.rows_fail_in : disk_.weights_fail_in).fetch_sub(1) == 0;
    if (disk_.broken || now) done.status = fail(ErrorCode::kIo, "injected: Input/output error");
    return done;
  }
  [[nodiscard]] std::size_t in_flight() const override { return inner_->in_flight(); }
  [[nodiscard]] std::size_t depth() const override { return inner_->depth(); }
  [[nodiscard]] std::string_view name() const override { return "faulty"; }

 private:
  std::unique_ptr<DiskReader> inner_;
  Disk& disk_;
  bool rows_ = false;
  std::minstd_rand random_{1};
};

class Faults : public testing::Test {
 protected:
  void SetUp() override {
    const auto design = synth::design_synth({.like = like_, .type = "Q8_0"});
    ASSERT_TRUE(design);
    const auto written = synth::write_synth(*design, directory_.path() / "model.gguf", true, [](Bytes) {});
    ASSERT_TRUE(written);
    path_ = written->front();
    const auto profile = model::read_model(path_);
    ASSERT_TRUE(profile);
    const model::TensorInfo* const embedding = profile->find("token_embd.weight");
    ASSERT_NE(embedding, nullptr);
    disk_.embedding_begin = align_up(embedding->offset, tier::DiskFiles::kBlock);
    disk_.embedding_end = align_down(embedding->offset + embedding->bytes.value, tier::DiskFiles::kBlock);
    const PlainModel plain(path_, settings_);
    ASSERT_NE(plain.context(), nullptr);
    prompt_ = some_tokens(plain.context(), kPrompt);
    expected_ = trace(plain.context(), prompt_, kSteps);
    ASSERT_EQ(expected_.tokens.size(), kSteps + 1U);
  }

  Result<std::unique_ptr<TieredModel>> load() {
    return TieredModel::load(
        path_, settings_, percent_of_weights(25),
        [this](const tier::DiskFiles& files, std::size_t depth) -> Result<std::unique_ptr<tier::DiskReader>> {
          BRIMFUL_TRY(auto inner, tier::make_reader(files, tier::ReaderKind::kAuto, depth));
          return std::make_unique<FaultyReader>(std::move(inner), disk_);
        });
  }
  std::unique_ptr<TieredModel> load_or_die() {
    auto model = load();
    EXPECT_TRUE(model) << model.error().message;
    if (!model) return nullptr;
    const plan::Placement& placement = (*model)->placement();
    EXPECT_TRUE(placement.streamed_per_pass.value > 0 || !placement.groups.empty());
    return std::move(*model);
  }

  Trace run(const TieredModel& model) const { return trace(model.context(), prompt_, kSteps); }

  void expect_right(const TieredModel& model) const {
    EXPECT_TRUE(run(model) == expected_) << "not the oracle's logits";
    EXPECT_FALSE(model.device().take_error());
  }
  /// Expects that decoding fails with kIo, and that the message says so.
  void expect_io_error(const TieredModel& model, const std::string& text) const {
    EXPECT_TRUE(run(model).logits.empty()) << "decoding went on";
    const auto error = model.device().take_error();
    ASSERT_TRUE(error);
    EXPECT_EQ(error->code, ErrorCode::kIo);
    EXPECT_NE(error->message.find(text), std::string::npos) << error->message;
    EXPECT_FALSE(model.device().take_error()) << "an error is taken once";
  }

  /// Lets random reads fail, and expects the right tokens or an error.
  void expect_right_or_error() {
    const auto model = load_or_die();
    ASSERT_NE(model, nullptr);
    std::mt19937 random(5);
    int failed = 0;
    for (int i = 0; i < 30; ++i) {
      disk_.weights_fail_in = static_cast<std::int64_t>(random() % 200);
      disk_.rows_fail_in = static_cast<std::int64_t>(random() % 200);
      const Trace got = run(*model);
      if (got.logits.empty()) {
        ++failed;
        const auto error = model->device().take_error();
        ASSERT_TRUE(error);
        EXPECT_EQ(error->code, ErrorCode::kIo);
      } else {
        ASSERT_TRUE(got == expected_) << "wrong tokens";
      }
    }
    EXPECT_GT(failed, 0);
  }

  const char* like_ = "llama-tiny";
  TemporaryDirectory directory_;
  std::filesystem::path path_;
  const Settings settings_{.context = 256, .ubatch = 64};
  std::vector<llama_token> prompt_;
  Trace expected_;
  Disk disk_;
};

TEST_F(Faults, AnErrorInMidPassFailsThatDecodeAndNoOther) {
  const auto model = load_or_die();
  ASSERT_NE(model, nullptr);
  const std::int64_t before = disk_.weight_reads;
  expect_right(*model);
  const std::int64_t all = disk_.weight_reads - before;
  ASSERT_GT(all, 200);
  // The faults lie between the prompt's pass and the pass of the last token. Reads ahead of them come first,
  // and a read ahead that failed is repeated.
  for (const std::int64_t at : {all / 10, all / 4, all / 2, all * 3 / 4}) {
    SCOPED_TRACE(testing::Message() << "read " << at << " of " << all);
    disk_.weights_fail_in = at;
    expect_io_error(*model, "injected");
    expect_right(*model);
  }
}

TEST_F(Faults, AnErrorWhileGatheringEmbeddingRows) {
  const auto model = load_or_die();
  ASSERT_NE(model, nullptr);
  // These are in the prompt, and in the decode after it.
  for (const std::int64_t at : {0U, 17U, 39U, 41U}) {
    SCOPED_TRACE(at);
    disk_.rows_fail_in = at;
    expect_io_error(*model, "injected");
    expect_right(*model);
  }
}

TEST_F(Faults, APersistentErrorFailsEveryDecodeUntilItPasses) {
  const auto model = load_or_die();
  ASSERT_NE(model, nullptr);
  disk_.broken = true;
  for (int i = 0; i < 3; ++i) expect_io_error(*model, "injected");
  disk_.broken = false;
  expect_right(*model);
}

TEST_F(Faults, AnErrorAtAnyReadGivesRightTokensOrAnError) { expect_right_or_error(); }

class ExpertFaults : public Faults {
 protected:
  void SetUp() override {
    like_ = "qwen3moe";
    Faults::SetUp();
  }
};

TEST_F(ExpertFaults, AnErrorAtAnyReadGivesRightTokensOrAnError) { expect_right_or_error(); }

TEST_F(Faults, ASlowDiskOnlyCostsTime) {
  const auto model = load_or_die();
  ASSERT_NE(model, nullptr);
  disk_.slow_us = 4000;
  expect_right(*model);
  EXPECT_GT(model->device().statistics().stalled, std::chrono::milliseconds(1));
}

TEST_F(Faults, AnErrorWhileReadingTheResidentWeightsRefusesTheModel) {
  for (const std::int64_t at : {0, 1}) {
    disk_.weights_fail_in = at;
    const auto model = load();
    ASSERT_FALSE(model);
    EXPECT_EQ(model.error().code, ErrorCode::kIo);
    EXPECT_EQ(model.error().message, "injected: Input/output error");
  }
  disk_.weights_fail_in = -1;
  const auto model = load_or_die();
  ASSERT_NE(model, nullptr);
  expect_right(*model);
}

TEST_F(Faults, AFileWrittenToIsAnErrorForGood) {
  const auto model = load_or_die();
  ASSERT_NE(model, nullptr);
  expect_right(*model);
  // This is one tick of the file system's clock.
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-5000, std::ios::end);
    file << std::string(4000, '\x11');
  }
  expect_io_error(*model, path_.string());
  expect_io_error(*model, path_.string());
}

TEST_F(Faults, AFileWrittenToDuringAPassIsAnError) {
  const auto model = load_or_die();
  ASSERT_NE(model, nullptr);
  disk_.slow_us = 3000;
  std::thread writer([this] {
    std::this_thread::sleep_for(std::chrono::milliseconds(60));
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(std::filesystem::file_size(path_) / 2));
    file << std::string(20'000, '\x22');
  });
  const Trace got = run(*model);
  writer.join();
  // The trace may have ended before the write; the one after it cannot.
  if (!got.logits.empty()) {
    EXPECT_TRUE(got == expected_);
    EXPECT_TRUE(run(*model).logits.empty());
  }
  const auto error = model->device().take_error();
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code, ErrorCode::kIo);
}

TEST_F(Faults, AFileReplacedByAnotherGoesOnAsItWas) {
  const auto model = load_or_die();
  ASSERT_NE(model, nullptr);
  expect_right(*model);
  const auto other = directory_.path() / "other";
  std::ofstream(other) << std::string(std::filesystem::file_size(path_), 'x');
  std::filesystem::rename(other, path_);
  expect_right(*model);
  std::filesystem::remove(path_);
  expect_right(*model);
}

TEST_F(Faults, ATruncatedFileIsAnErrorThatNamesItAndComesSoon) {
  const auto model = load_or_die();
  ASSERT_NE(model, nullptr);
  expect_right(*model);
  std::filesystem::resize_file(path_, std::filesystem::file_size(path_) / 2);
  const auto begin = std::chrono::steady_clock::now();
  expect_io_error(*model, path_.string());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30));
}

TEST_F(Faults, ACancelledPassLeavesNothingBehind) {
  const auto model = load_or_die();
  ASSERT_NE(model, nullptr);
  for (const int at : {1, 20, 60, 150, 300}) {
    SCOPED_TRACE(testing::Message() << "cancelled at call " << at);
    std::atomic<int> calls_left = at;
    llama_set_abort_callback(
        model->context(), [](void* left) { return --*static_cast<std::atomic<int>*>(left) <= 0; },
        &calls_left);
    EXPECT_TRUE(run(*model).logits.empty());
    const auto error = model->device().take_error();
    ASSERT_TRUE(error);
    EXPECT_EQ(error->code, ErrorCode::kCancelled);
    llama_set_abort_callback(model->context(), nullptr, nullptr);
    expect_right(*model);
  }
}

}  // namespace
}  // namespace brimful::tests
