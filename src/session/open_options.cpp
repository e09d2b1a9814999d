#include "session/open_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

#include "base/user_folders.h"
#include "engine/driver_account.h"
#include "hardware/compute_threads.h"
#include "plan/placement_rules.h"

namespace brimful::session {
namespace {

/// Sets the numbers of threads, with a note where one of the user's is lowered.
void set_threads(const OpenRequest& request, const plan::OptionNames& names, engine::OpenOptions& out) {
  const hardware::ComputeLimits limits = hardware::read_compute_limits();
  const auto choose = [&](std::optional<int> wanted, const std::string& name) {
    const hardware::ThreadChoice choice = hardware::choose_threads(wanted, limits, name);
    if (choice.note) out.notes.push_back(*choice.note);
    return choice.threads;
  };
  out.threads = choose(request.threads, names.threads);
  out.threads_batch =
      request.threads_batch ? choose(request.threads_batch, names.threads_batch) : out.threads;
}

}  // namespace

int computing_threads(std::optional<std::uint32_t> wanted) {
  std::optional<int> number;
  if (wanted) number = static_cast<int>(std::min<std::uint32_t>(*wanted, INT32_MAX));
  return hardware::choose_threads(number, hardware::read_compute_limits(), "threads").threads;
}

Result<engine::OpenOptions> open_options(const OpenRequest& request, const plan::OptionNames& names,
                                         const Notes& notes) {
  engine::OpenOptions out;
  out.model = request.model;
  out.ram = request.ram;
  out.names = names;
  set_threads(request, names, out);
  out.make_reader = [kind = request.reader](const tier::DiskFiles& files, std::size_t depth) {
    return tier::make_reader(files, kind, depth);
  };
  const auto adapters = [](const std::vector<Adapter>& given) {
    std::vector<engine::AdapterOption> all;
    all.reserve(given.size());
    for (const Adapter& one : given) all.push_back({one.file, one.scale});
    return all;
  };
  out.loras = adapters(request.loras);
  out.control_vectors = adapters(request.control_vectors);
  out.expert_heat = std::make_shared<engine::ExpertHeatFile>(state_folder() / "experts");
  if (!request.draft_model.empty()) out.draft_model = request.draft_model;
  const Placement& placement = request.placement;
  const bool places = placement.gpu_layers || placement.cpu_expert_layers || !placement.rules.empty();
  if (request.vram.empty() && places)
    return fail(ErrorCode::kInvalidArgument, fmt::format("{} need {}: say with it how much VRAM may be used",
                                                         names.placement, names.vram));
  if (request.vram.empty()) return out;
  const auto account = std::make_shared<engine::DriverAccount>();
  out.held_on_device = [account](ggml_backend_dev_t device) { return account->held_on(device); };
  out.driver_figures = std::make_shared<engine::DriverFigures>(cache_folder() / "drivers.json");
  BRIMFUL_TRY(out.offload, offload_options(request.vram, *account, names.vram, notes));
  std::vector<std::string> devices;
  devices.reserve(out.offload.size());
  for (const engine::OffloadOption& option : out.offload)
    devices.emplace_back(ggml_backend_dev_name(option.device));
  BRIMFUL_TRY(out.placement_filter, plan::placement_rules(placement.gpu_layers, placement.cpu_expert_layers,
                                                          placement.rules, devices, names.placement_rules));
  if (!out.offload.empty()) {
    out.transfer_policy = [threads = out.threads,
                           device = out.offload.front().device](const model::ModelProfile& model) {
      return measured_transfer_policy(model, threads, device);
    };
    out.host_layout = [threads = out.threads,
                       device = out.offload.front().device](const model::ModelProfile& model) {
      return measured_host_layout(model, threads, device);
    };
  }
  return out;
}

}  // namespace brimful::session
