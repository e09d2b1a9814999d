#include <brimful/session.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "chat/chat_format.h"
#include "engine/tokenize.h"
#include "schedule/scheduler.h"
#include "session/account.h"
#include "session/devices.h"
#include "session/open_engine.h"
#include "session/sampling.h"

namespace brimful {
namespace {

StopReason reason_of(engine::StopReason reason) {
  switch (reason) {
    case engine::StopReason::kEndOfText: return StopReason::kEndOfText;
    case engine::StopReason::kLimit: return StopReason::kLimit;
    case engine::StopReason::kContextFull: return StopReason::kContextFull;
    case engine::StopReason::kStopString: return StopReason::kStopString;
    case engine::StopReason::kCancelled: break;
  }
  return StopReason::kCancelled;
}

/// A request on its way, and what has come of it so far.
struct Open {
  chat::ChatStream stream;
  Callbacks callbacks;
  Completion completion;

  /// Returns false where the caller wants no more.
  bool add(std::string_view piece) { return show(stream.add(piece)); }
  bool show(const std::vector<chat::ChatDelta>& deltas) {
    bool wanted = true;
    for (const chat::ChatDelta& delta : deltas) {
      completion.text += delta.content;
      completion.reasoning += delta.reasoning;
      if (!delta.content.empty() && callbacks.on_text) wanted = callbacks.on_text(delta.content) && wanted;
    }
    return wanted;
  }
  void end(Result<schedule::Answer> answer) {
    if (!answer) {
      if (callbacks.on_end) callbacks.on_end(std::unexpected(answer.error()));
      return;
    }
    show(stream.end());
    completion.tokens = std::move(answer->token_ids);
    completion.prompt_tokens_cached = answer->prompt_shared;
    completion.reason = reason_of(answer->reason);
    if (callbacks.on_end) callbacks.on_end(std::move(completion));
  }
};

}  // namespace

struct Session::State {
  std::vector<std::string> notes;
  std::unique_ptr<engine::Engine> engine;
  std::optional<chat::ChatFormat> format;  // unset: the model has no chat template that can be read
  std::optional<Error> no_format;          // why
  std::optional<schedule::Scheduler> scheduler;
  std::map<RequestId, std::shared_ptr<Open>> open;
  std::atomic<bool> cancelled = false;

