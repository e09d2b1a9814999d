// Drafts where devices compute. The tokens are those without drafts, bit for bit, also where a device's
// kernels give other bits for several tokens than for one, or other bits than the host.

#include <gtest/gtest.h>

#include "engine/engine.h"
#include "engine/tokenize.h"
#include "session/conversation.h"
#include "synth_model.h"
#include "test_device.h"
#include "tiered_model.h"

namespace brimful::tests {
namespace {

using EnginePtr = std::unique_ptr<engine::Engine>;
using Logits = std::vector<float>;

constexpr std::uint32_t kLongest = 7;
constexpr std::size_t kPrompt = 30;
constexpr std::size_t kText = 70;  // more than experts stay in their slots

struct Setting {
  Bytes vram;
  bool drafts = true;
  Bytes ram = kGiB;
  bool send_experts = false;
  bool file_order =
      false;  ///< Whether the host multiplies with plain llama.cpp's kernels for the file's layout.
};

Result<EnginePtr> start(const std::filesystem::path& path, TestDevice& device, const Setting& setting) {
  BRIMFUL_TRY(
      EnginePtr engine,
      engine::Engine::open(
          {.model = path,
           .ram = setting.ram,
           .offload = {{device.handle(), setting.vram}},
           .transfer_policy =
               [&](const auto&) { return plan::TransferPolicy{.missing_experts = setting.send_experts}; },
           .host_layout =
               [&](const model::ModelProfile& model) {
                 return setting.file_order ? plan::all_in_file_order(model) : plan::HostLayout{};
               }}));
  engine::ContextOptions context{.context = 512, .ubatch = 64, .least_context = 512};
  session::shape_for_conversation(context);
  if (setting.drafts) context.drafts = {.ngrams = true, .longest = kLongest, .always = true};
  BRIMFUL_TRY_VOID(engine->prepare(context));
  BRIMFUL_TRY_VOID(engine->start({}));
  return engine;
}

Logits logits_of(engine::Engine& engine, std::int32_t output) {
  const float* const logits = llama_get_logits_ith(engine.context(), output);
  return {logits, logits + llama_vocab_n_tokens(engine.vocab())};
}

/// The logits behind each token of a text, which is computed token by token.
std::vector<Logits> alone(engine::Engine& engine, const std::vector<llama_token>& prompt,
                          const std::vector<llama_token>& text) {
  llama_memory_clear(llama_get_memory(engine.context()), true);
  std::vector<Logits> out;
  if (!engine.decode(prompt)) return out;
  for (const llama_token token : text) {
    if (!engine.decode(std::span(&token, 1))) return {};
    out.push_back(logits_of(engine, -1));
  }
  return out;
}

/// The same with drafts, of which a part is wrong: the passes have 0, 1, 2 and more right tokens, and wrong
/// ones behind them.
std::vector<Logits> with_drafts(engine::Engine& engine, const std::vector<llama_token>& prompt,
                                const std::vector<llama_token>& text) {
  llama_memory_t const memory = llama_get_memory(engine.context());
  llama_memory_clear(memory, true);
  std::vector<Logits> out;
  if (!engine.decode(prompt)) return out;
  std::size_t passes = 0;
  while (out.size() < text.size()) {
    const std::size_t at = prompt.size() + out.size();
    const std::size_t left = text.size() - out.size() - 1;
    const std::size_t wanted = std::array{1U, 3U, 7U}[passes % 3];
    const std::size_t drafted =
        engine.draft_within(std::min({std::size_t{wanted}, engine.room_for_draft(at), left}));
    const std::size_t right = std::min(passes % 5 + drafted / 2, drafted);
    ++passes;
    std::vector<llama_token> tokens(text.begin() + static_cast<std::ptrdiff_t>(out.size()),
                                    text.begin() + static_cast<std::ptrdiff_t>(out.size() + 1 + drafted));
    for (std::size_t i = right + 1; i < tokens.size(); ++i) tokens[i] = static_cast<llama_token>(i);
    const Status computed = drafted == 0 ? engine.decode(tokens) : engine.verify(tokens);
    if (!computed) {
      ADD_FAILURE() << computed.error().message;
      return {};
    }
    for (std::size_t i = 0; i <= right; ++i)
      out.push_back(logits_of(engine, drafted == 0 ? -1 : static_cast<std::int32_t>(i)));
    if (drafted > 0) {
      EXPECT_TRUE(engine.keep_verified(right + 1));
    }
    EXPECT_TRUE(llama_memory_seq_rm(memory, 0, static_cast<llama_pos>(at + right + 1), -1));
  }
  EXPECT_LT(passes, text.size());
  return out;
}

/// The index of the first text position whose logits differ; the length where none does.
std::size_t first_difference(const std::vector<Logits>& a, const std::vector<Logits>& b) {
  std::size_t i = 0;
  while (i < std::min(a.size(), b.size()) && a[i] == b[i]) ++i;
  return i;
}

/// What a model takes on a device that has room for all of it.
Bytes whole_of(const std::filesystem::path& path) {
  TestDevice device({.threads = 1});
  const auto engine = start(path, device, {.vram = kMiB * 512});
  EXPECT_TRUE(engine) << engine.error().message;
  return engine ? (*engine)->devices().at(0).share.peak() : Bytes{};
}

class DeviceDrafts : public testing::TestWithParam<const char*> {};

TEST_P(DeviceDrafts, HaveTheBitsOfSingleTokensAtEverySplit) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = GetParam(), .type = "Q4_K"});
  ASSERT_FALSE(path.empty());
  const PlainModel plain(path, {.context = 512, .ubatch = 64, .threads = 1, .file_order = true});
  ASSERT_NE(plain.context(), nullptr);
  const std::vector<llama_token> prompt = some_tokens(plain.context(), kPrompt);
  Trace expected = trace(plain.context(), prompt, kText);
  ASSERT_EQ(expected.tokens.size(), kText + 1);
  expected.logits.erase(expected.logits.begin());  // behind the prompt
  expected.tokens.pop_back();
  const Bytes whole = whole_of(path);
  bool slots = false;
  bool ring = false;
  for (const std::uint64_t percent : {100, 70, 40}) {
    for (const int other_bits_from : {0, 5}) {
      SCOPED_TRACE(testing::Message() << percent << "% on the device, other bits from " << other_bits_from);
      const Bytes vram{whole.value * percent / 100};
      std::vector<Logits> single = expected.logits;
      if (other_bits_from > 0) {  // the prompt has other bits than plain llama.cpp's, and so has the text
        TestDevice other({.capacity = vram, .threads = 1, .other_bits_from = other_bits_from});
        const auto fresh = start(path, other, {.vram = vram, .file_order = true});
        ASSERT_TRUE(fresh) << fresh.error().message;
        single = alone(**fresh, prompt, expected.tokens);
      }
      TestDevice device({.capacity = vram, .threads = 1, .other_bits_from = other_bits_from});
      const auto engine = start(path, device, {.vram = vram, .file_order = true});
      ASSERT_TRUE(engine) << engine.error().message;
      ASSERT_EQ((*engine)->longest_draft(), kLongest);
      const plan::DeviceShare share = (*engine)->devices().at(0).share;
      slots = slots || !share.groups.empty();
      ring = ring || share.ring > Bytes{};
      const int allocations = device.allocations();
      EXPECT_EQ(first_difference(with_drafts(**engine, prompt, expected.tokens), single), kText);
      EXPECT_EQ(device.allocations(), allocations) << "all buffers were there before";
      EXPECT_LE(device.peak(), vram);
      EXPECT_EQ(share.weights + share.experts + share.kv_cache + share.compute + share.ring + share.unused,
                vram);
    }
  }
  EXPECT_TRUE(slots || ring);
}

