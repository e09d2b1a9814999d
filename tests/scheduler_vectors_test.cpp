// Compares embeddings from the scheduler with those of plain llama.cpp.

#include <cmath>

#include "scheduler_requests.h"

namespace brimful::tests {
namespace {

using schedule::Priority;
using schedule::Request;

void expect_alike(const std::vector<float>& a, const std::vector<float>& b) {
  ASSERT_EQ(a.size(), b.size());
  double product = 0;
  double of_a = 0;
  double of_b = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    product += static_cast<double>(a[i]) * b[i];
    of_a += static_cast<double>(a[i]) * a[i];
    of_b += static_cast<double>(b[i]) * b[i];
  }
  EXPECT_GT(product / std::sqrt(of_a * of_b), 1 - 1e-9);
}

class Vectors : public testing::Test {
 protected:
  /// Returns the embeddings of all prompts by plain llama.cpp, computed one after the other.
  static std::vector<std::vector<float>> plain(const std::filesystem::path& path,
                                               const std::vector<std::vector<llama_token>>& prompts) {
    const PlainModel model(path, {.context = 512,
                                  .threads = 1,
                                  .flash_attention = LLAMA_FLASH_ATTN_TYPE_DISABLED,
                                  .cache_type = GGML_TYPE_F32,
                                  .outputs = 512,
                                  .embeddings = true});
    std::vector<std::vector<float>> out;
    for (std::vector<llama_token> prompt : prompts) {
      llama_memory_clear(llama_get_memory(model.context()), true);
      const auto count = static_cast<std::int32_t>(prompt.size());
      EXPECT_EQ(llama_decode(model.context(), llama_batch_get_one(prompt.data(), count)), 0);
      const bool pooled = llama_pooling_type(model.context()) != LLAMA_POOLING_TYPE_NONE;
      const float* const vector = pooled ? llama_get_embeddings_seq(model.context(), 0)
                                         : llama_get_embeddings_ith(model.context(), count - 1);
      out.emplace_back(vector, vector + llama_model_n_embd_out(llama_get_model(model.context())));
    }
    return out;
  }

  static std::vector<std::vector<llama_token>> prompts(std::int32_t vocabulary) {
    std::vector<std::vector<llama_token>> out;
    for (const Wanted& wanted : some_requests(12, vocabulary)) out.push_back(wanted.prompt);
    return out;
  }

  static void ask(Requests& requests, const std::vector<std::vector<llama_token>>& prompts) {
    for (const auto& prompt : prompts)
      requests.submit(prompt, 0, Priority::kBatch, [](Request& request) { request.embed = true; });
  }
};

TEST_F(Vectors, AreThoseOfPlainLlamaCppBesideTextsThatAreWritten) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "llama-tiny", .type = "F32"});
  const auto wanted = prompts(vocabulary_of(path));
  const auto expected = plain(path, wanted);
  std::vector<std::vector<std::vector<float>>> seen;
  for (const std::optional<Bytes> for_weights :
       {std::optional<Bytes>(), std::optional(Bytes{1400} * kKiB.value)}) {
    Requests requests(path, {.for_weights = for_weights});
    ask(requests, wanted);
    requests.submit(wanted.front(), 20);
    requests.run();
    EXPECT_EQ(requests.tokens(wanted.size()).size(), 20U);
    auto& vectors = seen.emplace_back();
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      ASSERT_EQ(requests.answer(i).vectors.size(), 1U);
      expect_alike(requests.answer(i).vectors.front(), expected[i]);
      vectors.push_back(requests.answer(i).vectors.front());
    }
    EXPECT_GT(requests.scheduler().statistics().shared_tokens, 0U);
  }
  EXPECT_EQ(seen.front(), seen.back()) << "the same bits, wherever the weights are";
}

TEST_F(Vectors, OfAModelThatOnlyEmbedsArePooledAsItsFileSays) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "bert", .type = "F32"});
  const auto wanted = prompts(vocabulary_of(path));
  Requests requests(path, {.context = 256, .sequences = 5, .ubatch = 256});
  ask(requests, wanted);
  requests.run();
  const auto expected = plain(path, wanted);
  for (std::size_t i = 0; i < wanted.size(); ++i) expect_alike(requests.answer(i).vectors.at(0), expected[i]);
  EXPECT_GT(requests.scheduler().statistics().most_sequences, 1U);
  EXPECT_LT(requests.scheduler().statistics().passes, wanted.size());
  EXPECT_EQ(requests.scheduler().submit({.prompt = {1, 2}}, {}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(requests.scheduler()
                .submit({.prompt = std::vector<llama_token>(257, 1), .embed = true}, {})
                .error()
                .code,
            ErrorCode::kInvalidArgument);
}

TEST_F(Vectors, OfRecurrentModelsAreRefused) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "mamba2", .type = "F32"});
  const auto engine = engine::Engine::open({.model = path, .ram = kGiB});
  ASSERT_TRUE(engine) << engine.error().message;
  EXPECT_EQ((*engine)->can_embed().error().code, ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace brimful::tests
