#pragma once

#include <llama.h>

#include <cstdint>
#include <vector>

namespace brimful::constraint {

/// The first character of each token's text. A grammar that knows which first characters are allowed has to
/// check only few tokens of a vocabulary in full. Immutable and thread-safe. Size: 2 bytes for each token.
class FirstCharacters {
 public:
  /// Index of a group. All tokens of a group begin with the same character.
  using Group = std::uint16_t;
  /// The group of tokens that have no complete first character: control tokens, parts of characters, and
  /// tokens without text. When all 65535 other groups are used, the remaining tokens are in this group, too.
  static constexpr Group kNone = 0;

  /// `vocab` is used in the constructor only.
  explicit FirstCharacters(const llama_vocab* vocab);

  [[nodiscard]] Group group_of(llama_token token) const { return groups_[static_cast<std::size_t>(token)]; }
  /// The code point of each group, by the group's index. The one of kNone has no meaning.
  [[nodiscard]] const std::vector<std::uint32_t>& characters() const { return characters_; }

 private:
  std::vector<Group> groups_;  // the group of each token
  std::vector<std::uint32_t> characters_;
};

}  // namespace brimful::constraint