INSTANTIATE_TEST_SUITE_P(All, DeviceDrafts,
                         testing::Values("llama-tiny", "qwen3", "gemma3", "phi3", "mixtral", "qwen3moe",
                                         "gpt-oss", "deepseek2", "glm4moe"),
                         test_name);

/// Expects the same bits with and without drafts on a device whose products have other bits than the host's.
void expect_same_with_own_bits(const std::filesystem::path& path, Bytes vram, bool send_experts,
                               bool expects_slots) {
  std::vector<llama_token> prompt;
  std::vector<llama_token> text;
  std::vector<Logits> expected;
  std::vector<std::uint32_t> before;
  for (const bool drafts : {false, true}) {
    TestDevice device({.capacity = vram, .threads = 1, .other_bits_from = 1});
    const auto engine = start(path, device, {.vram = vram, .drafts = drafts, .send_experts = send_experts});
    ASSERT_TRUE(engine) << engine.error().message;
    const plan::DeviceShare share = (*engine)->devices().at(0).share;
    EXPECT_EQ(!share.groups.empty(), expects_slots);
    std::vector<std::uint32_t> lies_there = share.tensors;
    for (const plan::CachedExperts& group : share.groups) lies_there.push_back(group.slots);
    if (drafts) {
      EXPECT_EQ(lies_there, before) << "where a weight lies is a part of the bits";
    }
    before = std::move(lies_there);
    if (!drafts) {
      prompt = some_tokens((*engine)->context(), kPrompt);
      text = some_tokens((*engine)->context(), kPrompt + kText);
      text.erase(text.begin(), text.begin() + kPrompt);
      expected = alone(**engine, prompt, text);
      ASSERT_EQ(expected.size(), kText);
    } else {
      ASSERT_GT((*engine)->longest_draft(), 0U);
      EXPECT_EQ(first_difference(with_drafts(**engine, prompt, text), expected), kText);
    }
    if (expects_slots) {
      const tier::ExpertStatistics experts = (*engine)->devices().at(0).experts;
      EXPECT_GT(experts.hits, 0U);
      EXPECT_LT(experts.hits, experts.used);
      if (!send_experts) {
        EXPECT_GT(experts.read, Bytes{}) << "other experts came to the slots";
      }
    }
  }
}

