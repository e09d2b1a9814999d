#pragma once

#include "openai/stream.h"
#include "serve/http_message.h"
#include "serve/ticket.h"

namespace brimful::serve {

/// The answer to a request of OpenAI's API, from its ticket: whole, or as server-sent events.
class AnswerSource final : public HttpSource {
 public:
  /// `vocab` outlives it.
  AnswerSource(std::shared_ptr<Ticket> ticket, openai::AnswerHead head, const llama_vocab* vocab);
  ~AnswerSource() override;
  AnswerSource(const AnswerSource&) = delete;
  AnswerSource& operator=(const AnswerSource&) = delete;

  void watch(std::function<void()> wake) override { ticket_->watch(std::move(wake)); }
  Part next() override;
  void leave() override { ticket_->leave(); }

 private:
  using Clock = Ticket::Clock;

  [[nodiscard]] Part whole(const Ticket::News& news) const;
  [[nodiscard]] Part events(Ticket::News news);

  const std::shared_ptr<Ticket> ticket_;
  const openai::AnswerHead head_;
  const llama_vocab* const vocab_;
  std::optional<openai::AnswerStream> stream_;  // of a request that wants events
  Clock::time_point told_ = Clock::now();       // when the client last got something
  bool begun_ = false;
};

}  // namespace brimful::serve
