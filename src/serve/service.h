#pragma once

#include <functional>
#include <list>
#include <memory>

#include "serve/batch_queue.h"
#include "serve/board.h"
#include "serve/inbox.h"

namespace brimful::serve {

/// The executor's side of the server: takes requests from the inbox, drives the passes, gives answers to
/// tickets. Threading: one thread calls it.
class Service {
 public:
  /// All outlive this. `batches` may be null.
  Service(engine::Engine& engine, schedule::Executor& executor, Inbox& inbox, Board& board,
          BatchQueue* batches)
      : engine_(engine), executor_(executor), inbox_(inbox), board_(board), batches_(batches) {}

  /// Whoever still waits gets an error.
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  struct Watch {
    std::function<bool()> stopping;                   ///< what has come by then is answered
    std::function<Status(bool busy)> between_passes;  ///< may use the engine as Executor::put_aside() allows
  };
  /// Until `stopping` says yes; both are asked before each pass, and a few times a second where there is
  /// none. Errors: those of `between_passes`, and those after which nothing can be computed any more.
  [[nodiscard]] Status run(const Watch& watch);

 private:
  struct Open {
    std::shared_ptr<Ticket> ticket;
    std::vector<schedule::Executor::Id> ids;
    std::optional<Error> error;  // why it is cancelled
    bool ended = false;
  };

  [[nodiscard]] Status compute(const Watch& watch);
  void submit(std::shared_ptr<Ticket> ticket);
  void ended(Open& open, Ticket::Answers answers);
  void cancel(const Open& open);
  void cancel_some();
  void cancel_all(const Error& error);
  void publish(bool now);

  engine::Engine& engine_;
  schedule::Executor& executor_;
  Inbox& inbox_;
  Board& board_;
  BatchQueue* const batches_;
  std::list<Open> open_;  // addresses stay
  std::uint64_t ended_ = 0;
  double request_seconds_ = 1;
  Ticket::Clock::time_point published_;
};

}  // namespace brimful::serve
