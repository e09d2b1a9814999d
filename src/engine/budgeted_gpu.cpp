#include "engine/budgeted_gpu.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/context_memory.h"

namespace brimful::engine {

BudgetedGpu::BudgetedGpu(tier::HostDevice& host, const OffloadOption& option, const OpenOptions& options)
    : pool(std::make_unique<memory::Pool>(ggml_backend_dev_name(option.device), option.budget)),
      device(std::make_unique<tier::GpuDevice>(host, *pool, option.device)),
      driver(option.device, options.held_on_device, options.driver_figures) {}

Result<bool> BudgetedGpu::settle(const llama_context* context, plan::DeviceBudget& estimate) {
  const ContextMemory memory = context_memory(context, device->buffer_types());
  const Bytes expected = share.kv_cache + share.weights + share.experts;
  share.experts = device->expert_bytes();
  share.weights = device->weight_bytes() - share.experts;
  share.kv_cache = memory.kv_cache;
  share.compute = memory.compute;
  BRIMFUL_TRY_VOID(device->settle(share.kv_cache, share.compute));
  const Bytes needed =
      share.weights + share.experts + share.kv_cache + share.compute + share.ring + share.runtime;
  share.unused = saturating_sub(share.budget, needed);
  estimate.compute = share.compute + saturating_sub(share.weights + share.experts + share.kv_cache, expected);
  return needed <= share.budget;
}

Status BudgetedGpu::check_budget(Bytes budget) const {
  std::size_t free = 0;
  std::size_t total = 0;
  ggml_backend_dev_memory(device->inner(), &free, &total);
  const Bytes there = std::min(Bytes{total}, Bytes{free} + share.peak());
  if (budget > there) {
    return fail(ErrorCode::kInfeasible,
                fmt::format("{}: of its {}, other programs leave {}: a budget of {} is more", name(),
                            format_bytes(Bytes{total}), format_bytes(there), format_bytes(budget)));
  }
  if (const auto takes = driver.measured(); takes && budget <= *takes) {
    return fail(ErrorCode::kInfeasible,
                fmt::format("{}: its driver alone holds {} for this process: a budget of {} is less", name(),
                            format_bytes(*takes), format_bytes(budget)));
  }
  return {};
}

}  // namespace brimful::engine
