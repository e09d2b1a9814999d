#pragma once

#include <string>
#include <vector>

namespace brimful::tests {

/// A text that is cut into the tokens of a scripted model, each of which occurs once.
struct SpokenChunks {
  std::vector<std::string> tokens;
  std::vector<std::string> control;  ///< The tokens among them that are control tokens.
};
/// Cuts `text` into tokens. `marks` are texts of control tokens: each becomes one at its first occurrence.
/// No token is the end of one of the `prompts`, because the model would then begin in the middle of its
/// text.
[[nodiscard]] SpokenChunks spoken_chunks(const std::string& text, std::vector<std::string> marks,
                                         const std::vector<std::string>& prompts);

}  // namespace brimful::tests
