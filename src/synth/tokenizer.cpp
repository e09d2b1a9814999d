#include "synth/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <string>
#include <string_view>
#include <system_error>

#include "base/check.h"
#include "model/header_file.h"

namespace brimful::synth {
namespace {

constexpr std::string_view kWordMark = "\xE2\x96\x81";               // U+2581, which stands for a space.
constexpr std::string_view kLetters = "etaoinshrdlcumwfgypbvkjxqz";  // The most frequent letter first.

// llama.cpp's token types.
constexpr std::int32_t kNormal = 1;
constexpr std::int32_t kUnknown = 2;
constexpr std::int32_t kControl = 3;
constexpr std::int32_t kByte = 6;

struct Vocabulary {
  std::uint32_t wanted = 0;
  std::vector<std::string> tokens;
  std::vector<std::int32_t> types;

  [[nodiscard]] bool full() const { return tokens.size() >= wanted; }
  void add(std::string token, std::int32_t type) {
    if (full()) return;
    tokens.push_back(std::move(token));
    types.push_back(type);
  }
};

void add_special_tokens(Vocabulary& vocabulary) {
  vocabulary.add("<unk>", kUnknown);
  vocabulary.add("<s>", kControl);
  vocabulary.add("</s>", kControl);
  for (int byte = 0; byte < 256; ++byte) vocabulary.add(fmt::format("<0x{:02X}>", byte), kByte);
}

/// Adds every printable character with `prefix` before it.
void add_characters(Vocabulary& vocabulary, std::string_view prefix) {
  for (const char c : kLetters) vocabulary.add(std::string(prefix) + c, kNormal);
  for (char c = '!'; c <= '~'; ++c) {
    if (!std::islower(static_cast<unsigned char>(c))) vocabulary.add(std::string(prefix) + c, kNormal);
  }
}

/// Adds every string of `length` letters with `prefix` before it, until the vocabulary is full.
void add_letter_strings(Vocabulary& vocabulary, std::string_view prefix, std::size_t length) {
  std::vector<std::size_t> digits(length, 0);
  while (!vocabulary.full()) {
    std::string token(prefix);
    for (const std::size_t digit : digits) token += kLetters[digit];
    vocabulary.add(std::move(token), kNormal);
    std::size_t place = length;
    while (place > 0 && ++digits[place - 1] == kLetters.size()) digits[--place] = 0;
    if (place == 0) return;
  }
}

/// Adds strings of letters until the vocabulary is full. Shorter strings come first, so each string can be
/// merged from two tokens that are there.
void add_letter_strings(Vocabulary& vocabulary) {
  for (std::size_t length = 1; !vocabulary.full(); ++length) {
    add_letter_strings(vocabulary, kWordMark, length);
    add_letter_strings(vocabulary, "", length + 1);
  }
}

Vocabulary sentence_pieces(std::uint32_t wanted) {
  Vocabulary vocabulary{.wanted = wanted, .tokens = {}, .types = {}};
  add_special_tokens(vocabulary);
  vocabulary.add(std::string(kWordMark), kNormal);
  add_characters(vocabulary, "");
  add_letter_strings(vocabulary);
  return vocabulary;
}

Vocabulary word_pieces(std::uint32_t wanted) {
  Vocabulary vocabulary{.wanted = wanted, .tokens = {}, .types = {}};
  for (const char* special : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"})
    vocabulary.add(special, kControl);
  add_characters(vocabulary, kWordMark);
  add_characters(vocabulary, "");
  for (std::size_t length = 2; !vocabulary.full(); ++length) {
    add_letter_strings(vocabulary, kWordMark, length);
    add_letter_strings(vocabulary, "", length);
  }
  return vocabulary;
}

void add_tokens(gguf_context* to, const char* model, const Vocabulary& vocabulary) {
  std::vector<const char*> tokens;
  tokens.reserve(vocabulary.tokens.size());
  for (const std::string& token : vocabulary.tokens) tokens.push_back(token.c_str());
  gguf_set_val_str(to, "tokenizer.ggml.model", model);
  gguf_set_val_str(to, "tokenizer.ggml.pre", "default");
  gguf_set_arr_str(to, "tokenizer.ggml.tokens", tokens.data(), tokens.size());
  gguf_set_arr_data(to, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, vocabulary.types.data(),
                    vocabulary.types.size());
}

}  // namespace

void add_sentence_pieces(gguf_context* to, std::uint32_t vocabulary_size) {
  BRIMFUL_CHECK(vocabulary_size >= kMinSynthVocabulary);
  const Vocabulary vocabulary = sentence_pieces(vocabulary_size);
  add_tokens(to, "llama", vocabulary);
  std::vector<float> scores;
  scores.reserve(vocabulary.tokens.size());
  for (std::size_t i = 0; i < vocabulary.tokens.size(); ++i) {
    // A merge prefers the highest score, so longer pieces have higher scores.
    scores.push_back(vocabulary.types[i] == kNormal ? -static_cast<float>(vocabulary.tokens.size() - i)
                                                    : 0.0F);
  }
  gguf_set_arr_data(to, "tokenizer.ggml.scores", GGUF_TYPE_FLOAT32, scores.data(), scores.size());
  gguf_set_val_u32(to, "tokenizer.ggml.unknown_token_id", 0);
  gguf_set_val_u32(to, "tokenizer.ggml.bos_token_id", 1);
  gguf_set_val_u32(to, "tokenizer.ggml.eos_token_id", 2);
  gguf_set_val_bool(to, "tokenizer.ggml.add_bos_token", true);
  gguf_set_val_bool(to, "tokenizer.ggml.add_eos_token", false);
}

void add_word_pieces(gguf_context* to, std::uint32_t vocabulary_size) {
  BRIMFUL_CHECK(vocabulary_size >= kMinSynthVocabulary);
  add_tokens(to, "bert", word_pieces(vocabulary_size));
  gguf_set_val_u32(to, "tokenizer.ggml.token_type_count", 2);  // The number of BERT's segments.
  gguf_set_val_u32(to, "tokenizer.ggml.padding_token_id", 0);
  gguf_set_val_u32(to, "tokenizer.ggml.unknown_token_id", 1);
  gguf_set_val_u32(to, "tokenizer.ggml.bos_token_id", 2);
  gguf_set_val_u32(to, "tokenizer.ggml.seperator_token_id", 3);  // llama.cpp spells the key like this.
  gguf_set_val_u32(to, "tokenizer.ggml.mask_token_id", 4);
}

Result<GgufPtr> read_tokenizer(const std::filesystem::path& path) {
  std::error_code ec;
  if (!std::filesystem::is_regular_file(path, ec)) {
    return fail(ErrorCode::kNotFound, fmt::format("there is no file {}", path.string()));
  }
  if (const auto checked = model::read_header(path); !checked) return std::unexpected(checked.error());
  const GgufPtr source(gguf_init_from_file(path.c_str(), {.no_alloc = true, .ctx = nullptr}));
  if (!source) return fail(ErrorCode::kCorrupt, fmt::format("{} is not a GGUF file", path.string()));
  if (token_count(source.get()) == 0) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("{} has no tokenizer", path.string()));
  }
  std::vector<std::string> others;
  for (std::int64_t i = 0; i < gguf_get_n_kv(source.get()); ++i) {
    const std::string key = gguf_get_key(source.get(), i);
    if (!key.starts_with("tokenizer.")) others.push_back(key);
  }
  GgufPtr tokenizer(gguf_init_empty());
  gguf_set_kv(tokenizer.get(), source.get());
  for (const std::string& key : others) gguf_remove_key(tokenizer.get(), key.c_str());
  return tokenizer;
}

std::uint32_t token_count(const gguf_context* from) {
  const std::int64_t key = gguf_find_key(from, "tokenizer.ggml.tokens");
  if (key < 0 || gguf_get_kv_type(from, key) != GGUF_TYPE_ARRAY ||
      gguf_get_arr_type(from, key) != GGUF_TYPE_STRING) {
    return 0;
  }
  return static_cast<std::uint32_t>(gguf_get_arr_n(from, key));
}

std::vector<bool> control_tokens(const gguf_context* from) {
  std::vector<bool> control(token_count(from), false);
  const std::int64_t key = gguf_find_key(from, "tokenizer.ggml.token_type");
  if (key < 0 || gguf_get_kv_type(from, key) != GGUF_TYPE_ARRAY ||
      gguf_get_arr_type(from, key) != GGUF_TYPE_INT32) {
    return control;
  }
  const auto* types = static_cast<const std::int32_t*>(gguf_get_arr_data(from, key));
  const std::size_t known = std::min(control.size(), gguf_get_arr_n(from, key));
  for (std::size_t i = 0; i < known; ++i) control[i] = types[i] == kControl || types[i] == kUnknown;
  return control;
}

}  // namespace brimful::synth
