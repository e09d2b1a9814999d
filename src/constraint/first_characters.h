#pragma once

#include <llama.h>

#include <cstdint>
#include <vector>

namespace brimful::constraint {

/// The first character of each token's text. A grammar that is asked for its first characters only leaves few
/// tokens of a vocabulary to be looked at whole. Immutable; any thread. Size: 2 bytes a token.
class FirstCharacters {
 public:
  /// Index of a group: tokens that begin with the same character.
  using Group = std::uint16_t;
  /// The group of tokens that have no whole first character: control tokens, parts of characters, no text.
  static constexpr Group kNone = 0;

  /// `vocab` is used while this is made, and not kept.
  explicit FirstCharacters(const llama_vocab* vocab);

  [[nodiscard]] Group group_of(llama_token token) const { return groups_[static_cast<std::size_t>(token)]; }
  /// The code point of each group. That of kNone means nothing.
  [[nodiscard]] const std::vector<std::uint32_t>& characters() const { return characters_; }

 private:
  std::vector<Group> groups_;  // of each token
  std::vector<std::uint32_t> characters_;
};

}  // namespace brimful::constraint