TEST(DeviceDrafts, HaveTheBitsOfADeviceThatIsNotTheHost) {
  const auto path = stories15m();
  if (path.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  for (const std::uint64_t mib : {12, 24}) {
    SCOPED_TRACE(mib);
    expect_same_with_own_bits(path, kMiB * mib, false, false);
  }
}

// Which experts lie on the device is a part of every token's bits there.
TEST(DeviceDrafts, LeaveTheExpertsInTheSlotsWhereTheyWouldBeWithoutDrafts) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "qwen3moe", .type = "Q4_K", .router = "skewed"});
  ASSERT_FALSE(path.empty());
  const Bytes whole = whole_of(path);
  for (const bool send_experts : {false, true}) {
    SCOPED_TRACE(send_experts);
    expect_same_with_own_bits(path, Bytes{whole.value / 100 * 70}, send_experts, true);
  }
}

// No measurement of a product alone finds this: the comparison of whole passes does.
TEST(DeviceDrafts, AreOffWhereADeviceComputesSeveralTokensInAnotherWay) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "llama-tiny", .type = "Q4_K"});
  ASSERT_FALSE(path.empty());
  TestDevice device({.threads = 1, .fuses = true});
  const auto engine = start(path, device, {.vram = kMiB * 256});
  ASSERT_TRUE(engine) << engine.error().message;
  EXPECT_EQ((*engine)->longest_draft(), 0U);
  EXPECT_EQ((*engine)->room_for_draft(10), 0U);
  EXPECT_TRUE(std::ranges::any_of((*engine)->notes(), [](const std::string& note) {
    return note.starts_with("speculative decoding is off: a GPU");
  }));
}

// The measured numbers are used: what gives equal bits together is computed together.
TEST(DeviceDrafts, ComputeAsManyTokensAtOnceAsHaveEqualBits) {
  const TemporaryDirectory directory;
  const auto path = synth_model(directory, {.like = "llama-tiny", .type = "Q4_K"});
  ASSERT_FALSE(path.empty());
  const auto nodes_of_pass = [&](int other_bits_from) {
    TestDevice device({.threads = 1, .other_bits_from = other_bits_from});
    const auto engine = start(path, device, {.vram = kMiB * 256});
    EXPECT_TRUE(engine) << engine.error().message;
    if (!engine) return std::uint64_t{0};
    EXPECT_TRUE((*engine)->decode(std::vector<llama_token>{1, 2, 3}));
    const std::uint64_t before = device.nodes_computed();
    EXPECT_TRUE((*engine)->verify(std::vector<llama_token>{4, 5, 6, 7, 8, 9, 10, 11}));
    return device.nodes_computed() - before;
  };
  const std::uint64_t eight = nodes_of_pass(0);
  const std::uint64_t four = nodes_of_pass(5);
  const std::uint64_t one = nodes_of_pass(2);
  EXPECT_LT(eight, four);
  EXPECT_LT(four, one);
}

/// How often graphs are recorded anew while a text is written with drafts for the second time.
int recorded_again(const std::filesystem::path& path, Bytes vram) {
  TestDevice device({.threads = 1});
  const auto engine = start(path, device, {.vram = vram});
  EXPECT_TRUE(engine) << engine.error().message;
  if (!engine) return 0;
  const auto text = some_tokens((*engine)->context(), 100);
  EXPECT_EQ(with_drafts(**engine, {1, 2, 3}, text).size(), text.size());
  const int recorded = device.recorded();
  const int graphs = device.graphs();
  EXPECT_EQ(with_drafts(**engine, {1, 2, 3}, text).size(), text.size());
  EXPECT_EQ(device.graphs(), graphs);
  return device.recorded() - recorded;
}

