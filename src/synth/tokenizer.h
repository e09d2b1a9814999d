#pragma once

#include <gguf.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include "base/result.h"

namespace brimful::synth {

struct GgufFree {
  void operator()(gguf_context* context) const { gguf_free(context); }
};
using GgufPtr = std::unique_ptr<gguf_context, GgufFree>;

/// The fewest tokens of a made-up vocabulary: three special ones, 256 bytes and the word mark.
inline constexpr std::uint32_t kMinSynthVocabulary = 260;

/// Adds the `tokenizer.` keys of a SentencePiece vocabulary that turns any text into tokens and back:
/// `<unk> <s> </s>`, the 256 bytes, printable characters, then letter strings from short to long.
/// Requires: vocabulary >= kMinSynthVocabulary.
void add_sentence_pieces(gguf_context* to, std::uint32_t vocabulary);

/// Adds the `tokenizer.` keys of a WordPiece vocabulary for text in English letters: `[PAD] [UNK] [CLS] [SEP]
/// [MASK]`, printable characters at the start of a word and inside one, then letter strings.
/// Requires: vocabulary >= kMinSynthVocabulary.
void add_word_pieces(gguf_context* to, std::uint32_t vocabulary);

/// The `tokenizer.` keys of another model, and no others.
/// Errors: kNotFound, kCorrupt; kInvalidArgument where that model has no vocabulary.
[[nodiscard]] Result<GgufPtr> read_tokenizer(const std::filesystem::path& path);

/// Tokens in tokenizer.ggml.tokens; 0 where it is missing.
[[nodiscard]] std::uint32_t token_count(const gguf_context* from);

/// For every token: it is a control or unknown token, which a made-up model should never choose.
[[nodiscard]] std::vector<bool> control_tokens(const gguf_context* from);

}  // namespace brimful::synth
