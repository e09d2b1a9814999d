#pragma once

#include <functional>
#include <list>
#include <memory>

#include "serve/batch_queue.h"
#include "serve/metrics_snapshot.h"
#include "serve/request_queue.h"

namespace brimful::serve {

/// The scheduler's side of the server: it takes requests from the RequestQueue, runs the scheduler's passes,
/// and gives the answers to the PendingResponses. Threading: the scheduler's thread calls all functions.
class ServeLoop {
 public:
  /// `batches` may be null: then there are no batches. Lifetime: all of them outlive this object.
  ServeLoop(engine::Engine& engine, schedule::Scheduler& scheduler, RequestQueue& request_queue,
            MetricsSnapshot& metrics, BatchQueue* batches)
      : engine_(engine),
        scheduler_(scheduler),
        request_queue_(request_queue),
        metrics_(metrics),
        batches_(batches) {}

  /// Ends all requests that still wait with an error.
  ~ServeLoop();
  ServeLoop(const ServeLoop&) = delete;
  ServeLoop& operator=(const ServeLoop&) = delete;

  /// The functions that run() calls before each pass, and a few times a second when there is nothing to
  /// compute.
  struct Watch {
    /// Returns whether the server shall stop. Requests that have arrived by then are still answered.
    std::function<bool()> stopping;
    /// Does work of the caller, such as changing budgets. It may use the engine as
    /// schedule::Scheduler::evict() allows. `busy` says whether there are requests. An error ends run().
    std::function<Status(bool busy)> between_passes;
  };
  /// Computes requests until `stopping` returns true and all requests are answered.
  /// Errors: those of `between_passes`; kDeviceLost, after which nothing can be computed any more. All open
  /// requests are cancelled then.
  [[nodiscard]] Status run(const Watch& watch);

 private:
  struct Open {
    std::shared_ptr<PendingResponse> response;
    std::vector<schedule::Scheduler::Id> ids;
    std::optional<Error> error;  // The reason for which the request is cancelled.
    bool ended = false;
  };

  [[nodiscard]] Status compute(const Watch& watch);
  void submit(std::shared_ptr<PendingResponse> response);
  void ended(Open& open, PendingResponse::Answers answers);
  void cancel(const Open& open);
  void cancel_some();
  void cancel_all(const Error& error);
  void publish(bool now);

  engine::Engine& engine_;
  schedule::Scheduler& scheduler_;
  RequestQueue& request_queue_;
  MetricsSnapshot& metrics_;
  BatchQueue* const batches_;
  std::list<Open> open_;  // A list, because callbacks keep the addresses of the elements.
  std::uint64_t ended_ = 0;
  double request_seconds_ = 1;
  PendingResponse::Clock::time_point published_;
};

}  // namespace brimful::serve
