#include "serve/serve_loop.h"

#include <fmt/format.h>

#include "base/standard_error.h"
#include "openai/submit.h"
#include "session/status_json.h"

namespace brimful::serve {
namespace {

// The longest time until a signal is noticed when there is nothing to do.
constexpr std::chrono::milliseconds kPatience{200};
constexpr std::chrono::milliseconds kBetweenFigures{100};
constexpr double kNewest = 0.1;  // The weight of the newest request in the mean time of requests.

}  // namespace

ServeLoop::~ServeLoop() {
  const auto end = [](PendingResponse& response) {
    response.end(fail(ErrorCode::kInternal, "the server has ended"));
  };
  request_queue_.close();
  for (const auto& response : request_queue_.take({})) end(*response);
  for (const Open& open : open_) {
    if (!open.ended) end(*open.response);
  }
}

Status ServeLoop::run(const Watch& watch) {
  const Status status = compute(watch);
  if (status) return status;
  request_queue_.close();
  for (auto& response : request_queue_.take({})) submit(std::move(response));
  cancel_all(status.error());
  if (batches_ != nullptr) batches_->stop();
  return status;
}

Status ServeLoop::compute(const Watch& watch) {
  publish(true);
  for (bool closed = false, busy = false;;) {
    if (!closed && watch.stopping()) {
      closed = true;
      request_queue_.close();
      if (batches_ != nullptr) batches_->stop();
    }
    for (auto& response : request_queue_.take(busy || closed ? std::chrono::milliseconds{0} : kPatience))
      submit(std::move(response));
    cancel_some();
    const bool has_batch = batches_ != nullptr && !closed && batches_->advance();
    BRIMFUL_TRY_VOID(watch.between_passes(busy));
    const auto stepped = scheduler_.step();
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
    if (closed && !busy && request_queue_.open() == 0) return {};
  }
}

void ServeLoop::submit(std::shared_ptr<PendingResponse> response) {
  Open& open = open_.emplace_back(Open{.response = std::move(response)});
  auto ids = openai::submit(
      scheduler_, open.response->request(), schedule::Priority::kInteractive,
      {.on_piece =
           [&open](std::size_t part, schedule::Piece piece) {
             if (open.response->request().stream) open.response->add(part, std::move(piece));
           },
       .on_end = [this, &open](PendingResponse::Answers answers) { ended(open, std::move(answers)); }});
  if (!ids) return ended(open, std::unexpected(ids.error()));
  open.ids = std::move(*ids);
}

void ServeLoop::ended(Open& open, PendingResponse::Answers answers) {
  open.ended = true;
  ++ended_;
  const std::chrono::duration<double> left = open.response->deadline() - PendingResponse::Clock::now();
  const double took = static_cast<double>(request_queue_.time().count()) - left.count();
  request_seconds_ += kNewest * (took - request_seconds_);
  request_queue_.ended(*open.response);
  open.response->end(open.error ? PendingResponse::Answers(std::unexpected(*open.error))
                                : std::move(answers));
}

/// Cancels requests whose client has disconnected, and those whose time is over.
void ServeLoop::cancel_some() {
  const auto now = PendingResponse::Clock::now();
  for (Open& open : open_) {
    if (open.ended) continue;
    if (now > open.response->deadline()) {
      open.error = Error{ErrorCode::kCancelled, fmt::format("the request was not answered within {} s",
                                                            request_queue_.time().count())};
    } else if (!open.response->gone()) {
      continue;
    }
    cancel(open);
  }
}

void ServeLoop::cancel(const Open& open) {
  for (const schedule::Scheduler::Id id : open.ids) scheduler_.cancel(id);
}

void ServeLoop::cancel_all(const Error& error) {
  for (Open& open : open_) {
    if (open.ended) continue;
    open.error = error;
    cancel(open);
  }
}

void ServeLoop::publish(bool now) {
  const auto time = PendingResponse::Clock::now();
  if (!now && time - published_ < kBetweenFigures) return;
  published_ = time;
  metrics_.publish({.did = scheduler_.statistics(),
                    .running = scheduler_.running(),
                    .waiting = scheduler_.waiting(),
                    .cells = llama_n_ctx(engine_.context()),
                    .free_cells = scheduler_.free_cells(),
                    .ended = ended_,
                    .request_seconds = request_seconds_,
                    .passes = engine_.pass_statistics(),
                    .tiers = session::tiers_json(engine_),
                    .peak = engine_.peak_bytes()});
}

}  // namespace brimful::serve
