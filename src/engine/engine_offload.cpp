#include <fmt/format.h>

#include <algorithm>

#include "engine/context_memory.h"
#include "engine/engine.h"

namespace brimful::engine {
namespace {

// The largest number of tries for a split. The compute buffers are known only after a context was made with
// that split.
constexpr int kAttempts = 8;

// Bytes that are left for a driver to grow: it never takes less later.
constexpr Bytes kDriverGrowth = kMiB * 2;
// The weights are not placed again when a driver takes up to so much less than planned: the larger one of
// these bytes and this part of the budget.
constexpr Bytes kDriverSlack = kMiB * 8;
constexpr std::uint64_t kPartForSlack = 128;
// This part of the budget is left in addition to a guess.
constexpr std::uint64_t kPartForGuess = 256;
// When a whole card's use has grown by more than this, other programs have a part in it.
constexpr Bytes kMostOfDriver = kMiB * 1536;
constexpr int kWarmSteps = 4;  // CUDA makes a graph of a decode step that it has seen several times

/// Bytes that a driver is assumed to hold on the device beside ggml's buffers, when it does not report them.
/// Only CUDA and ROCm are assumed to hold any.
Bytes driver_bytes(ggml_backend_dev_t device) {
  const std::string_view name = ggml_backend_reg_name(ggml_backend_dev_backend_reg(device));
  return name == "CUDA" || name == "ROCm" ? plan::kUnknownRuntime : Bytes{};
}

/// Whether the device belongs to a server. The memory of its driver is the server's concern.
bool is_remote(ggml_backend_dev_t device) {
  return std::string_view(ggml_backend_reg_name(ggml_backend_dev_backend_reg(device))) == "RPC";
}

/// The bytes that the driver takes in addition to `buffers`, as far as `held` is plausible; otherwise
/// nothing.
std::optional<DeviceHeld> driver_part(ggml_backend_dev_t device, const std::optional<DeviceHeld>& held,
                                      Bytes buffers) {
  if (!held || held->bytes < buffers)
    return std::nullopt;  // we know that the buffers are there, so the figure is wrong
  const Bytes takes = held->bytes - buffers;
  if (held->own) return DeviceHeld{takes};
  if (takes > kMostOfDriver) return std::nullopt;
  return DeviceHeld{std::max(takes, driver_bytes(device)), false};
}

/// Whether a device has any weights, experts or a ring.
bool uses(const plan::DeviceShare& share) {
  return !share.tensors.empty() || !share.groups.empty() || share.ring > Bytes{};
}

}  // namespace

void Engine::make_offloads() {
  for (const OffloadOption& option : options_.offload) {
    Offload offload;
    offload.pool = std::make_unique<memory::Pool>(ggml_backend_dev_name(option.device), option.budget);
    offload.device = std::make_unique<tier::GpuDevice>(*device_, *offload.pool, option.device);
    if (options_.held_on_device) {
      const auto held = options_.held_on_device(option.device);
      if (held && held->own) offload.at_open = held->bytes;
    }
    offloads_.push_back(std::move(offload));
  }
  if (offloads_.empty()) return;
  plan::TransferPolicy transfer_policy =
      options_.transfer_policy ? options_.transfer_policy(profile_) : plan::assumed_transfer_policy(profile_);
  for (const Offload& offload : offloads_) offload.device->send(transfer_policy);
}

Status Engine::load_on_devices(const plan::DeviceSplit& split) {
  free_context();
  model_on_devices_.reset();
  std::vector<OffloadedLayers> layers;
  for (std::size_t i = 0; i < offloads_.size(); ++i) {
    auto& [pool, device, share, at_open, driver, use] = offloads_[i];
    share = i < split.devices.size() ? split.devices[i] : plan::DeviceShare{};
    device->choose(share.tensors, share.ring, share.groups);
    if (uses(share)) layers.push_back({device.get(), share.layers});
  }
  const bool sends =
      std::ranges::any_of(split.devices, [](const auto& share) { return share.ring > Bytes{}; });
  batches_elsewhere_ = sends ? offloads_.front().device->transfer_policy().min_batch : 0;
  if (layers.empty()) return {};
  BRIMFUL_TRY(model_on_devices_, load_without_weights(profile_, *device_, layers));
  return {};
}

/// Leaves the experts of all devices to the host, or takes them back. Returns false when no device has slots
/// for experts.
bool Engine::leave_experts(bool on) {
  bool some = false;
  for (const Offload& offload : offloads_) {
    offload.device->leave_experts(on && offload.device->has_experts());
    some = some || offload.device->has_experts();
  }
  return some;
}

plan::DeviceSplit Engine::split(const plan::HostDemand& whole, std::vector<plan::DeviceBudget> budgets,
                                Shape shape) const {
  plan::add_rings(budgets.front(), profile_, offloads_.front().device->transfer_policy(), shape.ubatch);
  // Slots need two different graphs, and a ubatch of one token has only one: the host must see a graph with
  // the experts.
  for (plan::DeviceBudget& budget : budgets) budget.caches_experts = shape.ubatch > 1;
  return plan::split_devices(profile_, whole, budgets, 1, options_.placement_filter);
}

/// Reads the real sizes of the split, after the context was made. Returns false when a device would pass its
/// budget; `budgets` has better estimates then.
Result<bool> Engine::settle_devices(std::vector<plan::DeviceBudget>& budgets) {
  bool fits = true;
  for (std::size_t i = 0; i < offloads_.size(); ++i) {
    auto& [pool, device, share, at_open, driver, use] = offloads_[i];
    if (!uses(share)) continue;
    const ContextMemory memory = context_memory(context_.get(), device->buffer_types());
    const Bytes expected = share.kv_cache + share.weights + share.experts;
    share.experts = device->expert_bytes();
    share.weights = device->weight_bytes() - share.experts;
    share.kv_cache = memory.kv_cache;
    share.compute = memory.compute;
    BRIMFUL_TRY_VOID(device->settle(share.kv_cache, share.compute));
    const Bytes needed =
        share.weights + share.experts + share.kv_cache + share.compute + share.ring + share.runtime;
    fits = fits && needed <= share.budget;
    share.unused = saturating_sub(share.budget, needed);
    budgets[i].compute =
        share.compute + saturating_sub(share.weights + share.experts + share.kv_cache, expected);
  }
  return fits;
}

/// Bytes that are left for the driver before the weights are placed, when it cannot be measured yet.
Bytes Engine::guess_driver(const Offload& offload) const {
  ggml_backend_dev_t const device = offload.device->inner();
  if (offload.driver) return offload.driver->bytes;
  if (is_remote(device)) return {};
  Bytes known = driver_bytes(device);
  if (!options_.held_on_device) return known;
  if (options_.driver_figures) {
    const auto figure = options_.driver_figures->find(device, offload.use);
    if (figure && figure->same_use) return figure->took;
    if (figure) known = figure->took;
  }
  return std::max(known, offload.at_open) + Bytes{offload.pool->capacity().value / kPartForGuess};
}

Status Engine::use_devices(const ContextOptions& options, Shape shape, const plan::HostDemand& whole) {
  std::vector<plan::DeviceBudget> budgets;
  for (Offload& offload : offloads_) {
    ggml_backend_dev_t const device = offload.device->inner();
    offload.use = fmt::format("{} of {} bytes, -c {} -ub {}, {} bytes", options_.model.filename().string(),
                              profile_.weight_bytes().value, shape.context, shape.ubatch,
                              offload.pool->capacity().value);
    budgets.push_back(
        {.name = ggml_backend_dev_name(device),
         .gpu = {.name = ggml_backend_dev_description(device), .runtime = guess_driver(offload)},
         .budget = offload.pool->capacity(),
         .compute = whole.compute});
  }
  bool measured = false;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    if (attempt + 1 == kAttempts) {  // the devices get nothing, which is better than an error
      for (plan::DeviceBudget& budget : budgets) budget.compute = budget.budget;
    }
    BRIMFUL_TRY_VOID(load_on_devices(split(whole, budgets, shape)));
    const Status made = make_context(options, shape);
    if (!made && made.error().code == ErrorCode::kBudgetExceeded && attempt + 1 < kAttempts) {
      // The buffers alone passed a budget: the next try has fewer layers, and a smaller part of the KV cache,
      // on the devices.
      for (plan::DeviceBudget& budget : budgets)
        budget.compute = *budget.compute + Bytes{budget.budget.value / 8};
      continue;
    }
    BRIMFUL_TRY_VOID(made);
    BRIMFUL_TRY(const bool fits, settle_devices(budgets));
    // The first guess is cautious. With the measured buffers, more may fit.
    if (fits && (measured || !model_on_devices_)) return {};
    measured = true;
  }
  return fail(ErrorCode::kInfeasible,
              fmt::format("{}: no split of its layers keeps to the devices' budgets; give the devices more "
                          "memory, or less",
                          options_.model.string()));
}

