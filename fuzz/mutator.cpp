// After libFuzzer's own mutations, the counts and offsets of a header rarely agree. This mutator changes one
// key or one tensor of a good header, and writes a header that is consistent again.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "input.h"
#include "model/gguf_test_file.h"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace brimful::fuzz {
namespace {

using model::GgufHeader;
using model::testing::ByteList;
using model::testing::TestFile;

struct Key {
  std::string name;
  std::vector<std::byte> typed_value;
};

struct Tensor {
  std::string name;
  std::vector<std::int64_t> shape;
  std::int32_t type = 0;
};

/// A header that is taken apart.
struct Edit {
  std::uint32_t version = 3;
  std::uint64_t alignment = 32;
  std::vector<Key> keys;
  std::vector<Tensor> tensors;
};

Edit take_apart(std::span<const std::byte> bytes, const GgufHeader& header) {
  Edit out{.version = header.version, .alignment = header.alignment, .keys = {}, .tensors = {}};
  for (const auto& kv : header.keys) {
    const std::size_t begin = kv.begin + sizeof(std::uint64_t) + kv.key.size();
    const auto value = bytes.subspan(begin, kv.end - begin);
    out.keys.push_back({kv.key, {value.begin(), value.end()}});
  }
  for (const auto& tensor : header.tensors) {
    out.tensors.push_back(
        {tensor.name, {tensor.shape.begin(), tensor.shape.begin() + tensor.dimensions}, tensor.type});
  }
  return out;
}

std::vector<std::byte> put_together(const Edit& edit) {
  TestFile file;
  file.version = edit.version;
  file.alignment = edit.alignment;
  for (const Key& key : edit.keys) {
    ByteList value;
    value.bytes = key.typed_value;
    file.repeat(key.name, value);
  }
  for (const Tensor& tensor : edit.tensors) file.tensor(tensor.name, tensor.shape, tensor.type);
  return file.header();
}

class Mutation {
 public:
  explicit Mutation(unsigned seed) : random_(seed) {}

  void apply(Edit& edit) {
    const bool keys = !edit.keys.empty();
    const bool tensors = !edit.tensors.empty();
    switch (below(8)) {
      case 0:
      case 1:
        if (keys) mutate_value(any(edit.keys));
        break;
      case 2:
        if (keys) any(edit.keys).typed_value = any(edit.keys).typed_value;
        break;
      case 3:
        if (keys) erase_any(edit.keys);
        break;
      case 4:
        if (keys) rename_copy(edit.keys);
        break;
      case 5:
        if (tensors) mutate_tensor(any(edit.tensors));
        break;
      case 6:
        if (tensors) rename_copy(edit.tensors);
        break;
      default:
        if (tensors) erase_any(edit.tensors);
    }
  }

 private:
  std::size_t below(std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random_); }

  template <typename T>
  T& any(std::vector<T>& list) {
    return list[below(list.size())];
  }

  template <typename T>
  void erase_any(std::vector<T>& list) {
    list.erase(list.begin() + static_cast<std::ptrdiff_t>(below(list.size())));
  }

  template <typename T>
  void rename_copy(std::vector<T>& list) {
    T copy = any(list);
    mutate_text(copy.name);
    list.push_back(std::move(copy));
  }

  void mutate_text(std::string& text) {
    const std::size_t old = text.size();
    text.resize(old + 16);
    text.resize(LLVMFuzzerMutate(reinterpret_cast<std::uint8_t*>(text.data()), old, text.size()));
  }

  /// Changes the value of a key. The type stays, and the length of a string stays true.
  void mutate_value(Key& key) {
    std::int32_t type = 0;
    std::memcpy(&type, key.typed_value.data(), sizeof(type));
    std::size_t begin = sizeof(type);
    if (type == GGUF_TYPE_ARRAY) begin += sizeof(type) + sizeof(std::uint64_t);
    if (type == GGUF_TYPE_STRING) begin += sizeof(std::uint64_t);
    std::string value(reinterpret_cast<const char*>(key.typed_value.data()) + begin,
                      key.typed_value.size() - begin);
    const std::size_t old = value.size();
    mutate_text(value);
    if (type != GGUF_TYPE_STRING) value.resize(old);
    ByteList out;
    out.put(type);
    if (type == GGUF_TYPE_STRING) {
      out.string(value);
    } else {
      out.raw({reinterpret_cast<const char*>(key.typed_value.data()) + sizeof(type), begin - sizeof(type)});
      out.raw(value);
    }
    key.typed_value = out.bytes;
  }

  void mutate_tensor(Tensor& tensor) {
    switch (below(4)) {
      case 0: tensor.type = static_cast<std::int32_t>(below(GGML_TYPE_COUNT + 1)); break;
      case 1: tensor.shape.resize(1 + below(4), 1); break;
      case 2: mutate_text(tensor.name); break;
      default: resize(tensor.shape, below(tensor.shape.size()));
    }
  }

  /// Changes a dimension: mostly to a power of two, because rows must be whole blocks, and sometimes to
  /// about the largest number that can be counted.
  void resize(std::vector<std::int64_t>& shape, std::size_t which) {
    shape[which] = std::int64_t{1} << below(63);
    if (below(2) == 0) {
      std::int64_t most = INT64_MAX;
      for (std::size_t i = 0; i < shape.size(); ++i) {
        if (i != which) most /= std::max<std::int64_t>(shape[i], 1);
      }
      shape[which] = (most >> below(5)) / 256 * 256;
    }
    if (below(4) == 0) shape[which] -= static_cast<std::int64_t>(below(3));
  }

  std::mt19937 random_;
};

std::vector<std::byte> mutate_header(std::span<const std::byte> bytes, const GgufHeader& header,
                                     unsigned seed) {
  Edit edit = take_apart(bytes, header);
  Mutation(seed).apply(edit);
  return put_together(edit);
}

}  // namespace
}  // namespace brimful::fuzz

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
  using namespace brimful;
  const auto input = std::as_bytes(std::span(data, size));
  const auto parts = fuzz::split_input(input);
  const auto part = parts[seed / 2 % parts.size()];
  const auto parsed = fuzz::parse_unbounded(part);
  const auto* const header = parsed ? std::get_if<model::GgufHeader>(&*parsed) : nullptr;
  if (header == nullptr || seed % 2 == 0) return LLVMFuzzerMutate(data, size, max_size);
  const std::vector<std::byte> mutated = fuzz::mutate_header(part, *header, seed);
  std::vector<std::byte> all(input.data(), part.data());
  all.insert(all.end(), mutated.begin(), mutated.end());
  all.insert(all.end(), part.data() + part.size(), input.data() + input.size());
  if (all.size() > max_size) return LLVMFuzzerMutate(data, size, max_size);
  std::memcpy(data, all.data(), all.size());
  return all.size();
}
