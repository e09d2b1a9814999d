// `brimful run --lora` and `--control-vector` give the tokens of plain llama.cpp, or one clear line.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "adapter_files.h"
#include "program_run.h"
#include "synth_model.h"
#include "tiered_model.h"

namespace brimful::tests {
namespace {

class AdapterFlags : public testing::Test {
 protected:
  void SetUp() override {
    model_ = synth_model(directory_, {.like = "mixtral"});
    ASSERT_FALSE(model_.empty());
  }

  ProgramRun run(const std::vector<std::string>& more) {
    std::vector<std::string> all{"run", "-m", model_,    "--raw", "-p",     "Once upon a time",
                                 "-n",  "12", "-c",      "256",   "--temp", "0",
                                 "-t",  "1",  "--stats", stats_,  "--ram",  ram_};
    all.insert(all.end(), more.begin(), more.end());
    return run_brimful(all);
  }

  nlohmann::json tokens(const std::vector<std::string>& more) {
    const ProgramRun done = run(more);
    EXPECT_EQ(done.exit_code, 0) << done.err;
    std::ifstream in(stats_);
    return nlohmann::json::parse(in, nullptr, false)["token_ids"];
  }

  /// Writes the file and expects `flag` to refuse it in one line with this text.
  void expect_refused(const AdapterFile& file, const std::string& text, const std::string& flag = "--lora") {
    SCOPED_TRACE(text);
    file.write(adapter_, 1);
    expect_refused(text, flag);
  }
  void expect_refused(const std::string& text, const std::string& flag) {
    const ProgramRun refused = run({flag, adapter_});
    EXPECT_THAT(refused.exit_code, testing::AnyOf(1, 3));  // 3 means that it does not fit.
    EXPECT_TRUE(refused.err.starts_with("brimful: " + adapter_)) << refused.err;
    EXPECT_EQ(std::ranges::count(refused.err, '\n'), 1) << refused.err;
    EXPECT_NE(refused.err.find(text), std::string::npos) << refused.err;
  }

