// The public interface: what a request may ask for, and what its answer tells.

#include <cmath>
#include <thread>

#include "library_fixture.h"
#include "scripted_model.h"

namespace brimful::tests {
namespace {

/// What the deltas of an answer add up to.
struct Heard {
  std::string text;  // of on_text
  Delta sum;
  std::vector<ToolCall> calls;
  std::size_t deltas = 0;

  [[nodiscard]] Callbacks callbacks(std::optional<Completion>& done) {
    return {.on_text =
                [this](std::string_view piece) {
                  text += piece;
                  return true;
                },
            .on_delta =
                [this](const Delta& delta) {
                  add(delta);
                  return true;
                },
            .on_end =
                [&done](Result<Completion> answer) {
                  if (answer) done = std::move(*answer);
                }};
  }

 private:
  void add(const Delta& delta) {
    ++deltas;
    EXPECT_EQ(int{!delta.text.empty()} + int{!delta.reasoning.empty()} + int{delta.call.has_value()}, 1);
    sum.text += delta.text;
    sum.reasoning += delta.reasoning;
    std::ranges::copy(delta.log_probabilities, std::back_inserter(sum.log_probabilities));
    if (!delta.call) return;
    if (delta.call->index == calls.size()) {
      calls.push_back(delta.call->added);
      return;
    }
    ASSERT_EQ(delta.call->index + 1, calls.size()) << "calls come one after the other";
    EXPECT_TRUE(delta.call->added.id.empty());
    EXPECT_TRUE(delta.call->added.name.empty());
    calls.back().arguments += delta.call->added.arguments;
  }
};

void finish(Session& session) {
  for (;;) {
    const Result<bool> more = session.step();
    ASSERT_TRUE(more) << more.error().message;
    if (!*more) return;
  }
}

Completion answer_to(Session& session, const Prompt& prompt, const SamplingOptions& sampling, Heard& heard) {
  std::optional<Completion> done;
  const auto id = session.submit(prompt, sampling, heard.callbacks(done));
  if (!id) throw std::runtime_error(id.error().message);
  finish(session);
  return std::move(done.value());
}

const Prompt kQuestion{.messages = {{.role = "user", .content = "Where is it?"}}};

class LibraryThoughts : public Library {
 protected:
  [[nodiscard]] std::filesystem::path thinking_model() const {
    return write_scripted_model(directory_.path(),
                                {.tokens = {"<think>", "I look", " around", "</think>", "It is", " there."},
                                 .chat_template = kChatMl});
  }
};

TEST_F(LibraryThoughts, AreToldAsTheyAreWritten) {
  Session session = start(thinking_model());
  Heard heard;
  const Completion done = answer_to(session, kQuestion, greedy(50), heard);
  EXPECT_EQ(done.reasoning, "I look around");
  EXPECT_EQ(done.text, "It is there.");
  EXPECT_EQ(heard.sum.reasoning, done.reasoning);
  EXPECT_EQ(heard.sum.text, done.text);
  EXPECT_EQ(heard.text, done.text) << "on_text has no thoughts";
  EXPECT_GE(heard.deltas, 4U) << "both came in pieces";
}

TEST_F(LibraryThoughts, StayInTheTextWhereTheyAreNotKeptApart) {
  Session session = start(thinking_model());
  Prompt prompt = kQuestion;
  prompt.thoughts_apart = false;
  const Completion done = answer(session, prompt, greedy(50));
  EXPECT_EQ(done.reasoning, "");
  EXPECT_TRUE(done.text.starts_with("<think>")) << done.text;
  EXPECT_TRUE(done.text.ends_with("</think>It is there.")) << done.text;
}

TEST_F(Library, TellsCallsOfToolsAsTheyAreWritten) {
  const auto model = write_scripted_model(
      directory_.path(), {.tokens = {"<tool_call>\n", R"({"name": "weather", "arguments": {"hot": )", "true",
                                     "}}", "\n</tool_call>"},
                          .chat_template = kChatMl});
  Session session = start(model);
  Prompt prompt = kQuestion;
  prompt.tools = {{.name = "weather", .parameters = R"({"type":"object"})"}};
  Heard heard;
  const Completion done = answer_to(session, prompt, greedy(200), heard);
  ASSERT_EQ(done.tool_calls.size(), 1U) << done.text;
  ASSERT_EQ(heard.calls.size(), 1U);
  EXPECT_EQ(heard.calls[0].name, "weather");
  EXPECT_EQ(heard.calls[0].id, done.tool_calls[0].id);
  EXPECT_EQ(heard.calls[0].arguments, done.tool_calls[0].arguments);
  EXPECT_EQ(heard.text, "");
}

TEST_F(Library, TellsLogProbabilitiesWithThePiecesOfText) {
  Session session = start(model_);
  SamplingOptions sampling = greedy(12);
  sampling.top_log_probabilities = 1;
  Heard heard;
  const Completion done = answer_to(session, kPrompt, sampling, heard);
  ASSERT_EQ(done.log_probabilities.size(), 12U);
  const auto& told = heard.sum.log_probabilities;
  ASSERT_FALSE(told.empty());
  ASSERT_LE(told.size(), done.log_probabilities.size());
  for (std::size_t i = 0; i < told.size(); ++i) {
    EXPECT_EQ(told[i].written.token, done.tokens[i]);
    EXPECT_EQ(told[i].written.log_probability, done.log_probabilities[i].written.log_probability);
  }
}

TEST_F(Library, EndsAnAnswerWhoseReaderWantsNoMoreDeltas) {
  Session session = start(model_);
  std::optional<Completion> done;
  int deltas = 0;
  ASSERT_TRUE(
      session.submit(kPrompt, greedy(50),
                     {.on_delta = [&](const Delta&) { return ++deltas < 3; },
                      .on_end = [&](Result<Completion> answer) { done = std::move(answer.value()); }}));
  finish(session);
  ASSERT_TRUE(done);
  EXPECT_EQ(done->reason, StopReason::kCancelled);
  EXPECT_EQ(deltas, 3);
}

TEST_F(Library, ABackgroundRequestMakesRoomForAnInteractiveOne) {
  Session session = start(model_, {.sharing = Sharing::kOneByOne});
  const Completion alone = answer(session, kPrompt, greedy(30));
  std::string order;
  std::optional<Completion> background;
  ASSERT_TRUE(session.submit(kPrompt, greedy(30),
                             {.on_end =
                                  [&](Result<Completion> done) {
                                    order += "background ";
                                    background = std::move(done.value());
                                  }},
                             {.priority = Priority::kBackground}));
  for (int passes = 0; passes < 5; ++passes) ASSERT_TRUE(session.step());
  ASSERT_TRUE(session.submit({.text = "One day, a dog"}, greedy(5),
                             {.on_end = [&](const auto&) { order += "interactive "; }}));
  finish(session);
  EXPECT_EQ(order, "interactive background ");
  EXPECT_EQ(background->timings.preempted, 1U);
  EXPECT_EQ(background->tokens, alone.tokens);
  EXPECT_EQ(session.statistics().preempted, 1U);
}

TEST_F(Library, ARequestMayBeginWithALateAnswerWhereItNeedNotBeRepeatable) {
  Session session = start(model_);
  const Completion first = answer(session, kPrompt, greedy(60));
  const Prompt next = turn_after(session, first);
  const auto cached = [&](std::optional<bool> repeatable) {
    std::size_t out = 0;
    EXPECT_TRUE(session.submit(
        next, greedy(1),
        {.on_end = [&](const Result<Completion>& done) { out = done.value().prompt_tokens_cached; }},
        {.repeatable = repeatable}));
    finish(session);
    return out;
  };
  EXPECT_EQ(cached(std::nullopt), 0U) << "at temperature 0, a request is repeatable";
  EXPECT_GE(cached(false), first.prompt_tokens + first.tokens.size() - 1);
}

TEST_F(Library, TellsWhatAnAnswerTook) {
  Session session = start(model_);
  const Completion done = answer(session, kPrompt, greedy(20));
  const Timings& took = done.timings;
  EXPECT_GT(took.prompt_seconds, 0);
  EXPECT_GE(took.first_token_seconds, took.prompt_seconds);
  EXPECT_GT(took.answer_seconds, 0);
  EXPECT_GE(took.seconds, took.first_token_seconds + took.answer_seconds);
  EXPECT_EQ(took.answer_passes, 19U) << "the prompt's pass gives the first token";
  EXPECT_EQ(took.draft_tokens, 0U);
  const Statistics all = session.statistics();
  EXPECT_DOUBLE_EQ(all.prompt_seconds, took.prompt_seconds);
  EXPECT_DOUBLE_EQ(all.answer_seconds, took.answer_seconds);
  EXPECT_EQ(all.answer_passes, 19U);
  EXPECT_EQ(all.answer_pass_tokens, 19U);
  EXPECT_EQ(all.most_running, 1U);
}

TEST_F(Library, TellsTheDraftsOfAnAnswer) {
  Session session = start(model_, {.tokens = 512, .drafts = {.model = model_, .most_tokens = 4}});
  const Completion done = answer(session, kPrompt, greedy(50));
  EXPECT_GT(done.timings.draft_tokens_accepted, 0U);
  EXPECT_LE(done.timings.draft_tokens_accepted, done.timings.draft_tokens);
  EXPECT_EQ(done.timings.draft_tokens, session.statistics().draft_tokens);
  EXPECT_LT(done.timings.answer_passes, 49U);
  EXPECT_GT(session.statistics().draft_seconds, 0);
}

TEST_F(Library, ShowsSpecialTokensAsTheProgramDoes) {
  const auto model =
      write_scripted_model(directory_.path(), {.tokens = {"It is", " there."}, .chat_template = kChatMl});
  Session session = start(model);
  SamplingOptions sampling = greedy(50);
  EXPECT_EQ(answer(session, kQuestion, sampling).text, "It is there.");
  sampling.special_tokens = true;
  const std::string text = answer(session, kQuestion, sampling).text;
  EXPECT_EQ(text, "It is there.</s>");
  const ProgramRun run = run_brimful({"run", "-m", model.string(), "-p", "Where is it?", "--temp", "0", "-n",
                                      "50", "--ram", kAmpleRam, "--special"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.out, text + "\n");
}

TEST_F(Library, ComputesAPromptAheadOfItsAnswer) {
  Session session = start(model_);
  const Completion nothing = answer(session, kPrompt, greedy(0));
  EXPECT_TRUE(nothing.tokens.empty());
  EXPECT_EQ(nothing.text, "");
  EXPECT_EQ(nothing.reason, StopReason::kLimit);
  EXPECT_EQ(session.statistics().prompt_tokens, nothing.prompt_tokens);
  EXPECT_EQ(answer(session, kPrompt, greedy(4)).tokens.size(), 4U);
}

TEST_F(Library, RefusesAStrictSchemaThatCannotBeFollowed) {
  Session session = start(model_);
  SamplingOptions sampling = greedy(4);
  sampling.json_schema = R"({"type": "array", "uniqueItems": true})";
  EXPECT_EQ(answer(session, kPrompt, sampling).notes.size(), 1U);
  sampling.strict_schema = true;
  expect_refused(session, kPrompt, sampling, "json_schema: the schema is strict");
  Session chat = start(model_, {.chat_template = kChatMl});
  Prompt prompt = kQuestion;
  prompt.tools = {{.name = "weather", .parameters = sampling.json_schema}};
  EXPECT_TRUE(chat.read(prompt, greedy(4)));
  prompt.tools[0].strict = true;
  expect_refused(chat, prompt, greedy(4), "tools[0].parameters: the schema is strict");
}

TEST_F(Library, ReadsRequestsWhileAnotherThreadComputes) {
  Session session = start(model_, {.sequences = 2});
  const Completion alone = answer(session, kPrompt, greedy(16));
  SamplingOptions sampling = greedy(16);
  std::vector<Request> requests;
  std::thread reader([&] {
    for (int i = 0; i < 20; ++i) {
      auto request = session.read(kPrompt, sampling);
      if (request) requests.push_back(std::move(*request));
    }
  });
  const auto long_answer = session.generate({.text = "One day"}, greedy(100));
  reader.join();
  ASSERT_TRUE(long_answer);
  ASSERT_EQ(requests.size(), 20U);
  EXPECT_EQ(requests[0].prompt_tokens(), alone.prompt_tokens);
  std::size_t same = 0;
  for (Request& request : requests) {
    ASSERT_TRUE(session.submit(std::move(request), {.on_end = [&](const Result<Completion>& done) {
                                 same += done && done->tokens.size() == alone.tokens.size() ? 1 : 0;
                               }}));
  }
  finish(session);
  EXPECT_EQ(same, requests.size());

  const auto again = session.submit(std::move(requests[0]), {});
  ASSERT_FALSE(again) << "a request is submitted once";
  EXPECT_EQ(again.error().code, ErrorCode::kInvalidArgument);
  Session other = start(model_);
  const auto foreign = other.submit(session.read(kPrompt, sampling).value(), {});
  ASSERT_FALSE(foreign) << "a request belongs to one session";
  EXPECT_EQ(foreign.error().code, ErrorCode::kInvalidArgument);
}

TEST_F(Library, MakesTheVectorsOfManyTextsAtOnce) {
  Session session = start(model_, {.sequences = 4});
  const auto tokens = session.tokenize("a dog", true, false);
  ASSERT_TRUE(tokens);
  const auto all = session.embed_all({{.text = "Once upon a time"}, {.tokens = *tokens}});
  ASSERT_TRUE(all) << all.error().message;
  ASSERT_EQ(all->size(), 2U);
  for (const auto& [text, vector] :
       {std::pair("Once upon a time", (*all)[0]), std::pair("a dog", (*all)[1])}) {
    const auto one = session.embed(text);
    ASSERT_TRUE(one);
    ASSERT_EQ(vector.size(), one->size());
    for (std::size_t i = 0; i < one->size(); ++i) EXPECT_NEAR(vector[i], (*one)[i], 1e-3) << text;
  }
  EXPECT_TRUE(session.embed_all({}).value().empty());
  EXPECT_FALSE(session.embed_all({kQuestion}));
  EXPECT_FALSE(session.embed_all({{.tokens = {-1}}}));
}

TEST_F(Library, ReadsNamesOfTokensApartFromTheTokensAroundAText) {
  Session session = start(model_);
  const auto count = [&](bool around, bool names) {
    return session.tokenize("a</s>", around, names).value().size();
  };
  EXPECT_EQ(count(true, true), count(false, true) + 1);
  EXPECT_EQ(count(true, false), count(false, false) + 1);
  EXPECT_GT(count(false, false), count(false, true)) << "a name that is no token has several";
}

}  // namespace
}  // namespace brimful::tests
