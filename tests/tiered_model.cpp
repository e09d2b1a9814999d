#include "tiered_model.h"

#include <algorithm>
#include <cstring>

#include "engine/llama_log.h"
#include "model/virtual_file.h"

namespace strata::tests {
namespace {

ContextPtr make_context(llama_model* model, const Settings& settings) {
  llama_context_params params = llama_context_default_params();
  params.n_ctx = settings.context;
  params.n_batch = settings.context;
  params.n_ubatch = settings.ubatch;
  params.n_outputs_max = 1;
  params.n_threads = params.n_threads_batch = settings.threads;
  params.flash_attn_type = settings.flash_attention;
  params.type_k = params.type_v = settings.cache_type;
  return ContextPtr(llama_init_from_model(model, params));
}

bool decode(llama_context* context, std::vector<llama_token> tokens) {
  return llama_decode(context,
                      llama_batch_get_one(tokens.data(), static_cast<std::int32_t>(tokens.size()))) == 0;
}

}  // namespace

Trace trace(llama_context* context, const std::vector<llama_token>& prompt, int steps) {
  Trace out;
  const int vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(llama_get_model(context)));
  llama_memory_clear(llama_get_memory(context), true);
  std::vector<llama_token> next = prompt;
  for (int step = 0; step <= steps; ++step) {
    if (!decode(context, next)) return {};
    const float* const logits = llama_get_logits_ith(context, -1);
    out.logits.emplace_back(logits, logits + vocabulary);
    next = {static_cast<llama_token>(std::max_element(logits, logits + vocabulary) - logits)};
    out.tokens.push_back(next.front());
  }
  return out;
}

PlainModel::PlainModel(const std::filesystem::path& path, const Settings& settings) {
  engine::capture_llama_logs();
  llama_model_params params = llama_model_default_params();
  params.load_mode = LLAMA_LOAD_MODE_NONE;
  params.n_gpu_layers = 0;
  model_.reset(llama_model_load_from_file(path.c_str(), params));
  if (model_ != nullptr) context_ = make_context(model_.get(), settings);
}

Result<std::unique_ptr<TieredModel>> TieredModel::load(const std::filesystem::path& path,
                                                       const Settings& settings, const ChooseArena& arena,
                                                       tier::ReaderFactory make_reader) {
  engine::capture_llama_logs();
  std::unique_ptr<TieredModel> out(new TieredModel);
  STRATA_TRY(out->profile_, model::read_model(path));
  STRATA_TRY(out->device_,
             tier::Device::create(out->profile_, out->pool_, {settings.threads, std::move(make_reader)}));
  STRATA_TRY(out->model_, engine::load_without_weights(out->profile_, *out->device_));
  out->context_ = make_context(out->model_.get(), settings);
  if (out->context_ == nullptr) return fail(ErrorCode::kInternal, engine::take_llama_error());

  const bool recorded = decode(out->context_.get(), std::vector<llama_token>(settings.ubatch, 0)) &&
                        decode(out->context_.get(), {0});
  if (!recorded) return fail(ErrorCode::kInternal, "recording failed");
  const tier::Needs needs = out->device_->needs();
  STRATA_TRY(out->placement_, plan::place(out->profile_, needs.uses, arena(out->profile_, needs.uses)));
  STRATA_TRY_VOID(out->device_->place(out->placement_, {}));
  return out;
}

TieredModel::ChooseArena percent_of_weights(unsigned percent) {
  return [percent](const model::ModelProfile& profile, const std::vector<plan::TensorUse>& uses) {
    const Bytes least = plan::smallest_budget(profile, uses);
    if (percent == 100) return profile.weight_bytes() * 2;
    return std::max(least, Bytes{profile.weight_bytes().value / 100 * percent});
  };
}

std::vector<llama_token> some_tokens(const llama_context* context, std::size_t count) {
  const int vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(llama_get_model(context)));
  std::vector<llama_token> out;
  std::uint32_t state = 12345;
  for (std::size_t i = 0; i < count; ++i) {
    state = state * 1664525U + 1013904223U;
    out.push_back(static_cast<llama_token>((state >> 8) % static_cast<std::uint32_t>(vocabulary)));
  }
  return out;
}

std::filesystem::path shared_file(const std::string& name) {
  const auto path = std::filesystem::path(STRATA_SHARED_DIR) / name;
  return std::filesystem::exists(path) ? path : std::filesystem::path();
}

std::filesystem::path stories15m() {
  const std::filesystem::path made(STRATA_MODELS_DIR "/stories15M-f32.gguf");
  return std::filesystem::exists(made) ? made : shared_file("models/stories15M-f32.gguf");
}

}  // namespace strata::tests
