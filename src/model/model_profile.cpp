#include "model/model_profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "model/gguf_checks.h"
#include "model/header_file.h"
#include "model/split_names.h"
#include "model/tensor_names.h"

namespace brimful::model {
namespace {

/// The split.* keys of a file, which say which part of a model it is.
struct SplitKeys {
  std::uint64_t part = 0;  ///< The number of this part, from 0.
  std::uint64_t parts = 1;
  /// The number of tensors in all parts together. Unset when the file does not say it.
  std::optional<std::uint64_t> tensors;
};

template <typename T>
Result<T> at(const std::filesystem::path& path, Result<T> result) {
  if (!result) result.error().message = fmt::format("{}: {}", path.string(), result.error().message);
  return result;
}

Result<SplitKeys> split_keys(const HeaderFile& file) {
  const GgufValues values(file.header, file.bytes);
  SplitKeys keys;
  BRIMFUL_TRY(const auto part, at(file.file.path, values.unsigned_integer("split.no")));
  BRIMFUL_TRY(const auto parts, at(file.file.path, values.unsigned_integer("split.count")));
  BRIMFUL_TRY(keys.tensors, at(file.file.path, values.unsigned_integer("split.tensors.count")));
  keys.part = part.value_or(0);
  keys.parts = std::max<std::uint64_t>(parts.value_or(1), 1);
  return keys;
}

void add_file(ModelProfile& profile, HeaderFile file) {
  const auto index = static_cast<std::uint32_t>(profile.files.size());
  if (file.header.end() > file.file.size.value) profile.weights_missing = true;
  for (GgufTensor& tensor : file.header.tensors) {
    const TensorName name = parse_tensor_name(tensor.name);
    TensorInfo info{.name = {},
                    .type = tensor.type,
                    .shape = tensor.shape,
                    .file = index,
                    .offset = tensor.offset,
                    .bytes = tensor.bytes,
                    .role = name.role,
                    .layer = name.layer};
    info.name = std::move(tensor.name);
    profile.tensors.push_back(std::move(info));
  }
  profile.files.push_back(std::move(file.file));
}

/// Adds up the weights. A hole in a file can have any size, and a few of them would make sums of bytes
/// overflow later; so a sum above 2^60 bytes is refused.
Status count(ModelProfile& profile, const std::filesystem::path& path) {
  constexpr std::uint64_t kMostWeights = std::uint64_t{1} << 60;
  std::uint64_t bytes = 0;
  for (const TensorInfo& tensor : profile.tensors) {
    if (tensor.bytes.value > kMostWeights - bytes) {
      return fail(
          ErrorCode::kCorrupt,
          fmt::format("{}: claims more weights than any disk holds: the file is damaged", path.string()));
    }
    bytes += tensor.bytes.value;
    // This cannot overflow, because every type has fewer than eight elements in a byte.
    profile.parameters += static_cast<std::uint64_t>(tensor.shape[0] * tensor.rows());
  }
  return {};
}

Status describe(const HeaderFile& file, ModelProfile& profile) {
  const GgufValues values(file.header, file.bytes);
  BRIMFUL_TRY_VOID(check_architecture(values));
  BRIMFUL_TRY_VOID(check_tokenizer(values));
  BRIMFUL_TRY(const auto architecture, values.string("general.architecture"));
  BRIMFUL_TRY(const auto name, values.string("general.name"));
  BRIMFUL_TRY(const auto chat_template, values.string("tokenizer.chat_template"));
  profile.architecture = architecture.value_or("");
  profile.name = name && !name->empty() ? std::string(*name) : file.file.path.stem().string();
  profile.chat_template = chat_template.value_or("");
  BRIMFUL_TRY(const auto layers, values.u32(profile.architecture + ".block_count"));
  BRIMFUL_TRY(const auto embedding, values.u32(profile.architecture + ".embedding_length"));
  BRIMFUL_TRY(const auto context, values.u32(profile.architecture + ".context_length"));
  profile.layers = layers.value_or(0);
  profile.embedding = embedding.value_or(0);
  profile.train_context = context.value_or(0);
  BRIMFUL_TRY(const auto used, values.per_layer(profile.architecture + ".expert_used_count", profile.layers));
  if (!used.empty()) profile.experts_used = std::ranges::max(used);
  const GgufKeyValue* tokens = values.header().find("tokenizer.ggml.tokens");
  profile.vocabulary = tokens == nullptr ? 0 : static_cast<std::uint32_t>(tokens->count);
  return {};
}

/// Returns the name of the first part. Errors when `path` is not the first part, or when the other parts
/// cannot be found by its name.
Result<SplitName> first_part(const std::filesystem::path& path, const SplitKeys& keys) {
  const auto name = parse_split_name(path);
  if (name && name->parts == keys.parts && name->part == keys.part + 1) {
    if (keys.part == 0) return *name;
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: is part {} of {}: give the first part, {}", path.string(), name->part,
                            name->parts, name->path_of(1).string()));
  }
  return fail(
      ErrorCode::kInvalidArgument,
      fmt::format(
          "{}: is part {} of {} of a split model, but its name does not end in -{:05}-of-{:05}.gguf, so the "
          "other parts cannot be found: give the files their original names",
          path.string(), keys.part + 1, keys.parts, keys.part + 1, keys.parts));
}

