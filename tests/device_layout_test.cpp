// The host's weights have ggml-cpu's own layout, also where they are sent to a device. What the host computes
// has the bits of that layout, what the device computes those of the file's, and the device gets the file's
// bytes.

#include <ggml-cpu.h>
#include <gtest/gtest.h>

#include <map>
#include <string_view>
#include <utility>

#include "model/model_profile.h"
#include "synth_model.h"
#include "test_device.h"
#include "tiered_model.h"

namespace brimful::tests {
namespace {

constexpr Settings kSettings{.context = 1024, .ubatch = 512, .threads = 1, .sequences = 12, .outputs = 12};
constexpr std::size_t kPrompts[] = {1, 9, 40, 600};
constexpr int kSteps = 3;
constexpr int kSequences = 12;
// Where TieredModel begins to send for a pass.
constexpr std::int64_t kMinBatch = 32;
constexpr std::int64_t kMinBatchOfExperts = 64;

/// How a model is divided.
struct Division {
  std::uint32_t layers = 0;
  unsigned percent = 100;
  Bytes ring = {};
  std::uint32_t slots = 0;
  bool send = false;
  int turning_threads = 1;
  bool pins = true;
};

ggml_backend_buffer_type_t repacked_type() {
  ggml_backend_dev_t const cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
  const auto extra_types =
      reinterpret_cast<ggml_backend_dev_get_extra_bufts_t>(ggml_backend_reg_get_proc_address(
          ggml_backend_dev_backend_reg(cpu), "ggml_backend_dev_get_extra_bufts"));
  for (ggml_backend_buffer_type_t* type = extra_types(cpu); type != nullptr && *type != nullptr; ++type) {
    if (std::string_view(ggml_backend_buft_name(*type)) == "CPU_REPACK") return *type;
  }
  return nullptr;
}

/// The oracle: plain llama.cpp, with exactly these weights in ggml-cpu's own layout.
class PartlyRepacked {
 public:
  PartlyRepacked(const std::filesystem::path& path, const std::vector<std::string>& repacked) {
    std::vector<std::string> patterns;
    for (std::string name : repacked) {
      for (std::size_t at = 0; (at = name.find('.', at)) != std::string::npos; at += 2) name.insert(at, "\\");
      patterns.push_back("^" + name + "$");
    }
    std::vector<llama_model_tensor_buft_override> overrides;
    for (const std::string& pattern : patterns) overrides.push_back({pattern.c_str(), repacked_type()});
    overrides.push_back({nullptr, nullptr});
    llama_model_params params = llama_model_default_params();
    params.load_mode = LLAMA_LOAD_MODE_NONE;
    params.n_gpu_layers = 0;
    params.use_extra_bufts = false;
    params.tensor_buft_overrides = overrides.data();
    model_.reset(llama_model_load_from_file(path.c_str(), params));
    if (model_ == nullptr) return;
    llama_context_params context = llama_context_default_params();
    context.n_ctx = context.n_batch = kSettings.context;
    context.n_ubatch = kSettings.ubatch;
    context.n_seq_max = context.n_outputs_max = kSequences;
    context.kv_unified = true;
    context.n_threads = context.n_threads_batch = kSettings.threads;
    context_.reset(llama_init_from_model(model_.get(), context));
  }
  [[nodiscard]] llama_context* context() const { return context_.get(); }

 private:
  ModelPtr model_;
  ContextPtr context_;
};

/// What plain llama.cpp computes where a pass of some number of tokens has some weights in the file's layout,
/// because a device computes with them.
class Oracle {
 public:
  Oracle(const std::filesystem::path& path, const TieredModel& tiered, const Division& division)
      : path_(path), tiered_(tiered), division_(division) {
    const model::ModelProfile& profile = tiered.device().table().profile();
    for (std::uint32_t i = 0; i < profile.tensors.size(); ++i)
      if (tiered.device().table().repacked(i)) repacked_.push_back(i);
  }

  /// The weights that the host keeps in ggml-cpu's own layout, as indices into the profile.
  [[nodiscard]] const std::vector<std::uint32_t>& repacked() const { return repacked_; }

