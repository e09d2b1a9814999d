#pragma once

#include <string>

#include "batch/api_answer.h"

namespace strata::batch {

/// An answer piece by piece, as server-sent events of OpenAI's API: chunks of a chat (with the deltas of
/// text, reasoning and tool calls that its template's parser finds) or of a completion, at the end the
/// reason, where they are wanted log probabilities and usage, and `[DONE]`. Threading: none.
class AnswerStream {
 public:
  /// `request` and `vocab` outlive it.
  AnswerStream(AnswerHead head, const ApiRequest& request, const llama_vocab* vocab)
      : head_(std::move(head)), request_(request), vocab_(vocab) {}

  /// Empty where `text` alone tells nothing yet, as half of a character does.
  [[nodiscard]] std::string add(std::string_view text);
  [[nodiscard]] std::string end(const Answer& answer);
  /// The stream breaks off.
  [[nodiscard]] static std::string fail(const Error& error);

 private:
  [[nodiscard]] std::string new_text(bool last);
  [[nodiscard]] std::string chat_deltas(bool last);
  [[nodiscard]] nlohmann::ordered_json chunk(nlohmann::ordered_json choices) const;
  [[nodiscard]] std::string delta_event(nlohmann::ordered_json delta);

  const AnswerHead head_;
  const ApiRequest& request_;
  const llama_vocab* const vocab_;
  std::string text_;
  std::size_t told_ = 0;  // bytes of a completion's text
  bool begun_ = false;
  common_chat_msg message_;  // as far as it was told
};

}  // namespace strata::batch
