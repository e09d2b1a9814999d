#include <brimful/session.h>
#include <common.h>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <map>
#include <utility>

#include "engine/tokenize.h"
#include "schedule/scheduler.h"
#include "session/account.h"
#include "session/budget_change.h"
#include "session/live_control.h"
#include "session/machine_facts.h"
#include "session/open_engine.h"
#include "session/request_reader.h"
#include "session/running_request.h"
#include "session/statistics.h"
#include "tier/stream/trace.h"

namespace brimful {
namespace {

/// Does something when a function is left, in whatever way.
template <typename Work>
struct AtEnd {
  Work work;
  ~AtEnd() { work(); }
};

schedule::Scheduler::Company company_of(Sharing sharing) {
  using Company = schedule::Scheduler::Company;
  switch (sharing) {
    case Sharing::kOneByOne: return Company::kOneByOne;
    case Sharing::kConversation: return Company::kConversation;
    case Sharing::kTogether: break;
  }
  return Company::kTogether;
}

}  // namespace

struct Request::Content {
  session::ReadRequest read;
  const engine::Engine* engine;  // of the session that has read it
};

Request::Request(std::unique_ptr<Content> content) : content_(std::move(content)) {}
Request::Request(Request&&) noexcept = default;
Request& Request::operator=(Request&&) noexcept = default;
Request::~Request() = default;
std::size_t Request::prompt_tokens() const { return content_->read.request.prompt.size(); }
const std::vector<std::string>& Request::notes() const { return content_->read.notes; }

struct Session::State {
  std::vector<std::string> notes;
  std::optional<tier::Trace> trace;  // before the engine, because it must outlive it
  std::unique_ptr<engine::Engine> engine;
  std::optional<session::RequestReader> reader;
  std::optional<session::Live> live;  // unset: there is no control socket
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

