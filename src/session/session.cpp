#include <brimful/session.h>
#include <common.h>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <map>
#include <utility>

#include "chat/chat_format.h"
#include "engine/sampler.h"
#include "engine/tokenize.h"
#include "schedule/scheduler.h"
#include "session/account.h"
#include "session/budget_change.h"
#include "session/chat_request.h"
#include "session/machine_facts.h"
#include "session/open_engine.h"
#include "session/running_request.h"
#include "session/sampling.h"

namespace brimful {
namespace {

constexpr std::uint32_t kMostLogProbabilities = 20;  // as in OpenAI's API

/// Does something when a function is left, in whatever way.
template <typename Work>
struct AtEnd {
  Work work;
  ~AtEnd() { work(); }
};

}  // namespace

struct Session::State {
  std::vector<std::string> notes;
  std::unique_ptr<engine::Engine> engine;
  std::optional<chat::ChatFormat> format;  // unset: the model has no chat template that can be read
  std::optional<Error> no_format;          // why
  std::optional<schedule::Scheduler> scheduler;
  std::map<RequestId, std::shared_ptr<session::RunningRequest>> open;
  bool busy = false;                // the scheduler works, and may call callbacks
  std::vector<RequestId> unwanted;  // to be ended as soon as the scheduler does not work
  std::exception_ptr thrown;        // the first exception of a callback while the scheduler worked
  std::atomic<bool> cancelled = false;
  std::atomic<bool> changing = false;  // budgets are being changed: cancel_all() leaves the engine alone

  /// Tells every request that is on its way of its end, while all that the callbacks use is there. What they
  /// throw is lost: it cannot leave a destructor.
  ~State() { end_all(); }

  /// Whether the scheduler may be asked to compute. Errors: kInvalidArgument inside a callback; kInternal.
  [[nodiscard]] Status ready() const {
    if (busy) return fail(ErrorCode::kInvalidArgument, "a callback may call only submit() and cancel()");
    if (!engine->can_go_on())
      return fail(ErrorCode::kInternal,
                  "a change of budgets failed, and the old ones could not be had again: end the session");
    return {};
  }
  /// Computes one pass, and then does what the callbacks asked for. What one of them has thrown leaves here.
  [[nodiscard]] Result<bool> step() {
    busy = true;
    Result<bool> out = [this] {
      const AtEnd end{[this] { busy = false; }};
      return scheduler->step();
    }();
    end_unwanted();
    throw_on();
    return out;
  }
  /// Ends a request; inside a callback only after it, because the scheduler is still at work on the request.
  void cancel(RequestId request) {
    const auto at = open.find(request);
    if (at == open.end()) return;
    at->second->stop_showing();
    unwanted.push_back(request);
    if (!busy) end_unwanted();
  }
  void end_unwanted() {
    busy = true;
    const AtEnd end{[this] { busy = false; }};
    while (!unwanted.empty()) {
      const RequestId request = unwanted.back();
      unwanted.pop_back();
      scheduler->cancel(request);
    }
  }
  void end_all() {
    while (!open.empty()) cancel(open.begin()->first);
  }
  /// Forgets calls of cancel_all(). The one that comes meanwhile is forgotten or counts for what follows.
  void forget_cancel_all() {
    cancelled = false;
    engine->resume();
  }
  /// Calls a callback, perhaps. The scheduler cannot bear an exception: it is kept, and leaves the session
  /// when the scheduler does not work any more. Returns false after one.
  bool call(const auto& work) {
    try {
      work();
      return true;
    } catch (...) {
      if (!thrown) thrown = std::current_exception();
      return false;
    }
  }
  void throw_on() {
    if (thrown) std::rethrow_exception(std::exchange(thrown, nullptr));
  }