void Engine::note_devices(const DraftOptions& wanted) {
  if (!offloads_.empty() && wanted.ngrams) notes_.emplace_back("no drafts: with --vram there are none yet");
  for (const Offload& offload : offloads_) {
    if (options_.transfer_policy && offload.share.ring > Bytes{}) {
      notes_.push_back(
          fmt::format("{} or more tokens at once are computed on {}, with the host's weights sent to it",
                      offload.device->transfer_policy().min_batch, offload.share.name));
    }
    if (uses(offload.share)) continue;
    notes_.push_back(fmt::format("{} is not used: {} hold no layer beside the compute buffers",
                                 offload.share.name, format_bytes(offload.share.budget)));
  }
}

Status Engine::place_on_devices(const tier::HostDevice::Progress& progress, Bytes& placed, Bytes total) {
  for (Offload& offload : offloads_) {
    if (!uses(offload.share)) continue;
    const Bytes before = placed;
    const auto more = [&](Bytes done) {
      placed = before + done;
      return !progress || progress(std::min(placed, total), total);
    };
    BRIMFUL_TRY_VOID(offload.device->place(ram_->pool(), more));
  }
  return {};
}

Status Engine::connect_devices() {
  for (Offload& offload : offloads_) BRIMFUL_TRY_VOID(offload.device->connect());
  return {};
}

