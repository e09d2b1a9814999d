// Drafts change the number of passes for a text, and nothing in the text.

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "adapter_files.h"
#include "engine/llama_log.h"
#include "engine/tokenize.h"
#include "program_run.h"
#include "served_program.h"
#include "session/conversation.h"
#include "synth_model.h"
#include "tiered_model.h"

namespace brimful::tests {
namespace {

#ifdef __SANITIZE_ADDRESS__
constexpr bool kSanitized = true;  // A sanitizer's own memory belongs to no budget.
#else
constexpr bool kSanitized = false;
#endif

constexpr const char* kStory =
    "Once upon a time there was a little dog. His name was Max. Max liked to play with his red ball. One "
    "day, "
    "Max lost his red ball. He was very sad. Once upon a time there was a little dog. His name was";

std::string quantized_stories15m(const std::filesystem::path& directory) {
  engine::capture_llama_logs();
  const auto out = directory / "draft-q8_0.gguf";
  llama_model_quantize_params params = llama_model_quantize_default_params();
  params.ftype = LLAMA_FTYPE_MOSTLY_Q8_0;
  params.nthread = 1;
  return llama_model_quantize(stories15m().c_str(), out.c_str(), &params) == 0 ? out.string() : std::string();
}

class Speculating : public testing::Test {
 protected:
  void SetUp() override {
    if (stories15m().empty()) GTEST_SKIP() << "no stories15M: make it with scripts/demo";
  }

  /// Returns the statistics of `brimful run` on the story, with one thread.
  nlohmann::json run(std::vector<std::string> more) {
    const std::string stats = (directory_.path() / "stats.json").string();
    std::vector<std::string> all{"run", "-m",  stories15m(), "--raw", "-p",      kStory,
                                 "-c",  "512", "-t",         "1",     "--stats", stats};
    all.insert(all.end(), more.begin(), more.end());
    const ProgramRun done = run_brimful(all);
    EXPECT_EQ(done.exit_code, 0) << done.err;
    std::ifstream in(stats);
    nlohmann::json json = nlohmann::json::parse(in, nullptr, false);
    json["text"] = done.out;
    return json;
  }

  /// Expects the same tokens, text and end as without drafts, in fewer passes.
  void expect_same(const std::vector<std::string>& arguments, const std::vector<std::string>& drafts) {
    expect_same_as(without_drafts(arguments), arguments, drafts);
  }

  nlohmann::json without_drafts(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--spec-type", "none"});
    return run(arguments);
  }

  /// Expects that a run with drafts has written what `expected`, a run without, has.
  void expect_same_as(const nlohmann::json& expected, std::vector<std::string> arguments,
                      const std::vector<std::string>& drafts) {
    arguments.insert(arguments.end(), drafts.begin(), drafts.end());
    arguments.push_back("--spec-always");
    const nlohmann::json got = run(arguments);
    EXPECT_EQ(expected["drafts"]["drafted"], 0);
    EXPECT_EQ(got["token_ids"], expected["token_ids"]);
    EXPECT_EQ(got["text"], expected["text"]);
    EXPECT_EQ(got["stop_reason"], expected["stop_reason"]);
    EXPECT_GT(got["drafts"]["accepted"], 0);
    EXPECT_LT(got["passes"]["count"], expected["passes"]["count"]);
    last_ = got;
  }

