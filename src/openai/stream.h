#pragma once

#include <string>

#include "openai/answer.h"

namespace brimful::openai {

/// An answer piece by piece, as server-sent events of OpenAI's API: chunks of a chat (with the deltas of
/// text, reasoning and tool calls that its template's parser finds) or of a completion, each
/// with the log probabilities of its tokens where they are wanted, at the end the reason, where it is wanted
/// usage, and `[DONE]`. Threading: none.
class AnswerStream {
 public:
  /// `request` and `vocab` outlive it.
  AnswerStream(AnswerHead head, const ApiRequest& request, const llama_vocab* vocab)
      : head_(std::move(head)),
        request_(request),
        vocab_(vocab),
        choices_(request.part_count(), Choice{.chat = chat::ChatStream(request.parser)}) {}

  /// Of one choice. Empty where the piece alone tells nothing yet, as half of a character does.
  [[nodiscard]] std::string add(std::size_t choice, schedule::Piece piece);
  /// Of all choices.
  [[nodiscard]] std::string end(const std::vector<schedule::Answer>& answers);
  /// The stream breaks off.
  [[nodiscard]] static std::string fail(const Error& error);

 private:
  /// As far as it was told.
  struct Choice {
    chat::ChatStream chat;
    std::string text;      // of a completion
    std::size_t told = 0;  // bytes of it
    bool begun = false;
    std::vector<schedule::WrittenLogprobs> logprobs;  // that the next chunk tells
    std::size_t told_logprobs = 0;
    std::size_t offset = 0;  // of their tokens, in bytes
  };

  [[nodiscard]] std::string begin(std::size_t index);
  [[nodiscard]] std::string new_text(std::size_t index, bool last);
  [[nodiscard]] std::string deltas(std::size_t index, const std::vector<chat::ChatDelta>& deltas);
  [[nodiscard]] nlohmann::ordered_json chunk(nlohmann::ordered_json choices) const;
  [[nodiscard]] std::string choice_event(std::size_t index, nlohmann::ordered_json what);
  [[nodiscard]] nlohmann::ordered_json take_logprobs(Choice& choice) const;

  const AnswerHead head_;
  const ApiRequest& request_;
  const llama_vocab* const vocab_;
  std::vector<Choice> choices_;
};

}  // namespace brimful::openai