/// Fills the context with `tokens` tokens without computing them: a driver takes more memory when more cells
/// are in use.
Status Engine::fill_context(std::size_t tokens) {
  llama_memory_clear(llama_get_memory(context_.get()), false);
  const auto skip = [&](bool on) {
    device_->skip_computing(on);
    for (const Offload& offload : offloads_) offload.device->skip_computing(on);
  };
  skip(true);
  const Status filled = decode(std::vector<llama_token>(tokens, 0), false);
  skip(false);
  return filled;
}

/// Computes the largest shapes once, with a full context. Only then a driver has taken all the memory that it
/// will take.
Status Engine::warm_up() {
  const std::size_t context = llama_n_ctx_seq(context_.get());
  const std::vector<llama_token> tokens(std::min<std::size_t>(llama_n_ubatch(context_.get()), context), 0);
  if (only_embeds_) return decode(tokens);
  const auto warm = [&](std::size_t count) -> Status {
    BRIMFUL_TRY_VOID(fill_context(context - count));
    return decode(std::span(tokens).first(count));
  };
  BRIMFUL_TRY_VOID(warm(tokens.size()));
  if (std::ranges::any_of(offloads_, [](const Offload& offload) { return offload.device->has_experts(); }))
    BRIMFUL_TRY_VOID(warm(std::min<std::size_t>(plan::kMostTokensOfSlots, tokens.size())));
  BRIMFUL_TRY_VOID(fill_context(context - std::min<std::size_t>(kWarmSteps, context)));
  for (int i = 0; i < kWarmSteps; ++i) BRIMFUL_TRY_VOID(decode(std::span(tokens).first(1)));
  llama_memory_clear(llama_get_memory(context_.get()), false);
  return {};
}