  /// Errors: kInvalidArgument for an id that the vocabulary does not have.
  [[nodiscard]] Status check_tokens(const std::vector<std::int32_t>& tokens) const {
    const std::int32_t count = llama_vocab_n_tokens(engine->vocab());
    const auto wrong =
        std::ranges::find_if(tokens, [&](std::int32_t token) { return token < 0 || token >= count; });
    if (wrong == tokens.end()) return {};
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("tokens: {}: ids are from 0 to {} for this model", *wrong, count - 1));
  }
  [[nodiscard]] Status set_prompt(const Prompt& prompt, session::AnswerRules rules,
                                  const session::Notes& notes, schedule::Request& request,
                                  chat::ChatParser& parser) const;
  [[nodiscard]] Result<RequestId> submit(schedule::Request request, chat::ChatParser parser,
                                         std::vector<std::string> request_notes, Callbacks callbacks);
};

Session::Session(std::unique_ptr<State> state) : state_(std::move(state)) {}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;
Session::~Session() = default;

Result<Session> Session::start(const Model& model, const Budgets& budgets, const ContextOptions& context,
                               const OnProgress& on_progress) {
  if (context.machine && !context.machine->is_this_machine())
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("machine: {} is not this machine, and a session runs here: leave it unset, or give "
                    "Machine::measure()",
                    context.machine->name()));
  auto state = std::make_unique<State>();
  const hardware::Profile* const machine = context.machine ? &context.machine->facts_->profile : nullptr;
  BRIMFUL_TRY(state->engine, session::open_and_prepare(model.path(), budgets, context, machine,
                                                       session::notes_into(state->notes)));
  BRIMFUL_TRY_VOID(state->engine->start(
      [&](Bytes done, Bytes total) { return !on_progress || on_progress(done, total); }));
  // Many requests share the context. A single one gets no more tokens than the model was trained on, unless
  // asked.
  const std::uint64_t trained = model.train_context();
  state->scheduler.emplace(
      *state->engine,
      schedule::Scheduler::Options{.most_running = context.sequences,
                                   .longest_text = trained > 0 && !context.tokens ? trained : SIZE_MAX});
  if (model.has_chat_template() || !context.chat_template.empty()) {
    auto format = chat::ChatFormat::create(*state->engine, context.chat_template);
    if (format) {
      state->format.emplace(std::move(*format));
    } else {
      state->no_format = format.error();
    }
  } else {
    state->no_format =
        Error{ErrorCode::kUnsupported, "this model has no chat template: give a text to complete"};
  }
  return Session(std::move(state));
}

/// Sets the prompt of `request`, the rules that its answer follows, and the parser of the answer.
Status Session::State::set_prompt(const Prompt& prompt, session::AnswerRules rules,
                                  const session::Notes& tell, schedule::Request& request,
                                  chat::ChatParser& parser) const {
  const int kinds = int{!prompt.text.empty()} + int{!prompt.tokens.empty()} + int{!prompt.messages.empty()};
  if (kinds > 1)
    return fail(ErrorCode::kInvalidArgument, "prompt: has more than one of text, tokens and messages");
  if (prompt.messages.empty()) {
    if (!prompt.tools.empty())
      return fail(ErrorCode::kInvalidArgument, "tools: belong to a chat, and there are no messages");
    request.sampling.grammar = std::move(rules.grammar);
    if (prompt.tokens.empty()) {
      BRIMFUL_TRY(request.prompt, engine::tokenize_bounded(*engine, prompt.text, true, true));
      return {};
    }
    BRIMFUL_TRY_VOID(check_tokens(prompt.tokens));
    request.prompt = prompt.tokens;
    return {};
  }
  if (!format) return std::unexpected(*no_format);
  BRIMFUL_TRY(const chat::ChatRequest chat, session::chat_request(prompt, std::move(rules), tell));
  BRIMFUL_TRY(chat::ChatPrompt rendered, format->apply(chat));
  rendered.constrain(request.sampling);
  request.prompt = std::move(rendered.tokens);
  std::ranges::move(rendered.stops, std::back_inserter(request.stop_strings));
  parser = std::move(rendered.parser);
  for (const std::string& warning : rendered.warnings) tell(warning);
  return {};
}

