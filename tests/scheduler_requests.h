#pragma once

// An scheduler with an engine of its own, requests for it, and what plain llama.cpp says of its answers.

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "schedule/scheduler.h"
#include "synth_model.h"
#include "tiered_model.h"

namespace brimful::tests {

struct Shape {
  std::uint32_t context = 1024;
  std::uint32_t sequences = 8;
  std::uint32_t ubatch = 64;
  std::optional<Bytes> for_weights = {};
  std::size_t most_running = SIZE_MAX;
};

/// An engine with a shared context, and what came out of it.
class Requests {
 public:
  Requests(const std::filesystem::path& path, Shape shape);

  /// Greedy, and to the limit. Its index is how many were submitted before.
  schedule::Scheduler::Id submit(std::vector<llama_token> prompt, int limit,
                                 schedule::Priority priority = schedule::Priority::kBatch,
                                 const std::function<void(schedule::Request&)>& change = {});
  void run();
  void fail_one_read_in(int count) { fails_one_in_ = count; }
  [[nodiscard]] const Result<schedule::Answer>& result(std::size_t index) const {
    return *answers_.at(index);
  }
  [[nodiscard]] const schedule::Answer& answer(std::size_t index) const { return *result(index); }
  [[nodiscard]] const std::vector<llama_token>& tokens(std::size_t index) const {
    return answer(index).token_ids;
  }
  [[nodiscard]] const std::vector<std::size_t>& order() const { return order_; }
  schedule::Scheduler& scheduler() { return *scheduler_; }

 private:
  std::atomic<int> fails_one_in_ = 0;
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<schedule::Scheduler> scheduler_;
  std::vector<std::optional<Result<schedule::Answer>>> answers_;
  std::vector<std::size_t> order_;
};

std::vector<llama_token> prompt_of(std::size_t length, std::uint32_t seed, std::int32_t vocabulary);
std::vector<llama_token> both(std::vector<llama_token> first, const std::vector<llama_token>& second);
std::int32_t vocabulary_of(const std::filesystem::path& path);

struct Wanted {
  std::vector<llama_token> prompt;
  int limit;
};

/// Of different lengths; every third one begins alike.
std::vector<Wanted> some_requests(std::size_t count, std::int32_t vocabulary);

/// Its context is like that of Requests.
PlainModel plain_beside(const std::filesystem::path& path);

/// By how much plain llama.cpp would rather have written another token, at most: 0 where each one is its own
/// first choice. Kernels sum in another order for several columns, so that it may be a little more: little
/// enough to be told from an error only where nothing is rounded to 16 bits.
float worst_choice(llama_context* plain, const std::vector<llama_token>& prompt,
                   const std::vector<llama_token>& written);
constexpr float kRounding = 1e-4F;  // of the range of logits

/// Each writes what it would have written alone.
void expect_right(const std::filesystem::path& path, const std::vector<Wanted>& wanted,
                  const Requests& requests);

/// With the trained model of the demo.
class BatchScheduler : public testing::Test {
 protected:
  void SetUp() override {
    if (path_.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
    vocabulary_ = vocabulary_of(path_);
  }

  const std::filesystem::path path_ = stories15m();
  std::int32_t vocabulary_ = 0;
};

}  // namespace brimful::tests
