#include <fmt/format.h>

#include <algorithm>

#include "engine/engine.h"

namespace strata::engine {
namespace {

// Compute buffers are known only once a context was made with the layers where they will be.
constexpr int kAttempts = 6;

/// What a driver holds of the device beside ggml's buffers. Of CUDA it is assumed: nobody measured it yet.
Bytes driver_bytes(ggml_backend_dev_t device) {
  const std::string_view name = ggml_backend_reg_name(ggml_backend_dev_backend_reg(device));
  return name == "CUDA" || name == "ROCm" ? plan::kUnknownRuntime : Bytes{};
}

bool uses(const plan::DeviceShare& share) { return !share.tensors.empty() || share.ring > Bytes{}; }

}  // namespace

void Engine::make_offloads() {
  for (const OffloadOption& option : options_.offload) {
    Offload offload;
    offload.pool = std::make_unique<memory::Pool>(ggml_backend_dev_name(option.device), option.budget);
    offload.device = std::make_unique<tier::OffloadDevice>(device_->weights(), device_->host_buffers(),
                                                           *offload.pool, option.device);
    offloads_.push_back(std::move(offload));
  }
}

Status Engine::load_on_devices(const plan::DeviceSplit& split) {
  free_context();
  model_.reset();
  std::vector<OffloadedLayers> layers;
  for (std::size_t i = 0; i < offloads_.size(); ++i) {
    auto& [pool, device, share] = offloads_[i];
    share = i < split.devices.size() ? split.devices[i] : plan::DeviceShare{};
    device->choose(share.tensors, share.ring);
    if (uses(share)) layers.push_back({device.get(), share.layers});
  }
  const bool sends =
      std::ranges::any_of(split.devices, [](const auto& share) { return share.ring > Bytes{}; });
  device_->leave_attention(sends ? tier::OffloadDevice::kBatch : 0);
  on_devices_ = !layers.empty();
  STRATA_TRY(model_, load_without_weights(profile_, *device_, layers));
  return {};
}

plan::DeviceSplit Engine::split(const plan::Demand& whole, std::vector<plan::DeviceBudget> budgets) const {
  plan::DeviceSplit all = plan::split_devices(profile_, whole, budgets, 1, options_.may_lie_on);
  const bool some_are_left =
      std::ranges::any_of(all.host.uses, [](const plan::TensorUse& use) { return use.by_rows || use.whole; });
  if (!some_are_left) return all;
  budgets.front().ring = tier::OffloadDevice::ring_bytes(profile_);
  return plan::split_devices(profile_, whole, budgets, 1, options_.may_lie_on);
}

Status Engine::use_devices(const ContextOptions& options, Shape shape, const plan::Demand& whole) {
  std::vector<plan::DeviceBudget> budgets;
  for (const Offload& offload : offloads_) {
    budgets.push_back({.name = ggml_backend_dev_name(offload.device->inner()),
                       .gpu = {.name = ggml_backend_dev_description(offload.device->inner()),
                               .runtime = driver_bytes(offload.device->inner())},
                       .budget = offload.pool->capacity(),
                       .compute = whole.compute});
  }
  bool measured = false;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    STRATA_TRY_VOID(load_on_devices(split(whole, budgets)));
    STRATA_TRY_VOID(make_context(options, shape));
    bool fits = true;
    for (std::size_t i = 0; i < offloads_.size(); ++i) {
      auto& [pool, device, share] = offloads_[i];
      if (!uses(share)) continue;
      const Bytes expected = share.kv_cache + share.weights;
      share.weights = device->weight_bytes();
      share.kv_cache = device->kv_bytes();
      share.compute = device->compute_bytes();
      const Bytes needed = share.weights + share.kv_cache + share.compute + share.ring + share.runtime;
      fits = fits && needed <= share.budget;
      share.unused = saturating_sub(share.budget, needed);
      budgets[i].compute = share.compute + saturating_sub(share.weights + share.kv_cache, expected);
    }
    // The first guess is on the safe side: once its buffers are known, more may fit.
    if (fits && (measured || !on_devices_)) {
      note_idle_devices(whole);
      return {};
    }
    measured = true;
  }
  return fail(ErrorCode::kInfeasible,
              fmt::format("{}: no split of its layers keeps to the devices' budgets; give the devices more "
                          "memory, or less",
                          options_.model.string()));
}

void Engine::note_idle_devices(const plan::Demand& whole) {
  for (const Offload& offload : offloads_) {
    if (uses(offload.share)) continue;
    notes_.push_back(fmt::format(
        "{} is not used: {} are too little for compute buffers (up to {}), the driver and a layer",
        offload.share.name, format_bytes(offload.share.budget), format_bytes(whole.compute)));
  }
}

Status Engine::place_on_devices(const tier::Device::Progress& progress, Bytes& placed, Bytes total) {
  for (auto& [pool, device, share] : offloads_) {
    if (!uses(share)) continue;
    const Bytes before = placed;
    const auto more = [&](Bytes done) {
      placed = before + done;
      return !progress || progress(std::min(placed, total), total);
    };
    STRATA_TRY_VOID(device->place(device_->files(), device_->reader_factory(), pool_, more));
  }
  return {};
}

Status Engine::connect_devices() {
  for (auto& [pool, device, share] : offloads_)
    STRATA_TRY_VOID(device->connect(device_->files(), device_->reader_factory(), device_->table()));
  return {};
}

std::vector<plan::DeviceShare> Engine::device_shares() const {
  std::vector<plan::DeviceShare> out;
  for (const Offload& offload : offloads_) out.push_back(offload.share);
  return out;
}

std::vector<Bytes> Engine::sent_bytes() const {
  std::vector<Bytes> out;
  for (const Offload& offload : offloads_) out.push_back(offload.device->sent());
  return out;
}

std::optional<Error> Engine::take_device_error() {
  if (auto error = device_->take_error()) return error;
  for (Offload& offload : offloads_) {
    if (auto error = offload.device->take_error()) return error;
  }
  return std::nullopt;
}

}  // namespace strata::engine
