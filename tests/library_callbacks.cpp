// A program of another author that asks for much: callbacks that throw, cancel and submit, cancel_all() from
// another thread, a session that moves, and settings that cannot be. Usage: library_callbacks MODEL.gguf

#include <brimful/brimful.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using brimful::Completion;
using brimful::ErrorCode;
using brimful::Result;
using brimful::Session;
using brimful::StopReason;

const brimful::Prompt kPrompt{.text = "Once upon a time"};

brimful::SamplingOptions greedy(std::uint32_t tokens) {
  return {.numbers = {{"temperature", 0}}, .max_tokens = tokens};
}

int problems = 0;

void expect(bool holds, const char* what) {
  if (holds) return;
  std::printf("not so: %s\n", what);
  ++problems;
}

void finish(Session& session) {
  for (int passes = 0; passes < 1000; ++passes) {
    const Result<bool> more = session.step();
    if (!more || !*more) return expect(more.has_value(), "the requests are finished without an error");
  }
  expect(false, "the requests end");
}

/// Requests beside each other, and what has come of each.
struct Asked {
  struct One {
    brimful::RequestId id = 0;
    int pieces = 0;
    int ends = 0;
    Completion last;
  };
  explicit Asked(std::size_t count) : all(count) {}
  std::vector<One> all;

  /// `also` is called with the number of the request, after each of its pieces and at its end.
  void submit(Session& session, std::uint32_t tokens,
              const std::function<void(std::size_t, bool ended)>& also = {}) {
    for (std::size_t i = 0; i < all.size(); ++i) {
      One& one = all[i];
      const auto on_text = [&one, also, i](std::string_view) {
        ++one.pieces;
        if (also) also(i, false);
        return true;
      };
      const auto on_end = [&one, also, i](Result<Completion> answer) {
        ++one.ends;
        if (answer) one.last = std::move(*answer);
        if (also) also(i, true);
      };
      const auto id = session.submit(kPrompt, greedy(tokens), {.on_text = on_text, .on_end = on_end});
      expect(id.has_value(), "a request is taken");
      if (id) one.id = *id;
    }
  }
  void expect_ends(int times, const char* what) const {
    for (const One& one : all) expect(one.ends == times, what);
  }
};

void throwing(Session& session) {
  Asked others(1);
  others.submit(session, 8);
  bool thrown = false;
  try {
    (void)session.generate(kPrompt, greedy(8),
                           [](std::string_view) -> bool { throw std::runtime_error("mine"); });
  } catch (const std::runtime_error& error) {
    thrown = error.what() == std::string("mine");
  }
  expect(thrown, "what on_text throws leaves generate()");
  finish(session);
  others.expect_ends(1, "another request goes on after an exception");
  expect(others.all[0].last.tokens.size() == 8, "another request loses nothing by an exception");

  thrown = false;
  const auto id =
      session.submit(kPrompt, greedy(8),
                     {.on_text = {}, .on_end = [](Result<Completion>) { throw std::runtime_error("mine"); }});
  try {
    session.cancel(id.value());
  } catch (const std::runtime_error&) {
    thrown = true;
  }
  expect(thrown, "what on_end throws leaves cancel()");
}

void cancelling(Session& session) {
  Asked asked(3);
  asked.submit(session, 20, [&](std::size_t i, bool ended) {
    if (ended) session.cancel(asked.all[i].id);  // it has ended: this does nothing
    if (i != 0 || ended || asked.all[0].pieces != 3) return;
    session.cancel(asked.all[0].id);
    session.cancel(asked.all[2].id);
  });
  finish(session);
  asked.expect_ends(1, "every request ends once, also where its callbacks cancel it");
  expect(asked.all[0].last.reason == StopReason::kCancelled &&
             asked.all[2].last.reason == StopReason::kCancelled,
         "a callback can cancel its request and another one");
  expect(asked.all[0].pieces == 3, "on_text is not called after cancel()");
  expect(asked.all[1].last.tokens.size() == 20, "the request that nobody cancels goes on");

  Asked waits(1);
  waits.submit(session, 20, [&](std::size_t, bool) { session.cancel(waits.all[0].id); });
  session.cancel(waits.all[0].id);
  waits.expect_ends(1, "a request that is cancelled before it runs ends once");
}

void calling_back(Session& session) {
  Asked next(1);
  ErrorCode code{};
  const auto on_end = [&](Result<Completion>) {
    next.submit(session, 4);
    const auto refused = session.generate(kPrompt, greedy(4));
    if (!refused) code = refused.error().code;
  };
  expect(session.submit(kPrompt, greedy(4), {.on_text = {}, .on_end = on_end}).has_value(),
         "a request is taken");
  finish(session);
  next.expect_ends(1, "a callback can submit the next request");
  expect(code == ErrorCode::kInvalidArgument, "generate() is refused inside a callback");
}

