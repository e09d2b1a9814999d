#pragma once

#include <brimful/session.h>

#include <optional>
#include <string>
#include <vector>

#include "chat/chat_format.h"
#include "schedule/request.h"
#include "session/sampling.h"

namespace brimful::session {

/// A request that was read and checked, before it is submitted.
struct ReadRequest {
  schedule::Request request;
  /// Reads the text of the answer.
  chat::ChatParser parser;
  /// For people: what of the request could not be done as asked.
  std::vector<std::string> notes;
};

/// Reads the requests of one session. Thread-safe.
class RequestReader {
 public:
  /// `engine` outlives it, and is open. `chat_template` is used instead of the model's own template; empty:
  /// the model's own. A template that cannot be read is an error of each chat.
  RequestReader(const engine::Engine& engine, const std::string& chat_template);

  /// Errors: those of Session::submit(), but for the length of the prompt.
  [[nodiscard]] Result<ReadRequest> read(const Prompt& prompt, const SamplingOptions& sampling,
                                         const RequestOptions& options) const;
  /// Reads a text of which a vector is wanted. Errors: kInvalidArgument.
  [[nodiscard]] Result<schedule::Request> read_for_vector(const Prompt& prompt) const;
  /// Errors: kInvalidArgument for an id that the vocabulary does not have.
  [[nodiscard]] Status check_tokens(const std::vector<std::int32_t>& tokens) const;

 private:
  [[nodiscard]] Status read_prompt(const Prompt& prompt, AnswerRules rules, const Notes& notes,
                                   ReadRequest& out) const;

  const engine::Engine& engine_;
  std::optional<chat::ChatFormat> format_;  // unset: the model has no chat template that can be read
  std::optional<Error> no_format_;          // why
};

}  // namespace brimful::session
