#include "quantise/importance.h"

#include <fmt/format.h>
#include <imatrix-loader.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/visible_text.h"
#include "engine/llama_log.h"
#include "model/header_file.h"

namespace brimful::quantise {
namespace {

namespace fs = std::filesystem;

/// Returns the means of the squared inputs. Experts without any input get ones, as in llama.cpp's quantiser.
std::vector<float> means(common_imatrix_entry entry) {
  std::vector<float> out = std::move(entry.sums);
  const std::size_t width = out.size() / entry.counts.size();
  for (std::size_t expert = 0; expert < entry.counts.size(); ++expert) {
    const auto count = static_cast<float>(entry.counts[expert]);
    for (std::size_t i = expert * width; i < (expert + 1) * width; ++i)
      out[i] = count > 0 ? out[i] / count : 1.0F;
  }
  return out;
}

Status check_header(const fs::path& path) {
  auto header = model::read_header(path);
  if (!header) {
    if (header.error().code != ErrorCode::kCorrupt) return std::unexpected(std::move(header).error());
    return fail(
        ErrorCode::kCorrupt,
        fmt::format("{}: not an importance matrix in GGUF; llama-imatrix writes one, and converts those "
                    "of its older format ({})",
                    path.string(), header.error().message));
  }
  for (const char* const key : {LLM_KV_IMATRIX_CHUNK_COUNT, LLM_KV_IMATRIX_CHUNK_SIZE}) {
    const model::GgufKeyValue* const found = header->header.find(key);
    if (found == nullptr || found->type != GGUF_TYPE_UINT32 || found->is_array)
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}: not an importance matrix: the key {} is missing", path.string(), key));
  }
  const model::GgufKeyValue* const datasets = header->header.find(LLM_KV_IMATRIX_DATASETS);
  if (datasets == nullptr || datasets->type != GGUF_TYPE_STRING || !datasets->is_array)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: not an importance matrix: the key {} is missing", path.string(),
                            LLM_KV_IMATRIX_DATASETS));
  return {};
}

Status check_fit(const Importance& importance, const model::ModelProfile& profile, const fs::path& path) {
  std::size_t known = 0;
  for (const model::TensorInfo& tensor : profile.tensors) {
    const auto found = importance.columns.find(tensor.name);
    if (found == importance.columns.end()) continue;
    ++known;
    const auto expected = static_cast<std::size_t>(tensor.shape[0] * tensor.shape[2]);
    if (found->second.size() != expected)
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}: the importance matrix is of another model: {} has {} values there and {} "
                              "columns here",
                              path.string(), visible_text(tensor.name), found->second.size(), expected));
  }
  if (known == 0)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: the importance matrix is of another model: it names no tensor of {}",
                            path.string(), profile.files.front().path.string()));
  for (const auto& [name, values] : importance.columns) {
    for (const float value : values) {
      if (!std::isfinite(value))
        return fail(ErrorCode::kCorrupt, fmt::format("{}: the importance of {} has a value that is no number",
                                                     path.string(), visible_text(name)));
    }
  }
  return {};
}

}  // namespace

Result<Importance> read_importance(const fs::path& path, const model::ModelProfile& profile) {
  BRIMFUL_TRY_VOID(check_header(path));
  common_imatrix loaded;
  if (!common_imatrix_load(path.string(), loaded) || loaded.is_legacy)
    return std::unexpected(engine::with_llama_error(
        ErrorCode::kCorrupt, fmt::format("{}: the importance matrix cannot be read", path.string())));
  Importance out;
  out.file = path.string();
  if (!loaded.datasets.empty()) out.dataset = loaded.datasets.front();
  out.chunks = static_cast<std::uint32_t>(std::max(loaded.chunk_count, 0));
  for (auto& [name, entry] : loaded.entries) {
    if (entry.counts.empty() || entry.sums.size() % entry.counts.size() != 0)
      return fail(ErrorCode::kCorrupt,
                  fmt::format("{}: the entry {} has {} sums for {} counts", path.string(), visible_text(name),
                              entry.sums.size(), entry.counts.size()));
    out.columns[name] = means(std::move(entry));
  }
  BRIMFUL_TRY_VOID(check_fit(out, profile, path));
  return out;
}

void add_columns(Hash64& hash, const Importance& importance) {
  for (const auto& [name, columns] : importance.columns) {
    hash.add(name);
    hash.add({reinterpret_cast<const char*>(columns.data()), columns.size() * sizeof(float)});
  }
}

void add_uniform(Importance& importance, const model::ModelProfile& profile) {
  for (const model::TensorInfo& tensor : profile.tensors) {
    if (tensor.rows() < 2 || importance.columns.contains(tensor.name)) continue;
    importance.columns[tensor.name].assign(static_cast<std::size_t>(tensor.shape[0] * tensor.shape[2]), 1.0F);
    importance.uniform.insert(tensor.name);
  }
}

}  // namespace brimful::quantise
