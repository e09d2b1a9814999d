#include "model/merged_header.h"

#include <cstring>
#include <string_view>
#include <type_traits>
#include <utility>

#include "base/check.h"

namespace brimful::model {
namespace {

class Writer {
 public:
  template <typename T>
  requires std::is_trivially_copyable_v<T>
  void number(T value) {
    const std::size_t end = out_.size();
    out_.resize(end + sizeof(T));
    std::memcpy(out_.data() + end, &value, sizeof(T));
  }
  void raw(std::span<const std::byte> bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); }
  void string(std::string_view text) {
    number(std::uint64_t{text.size()});
    raw(std::as_bytes(std::span(text)));
  }
  void pad(std::uint64_t alignment) {
    out_.resize(static_cast<std::size_t>(align_up(out_.size(), alignment)));
  }
  [[nodiscard]] std::vector<std::byte> take() { return std::move(out_); }

 private:
  std::vector<std::byte> out_;
};

bool is_split_key(const GgufKeyValue& kv) { return kv.key.starts_with("split."); }

void write_tensor(Writer& out, const GgufTensor& tensor, std::uint64_t offset) {
  out.string(tensor.name);
  out.number(tensor.dimensions);
  for (std::size_t i = 0; i < tensor.dimensions; ++i) out.number(tensor.shape[i]);
  out.number(static_cast<std::int32_t>(tensor.type));
  out.number(offset);
}

}  // namespace

MergedHeader merge_headers(std::span<const HeaderFile> parts) {
  BRIMFUL_CHECK(!parts.empty());
  const GgufHeader& first = parts[0].header;
  std::uint64_t tensors = 0;
  for (const HeaderFile& part : parts) tensors += part.header.tensors.size();
  std::uint64_t keys = 0;
  for (const GgufKeyValue& kv : first.keys) keys += is_split_key(kv) ? 0 : 1;

  Writer out;
  out.raw(std::as_bytes(std::span("GGUF", 4)));
  out.number(std::uint32_t{3});
  out.number(tensors);
  out.number(keys);
  for (const GgufKeyValue& kv : first.keys) {
    if (!is_split_key(kv)) out.raw(std::span(parts[0].bytes).subspan(kv.begin, kv.end - kv.begin));
  }
  std::uint64_t offset = 0;
  for (const HeaderFile& part : parts) {
    for (const GgufTensor& tensor : part.header.tensors) {
      write_tensor(out, tensor, offset);
      offset = align_up(offset + tensor.bytes.value, first.alignment);
    }
  }
  out.pad(first.alignment);
  MergedHeader merged{.bytes = out.take(), .file_size = 0};
  merged.file_size = merged.bytes.size() + offset;
  return merged;
}

}  // namespace brimful::model
