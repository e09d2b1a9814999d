#pragma once

// A scheduler with an engine of its own, requests for it, and comparisons of its answers with plain
// llama.cpp.

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

/// A scheduler on an engine with a shared context, with its requests and their answers. A request is named
/// by its index, which is the number of requests that were submitted before it.
class Requests {
 public:
  Requests(const std::filesystem::path& path, Shape shape);

  /// Submits a request that decodes greedily, and writes `limit` tokens. `change` can change the request
  /// before.
  schedule::Scheduler::Id submit(std::vector<llama_token> prompt, int limit,
                                 schedule::Priority priority = schedule::Priority::kBatch,
                                 const std::function<void(schedule::Request&)>& change = {});
  /// Computes until all requests have ended.
  void run();
  /// From now on, one of `count` reads of the disk fails; 0: none fails.
  void fail_one_read_in(int count) { fails_one_in_ = count; }
  [[nodiscard]] const Result<schedule::Answer>& result(std::size_t index) const {
    return *answers_.at(index);
  }
  [[nodiscard]] const schedule::Answer& answer(std::size_t index) const { return *result(index); }
  [[nodiscard]] const std::vector<llama_token>& tokens(std::size_t index) const {
    return answer(index).token_ids;
  }
  /// The indices of the requests in the order in which they ended.
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

/// Makes prompts of different lengths. Every third one begins with the same tokens.
std::vector<Wanted> some_requests(std::size_t count, std::int32_t vocabulary);

/// Opens the model in plain llama.cpp, with a context like that of Requests.
PlainModel plain_beside(const std::filesystem::path& path);

/// Compares tokens with the choices of plain llama.cpp. Returns by how much, at most, another token had a
/// higher logit than the written one, as a share of the range of logits; 0 when each token is the first
/// choice. Kernels sum in another order when they compute several columns, so the result may be a little
/// above 0. It can be told from an error only when nothing is rounded to 16 bits. The result is infinite when
/// decoding fails.
float worst_choice(llama_context* plain, const std::vector<llama_token>& prompt,
                   const std::vector<llama_token>& written);
constexpr float kRounding = 1e-4F;  // The difference by rounding, as a share of the range of logits.
/// Expects that each request wrote what it would have written alone.
void expect_right(const std::filesystem::path& path, const std::vector<Wanted>& wanted,
                  const Requests& requests);

/// A fixture for tests with the trained model of the demo. They are skipped when it is missing.
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
