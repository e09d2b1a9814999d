#include "session/devices.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <ranges>
#include <sstream>

#include "base/counted.h"
#include "engine/backends.h"
#include "plan/transfer_policy.h"
#include "probe/probe.h"
#include "tier/gpu/gpu_device.h"

namespace brimful::session {
namespace {

/// Returns the device that `part` names, or else the next one that is not taken; null when there is none.
ggml_backend_dev_t device_for(const VramPart& part, const std::vector<ggml_backend_dev_t>& devices,
                              const std::vector<ggml_backend_dev_t>& taken) {
  const auto wanted = std::ranges::find_if(devices, [&](ggml_backend_dev_t device) {
    if (part.name) return *part.name == ggml_backend_dev_name(device);
    return std::ranges::find(taken, device) == taken.end();
  });
  return wanted != devices.end() ? *wanted : nullptr;
}

/// Returns a device for each part; null for a part without one.
std::vector<ggml_backend_dev_t> devices_for(const std::vector<VramPart>& parts,
                                            const std::vector<ggml_backend_dev_t>& devices) {
  std::vector<ggml_backend_dev_t> out;
  out.reserve(parts.size());
  for (const VramPart& part : parts) out.push_back(device_for(part, devices, out));
  return out;
}

}  // namespace

Result<std::vector<VramPart>> parse_vram(const std::string& text, std::string_view option) {
  if (text.empty())
    return fail(ErrorCode::kInvalidArgument, fmt::format("{}: is empty: give a size, as in 8GiB", option));
  std::vector<VramPart> out;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    const std::size_t equals = part.find('=');
    const std::string number = equals == std::string::npos ? part : part.substr(equals + 1);
    const auto size = parse_bytes(number);
    if (!size) return fail(ErrorCode::kInvalidArgument, fmt::format("{}: {}", option, size.error().message));
    if (*size > Bytes{} && *size < kMiB && number.find_first_not_of("0123456789") == std::string::npos) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{} {}: a budget of {} holds no weights: use a unit, as in 8GiB", option, part,
                              counted(size->value, "byte")));
    }
    VramPart one{part, std::nullopt, *size};
    if (equals != std::string::npos) one.name = part.substr(0, equals);
    out.push_back(std::move(one));
  }
  return out;
}

std::vector<VramPart> vram_parts(const std::vector<VramBudget>& budgets) {
  std::vector<VramPart> out;
  for (const VramBudget& budget : budgets) {
    const std::string size = format_bytes(budget.bytes);
    if (budget.device.empty()) {
      out.push_back({size, std::nullopt, budget.bytes});
    } else {
      out.push_back({fmt::format("{}={}", budget.device, size), budget.device, budget.bytes});
    }
  }
  return out;
}

std::string unused_devices_note(const std::vector<VramPart>& parts, const std::vector<std::string>& used,
                                const std::vector<std::string>& all, std::string_view option) {
  const auto unnamed = std::ranges::find_if(parts, [](const VramPart& part) { return !part.name; });
  if (unnamed == parts.end() || used.empty() || used.size() >= all.size()) return {};
  std::string given;
  for (const VramPart& part : parts) given += (given.empty() ? "" : ",") + part.text;
  std::string named;
  for (const std::string& device : all)
    named += fmt::format("{}{}={}", named.empty() ? "" : ",", device, unnamed->text);
  return fmt::format("{0} {1} is the budget of {2} only, of the GPUs {3}; to use more, name each: {0} {4}",
                     option, given, fmt::join(used, ", "), fmt::join(all, ", "), named);
}

Result<std::vector<engine::OffloadOption>> offload_options(const std::vector<VramPart>& parts,
                                                           std::string_view option, const Notes& notes) {
  std::vector<ggml_backend_dev_t> devices = tier::gpu_devices();
  std::vector<ggml_backend_dev_t> chosen = devices_for(parts, devices);
  std::vector<std::string> problems;
  if (std::ranges::find(chosen, nullptr) != chosen.end()) {  // The devices of rpc-servers are not enough.
    problems = engine::load_back_ends();
    devices = tier::gpu_devices();
    chosen = devices_for(parts, devices);
  }
  if (devices.empty()) {
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("{0} {1}: {2}; or leave {0} out", option,
                    fmt::join(parts | std::views::transform(&VramPart::text), ","),
                    problems.empty() ? "no GPU can be used: scripts/build-back-end makes the back end of "
                                       "ggml for yours (cuda, vulkan or hip)"
                                     : fmt::format("{}", fmt::join(problems, "; "))));
  }
  std::string names;
  for (ggml_backend_dev_t const device : devices) names += fmt::format(" {}", ggml_backend_dev_name(device));
  for (const std::string& problem : problems) names += fmt::format("; {}", problem);
  std::vector<engine::OffloadOption> out;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto& [part, name, size] = parts[i];
    ggml_backend_dev_t const device = chosen[i];
    if (device == nullptr)
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{} {}: the GPUs here are{}", option, part, names));
    if (std::ranges::find(out, device, &engine::OffloadOption::device) != out.end())
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{} {}: {} has a budget already", option, part, ggml_backend_dev_name(device)));
    std::size_t free = 0;
    std::size_t total = 0;
    ggml_backend_dev_memory(device, &free, &total);
    if (size > Bytes{total}) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{} {}: {} has {} in all", option, part, ggml_backend_dev_name(device),
                              format_bytes(Bytes{total})));
    }
    if (size > Bytes{}) out.push_back({device, size});
  }
  std::vector<std::string> used;
  used.reserve(out.size());
  for (const engine::OffloadOption& gpu : out) used.emplace_back(ggml_backend_dev_name(gpu.device));
  std::vector<std::string> all;
  all.reserve(devices.size());
  for (ggml_backend_dev_t const device : devices) all.emplace_back(ggml_backend_dev_name(device));
  if (const std::string note = unused_devices_note(parts, used, all, option); !note.empty()) notes(note);
  return out;
}

plan::TransferPolicy measured_transfer_policy(const model::ModelProfile& model, int threads,
                                              ggml_backend_dev_t device) {
  const auto machine = probe::known({.threads = threads, .model = &model});
  if (!machine) return plan::assumed_transfer_policy(model);
  const std::string card = ggml_backend_dev_description(device);
  const auto gpu = std::ranges::find(machine->gpus, card, &hardware::Gpu::name);
  if (gpu == machine->gpus.end()) return plan::assumed_transfer_policy(model);
  return plan::measured_transfer_policy(model, machine->compute, gpu->host_to_device_bytes_per_s);
}

}  // namespace brimful::session
