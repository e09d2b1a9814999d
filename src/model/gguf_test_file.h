#pragma once

#include <gguf.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "model/gguf_reader.h"

/// Builders of GGUF files for tests: of valid files, and of files that no honest writer would write.
namespace brimful::model::testing {

/// Bytes in GGUF's encoding, appended one value after the other.
class ByteList {
 public:
  template <typename T>
  ByteList& put(T value) {
    const auto* first = reinterpret_cast<const std::byte*>(&value);
    bytes.insert(bytes.end(), first, first + sizeof(T));
    return *this;
  }
  ByteList& string(std::string_view text) {
    put(std::uint64_t{text.size()});
    return raw(text);
  }
  ByteList& raw(std::string_view text) {
    const auto view = std::as_bytes(std::span(text));
    bytes.insert(bytes.end(), view.begin(), view.end());
    return *this;
  }
  std::vector<std::byte> bytes;
};

/// Builds one GGUF file. A test can override every number that a writer would derive.
class TestFile {
 public:
  std::string magic = "GGUF";
  std::uint32_t version = 3;
  std::uint64_t alignment = 32;
  // These numbers are added to the counts of tensors and keys that the header claims.
  std::int64_t extra_tensors = 0;
  std::int64_t extra_keys = 0;

  template <typename T>
  TestFile& number(std::string_view key, gguf_type type, T value) {
    return entry(key, ByteList().put(std::int32_t{type}).put(value));
  }
  TestFile& u32(std::string_view key, std::uint32_t value) { return number(key, GGUF_TYPE_UINT32, value); }
  TestFile& u16(std::string_view key, std::uint16_t value) { return number(key, GGUF_TYPE_UINT16, value); }
  TestFile& i32(std::string_view key, std::int32_t value) { return number(key, GGUF_TYPE_INT32, value); }
  TestFile& f32(std::string_view key, float value) { return number(key, GGUF_TYPE_FLOAT32, value); }
  TestFile& boolean(std::string_view key, bool value) {
    return number(key, GGUF_TYPE_BOOL, static_cast<std::uint8_t>(value));
  }
  TestFile& text(std::string_view key, std::string_view value) {
    return entry(key, ByteList().put(std::int32_t{GGUF_TYPE_STRING}).string(value));
  }
  TestFile& texts(std::string_view key, const std::vector<std::string>& values) {
    ByteList value;
    value.put(std::int32_t{GGUF_TYPE_ARRAY})
        .put(std::int32_t{GGUF_TYPE_STRING})
        .put(std::uint64_t{values.size()});
    for (const std::string& one : values) value.string(one);
    return entry(key, value);
  }
  template <typename T>
  TestFile& numbers(std::string_view key, gguf_type type, const std::vector<T>& values) {
    ByteList value;
    value.put(std::int32_t{GGUF_TYPE_ARRAY}).put(std::int32_t{type}).put(std::uint64_t{values.size()});
    for (const T& one : values) value.put(one);
    return entry(key, value);
  }
  /// Adds an entry, and removes an earlier one with the same key. `typed_value` holds the type and the
  /// value.
  TestFile& entry(std::string_view key, const ByteList& typed_value) {
    remove(key);
    return repeat(key, typed_value);
  }
  /// Adds an entry, and keeps an earlier one with the same key.
  TestFile& repeat(std::string_view key, const ByteList& typed_value) {
    keys_.push_back({std::string(key), typed_value.bytes});
    return *this;
  }
  TestFile& remove(std::string_view key) {
    std::erase_if(keys_, [&](const Entry& e) { return e.key == key; });
    return *this;
  }
  /// Adds a tensor after the ones before it. The type may be a number that ggml does not know.
  TestFile& tensor(std::string_view name, std::vector<std::int64_t> shape,
                   std::int32_t type = GGML_TYPE_F32) {
    std::uint64_t elements = 1;
    for (const std::int64_t n : shape) elements *= static_cast<std::uint64_t>(n);
    const bool known =
        type >= 0 && type < GGML_TYPE_COUNT && ggml_blck_size(static_cast<ggml_type>(type)) > 0;
    const auto t = static_cast<ggml_type>(known ? type : GGML_TYPE_F32);
    const std::uint64_t size = elements / static_cast<std::uint64_t>(ggml_blck_size(t)) * ggml_type_size(t);
    const auto dimensions = static_cast<std::uint32_t>(shape.size());
    tensors_.push_back({std::string(name), dimensions, std::move(shape), type, data_size_});
    data_size_ = padded(data_size_ + size);
    return *this;
  }
  struct Tensor {
    std::string name;
    std::uint32_t dimensions;
    std::vector<std::int64_t> shape;
    std::int32_t type;
    std::uint64_t offset;
  };
  Tensor& last_tensor() { return tensors_.back(); }

  /// The header without its padding.
  [[nodiscard]] std::vector<std::byte> header() const {
    ByteList out;
    out.raw(magic).put(version);
    out.put(tensors_.size() + static_cast<std::uint64_t>(extra_tensors));
    out.put(keys_.size() + static_cast<std::uint64_t>(extra_keys));
    for (const Entry& e : keys_) {
      out.string(e.key);
      out.bytes.insert(out.bytes.end(), e.typed_value.begin(), e.typed_value.end());
    }
    for (const Tensor& t : tensors_) {
      out.string(t.name).put(t.dimensions);
      for (const std::int64_t n : t.shape) out.put(n);
      out.put(t.type).put(t.offset);
    }
    return out.bytes;
  }
  /// The whole file; the weights are zeros.
  [[nodiscard]] std::vector<std::byte> bytes() const {
    std::vector<std::byte> out = header();
    if (!tensors_.empty()) out.resize(padded(out.size()) + data_size_);
    return out;
  }
  void write(const std::filesystem::path& path) const {
    const auto all = bytes();
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(all.data()), static_cast<std::streamsize>(all.size()));
  }

 private:
  /// Rounds up to the alignment. The sizes of impossible tensors may wrap around.
  [[nodiscard]] std::uint64_t padded(std::uint64_t size) const {
    return (size + alignment - 1) / alignment * alignment;
  }
  struct Entry {
    std::string key;
    std::vector<std::byte> typed_value;
  };
  std::vector<Entry> keys_;
  std::vector<Tensor> tensors_;
  std::uint64_t data_size_ = 0;
};

/// Adds a model that passes every check: the keys of a llama model, a vocabulary of four tokens, and two
/// tensors.
inline TestFile& add_model(TestFile& file) {
  file.text("general.architecture", "llama").text("general.name", "tiny");
  file.u32("llama.block_count", 2).u32("llama.embedding_length", 64).u32("llama.context_length", 128);
  file.u32("llama.attention.head_count", 4).u32("llama.attention.head_count_kv", 2);
  file.text("tokenizer.ggml.model", "llama").texts("tokenizer.ggml.tokens", {"<unk>", "<s>", "</s>", "a"});
  file.numbers<float>("tokenizer.ggml.scores", GGUF_TYPE_FLOAT32, {0, 0, 0, -1});
  file.numbers<std::int32_t>("tokenizer.ggml.token_type", GGUF_TYPE_INT32, {2, 3, 3, 1});
  return file.tensor("token_embd.weight", {64, 4}).tensor("blk.0.attn_q.weight", {64, 64}, GGML_TYPE_Q8_0);
}

inline TestFile small_model() {
  TestFile file;
  return add_model(file);
}

}  // namespace brimful::model::testing
