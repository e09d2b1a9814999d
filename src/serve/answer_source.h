#pragma once

#include "openai/stream.h"
#include "serve/http_message.h"
#include "serve/pending_response.h"

namespace brimful::serve {

/// The answer to a request of OpenAI's API, from its response: whole, or as server-sent events.
class AnswerSource final : public HttpSource {
 public:
  /// `vocab` outlives it.
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
  std::optional<openai::AnswerStream> stream_;  // of a request that wants events
  Clock::time_point told_ = Clock::now();       // when the client last got something
  bool begun_ = false;
};

}  // namespace brimful::serve