Result<RequestId> Session::State::submit(schedule::Request request, chat::ChatParser parser,
                                         std::vector<std::string> request_notes, Callbacks callbacks) {
  const auto one = std::make_shared<session::RunningRequest>(
      std::move(parser), std::move(callbacks),
      Completion{.prompt_tokens = request.prompt.size(), .notes = std::move(request_notes)});
  const auto ended = std::make_shared<std::optional<RequestId>>();
  BRIMFUL_TRY(const RequestId id,
              scheduler->submit(std::move(request), {.on_piece =
                                                         [this, one](schedule::Piece piece) {
                                                           if (!call([&] { one->add(piece); }))
                                                             one->stop_showing();
                                                           return one->is_wanted();
                                                         },
                                                     .on_end =
                                                         [this, one, ended](Result<schedule::Answer> answer) {
                                                           if (*ended) open.erase(**ended);
                                                           call([&] { one->end(std::move(answer)); });
                                                         }}));
  *ended = id;
  open.emplace(id, one);
  return id;
}

Result<RequestId> Session::submit(const Prompt& prompt, const SamplingOptions& sampling,
                                  Callbacks callbacks) {
  State& state = *state_;
  engine::Engine& engine = *state.engine;
  if (engine.only_embeds())
    return fail(ErrorCode::kUnsupported,
                "this model writes no text: it only makes embeddings, see Session::embed()");
  if (sampling.max_tokens == 0U)
    return fail(ErrorCode::kInvalidArgument,
                "max_tokens: 0 writes nothing: give at least 1, or leave it unset");
  std::vector<std::string> notes;
  BRIMFUL_TRY(session::AnswerRules rules, session::answer_rules(sampling, session::notes_into(notes)));
  schedule::Request request{.stop_strings = sampling.stop, .priority = schedule::Priority::kInteractive};
  BRIMFUL_TRY(request.sampling, session::sampling_params(sampling, llama_vocab_n_tokens(engine.vocab())));
  std::erase(request.stop_strings, "");
  if (sampling.max_tokens)
    request.limit = static_cast<int>(std::min<std::uint32_t>(*sampling.max_tokens, INT32_MAX));
  if (sampling.top_log_probabilities > kMostLogProbabilities)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("top_log_probabilities: {} are too many: at most {}",
                            *sampling.top_log_probabilities, kMostLogProbabilities));
  if (sampling.top_log_probabilities)
    request.top_logprobs = static_cast<int>(*sampling.top_log_probabilities);
  request.repeatable = request.sampling.temp <= 0 || sampling.seed.has_value();
  chat::ChatParser parser;
  BRIMFUL_TRY_VOID(state.set_prompt(prompt, std::move(rules), session::notes_into(notes), request, parser));
  BRIMFUL_TRY_VOID(engine::try_grammar(engine, request.sampling));
  if (!state.busy && state.open.empty()) state.forget_cancel_all();
  return state.submit(std::move(request), std::move(parser), std::move(notes), std::move(callbacks));
}

Result<bool> Session::step() {
  State& state = *state_;
  BRIMFUL_TRY_VOID(state.ready());
  if (!state.cancelled) {
    Result<bool> stepped = state.step();
    // The engine alone is told in the middle of a cancel_all() of another thread: that counts as well.
    if (stepped || stepped.error().code != ErrorCode::kCancelled) return stepped;
  }
  state.forget_cancel_all();
  state.end_all();
  state.throw_on();
  return fail(ErrorCode::kCancelled, "cancel_all() ended the requests");
}

void Session::cancel(RequestId request) {
  state_->cancel(request);
  if (!state_->busy) state_->throw_on();
}

void Session::cancel_all() noexcept {
  state_->cancelled = true;
  if (!state_->changing) state_->engine->abort();
}

