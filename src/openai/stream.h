#pragma once

#include <string>

#include "openai/answer.h"

namespace brimful::openai {

/// Writes an answer piece by piece, as server-sent events of OpenAI's API. A chat becomes chunks with the
/// deltas of text, reasoning and tool calls that the template's parser finds; a completion becomes chunks of
/// text. Each chunk has the log probabilities of its tokens, if the request asks for them. At the end follow
/// the finish reason, the usage (if the request asks for it), and `[DONE]`. Not thread-safe.
class AnswerStream {
 public:
  /// `request` and `vocab` outlive the stream.
  AnswerStream(AnswerHead head, const ApiRequest& request, const llama_vocab* vocab)
      : head_(std::move(head)),
        request_(request),
        vocab_(vocab),
        choices_(request.part_count(), Choice{.chat = chat::ChatStream(request.parser)}) {}

  /// Returns the events for a new piece of one choice. Empty when the piece alone gives no text yet, for
  /// example half of a character.
  [[nodiscard]] std::string add(std::size_t choice, schedule::Piece piece);
  /// Returns the last events of all choices. Called once; `answers` has one answer for each choice.
  [[nodiscard]] std::string end(const std::vector<schedule::Answer>& answers);
  /// Returns the event that reports an error in the middle of a stream.
  [[nodiscard]] static std::string fail(const Error& error);

 private:
  /// The state of one choice: what was received, and how much of it was sent.
  struct Choice {
    chat::ChatStream chat;
    std::string text;      // for a completion: all text so far
    std::size_t told = 0;  // bytes of `text` that were sent
    bool begun = false;
    std::vector<schedule::WrittenLogprobs> logprobs;  // received, and not sent yet
    std::size_t told_logprobs = 0;                    // number of tokens whose log probabilities were sent
    std::size_t offset = 0;                           // bytes of the text of these tokens
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
