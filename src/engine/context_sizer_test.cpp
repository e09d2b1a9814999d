#include "engine/context_sizer.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace brimful::engine {
namespace {

SizedModel model() { return {.file = "m.gguf", .train_context = 32768, .vocabulary = 32000}; }
const plan::OptionNames kFlags{.ram = "--ram", .context = "-c", .ubatch = "-ub"};
ContextSizer sizer(Bytes budget = kGiB) { return {model(), budget, kFlags}; }

/// A demand that needs `least` bytes in all, of which the KV cache and compute buffers have some.
plan::HostDemand demand_of(Bytes kv_cache, Bytes compute, Bytes held) {
  plan::HostDemand out;
  out.held = held;
  out.kv_cache = kv_cache;
  out.compute = compute;
  return out;
}

TEST(ContextSizer, TriesShorterUbatchesFirstAndThenShorterContexts) {
  const std::vector<ContextShape> expected{{4096, 512}, {4096, 256}, {4096, 128}, {4096, 64}, {4096, 32},
                                           {2048, 32},  {1024, 32},  {512, 32},   {256, 32}};
  EXPECT_EQ(sizer().shapes_to_try({}), expected);
}

TEST(ContextSizer, KeepsWhatIsNamed) {
  EXPECT_EQ(sizer().shapes_to_try({.context = 1000, .ubatch = 64}), (std::vector<ContextShape>{{1000, 64}}));
  EXPECT_EQ(sizer().shapes_to_try({.context = 0, .ubatch = 64}), (std::vector<ContextShape>{{32768, 64}}))
      << "0 is the context that the model was trained for";
  EXPECT_EQ(sizer().shapes_to_try({.context = 256, .ubatch = 512}), (std::vector<ContextShape>{{256, 256}}))
      << "a ubatch is not longer than the context";
  EXPECT_EQ(sizer().shapes_to_try({.context = 4096, .batch = 100, .ubatch = 512}).front().ubatch, 100U);
}

TEST(ContextSizer, EndsWithTheLeastContext) {
  EXPECT_EQ(sizer().shapes_to_try({.least_context = 1000}).back().context, 1024U);
  EXPECT_EQ(sizer().shapes_to_try({.least_context = 8192}).front().context, 8192U);
  EXPECT_EQ(sizer().shapes_to_try({.least_context = 65536}).front().context, 32768U) << "not beyond training";
}

TEST(ContextSizer, MakesTheUbatchForThePrompt) {
  EXPECT_EQ(sizer().shapes_to_try({.prompt_tokens = 100}).front().ubatch, 128U);
  EXPECT_EQ(sizer().shapes_to_try({.prompt_tokens = 3}).front().ubatch, 64U);
  EXPECT_EQ(sizer().shapes_to_try({.context = 8192, .prompt_tokens = 5000}).front().ubatch, 2048U);
}

TEST(ContextSizer, GivesModelsThatOnlyEmbedALongUbatch) {
  SizedModel embeds = model();
  embeds.only_embeds = true;
  embeds.train_context = 512;
  EXPECT_EQ(ContextSizer(embeds, kGiB, kFlags).shapes_to_try({}).front(), (ContextShape{512, 2048}));
}

TEST(ContextSizer, GivesDraftsUpFirst) {
  const auto shapes = sizer().shapes_to_try({.context = 4096, .ubatch = 64, .drafts = {.ngrams = true}});
  EXPECT_EQ(shapes, (std::vector<ContextShape>{{4096, 64, 15, true}, {4096, 64}}));
}

TEST(ContextSizer, MakesDraftsAsLongAsTheBudgetAllows) {
  const ContextOptions options{.context = 4096, .ubatch = 64, .drafts = {.ngrams = true}};
  // A token of a draft takes 256,000 bytes of logits, and drafts take a 64th of the budget.
  EXPECT_EQ(sizer(kMiB * 64).shapes_to_try(options).front().draft, 4U);
  EXPECT_EQ(sizer(kMiB * 40).shapes_to_try(options), (std::vector<ContextShape>{{4096, 64}}))
      << "two tokens are not worth it";
}

TEST(ContextSizer, KeepsDraftsThatAreAskedFor) {
  EXPECT_EQ(
      sizer(kMiB).shapes_to_try({.context = 4096, .ubatch = 64, .drafts = {.ngrams = true, .longest = 7}}),
      (std::vector<ContextShape>{{4096, 64, 7}}));
  SizedModel drafts = model();
  drafts.has_draft_model = true;
  EXPECT_EQ(ContextSizer(drafts, kMiB, kFlags).shapes_to_try({.context = 4096, .ubatch = 8}),
            (std::vector<ContextShape>{{4096, 8, 7}}))
      << "a draft and the token before it are one ubatch";
}

TEST(ContextSizer, GivesHeadsUpBeforeOtherDrafts) {
  SizedModel own = model();
  own.heads = Heads::kWherePossible;
  const ContextSizer heads(own, kGiB, kFlags);
  const ContextShape with{.context = 4096,
                          .ubatch = 64,
                          .draft = 15,
                          .can_go_without_draft = true,
                          .heads = true,
                          .can_go_without_heads = true};
  EXPECT_EQ(heads.shapes_to_try({.context = 4096, .ubatch = 64, .drafts = {.ngrams = true}}),
            (std::vector<ContextShape>{with, {4096, 64, 15, true}, {4096, 64}}));
  EXPECT_EQ(heads.shapes_to_try({.context = 4096, .ubatch = 64}),
            (std::vector<ContextShape>{with, {4096, 64}}));
  own.heads = Heads::kRequired;
  EXPECT_EQ(ContextSizer(own, kMiB, kFlags).shapes_to_try({.context = 4096, .ubatch = 64}),
            (std::vector<ContextShape>{{.context = 4096, .ubatch = 64, .draft = 15, .heads = true}}));
}

TEST(ContextSizer, TakesHeadsWherePassesWaitAndTheirWeightsAreFew) {
  plan::Placement waits;
  waits.streamed_per_pass = kMiB;
  EXPECT_TRUE(sizer().heads_pay(waits, kMiB * 128, false));
  EXPECT_FALSE(sizer().heads_pay(waits, kMiB * 129, false)) << "more than an eighth of the budget";
  EXPECT_FALSE(sizer().heads_pay({}, kMiB, false)) << "all weights are resident";
  EXPECT_TRUE(sizer().heads_pay({}, kMiB, true)) << "a device computes a part";
  plan::Placement experts;
  experts.groups.emplace_back();
  EXPECT_TRUE(sizer().heads_pay(experts, kMiB, false));
}

TEST(ContextSizer, RefusesAPromptThatIsLongerThanTheContext) {
  EXPECT_TRUE(sizer().check_prompt({.prompt_tokens = 1024}, {1000, 64})) << "llama.cpp pads the context";
  const Status refused = sizer().check_prompt({.prompt_tokens = 1025}, {1000, 64});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(refused.error().message,
            "the prompt has 1025 tokens and the context holds 1024: use -c 1280 or more");
}

TEST(ContextSizer, RefusesAContextWhoseListAloneIsTooLong) {
  EXPECT_TRUE(sizer().check_list({20000, 32}, Bytes{})) << "a list of less than 1 MiB is always made";
  EXPECT_TRUE(sizer().check_list({1000000, 32}, Bytes{48000000}));
  const Status refused = sizer().check_list({1000000, 32}, Bytes{47999999});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInfeasible);
  const ContextShape with_heads{.context = 1000000, .ubatch = 32, .heads = true};
  EXPECT_TRUE(sizer().check_list(with_heads, Bytes{96000000})) << "they have a list of their own";
  EXPECT_FALSE(sizer().check_list(with_heads, Bytes{95999999}));
  SizedModel recurrent = model();
  recurrent.is_recurrent = true;
  EXPECT_TRUE(ContextSizer(recurrent, kGiB, kFlags).check_list({1000000, 32}, Bytes{}))
      << "it has no such list";
}