  Trace trace(const std::vector<llama_token>& prompt) {
    Trace out;
    llama_context* last = nullptr;
    for (std::vector<llama_token> next = prompt; out.tokens.size() <= kSteps; next = {out.tokens.back()}) {
      llama_context* const context = of(next.size(), 1);
      begin(context, last);
      if (llama_decode(context, llama_batch_get_one(next.data(), static_cast<std::int32_t>(next.size()))) !=
          0)
        return {};
      const int vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(llama_get_model(context)));
      const float* const logits = llama_get_logits_ith(context, -1);
      out.logits.emplace_back(logits, logits + vocabulary);
      out.tokens.push_back(static_cast<llama_token>(std::max_element(logits, logits + vocabulary) - logits));
      last = context;
    }
    return out;
  }

  /// Returns the logits of `batches`, computed one after the other.
  std::vector<std::vector<float>> logits_of(const std::vector<SequenceBatch>& batches) {
    std::vector<std::vector<float>> out;
    llama_context* last = nullptr;
    for (const SequenceBatch& batch : batches) {
      llama_context* const context = of(batch.tokens.size(), kSequences);
      begin(context, last);
      for (std::vector<float>& logits : outputs_of(context, batch)) out.push_back(std::move(logits));
      last = context;
    }
    return out;
  }

 private:
  /// Makes the cache of `context` that of `last`; empty where that is null.
  static void begin(llama_context* context, llama_context* last) {
    if (context == last) return;
    llama_memory_clear(llama_get_memory(context), true);
    if (last == nullptr) return;
    std::vector<std::uint8_t> state(llama_state_get_size(last));
    state.resize(llama_state_get_data(last, state.data(), state.size()));
    EXPECT_EQ(llama_state_set_data(context, state.data(), state.size()), state.size());
  }

  /// Whether the device computes with this weight of the host in a pass of `tokens` tokens.
  [[nodiscard]] bool is_sent(const model::TensorInfo& tensor, std::int64_t tokens,
                             std::int64_t outputs) const {
    const model::ModelProfile& profile = tiered_.device().table().profile();
    if (!tensor.layer) return false;
    // Behind the attention of the last layer, only rows with an output are computed.
    const std::string last = "blk." + std::to_string(profile.layers - 1) + ".ffn";
    const std::int64_t columns = tensor.name.starts_with(last) ? std::min(tokens, outputs) : tokens;
    const bool expert = tensor.role == model::Role::kExpert && tensor.shape[2] > 1;
    const auto used = static_cast<std::int64_t>(profile.experts_used);
    if (expert && division_.send && columns * used <= division_.slots) return true;
    return division_.ring > Bytes{} && columns >= (expert ? kMinBatchOfExperts : kMinBatch);
  }

  llama_context* of(std::size_t tokens, std::int64_t outputs) {
    std::vector<std::string> names;
    for (const std::uint32_t i : repacked_) {
      const model::TensorInfo& tensor = tiered_.device().table().profile().tensors[i];
      if (!is_sent(tensor, static_cast<std::int64_t>(tokens), outputs)) names.push_back(tensor.name);
    }
    auto& plain = plains_[names];
    if (plain == nullptr) plain = std::make_unique<PartlyRepacked>(path_, names);
    return plain->context();
  }

