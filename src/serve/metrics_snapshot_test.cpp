#include "serve/metrics_snapshot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <sstream>

namespace brimful::serve {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

MetricsSnapshot::Figures figures() {
  MetricsSnapshot::Figures out;
  out.tiers = {{{"name", "host"}, {"budget_bytes", 100}, {"bytes", {{"weights", 60}, {"unused", 40}}}},
               {{"name", "CUDA0"},
                {"budget_bytes", 7},
                {"bytes", {{"weights", 7}}},
                {"sent_bytes", 123},
                {"card_bytes", {{"reserved", 5}}}}};
  return out;
}
std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) out.push_back(line);
  return out;
}

TEST(MetricsText, EachFigureHasItsHelpAndItsTypeOnceBeforeIt) {
  auto now = figures();
  now.peak = Bytes{99};
  const std::string text = metrics_text(now);
  EXPECT_TRUE(text.ends_with('\n'));
  std::set<std::string> known;
  std::string helped;
  for (const std::string& line : lines_of(text)) {
    std::istringstream words(line);
    std::string first;
    std::string second;
    std::string name;
    words >> first >> second >> name;
    if (first == "#" && second == "HELP") {
      helped = name;
    } else if (first == "#") {
      EXPECT_EQ(second, "TYPE");
      EXPECT_EQ(name, helped);
      EXPECT_TRUE(known.insert(name).second) << name << " is there twice";
    } else {
      EXPECT_TRUE(known.contains(first.substr(0, first.find('{')))) << line;
      EXPECT_TRUE(name.empty()) << line;
      EXPECT_NO_THROW((void)std::stod(second)) << line;
    }
  }
}

TEST(MetricsText, CountersAreThoseOfTheScheduler) {
  auto now = figures();
  now.did.prompt_tokens = 120;
  now.did.prompt_seconds = 4;
  now.did.tokens = 90;
  now.did.answer_seconds = 3;
  now.did.passes = 10;
  now.did.parts = 25;
  now.did.shared_tokens = 11;
  now.did.preempted = 2;
  now.running = 3;
  now.waiting = 4;
  now.free_cells = 17;
  now.ended = 5;
  now.passes.read = Bytes{1ULL << 40};
  const std::string text = metrics_text(now);
  for (const char* const line :
       {"llamacpp:prompt_tokens_total 120\n", "llamacpp:prompt_tokens_seconds 30\n",
        "llamacpp:predicted_tokens_seconds 30\n", "llamacpp:n_busy_slots_per_decode 2.5\n",
        "llamacpp:requests_processing 3\n", "llamacpp:requests_deferred 4\n",
        "brimful:prompt_tokens_shared_total 11\n", "brimful:sequences_preempted_total 2\n",
        "brimful:kv_cells_free 17\n", "brimful:requests_ended_total 5\n",
        "brimful:streamed_bytes_total 1099511627776\n"})
    EXPECT_THAT(text, HasSubstr(line));
}

TEST(MetricsText, BeforeTheFirstPassRatesAreZero) {
  const std::string text = metrics_text(figures());
  EXPECT_THAT(text, HasSubstr("llamacpp:predicted_tokens_seconds 0\n"));
  EXPECT_THAT(text, Not(HasSubstr("nan")));
  EXPECT_THAT(text, Not(HasSubstr("inf")));
}

TEST(MetricsText, ATierHasItsBytesByTag) {
  const std::string text = metrics_text(figures());
  EXPECT_THAT(text, HasSubstr("brimful:budget_bytes{tier=\"host\"} 100\n"));
  EXPECT_THAT(text, HasSubstr("brimful:tier_bytes{tier=\"host\",tag=\"unused\"} 40\n"));
  EXPECT_THAT(text, HasSubstr("brimful:tier_bytes{tier=\"CUDA0\",tag=\"weights\"} 7\n"));
  EXPECT_THAT(text, HasSubstr("brimful:sent_bytes_total{tier=\"CUDA0\"} 123\n"));
  EXPECT_THAT(text, Not(HasSubstr("brimful:sent_bytes_total{tier=\"host\"}")));
  EXPECT_THAT(text, HasSubstr("brimful:card_bytes{tier=\"CUDA0\",what=\"reserved\"} 5\n"));
  EXPECT_THAT(text, Not(HasSubstr("brimful:card_bytes{tier=\"host\"")));
}

TEST(MetricsText, APeakThatTheKernelDoesNotTellIsLeftOut) {
  EXPECT_THAT(metrics_text(figures()), Not(HasSubstr("brimful:peak_bytes")));
  auto now = figures();
  now.peak = Bytes{0};
  EXPECT_THAT(metrics_text(now), HasSubstr("brimful:peak_bytes 0\n"));
}

TEST(MetricsSnapshot, TheLatestFiguresAreRead) {
  MetricsSnapshot snapshot;
  EXPECT_EQ(snapshot.read().running, 0U);
  auto now = figures();
  now.running = 7;
  snapshot.publish(now);
  EXPECT_EQ(snapshot.read().running, 7U);
  EXPECT_EQ(snapshot.read().tiers, now.tiers);
}

}  // namespace
}  // namespace brimful::serve
