#pragma once

#include <functional>
#include <list>
#include <memory>

#include "serve/batch_queue.h"
#include "serve/metrics_snapshot.h"
#include "serve/request_queue.h"

namespace brimful::serve {

/// The scheduler's side of the server: takes requests from the request_queue, drives the passes, gives
/// answers to responses. Threading: one thread calls it.
class ServeLoop {
 public:
  /// All outlive this. `batches` may be null.
  ServeLoop(engine::Engine& engine, schedule::Scheduler& scheduler, RequestQueue& request_queue,
            MetricsSnapshot& metrics, BatchQueue* batches)
      : engine_(engine),
        scheduler_(scheduler),
        request_queue_(request_queue),
        metrics_(metrics),
        batches_(batches) {}

  /// Whoever still waits gets an error.
  ~ServeLoop();
  ServeLoop(const ServeLoop&) = delete;
  ServeLoop& operator=(const ServeLoop&) = delete;

  struct Watch {
    std::function<bool()> stopping;  ///< what has come by then is answered
    std::function<Status(bool busy)>
        between_passes;  ///< may use the engine as schedule::Scheduler::evict() allows
  };
  /// Until `stopping` says yes; both are asked before each pass, and a few times a second where there is
  /// none. Errors: those of `between_passes`, and those after which nothing can be computed any more.
  [[nodiscard]] Status run(const Watch& watch);

 private:
  struct Open {
    std::shared_ptr<PendingResponse> response;
    std::vector<schedule::Scheduler::Id> ids;
    std::optional<Error> error;  // why it is cancelled
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
  std::list<Open> open_;  // addresses stay
  std::uint64_t ended_ = 0;
  double request_seconds_ = 1;
  PendingResponse::Clock::time_point published_;
};

}  // namespace brimful::serve