Result<HeaderFile> read_part(const SplitName& name, std::uint32_t part, Weights weights) {
  const std::filesystem::path path = name.path_of(part);
  auto file = read_header(path, weights);
  if (!file && file.error().code == ErrorCode::kNotFound) {
    return fail(ErrorCode::kNotFound,
                fmt::format("{}: part {} of {} of the model is missing: fetch it into the same folder",
                            path.string(), part, name.parts));
  }
  if (!file) return file;
  BRIMFUL_TRY(const SplitKeys keys, split_keys(*file));
  if (keys.part + 1 != part || keys.parts != name.parts) {
    return fail(ErrorCode::kCorrupt,
                fmt::format("{}: says that it is part {} of {}: the files were mixed up; fetch them again",
                            path.string(), keys.part + 1, keys.parts));
  }
  return file;
}

Status add_other_parts(ModelProfile& profile, const std::filesystem::path& path, const SplitKeys& keys,
                       Weights weights) {
  BRIMFUL_TRY(const SplitName name, first_part(path, keys));
  for (std::uint32_t part = 2; part <= name.parts; ++part) {
    BRIMFUL_TRY(HeaderFile file, read_part(name, part, weights));
    BRIMFUL_TRY_VOID(at(file.file.path, check_tensor_types(file.header)));
    add_file(profile, std::move(file));
  }
  if (keys.tensors && *keys.tensors != profile.tensors.size()) {
    return fail(ErrorCode::kCorrupt,
                fmt::format("{}: claims {} tensors, but its {} parts hold {}: fetch them again",
                            path.string(), *keys.tensors, name.parts, profile.tensors.size()));
  }
  std::unordered_set<std::string_view> seen;
  for (const TensorInfo& tensor : profile.tensors) {
    if (seen.insert(tensor.name).second) continue;
    return fail(ErrorCode::kCorrupt,
                fmt::format("{}: tensor {} is in two parts: the files were mixed up; fetch them again",
                            path.string(), in_quotes(tensor.name)));
  }
  return {};
}

}  // namespace

Bytes ModelProfile::weight_bytes() const {
  Bytes sum;
  for (const TensorInfo& tensor : tensors) sum += tensor.bytes;
  return sum;
}

const TensorInfo* ModelProfile::find(std::string_view tensor_name) const {
  const auto it = std::ranges::find(tensors, tensor_name, &TensorInfo::name);
  return it == tensors.end() ? nullptr : &*it;
}

Result<ModelProfile> read_model(const std::filesystem::path& path, Weights weights) {
  BRIMFUL_TRY(HeaderFile file, read_header(path, weights));
  BRIMFUL_TRY(const SplitKeys keys, split_keys(file));
  if (keys.part != 0) {
    BRIMFUL_TRY([[maybe_unused]] const SplitName first, first_part(path, keys));
  }
  ModelProfile profile;
  BRIMFUL_TRY_VOID(at(path, describe(file, profile)));
  BRIMFUL_TRY_VOID(at(path, check_tensor_types(file.header)));
  add_file(profile, std::move(file));
  if (keys.parts > 1) BRIMFUL_TRY_VOID(add_other_parts(profile, path, keys, weights));
  if (profile.tensors.empty()) {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("{}: holds a vocabulary but no weights: give the model's own file", path.string()));
  }
  BRIMFUL_TRY_VOID(count(profile, path));
  return profile;
}

}  // namespace brimful::model
