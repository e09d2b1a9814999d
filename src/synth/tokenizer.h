#pragma once

#include <gguf.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include "base/result.h"

namespace brimful::synth {

/// Frees a GGUF context.
struct GgufFree {
  void operator()(gguf_context* context) const { gguf_free(context); }
};
using GgufPtr = std::unique_ptr<gguf_context, GgufFree>;

/// The smallest number of tokens in a made-up vocabulary: three special tokens, 256 bytes and the word mark.
inline constexpr std::uint32_t kMinSynthVocabulary = 260;

/// Adds the `tokenizer.` keys of a SentencePiece vocabulary with which any text can be tokenized and
/// restored. Its tokens are `<unk> <s> </s>`, the 256 bytes, the printable characters, and then strings of
/// letters from short to long.
/// Requires: vocabulary >= kMinSynthVocabulary.
void add_sentence_pieces(gguf_context* to, std::uint32_t vocabulary);

/// Adds the `tokenizer.` keys of a WordPiece vocabulary for text in English letters. Its tokens are `[PAD]
/// [UNK] [CLS] [SEP] [MASK]`, the printable characters at the start of a word and inside a word, and then
/// strings of letters.
/// Requires: vocabulary >= kMinSynthVocabulary.
void add_word_pieces(gguf_context* to, std::uint32_t vocabulary);

/// Reads the `tokenizer.` keys of another model, and no other keys.
/// Errors: those of read_header; kInvalidArgument when that model has no vocabulary.
[[nodiscard]] Result<GgufPtr> read_tokenizer(const std::filesystem::path& path);

/// The number of tokens in tokenizer.ggml.tokens; 0 when the key is missing.
[[nodiscard]] std::uint32_t token_count(const gguf_context* from);

/// For each token, whether it is a control token or the unknown token. A made-up model should never choose
/// these.
[[nodiscard]] std::vector<bool> control_tokens(const gguf_context* from);

}  // namespace brimful::synth
