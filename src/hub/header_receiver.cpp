#include "hub/header_receiver.h"

#include <algorithm>
#include <utility>
#include <variant>

namespace brimful::hub {

void HeaderReceiver::refuse(ErrorCode code, std::string message) {
  if (!error_) error_ = Error{code, std::move(message)};
}

void HeaderReceiver::begin_answer() {
  at_begin_ = true;
  asked_ = wanted_;
}

/// Checks where the answer begins. An answer to a range continues after the received bytes; a server that
/// ignores the range starts again from the beginning.
void HeaderReceiver::place(const Answer& answer) {
  if (total_ && answer.total && *total_ != *answer.total) {
    return refuse(ErrorCode::kIo, "the file changed while its header was fetched: start again");
  }
  if (!total_) total_ = answer.total;
  if (total_) wanted_ = std::min(wanted_, *total_);
  if (answer.first == 0) bytes_.clear();
  if (answer.first != bytes_.size()) {
    refuse(ErrorCode::kIo,
           "the server sent another part of the file than was requested: download the first 20 MB of the "
           "file in another way, and give that file");
  }
}

void HeaderReceiver::parse() {
  auto parsed = model::parse_gguf(bytes_, total_.value_or(INT64_MAX));
  if (!parsed) return refuse(parsed.error().code, std::move(parsed.error().message));
  if (auto* header = std::get_if<model::GgufHeader>(&*parsed)) {
    header_ = std::move(*header);
    return;
  }
  wanted_ = std::max(std::get<model::NeedMore>(*parsed).bytes, 2 * wanted_);
  wanted_ = std::min({wanted_, total_.value_or(wanted_), model::kMaxHeader.value});
}

bool HeaderReceiver::take(const Answer& answer, std::span<const std::byte> bytes) {
  if (std::exchange(at_begin_, false)) place(answer);
  while (!error_ && !header_ && !bytes.empty()) {
    const auto count =
        static_cast<std::size_t>(std::min<std::uint64_t>(wanted_ - bytes_.size(), bytes.size()));
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count));
    bytes = bytes.subspan(count);
    if (bytes_.size() == wanted_) parse();
  }
  return !error_ && !header_;
}

void HeaderReceiver::end_answer(const Answer& answer) {
  if (error_ || header_) return;
  if (!total_ && (answer.status == 200 || bytes_.size() < asked_)) total_ = bytes_.size();
  if (bytes_.size() == total_) parse();
}

std::span<const std::byte> HeaderReceiver::header() const {
  return std::span(bytes_).first(std::min<std::size_t>(bytes_.size(), header_->size));
}

}  // namespace brimful::hub
