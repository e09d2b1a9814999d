#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <deque>
#include <optional>
#include <string>

#include "model/gguf_checks.h"

namespace brimful::model {
namespace {

// libllama inserts each token into a trie by recursion, with one call for each byte.
constexpr std::size_t kMaxTokenLength = 16 * 1024;
constexpr std::int32_t kByteToken = 6;  // LLAMA_TOKEN_TYPE_BYTE

std::unexpected<Error> broken(std::string message) {
  return fail(ErrorCode::kCorrupt, std::move(message) + ": the file is damaged, or its converter was broken");
}

Status check_array(const GgufKeyValue& kv, gguf_type type) {
  if (kv.is_array && kv.type == type) return {};
  return broken(fmt::format("{} is not an array of {}", in_quotes(kv.key), gguf_type_name(type)));
}

/// Returns the tokens as libllama stores them: up to the first zero byte, and never empty. `made` holds the
/// texts that had to be made.
std::vector<std::string_view> stored_tokens(std::vector<std::string_view> tokens,
                                            std::deque<std::string>& made) {
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    tokens[i] = tokens[i].substr(0, tokens[i].find('\0'));
    if (tokens[i].empty()) tokens[i] = made.emplace_back(fmt::format("[EMPTY_{}]", i));
  }
  return tokens;
}

/// libllama asserts that all tokens differ.
Status check_tokens(std::vector<std::string_view> tokens) {
  if (tokens.empty()) return broken("'tokenizer.ggml.tokens' is empty");
  const auto longest = std::ranges::max_element(tokens, {}, &std::string_view::size);
  if (longest->size() > kMaxTokenLength) {
    return broken(fmt::format("token {} is {} bytes long", longest - tokens.begin(), longest->size()));
  }
  std::deque<std::string> made;
  tokens = stored_tokens(std::move(tokens), made);
  std::ranges::sort(tokens);
  const auto twice = std::ranges::adjacent_find(tokens);
  if (twice != tokens.end())
    return broken(fmt::format("the vocabulary has token {} twice", in_quotes(*twice)));
  return {};
}

Status check_per_token_arrays(const GgufValues& values, std::uint64_t tokens) {
  constexpr auto kArrays = std::to_array<std::pair<std::string_view, gguf_type>>({
      {"tokenizer.ggml.scores", GGUF_TYPE_FLOAT32},
      {"tokenizer.ggml.token_type", GGUF_TYPE_INT32},
  });
  for (const auto& [key, type] : kArrays) {
    const GgufKeyValue* kv = values.header().find(key);
    if (kv == nullptr) continue;
    const bool integer_scores = kv->is_array && kv->type == GGUF_TYPE_INT32;  // libllama allows this.
    if (!integer_scores) BRIMFUL_TRY_VOID(check_array(*kv, type));
    if (kv->count != tokens) {
      return broken(fmt::format("{} has {} elements for {} tokens", in_quotes(key), kv->count, tokens));
    }
  }
  return {};
}

Status check_charsmap(const GgufValues& values) {
  const GgufKeyValue* kv = values.header().find("tokenizer.ggml.precompiled_charsmap");
  if (kv == nullptr) return {};
  const bool bytes = kv->is_array && (kv->type == GGUF_TYPE_INT8 || kv->type == GGUF_TYPE_UINT8);
  if (!bytes || kv->count < sizeof(std::uint32_t))
    return broken(fmt::format("{} is not a byte table", in_quotes(kv->key)));
  // libllama's own test of this length wraps around at 2^32.
  const std::uint64_t blob = values.number<std::uint32_t>(*kv);
  if (blob + sizeof(std::uint32_t) >= kv->count) {
    return broken(fmt::format("{} claims {} bytes of {}", in_quotes(kv->key), blob, kv->count));
  }
  return {};
}

/// The WordPiece tokenizer aborts on a token with the type 'byte'.
Status check_no_byte_tokens(const GgufValues& values) {
  const GgufKeyValue* kv = values.header().find("tokenizer.ggml.token_type");
  if (kv == nullptr) return {};
  for (std::uint64_t i = 0; i < kv->count; ++i) {
    if (values.number<std::int32_t>(*kv, i) == kByteToken) {
      return broken(fmt::format("token {} is a byte, which a 'bert' vocabulary cannot have", i));
    }
  }
  return {};
}

/// Returns the bytes that an RWKV token stands for. libllama writes them in escaped form (\n, \t, \r, \xHH).
std::string unescaped(std::string_view token) {
  const auto digit = [](char c) { return c >= 'a' ? c - 'a' + 10 : c - '0'; };
  std::string out;
  for (std::size_t i = 0; i < token.size(); ++i) {
    if (token[i] != '\\' || i + 1 == token.size()) {
      if (token[i] != '\\') out += token[i];
      continue;
    }
    const char c = token[++i];
    if (c == 'x') {
      if (i + 2 >= token.size()) break;
      out += static_cast<char>(digit(token[i + 1]) * 16 + digit(token[i + 2]));
      i += 2;
    } else {
      out += c == 't' ? '\t' : c == 'n' ? '\n' : c == 'r' ? '\r' : c;
    }
  }
  return out;
}

/// The RWKV tokenizer loops without end on a byte that begins some token but is no token by itself.
Status check_rwkv_bytes(const std::vector<std::string_view>& tokens) {
  std::array<bool, 256> starts{};
  std::array<bool, 256> alone{};
  for (const std::string_view token : tokens) {
    const std::string bytes = unescaped(token);
    if (bytes.empty()) continue;
    const auto first = static_cast<unsigned char>(bytes[0]);
    starts[first] = true;
    if (bytes.size() == 1) alone[first] = true;
  }
  for (std::size_t i = 0; i < starts.size(); ++i) {
    if (starts[i] && !alone[i])
      return broken(fmt::format("the vocabulary has no token for byte {} alone", i));
  }
  return {};
}

/// How libllama finds a special token: by the key when it names a token, else by a default.
struct SpecialToken {
  std::string_view key;
  /// The key that says whether each prompt gets the token; empty: no key can change the default.
  std::string_view add_key;
  std::optional<bool> add_default;  ///< Nullopt: it depends on the pre-tokenizer, and is not judged here.
  std::uint32_t default_id;
};

/// libllama asserts that a special token which it adds to each prompt is in the vocabulary.
Status check_special_token(const GgufValues& values, const SpecialToken& token, std::uint64_t tokens) {
  BRIMFUL_TRY(const auto add, values.boolean(token.add_key));
  BRIMFUL_TRY(const auto id, values.u32(token.key));
  const bool known = (id && *id < tokens) || token.default_id < tokens;
  if (known || !(add ? add : token.add_default).value_or(false)) return {};
  return broken(fmt::format("each prompt gets token {}, but {} names none of the {} tokens",
                            id.value_or(token.default_id), in_quotes(token.key), tokens));
}

Status check_special_tokens(const GgufValues& values, std::string_view tokenizer, std::uint64_t tokens) {
  constexpr std::uint32_t kNone = UINT32_MAX;
  SpecialToken bos{"tokenizer.ggml.bos_token_id", "tokenizer.ggml.add_bos_token", std::nullopt, kNone};
  SpecialToken eos{"tokenizer.ggml.eos_token_id", "tokenizer.ggml.add_eos_token", std::nullopt, kNone};
  SpecialToken sep{"tokenizer.ggml.seperator_token_id", "tokenizer.ggml.add_sep_token", std::nullopt, kNone};
  if (tokenizer == "llama") {
    bos.add_default = true;
    bos.default_id = 1;
    eos.default_id = 2;
  } else if (tokenizer == "bert") {
    bos.add_key = sep.add_key = {};
    bos.add_default = sep.add_default = true;
    bos.default_id = 101;
    sep.default_id = 102;
  } else if (tokenizer == "t5") {
    eos.add_default = true;
    eos.default_id = 1;
  } else if (tokenizer == "gpt2") {
    bos.default_id = eos.default_id = 11;
    if (tokens <= 11) bos.add_default = true;
  }
  BRIMFUL_TRY_VOID(check_special_token(values, bos, tokens));
  BRIMFUL_TRY_VOID(check_special_token(values, eos, tokens));
  return check_special_token(values, sep, tokens);
}

}  // namespace

Status check_tokenizer(const GgufValues& values) {
  const GgufKeyValue* list = values.header().find("tokenizer.ggml.tokens");
  BRIMFUL_TRY(const auto tokenizer, values.string("tokenizer.ggml.model"));
  if (const GgufKeyValue* merges = values.header().find("tokenizer.ggml.merges")) {
    BRIMFUL_TRY_VOID(check_array(*merges, GGUF_TYPE_STRING));
  }
  BRIMFUL_TRY_VOID(check_charsmap(values));
  if (list == nullptr) return {};
  BRIMFUL_TRY_VOID(check_array(*list, GGUF_TYPE_STRING));
  BRIMFUL_TRY_VOID(check_per_token_arrays(values, list->count));
  const auto tokens = values.strings(*list);
  BRIMFUL_TRY_VOID(check_tokens(tokens));
  if (tokenizer == "bert") BRIMFUL_TRY_VOID(check_no_byte_tokens(values));
  if (tokenizer == "rwkv") BRIMFUL_TRY_VOID(check_rwkv_bytes(tokens));
  return check_special_tokens(values, tokenizer.value_or(""), list->count);
}

}  // namespace brimful::model
