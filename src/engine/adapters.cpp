#include "engine/adapters.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <tuple>

#include "engine/llama_log.h"
#include "model/adapter.h"

namespace brimful::engine {
namespace {

struct FileClose {
  /// Removes the file's pages from the page cache, because they count toward the budget.
  void operator()(std::FILE* file) const {
    ::posix_fadvise(::fileno(file), 0, 0, POSIX_FADV_DONTNEED);
    std::fclose(file);
  }
};

}  // namespace

Status Adapters::load_lora(const AdapterOption& option, const model::ModelProfile& profile,
                           llama_model* model, Bytes& room, std::string_view budget_name) {
  BRIMFUL_TRY(const model::LoraFile lora, model::read_lora(option.path, profile));
  // Loading takes the weights, a second copy of one tensor while it is read, and the file's pages in the
  // cache.
  const Bytes needed = lora.weights + lora.largest_tensor + lora.file.size;
  if (needed > room) {
    return fail(ErrorCode::kInfeasible,
                fmt::format("{0}: loading this adapter takes {1}, and {2} leaves {3}: use a larger {2}",
                            option.path.string(), format_bytes(needed), budget_name, format_bytes(room)));
  }
  room = room - lora.weights;
  const std::unique_ptr<std::FILE, FileClose> file(std::fopen(option.path.c_str(), "rbe"));
  if (file == nullptr) return fail(ErrorCode::kIo, fmt::format("{}: cannot be opened", option.path.string()));
  std::ignore = take_first_llama_error();
  llama_adapter_lora* const adapter = llama_adapter_lora_init_from_file_ptr(model, file.get());
  if (adapter == nullptr) {
    return fail(ErrorCode::kUnsupported, fmt::format("{}: llama.cpp cannot load this adapter ({})",
                                                     option.path.string(), take_first_llama_error()));
  }
  loras_.push_back(adapter);
  scales_.push_back(option.scale);
  return {};
}

Status Adapters::load(const std::vector<AdapterOption>& loras,
                      const std::vector<AdapterOption>& control_vectors, const model::ModelProfile& profile,
                      llama_model* model, Bytes room, std::string_view budget_name) {
  for (const AdapterOption& option : loras)
    BRIMFUL_TRY_VOID(load_lora(option, profile, model, room, budget_name));
  for (const AdapterOption& option : control_vectors) {
    BRIMFUL_TRY(const std::vector<float> directions, model::read_control_vector(option.path, profile));
    control_vector_.resize(directions.size(), 0.0F);
    for (std::size_t i = 0; i < directions.size(); ++i) control_vector_[i] += option.scale * directions[i];
  }
  embedding_ = profile.embedding;
  layers_ = profile.layers;
  return {};
}

Status Adapters::apply(llama_context* context) const {
  if (!loras_.empty()) {
    // libllama only reads them, but its parameters have no const
    auto** const adapters = const_cast<llama_adapter_lora**>(loras_.data());
    auto* const scales = const_cast<float*>(scales_.data());
    if (llama_set_adapters_lora(context, adapters, loras_.size(), scales) != 0) {
      return fail(ErrorCode::kInternal, "llama.cpp cannot use these LoRA adapters");
    }
  }
  return apply_control_vector(context);
}

Status Adapters::apply_control_vector(llama_context* context) const {
  if (control_vector_.empty()) return {};
  const auto last = static_cast<std::int32_t>(layers_);
  if (llama_set_adapter_cvec(context, control_vector_.data(), control_vector_.size(),
                             static_cast<std::int32_t>(embedding_), 1, last) == 0) {
    return {};
  }
  return fail(ErrorCode::kInternal, "llama.cpp cannot use this control vector");
}

}  // namespace brimful::engine
