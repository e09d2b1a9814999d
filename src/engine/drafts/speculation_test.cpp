#include "engine/drafts/speculation.h"

#include <gtest/gtest.h>

#include <utility>

#include "engine/drafts/drafter.h"

namespace brimful::engine {
namespace {

using Tokens = std::vector<llama_token>;

/// Makes tokens in which hardly any pair occurs twice.
Tokens noise(std::size_t count, std::uint32_t seed = 1) {
  Tokens out;
  for (std::size_t i = 0; i < count; ++i) {
    seed = seed * 1664525U + 1013904223U;
    out.push_back(static_cast<llama_token>(seed >> 16));
  }
  return out;
}

Tokens join(const Tokens& a, const Tokens& b) {
  Tokens out = a;
  out.insert(out.end(), b.begin(), b.end());
  return out;
}

/// A machine: the duration of a pass of n tokens.
struct Machine {
  double disk = 0;
  double compute = 1;
  double share = 1;  // added for each further token, as a share of `compute`

  [[nodiscard]] double computes(std::size_t n) const {
    return compute * (1 + share * (static_cast<double>(n) - 1));
  }
  [[nodiscard]] double seconds(std::size_t n) const { return std::max(disk, computes(n)); }
};

struct Outcome {
  double speedup = 0;
  std::size_t passes = 0;
  std::size_t drafted = 0;
};

/// Generates `text` after `prompt`, as a scheduler does.
Outcome write(Speculation& speculation, const Machine& machine, Tokens known, const Tokens& text) {
  Outcome out;
  double seconds = 0;
  speculation.begin();
  std::size_t at = 0;
  while (at + 1 < text.size()) {
    const llama_token last = text[at];
    const auto draft = speculation.draft(known, last, text.size() - at - 2);
    EXPECT_TRUE(draft);
    const std::size_t n = draft->size() + 1;
    speculation.pass_took(n, machine.seconds(n), machine.seconds(n) - machine.computes(n));
    seconds += machine.seconds(n);
    ++out.passes;
    out.drafted += draft->size();
    known.push_back(last);
    ++at;
    speculation.wrote(text[at]);
    for (std::size_t i = 0; i < draft->size() && (*draft)[i] == text[at]; ++i) {
      known.push_back(text[at]);
      ++at;
      speculation.wrote(text[at]);
    }
  }
  out.speedup = machine.seconds(1) * static_cast<double>(text.size() - 1) / seconds;
  return out;
}

constexpr Speculation::Options kNgrams{.longest = 15, .ngrams = true};
constexpr Machine kWaits{.disk = 1, .compute = 0.1, .share = 0.5};
constexpr Machine kComputes{.disk = 0, .compute = 1, .share = 1};

TEST(Speculation, WritesTextThatRepeatsItselfManyTokensAPassWhileItWaitsForTheDisk) {
  const Tokens once = noise(400);
  Speculation speculation(kNgrams);
  EXPECT_GT(write(speculation, kWaits, once, once).speedup, 8);
}

TEST(Speculation, DraftsNothingWhereEveryTokenCostsAPassOfItsOwn) {
  const Tokens once = noise(400);
  Speculation speculation(kNgrams);
  const Outcome outcome = write(speculation, kComputes, once, once);
  EXPECT_GT(outcome.speedup, 0.99);
  EXPECT_LT(outcome.drafted, 40U);  // drafts were tried and were right, but no faster
}

TEST(Speculation, CostsNothingOnTextThatDoesNotRepeatItself) {
  Speculation speculation(kNgrams);
  for (const Machine& machine : {kWaits, kComputes})
    EXPECT_GE(write(speculation, machine, noise(200), noise(400, 2)).speedup, 1);
}

TEST(Speculation, LearnsWhetherDraftsComeTrueWithoutUsingThem) {
  // Each pair occurs again, and is never followed by the same token; at first this is not known.
  Tokens text;
  for (llama_token i = 0; i < 300; ++i) {
    for (const llama_token id : {1, 2, 1000 + i, 2000 + i, 3000 + i}) text.push_back(id);
  }
  Speculation speculation(kNgrams);
  const Machine machine{.disk = 0, .compute = 1, .share = 0.4};
  EXPECT_GT(write(speculation, machine, {}, text).speedup, 0.98);
  EXPECT_EQ(write(speculation, machine, {}, text).drafted, 0U);
  // Now the text repeats itself. Drafts begin, although none was used before.
  const Tokens once = noise(300);
  EXPECT_GT(write(speculation, machine, once, once).speedup, 1.4);
}

TEST(Speculation, TrustsLongMatchesWhereShortOnesAreMostlyWrong) {
  // The same passage occurs again and again. In between there are pairs that are followed by another token
  // each time.
  const Tokens passage = noise(40);
  Tokens text;
  for (llama_token i = 0; i < 60; ++i) {
    text = join(text, passage);
    for (llama_token j = 0; j < 10; ++j) {
      for (const llama_token id : {1, 2, 70000 + 100 * i + j}) text.push_back(id);
    }
  }
  Speculation speculation(kNgrams);
  const Machine machine{.disk = 0, .compute = 1, .share = 0.4};
  EXPECT_GT(write(speculation, machine, {}, text).speedup, 1.15);
}

TEST(Speculation, KeepsToTheLengthItIsGiven) {
  const Tokens once = noise(200);
  Speculation speculation({.longest = 4, .ngrams = true, .always = true});
  const auto all = speculation.draft(join(once, {once.begin(), once.begin() + 20}), once[20], 100);
  ASSERT_TRUE(all);
  EXPECT_EQ(*all, Tokens(once.begin() + 21, once.begin() + 25));
  const auto two = speculation.draft(join(once, {once.begin(), once.begin() + 20}), once[20], 2);
  ASSERT_TRUE(two);
  EXPECT_EQ(two->size(), 2U);
  EXPECT_TRUE(speculation.draft(once, 0, 0)->empty());
}

/// A drafter that knows the text, once it was told where it is.
class KnowsTheText final : public Drafter {
 public:
  KnowsTheText(Tokens text, double seconds) : text_(std::move(text)), seconds_(seconds) {}