/// Measures whether the drivers take the bytes that were left for them. Errors: kInfeasible when a driver
/// alone takes more than the device's budget.
Result<bool> Engine::measure_drivers() {
  const bool some_tell = std::ranges::any_of(offloads_, [&](const Offload& offload) {
    return uses(offload.share) && options_.held_on_device(offload.device->inner());
  });
  if (some_tell) BRIMFUL_TRY_VOID(warm_up());
  bool as_planned = true;
  for (auto& [pool, device, share, at_open, driver, use] : offloads_) {
    const auto held = options_.held_on_device(device->inner());
    const Bytes buffers = share.peak() - share.runtime;
    if (!uses(share)) {
      if (held && held->own && held->bytes > pool->capacity()) {
        return fail(
            ErrorCode::kInfeasible,
            fmt::format("{}: its driver alone holds {} for this process, and its budget is {}: give it "
                        "more, or leave it out",
                        ggml_backend_dev_name(device->inner()), format_bytes(held->bytes),
                        format_bytes(pool->capacity())));
      }
      continue;
    }
    const auto takes = driver_part(device->inner(), held, buffers);
    if (!takes) {
      if (!is_remote(device->inner()))
        notes_.push_back(
            fmt::format("{}: what its driver takes is not known; {} of the budget are left for it",
                        share.name, format_bytes(share.runtime)));
      continue;
    }
    driver =
        DeviceHeld{takes->bytes + kDriverGrowth,
                   takes->own};  // this leaves some MiB for growth, so that the next start is right at once
    const Bytes slack = std::max(kDriverSlack, Bytes{pool->capacity().value / kPartForSlack});
    as_planned = as_planned && takes->bytes <= share.runtime && share.runtime - takes->bytes <= slack;
  }
  return as_planned;
}

Status Engine::fit_drivers(const tier::HostDevice::Progress& progress) {
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    BRIMFUL_TRY(const bool as_planned, measure_drivers());
    if (as_planned) {
      keep_driver_figures();
      return {};
    }
    BRIMFUL_TRY_VOID(displace_weights());
    BRIMFUL_TRY_VOID(give_back());
    BRIMFUL_TRY_VOID(prepare(ContextOptions(prepared_)));
    BRIMFUL_TRY_VOID(begin(progress));
  }
  return fail(ErrorCode::kBudgetExceeded,
              fmt::format("{}: a GPU's driver takes more with every start; is another program using it?",
                          options_.model.string()));
}

void Engine::keep_driver_figures() const {
  if (!options_.driver_figures) return;
  for (const Offload& offload : offloads_) {
    if (offload.driver && offload.driver->own)
      options_.driver_figures->keep(offload.device->inner(), offload.use, offload.driver->bytes);
  }
}

/// Removes the host's weights from memory. The devices are disconnected first, because they send weights from
/// there.
Status Engine::displace_weights() {
  for (Offload& offload : offloads_) offload.device->disconnect();
  return device_->displace();
}

std::vector<DeviceUse> Engine::devices() const {
  std::vector<DeviceUse> out;
  for (const Offload& offload : offloads_)
    out.push_back({offload.share, offload.device->sent(), offload.device->experts()});
  return out;
}

tier::PassStatistics Engine::pass_statistics() const {
  tier::PassStatistics out = device_->statistics();
  for (const Offload& offload : offloads_) {
    const tier::StreamStatistics sending = offload.device->statistics();
    out.read += sending.read;
    out.stalled += sending.stalled;
  }
  return out;
}

std::optional<Error> Engine::take_device_error() {
  if (auto error = device_->take_error()) return error;
  for (Offload& offload : offloads_) {
    if (auto error = offload.device->take_error()) return error;
  }
  return std::nullopt;
}

}  // namespace brimful::engine
