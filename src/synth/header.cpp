#include "synth/header.h"

#include "base/check.h"

namespace brimful::synth {
namespace {

struct GgmlFree {
  void operator()(ggml_context* context) const { ggml_free(context); }
};
using GgmlPtr = std::unique_ptr<ggml_context, GgmlFree>;

std::vector<std::byte> serialise(const gguf_context* context) {
  std::vector<std::byte> bytes(gguf_get_meta_size(context));
  gguf_get_meta_data(context, bytes.data());
  return bytes;
}

/// ggml's writer takes the alignment from a file that it has read, and not from the key. So this writes the
/// key, and reads the result back.
GgufPtr with_alignment(GgufPtr context, std::uint32_t alignment) {
  if (alignment == GGUF_DEFAULT_ALIGNMENT) return context;
  gguf_set_val_u32(context.get(), GGUF_KEY_GENERAL_ALIGNMENT, alignment);
  const std::vector<std::byte> bytes = serialise(context.get());
  GgufPtr aligned(gguf_init_from_buffer(bytes.data(), bytes.size(), {.no_alloc = true, .ctx = nullptr}));
  BRIMFUL_CHECK(aligned != nullptr && gguf_get_alignment(aligned.get()) == alignment);
  return aligned;
}

Bytes tensor_bytes(const SynthTensor& tensor) {
  return Bytes{ggml_row_size(tensor.type, tensor.shape[0])} * static_cast<std::uint64_t>(tensor.rows());
}

/// Divides the tensors among the files. Returns the index of the first tensor of each file, and the number
/// of tensors as the last entry.
std::vector<std::size_t> cut(std::span<const SynthTensor> tensors, std::uint32_t splits) {
  Bytes total;
  for (const SynthTensor& tensor : tensors) total += tensor_bytes(tensor);

  std::vector<std::size_t> firsts{0};
  Bytes before;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const std::size_t files_left = splits - firsts.size();
    const bool share_reached = before.value >= total.value / splits * firsts.size();
    const bool one_each_left = tensors.size() - i == files_left;
    if (i > firsts.back() && files_left > 0 && (share_reached || one_each_left)) firsts.push_back(i);
    before += tensor_bytes(tensors[i]);
  }
  BRIMFUL_CHECK(firsts.size() == splits);
  firsts.push_back(tensors.size());
  return firsts;
}

void add_split_keys(gguf_context* to, std::size_t number, std::uint32_t count, std::size_t tensors) {
  gguf_set_val_u16(to, "split.no", static_cast<std::uint16_t>(number));
  gguf_set_val_u16(to, "split.count", static_cast<std::uint16_t>(count));
  gguf_set_val_i32(to, "split.tensors.count", static_cast<std::int32_t>(tensors));
}

void add_tensors(gguf_context* to, std::span<const SynthTensor> tensors) {
  const GgmlPtr context(ggml_init(
      {.mem_size = ggml_tensor_overhead() * tensors.size(), .mem_buffer = nullptr, .no_alloc = true}));
  BRIMFUL_CHECK(context != nullptr);
  for (const SynthTensor& tensor : tensors) {
    ggml_tensor* made = ggml_new_tensor(context.get(), tensor.type, static_cast<int>(tensor.shape.size()),
                                        tensor.shape.data());
    ggml_set_name(made, tensor.name.c_str());
    gguf_add_tensor(to, made);
  }
}

SynthFile lay_out_file(GgufPtr context, std::span<const SynthTensor> all, std::size_t first, std::size_t end,
                       std::uint32_t alignment) {
  context = with_alignment(std::move(context), alignment);
  add_tensors(context.get(), all.subspan(first, end - first));

  SynthFile file{.header = serialise(context.get()), .tensors = {}, .size = {}};
  file.size = Bytes{file.header.size()};
  for (std::size_t i = first; i < end; ++i) {
    const auto id = static_cast<std::int64_t>(i - first);
    const SynthFile::Placed placed{.tensor = i,
                                   .offset = file.header.size() + gguf_get_tensor_offset(context.get(), id),
                                   .bytes = Bytes{gguf_get_tensor_size(context.get(), id)}};
    BRIMFUL_CHECK(placed.offset == file.size.value);
    file.size = align_up(Bytes{placed.offset} + placed.bytes, Bytes{alignment});
    file.tensors.push_back(placed);
  }
  return file;
}

}  // namespace

std::vector<SynthFile> lay_out_files(const gguf_context* keys, std::span<const SynthTensor> tensors,
                                     std::uint32_t alignment, std::uint32_t splits) {
  BRIMFUL_CHECK(splits >= 1 && splits <= tensors.size());
  const std::vector<std::size_t> firsts = cut(tensors, splits);
  std::vector<SynthFile> files;
  for (std::uint32_t i = 0; i < splits; ++i) {
    GgufPtr context(gguf_init_empty());
    if (i == 0) gguf_set_kv(context.get(), keys);
    if (splits > 1) add_split_keys(context.get(), i, splits, tensors.size());
    files.push_back(lay_out_file(std::move(context), tensors, firsts[i], firsts[i + 1], alignment));
  }
  return files;
}

}  // namespace brimful::synth