  void begin() override { told_ = 0; }
  Result<Draft> draft(const Tokens& known, llama_token, std::size_t most) override {
    Draft out;
    if (told_ != known.size()) return out;
    const std::size_t at = known.size() + 1;
    for (std::size_t i = at; i < std::min(at + most, text_.size()); ++i) out.tokens.push_back(text_[i]);
    out.seconds = seconds_ * static_cast<double>(out.tokens.size());
    return out;
  }
  Status computed(std::span<const llama_token> tokens, std::size_t position) override {
    told_ = position + tokens.size();
    return {};
  }

 private:
  const Tokens text_;
  const double seconds_;  // for each token
  std::size_t told_ = 0;
};

TEST(Speculation, TellsTheDrafterWhatWasComputed) {
  const Tokens text = noise(400);
  KnowsTheText drafter(text, 0.01);
  Speculation speculation({.longest = 15, .drafter = &drafter});
  speculation.begin();
  Tokens known;
  std::size_t passes = 0;
  while (known.size() + 2 < text.size()) {
    const std::size_t at = known.size();
    const auto draft = speculation.draft(known, text[at], text.size() - at - 2);
    ASSERT_TRUE(draft);
    const std::size_t n = draft->size() + 1;
    if (at == 0) {
      EXPECT_EQ(n, 1U) << "nothing was computed yet";
    }
    for (std::size_t i = 0; i < n; ++i) {
      known.push_back(text[at + i]);
      speculation.wrote(text[at + i + 1]);
    }
    speculation.pass_took(n, kWaits.seconds(n), kWaits.seconds(n) - kWaits.computes(n));
    ASSERT_TRUE(speculation.computed(std::span(text).subspan(at, n), at));
    ++passes;
  }
  EXPECT_LT(passes, 60U);
}

TEST(Speculation, TakesNgramsWhereTheDrafterHasNothing) {
  const Tokens once = noise(400);
  KnowsTheText drafter({}, 0.01);
  Speculation speculation({.longest = 15, .ngrams = true, .drafter = &drafter});
  EXPECT_GT(write(speculation, kWaits, once, once).speedup, 8);
}

TEST(Speculation, IsOffWithoutASource) {
  const Tokens once = noise(200);
  Speculation none({.longest = 15});
  EXPECT_EQ(write(none, kWaits, once, once).drafted, 0U);
  Speculation no_room({.longest = 0, .ngrams = true, .always = true});
  EXPECT_EQ(write(no_room, kWaits, once, once).drafted, 0U);
}

}  // namespace
}  // namespace brimful::engine
