#include "schedule/sequence.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <set>

namespace brimful::schedule {
namespace {

using ::testing::ElementsAre;
using Tokens = std::vector<llama_token>;

/// The tokens first, first + 1, ..
Tokens counting(std::size_t count, llama_token first = 0) {
  Tokens out(count);
  std::iota(out.begin(), out.end(), first);
  return out;
}
Tokens operator+(Tokens a, const Tokens& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

/// A sequence that computes `prompt`, in the sequence id 0.
std::unique_ptr<Sequence> sequence_of(Request request, Callbacks callbacks = {}) {
  auto out = std::make_unique<Sequence>(std::move(request), std::move(callbacks));
  out->seq_id = 0;
  return out;
}
std::unique_ptr<Sequence> sequence_of(Tokens prompt) {
  return sequence_of(Request{.prompt = std::move(prompt)});
}

TEST(QueueKey, InteractiveRequestsComeFirstThenThoseThatCameFirst) {
  const std::set<QueueKey> queue = {{Priority::kBatch, 1},
                                    {Priority::kInteractive, 7},
                                    {Priority::kBatch, 0},
                                    {Priority::kInteractive, UINT64_MAX},
                                    {Priority::kInteractive, 3}};
  std::vector<std::uint64_t> order;
  for (const QueueKey& key : queue) order.push_back(key.id);
  EXPECT_THAT(order, ElementsAre(3U, 7U, UINT64_MAX, 0U, 1U));
}

TEST(TokenHistory, ATextAndAPromptAreAlikeUpToTheFirstOtherToken) {
  const TokenHistory text{.tokens = {1, 2, 3, 4}};
  EXPECT_EQ(text.alike({1, 2, 3, 4, 5}), 4U);
  EXPECT_EQ(text.alike({1, 2, 9, 4, 5}), 2U);
  EXPECT_EQ(text.alike({9, 2, 3}), 0U);
  EXPECT_EQ(TokenHistory{}.alike({1, 2}), 0U);
}

TEST(TokenHistory, OneTokenOfAPromptIsAlwaysLeftToCompute) {
  const TokenHistory text{.tokens = {1, 2, 3, 4}};
  EXPECT_EQ(text.alike({1, 2, 3, 4}), 3U);
  EXPECT_EQ(text.alike({1, 2}), 1U);
  EXPECT_EQ(text.alike({1}), 0U);
}

TEST(TokenHistory, SharedCellsStayThoseOfTheText) {
  KvCells cells(20);
  TokenHistory text{.tokens = counting(10), .computed = 10, .cells = cells.reserve(10).value()};
  const auto first = text.share(4);
  EXPECT_EQ(first->size(), 4U);
  EXPECT_EQ(text.held(), 10U);
  EXPECT_EQ(text.cells.count(), 6U);
  EXPECT_EQ(text.share(4), first) << "they are shared already";
  EXPECT_EQ(text.share(9)->size(), 9U);
  EXPECT_EQ(text.share(2)->size(), 2U);
  EXPECT_EQ(text.held(), 10U);
  EXPECT_EQ(cells.free(), 10U);
  EXPECT_EQ(text.share(0), nullptr);
}

TEST(Sequence, ItMayWriteUpToItsLimit) {
  auto sequence = sequence_of(Request{.prompt = {1}, .limit = 3});
  EXPECT_EQ(sequence->left(), 3U);
  sequence->answer.token_ids = {7, 8};
  EXPECT_EQ(sequence->left(), 1U);
  sequence->answer.token_ids = {7, 8, 9, 10};
  EXPECT_EQ(sequence->left(), 0U) << "never less than nothing";
  EXPECT_GT(sequence_of(Request{.prompt = {1}, .limit = -1})->left(), std::size_t{INT32_MAX});
  EXPECT_EQ(sequence_of(Request{.prompt = {1}, .embed = true, .limit = 5})->left(), 0U);
}

TEST(Sequence, CellsAreReservedAheadForWhatMayBeWrittenAndForOneAtLeast) {
  const auto sequence = sequence_of(Request{.prompt = {1}, .limit = 3});
  EXPECT_EQ(sequence->stretch(64), 3U);
  EXPECT_EQ(sequence->stretch(2), 2U);
  EXPECT_EQ(sequence->stretch(0), 1U);
  sequence->answer.token_ids = {7, 8, 9};
  EXPECT_EQ(sequence->stretch(64), 1U);
}

TEST(Sequence, ItDecodesWhenOnlyItsNewestTokenIsNotComputed) {
  auto sequence = sequence_of({1, 2, 3});
  sequence->computed = 2;
  EXPECT_FALSE(sequence->decodes()) << "the last token of a prompt is not one that it wrote";
  sequence->tokens.push_back(7);
  sequence->answer.token_ids = {7};
  sequence->computed = 3;
  EXPECT_TRUE(sequence->decodes());
  sequence->computed = 1;
  EXPECT_FALSE(sequence->decodes()) << "it was preempted, and computes its prompt again";
}

TEST(Sequence, ItNeedsCellsForEveryToken) {
  KvCells cells(10);
  auto sequence = sequence_of({1, 2, 3});
  EXPECT_TRUE(sequence->needs_cells());
  sequence->cells = cells.reserve(2).value();
  EXPECT_TRUE(sequence->needs_cells());
  EXPECT_TRUE(sequence->cells.extend(1));
  EXPECT_FALSE(sequence->needs_cells());
}

TEST(Sequence, AStopStringIsNotShownNorWhatMayBecomeOne) {
  std::vector<std::string> shown;
  auto sequence =
      sequence_of(Request{.prompt = {1}, .stop_strings = {"END"}}, {.on_piece = [&](const Piece& piece) {
                    shown.push_back(piece.text);
                    return true;
                  }});
  EXPECT_TRUE(sequence->show("one E"));
  EXPECT_TRUE(sequence->show("N"));
  EXPECT_THAT(shown, ElementsAre("one "));
  EXPECT_TRUE(sequence->show("ough E"));
  sequence->show_rest();
  EXPECT_THAT(shown, ElementsAre("one ", "ENough ", "E"));
}

TEST(Sequence, AReceiverThatWantsNoMoreIsAsked) {
  auto sequence = sequence_of(Request{.prompt = {1}}, {.on_piece = [](const Piece&) { return false; }});
  EXPECT_TRUE(sequence->show("")) << "it was not called";
  EXPECT_FALSE(sequence->show("a"));
  EXPECT_TRUE(sequence_of({1})->show("a")) << "nobody receives";
}

TEST(Sequence, LogProbabilitiesComeWithTheTextOnce) {
  std::vector<std::size_t> counts;
  auto sequence = sequence_of(Request{.prompt = {1}}, {.on_piece = [&](const Piece& piece) {
                                counts.push_back(piece.logprobs.size());
                                return true;
                              }});
  sequence->answer.logprobs.resize(2);
  EXPECT_TRUE(sequence->show("a"));
  EXPECT_TRUE(sequence->show("b"));
  sequence->answer.logprobs.resize(5);
  EXPECT_TRUE(sequence->show("c"));
  EXPECT_THAT(counts, ElementsAre(2U, 0U, 3U));
}

TEST(Prefix, ItBeginsThePromptsThatGoOnBehindIt) {
  Prefix prefix;
  prefix.tokens = {1, 2, 3};
  EXPECT_TRUE(prefix.begins({1, 2, 3, 4}));
  EXPECT_FALSE(prefix.begins({1, 2, 3})) << "no token would be left to compute";
  EXPECT_FALSE(prefix.begins({1, 2, 4, 4}));
  EXPECT_FALSE(prefix.complete());
  prefix.computed = 3;
  EXPECT_TRUE(prefix.complete());
}

/// Waiting requests, with keys in this order.
std::map<QueueKey, std::unique_ptr<Sequence>> waiting(std::vector<std::unique_ptr<Sequence>> all) {
  std::map<QueueKey, std::unique_ptr<Sequence>> out;
  for (auto& one : all) out.emplace(QueueKey{Priority::kBatch, out.size()}, std::move(one));
  return out;
}

TEST(CommonPrefix, ItIsWhatAllPromptsHaveInCommonThatHaveEnough) {
  std::vector<std::unique_ptr<Sequence>> others;
  others.push_back(sequence_of(counting(60) + Tokens{900}));
  others.push_back(sequence_of(counting(40) + Tokens{901, 902}));
  others.push_back(sequence_of(counting(kWorthSharing - 1) + Tokens{903, 904}));
  const auto all = waiting(std::move(others));
  EXPECT_EQ(common_prefix(*sequence_of(counting(80)), all), 40U)
      << "the third one has too little in common to count";
  EXPECT_EQ(common_prefix(*sequence_of(counting(80, 1000)), all), 0U);
}

TEST(CommonPrefix, TheSequenceItselfAndThoseThatRanBeforeDoNotCount) {
  std::vector<std::unique_ptr<Sequence>> others;
  others.push_back(sequence_of(counting(60)));
  others.push_back(sequence_of(counting(60)));
  others.back()->computed = 5;
  const auto all = waiting(std::move(others));
  EXPECT_EQ(common_prefix(*all.begin()->second, all), 0U);
}

TEST(CommonPrefix, EqualPromptsLeaveATokenToEach) {
  std::vector<std::unique_ptr<Sequence>> others;
  others.push_back(sequence_of(counting(60)));
  EXPECT_EQ(common_prefix(*sequence_of(counting(60)), waiting(std::move(others))), 59U);
}

TEST(Pass, ItTakesTokensAsFarAsThereIsRoom) {
  Pass pass(5);
  EXPECT_TRUE(pass.empty());
  auto first = sequence_of({10, 11, 12});
  auto second = sequence_of({20, 21, 22, 23});
  second->seq_id = 4;
  second->computed = 1;
  pass.add(*first);
  pass.add(*second);
  EXPECT_EQ(pass.room(), 0U);
  ASSERT_EQ(pass.parts().size(), 2U);
  EXPECT_EQ(pass.parts()[0].output, 2);
  EXPECT_EQ(pass.parts()[1].count, 2U);
  EXPECT_EQ(pass.parts()[1].output, std::nullopt) << "its end is not in this pass";

  const llama_batch batch = pass.batch();
  ASSERT_EQ(batch.n_tokens, 5);
  EXPECT_THAT(std::vector(batch.token, batch.token + 5), ElementsAre(10, 11, 12, 21, 22));
  EXPECT_THAT(std::vector(batch.pos, batch.pos + 5), ElementsAre(0, 1, 2, 1, 2));
  EXPECT_THAT(std::vector(batch.n_seq_id, batch.n_seq_id + 5), ElementsAre(1, 1, 1, 1, 1));
  EXPECT_THAT(std::vector(batch.logits, batch.logits + 5), ElementsAre(0, 0, 1, 0, 0));
  EXPECT_EQ(*batch.seq_id[2], 0);
  EXPECT_EQ(*batch.seq_id[3], 4);

  pass.add(*sequence_of({30}));
  EXPECT_EQ(pass.parts().size(), 2U) << "there is no room for another one";
}

TEST(Pass, AnOutputIsWantedOfTheLastTokenOnly) {
  Pass pass(10);
  auto sequence = sequence_of({1, 2, 3});
  pass.add(*sequence, 2);
  EXPECT_EQ(pass.parts()[0].output, std::nullopt);
  sequence->computed = 3;
  pass.add(*sequence);
  EXPECT_EQ(pass.parts().size(), 1U) << "nothing is left of it";
}

TEST(Pass, OnlyDecodesMeansOneTokenOfEachSequence) {
  Pass decode(10);
  decode.add(*sequence_of({1}));
  EXPECT_TRUE(decode.only_decodes());
  decode.add(*sequence_of({1, 2}));
  EXPECT_FALSE(decode.only_decodes());
  Pass prefix(10);
  Prefix text;
  text.tokens = {1};
  text.seq_id = 3;
  prefix.add(text);
  EXPECT_FALSE(prefix.only_decodes()) << "a prefix has no output";
  EXPECT_EQ(prefix.parts()[0].prefix, &text);
}

TEST(Pass, ItEmbedsWhenTheEndOfAnEmbeddingIsInIt) {
  auto sequence = sequence_of(Request{.prompt = {1, 2}, .embed = true});
  Pass half(1);
  half.add(*sequence);
  EXPECT_FALSE(half.embeds());
  Pass whole(2);
  whole.add(*sequence);
  EXPECT_TRUE(whole.embeds());
}

}  // namespace
}  // namespace brimful::schedule