  /// Does what other processes ask for. Errors: kInternal where nothing can be computed any more.
  [[nodiscard]] Status obey_control() {
    const schedule::Statistics& did = scheduler->statistics();
    const AtEnd end{[this] { changing = false; }};
    const Status obeyed =
        live->between_passes({did.prompt_tokens, did.tokens, !open.empty()}, [this] { begin_change(); });
    return obeyed ? Status() : std::unexpected(no_budgets(obeyed.error()));
  }
  /// Makes the engine ready for other budgets. It may compute to measure what a driver takes: stopped there,
  /// it could not go on. The next step() tells of a cancel_all().
  void begin_change() {
    scheduler->evict();
    changing = true;
    engine->resume();
  }
  static Error no_budgets(const Error& why) {
    return {ErrorCode::kInternal,
            fmt::format("{}; the old budgets could not be restored: end the session", why.message)};
  }
  [[nodiscard]] Status start_engine(const OnProgress& on_progress) {
    return engine->start([&](Bytes done, Bytes total) { return !on_progress || on_progress(done, total); });
  }
  [[nodiscard]] Result<RequestId> submit(session::ReadRequest read, Callbacks callbacks);
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
  if (context.trace) state->trace.emplace();
  BRIMFUL_TRY(
      session::PreparedEngine prepared,
      session::open_and_prepare(model.path(), budgets, context, machine, session::notes_into(state->notes),
                                state->trace ? &*state->trace : nullptr));
  state->engine = std::move(prepared.engine);
  // It comes after the measuring, which its thread would disturb. When the session has started, no note is
  // added any more: Engine::notes() says what a change of budgets has adapted.
  if (context.control_socket)
    state->live.emplace(*state->engine, model.path().string(), [raw = state.get()](const std::string& note) {
      if (!raw->scheduler) raw->notes.push_back(note);
    });
  BRIMFUL_TRY_VOID(state->start_engine(on_progress));
  if (state->live) state->live->started();
  // Many requests share the context. A single one gets no more tokens than the model was trained on, unless
  // asked.
  const std::uint64_t trained = model.train_context();
  const bool limited = trained > 0 && !context.tokens && context.sharing != Sharing::kConversation;
  state->scheduler.emplace(*state->engine,
                           schedule::Scheduler::Options{.most_running = prepared.at_once,
                                                        .longest_text = limited ? trained : SIZE_MAX,
                                                        .company = company_of(context.sharing)});
  state->reader.emplace(*state->engine, context.chat_template);
  return Session(std::move(state));
}

Result<RequestId> Session::State::submit(session::ReadRequest read, Callbacks callbacks) {
  const auto one = std::make_shared<session::RunningRequest>(
      std::move(read.parser), std::move(callbacks),
      Completion{.prompt_tokens = read.request.prompt.size(), .notes = std::move(read.notes)});
  const auto ended = std::make_shared<std::optional<RequestId>>();
  BRIMFUL_TRY(const RequestId id, scheduler->submit(std::move(read.request),
                                                    {.on_piece =
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

Result<Request> Session::read(const Prompt& prompt, const SamplingOptions& sampling,
                              const RequestOptions& options) const {
  BRIMFUL_TRY(session::ReadRequest read, state_->reader->read(prompt, sampling, options));
  return Request(std::make_unique<Request::Content>(std::move(read), state_->engine.get()));
}

Result<RequestId> Session::submit(Request request, Callbacks callbacks) {
  State& state = *state_;
  if (!request.content_ || request.content_->engine != state.engine.get())
    return fail(ErrorCode::kInvalidArgument,
                "request: was moved away, or read by another session: read it again");
  if (!state.busy && state.open.empty()) state.forget_cancel_all();
  return state.submit(std::move(request.content_->read), std::move(callbacks));
}

Result<RequestId> Session::submit(const Prompt& prompt, const SamplingOptions& sampling, Callbacks callbacks,
                                  const RequestOptions& options) {
  BRIMFUL_TRY(Request request, read(prompt, sampling, options));
  return submit(std::move(request), std::move(callbacks));
}

Result<bool> Session::step() {
  State& state = *state_;
  BRIMFUL_TRY_VOID(state.ready());
  if (state.live) BRIMFUL_TRY_VOID(state.obey_control());
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
  return tokenize(text, special, special);
}

Result<std::vector<std::int32_t>> Session::tokenize(std::string_view text, bool around, bool names) const {
  return engine::tokenize_bounded(*state_->engine, std::string(text), around, names);
}

Result<std::string> Session::text_of(const std::vector<std::int32_t>& tokens, bool special) const {
  BRIMFUL_TRY_VOID(state_->reader->check_tokens(tokens));
  std::string out;
  for (const std::int32_t token : tokens)
    out += common_token_to_piece(state_->engine->vocab(), token, special);
  return out;
}

Result<std::vector<float>> Session::embed(std::string_view text) {
  BRIMFUL_TRY(auto vectors, embed_all({{.text = std::string(text)}}));
  return std::move(vectors.front());
}

Result<std::vector<std::vector<float>>> Session::embed_all(const std::vector<Prompt>& texts) {
  State& state = *state_;
  BRIMFUL_TRY_VOID(state.ready());
  BRIMFUL_TRY_VOID(state.engine->can_embed());
  if (state.open.empty()) state.forget_cancel_all();
  std::vector<schedule::Request> requests;
  for (const Prompt& text : texts) {
    BRIMFUL_TRY(schedule::Request request, state.reader->read_for_vector(text));
    requests.push_back(std::move(request));
  }
  std::vector<std::optional<Result<schedule::Answer>>> done(texts.size());
  std::size_t left = texts.size();
  std::vector<RequestId> ids;
  const AtEnd end{[&] {
    for (const RequestId id : ids) state.scheduler->cancel(id);
  }};
  for (schedule::Request& request : requests) {
    const std::size_t i = ids.size();
    BRIMFUL_TRY(const RequestId id,
                state.scheduler->submit(std::move(request),
                                        {.on_piece = {}, .on_end = [&done, &left, i](auto answer) {
                                           done[i] = std::move(answer);
                                           --left;
                                         }}));
    ids.push_back(id);
  }
  while (left > 0) {
    const Result<bool> stepped = step();
    if (!stepped && left > 0) return std::unexpected(stepped.error());
  }
  std::vector<std::vector<float>> out;
  for (std::optional<Result<schedule::Answer>>& one : done) {
    if (!*one) return std::unexpected(one->error());
    out.push_back(std::move((*one)->vectors.at(0)));
  }
  return out;
}

Status Session::change_budgets(const Budgets& budgets) {
  State& state = *state_;
  BRIMFUL_TRY_VOID(state.ready());
  BRIMFUL_TRY(const engine::BudgetChange change,
              session::budget_change(budgets, session::names_in_use(*state.engine), state.engine->names()));
  const AtEnd end{[&state] { state.changing = false; }};
  state.begin_change();
  const Status changed = state.engine->change_budgets(change);
  if (!state.engine->can_go_on()) return std::unexpected(State::no_budgets(changed.error()));
  return changed;
}

Account Session::account() const {
  Account out = session::account_of(*state_->engine);
  out.peak = state_->engine->peak_bytes();
  for (const hardware::BudgetPeak& earlier : state_->engine->earlier_peaks())
    out.earlier.push_back({earlier.budget, earlier.peak});
  return out;
}

Statistics Session::statistics() const { return session::statistics_of(*state_->engine, *state_->scheduler); }

Status Session::write_trace(const std::filesystem::path& file) const {
  if (!state_->trace)
    return fail(ErrorCode::kInvalidArgument, "nothing was recorded: start the session with trace");
  return state_->trace->write(file);
}

std::optional<int> Session::control_descriptor() const {
  return state_->live ? state_->live->wake_descriptor() : std::nullopt;
}

std::uint32_t Session::context() const { return *state_->engine->prepared().context; }

std::vector<std::string> Session::notes() const {
  std::vector<std::string> out = state_->notes;
  for (const std::string& one : state_->engine->notes()) out.push_back(one);
  return out;
}

}  // namespace brimful