// Each number of tokens is a graph that the driver keeps. There are few, and each is known by a node of its
// own.
TEST(DeviceDrafts, RecordNoGraphAnewWhileTheyAreChecked) {
  const auto dense = stories15m();
  if (dense.empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  EXPECT_LE(recorded_again(dense, kMiB * 128), 4) << "a prompt, and a step";
  const TemporaryDirectory directory;
  const auto mixture = synth_model(directory, {.like = "qwen3moe", .type = "Q4_K", .router = "skewed"});
  ASSERT_FALSE(mixture.empty());
  EXPECT_LE(recorded_again(mixture, Bytes{whole_of(mixture).value / 100 * 70}), 4);
}

/// Texts that a scheduler writes with drafts.
class DeviceDraftedText : public testing::Test {
 protected:
  static constexpr const char* kStory =
      "Once upon a time there was a little dog. His name was Max. Max liked to play with his red ball. One "
      "day, "
      "Max lost his red ball. He was very sad. Once upon a time there was a little dog. His name was";

  void SetUp() override {
    if (stories15m().empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  }

  static session::Turn write(Bytes vram, int other_bits_from, float temperature,
                             const engine::DraftOptions& drafts, bool with_model = false) {
    TestDevice device({.capacity = vram, .threads = 1, .other_bits_from = other_bits_from});
    engine::OpenOptions open{.model = stories15m(), .ram = kGiB, .offload = {{device.handle(), vram}}};
    if (with_model) open.draft_model = stories15m();
    const auto engine = engine::Engine::open(std::move(open));
    engine::ContextOptions context{.context = 512, .ubatch = 64, .drafts = drafts};
    session::shape_for_conversation(context);
    if (!engine || !(*engine)->prepare(context) || !(*engine)->start({})) {
      ADD_FAILURE() << (engine ? "it does not start" : engine.error().message);
      return {};
    }
    session::Conversation conversation(**engine);
    const auto prompt = engine::tokenize((*engine)->vocab(), kStory, true, true);
    schedule::Request request{.prompt = *prompt, .limit = 120};
    request.sampling.temp = temperature;
    request.sampling.seed = 7;
    auto turn = conversation.answer(std::move(request), {}, {});
    EXPECT_TRUE(turn) << turn.error().message;
    EXPECT_LE(device.peak(), vram);
    return turn ? *std::move(turn) : session::Turn{};
  }
};

constexpr engine::DraftOptions kNgrams{.ngrams = true, .longest = kLongest, .always = true};

TEST_F(DeviceDraftedText, IsTheSameGreedyAndSampledAtEverySplit) {
  struct Case {
    std::uint64_t mib;
    int other_bits_from;
    float temperature;
  };
  for (const auto& [mib, other_bits_from, temperature] :
       {Case{10, 1, 0.9F}, Case{24, 5, 0}, Case{128, 1, 0.9F}, Case{128, 5, 0}}) {
    SCOPED_TRACE(testing::Message() << mib << " MiB, other bits from " << other_bits_from << ", temperature "
                                    << temperature);
    const session::Turn expected = write(kMiB * mib, other_bits_from, temperature, {});
    const session::Turn got = write(kMiB * mib, other_bits_from, temperature, kNgrams);
    EXPECT_EQ(got.token_ids, expected.token_ids);
    EXPECT_EQ(got.text, expected.text);
    EXPECT_EQ(expected.drafted, 0U);
    EXPECT_GT(got.accepted, 0U);
    EXPECT_LT(got.decode_seconds.size(), expected.decode_seconds.size());
  }
}

TEST_F(DeviceDraftedText, IsTheSameWithADraftModel) {
  const session::Turn expected = write(kMiB * 24, 1, 0, {});
  const session::Turn got = write(kMiB * 24, 1, 0, {.longest = kLongest, .always = true}, true);
  EXPECT_EQ(got.token_ids, expected.token_ids);
  // The model drafts for itself, with other last bits: nearly every token is right.
  EXPECT_LT(got.decode_seconds.size(), expected.decode_seconds.size() / 3);
}

}  // namespace
}  // namespace brimful::tests
