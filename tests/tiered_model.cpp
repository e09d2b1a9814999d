#include "tiered_model.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "engine/llama_log.h"
#include "model/virtual_file.h"
#include "plan/host_layout.h"
#include "plan/kernel_rows.h"

namespace brimful::tests {
namespace {

ContextPtr make_context(llama_model* model, const Settings& settings) {
  llama_context_params params = llama_context_default_params();
  params.n_ctx = settings.context;
  params.n_batch = settings.context;
  params.n_ubatch = settings.ubatch;
  params.n_outputs_max = settings.outputs;
  params.n_seq_max = settings.sequences;
  params.kv_unified = true;
  params.embeddings = settings.embeddings;
  params.n_threads = params.n_threads_batch = settings.threads;
  params.flash_attn_type = settings.flash_attention;
  params.type_k = params.type_v = settings.cache_type;
  return ContextPtr(llama_init_from_model(model, params));
}

bool decode(llama_context* context, std::vector<llama_token> tokens) {
  return llama_decode(context,
                      llama_batch_get_one(tokens.data(), static_cast<std::int32_t>(tokens.size()))) == 0;
}

/// Returns the tensors with which the first layers compute. Weights outside the layers belong to the output,
/// except for those that layers share.
std::vector<std::uint32_t> tensors_of_layers(const model::ModelProfile& profile, std::uint32_t layers) {
  std::vector<std::uint32_t> out;
  for (std::uint32_t i = 0; i < profile.tensors.size(); ++i) {
    const auto& layer = profile.tensors[i].layer;
    const bool shared = profile.tensors[i].name.starts_with("rope_");
    if (layer || shared ? static_cast<std::uint32_t>(layer.value_or(0)) < layers : layers > profile.layers)
      out.push_back(i);
  }
  return out;
}

/// Removes the experts from `tensors` and groups them by layer.
std::vector<plan::CachedExperts> take_experts(const model::ModelProfile& profile,
                                              std::vector<std::uint32_t>& tensors, std::uint32_t slots) {
  std::map<int, plan::CachedExperts> groups;
  std::erase_if(tensors, [&](std::uint32_t tensor) {
    const model::TensorInfo& info = profile.tensors[tensor];
    if (info.role != model::Role::kExpert || info.shape[2] <= slots) return false;
    groups[*info.layer].tensors.push_back(tensor);
    groups[*info.layer].slots = slots;
    return true;
  });
  std::vector<plan::CachedExperts> out;
  for (auto& [layer, group] : groups) out.push_back(std::move(group));
  return out;
}

/// The last `percent` of the rows of each matrix that is in a layer and that the device does not have.
std::vector<plan::DeviceRows> last_rows(const model::ModelProfile& profile,
                                        const std::vector<std::uint32_t>& on_device, unsigned percent) {
  std::vector<plan::DeviceRows> out;
  for (std::uint32_t i = 0; i < profile.tensors.size(); ++i) {
    const model::TensorInfo& tensor = profile.tensors[i];
    const auto first = tensor.rows() * (100 - percent) / 100 / plan::kRowStep * plan::kRowStep;
    const bool plain = tensor.layer && tensor.shape[2] == 1 && tensor.rows() % plan::kKernelRows == 0;
    if (plain && first > 0 && first < tensor.rows() && std::ranges::find(on_device, i) == on_device.end())
      out.push_back({i, first});
  }
  return out;
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

void SequenceBatch::add(llama_seq_id sequence, llama_pos first, const std::vector<llama_token>& more) {
  for (const llama_token token : more) tokens.push_back({token, first++, sequence, false});
  tokens.back().output = true;
}

std::vector<std::vector<float>> outputs_of(llama_context* context, const SequenceBatch& batch) {
  return outputs_of(context, batch, [&](const llama_batch& all) { return llama_decode(context, all) == 0; });
}

std::vector<std::vector<float>> outputs_of(llama_context* context, const SequenceBatch& batch,
                                           const std::function<bool(const llama_batch&)>& decode) {
  const auto count = static_cast<std::int32_t>(batch.tokens.size());
  llama_batch all = llama_batch_init(count, 0, 1);
  std::set<llama_seq_id> sequences;
  for (const SequenceBatch::Token& token : batch.tokens) {
    all.token[all.n_tokens] = token.token;
    all.pos[all.n_tokens] = token.position;
    all.n_seq_id[all.n_tokens] = 1;
    all.seq_id[all.n_tokens][0] = token.sequence;
    all.logits[all.n_tokens++] = token.output;
    sequences.insert(token.sequence);
  }
  const bool decoded = decode(all);
  llama_batch_free(all);
  std::vector<std::vector<float>> out;
  if (!decoded) return out;
  if (llama_pooling_type(context) != LLAMA_POOLING_TYPE_NONE) {
    const int length = llama_model_n_embd_out(llama_get_model(context));
    for (const llama_seq_id sequence : sequences) {
      const float* const embedding = llama_get_embeddings_seq(context, sequence);
      out.emplace_back(embedding, embedding + length);
    }
    return out;
  }
  const int vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(llama_get_model(context)));
  for (std::int32_t i = 0; i < count; ++i) {
    if (!batch.tokens[static_cast<std::size_t>(i)].output) continue;
    const float* const logits = llama_get_logits_ith(context, i);
    out.emplace_back(logits, logits + vocabulary);
  }
  return out;
}

PlainModel::PlainModel(const std::filesystem::path& path, const Settings& settings) {
  engine::capture_llama_logs();
  llama_model_params params = llama_model_default_params();
  params.load_mode = LLAMA_LOAD_MODE_NONE;
  params.n_gpu_layers = 0;
  params.use_extra_bufts = !settings.file_order;
  model_.reset(llama_model_load_from_file(path.c_str(), params));
  if (model_ != nullptr) context_ = make_context(model_.get(), settings);
}

Result<std::unique_ptr<TieredModel>> TieredModel::load(const std::filesystem::path& path,
                                                       const Settings& settings, const ChooseArena& arena,
                                                       tier::ReaderFactory make_reader, OffloadTo offload) {
  engine::capture_llama_logs();
  std::unique_ptr<TieredModel> out(new TieredModel);
  BRIMFUL_TRY(out->profile_, model::read_model(path));
  const plan::HostLayout layout =
      settings.file_order ? plan::all_in_file_order(out->profile_) : plan::HostLayout{};
  BRIMFUL_TRY(out->device_, tier::HostDevice::create(out->profile_, out->pool_,
                                                     {.threads = settings.threads,
                                                      .make_reader = std::move(make_reader),
                                                      .sends = offload.device != nullptr,
                                                      .in_file_order = layout.in_file_order}));
  std::vector<engine::OffloadedLayers> layers;
  if (offload.device != nullptr) {
    out->device_pool_ = std::make_unique<memory::Pool>("device", offload.budget);
    out->offload_ =
        std::make_unique<tier::GpuDevice>(*out->device_, *out->device_pool_, offload.device->handle());
    const std::uint32_t cells = offload.cells_of_layers.value_or(offload.layers);
    auto tensors = tensors_of_layers(out->profile_, offload.layers);
    for (const std::uint32_t tensor : tensors_of_layers(out->profile_, cells)) {
      const bool sinks = out->profile_.tensors[tensor].name.ends_with(".attn_sinks.weight");
      if (sinks && std::ranges::find(tensors, tensor) == tensors.end()) tensors.push_back(tensor);
    }
    std::vector<plan::CachedExperts> experts;
    if (offload.slots > 0) experts = take_experts(out->profile_, tensors, offload.slots);
    out->offload_->send({.min_batch_of_experts = 64,
                         .missing_experts = offload.send_experts,
                         .turning_threads = offload.turning_threads});
    if (offload.rows > 0) out->rows_ = last_rows(out->profile_, tensors, offload.rows);
    out->offload_->choose(tensors, offload.ring, experts, {}, out->rows_);
    if (offload.ring > Bytes{})
      out->device_->leave_batches({.tokens = out->offload_->transfer_policy().min_batch});
    layers.push_back({out->offload_.get(), cells});
    std::set<int> norms = out->offload_->layers();
    norms.erase(norms.begin(), norms.lower_bound(static_cast<int>(layers.back().layers)));
    out->device_->leave_norms_of(std::move(norms));
  }
  BRIMFUL_TRY(out->model_, engine::load_without_weights(out->profile_, *out->device_, layers));
  out->context_ = make_context(out->model_.get(), settings);
  if (out->context_ == nullptr) {
    const auto why = out->offload_ ? out->offload_->take_error() : std::nullopt;
    return std::unexpected(why.value_or(Error{ErrorCode::kInternal, engine::take_llama_error()}));
  }

  const auto feed = [&](std::size_t count) {
    llama_memory_clear(llama_get_memory(out->context_.get()), false);
    return decode(out->context_.get(), std::vector<llama_token>(count, 0));
  };
  if (offload.slots > 0) {  // The host device must record the experts.
    out->offload_->leave_experts(true);
    if (!feed(settings.ubatch)) return fail(ErrorCode::kInternal, "recording failed");
    out->offload_->leave_experts(false);
    if (!feed(1)) return fail(ErrorCode::kInternal, "recording failed");
  }
  const bool recorded = feed(settings.ubatch) && feed(1);
  if (!recorded) return fail(ErrorCode::kInternal, "recording failed");
  if (settings.token_by_token) {
    SequenceBatch several;
    for (std::uint32_t i = 0; i < settings.outputs; ++i)
      several.tokens.push_back({0, static_cast<llama_pos>(i), 0, true});
    llama_memory_t const memory = llama_get_memory(out->context_.get());
    llama_memory_clear(memory, false);
    out->device_->token_by_token(true);
    const bool one = decode(out->context_.get(), {0});
    llama_memory_clear(memory, false);
    out->device_->token_by_token(true);
    const bool matched = one && !outputs_of(out->context_.get(), several).empty();
    out->device_->token_by_token(false);
    if (!matched)
      return std::unexpected(
          out->device_->take_error().value_or(Error{ErrorCode::kInternal, "recording failed"}));
  }
  const tier::Needs needs = out->device_->needs();
  BRIMFUL_TRY(out->placement_, plan::place(out->profile_, needs.uses, arena(out->profile_, needs.uses)));
  BRIMFUL_TRY_VOID(out->device_->place(out->placement_, {}));
  if (out->offload_ == nullptr) return out;
  BRIMFUL_TRY_VOID(out->offload_->place(out->pool_, {}));
  BRIMFUL_TRY_VOID(out->offload_->connect());
  return out;
}

TieredModel::ChooseArena percent_of_weights(unsigned percent) {
  return [percent](const model::ModelProfile& profile, const std::vector<plan::TensorUse>& uses) {
    const Bytes least = plan::smallest_budget(profile, uses);
    if (percent == 100) return profile.weight_bytes() * 2;
    Bytes computed_with;
    for (const plan::TensorUse& use : uses) {
      if (use.by_rows || use.whole) computed_with += profile.tensors[use.tensor].bytes;
    }
    return std::max(least, Bytes{computed_with.value / 100 * percent});
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
  const auto path = std::filesystem::path(BRIMFUL_SHARED_DIR) / name;
  return std::filesystem::exists(path) ? path : std::filesystem::path();
}

std::filesystem::path stories15m() {
  const std::filesystem::path made(BRIMFUL_MODELS_DIR "/stories15M-f32.gguf");
  return std::filesystem::exists(made) ? made : shared_file("models/stories15M-f32.gguf");
}

}  // namespace brimful::tests
