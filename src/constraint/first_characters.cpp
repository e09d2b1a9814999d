#include "constraint/first_characters.h"

#include <common.h>

#include <optional>
#include <string>
#include <unordered_map>

namespace brimful::constraint {
namespace {

/// The code point of the first character; nothing when the text does not begin with a complete character.
std::optional<std::uint32_t> first_character(const std::string& text) {
  if (text.empty() || text[0] == '\0') return std::nullopt;
  const auto first = static_cast<unsigned char>(text[0]);
  if (first < 0x80) return first;
  if (first < 0xc2 || first > 0xf4) return std::nullopt;
  const std::size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (text.size() < size) return std::nullopt;
  std::uint32_t code = first & (0xffU >> (size + 1));
  for (std::size_t i = 1; i < size; ++i) {
    const auto next = static_cast<unsigned char>(text[i]);
    if ((next & 0xc0) != 0x80) return std::nullopt;
    code = code << 6 | (next & 0x3fU);
  }
  return code;
}

}  // namespace

FirstCharacters::FirstCharacters(const llama_vocab* vocab)
    : groups_(static_cast<std::size_t>(llama_vocab_n_tokens(vocab)), kNone), characters_{0} {
  std::unordered_map<std::uint32_t, Group> known;
  for (std::size_t i = 0; i < groups_.size(); ++i) {
    const auto token = static_cast<llama_token>(i);
    if (llama_vocab_is_eog(vocab, token)) continue;
    const auto character = first_character(common_token_to_piece(vocab, token, true));
    if (!character) continue;
    const auto [at, is_new] = known.try_emplace(*character, static_cast<Group>(characters_.size()));
    if (is_new && characters_.size() > UINT16_MAX) {  // all group numbers are used
      known.erase(at);
      continue;
    }
    if (is_new) characters_.push_back(*character);
    groups_[i] = at->second;
  }
}

}  // namespace brimful::constraint
