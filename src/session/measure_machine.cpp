#include "session/measure_machine.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "engine/backends.h"
#include "engine/llama_log.h"
#include "hardware/visible_gpus.h"
#include "tier/gpu/gpu_device.h"

namespace brimful::session {

Result<hardware::Profile> measure_machine(
    const model::ModelProfile* model, int threads, probe::Refresh refresh, Links links,
    const std::function<void(std::string_view what, int done, int steps)>& progress) {
  engine::capture_llama_logs();
  probe::ProbeOptions options{.threads = threads, .model = model, .refresh = refresh, .progress = progress};
  const auto with_visible_gpus = [](Result<hardware::Profile> machine) {
    if (machine) machine->gpus = hardware::visible_gpus(machine->gpus, hardware::visible_devices());
    return machine;
  };
  if (links == Links::kLeaveOut) return with_visible_gpus(probe::probe(options));
  options.devices = []() -> Result<std::vector<ggml_backend_dev_t>> {
    const std::vector<std::string> problems = engine::load_back_ends();
    std::vector<ggml_backend_dev_t> devices = tier::gpu_devices();
    if (devices.empty() && !problems.empty())
      return fail(ErrorCode::kUnsupported, fmt::format("{}", fmt::join(problems, "; ")));
    return devices;
  };
  return with_visible_gpus(probe::probe(options));
}

}  // namespace brimful::session