  TemporaryDirectory directory_;
  nlohmann::json last_;
};

// The text goes beyond 256 cells and up to 512, so it passes both steps at which attention is computed in
// another way.
const std::vector<std::string> kGreedy{"-n", "420", "--temp", "0", "--ignore-eos"};
// Beyond 256 cells: for what does not depend on attention.
const std::vector<std::string> kShorter{"-n", "220", "--temp", "0", "--ignore-eos"};
const std::vector<std::string> kSampled{"-n", "220", "--temp", "0.9", "-s", "7", "--ignore-eos"};

std::vector<std::string> plus(std::vector<std::string> a, const std::vector<std::string>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST_F(Speculating, GivesTheSameTokensFromNgramsAtEveryBudget) {
  const nlohmann::json expected = without_drafts(plus(kShorter, {"--ram", "1GiB"}));
  for (const char* ram : {"1GiB", "70MiB", "50MiB"}) {
    if (kSanitized && std::string(ram) != "1GiB") continue;
    SCOPED_TRACE(ram);
    expect_same_as(expected, plus(kShorter, {"--ram", ram}), {"--spec-draft-n-max", "7"});
    EXPECT_EQ(last_["weights_bytes"]["streamed_per_pass"] > 0, std::string(ram) != "1GiB");
  }
}

TEST_F(Speculating, GivesTheSameTokensFromADraftModel) {
  expect_same(plus(kGreedy, {"--ram", "1GiB"}),
              {"-md", stories15m(), "--spec-type", "draft-simple", "--spec-draft-n-max", "5"});
  // The model drafts for itself, so nearly every token is right.
  EXPECT_GT(last_["drafts"]["tokens_per_pass"], 4);
}

TEST_F(Speculating, GivesTheSameTokensFromBothAtEveryBudget) {
  const std::string draft = quantized_stories15m(directory_.path());
  ASSERT_FALSE(draft.empty());
  const nlohmann::json expected = without_drafts(plus(kShorter, {"--ram", "1GiB"}));
  for (const char* ram : {"1GiB", "90MiB"}) {
    if (kSanitized && std::string(ram) != "1GiB") continue;
    SCOPED_TRACE(ram);
    expect_same_as(expected, plus(kShorter, {"--ram", ram}), {"-md", draft});
    EXPECT_GT(last_["memory_bytes"]["draft_model"], 16 * kMiB.value);
    EXPECT_EQ(last_["weights_bytes"]["streamed_per_pass"] > 0, std::string(ram) != "1GiB");
  }
}

TEST_F(Speculating, GivesTheSameTokensWhenTheyAreSampled) {
  expect_same(plus(kSampled, {"--ram", "1GiB"}), {"-md", stories15m()});
}

/// tests/CMakeLists.txt gives these both processors.
class SpeculatingOnTwoThreads : public Speculating {};

TEST_F(SpeculatingOnTwoThreads, GivesTheSameTokensWithMoreThreadsForBatches) {
  expect_same(plus(kGreedy, {"--ram", "1GiB", "-t", "1", "-tb", "2"}), {});
}

TEST_F(Speculating, GivesTheSameTokensWithoutFlashAttention) {
  expect_same(plus(kGreedy, {"--ram", "1GiB", "-fa", "off"}), {});
}

TEST_F(Speculating, GivesTheSameTokensWithAdapters) {
  const std::string lora = (directory_.path() / "lora.gguf").string();
  const std::string control = (directory_.path() / "control.gguf").string();
  AdapterFile matrices = lora_for(stories15m());  // The embedding is also the output matrix, so it stays.
  std::erase_if(matrices.tensors, [](const auto& tensor) { return tensor.name.starts_with("token_embd"); });
  matrices.write(lora, 1);
  control_vector_for(stories15m()).write(control, 2);
  expect_same(plus(kShorter, {"--ram", "1GiB", "--lora", lora + ":0.1", "--control-vector", control}), {});
}

TEST_F(Speculating, EndsWithTheTextInTheMiddleOfADraft) {
  // The tokens that followed the last time have an end of text in their middle, and the grammar makes them
  // come again.
  expect_same({"-n", "60", "--temp", "0", "--ram", "1GiB", "-p",
               "Max liked to play with his red ball.</s> One day, Max was sad. The end. Max liked to play",
               "--grammar", R"(root ::= " with his red ball.")"},
              {"--spec-draft-n-max", "12"});
  EXPECT_EQ(last_["stop_reason"], "end of text");
}

TEST_F(Speculating, EndsWithTheContext) {
  expect_same({"--temp", "0", "--ignore-eos", "--ram", "1GiB"}, {"-md", stories15m()});
  EXPECT_EQ(last_["stop_reason"], "context full");
}

TEST_F(Speculating, FollowsAGrammar) {
  expect_same({"-n", "60", "--temp", "0", "--ram", "1GiB", "--grammar",
               R"(root ::= (" Max" | " the" | " red" | " ball" | ".")+)"},
              {"-md", stories15m()});
}

TEST_F(Speculating, RefusesADraftModelWithAnotherVocabulary) {
  const auto other = synth_model(directory_, {.like = "llama-tiny", .type = "Q4_0"});
  ASSERT_FALSE(other.empty());
  const ProgramRun done =
      run_brimful({"run", "-m", stories15m(), "--raw", "-p", "a", "-n", "2", "--ram", "1GiB", "-md", other});
  EXPECT_EQ(done.exit_code, 1);
  EXPECT_EQ(done.err, "brimful: -md " + other.string() +
                          ": its vocabulary differs from that of the main model: use a smaller model of "
                          "the same family\n");
}

TEST_F(Speculating, RefusesKindsItDoesNotHave) {
  const auto says = [&](const std::vector<std::string>& flags) {
    const ProgramRun done =
        run_brimful(plus({"run", "-m", stories15m(), "--raw", "-p", "a", "-n", "2", "--ram", "1GiB"}, flags));
    EXPECT_EQ(done.exit_code, 1);
    return done.err;
  };
  EXPECT_EQ(says({"--spec-type", "ngram-mod"}),
            "brimful: --spec-type ngram-mod: is not one of ngram-simple, draft-simple, draft-mtp, none\n");
  EXPECT_EQ(says({"--spec-type", "draft-simple"}),
            "brimful: --spec-type draft-simple: name the draft model with -md\n");
  EXPECT_NE(says({"-md", "/no/such/file.gguf"}).find("/no/such/file.gguf"), std::string::npos);
}

/// A server drafts for a request that is computed alone.
class SpeculatingServer : public Speculating {
 protected:
  static inline const nlohmann::json kGreedyRequest = nlohmann::json::object();
  /// Returns the answer to the story. `more` are further fields of the request.
  static std::string ask(const ServedProgram& server, const nlohmann::json& more) {
    nlohmann::json body = {{"prompt", kStory}, {"max_tokens", 150}, {"temperature", 0}};
    body.update(more);
    const auto got = server.client().Post("/v1/completions", body.dump(), "application/json");
    if (!got || got->status != 200) {
      ADD_FAILURE() << (got ? got->body : "no answer");
      return "";
    }
    return nlohmann::json::parse(got->body)["choices"][0]["text"];
  }
  static std::vector<std::string> flags(const std::vector<std::string>& more) {
    return plus({"-c", "2048", "--parallel", "4", "--ram", "1GiB"}, more);
  }
};

TEST_F(SpeculatingServer, WritesTheSameTextInFewerPasses) {
  const ServedProgram plain(flags({}));
  const std::string expected = ask(plain, kGreedyRequest);
  EXPECT_EQ(plain.metric("brimful:draft_tokens_total"), 0);
  const double passes = plain.metric("llamacpp:n_decode_total");
  for (const auto& drafts : {std::vector<std::string>{"--spec-type", "ngram-simple", "--spec-always"},
                             {"-md", stories15m().string(), "--spec-draft-n-max", "5"}}) {
    SCOPED_TRACE(drafts.front());
    const ServedProgram server(flags(drafts));
    EXPECT_EQ(ask(server, kGreedyRequest), expected);
    EXPECT_GT(server.metric("brimful:draft_tokens_accepted_total"), 0);
    EXPECT_LT(server.metric("llamacpp:n_decode_total"), passes);
    // What was drafted and found wrong has left nothing behind: the next texts are the same, too.
    EXPECT_EQ(ask(server, kGreedyRequest), expected);
    const std::string few = ask(server, {{"max_tokens", 7}});
    EXPECT_FALSE(few.empty());
    EXPECT_TRUE(expected.starts_with(few)) << few;
  }
}

TEST_F(SpeculatingServer, DraftsForSampledRequestsToo) {
  const ServedProgram server(flags({"--spec-type", "ngram-simple", "--spec-always"}));
  EXPECT_FALSE(ask(server, {{"temperature", 0.8}}).empty());
  EXPECT_GT(server.metric("brimful:draft_tokens_total"), 0);
  const HeldRequest other(server);  // From now on, two requests share the passes.
  EXPECT_FALSE(ask(server, {{"temperature", 0.8}}).empty());
}

/// Several texts in this process with one context: each text finds in the KV cache what the one before left
/// there.
class SpeculatingTurns : public Speculating {
 protected:
  struct Wanted {
    int limit = -1;
    std::vector<std::string> stop_strings;
  };
  struct Turn {
    Wanted options;
    std::function<bool(engine::Engine&, std::string_view)> on_text = [](auto&, auto) { return true; };
  };

  /// Runs several turns. Each one continues from the whole conversation.
  std::vector<session::Turn> talk(const engine::DraftOptions& drafts, const std::vector<Turn>& turns,
                                  bool with_model = false) {
    engine::OpenOptions open{.model = stories15m(), .ram = kGiB};
    if (with_model) open.draft_model = stories15m();
    auto engine = engine::Engine::open(std::move(open));
    if (!engine) {
      ADD_FAILURE() << engine.error().message;
      return {};
    }
    engine::ContextOptions context{.context = 1024, .ubatch = 64, .drafts = drafts};
    session::shape_for_conversation(context);
    Status started = (*engine)->prepare(context);
    if (started) started = (*engine)->start({});
    EXPECT_TRUE(started) << started.error().message;
    session::Conversation conversation(**engine);
    auto text = engine::tokenize((*engine)->vocab(), kStory, true, true);
    EXPECT_TRUE(text);
    std::vector<session::Turn> out;
    for (const Turn& turn : turns) {
      (*engine)->resume();
      schedule::Request request{
          .prompt = *text, .limit = turn.options.limit, .stop_strings = turn.options.stop_strings};
      request.sampling.temp = 0;
      auto done = conversation.answer(std::move(request), {},
                                      [&](std::string_view piece) { return turn.on_text(**engine, piece); });
      if (!done) {
        ADD_FAILURE() << done.error().message;
        break;
      }
      text->insert(text->end(), done->token_ids.begin(), done->token_ids.end());
      out.push_back(*std::move(done));
    }
    return out;
  }

  void expect_same_turns(const std::vector<Turn>& turns, bool with_model = false) {
    const auto expected = talk({}, turns);
    const auto got = talk({.ngrams = true, .longest = 7, .always = true}, turns, with_model);
    ASSERT_EQ(got.size(), turns.size());
    ASSERT_EQ(expected.size(), turns.size());
    std::uint64_t accepted = 0;
    for (std::size_t i = 0; i < turns.size(); ++i) {
      SCOPED_TRACE(testing::Message() << "turn " << i);
      EXPECT_EQ(got[i].token_ids, expected[i].token_ids);
      EXPECT_EQ(got[i].text, expected[i].text);
      EXPECT_EQ(got[i].reason, expected[i].reason);
      EXPECT_EQ(got[i].prompt_computed, expected[i].prompt_computed);
      accepted += got[i].accepted;
    }
    EXPECT_GT(accepted, 0U);
  }
};

TEST_F(SpeculatingTurns, StopAtStopStringsAndGoOn) {
  expect_same_turns({{{.limit = 60, .stop_strings = {"red ball"}}},
                     {{.limit = 60, .stop_strings = {"."}}},
                     {{.limit = 60, .stop_strings = {"sad", "ark"}}},
                     {{.limit = 40}}});
}

TEST_F(SpeculatingTurns, HaveExactlyTheTokensAskedFor) {
  std::vector<Turn> turns;
  for (const int limit : {1, 2, 3, 5, 8, 13, 0, 9}) turns.push_back({{.limit = limit}});
  expect_same_turns(turns);
  expect_same_turns(turns, true);
}

TEST_F(SpeculatingTurns, EndWhenTheReaderHasEnoughAndGoOn) {
  const auto after = [](std::size_t pieces) {
    return [pieces, seen = std::make_shared<std::size_t>(0)](auto&, auto) { return ++*seen < pieces; };
  };
  const auto turns = [&] {
    return std::vector<Turn>{{{.limit = 60}, after(7)}, {{.limit = 60}, after(11)}, {{.limit = 40}}};
  };
  const auto expected = talk({}, turns());
  const auto got = talk({.ngrams = true, .longest = 7, .always = true}, turns(), true);
  ASSERT_EQ(got.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(got[i].token_ids, expected[i].token_ids);
  EXPECT_EQ(got[0].reason, engine::StopReason::kCancelled);
}

TEST_F(SpeculatingTurns, EndWhenTheyAreAbortedAndGoOnFromThere) {
  const auto abort_after = [](std::size_t pieces) {
    return [pieces, seen = std::make_shared<std::size_t>(0)](engine::Engine& engine, auto) {
      if (++*seen == pieces) engine.abort();
      return true;
    };
  };
  const auto got = talk({.ngrams = true, .longest = 7, .always = true},
                        {{{.limit = 200}, abort_after(20)}, {{.limit = 40}}}, true);
  ASSERT_EQ(got.size(), 2U);
  EXPECT_EQ(got[0].reason, engine::StopReason::kCancelled);
  EXPECT_GE(got[0].token_ids.size(), 20U);
  EXPECT_LE(got[0].token_ids.size(), 20U + 8U);  // That pass had already produced these tokens.
  // The pass that was aborted has left nothing in the KV cache, and what was computed before it is kept.
  const auto limit = static_cast<int>(got[0].token_ids.size());
  const auto expected = talk({}, {{{.limit = limit}}, {{.limit = 40}}});
  EXPECT_EQ(got[1].token_ids, expected[1].token_ids);
  EXPECT_EQ(got[1].prompt_computed, expected[1].prompt_computed);
  EXPECT_LE(got[1].prompt_computed, 9U);
}

}  // namespace
}  // namespace brimful::tests
