#pragma once

#include <string>
#include <vector>

namespace brimful::tests {

/// A text as a scripted model says it: in tokens that each occur once.
struct SpokenChunks {
  std::vector<std::string> tokens;
  std::vector<std::string> control;  ///< Those of them that are control tokens.
};

/// Cuts `text`. `marks`: texts of control tokens; each is one where it first occurs. No token ends one of the
/// `prompts`: the model would begin in the middle of its text.
[[nodiscard]] SpokenChunks spoken_chunks(const std::string& text, std::vector<std::string> marks,
                                         const std::vector<std::string>& prompts);

}  // namespace brimful::tests
