#include "quantise/recipe.h"

#include <fmt/format.h>
#include <gguf.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <memory>
#include <unordered_map>

#include "engine/llama_log.h"
#include "hub/temporary_folder.h"

namespace brimful::quantise {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kAlignment = 32;  // GGUF_DEFAULT_ALIGNMENT: llama.cpp's quantiser writes no other one
/// So many rows, and matrices of experts, are left of a tensor in the copy that decides: llama.cpp tells
/// matrices from vectors, and tensors of experts from others, by their being more than one.
constexpr std::int64_t kFewRows = 2;

struct GgufDeleter {
  void operator()(gguf_context* context) const { gguf_free(context); }
};
using Gguf = std::unique_ptr<gguf_context, GgufDeleter>;

Gguf read_gguf(const fs::path& path) {
  return Gguf(gguf_init_from_file(path.c_str(), {.no_alloc = true, .ctx = nullptr}));
}

/// A tensor without data, for gguf_add_tensor().
ggml_tensor description(const std::string& name, ggml_type type, const std::array<std::int64_t, 4>& shape) {
  ggml_tensor out{};
  out.type = type;
  std::ranges::copy(shape, out.ne);
  out.nb[0] = ggml_type_size(type);
  out.nb[1] = ggml_row_size(type, shape[0]);
  for (int i = 2; i < GGML_MAX_DIMS; ++i) out.nb[i] = out.nb[i - 1] * static_cast<std::size_t>(shape[i - 1]);
  ggml_set_name(&out, name.c_str());
  return out;
}

std::array<std::int64_t, 4> few_rows(std::array<std::int64_t, 4> shape) {
  for (std::size_t i = 1; i < shape.size(); ++i) shape[i] = std::min(shape[i], kFewRows);
  return shape;
}

std::vector<std::byte> header_of(const gguf_context& file) {
  std::vector<std::byte> out(gguf_get_meta_size(&file));
  gguf_get_meta_data(&file, out.data());
  return out;
}

/// Writes the copies of the source's files. Their weights are a hole: they take no room on the disk.
Result<fs::path> write_copies(const model::ModelProfile& profile, const fs::path& folder) {
  const std::size_t files = profile.files.size();
  const auto path_of = [&](std::size_t file) {
    return files == 1 ? folder / "source.gguf"
                      : folder / fmt::format("source-{:05}-of-{:05}.gguf", file + 1, files);
  };
  for (std::size_t i = 0; i < files; ++i) {
    const Gguf source = read_gguf(profile.files[i].path);
    if (!source)
      return std::unexpected(engine::with_llama_error(
          ErrorCode::kIo, fmt::format("{}: the header cannot be read", profile.files[i].path.string())));
    if (gguf_get_alignment(source.get()) != kAlignment)
      return fail(
          ErrorCode::kUnsupported,
          fmt::format("{}: tensors are aligned to {} bytes; llama.cpp's quantiser writes files that are "
                      "aligned to {}",
                      profile.files[i].path.string(), gguf_get_alignment(source.get()), kAlignment));
    const Gguf copy(gguf_init_empty());
    gguf_set_kv(copy.get(), source.get());
    std::uint64_t end = 0;
    for (const model::TensorInfo& tensor : profile.tensors) {
      if (tensor.file != i) continue;
      const ggml_tensor few = description(tensor.name, tensor.type, few_rows(tensor.shape));
      gguf_add_tensor(copy.get(), &few);
      end = align_up(end + ggml_nbytes(&few), kAlignment);
    }
    const std::uint64_t size = gguf_get_meta_size(copy.get()) + end;
    if (!gguf_write_to_file(copy.get(), path_of(i).c_str(), true) ||
        ::truncate(path_of(i).c_str(), static_cast<off_t>(size)) != 0)
      return fail(ErrorCode::kIo, fmt::format("{}: cannot be written; TMPDIR names another folder for "
                                              "temporary files",
                                              path_of(i).string()));
  }
  return path_of(0);
}

/// The importance matrix as llama.cpp's quantiser takes it, for the copy: of a tensor of experts, only those
/// that the copy has.
class CopiedImportance {
 public:
  CopiedImportance(const Importance* importance, const model::ModelProfile& profile) {
    if (importance == nullptr) return;
    for (const auto& [name, values] : importance->columns) {
      const model::TensorInfo* const tensor = profile.find(name);
      std::size_t size = values.size();
      if (tensor != nullptr) {
        const auto few = few_rows(tensor->shape);
        size = std::min(size, static_cast<std::size_t>(few[0] * few[2]));
      }
      entries_.push_back({name.c_str(), values.data(), size});
    }
    entries_.push_back({nullptr, nullptr, 0});
    add("quantize.imatrix.file", importance->file);
    if (!importance->dataset.empty()) add("quantize.imatrix.dataset", importance->dataset);
    add("quantize.imatrix.entries_count", importance->columns.size());
    if (importance->chunks > 0) add("quantize.imatrix.chunks_count", importance->chunks);
    keys_.emplace_back().key[0] = 0;
  }

  void apply_to(llama_model_quantize_params& params) const {
    if (entries_.empty()) return;
    params.imatrix = entries_.data();
    params.kv_overrides = keys_.data();
  }

 private:
  llama_model_kv_override& add(const char* key, llama_model_kv_override_type tag) {
    llama_model_kv_override& out = keys_.emplace_back();
    std::memset(&out, 0, sizeof out);
    std::strncpy(out.key, key, sizeof out.key - 1);
    out.tag = tag;
    return out;
  }
  // As llama.cpp's program does it: texts are cut after 127 bytes.
  void add(const char* key, const std::string& value) {
    llama_model_kv_override& out = add(key, LLAMA_KV_OVERRIDE_TYPE_STR);
    std::strncpy(out.val_str, value.c_str(), sizeof out.val_str - 1);
  }
  void add(const char* key, std::uint64_t value) {
    add(key, LLAMA_KV_OVERRIDE_TYPE_INT).val_i64 = static_cast<std::int64_t>(value);
  }

