#pragma once

#include <brimful/export.h>
#include <brimful/result.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace brimful {

/// A number that shapes how tokens are chosen, such as `temperature`.
struct SamplingOption {
  std::string_view name{};  ///< As in llama-server's requests. The text lives as long as the program.
  std::string_view help{};  ///< What it does, and which value turns it off.
  double least = 0;       ///< The smallest value that is accepted.
  double most = 0;        ///< The largest value that is accepted.
  double usual = 0;       ///< The value where none is set: llama.cpp's own.
};

/// How the tokens of an answer are chosen, and where it ends. Threading: as any value.
struct SamplingOptions {
  /// Numbers by name, one of sampling_options() each. What is not named has its usual value.
  std::map<std::string, double, std::less<>> numbers{};
  /// Equal seeds give equal answers, as long as no other request is computed at the same time. Unset: a random one.
  std::optional<std::uint32_t> seed{};
  /// The most tokens that are written. The token that ends a text counts. 0: the prompt is computed, so that a later one
  /// that begins with it is answered sooner. Unset: until the model ends the answer, or the context is full.
  std::optional<std::uint32_t> max_tokens{};
  /// The answer ends before the first of these texts. Empty ones are ignored.
  std::vector<std::string> stop{};
  /// What is added to the logits of tokens before one is chosen, by the token's id. Minus infinity forbids the token.
  std::map<std::int32_t, float> token_biases{};
  /// llama.cpp's names of the samplers, such as `top_k`, in the order in which they are applied. Empty: llama.cpp's own
  /// order.
  std::vector<std::string> samplers{};
  /// Texts that end the sequences whose repetition DRY penalises. Empty: llama.cpp's own.
  std::vector<std::string> dry_sequence_breakers{};
  /// True: the tokens that end a text are never chosen.
  bool ignore_end_of_text = false;
  /// How many of the likeliest tokens Completion::log_probabilities names beside each written token, at most 20. Unset:
  /// there are no log probabilities.
  std::optional<std::uint32_t> top_log_probabilities{};
  /// A grammar in llama.cpp's GBNF that the answer must follow. Empty: none.
  std::string grammar{};
  /// A JSON schema that the answer must follow, as JSON. Empty: none. At most one of the two may be set.
  std::string json_schema{};
  /// True: a schema of which llama.cpp cannot follow some part is refused. False: the answer's notes name that part.
  bool strict_schema = false;
  /// True: special tokens that are written stand in the text by their names, and an answer to messages is not taken
  /// apart: its text has all that is written.
  bool special_tokens = false;
};

/// Every number that SamplingOptions::numbers accepts, in a fixed order.
[[nodiscard]] BRIMFUL_API std::vector<SamplingOption> sampling_options();

}  // namespace brimful