  const std::filesystem::path path_;
  const TieredModel& tiered_;
  const Division division_;
  std::vector<std::uint32_t> repacked_;
  std::map<std::vector<std::string>, std::unique_ptr<PartlyRepacked>> plains_;
};

std::vector<SequenceBatch> together(const llama_context* context) {
  const std::vector<llama_token> tokens = some_tokens(context, kSequences + 4);
  std::vector<SequenceBatch> out(2);
  for (llama_seq_id s = 0; s < kSequences; ++s) {
    const auto from = tokens.begin() + s;
    out[0].add(s, 0, std::vector(from, from + 3));
    out[1].add(s, 3, std::vector(from + 3, from + 4));
  }
  return out;
}

std::vector<std::vector<float>> logits_of(llama_context* context, const std::vector<SequenceBatch>& batches) {
  llama_memory_clear(llama_get_memory(context), true);
  std::vector<std::vector<float>> out;
  for (const SequenceBatch& batch : batches) {
    for (std::vector<float>& logits : outputs_of(context, batch)) out.push_back(std::move(logits));
  }
  return out;
}

Result<std::unique_ptr<TieredModel>> load(const std::filesystem::path& path, TestDevice& device,
                                          const Division& division, bool file_order = false) {
  Settings settings = kSettings;
  settings.file_order = file_order;
  return TieredModel::load(path, settings, percent_of_weights(division.percent), {},
                           {.device = &device,
                            .layers = division.layers,
                            .ring = division.ring,
                            .slots = division.slots,
                            .send_experts = division.send,
                            .turning_threads = division.turning_threads});
}

void expect_right_bits(const std::filesystem::path& path, const Division& division) {
  SCOPED_TRACE(testing::Message() << division.layers << " layers there, " << division.percent
                                  << "% of the rest in memory, ring of " << format_bytes(division.ring)
                                  << ", " << division.slots << " slots, " << division.turning_threads
                                  << " threads" << (division.pins ? "" : ", nothing pinned"));
  TestDevice device({.threads = 1, .pins = division.pins});
  const auto tiered = load(path, device, division);
  ASSERT_TRUE(tiered) << tiered.error().message;
  llama_context* const context = (*tiered)->context();
  Oracle oracle(path, **tiered, division);
  ASSERT_FALSE(oracle.repacked().empty());
  for (const std::size_t length : kPrompts) {
    const std::vector<llama_token> prompt = some_tokens(context, length);
    const Trace expected = oracle.trace(prompt);
    ASSERT_EQ(expected.tokens.size(), kSteps + 1U);
    EXPECT_TRUE(trace(context, prompt, kSteps) == expected) << "prompt of " << length << " tokens";
  }
  const std::vector<SequenceBatch> batches = together(context);
  EXPECT_TRUE(logits_of(context, batches) == oracle.logits_of(batches)) << kSequences << " sequences";
  if (division.ring > Bytes{}) {
    EXPECT_GT((*tiered)->offload().sent(), Bytes{});
  }
  if (division.ring > Bytes{} && division.percent == 100) {
    EXPECT_EQ((*tiered)->offload().statistics().read, Bytes{}) << "all of it is in memory";
  }
  EXPECT_EQ(device.used(), (*tiered)->device_pool().reserved());
}

class DeviceLayout : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (ggml_cpu_has_avx2() == 0) GTEST_SKIP() << "without AVX2, ggml has other layouts";
  }
};

TEST_P(DeviceLayout, ADenseModelHasTheBitsOfEachPlace) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "llama-tiny", .type = GetParam()});
  ASSERT_FALSE(path.empty());
  for (const Division& division :
       std::vector<Division>{{.layers = 1},
                             {.layers = 1, .percent = 50},
                             {.ring = kMiB * 4},
                             {.ring = kMiB * 4, .turning_threads = 3},
                             {.ring = kMiB * 4, .turning_threads = 3, .pins = false},
                             {.layers = 1, .percent = 50, .ring = kMiB * 4},
                             {.percent = 0, .ring = kMiB * 4}})
    expect_right_bits(path, division);
}

TEST_P(DeviceLayout, AMixtureHasTheBitsOfEachPlace) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "qwen3moe", .type = GetParam()});
  ASSERT_FALSE(path.empty());
  const auto profile = model::read_model(path);
  ASSERT_TRUE(profile) << profile.error().message;
  const std::uint32_t slots = profile->experts_used + 2;
  for (const Division& division :
       std::vector<Division>{{.layers = 1, .ring = kMiB * 32},
                             {.layers = 1, .percent = 60, .ring = kMiB * 32, .turning_threads = 3},
                             {.layers = 100, .slots = slots, .send = true},
                             {.layers = 100, .percent = 50, .slots = slots, .send = true},
                             {.layers = 100, .percent = 0, .slots = slots, .send = true}})
    expect_right_bits(path, division);
}

using Logits = std::vector<std::vector<float>>;

/// The logits after `first` tokens of a text, and after each further token of it.
Logits along(llama_context* context, std::vector<llama_token> text, std::size_t first) {
  llama_memory_clear(llama_get_memory(context), true);
  Logits out;
  const int vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(llama_get_model(context)));
  for (std::size_t done = 0, count = first; done < text.size(); done += std::exchange(count, 1)) {
    if (llama_decode(context, llama_batch_get_one(text.data() + done, static_cast<std::int32_t>(count))) != 0)
      return {};
    const float* const logits = llama_get_logits_ith(context, -1);
    out.emplace_back(logits, logits + vocabulary);
  }
  return out;
}