Result<Completion> Session::generate(const Prompt& prompt, const SamplingOptions& sampling,
                                     const OnText& on_text) {
  BRIMFUL_TRY_VOID(state_->ready());
  std::optional<Result<Completion>> done;
  BRIMFUL_TRY(const RequestId id,
              submit(prompt, sampling, {.on_text = on_text, .on_end = [&done](Result<Completion> completion) {
                                          done = std::move(completion);
                                        }}));
  const AtEnd end{[this, id] { state_->cancel(id); }};
  while (!done) {
    const Result<bool> stepped = step();
    if (!stepped && !done) return std::unexpected(stepped.error());
  }
  return std::move(*done);
}

Result<std::vector<std::int32_t>> Session::tokenize(std::string_view text, bool special) const {
  return engine::tokenize_bounded(*state_->engine, std::string(text), special, special);
}

Result<std::string> Session::text_of(const std::vector<std::int32_t>& tokens, bool special) const {
  BRIMFUL_TRY_VOID(state_->check_tokens(tokens));
  std::string out;
  for (const std::int32_t token : tokens)
    out += common_token_to_piece(state_->engine->vocab(), token, special);
  return out;
}

Result<std::vector<float>> Session::embed(std::string_view text) {
  State& state = *state_;
  BRIMFUL_TRY_VOID(state.ready());
  BRIMFUL_TRY_VOID(state.engine->can_embed());
  if (state.open.empty()) state.forget_cancel_all();
  schedule::Request request{.embed = true, .priority = schedule::Priority::kInteractive};
  BRIMFUL_TRY(request.prompt, engine::tokenize_bounded(*state.engine, std::string(text), true, false));
  std::optional<Result<schedule::Answer>> done;
  BRIMFUL_TRY(const RequestId id,
              state.scheduler->submit(std::move(request), {.on_piece = {}, .on_end = [&done](auto answer) {
                                                             done = std::move(answer);
                                                           }}));
  const AtEnd end{[&state, id] { state.scheduler->cancel(id); }};
  while (!done) {
    const Result<bool> stepped = step();
    if (!stepped && !done) return std::unexpected(stepped.error());
  }
  if (!*done) return std::unexpected(done->error());
  return std::move((*done)->vectors.at(0));
}

Status Session::change_budgets(const Budgets& budgets) {
  State& state = *state_;
  BRIMFUL_TRY_VOID(state.ready());
  BRIMFUL_TRY(const engine::BudgetChange change,
              session::budget_change(budgets, session::names_in_use(*state.engine), state.engine->names()));
  state.scheduler->evict();
  // The engine may compute to measure what a driver takes: stopped there, it could not go on. The next step()
  // tells of a cancel_all().
  state.changing = true;
  const AtEnd end{[&state] { state.changing = false; }};
  state.engine->resume();
  const Status changed = state.engine->change_budgets(change);
  if (!state.engine->can_go_on())
    return fail(
        ErrorCode::kInternal,
        fmt::format("{}; the old budgets could not be restored: end the session", changed.error().message));
  return changed;
}

Account Session::account() const {
  Account out = session::account_of(*state_->engine);
  out.peak = state_->engine->peak_bytes();
  return out;
}

Statistics Session::statistics() const {
  const schedule::Statistics& did = state_->scheduler->statistics();
  const tier::PassStatistics passes = state_->engine->pass_statistics();
  return {.passes = did.passes,
          .prompt_tokens = did.prompt_tokens,
          .prompt_tokens_cached = did.shared_tokens,
          .tokens = did.tokens,
          .draft_tokens = did.drafted,
          .draft_tokens_accepted = did.accepted,
          .preempted = did.preempted,
          .seconds = did.seconds,
          .stalled_seconds = std::chrono::duration<double>(passes.stalled).count(),
          .read = passes.read,
          .experts_used = passes.experts.used,
          .experts_found = passes.experts.hits};
}

std::uint32_t Session::context() const { return *state_->engine->prepared().context; }

std::vector<std::string> Session::notes() const {
  std::vector<std::string> out = state_->notes;
  for (const std::string& one : state_->engine->notes()) out.push_back(one);
  return out;
}

}  // namespace brimful
