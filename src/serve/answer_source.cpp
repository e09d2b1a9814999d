#include "serve/answer_source.h"

#include "serve/http_answer.h"

namespace brimful::serve {
namespace {

using namespace std::chrono_literals;

// After this time a stream begins even without text. Until then an error has a status of its own.
constexpr std::chrono::seconds kUntilStream{10};
// The time between signs of life in a stream, so that no proxy closes the connection.
constexpr std::chrono::seconds kBetweenSigns{15};

}  // namespace

AnswerSource::AnswerSource(std::shared_ptr<PendingResponse> response, openai::AnswerHead head,
                           const llama_vocab* vocab)
    : pending_(std::move(response)), head_(std::move(head)), vocab_(vocab) {
  if (pending_->request().stream) stream_.emplace(head_, pending_->request(), vocab_);
}

AnswerSource::~AnswerSource() { pending_->leave(); }

HttpSource::Part AnswerSource::next() {
  PendingResponse::Update update = pending_->take_update();
  return stream_ ? events(std::move(update)) : whole(update);
}

HttpSource::Part AnswerSource::whole(const PendingResponse::Update& update) const {
  Part out{.patience = 1h};
  if (!update.end) return out;
  HttpResponse& response = out.whole.emplace();
  if (*update.end) {
    answer_json(response, openai::answer_body(head_, pending_->request(), **update.end, vocab_));
  } else {
    refuse(response, update.end->error());
  }
  return out;
}

HttpSource::Part AnswerSource::events(PendingResponse::Update update) {
  const auto quiet = begun_ ? kBetweenSigns : kUntilStream;
  const auto now = Clock::now();
  if (update.empty() && now - told_ < quiet)
    return {.patience = std::chrono::ceil<std::chrono::milliseconds>(quiet - (now - told_))};
  if (!begun_ && update.end && !*update.end) {
    Part out;
    refuse(out.whole.emplace(), update.end->error());
    return out;
  }
  begun_ = true;
  Part out{.ends = update.end.has_value(), .patience = kBetweenSigns};
  try {
    for (auto& [choice, piece] : update.pieces) out.bytes += stream_->add(choice, std::move(piece));
    if (update.end)
      out.bytes += *update.end ? stream_->end(**update.end) : openai::AnswerStream::fail(update.end->error());
  } catch (const std::exception& error) {  // The chat template's own parser refuses the text.
    out.bytes += openai::AnswerStream::fail({ErrorCode::kInternal, error.what()});
    out.ends = true;
  }
  if (update.empty()) out.bytes = ": keep-alive\n\n";
  if (!out.bytes.empty()) told_ = now;
  return out;
}

}  // namespace brimful::serve