  /// Tells every request that is on its way of its end, while all that the callbacks use is there.
  ~State() {
    while (!open.empty()) cancel(open.begin()->first);
  }
  void cancel(RequestId request) {
    scheduler->cancel(request);
    open.erase(request);
  }
  [[nodiscard]] session::Notes note() {
    return [this](const std::string& lines) { notes.push_back(lines); };
  }
  [[nodiscard]] Result<chat::ChatPrompt> render(const Prompt& prompt, session::AnswerRules rules) const;
  [[nodiscard]] Result<RequestId> submit(schedule::Request request, chat::ChatParser parser,
                                         Callbacks callbacks);
};

Session::Session(std::unique_ptr<State> state) : state_(std::move(state)) {}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;
Session::~Session() = default;

Result<Session> Session::start(const Model& model, const Budgets& budgets, const ContextOptions& context,
                               const OnProgress& on_progress) {
  auto state = std::make_unique<State>();
  BRIMFUL_TRY(state->engine, session::open_and_prepare(model.path(), budgets, context, state->note()));
  BRIMFUL_TRY_VOID(state->engine->start(
      [&](Bytes done, Bytes total) { return !on_progress || on_progress(done, total); }));
  state->scheduler.emplace(*state->engine, schedule::Scheduler::Options{.most_running = context.sequences});
  if (model.has_chat_template()) {
    auto format = chat::ChatFormat::create(*state->engine);
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

/// Turns messages into the tokens of a prompt, with the rules and the parser of its answer.
Result<chat::ChatPrompt> Session::State::render(const Prompt& prompt, session::AnswerRules rules) const {
  if (!format) return std::unexpected(*no_format);
  chat::ChatRequest chat;
  for (const Message& message : prompt.messages)
    chat.messages.push_back({{"role", message.role}, {"content", message.content}});
  chat.json_schema = std::move(rules.schema);
  chat.grammar = std::move(rules.grammar);
  return format->apply(chat);
}

Result<RequestId> Session::State::submit(schedule::Request request, chat::ChatParser parser,
                                         Callbacks callbacks) {
  const auto one =
      std::make_shared<Open>(Open{chat::ChatStream(std::move(parser)), std::move(callbacks), {}});
  one->completion.prompt_tokens = request.prompt.size();
  const auto ended = std::make_shared<std::optional<RequestId>>();
  BRIMFUL_TRY(const RequestId id,
              scheduler->submit(std::move(request),
                                {.on_piece = [one](schedule::Piece piece) { return one->add(piece.text); },
                                 .on_end =
                                     [this, one, ended](Result<schedule::Answer> answer) {
                                       if (*ended) open.erase(**ended);
                                       one->end(std::move(answer));
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
                "this model writes no text: it only makes vectors, see Session::embed()");
  BRIMFUL_TRY(session::AnswerRules rules, session::answer_rules(sampling, state.note()));
  schedule::Request request{.stop_strings = sampling.stop, .priority = schedule::Priority::kInteractive};
  BRIMFUL_TRY(request.sampling, session::sampling_params(sampling));
  std::erase(request.stop_strings, "");
  if (sampling.max_tokens)
    request.limit = static_cast<int>(std::min<std::uint32_t>(*sampling.max_tokens, INT32_MAX));
  request.repeatable = request.sampling.temp <= 0 || sampling.seed.has_value();
  chat::ChatParser parser;
  if (prompt.messages.empty()) {
    request.sampling.grammar = std::move(rules.grammar);
    BRIMFUL_TRY(request.prompt, engine::tokenize_bounded(engine, prompt.text, true, true));
  } else {
    BRIMFUL_TRY(chat::ChatPrompt chat, state.render(prompt, std::move(rules)));
    chat.constrain(request.sampling);
    request.prompt = std::move(chat.tokens);
    std::ranges::move(chat.stops, std::back_inserter(request.stop_strings));
    parser = std::move(chat.parser);
  }
  BRIMFUL_TRY_VOID(engine::try_grammar(engine, request.sampling));
  return state.submit(std::move(request), std::move(parser), std::move(callbacks));
}

Result<bool> Session::step() {
  State& state = *state_;
  if (state.cancelled.exchange(false)) {
    while (!state.open.empty()) state.cancel(state.open.begin()->first);
    state.engine->resume();
    return fail(ErrorCode::kCancelled, "cancel_all() ended the requests");
  }
  return state.scheduler->step();
}

void Session::cancel(RequestId request) { state_->cancel(request); }

void Session::cancel_all() noexcept {
  state_->cancelled = true;
  state_->engine->abort();
}

Result<Completion> Session::generate(const Prompt& prompt, const SamplingOptions& sampling,
                                     const OnText& on_text) {
  std::optional<Result<Completion>> done;
  BRIMFUL_TRY(const RequestId id,
              submit(prompt, sampling, {.on_text = on_text, .on_end = [&done](Result<Completion> completion) {
                                          done = std::move(completion);
                                        }}));
  while (!done) {
    const Result<bool> stepped = step();
    if (stepped || done) continue;
    if (stepped.error().code == ErrorCode::kCancelled && state_->cancelled)
      continue;  // the next step ends it
    cancel(id);
    return std::unexpected(stepped.error());
  }
  return std::move(*done);
}

Result<std::vector<float>> Session::embed(std::string_view text) {
  State& state = *state_;
  BRIMFUL_TRY_VOID(state.engine->can_embed());
  schedule::Request request{.embed = true, .priority = schedule::Priority::kInteractive};
  BRIMFUL_TRY(request.prompt, engine::tokenize_bounded(*state.engine, std::string(text), true, false));
  std::optional<Result<schedule::Answer>> done;
  BRIMFUL_TRY(const RequestId id,
              state.scheduler->submit(std::move(request), {.on_piece = {}, .on_end = [&done](auto answer) {
                                                             done = std::move(answer);
                                                           }}));
  while (!done) {
    const Result<bool> stepped = step();
    if (stepped || done) continue;
    state.scheduler->cancel(id);
    return std::unexpected(stepped.error());
  }
  if (!*done) return std::unexpected(done->error());
  return std::move((*done)->vectors.at(0));
}

Status Session::change_budgets(const Budgets& budgets) {
  State& state = *state_;
  engine::BudgetChange change{.ram = budgets.ram};
  const std::vector<engine::DeviceUse> devices = state.engine->devices();
  for (const VramBudget& budget : budgets.vram) {
    if (budget.device.empty() && change.vram.size() >= devices.size())
      return fail(ErrorCode::kInvalidArgument, fmt::format("vram: there are {} budgets, and {} GPUs are used",
                                                           budgets.vram.size(), devices.size()));
    change.vram.emplace_back(budget.device.empty() ? devices[change.vram.size()].share.name : budget.device,
                             budget.bytes);
  }
  state.scheduler->evict();
  return state.engine->change_budgets(change);
}

Account Session::account() const {
  Account out = session::account_of(*state_->engine);
  out.peak = state_->engine->peak_bytes();
  return out;
}

std::uint32_t Session::context() const { return state_->engine->plan().context; }

std::vector<std::string> Session::notes() const {
  std::vector<std::string> out = state_->notes;
  for (const std::string& one : state_->engine->notes()) out.push_back(one);
  return out;
}

}  // namespace brimful
