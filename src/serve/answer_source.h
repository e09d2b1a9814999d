#pragma once

#include "openai/stream.h"
#include "serve/http_message.h"
#include "serve/pending_response.h"

namespace brimful::serve {

/// Makes the HTTP answer to a request of OpenAI's API from its pending response: one JSON object, or
/// server-sent events when the request asked for a stream. The HTTP server calls it (see HttpSource).
class AnswerSource final : public HttpSource {
 public:
  /// `vocab` outlives this object.
  AnswerSource(std::shared_ptr<PendingResponse> response, openai::AnswerHead head, const llama_vocab* vocab);
  ~AnswerSource() override;
  AnswerSource(const AnswerSource&) = delete;
  AnswerSource& operator=(const AnswerSource&) = delete;

  void watch(std::function<void()> wake) override { pending_->watch(std::move(wake)); }
  Part next() override;
  void leave() override { pending_->leave(); }

 private:
  using Clock = PendingResponse::Clock;

  [[nodiscard]] Part whole(const PendingResponse::Update& update) const;
  [[nodiscard]] Part events(PendingResponse::Update update);

  const std::shared_ptr<PendingResponse> pending_;
  const openai::AnswerHead head_;
  const llama_vocab* const vocab_;
  // Set for a request that wants events.
  std::optional<openai::AnswerStream> stream_;
  // The time at which the client got something last.
  Clock::time_point told_ = Clock::now();
  // Whether the stream of events has begun: an error can no longer have a status of its own then.
  bool begun_ = false;
};

}  // namespace brimful::serve
