#include "spoken_chunks.h"

#include <algorithm>
#include <ranges>
#include <string_view>

namespace brimful::tests {
namespace {

constexpr std::size_t kChunk = 7;  // The length of a token in bytes.
/// Shorter tokens also occur in prompts. A tokenizer does not put longer ones together from characters.
constexpr std::size_t kShortest = 3;

class Cutter {
 public:
  Cutter(const std::vector<std::string>& marks, const std::vector<std::string>& prompts)
      : marks_(marks), prompts_(prompts) {}

  SpokenChunks cut(std::string_view text) {
    while (!text.empty()) {
      const auto [at, mark] = next_mark(text);
      if (at == 0) {
        out_.tokens.push_back(mark);
        out_.control.push_back(mark);
        text.remove_prefix(mark.size());
        continue;
      }
      std::string_view plain = text.substr(0, at);
      text.remove_prefix(plain.size());
      while (!plain.empty()) plain.remove_prefix(add_chunk(plain));
    }
    return std::move(out_);
  }

 private:
  [[nodiscard]] bool is_new(std::string_view chunk) const {
    return std::ranges::find(out_.tokens, chunk) == out_.tokens.end() &&
           std::ranges::none_of(prompts_, [&](const std::string& prompt) { return prompt.ends_with(chunk); });
  }

  /// Returns the first mark that has not occurred yet, and the longest one when several begin there. When
  /// there is none, it returns the end of the text.
  [[nodiscard]] std::pair<std::size_t, std::string> next_mark(std::string_view text) const {
    std::pair<std::size_t, std::string> out{text.size(), {}};
    for (const std::string& mark : marks_) {
      const std::size_t at = text.find(mark);
      if (at == std::string_view::npos || !is_new(mark)) continue;
      if (at < out.first || (at == out.first && mark.size() > out.second.size())) out = {at, mark};
    }
    return out;
  }

  /// Returns its size.
  std::size_t add_chunk(std::string_view text) {
    std::size_t size = std::min(kChunk, text.size());
    const auto in_character = [&] {
      return size < text.size() && (static_cast<unsigned char>(text[size]) & 0xc0) == 0x80;
    };
    while (size < text.size() &&
           (in_character() || text.size() - size < kShortest || !is_new(text.substr(0, size))))
      ++size;
    out_.tokens.emplace_back(text.substr(0, size));
    return size;
  }

  const std::vector<std::string>& marks_;
  const std::vector<std::string>& prompts_;
  SpokenChunks out_;
};

/// Returns the position of a token that the model would not write where the text has it; the end when there
/// is none.
std::size_t unsayable(const std::vector<std::string>& tokens, const std::vector<std::string>& prompts) {
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const auto begin = tokens.begin();
    const auto here = begin + static_cast<std::ptrdiff_t>(i);
    if (std::find(begin, here, tokens[i]) != here) return i;
    if (std::ranges::any_of(prompts, [&](const std::string& prompt) { return prompt.ends_with(tokens[i]); }))
      return i;
  }
  return tokens.size();
}

}  // namespace

SpokenChunks spoken_chunks(const std::string& text, std::vector<std::string> marks,
                           const std::vector<std::string>& prompts) {
  for (;;) {
    SpokenChunks out = Cutter(marks, prompts).cut(text);
    const std::size_t place = unsayable(out.tokens, prompts);
    if (out.control.empty() || place == out.tokens.size()) return out;
    // The text between two marks is too short for a token of its own, so the next mark becomes plain text.
    const auto is_mark = [&](const std::string& token) {
      return std::ranges::find(out.control, token) != out.control.end();
    };
    const auto next =
        std::find_if(out.tokens.begin() + static_cast<std::ptrdiff_t>(place), out.tokens.end(), is_mark);
    std::erase(marks, next == out.tokens.end() ? out.control.back() : *next);
  }
}

}  // namespace brimful::tests