TEST(ContextSizer, CountsGrowthThatGrowsWithTheBudget) {
  const ClientReserve reserve = [](Bytes budget) { return Bytes{budget.value / 100}; };
  const Bytes without = sizer(kGiB).growth({}, {}, {});
  EXPECT_EQ(sizer(kGiB).growth({}, {}, reserve), without + Bytes{kGiB.value / 100});
  EXPECT_EQ(sizer(kGiB * 2).growth({}, {}, {}), without + Bytes{kGiB.value / 2048});
  EXPECT_EQ(sizer(kGiB).growth({.split = Bytes{5}, .reader = Bytes{7}}, {}, {}), without + Bytes{12});
}

TEST(ContextSizer, NamesTheSmallestBudgetThatFits) {
  const ClientReserve reserve = [](Bytes budget) { return Bytes{budget.value / 10}; };
  // What does not grow takes 900 MiB.
  const auto demand_at = [&](Bytes budget) {
    plan::HostDemand out = demand_of(kMiB * 500, kMiB * 100, kMiB * 300);
    out.growth = reserve(budget) + Bytes{budget.value / 2048};
    return out;
  };
  const Bytes budget = kMiB * 64;
  const Bytes least = sizer(budget).least_budget(demand_at(budget), reserve);
  EXPECT_LE(demand_at(least).least(), least);
  EXPECT_GT(demand_at(least - Bytes{1}).least(), least - Bytes{1});
}

