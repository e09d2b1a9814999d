#include "engine/gpu_tier.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

namespace brimful::engine {

namespace {

/// The layers more than half of whose matrices, by bytes, lie on devices while their KV cache lies on the
/// host. Experts do not count.
std::set<int> layers_without_cells(const model::ModelProfile& profile, const plan::DeviceSplit& split) {
  std::map<int, Bytes> all;
  std::map<int, Bytes> there;
  for (const model::TensorInfo& info : profile.tensors) {
    if (info.is_dense_matrix_of_layer()) all[*info.layer] += info.bytes;
  }
  int with_cells = 0;
  for (const plan::DeviceShare& device : split.devices) {
    with_cells += static_cast<int>(device.layers_of_cells);
    for (const std::uint32_t tensor : device.tensors) {
      const model::TensorInfo& info = profile.tensors[tensor];
      if (info.is_dense_matrix_of_layer()) there[*info.layer] += info.bytes;
    }
  }
  std::set<int> out;
  for (const auto& [layer, bytes] : there) {
    if (layer >= with_cells && bytes * 2 > all[layer]) out.insert(layer);
  }
  return out;
}

}  // namespace

GpuTier::GpuTier(const OpenOptions& options, const model::ModelProfile& profile, tier::HostDevice& host)
    : options_(options), profile_(profile), host_(host) {
  for (const OffloadOption& option : options.offload) gpus_.emplace_back(host, option, options);
  if (gpus_.empty()) return;
  const plan::TransferPolicy policy =
      options.transfer_policy ? options.transfer_policy(profile) : plan::assumed_transfer_policy(profile);
  for (const BudgetedGpu& gpu : gpus_) gpu.device->send(policy);
}

std::vector<plan::DeviceBudget> GpuTier::budgets_for(ContextShape shape, Bytes compute, Bytes pinned) {
  std::vector<plan::DeviceBudget> out;
  for (BudgetedGpu& gpu : gpus_) {
    const Bytes budget = gpu.pool->capacity();
    gpu.driver.set_pinned(pinned);
    gpu.driver.set_use(fmt::format("{} of {} bytes, context {}, ubatch {}, {} bytes",
                                   options_.model.filename().string(), profile_.weight_bytes().value,
                                   shape.context, shape.ubatch, budget.value));
    out.push_back({.name = gpu.name(),
                   .gpu = {.name = ggml_backend_dev_description(gpu.device->inner()),
                           .runtime = gpu.driver.guess(budget)},
                   .budget = budget,
                   .compute = compute});
  }
  return out;
}

plan::DeviceSplit GpuTier::split(const plan::HostDemand& whole, std::vector<plan::DeviceBudget> budgets,
                                 ContextShape shape, const plan::GraphWork& decode) const {
  plan::add_rings(budgets, profile_, gpus_.front().device->transfer_policy(), shape.ubatch);
  // Slots need two different graphs, and a ubatch of one token has only one: the host must see a graph with
  // the experts.
  for (plan::DeviceBudget& budget : budgets) budget.caches_experts = shape.ubatch > 1;
  for (std::size_t i = 0; i < gpus_.size(); ++i) {
    if (const auto& rates = gpus_[i].device->transfer_policy().step_rates)
      budgets[i].step_costs = plan::step_costs(*rates, decode);
  }
  return plan::split_devices(profile_, whole, budgets, 1, options_.placement_filter);
}

Status GpuTier::load(const plan::DeviceSplit& split) {
  model_.reset();
  std::vector<OffloadedLayers> layers;
  for (std::size_t i = 0; i < gpus_.size(); ++i) {
    BudgetedGpu& gpu = gpus_[i];
    gpu.share = i < split.devices.size() ? split.devices[i] : plan::DeviceShare{};
    gpu.device->choose(gpu.share.tensors, gpu.share.ring, gpu.share.groups, gpu.share.sent_layers,
                       gpu.share.rows);
    if (gpu.is_used()) layers.push_back({gpu.device.get(), gpu.share.layers_of_cells});
  }
  host_.leave_norms_of(layers_without_cells(profile_, split));
  if (layers.empty()) return {};
  BRIMFUL_TRY(model_, load_without_weights(profile_, host_, layers));
  return {};
}

tier::HostDevice::Elsewhere GpuTier::batches_elsewhere(std::uint32_t ubatch, std::uint32_t sequences) const {
  using Attention = tier::HostDevice::Attention;
  const bool sends =
      std::ranges::any_of(gpus_, [](const BudgetedGpu& gpu) { return gpu.share.ring > Bytes{}; });
  if (model_ == nullptr || !sends) return {.attention = Attention::kNone};
  const plan::TransferPolicy& policy = gpus_.front().device->transfer_policy();
  // libllama sizes the buffers of a pass with one token of each sequence, and of the largest pass.
  if (ubatch <= sequences) return {.tokens = policy.min_batch, .attention = Attention::kNone};
  const std::int64_t heads =
      llama_model_n_head(model_.get()) / std::max(llama_model_n_head_kv(model_.get()), 1);
  return {.tokens = policy.min_batch,
          .attention = heads >= policy.min_heads_of_attention ? Attention::kAll : Attention::kOfPrompts};
}

Result<bool> GpuTier::settle(const llama_context* context, std::vector<plan::DeviceBudget>& budgets) {
  bool fits = true;
  for (std::size_t i = 0; i < gpus_.size(); ++i) {
    if (!gpus_[i].is_used()) continue;
    BRIMFUL_TRY(const bool this_fits, gpus_[i].settle(context, budgets[i]));
    fits = fits && this_fits;
  }
  return fits;
}

std::vector<std::int64_t> GpuTier::batch_thresholds() const {
  if (gpus_.empty()) return {};
  const plan::TransferPolicy& policy = gpus_.front().device->transfer_policy();
  return {policy.min_batch_of_experts - 1, policy.min_batch - 1, plan::kMostTokensOfSlots};
}

bool GpuTier::has_experts() const {
  return std::ranges::any_of(gpus_, [](const BudgetedGpu& gpu) { return gpu.device->has_experts(); });
}

void GpuTier::leave_experts(bool on) {
  for (const BudgetedGpu& gpu : gpus_) gpu.device->leave_experts(on && gpu.device->has_experts());
}

void GpuTier::pretend(tier::Lack lack) {
  for (const BudgetedGpu& gpu : gpus_) gpu.device->pretend(lack);
}

void GpuTier::skip_computing(bool on) {
  for (const BudgetedGpu& gpu : gpus_) gpu.device->skip_computing(on);
}

void GpuTier::learn_one_token() {
  for (const BudgetedGpu& gpu : gpus_) gpu.device->columns().forget();
}

void GpuTier::token_by_token(bool on) {
  for (const BudgetedGpu& gpu : gpus_) gpu.device->columns().begin_pass(on);
}

bool GpuTier::matched() const {
  return std::ranges::all_of(gpus_, [](const BudgetedGpu& gpu) { return gpu.device->columns().matched(); });
}

std::optional<std::int64_t> GpuTier::most_tokens_of_decode() const {
  std::int64_t most = plan::kNever;
  for (const BudgetedGpu& gpu : gpus_) {
    const plan::TransferPolicy& policy = gpu.device->transfer_policy();
    if (gpu.share.ring > Bytes{})
      most = std::min({most, policy.min_batch - 1, policy.min_batch_of_experts - 1});
    if (!gpu.share.rows.empty()) most = std::min(most, plan::kMostColumnsOfRows);
    most = std::min(most, gpu.device->most_tokens_of_step().value_or(most));
  }
  return most < plan::kNever ? std::optional(most) : std::nullopt;
}

std::optional<std::size_t> GpuTier::room_for_deferred() const {
  std::optional<std::size_t> out;
  for (const BudgetedGpu& gpu : gpus_) {
    const auto room = gpu.device->room_for_deferred();
    if (room) out = std::min(*room, out.value_or(*room));
  }
  return out;
}

void GpuTier::freeze_experts(bool on) {
  for (const BudgetedGpu& gpu : gpus_) gpu.device->freeze_experts(on);
}

Status GpuTier::settle_experts(std::size_t tokens) {
  for (const BudgetedGpu& gpu : gpus_) BRIMFUL_TRY_VOID(gpu.device->settle_experts(tokens));
  return {};
}

void GpuTier::measure_kernels(bool on) {
  for (const BudgetedGpu& gpu : gpus_) gpu.device->columns().measure_kernels(on);
}

void GpuTier::digest_passes(std::int64_t tokens) {
  for (const BudgetedGpu& gpu : gpus_) gpu.device->columns().digest_passes(tokens);
}

std::vector<std::vector<std::uint64_t>> GpuTier::take_digests() {
  std::vector<std::vector<std::uint64_t>> out;
  for (const BudgetedGpu& gpu : gpus_) {
    const std::vector<std::uint64_t> of_device = gpu.device->columns().take_digests();
    out.resize(std::max(out.size(), of_device.size()));
    for (std::size_t token = 0; token < of_device.size(); ++token) out[token].push_back(of_device[token]);
  }
  return out;
}

void GpuTier::keep(const char* tensor, std::vector<float>* to) {
  for (const BudgetedGpu& gpu : gpus_) gpu.device->keep(tensor, to);
}

Bytes GpuTier::weights_to_place() const {
  Bytes out;
  for (const BudgetedGpu& gpu : gpus_) out += gpu.share.weights + gpu.share.experts;
  return out;
}

Result<Bytes> GpuTier::place(memory::Pool& host_pool, const Progress& progress) {
  Bytes placed;
  for (const BudgetedGpu& gpu : gpus_) {
    if (!gpu.is_used()) continue;
    const Bytes before = placed;
    const auto more = [&](Bytes done) {
      placed = before + done;
      return !progress || progress(placed);
    };
    BRIMFUL_TRY_VOID(gpu.device->place(host_pool, more));
  }
  return placed;
}

Status GpuTier::connect() {
  for (const BudgetedGpu& gpu : gpus_) BRIMFUL_TRY_VOID(gpu.device->connect());
  return {};
}

void GpuTier::disconnect() {
  for (const BudgetedGpu& gpu : gpus_) gpu.device->disconnect();
}

void GpuTier::forget_buffers() {
  for (const BudgetedGpu& gpu : gpus_) gpu.device->forget_buffers();
}

void GpuTier::displace() {
  model_.reset();
  for (const BudgetedGpu& gpu : gpus_) gpu.device->displace();
}

bool GpuTier::drivers_tell() const {
  return std::ranges::any_of(gpus_,
                             [](const BudgetedGpu& gpu) { return gpu.is_used() && gpu.driver.tells(); });
}

Status GpuTier::check_room() const {
  for (const BudgetedGpu& gpu : gpus_) {
    if (gpu.is_used()) BRIMFUL_TRY_VOID(gpu.driver.check_room(gpu.share));
  }
  return {};
}

bool GpuTier::drivers_are_measured() const {
  return std::ranges::any_of(gpus_, [](const BudgetedGpu& gpu) { return gpu.driver.measured().has_value(); });
}

Result<bool> GpuTier::measure_drivers(std::vector<std::string>& notes) {
  bool as_planned = true;
  for (BudgetedGpu& gpu : gpus_) {
    const Bytes budget = gpu.pool->capacity();
    if (gpu.is_used()) {
      as_planned = gpu.driver.measure(gpu.share, budget, notes) && as_planned;
    } else {
      BRIMFUL_TRY_VOID(gpu.driver.check_unused(budget));
    }
  }
  return as_planned;
}

void GpuTier::keep_driver_figures() const {
  for (const BudgetedGpu& gpu : gpus_) gpu.driver.keep();
}

GpuTier::Budgets GpuTier::budgets() const {
  Budgets out;
  for (const BudgetedGpu& gpu : gpus_) out.emplace_back(gpu.name(), gpu.pool->capacity());
  return out;
}

Status GpuTier::check(const Budgets& budgets) const {
  for (const auto& [name, budget] : budgets) {
    const auto gpu = std::ranges::find(gpus_, name, &BudgetedGpu::name);
    if (gpu == gpus_.end()) {
      std::string used;
      for (const BudgetedGpu& one : gpus_) used += fmt::format(" {}", one.name());
      return fail(ErrorCode::kInvalidArgument,
                  used.empty() ? fmt::format("{}: no GPU is used: start with {}", name, options_.names.vram)
                               : fmt::format("{}: not one of the GPUs in use:{}", name, used));
    }
    BRIMFUL_TRY_VOID(gpu->check_budget(budget));
  }
  return {};
}

Status GpuTier::resize(const Budgets& budgets) {
  for (const auto& [name, budget] : budgets) {
    const auto gpu = std::ranges::find(gpus_, name, &BudgetedGpu::name);
    BRIMFUL_TRY_VOID(gpu->pool->resize(budget));
  }
  return {};
}

std::vector<std::string> GpuTier::notes_on_shares() const {
  std::vector<std::string> out;
  for (const BudgetedGpu& gpu : gpus_) {
    if (options_.transfer_policy && gpu.share.ring > Bytes{}) {
      out.push_back(
          fmt::format("passes of {} or more tokens are computed on {}; the host's weights are sent to it",
                      gpu.device->transfer_policy().min_batch, gpu.share.name));
    }
    if (gpu.is_used()) continue;
    out.push_back(fmt::format("{} is not used: a budget of {} holds no layer beside the compute buffers",
                              gpu.share.name, format_bytes(gpu.share.budget)));
  }
  return out;
}

std::vector<std::string> GpuTier::notes_on_copies() const {
  std::vector<std::string> out;
  for (const BudgetedGpu& gpu : gpus_) {
    if (gpu.device->sends_from_pageable())
      out.push_back(fmt::format(
          "{}: its driver could not pin the memory that weights are sent from, so that copies are slower",
          gpu.share.name));
  }
  return out;
}

Bytes GpuTier::host_bytes() const {
  Bytes out;
  for (const BudgetedGpu& gpu : gpus_)
    out += gpu.device->host_bytes() + gpu.device->columns().bytes(draft_passes_);
  return out;
}

std::vector<DeviceUse> GpuTier::uses() const {
  std::vector<DeviceUse> out;
  out.reserve(gpus_.size());
  for (const BudgetedGpu& gpu : gpus_) out.push_back(gpu.use());
  return out;
}

tier::StreamStatistics GpuTier::statistics() const {
  tier::StreamStatistics out;
  for (const BudgetedGpu& gpu : gpus_) {
    const tier::StreamStatistics sending = gpu.device->statistics();
    out.read += sending.read;
    out.stalled += sending.stalled;
  }
  return out;
}

std::optional<Error> GpuTier::take_error() {
  for (const BudgetedGpu& gpu : gpus_) {
    if (auto error = gpu.device->take_error()) return error;
  }
  return std::nullopt;
}

}  // namespace brimful::engine
