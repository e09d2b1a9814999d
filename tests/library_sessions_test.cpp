// The public interface: what a session can be, and what others see of it.

#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "library_fixture.h"
#include "runtime_directory.h"
#include "scripted_model.h"

namespace brimful::tests {
namespace {

Plan plan_of(const std::filesystem::path& file, const Budgets& budgets, const ContextOptions& context) {
  const auto model = Model::open(file);
  if (!model) throw std::runtime_error(model.error().message);
  auto plan = model->plan(budgets, context);
  if (!plan) throw std::runtime_error(plan.error().message);
  return std::move(*plan);
}

Bytes bytes_of(const Account& account, const std::string& tag) {
  for (const auto& [name, bytes] : account.tiers.at(0).tags) {
    if (name == tag) return bytes;
  }
  throw std::runtime_error(tag);
}

TEST_F(Library, AnswersTheTurnsOfAConversationAsTheProgramDoes) {
  Session session = start(model_, {.tokens = 512, .sharing = Sharing::kConversation});
  const Completion first = answer(session, kPrompt, greedy(24));
  EXPECT_EQ(nlohmann::json(first.tokens),
            tokens_of_run(model_.string(), {"-c", "512", "--spec-type", "none"}));
  const Completion longer = answer(session, kPrompt, greedy(60));
  const Completion next = answer(session, turn_after(session, longer), greedy(8));
  EXPECT_GE(next.prompt_tokens_cached, longer.prompt_tokens + longer.tokens.size() - 1)
      << "it begins with the last answer, also at temperature 0";
  expect_not_started(model_, {.sequences = 2, .sharing = Sharing::kConversation}, ErrorCode::kInvalidArgument,
                     "sequences: a conversation has 1, not 2");
}

TEST_F(Library, MakesAConversationForItsFirstPrompt) {
  const auto ubatch = [&](std::uint64_t prompt) {
    return plan_of(model_, {.ram = kGiB},
                   {.sharing = Sharing::kConversation, .workload = Workload{.prompt_tokens = prompt}})
        .ubatch;
  };
  EXPECT_EQ(ubatch(60), 64U);
  EXPECT_EQ(ubatch(200), 256U);
}

TEST_F(Library, GivesARequestItsTokensWhateverOthersThereAre) {
  Session session = start(model_, {.sharing = Sharing::kOneByOne});
  const SamplingOptions seeded{.numbers = {{"temperature", 1}}, .seed = 7, .max_tokens = 16};
  const std::vector<std::string> prompts{"Once upon a time", "One day, a dog", "The sun was", "A red ball"};
  std::vector<std::vector<std::int32_t>> alone;
  for (const std::string& prompt : prompts) alone.push_back(answer(session, {.text = prompt}, seeded).tokens);
  std::vector<std::vector<std::int32_t>> together(prompts.size());
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    ASSERT_TRUE(session.submit({.text = prompts[i]}, seeded,
                               {.on_end = [&, i](const auto& done) { together[i] = done.value().tokens; }}));
  }
  EXPECT_EQ(session.statistics().waiting, prompts.size());
  while (session.step().value()) EXPECT_LE(session.statistics().running, 1U);
  EXPECT_EQ(together, alone);
  EXPECT_EQ(session.statistics().most_running, 1U);
  EXPECT_EQ(session.statistics().waiting, 0U);
  EXPECT_LE(session.statistics().free_tokens, session.context());
}

TEST_F(Library, KeepsTheBytesFreeThatItsCallerWillTake) {
  const Bytes without = bytes_of(plan_of(model_, {.ram = kGiB}, {}).account, "runtime");
  const auto reserved = [&](const CallerReserve& reserve) {
    const Plan plan = plan_of(model_, {.ram = kGiB}, {.caller_reserve = reserve});
    return bytes_of(plan.account, "runtime").value - without.value;
  };
  // What the process itself holds differs a little from plan to plan.
  constexpr auto kNear = static_cast<double>(1 << 20);
  const auto mib = [](std::uint64_t count) { return static_cast<double>(count << 20); };
  EXPECT_NEAR(static_cast<double>(reserved({.fixed = kMiB * 100})), mib(100), kNear);
  EXPECT_NEAR(static_cast<double>(reserved({.fixed = kMiB * 10, .share = 0.125})), mib(138), kNear);
  EXPECT_NEAR(static_cast<double>(reserved({.share = 0.125, .least = kMiB * 200})), mib(200), kNear);
  EXPECT_NEAR(static_cast<double>(reserved({.share = 0.125, .most = kMiB * 50})), mib(50), kNear);
  const auto all = Model::open(model_)->plan({.ram = kGiB}, {.caller_reserve = {.fixed = Bytes{UINT64_MAX}}});
  ASSERT_FALSE(all);
  EXPECT_EQ(all.error().code, ErrorCode::kInfeasible);
  expect_not_started(model_, {.caller_reserve = {.share = 0.9}}, ErrorCode::kInvalidArgument,
                     "caller_reserve.share: 0.9");
}

TEST_F(Library, PlansWhereEveryByteWillBe) {
  const ContextOptions context{.tokens = 256, .ubatch = 64};
  for (const Bytes ram : {kMiB * 70, kMiB * 400}) {
    const Plan plan = plan_of(model_, {.ram = ram}, context);
    Bytes sum;
    for (const auto& [tag, bytes] : plan.account.tiers.at(0).tags) sum += bytes;
    EXPECT_EQ(sum, ram);
    EXPECT_GT(bytes_of(plan.account, "weights"), Bytes{});
    EXPECT_GT(bytes_of(plan.account, "kv_cache"), Bytes{});
    EXPECT_EQ(plan.streamed_per_pass > Bytes{}, ram == kMiB * 70);
    EXPECT_EQ(plan.account.weights, plan.weights);
  }
}

TEST_F(Library, DoesWhatAnEarlierPlanSays) {
  const ContextOptions context{.tokens = 256, .ubatch = 64};
  const Plan before = plan_of(model_, {.ram = kMiB * 70}, context);
  ASSERT_GT(before.streamed_per_pass, Bytes{});
  EXPECT_EQ(before.context, 256U);
  EXPECT_EQ(before.ubatch, 64U);
  EXPECT_EQ(before.sequences, 1U);
  EXPECT_EQ(before.key_cache, "f16");
  ContextOptions again = context;
  again.weights_budget = before.weights_budget;
  EXPECT_EQ(plan_of(model_, {.ram = kMiB * 200}, again).streamed_per_pass, before.streamed_per_pass)
      << "it does not use the rest of a larger budget";
  const auto too_small = Model::open(model_)->plan({.ram = kMiB * 60}, again);
  ASSERT_FALSE(too_small);
}

TEST_F(Library, ChoosesAContextForTheRequestsThatAreExpected) {
  const auto planned = [&](const Workload& work) {
    return plan_of(model_, {.ram = kGiB}, {.sequences = 8, .workload = work});
  };
  const Plan small = planned({.prompt_tokens = 40, .answer_tokens = 20});
  const Plan large = planned({.prompt_tokens = 400, .answer_tokens = 600, .most_tokens = 1500});
  EXPECT_LT(small.context, large.context);
  EXPECT_GE(large.context, 1500U);
  EXPECT_GE(planned({.prompt_tokens = 40, .answer_tokens = 20, .least_tokens = 4000}).context, 4000U);
  EXPECT_LE(small.sequences, 8U);
}

TEST_F(Library, ChoosesCacheTypesOnlyByAForecast) {
  const Plan plan = plan_of(model_, {.ram = kGiB}, {.key_cache = "auto", .value_cache = "auto"});
  EXPECT_EQ(plan.key_cache, "f16");
  EXPECT_EQ(plan.value_cache, "f16");
  expect_not_started(model_, {.key_cache = "q3"}, ErrorCode::kInvalidArgument, "iq4_nl auto");
}

TEST_F(Library, ReadsTheDiskAsItIsTold) {
  const auto run = [&](DiskReads reads) {
    const auto model = Model::open(model_);
    auto session =
        Session::start(*model, {.ram = kMiB * 70}, {.tokens = 256, .ubatch = 64, .disk_reads = reads});
    if (!session) throw std::runtime_error(session.error().message);
    const Completion done = answer(*session, kPrompt, greedy(8));
    const Statistics did = session->statistics();
    EXPECT_GT(did.read, Bytes{});
    EXPECT_GT(did.loaded, Bytes{});
    return done.tokens;
  };
  EXPECT_EQ(run(DiskReads::kThreads), run(DiskReads::kAuto));
}

TEST_F(Library, WritesATraceOfWhatItHasDone) {
  const auto file = directory_.path() / "trace.json";
  Session session = start(model_, {.trace = true});
  (void)answer(session, kPrompt, greedy(5));
  const Status written = session.write_trace(file);
  ASSERT_TRUE(written) << written.error().message;
  std::ifstream in(file);
  const auto events = nlohmann::json::parse(in, nullptr, false);
  ASSERT_TRUE(events.is_array());
  std::uint64_t passes = 0;
  for (const auto& event : events) passes += event["ph"] == "X" && event["tid"] == 0 ? 1 : 0;
  EXPECT_GE(passes, session.statistics().passes);
  const Status without = start(model_).write_trace(file);
  ASSERT_FALSE(without);
  EXPECT_EQ(without.error().code, ErrorCode::kInvalidArgument);
}

TEST_F(Library, TellsWhereTheWeightsAreAndWhatEarlierBudgetsHeld) {
  Session session = start(model_);
  EXPECT_TRUE(session.account().earlier.empty());
  EXPECT_EQ(session.account().resident_weights, session.account().weights);
  ASSERT_TRUE(session.change_budgets({.ram = kMiB * 400}));
  const Account account = session.account();
  ASSERT_EQ(account.earlier.size(), 1U);
  EXPECT_EQ(account.earlier[0].budget, kGiB);
  EXPECT_LE(account.earlier[0].peak.value_or(Bytes{}), kGiB);
  EXPECT_GT(account.weights, Bytes{});
  EXPECT_EQ(account.tiers[0].device, "");
}

class LibraryControl : public Library {
 protected:
  const RuntimeDirectory runtime_;
};

TEST_F(LibraryControl, CanBeWatchedAndChangedByOthersWhereItIsAskedFor) {
  Session session = start(model_, {.control_socket = true});
  EXPECT_TRUE(session.notes().size() < 5) << "the socket could be made";
  const auto descriptor = session.control_descriptor();
  ASSERT_TRUE(descriptor);
  const Completion before = answer(session, kPrompt, greedy(8));

  const ProgramRun listed = run_brimful({"ctl", "--json"});
  ASSERT_EQ(listed.exit_code, 0) << listed.err;
  const auto status = nlohmann::json::parse(listed.out).at(0);
  EXPECT_EQ(status["pid"], ::getpid());
  EXPECT_EQ(status["model"], model_.string());
  EXPECT_EQ(status["tiers"][0]["budget_bytes"], kGiB.value);

  std::atomic<bool> ended = false;
  ProgramRun changed;
  std::thread other([&] {
    changed = run_brimful({"ctl", "--ram", "400MiB"});
    ended = true;
  });
  while (!ended) {  // as a program does that waits for its own users as well
    pollfd waited{*descriptor, POLLIN, 0};
    if (::poll(&waited, 1, 20) > 0) {
      EXPECT_TRUE(session.step());
    }
  }
  other.join();
  EXPECT_EQ(changed.exit_code, 0) << changed.err;
  EXPECT_EQ(session.account().tiers[0].budget, kMiB * 400);
  EXPECT_EQ(answer(session, kPrompt, greedy(8)).tokens, before.tokens);
}

TEST_F(LibraryControl, IsSeenByNobodyByItself) {
  const Session session = start(model_);
  EXPECT_FALSE(session.control_descriptor());
  for (const auto& entry : std::filesystem::recursive_directory_iterator(runtime_.path()))
    EXPECT_FALSE(entry.is_socket()) << entry.path();
}

}  // namespace
}  // namespace brimful::tests
