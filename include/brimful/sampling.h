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

/// A number that controls how tokens are sampled, such as `temperature`.
struct SamplingOption {
  std::string_view name{};  ///< The name in llama-server's requests. The text lives as long as the program.
  std::string_view help{};  ///< What it does, and which value turns it off.
  double least = 0;       ///< The smallest value that is accepted.
  double most = 0;        ///< The largest value that is accepted.
  double usual = 0;       ///< The default, which is llama.cpp's.
};

/// How the tokens of an answer are sampled, and where the answer ends.
struct SamplingOptions {
  /// Values by the option's name; sampling_options() lists the names. An option that is not here has its default.
  std::map<std::string, double, std::less<>> numbers{};
  /// The same seed gives the same answer if no other request runs at the same time. Unset: a random seed.
  std::optional<std::uint32_t> seed{};
  /// The largest number of tokens to generate, with the end-of-text token. 0: the prompt is computed and nothing is
  /// generated; a later prompt that begins with it then starts sooner. Unset: until the model ends the answer, or the
  /// context is full.
  std::optional<std::uint32_t> max_tokens{};
  /// Stop strings. The answer ends before the first one that is generated. Empty ones are ignored.
  std::vector<std::string> stop{};
  /// Values that are added to the logits before a token is sampled, by the token's id. Minus infinity forbids a token.
  std::map<std::int32_t, float> token_biases{};
  /// llama.cpp's names of the samplers, such as `top_k`, in the order in which they are applied. Empty: the default
  /// order of llama.cpp.
  std::vector<std::string> samplers{};
  /// Sequence breakers of the DRY sampler. Empty: the defaults of llama.cpp.
  std::vector<std::string> dry_sequence_breakers{};
  /// True: end-of-text tokens are never generated.
  bool ignore_end_of_text = false;
  /// A number from 0 to 20: for each generated token, Completion::log_probabilities has its log probability, and those
  /// of this number of most probable tokens. Unset: no log probabilities.
  std::optional<std::uint32_t> top_log_probabilities{};
  /// A grammar in llama.cpp's GBNF that the answer must follow. Empty: none.
  std::string grammar{};
  /// A JSON schema that the answer must follow, as JSON. Empty: none. Set at most one of `grammar` and `json_schema`.
  std::string json_schema{};
  /// True: the request fails if llama.cpp cannot enforce a part of the schema. False: Completion::notes lists the parts
  /// that are not enforced.
  bool strict_schema = false;
  /// True: special tokens appear in the text by their names. The answer to a chat is not parsed then: Completion::text
  /// has all that was generated, and `reasoning` and `tool_calls` are empty.
  bool special_tokens = false;
};

/// Every option that SamplingOptions::numbers accepts, in a fixed order.
[[nodiscard]] BRIMFUL_API std::vector<SamplingOption> sampling_options();

}  // namespace brimful