  const TemporaryDirectory directory_;
  const std::string adapter_ = directory_.path() / "adapter.gguf";
  const std::string stats_ = directory_.path() / "stats.json";
  std::string ram_ = "1GiB";
  std::filesystem::path model_;
};

/// Returns the tokens that plain llama.cpp writes after the same prompt. `adapt` changes its context before.
template <typename Adapt>
std::vector<llama_token> plain_tokens(const std::filesystem::path& path, const Adapt& adapt) {
  const PlainModel plain(path, {.context = 256, .threads = 1});
  adapt(const_cast<llama_model*>(llama_get_model(plain.context())), plain.context());
  const std::string text = "Once upon a time";
  std::vector<llama_token> prompt(64);
  prompt.resize(static_cast<std::size_t>(
      llama_tokenize(llama_model_get_vocab(llama_get_model(plain.context())), text.data(),
                     static_cast<int>(text.size()), prompt.data(), 64, true, true)));
  return trace(plain.context(), prompt, 11).tokens;
}

TEST_F(AdapterFlags, LoraGivesPlainLlamaCppsTokens) {
  lora_for(model_).write(adapter_, 1);
  const auto expected = plain_tokens(model_, [&](llama_model* model, llama_context* context) {
    llama_adapter_lora* adapter = llama_adapter_lora_init(model, adapter_.c_str());
    float scale = -2.5F;
    ASSERT_EQ(llama_set_adapters_lora(context, &adapter, 1, &scale), 0);
  });
  const auto adapted = tokens({"--lora", adapter_ + ":-2.5"});
  EXPECT_EQ(adapted, nlohmann::json(expected));
  EXPECT_NE(adapted, tokens({}));
}

TEST_F(AdapterFlags, ControlVectorGivesPlainLlamaCppsTokens) {
  AdapterFile file = control_vector_for(model_);
  file.write(adapter_, 1);
  std::ifstream in(adapter_, std::ios::binary);
  std::vector<float> directions(3 * 256);
  in.seekg(-2 * 256 * static_cast<int>(sizeof(float)), std::ios::end);
  in.read(reinterpret_cast<char*>(directions.data() + 256), 2 * 256 * sizeof(float));
  ASSERT_TRUE(in);
  for (float& number : directions) number *= 30.0F;
  const auto expected = plain_tokens(model_, [&](llama_model*, llama_context* context) {
    ASSERT_EQ(llama_set_adapter_cvec(context, directions.data(), directions.size(), 256, 1, 4), 0);
  });
  const auto steered = tokens({"--control-vector", adapter_ + ":30"});
  EXPECT_EQ(steered, nlohmann::json(expected));
  EXPECT_NE(steered, tokens({}));
}

TEST_F(AdapterFlags, RefusesWhatIsNoLoraAdapterOfTheModel) {
  const AdapterFile good = lora_for(model_);
  expect_refused(control_vector_for(model_), "is not a LoRA adapter");
  AdapterFile bad = good;
  bad.keys[1].second = "gemma3";
  expect_refused(bad, "adapts a 'gemma3' model");
  bad = good;
  bad.keys.emplace_back("adapter.lora.alpha", "16");
  expect_refused(bad, "'adapter.lora.alpha'");
  bad = good;
  bad.keys.emplace_back("adapter.alora.invocation_tokens", "");
  expect_refused(bad, "aLoRA");
  bad = good;
  bad.tensors.pop_back();
  expect_refused(bad, "only one of the two tensors that adapt 'token_embd.weight'");
  bad = good;
  bad.tensors.push_back({"blk.0.attn_q.weight.lora_c", {256, 4, 1}});
  expect_refused(bad, "neither a '.lora_a' nor a '.lora_b'");
  bad = good;
  bad.tensors.push_back({"blk.9.attn_q.weight.lora_a", {256, 4, 1}});
  bad.tensors.push_back({"blk.9.attn_q.weight.lora_b", {4, 256, 1}});
  expect_refused(bad, "'blk.9.attn_q.weight', which");
  bad = good;
  bad.tensors = {};
  expect_refused(bad, "holds no LoRA tensors");
  for (const std::size_t dimension : {0U, 1U, 2U}) {
    for (const std::size_t tensor : {std::size_t{0}, std::size_t{1}, good.tensors.size() - 1}) {
      bad = good;
      bad.tensors[tensor].shape[dimension] += 4;
      expect_refused(bad, "do not fit that weight");
    }
  }
  bad = good;
  bad.tensors[0].type = GGML_TYPE_I32;
  expect_refused(bad, "has type i32");
}

TEST_F(AdapterFlags, RefusesALoraOfATiedEmbedding) {
  model_ = synth_model(directory_, {.like = "gemma3"});
  expect_refused(lora_for(model_), "also the output matrix");
}

TEST_F(AdapterFlags, RefusesALoraThatDoesNotFitTheBudget) {
  ram_ = "16MiB";
  AdapterFile large = lora_for(model_);
  large.tensors[0].shape[1] = large.tensors[1].shape[0] = 16384;
  expect_refused(large, "loading this adapter takes");
}

TEST_F(AdapterFlags, RefusesWhatIsNoControlVectorOfTheModel) {
  const std::string flag = "--control-vector";
  const AdapterFile good = control_vector_for(model_);
  expect_refused(lora_for(model_), "is not a control vector", flag);
  AdapterFile bad = good;
  bad.tensors = {};
  expect_refused(bad, "it is empty", flag);
  for (const char* name : {"direction.", "direction.x", "direction.1x", "direction.-1", "steering.1"}) {
    bad = good;
    bad.tensors[0].name = name;
    expect_refused(bad, "not an F32 vector called 'direction.N'", flag);
  }
  for (const char* name : {"direction.0", "direction.4", "direction.4294967295"}) {
    bad = good;
    bad.tensors[0].name = name;
    expect_refused(bad, "for each of layers 1 to 3", flag);
  }
  bad = good;
  bad.tensors[0].shape[0] = 255;
  expect_refused(bad, "has 255 numbers", flag);
  bad = good;
  bad.tensors[0].shape[1] = 2;
  expect_refused(bad, "not an F32 vector", flag);
  bad = good;
  bad.tensors[0].type = GGML_TYPE_F16;
  expect_refused(bad, "not an F32 vector", flag);
}

TEST_F(AdapterFlags, RefusesFilesThatAreNotThereOrCut) {
  for (const char* flag : {"--lora", "--control-vector"}) {
    std::filesystem::remove(adapter_);
    expect_refused("there is no such file", flag);
    const AdapterFile file = std::string(flag) == "--lora" ? lora_for(model_) : control_vector_for(model_);
    file.write(adapter_, 1);
    std::filesystem::resize_file(adapter_, std::filesystem::file_size(adapter_) - 64);
    expect_refused("", flag);
  }
  const ProgramRun refused = run({"--lora", adapter_ + ":inf"});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_NE(refused.err.find("the scale must be a number"), std::string::npos) << refused.err;
}

}  // namespace
}  // namespace brimful::tests
