#include "serve/answer_source.h"

#include "serve/http_answer.h"

namespace brimful::serve {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::seconds kUntilStream{10};   // an error has a status of its own until then
constexpr std::chrono::seconds kBetweenSigns{15};  // of life, so that nobody on the way hangs up

}  // namespace

AnswerSource::AnswerSource(std::shared_ptr<Ticket> ticket, openai::AnswerHead head, const llama_vocab* vocab)
    : ticket_(std::move(ticket)), head_(std::move(head)), vocab_(vocab) {
  if (ticket_->request().stream) stream_.emplace(head_, ticket_->request(), vocab_);
}

AnswerSource::~AnswerSource() { ticket_->leave(); }

HttpSource::Part AnswerSource::next() {
  Ticket::News news = ticket_->take_news();
  return stream_ ? events(std::move(news)) : whole(news);
}

HttpSource::Part AnswerSource::whole(const Ticket::News& news) const {
  Part out{.patience = 1h};
  if (!news.end) return out;
  HttpResponse& response = out.whole.emplace();
  if (*news.end) {
    answer_json(response, openai::answer_body(head_, ticket_->request(), **news.end, vocab_));
  } else {
    refuse(response, news.end->error());
  }
  return out;
}

HttpSource::Part AnswerSource::events(Ticket::News news) {
  const auto quiet = begun_ ? kBetweenSigns : kUntilStream;
  const auto now = Clock::now();
  if (news.empty() && now - told_ < quiet)
    return {.patience = std::chrono::ceil<std::chrono::milliseconds>(quiet - (now - told_))};
  if (!begun_ && news.end && !*news.end) {
    Part out;
    refuse(out.whole.emplace(), news.end->error());
    return out;
  }
  begun_ = true;
  Part out{.ends = news.end.has_value(), .patience = kBetweenSigns};
  try {
    for (auto& [choice, piece] : news.pieces) out.bytes += stream_->add(choice, std::move(piece));
    if (news.end)
      out.bytes += *news.end ? stream_->end(**news.end) : openai::AnswerStream::fail(news.end->error());
  } catch (const std::exception& error) {  // a text that the chat template's own parser refuses
    out.bytes += openai::AnswerStream::fail({ErrorCode::kInternal, error.what()});
    out.ends = true;
  }
  if (news.empty()) out.bytes = ": the answer is on its way\n\n";
  if (!out.bytes.empty()) told_ = now;
  return out;
}

}  // namespace brimful::serve
