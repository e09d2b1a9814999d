#include "scripted_model.h"

#include <fmt/format.h>
#include <ggml.h>
#include <gguf.h>

#include <algorithm>
#include <memory>
#include <numeric>

namespace brimful::tests {
namespace {

constexpr std::int64_t kEmbedding = 512;  // One dimension for each token, because all vectors are one-hot.
// One small head is enough: there is nothing to attend to, and prompts are long.
constexpr std::int64_t kHead = 64;
constexpr std::int64_t kFeedForward = 32;
constexpr std::int32_t kEnd = 2;

struct Vocabulary {
  std::vector<std::string> texts{"<unk>", "<s>", "</s>"};
  std::vector<std::int32_t> types{2, 3, 3};

  Vocabulary() {
    for (int byte = 0; byte < 256; ++byte) add(fmt::format("<0x{:02X}>", byte), 6);
    add(" ", 1);
  }
  std::int32_t add(const std::string& text, std::int32_t type) {
    const auto found = std::ranges::find(texts, text);
    if (found != texts.end()) return static_cast<std::int32_t>(found - texts.begin());
    texts.push_back(text);
    types.push_back(type);
    return static_cast<std::int32_t>(texts.size() - 1);
  }
};

/// Writes bytes as GPT-2 does: visible bytes as their character, and the others as characters from U+0100
/// on, in order.
std::string in_byte_pairs(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto seen = [](int byte) { return (byte > 32 && byte < 127) || (byte > 160 && byte != 173); };
    const int byte = static_cast<unsigned char>(c);
    int code = byte;
    if (!seen(byte)) {
      code = 256;
      for (int before = 0; before < byte; ++before) code += seen(before) ? 0 : 1;
    }
    if (code < 0x80) {
      out += static_cast<char>(code);
    } else {
      out += {static_cast<char>(0xc0 | code >> 6), static_cast<char>(0x80 | (code & 0x3f))};
    }
  }
  return out;
}

/// Writes spaces as SentencePiece does.
std::string in_vocabulary(const std::string& text) {
  std::string out;
  for (const char c : text) out += c == ' ' ? std::string("\xe2\x96\x81") : std::string(1, c);
  return out;
}

class Writer {
 public:
  Writer()
      : context_(ggml_init({64 << 20, nullptr, false}), ggml_free), file_(gguf_init_empty(), gguf_free) {}

  [[nodiscard]] gguf_context* file() const { return file_.get(); }
  float* tensor(const std::string& name, std::int64_t columns, std::int64_t rows, float value) {
    ggml_tensor* const tensor = rows == 1 ? ggml_new_tensor_1d(context_.get(), GGML_TYPE_F32, columns)
                                          : ggml_new_tensor_2d(context_.get(), GGML_TYPE_F32, columns, rows);
    ggml_set_name(tensor, name.c_str());
    auto* const data = static_cast<float*>(tensor->data);
    std::fill_n(data, columns * rows, value);
    gguf_add_tensor(file_.get(), tensor);
    return data;
  }

