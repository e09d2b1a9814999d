#include "serve/service.h"

#include <fmt/format.h>

#include "base/standard_error.h"
#include "openai/submit.h"
#include "session/status_json.h"

namespace brimful::serve {
namespace {

constexpr std::chrono::milliseconds kPatience{200};  // until a signal is seen, where nothing is to do
constexpr std::chrono::milliseconds kBetweenFigures{100};
constexpr double kNewest = 0.1;  // what the newest request counts for in the mean of those before

}  // namespace

Service::~Service() {
  const auto end = [](Ticket& ticket) { ticket.end(fail(ErrorCode::kInternal, "the server has ended")); };
  inbox_.close();
  for (const auto& ticket : inbox_.take({})) end(*ticket);
  for (const Open& open : open_) {
    if (!open.ended) end(*open.ticket);
  }
}

Status Service::run(const Watch& watch) {
  const Status status = compute(watch);
  if (status) return status;
  inbox_.close();
  for (auto& ticket : inbox_.take({})) submit(std::move(ticket));
  cancel_all(status.error());
  if (batches_ != nullptr) batches_->stop();
  return status;
}

Status Service::compute(const Watch& watch) {
  publish(true);
  for (bool closed = false, busy = false;;) {
    if (!closed && watch.stopping()) {
      closed = true;
      inbox_.close();
      if (batches_ != nullptr) batches_->stop();
    }
    for (auto& ticket : inbox_.take(busy || closed ? std::chrono::milliseconds{0} : kPatience))
      submit(std::move(ticket));
    cancel_some();
    const bool has_batch = batches_ != nullptr && !closed && batches_->advance();
    BRIMFUL_TRY_VOID(watch.between_passes(busy));
    const auto stepped = executor_.step();
    if (!stepped) {
      cancel_all(stepped.error());
      if (batches_ != nullptr) batches_->failed(stepped.error());
      tell("brimful: {}\n", stepped.error().message);
      if (stepped.error().code == ErrorCode::kDeviceLost) return std::unexpected(stepped.error());
    }
    std::erase_if(open_, [](const Open& open) { return open.ended; });
    const bool was_busy = busy;
    busy = !open_.empty() || (stepped && *stepped) || has_batch;
    publish(was_busy && !busy);
    if (closed && !busy && inbox_.open() == 0) return {};
  }
}

void Service::submit(std::shared_ptr<Ticket> ticket) {
  Open& open = open_.emplace_back(Open{.ticket = std::move(ticket)});
  auto ids =
      openai::submit(executor_, open.ticket->request(), schedule::Priority::kInteractive,
                     {.on_piece =
                          [&open](std::size_t part, schedule::Piece piece) {
                            if (open.ticket->request().stream) open.ticket->add(part, std::move(piece));
                          },
                      .on_end = [this, &open](Ticket::Answers answers) { ended(open, std::move(answers)); }});
  if (!ids) return ended(open, std::unexpected(ids.error()));
  open.ids = std::move(*ids);
}

void Service::ended(Open& open, Ticket::Answers answers) {
  open.ended = true;
  ++ended_;
  const std::chrono::duration<double> left = open.ticket->deadline() - Ticket::Clock::now();
  const double took = static_cast<double>(inbox_.time().count()) - left.count();
  request_seconds_ += kNewest * (took - request_seconds_);
  inbox_.ended(*open.ticket);
  open.ticket->end(open.error ? Ticket::Answers(std::unexpected(*open.error)) : std::move(answers));
}

/// Whose client has gone, or whose time is up.
void Service::cancel_some() {
  const auto now = Ticket::Clock::now();
  for (Open& open : open_) {
    if (open.ended) continue;
    if (now > open.ticket->deadline()) {
      open.error = Error{ErrorCode::kCancelled,
                         fmt::format("the request was not answered within {} s", inbox_.time().count())};
    } else if (!open.ticket->gone()) {
      continue;
    }
    cancel(open);
  }
}

void Service::cancel(const Open& open) {
  for (const schedule::Executor::Id id : open.ids) executor_.cancel(id);
}

void Service::cancel_all(const Error& error) {
  for (Open& open : open_) {
    if (open.ended) continue;
    open.error = error;
    cancel(open);
  }
}

void Service::publish(bool now) {
  const auto time = Ticket::Clock::now();
  if (!now && time - published_ < kBetweenFigures) return;
  published_ = time;
  board_.publish({.did = executor_.statistics(),
                  .running = executor_.running(),
                  .waiting = executor_.waiting(),
                  .cells = llama_n_ctx(engine_.context()),
                  .free_cells = executor_.free_cells(),
                  .ended = ended_,
                  .request_seconds = request_seconds_,
                  .passes = engine_.pass_statistics(),
                  .tiers = session::tiers_json(engine_),
                  .peak = engine_.peak_bytes()});
}

}  // namespace brimful::serve