  std::vector<llama_model_imatrix_data> entries_;
  std::vector<llama_model_kv_override> keys_;
};

/// Builds the description of one output file from the header that llama.cpp's quantiser wrote for the copy.
Result<OutputFile> output_file(const gguf_context& decided, const model::ModelProfile& profile,
                               const std::unordered_map<std::string_view, std::size_t>& index) {
  const Gguf out(gguf_init_empty());
  gguf_set_kv(out.get(), &decided);
  OutputFile file;
  std::uint64_t end = 0;
  for (std::int64_t i = 0; i < gguf_get_n_tensors(&decided); ++i) {
    const std::string name = gguf_get_tensor_name(&decided, i);
    const auto found = index.find(name);
    if (found == index.end())
      return fail(ErrorCode::kInternal, fmt::format("llama.cpp's quantiser made the tensor {}", name));
    const model::TensorInfo& source = profile.tensors[found->second];
    const ggml_tensor whole = description(name, gguf_get_tensor_type(&decided, i), source.shape);
    gguf_add_tensor(out.get(), &whole);
    file.tensors.push_back({found->second, whole.type, end, ggml_nbytes(&whole)});
    end = align_up(end + ggml_nbytes(&whole), kAlignment);
  }
  file.header = header_of(*out);
  for (OutputTensor& tensor : file.tensors) tensor.offset += file.header.size();
  file.size = file.header.size() + end;
  return file;
}

std::unordered_map<std::string_view, std::size_t> index_of(const model::ModelProfile& profile) {
  std::unordered_map<std::string_view, std::size_t> out;
  for (std::size_t i = 0; i < profile.tensors.size(); ++i) out[profile.tensors[i].name] = i;
  return out;
}

}  // namespace

std::uint64_t Recipe::size() const {
  std::uint64_t out = 0;
  for (const OutputFile& file : files) out += file.size;
  return out;
}

Result<Recipe> make_recipe(const model::ModelProfile& profile, const Request& request,
                           const Importance* importance) {
  BRIMFUL_TRY(const hub::TemporaryFolder folder, hub::TemporaryFolder::make());
  BRIMFUL_TRY(const fs::path source, write_copies(profile, folder.path()));
  llama_model_quantize_params params = llama_model_quantize_default_params();
  params.nthread = 1;
  params.ftype = request.target.type;
  params.only_copy = request.target.only_copy;
  params.output_tensor_type = request.output_type;
  params.token_embedding_type = request.embedding_type;
  params.allow_requantize = request.allow_requantise;
  params.quantize_output_tensor = !request.leave_output;
  params.pure = request.pure;
  params.keep_split = request.keep_split;
  const CopiedImportance copied(importance, profile);
  copied.apply_to(params);
  std::vector<llama_model_tensor_override> overrides;
  for (const auto& [pattern, type] : request.tensor_types) overrides.push_back({pattern.c_str(), type});
  overrides.push_back({nullptr, GGML_TYPE_COUNT});
  if (overrides.size() > 1) params.tt_overrides = overrides.data();

  const bool keeps_split = request.keep_split;
  const fs::path made = folder.path() / (keeps_split ? "made" : "made.gguf");
  (void)engine::take_llama_error();
  if (llama_model_quantize(source.c_str(), made.c_str(), &params) != 0)
    return std::unexpected(engine::with_llama_error(
        ErrorCode::kUnsupported,
        fmt::format("{}: llama.cpp's quantiser refuses it", profile.files.front().path.string())));

  const auto index = index_of(profile);
  const std::size_t files = keeps_split ? profile.files.size() : 1;
  Recipe recipe;
  for (std::size_t i = 0; i < files; ++i) {
    const fs::path path =
        keeps_split ? folder.path() / fmt::format("made-{:05}-of-{:05}.gguf", i + 1, files) : made;
    const Gguf decided = read_gguf(path);
    if (!decided)
      return std::unexpected(
          engine::with_llama_error(ErrorCode::kInternal, "what llama.cpp's quantiser wrote cannot be read"));
    BRIMFUL_TRY(recipe.files.emplace_back(), output_file(*decided, profile, index));
  }
  return recipe;
}

Result<Recipe> with_types(const Recipe& recipe, const model::ModelProfile& profile,
                          const std::vector<ggml_type>& types, llama_ftype file_type,
                          const std::vector<ExtraKey>& extra) {
  Recipe out;
  for (const OutputFile& old : recipe.files) {
    const Gguf decided(
        gguf_init_from_buffer(old.header.data(), old.header.size(), {.no_alloc = true, .ctx = nullptr}));
    if (!decided)
      return std::unexpected(
          engine::with_llama_error(ErrorCode::kInternal, "the header of the output cannot be read again"));
    for (const OutputTensor& tensor : old.tensors) {
      const model::TensorInfo& source = profile.tensors[tensor.source];
      if (tensor.type != source.type)
        gguf_set_tensor_type(decided.get(), source.name.c_str(), types[tensor.source]);
    }
    if (out.files.empty()) {
      gguf_set_val_u32(decided.get(), "general.file_type", static_cast<std::uint32_t>(file_type));
      for (const ExtraKey& key : extra) gguf_set_val_str(decided.get(), key.key.c_str(), key.value.c_str());
    }
    BRIMFUL_TRY(out.files.emplace_back(), output_file(*decided, profile, index_of(profile)));
  }
  return out;
}

}  // namespace brimful::quantise