/// The largest difference between the logits of two steps, divided by the largest logit.
double distance(const std::vector<float>& one, const std::vector<float>& other) {
  double most = 0;
  double scale = 0;
  for (std::size_t i = 0; i < one.size(); ++i) {
    most = std::max<double>(most, std::abs(one[i] - other[i]));
    scale = std::max<double>(scale, std::abs(other[i]));
  }
  return most / scale;
}

// Which experts the device has depends on the tokens only, and a product has the bits of the place where it
// is computed. So the bits are the same wherever the host has its weights. They are near those of llama.cpp,
// except where another last bit makes a router choose another expert: with Q4_K, that happens in one of these
// steps between llama.cpp's own two layouts.
TEST_P(DeviceLayout, ExpertsComeToTheDeviceAsTheyAreInTheFile) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "qwen3moe", .type = GetParam(), .router = "skewed"});
  ASSERT_FALSE(path.empty());
  const PlainModel plain(path, kSettings);
  const std::vector<llama_token> text = some_tokens(plain.context(), 50);
  const Logits expected = along(plain.context(), text, 9);
  ASSERT_EQ(expected.size(), 42U);
  std::optional<Logits> first;
  for (const unsigned percent : {100U, 50U, 0U}) {
    SCOPED_TRACE(percent);
    TestDevice device({.threads = 1});
    const auto tiered = load(path, device, {.layers = 100, .percent = percent, .slots = 8});
    ASSERT_TRUE(tiered) << tiered.error().message;
    ASSERT_FALSE(Oracle(path, **tiered, {}).repacked().empty());
    const int blocking = device.blocking_copies();
    const Logits got = along((*tiered)->context(), text, 9);
    EXPECT_GT((*tiered)->offload().experts().read, Bytes{}) << "some came to other slots";
    EXPECT_EQ(device.blocking_copies(), blocking) << "and nobody waited for them";
    std::size_t near = 0;
    for (std::size_t i = 0; i < got.size(); ++i) near += distance(got[i], expected[i]) < 0.05 ? 1 : 0;
    EXPECT_GE(near * 10, got.size() * 9);
    if (!first) first = got;
    EXPECT_TRUE(got == *first);
  }
}

INSTANTIATE_TEST_SUITE_P(All, DeviceLayout, testing::Values("Q4_K", "Q4_0", "MXFP4"), test_name);

// A weight lies in memory once, in one layout.
TEST(DeviceLayouts, TakeNoMoreMemoryForWeights) {
  if (ggml_cpu_has_avx2() == 0) GTEST_SKIP() << "without AVX2, ggml has other layouts";
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "qwen3moe", .type = "Q4_K"});
  ASSERT_FALSE(path.empty());
  const Division division{.layers = 1, .percent = 60, .ring = kMiB * 32};
  TestDevice device({.threads = 1});
  const auto plain = load(path, device, division, true);
  const auto repacked = load(path, device, division);
  ASSERT_TRUE(plain && repacked);
  EXPECT_TRUE(Oracle(path, **plain, division).repacked().empty());
  EXPECT_FALSE(Oracle(path, **repacked, division).repacked().empty());
  EXPECT_EQ((*repacked)->placement().arena_bytes(), (*plain)->placement().arena_bytes());
}

// ggml has no faster kernels for these types on x86.
TEST(DeviceLayouts, AreTheFilesForOtherTypes) {
  if (ggml_cpu_has_avx2() == 0) GTEST_SKIP() << "without AVX2, ggml has other layouts";
  const TemporaryDirectory directory;
  for (const char* const type : {"Q6_K", "Q8_0", "Q5_K", "Q3_K"}) {
    const auto path = synth_model(directory, {.like = "llama-tiny", .type = type});
    ASSERT_FALSE(path.empty());
    TestDevice device({.threads = 1});
    const auto tiered = load(path, device, {.ring = kMiB * 4});
    ASSERT_TRUE(tiered) << tiered.error().message;
    EXPECT_TRUE(Oracle(path, **tiered, {}).repacked().empty()) << type;
  }
}

}  // namespace
}  // namespace brimful::tests
