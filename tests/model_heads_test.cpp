// Drafts by the model's own last layers (MTP) change the number of passes for a text, and nothing in the
// text.

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "model/gguf_test_file.h"
#include "program_run.h"
#include "sanitized.h"
#include "served_program.h"
#include "session/conversation.h"
#include "synth_model.h"
#include "test_device.h"

namespace brimful::tests {
namespace {

using Flags = std::vector<std::string>;

// Long enough that the KV cache is seen in steps.
const Flags kGreedy{"-n", "300", "--temp", "0", "--ignore-eos"};
const Flags kSampled{"-n", "300", "--temp", "0.9", "-s", "7", "--ignore-eos"};
const Flags kHeads{"--spec-type", "draft-mtp", "--spec-always"};

Flags plus(Flags a, const Flags& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

/// A mixture like GLM-4.5 with a layer that predicts further tokens. Its text repeats itself after more
/// tokens than are written here.
synth::SynthOptions mixture(float head_errors) {
  synth::SynthOptions options{.like = "glm4moe", .type = "Q4_K"};
  options.vocabulary = 600;
  options.text = synth::SynthText{.period = 500, .head_errors = head_errors};
  return options;
}

class OwnLayers : public testing::Test {
 protected:
  void write(const synth::SynthOptions& options) {
    model_ = synth_model(directory_, options);
    ASSERT_FALSE(model_.empty());
  }

  nlohmann::json run(const Flags& more) {
    const std::string stats = (directory_.path() / "stats.json").string();
    const ProgramRun done = run_brimful(plus({"run", "-m", model_.string(), "--raw", "-p", "once upon a time",
                                              "-c", "512", "-t", "1", "--stats", stats},
                                             more));
    EXPECT_EQ(done.exit_code, 0) << done.err;
    std::ifstream in(stats);
    nlohmann::json json = nlohmann::json::parse(in, nullptr, false);
    json["text"] = done.out;
    json["notes"] = done.err;
    return json;
  }

  /// Expects that a run with drafts writes what `expected`, a run without, has written, in fewer passes.
  nlohmann::json expect_same(const nlohmann::json& expected, const Flags& arguments) {
    nlohmann::json got = run(arguments);
    EXPECT_EQ(got["token_ids"], expected["token_ids"]);
    EXPECT_EQ(got["text"], expected["text"]);
    EXPECT_EQ(got["stop_reason"], expected["stop_reason"]);
    EXPECT_GT(got["drafts"]["accepted"], 0);
    EXPECT_LT(got["passes"]["count"], expected["passes"]["count"]);
    return got;
  }

  /// A budget that leaves room for half of the weights.
  std::string half(const nlohmann::json& whole) {
    std::uint64_t used = 0;
    for (const auto& [owner, bytes] : whole["memory_bytes"].items())
      if (owner != "unused") used += bytes.get<std::uint64_t>();
    return std::to_string(used - whole["weights_bytes"]["total"].get<std::uint64_t>() / 2);
  }

  TemporaryDirectory directory_;
  std::filesystem::path model_;
};

TEST_F(OwnLayers, GiveTheSameTokensAtEveryBudget) {
  write(mixture(0.25F));
  for (const Flags& sampling : {kGreedy, kSampled}) {
    const nlohmann::json expected = run(plus(sampling, {"--spec-type", "none", "--ram", "1GiB"}));
    EXPECT_EQ(expected["drafts"]["drafted"], 0);
    const nlohmann::json whole = expect_same(expected, plus(plus(sampling, kHeads), {"--ram", "1GiB"}));
    EXPECT_EQ(whole["weights_bytes"]["streamed_per_pass"], 0);
    if (kSanitized) continue;
    const nlohmann::json part = expect_same(expected, plus(plus(sampling, kHeads), {"--ram", half(whole)}));
    EXPECT_TRUE(part["weights_bytes"]["streamed_per_pass"] > 0 || part.contains("experts"));
  }
}

TEST_F(OwnLayers, AreRightAsOftenAsTheyAreMadeTo) {
  write(mixture(0));
  const Flags flags = plus(plus(kGreedy, kHeads), {"--ram", "1GiB", "--spec-draft-n-max", "7"});
  const nlohmann::json right = run(flags);
  // Only the last draft can be longer than what is left of the text.
  EXPECT_GE(right["drafts"]["accepted"], right["drafts"]["drafted"].get<int>() - 7);
  EXPECT_GT(right["drafts"]["tokens_per_pass"], 6);
  write(mixture(0.25F));
  const nlohmann::json often = run(flags);
  EXPECT_LT(often["drafts"]["accepted"], often["drafts"]["drafted"].get<int>() / 4 * 3);
  EXPECT_GT(often["drafts"]["tokens_per_pass"], 2);
}

TEST_F(OwnLayers, OfRandomWeightsAreWrongAndChangeNothing) {
  synth::SynthOptions options{.like = "glm4moe", .type = "Q4_K"};
  options.vocabulary = 600;
  write(options);
  for (const Flags& sampling : {kGreedy, kSampled}) {
    const nlohmann::json expected = run(plus(sampling, {"--spec-type", "none", "--ram", "1GiB"}));
    const nlohmann::json got = run(plus(plus(sampling, kHeads), {"--ram", "1GiB"}));
    EXPECT_EQ(got["token_ids"], expected["token_ids"]);
    EXPECT_GT(got["drafts"]["drafted"], 100);
    EXPECT_LT(got["drafts"]["accepted"], got["drafts"]["drafted"].get<int>() / 2);
  }
}

TEST_F(OwnLayers, TakeNoMemoryWhereTheyDoNotDraft) {
  write(mixture(0));
  const Flags few{"-n", "8", "--temp", "0", "--ram", "1GiB"};
  const nlohmann::json without = run(plus(few, {"--spec-type", "ngram-simple"}));
  // Nothing waits for the disk, so they would gain nothing, and nobody has asked for them.
  const nlohmann::json not_asked = run(few);
  const nlohmann::json with = run(plus(few, {"--spec-type", "draft-mtp"}));
  for (const char* const owner : {"weights", "kv_cache", "compute"}) {
    EXPECT_EQ(not_asked["memory_bytes"][owner], without["memory_bytes"][owner]) << owner;
    EXPECT_GT(with["memory_bytes"][owner], without["memory_bytes"][owner]) << owner;
  }
}

TEST_F(OwnLayers, DraftUnaskedWherePassesWaitForTheDisk) {
  if (kSanitized) GTEST_SKIP() << kNoBudgetHolds;
  synth::SynthOptions options = mixture(0);
  options.layers = 16;  // so that the layer that drafts is a small share of the budget
  write(options);
  // Short drafts: what longer ones take would be too much beside a model as small as this one.
  const Flags few{"-n", "8", "--temp", "0", "--spec-draft-n-max", "3"};
  const nlohmann::json whole = run(plus(few, {"--ram", "1GiB", "--spec-type", "ngram-simple"}));
  const std::string budget = half(whole);
  const nlohmann::json without = run(plus(few, {"--ram", budget, "--spec-type", "ngram-simple"}));
  const nlohmann::json with = run(plus(few, {"--ram", budget}));
  EXPECT_GT(with["memory_bytes"]["kv_cache"], without["memory_bytes"]["kv_cache"]);
  EXPECT_EQ(with["token_ids"], without["token_ids"]);
}

TEST_F(OwnLayers, AreRefusedWhereThereAreNone) {
  write({.like = "llama-tiny", .type = "Q4_0"});
  const Flags run{"run", "-m", model_.string(), "--raw", "-p", "a", "-n", "2", "--ram", "1GiB"};
  expect_refused(
      run_brimful(plus(run, {"--spec-type", "draft-mtp"})),
      model_.string() + ": its own layers cannot draft: it has no layer that predicts further tokens");
  expect_refused(run_brimful(plus(run, {"--spec-type", "draft-simple,draft-mtp", "-md", model_.string()})),
                 "choose the draft model or the model's own layers");
}

/// Replaces the first `from` in a file by `to`, which has the same length.
void replace_in_file(const std::filesystem::path& path, const std::string& from, const std::string& to) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  const std::string all{std::istreambuf_iterator<char>(file), {}};
  const std::size_t at = all.find(from);
  ASSERT_NE(at, std::string::npos);
  file.seekp(static_cast<std::streamoff>(at));
  file.write(to.data(), static_cast<std::streamsize>(to.size()));
}

TEST_F(OwnLayers, OfABadFileAreRefusedInOneLine) {
  for (const char* const name : {"nextn.eh_proj", "nextn.enorm", "nextn.hnorm", "attn_norm"}) {
    SCOPED_TRACE(name);
    write(mixture(0));
    const std::string tensor = std::string("blk.3.") + name;
    std::string other = tensor;
    other.back() = '0';
    replace_in_file(model_, tensor, other);
    const Flags run{"run", "-m", model_.string(), "--raw", "-p", "a", "-n", "2", "--ram", "1GiB"};
    expect_refused(run_brimful(plus(run, {"--spec-type", "draft-mtp"})), model_.string());
    // libllama refuses the tensor that it does not know, also where these layers do not draft.
    expect_refused(run_brimful(run), model_.string());
  }
}

TEST_F(OwnLayers, OfAnotherFileAreRefused) {
  write({.like = "llama-tiny", .type = "Q4_0"});
  const auto draft = directory_.path() / "eagle3.gguf";
  model::testing::small_model()
      .text("general.architecture", "eagle3")
      .u32("eagle3.block_count", 1)
      .u32("eagle3.embedding_length", 64)
      .u32("eagle3.attention.head_count", 4)
      .write(draft);
  expect_refused(run_brimful({"run", "-m", model_.string(), "--raw", "-p", "a", "-n", "2", "--ram", "1GiB",
                              "-md", draft.string()}),
                 "-md " + draft.string() + ": drafts by 'eagle3' are not supported yet");
}

TEST_F(OwnLayers, DraftForARequestThatIsAlone) {
  write(mixture(0.25F));
  const auto ask = [](const ServedProgram& server) -> std::string {
    const nlohmann::json body = {
        {"prompt", "once upon a time"}, {"max_tokens", 100}, {"temperature", 0}, {"ignore_eos", true}};
    const auto got = server.client().Post("/v1/completions", body.dump(), "application/json");
    if (!got || got->status != 200) {
      ADD_FAILURE() << (got ? got->body : "no answer");
      return "";
    }
    return nlohmann::json::parse(got->body)["choices"][0]["text"];
  };
  const auto flags = [&](const Flags& more) {
    return plus({"-m", model_.string(), "-c", "1024", "--parallel", "4", "--ram", "1GiB"}, more);
  };
  const ServedProgram plain(flags({}));
  const std::string expected = ask(plain);
  EXPECT_FALSE(expected.empty());
  const ServedProgram server(flags(kHeads));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(ask(server), expected) << "request " << i;
  EXPECT_GT(server.metric("brimful:draft_tokens_accepted_total"), 0);
  EXPECT_LT(server.metric("llamacpp:n_decode_total"), 3 * plain.metric("llamacpp:n_decode_total"));
}

/// A text that is written with a part of the model on a device, and where the weights lay.
struct DeviceText {
  session::Turn turn;
  std::vector<std::uint32_t> on_device;
};

DeviceText write_on_device(const std::filesystem::path& path, Bytes vram, float temperature,
                           engine::Heads heads) {
  TestDevice device({.capacity = vram, .threads = 1, .other_bits_from = 5});
  const auto engine = engine::Engine::open(
      {.model = path, .ram = kGiB, .offload = {{device.handle(), vram}}, .heads = heads});
  engine::ContextOptions context{.context = 512, .ubatch = 64, .drafts = {.always = true}};
  session::shape_for_conversation(context);
  Status started = engine ? (*engine)->prepare(context) : Status(std::unexpected(engine.error()));
  if (started) started = (*engine)->start({});
  if (!started) {
    ADD_FAILURE() << started.error().message;
    return {};
  }
  session::Conversation conversation(**engine);
  schedule::Request request{.prompt = {5, 6, 7, 8, 9, 10}, .limit = 150};
  request.sampling.temp = temperature;
  request.sampling.seed = 7;
  auto turn = conversation.answer(std::move(request), {}, {});
  EXPECT_TRUE(turn) << turn.error().message;
  EXPECT_LE(device.peak(), vram);
  DeviceText out{turn ? *std::move(turn) : session::Turn{}, {}};
  const plan::DeviceShare share = (*engine)->devices().at(0).share;
  out.on_device = share.tensors;
  for (const plan::CachedExperts& group : share.groups) out.on_device.push_back(group.slots);
  EXPECT_FALSE(out.on_device.empty());
  return out;
}

TEST_F(OwnLayers, GiveTheSameTokensWithADeviceAndChangeNothingThere) {
  write(mixture(0.25F));
  for (const std::uint64_t mib : {4, 8, 64}) {
    for (const float temperature : {0.0F, 0.9F}) {
      SCOPED_TRACE(testing::Message() << mib << " MiB, temperature " << temperature);
      const DeviceText expected = write_on_device(model_, kMiB * mib, temperature, engine::Heads::kNone);
      const DeviceText got = write_on_device(model_, kMiB * mib, temperature, engine::Heads::kRequired);
      EXPECT_EQ(got.on_device, expected.on_device);
      EXPECT_EQ(got.turn.token_ids, expected.turn.token_ids);
      EXPECT_EQ(got.turn.token_ids.size(), 150U);
      EXPECT_GT(got.turn.accepted, 0U);
    }
  }
}

}  // namespace
}  // namespace brimful::tests
