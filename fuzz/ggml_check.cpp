#include "ggml_check.h"

#include <gguf.h>

#include <cstring>
#include <memory>

#include "base/check.h"
#include "model/gguf_values.h"
#include "model/header_file.h"
#include "model/virtual_file.h"

namespace brimful::fuzz {
namespace {

using model::GgufKeyValue;
using model::GgufValues;
using model::ModelProfile;
using model::TensorInfo;

struct Free {
  void operator()(gguf_context* context) const { gguf_free(context); }
  void operator()(ggml_context* context) const { ggml_free(context); }
};

/// A model as libllama reads it: from the virtual file, with a tensor object for each tensor.
struct Parsed {
  std::unique_ptr<gguf_context, Free> keys;
  std::unique_ptr<ggml_context, Free> tensors;
  std::uint64_t file_size = 0;
};

Parsed parse(const ModelProfile& profile) {
  const auto stream = model::open_virtual_file(profile);
  BRIMFUL_CHECK(stream);
  std::FILE* const file = stream->get();
  Parsed out;
  BRIMFUL_CHECK(::fseeko(file, 0, SEEK_END) == 0);
  out.file_size = static_cast<std::uint64_t>(::ftello(file));
  BRIMFUL_CHECK(::fseeko(file, 0, SEEK_SET) == 0);
  ggml_context* tensors = nullptr;
  out.keys.reset(gguf_init_from_file_ptr(file, {.no_alloc = true, .ctx = &tensors}));
  out.tensors.reset(tensors);
  return out;
}

void check_strings(const gguf_context* parsed, std::int64_t id, const GgufValues& values,
                   const GgufKeyValue& kv) {
  const auto strings = values.strings(kv);
  for (std::size_t i = 0; i < strings.size(); ++i) {
    const std::string text(strings[i]);
    const char* const theirs = kv.is_array ? gguf_get_arr_str(parsed, id, i) : gguf_get_val_str(parsed, id);
    BRIMFUL_CHECK(std::strcmp(theirs, text.c_str()) == 0);
  }
}

void check_numbers(const gguf_context* parsed, std::int64_t id, std::span<const std::byte> ours,
                   const GgufKeyValue& kv) {
  const void* const data = kv.is_array ? gguf_get_arr_data(parsed, id) : gguf_get_val_data(parsed, id);
  const std::span theirs(static_cast<const std::byte*>(data), ours.size());
  for (std::size_t i = 0; i < ours.size(); ++i) {
    if (kv.type == GGUF_TYPE_BOOL) {
      BRIMFUL_CHECK((theirs[i] != std::byte{}) == (ours[i] != std::byte{}));
    } else {
      BRIMFUL_CHECK(theirs[i] == ours[i]);
    }
  }
}

void check_keys(const gguf_context* parsed, const ModelProfile& profile) {
  const auto file = model::read_header(profile.files[0].path, profile.weights());
  BRIMFUL_CHECK(file);
  const GgufValues values(file->header, file->bytes);
  std::int64_t id = 0;
  for (const GgufKeyValue& kv : file->header.keys) {
    if (profile.files.size() > 1 && kv.key.starts_with("split.")) continue;
    BRIMFUL_CHECK(id < gguf_get_n_kv(parsed));
    BRIMFUL_CHECK(kv.key == gguf_get_key(parsed, id));
    BRIMFUL_CHECK((gguf_get_kv_type(parsed, id) == GGUF_TYPE_ARRAY) == kv.is_array);
    BRIMFUL_CHECK(kv.type == (kv.is_array ? gguf_get_arr_type(parsed, id) : gguf_get_kv_type(parsed, id)));
    BRIMFUL_CHECK(!kv.is_array || gguf_get_arr_n(parsed, id) == kv.count);
    if (kv.type == GGUF_TYPE_STRING) {
      check_strings(parsed, id, values, kv);
    } else {
      check_numbers(parsed, id, std::span(file->bytes).subspan(kv.value, kv.end - kv.value), kv);
    }
    ++id;
  }
  BRIMFUL_CHECK(id == gguf_get_n_kv(parsed));
}

void check_tensors(const Parsed& parsed, const ModelProfile& profile) {
  BRIMFUL_CHECK(static_cast<std::size_t>(gguf_get_n_tensors(parsed.keys.get())) == profile.tensors.size());
  ggml_tensor* theirs = ggml_get_first_tensor(parsed.tensors.get());
  for (std::size_t i = 0; i < profile.tensors.size(); ++i) {
    const TensorInfo& ours = profile.tensors[i];
    BRIMFUL_CHECK(theirs != nullptr && ours.name == ggml_get_name(theirs));
    BRIMFUL_CHECK(ours.type == theirs->type && ours.bytes.value == ggml_nbytes(theirs));
    BRIMFUL_CHECK(ours.rows() == ggml_nrows(theirs));
    for (std::size_t n = 0; n < ours.shape.size(); ++n) BRIMFUL_CHECK(ours.shape[n] == theirs->ne[n]);
    const std::uint64_t offset = gguf_get_data_offset(parsed.keys.get()) +
                                 gguf_get_tensor_offset(parsed.keys.get(), static_cast<std::int64_t>(i));
    BRIMFUL_CHECK(offset <= parsed.file_size && ours.bytes.value <= parsed.file_size - offset);
    BRIMFUL_CHECK(profile.files.size() > 1 || offset == ours.offset);
    theirs = ggml_get_next_tensor(parsed.tensors.get(), theirs);
  }
  BRIMFUL_CHECK(theirs == nullptr);
}

}  // namespace

void check_against_ggml(const ModelProfile& profile) {
  const Parsed parsed = parse(profile);
  BRIMFUL_CHECK(parsed.keys != nullptr && parsed.tensors != nullptr);
  check_keys(parsed.keys.get(), profile);
  check_tensors(parsed, profile);
}

}  // namespace brimful::fuzz