void cancelling_all(Session& session) {
  session.cancel_all();
  const auto whole = session.generate(kPrompt, greedy(4));
  expect(whole && whole->reason == StopReason::kLimit,
         "cancel_all() does nothing where no request is on its way");

  Asked asked(3);
  asked.submit(session, 100);
  const Result<bool> more = session.step();
  expect(more && *more, "three requests run");
  session.cancel_all();
  const Result<bool> stopped = session.step();
  expect(!stopped && stopped.error().code == ErrorCode::kCancelled, "step() tells of cancel_all()");
  asked.expect_ends(1, "cancel_all() has ended the requests when step() tells of it");

  std::atomic<bool> enough = false;
  std::thread other([&] {
    while (!enough) {
      session.cancel_all();
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  });
  for (int i = 0; i < 50; ++i) {
    const auto answer = session.generate(kPrompt, greedy(2));
    expect(answer.has_value(), "cancel_all() at any moment makes no error of generate()");
  }
  enough = true;
  other.join();
  const auto after = session.generate(kPrompt, greedy(4));
  expect(after && after->reason == StopReason::kLimit, "the session goes on after cancel_all()");
}

void changing(Session& session) {
  const std::uint32_t context = session.context();
  expect(context > 0, "a session that has started tells its context");
  Asked asked(4);
  asked.submit(session, 20);
  for (int passes = 0; passes < 6; ++passes) (void)session.step();
  const auto vector = session.embed("a text");
  expect(vector && !vector->empty(), "embed() works beside requests");
  expect(session.change_budgets({.ram = brimful::kMiB * 200}).has_value(),
         "budgets change while requests run");
  expect(session.context() == context, "the context stays the same");
  Session moved = std::move(session);
  finish(moved);
  asked.expect_ends(1, "requests go on after a change of budgets, in a session that was moved");
  for (const Asked::One& one : asked.all)
    expect(one.last.tokens.size() == 20 && one.last.tokens == asked.all[0].last.tokens,
           "their tokens are the same");
  session = std::move(moved);
}

void settings(const brimful::Model& model, Session& session) {
  const auto refused = [](const auto& result) {
    return !result && result.error().code == ErrorCode::kInvalidArgument;
  };
  const auto nothing = session.generate(kPrompt, greedy(0));
  expect(nothing && nothing->tokens.empty(), "an answer of no token computes its prompt");
  expect(refused(model.plan({}, {.sequences = 0})), "no request at once is refused");
  expect(refused(model.plan({}, {.sequences = 1000})), "1000 requests at once are refused");
  expect(refused(model.plan({}, {.threads = 0})), "no thread is refused");
  expect(model.plan({}, {.threads = 4'000'000'000}).has_value(), "more threads than can run are lowered");

  const brimful::SamplingOptions seeded{
      .numbers = {{"temperature", 4}, {"min_p", 0}}, .seed = 0xffffffff, .max_tokens = 8};
  const auto one = session.generate(kPrompt, seeded);
  const auto other = session.generate(kPrompt, seeded);
  expect(one && other && one->tokens == other->tokens, "the largest seed is a seed like others");

  const auto longest = session.generate(kPrompt, {.numbers = {{"temperature", 0}}});
  expect(longest && longest->reason == StopReason::kContextFull,
         "an answer without a limit fills what it may have");
  // The last token is written, and not computed.
  expect(longest && longest->prompt_tokens + longest->tokens.size() == model.train_context() + 1,
         "an answer is no longer than the model was trained for");

  const std::size_t notes = session.notes().size();
  brimful::SamplingOptions schema = greedy(4);
  schema.json_schema = R"({"type": "array", "uniqueItems": true})";
  const auto answer = session.generate(kPrompt, schema);
  expect(answer && answer->notes.size() == 1, "an answer tells what of its schema is not enforced");
  expect(session.notes().size() == notes, "the notes of a session do not grow with its requests");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::printf("usage: library_callbacks MODEL.gguf\n");
    return 2;
  }
  const auto model = brimful::Model::open(argv[1]);
  if (!model) {
    std::printf("%s\n", model.error().message.c_str());
    return 1;
  }
  Asked late(2);
  {
    auto session = Session::start(*model, {.ram = brimful::kMiB * 400}, {.sequences = 3});
    if (!session) {
      std::printf("%s\n", session.error().message.c_str());
      return 1;
    }
    throwing(*session);
    cancelling(*session);
    calling_back(*session);
    cancelling_all(*session);
    changing(*session);
    settings(*model, *session);
    late.submit(*session, 20);
  }
  late.expect_ends(1, "the end of a session tells its requests");
  return problems == 0 ? 0 : 1;
}
