#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <llama.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "synth/synth.h"

namespace brimful::synth {
namespace {

/// Counts how often each expert was chosen, by layer.
using Choices = std::map<int, std::vector<std::size_t>>;

constexpr std::string_view kChosen = "ffn_moe_topk-";

bool count_choices(ggml_tensor* tensor, bool ask, void* data) {
  const std::string_view name = tensor->name;
  if (!name.starts_with(kChosen)) return false;
  if (ask) return true;
  auto& choices = *static_cast<Choices*>(data);
  std::vector<std::size_t>& counts = choices[std::atoi(name.substr(kChosen.size()).data())];
  std::vector<std::int32_t> chosen(static_cast<std::size_t>(tensor->ne[0]));  // The experts of one token.
  ggml_backend_tensor_get(tensor, chosen.data(), 0, chosen.size() * sizeof(chosen[0]));
  for (const std::int32_t expert : chosen) {
    counts.resize(std::max(counts.size(), static_cast<std::size_t>(expert) + 1));
    ++counts[static_cast<std::size_t>(expert)];
  }
  return true;
}

struct Generated {
  Choices choices;
  std::set<llama_token> tokens;
};

/// Generates tokens at temperature 1, one after another.
Generated generate(const std::filesystem::path& path, int count) {
  Generated out;
  llama_model_params model_params = llama_model_default_params();
  model_params.n_gpu_layers = 0;
  const std::unique_ptr<llama_model, decltype(&llama_model_free)> model(
      llama_model_load_from_file(path.c_str(), model_params), llama_model_free);
  if (!model) return out;
  llama_context_params params = llama_context_default_params();
  params.n_ctx = static_cast<std::uint32_t>(count) + 1;
  params.n_threads = params.n_threads_batch = 1;
  params.cb_eval = count_choices;
  params.cb_eval_user_data = &out.choices;
  const std::unique_ptr<llama_context, decltype(&llama_free)> context(
      llama_init_from_model(model.get(), params), llama_free);
  if (!context) return out;
  const std::unique_ptr<llama_sampler, decltype(&llama_sampler_free)> sampler(llama_sampler_init_dist(7),
                                                                              llama_sampler_free);
  llama_token token = 1;
  for (int i = 0; i < count; ++i) {
    if (llama_decode(context.get(), llama_batch_get_one(&token, 1)) != 0) return out;
    token = llama_sampler_sample(sampler.get(), context.get(), -1);
    out.tokens.insert(token);
  }
  return out;
}

/// Returns the share of the choices that go to the most frequent quarter of a layer's experts.
double hottest_quarter(std::vector<std::size_t> counts, std::size_t experts) {
  counts.resize(experts);
  std::ranges::sort(counts, std::greater());
  const auto quarter = counts.begin() + static_cast<std::ptrdiff_t>(experts / 4);
  const auto all = std::accumulate(counts.begin(), counts.end(), std::size_t{0});
  return static_cast<double>(std::accumulate(counts.begin(), quarter, std::size_t{0})) /
         static_cast<double>(all);
}

std::size_t hottest(const std::vector<std::size_t>& counts) {
  return static_cast<std::size_t>(std::ranges::max_element(counts) - counts.begin());
}

class SynthRouterTest : public testing::Test {
 protected:
  void SetUp() override {
    llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
    std::string name = testing::TempDir() + "brimful-router-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  Generated generate_with(const std::string& like, const std::string& router) {
    SynthOptions options;
    options.like = like;
    options.router = router;
    const auto design = design_synth(options);
    if (!design) return {};
    const auto paths = write_synth(*design, folder_ / "model.gguf", true, nullptr);
    return paths ? generate(paths->front(), 600) : Generated{};
  }

  std::filesystem::path folder_;
};

TEST_F(SynthRouterTest, UniformRouterTakesAllExpertsAboutAsOften) {
  const Generated generated = generate_with("qwen3moe", "uniform");
  EXPECT_GT(generated.tokens.size(), 200U);
  ASSERT_EQ(generated.choices.size(), 3U);
  for (const auto& [layer, counts] : generated.choices) {
    EXPECT_LT(hottest_quarter(counts, 32), 0.4) << "layer " << layer;
    EXPECT_GT(*std::ranges::min_element(counts), 0U) << "layer " << layer;
    EXPECT_EQ(counts.size(), 32U) << "layer " << layer;
  }
}

TEST_F(SynthRouterTest, SkewedRouterMostlyTakesAFewExpertsOthersInEachLayer) {
  const Generated generated = generate_with("qwen3moe", "skewed");
  EXPECT_GT(generated.tokens.size(), 200U);
  ASSERT_EQ(generated.choices.size(), 3U);
  std::set<std::size_t> favourites;
  for (const auto& [layer, counts] : generated.choices) {
    EXPECT_GT(hottest_quarter(counts, 32), 0.6) << "layer " << layer;
    EXPECT_LT(hottest_quarter(counts, 32), 0.85) << "layer " << layer;
    favourites.insert(hottest(counts));
  }
  EXPECT_GT(favourites.size(), 1U);
}

TEST_F(SynthRouterTest, OnlyAModelWithExpertsCanHaveASkewedRouter) {
  SynthOptions options;
  options.like = "llama-tiny";
  options.router = "skewed";
  const auto dense = design_synth(options);
  ASSERT_FALSE(dense.has_value());
  EXPECT_THAT(dense.error().message, testing::HasSubstr("'llama-tiny' has no experts"));
  options.like = "mixtral";
  options.router = "zipf";
  const auto unknown = design_synth(options);
  ASSERT_FALSE(unknown.has_value());
  EXPECT_THAT(unknown.error().message, testing::HasSubstr("choose one of uniform, skewed"));
}

}  // namespace
}  // namespace brimful::synth