TEST(ContextSizer, SaysWhatIsMissingAndWhatWouldFit) {
  plan::HostDemand demand = demand_of(kMiB * 900, kMiB * 50, kMiB * 100);
  demand.growth = Bytes{kGiB.value / 2048};
  const Error error = sizer().infeasible(demand, {.context = 4096}, {4096, 512}, "a note");
  const Bytes missing = sizer().least_budget(demand, {}) - kGiB;
  const std::uint64_t least = align_up(kGiB + missing + run_to_run(), kMiB).value / kMiB.value;
  EXPECT_EQ(error.code, ErrorCode::kInfeasible);
  EXPECT_TRUE(error.message.starts_with(fmt::format(
      "m.gguf does not fit --ram 1.00 GiB: {} ({} bytes) are missing; --ram {}MiB would fit, or -c ",
      format_bytes(missing), missing.value, least)))
      << error.message;
  EXPECT_TRUE(error.message.ends_with(
      "[program, vocabulary, adapters 100.0 MiB, KV cache 900.0 MiB, compute 50.0 MiB, reserve 512.0 KiB, "
      "weights at least 0 B]; a note"))
      << error.message;
}

TEST(ContextSizer, SuggestsOnlyOptionsThatWereGiven) {
  plan::HostDemand demand = demand_of(kMiB * 550, kMiB * 500, {});
  const std::string open = sizer().infeasible(demand, {}, {4096, 512}, {}).message;
  EXPECT_EQ(open.find(", or -"), std::string::npos) << open;
  const std::string named = sizer().infeasible(demand, {.ubatch = 512}, {4096, 512}, {}).message;
  EXPECT_NE(named.find(", or -ub "), std::string::npos) << named;
}

TEST(ContextSizer, DoesNotSpendTheBudgetOnLongUbatches) {
  const plan::HostDemand demand = demand_of({}, kMiB * 129, {});
  EXPECT_TRUE(sizer().ubatch_is_dear({}, {4096, 2048}, demand));
  EXPECT_FALSE(sizer().ubatch_is_dear({}, {4096, 512}, demand)) << "not long";
  EXPECT_FALSE(sizer().ubatch_is_dear({.ubatch = 2048}, {4096, 2048}, demand)) << "asked for";
  EXPECT_FALSE(sizer().ubatch_is_dear({}, {4096, 2048}, demand_of({}, kMiB * 128, {}))) << "an eighth";
}

TEST(ContextSizer, DoesNotSpendTheBudgetOnDrafts) {
  const tier::Needs needs{.split = kMiB * 8, .split_per_unit = kMiB};
  EXPECT_FALSE(sizer().drafts_are_dear(needs, 8)) << "a 64th of the budget";
  EXPECT_TRUE(sizer().drafts_are_dear(needs, 9));
}

TEST(ContextSizer, TellsWhatWasAdapted) {
  EXPECT_TRUE(notes_on_shape({4096, 512}, {4096, 512, 15}, kFlags).empty());
  const auto notes = notes_on_shape({4096, 512}, {1024, 32}, kFlags);
  ASSERT_EQ(notes.size(), 2U);
  EXPECT_EQ(notes[0],
            "-ub 32 instead of 512, to fit the budget (give -ub for the same bits at every budget)");
  EXPECT_EQ(notes[1], "-c 1024 instead of 4096, to fit the budget");
}

TEST(ContextSizer, CallsTheOptionsAsTheInterfaceDoes) {
  const ContextSizer sizer(model(), kGiB, {.ram = "memory", .context = "length", .ubatch = "step"});
  EXPECT_EQ(sizer.check_prompt({.prompt_tokens = 1025}, {1000, 64}).error().message,
            "the prompt has 1025 tokens and the context holds 1024: use length 1280 or more");
  EXPECT_EQ(
      sizer.check_list({1000000, 32}, Bytes{}).error().message,
      "m.gguf does not fit memory 1.00 GiB: length 1000000 takes 45.8 MiB for the list of its tokens alone; "
      "use a smaller length");
  const plan::HostDemand demand = demand_of(kMiB * 600, kMiB * 600, {});
  const std::string infeasible =
      sizer.infeasible(demand, {.context = 4096, .ubatch = 512}, {4096, 512}, {}).message;
  EXPECT_TRUE(infeasible.starts_with("m.gguf does not fit memory 1.00 GiB: ")) << infeasible;
  for (const char* const name : {"; memory ", "MiB would fit, or length ", ", or step "})
    EXPECT_NE(infeasible.find(name), std::string::npos) << infeasible;
  const auto notes = notes_on_shape({4096, 512}, {1024, 32}, {.context = "length", .ubatch = "step"});
  ASSERT_EQ(notes.size(), 2U);
  EXPECT_EQ(notes[0],
            "step 32 instead of 512, to fit the budget (give step for the same bits at every budget)");
  EXPECT_EQ(notes[1], "length 1024 instead of 4096, to fit the budget");
}

}  // namespace
}  // namespace brimful::engine
