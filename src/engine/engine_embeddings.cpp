// The part of Engine that turns texts into vectors. See docs/design-serve.md.

#include <fmt/format.h>

#include <array>

#include "engine/engine.h"

namespace brimful::engine {
namespace {

constexpr const char* kHiddenState = "result_norm";  // its name in libllama's graphs

/// Whether the metadata value `pooling` is this llama_pooling_type.
bool is(const std::string& pooling, enum llama_pooling_type type) { return pooling == std::to_string(type); }

}  // namespace

/// The value of a metadata key of the model's architecture, as text; empty when the file does not have the
/// key.
std::string Engine::metadata(std::string_view key) const {
  std::array<char, 64> value{};
  const std::string name = fmt::format("{}.{}", profile_.architecture, key);
  if (llama_model_meta_val_str(model_.get(), name.c_str(), value.data(), value.size()) < 0) return "";
  return value.data();
}

/// Whether libllama makes one vector of a whole text.
bool Engine::pools() const {
  const std::string pooling = metadata("pooling_type");
  return is(pooling, LLAMA_POOLING_TYPE_MEAN) || is(pooling, LLAMA_POOLING_TYPE_CLS) ||
         is(pooling, LLAMA_POOLING_TYPE_LAST);
}

Status Engine::can_embed() const {
  if (only_embeds_) return {};
  const std::string pooling = metadata("pooling_type");
  if (llama_model_is_recurrent(model_.get()) || llama_model_is_hybrid(model_.get()))
    return fail(ErrorCode::kUnsupported, "the vectors of recurrent models cannot be had yet");
  if (pooling.empty() || is(pooling, LLAMA_POOLING_TYPE_NONE) || is(pooling, LLAMA_POOLING_TYPE_LAST))
    return {};
  return fail(ErrorCode::kUnsupported,
              fmt::format("this model's vectors are pooled in a way (pooling type {}) that cannot be had yet",
                          pooling));
}

void Engine::keep_hidden_states(bool on) {
  if (keeps_hidden_states_ == on) return;
  keeps_hidden_states_ = on;
  std::vector<float>* const to = on ? &hidden_states_ : nullptr;
  device_->keep(kHiddenState, to);
  gpus_->keep(kHiddenState, to);
}

Result<std::vector<float>> Engine::hidden_state(std::size_t nth) const {
  const std::size_t size = outputs_ > 0 ? hidden_states_.size() / outputs_ : 0;
  if (size == 0 || hidden_states_.size() % outputs_ != 0)
    return fail(ErrorCode::kUnsupported, "this model's graph does not show the vectors of texts");
  const auto begin = hidden_states_.begin() + static_cast<std::ptrdiff_t>(nth * size);
  return std::vector<float>(begin, begin + static_cast<std::ptrdiff_t>(size));
}

}  // namespace brimful::engine