 private:
  std::unique_ptr<ggml_context, decltype(&ggml_free)> context_;
  std::unique_ptr<gguf_context, decltype(&gguf_free)> file_;
};

void write_metadata(gguf_context* file, const Script& script, const Vocabulary& vocabulary) {
  gguf_set_val_str(file, "general.architecture", "llama");
  gguf_set_val_str(file, "general.name", script.name.c_str());
  gguf_set_val_u32(file, "llama.context_length", script.trained_context);
  gguf_set_val_u32(file, "llama.embedding_length", kEmbedding);
  gguf_set_val_u32(file, "llama.block_count", 1);
  gguf_set_val_u32(file, "llama.feed_forward_length", kFeedForward);
  gguf_set_val_u32(file, "llama.attention.head_count", 1);
  gguf_set_val_u32(file, "llama.attention.head_count_kv", 1);
  gguf_set_val_f32(file, "llama.attention.layer_norm_rms_epsilon", 1e-5F);
  gguf_set_val_u32(file, "llama.attention.key_length", kHead);
  gguf_set_val_u32(file, "llama.attention.value_length", kHead);
  gguf_set_val_u32(file, "llama.rope.dimension_count", kHead);
  gguf_set_val_u32(file, "llama.vocab_size", static_cast<std::uint32_t>(vocabulary.texts.size()));
  gguf_set_val_str(file, "tokenizer.ggml.model", script.byte_pairs ? "gpt2" : "llama");
  if (script.splits_said) gguf_set_val_str(file, "tokenizer.ggml.pre", "default");
  std::vector<std::string> texts;
  std::vector<std::int32_t> types = vocabulary.types;
  for (std::size_t i = 0; i < vocabulary.texts.size(); ++i) {
    const std::string& text = vocabulary.texts[i];
    if (!script.byte_pairs) {
      texts.push_back(in_vocabulary(text));
      continue;
    }
    // In this vocabulary bytes are normal tokens, and the space is one of them. The separate token for it
    // never occurs.
    const bool is_byte = types[i] == 6;
    if (is_byte) types[i] = 1;
    texts.push_back(text == " "     ? "space"
                    : is_byte       ? in_byte_pairs(std::string(1, static_cast<char>(i - 3)))
                    : types[i] == 1 ? in_byte_pairs(text)
                                    : text);
  }
  if (script.byte_pairs) {
    const char* merge = "q q";
    gguf_set_arr_str(file, "tokenizer.ggml.merges", &merge, 1);
  }
  std::vector<const char*> pointers;
  for (const std::string& text : texts) pointers.push_back(text.c_str());
  gguf_set_arr_str(file, "tokenizer.ggml.tokens", pointers.data(), pointers.size());
  std::vector<float> scores(texts.size(), 0.0F);
  for (std::size_t i = 259; i < scores.size(); ++i) scores[i] = -static_cast<float>(i - 259);
  gguf_set_arr_data(file, "tokenizer.ggml.scores", GGUF_TYPE_FLOAT32, scores.data(), scores.size());
  gguf_set_arr_data(file, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, types.data(), types.size());
  gguf_set_val_u32(file, "tokenizer.ggml.bos_token_id", 1);
  gguf_set_val_u32(file, "tokenizer.ggml.eos_token_id", kEnd);
  gguf_set_val_u32(file, "tokenizer.ggml.unknown_token_id", 0);
  gguf_set_val_bool(file, "tokenizer.ggml.add_bos_token", true);
  gguf_set_val_bool(file, "tokenizer.ggml.add_eos_token", false);
  gguf_set_val_bool(file, "tokenizer.ggml.add_space_prefix", false);
  if (!script.chat_template.empty())
    gguf_set_val_str(file, "tokenizer.chat_template", script.chat_template.c_str());
}

}  // namespace

std::filesystem::path write_scripted_model(const std::filesystem::path& folder, const Script& script) {
  Vocabulary vocabulary;
  for (const std::string& text : script.control) vocabulary.add(text, 3);
  for (const std::string& text : script.more) vocabulary.add(text, 1);
  std::vector<std::vector<std::int32_t>> chains;
  const auto add_chain = [&](const std::string* after, const std::vector<std::string>& tokens) {
    auto& chain = chains.emplace_back();
    if (after != nullptr) chain.push_back(vocabulary.add(*after, 3));
    for (const std::string& text : tokens) chain.push_back(vocabulary.add(text, 1));
  };
  add_chain(nullptr, script.tokens);
  for (const auto& [after, tokens] : script.others) add_chain(&after, tokens);
  const auto size = static_cast<std::int64_t>(vocabulary.texts.size());
  GGML_ASSERT(size <= kEmbedding);
  std::vector<std::int32_t> next(static_cast<std::size_t>(size), chains.front().front());
  for (const auto& chain : chains) {
    for (std::size_t i = 0; i < chain.size(); ++i)
      next[static_cast<std::size_t>(chain[i])] = i + 1 < chain.size() ? chain[i + 1] : kEnd;
  }

  Writer writer;
  float* const embeddings = writer.tensor("token_embd.weight", kEmbedding, size, 0);
  for (std::int64_t i = 0; i < size; ++i) embeddings[i * kEmbedding + i] = 1;
  writer.tensor("output_norm.weight", kEmbedding, 1, 1);
  float* const output = writer.tensor("output.weight", kEmbedding, size, 0);
  for (std::int64_t i = 0; i < size; ++i) output[next[static_cast<std::size_t>(i)] * kEmbedding + i] = 1;
  for (const char* const norm : {"blk.0.attn_norm.weight", "blk.0.ffn_norm.weight"})
    writer.tensor(norm, kEmbedding, 1, 1);
  writer.tensor("blk.0.attn_q.weight", kEmbedding, kHead, 0);
  writer.tensor("blk.0.attn_k.weight", kEmbedding, kHead, 0);
  writer.tensor("blk.0.attn_v.weight", kEmbedding, kHead, 0);
  writer.tensor("blk.0.attn_output.weight", kHead, kEmbedding, 0);
  writer.tensor("blk.0.ffn_gate.weight", kEmbedding, kFeedForward, 0);
  writer.tensor("blk.0.ffn_up.weight", kEmbedding, kFeedForward, 0);
  writer.tensor("blk.0.ffn_down.weight", kFeedForward, kEmbedding, 0);
  write_metadata(writer.file(), script, vocabulary);
  std::filesystem::path path = folder / "scripted.gguf";
  gguf_write_to_file(writer.file(), path.c_str(), false);
  return path;
}

}  // namespace brimful::tests
