#include "hardware/gpu.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/json_text.h"
#include "hardware/child_process.h"
#include "hardware/fields.h"
#include "hardware/nvml.h"
#include "hardware/profile_json.h"
#include "hardware/system_text.h"

namespace brimful::hardware {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string to_text(const NvmlAnswer& answer) {
  json gpus = json::array();
  for (const Gpu& gpu : answer.gpus) {
    json& object = gpus.emplace_back(gpu_json(gpu));
    if (gpu.pci_address) object["pci_address"] = *gpu.pci_address;
    if (gpu.instance) object["instance"] = *gpu.instance;
    object["draws"] = gpu.draws;
    object["processes"] = json::array();
    for (const GpuProcess& process : gpu.processes)
      object["processes"].push_back({{"pid", process.pid}, {"used_bytes", process.used.value}});
  }
  const json object{{"loaded", answer.loaded},
                    {"error", answer.error},
                    {"error_text", answer.error_text},
                    {"gpus", std::move(gpus)}};
  return dump(object, -1);
}

/// Parses the answer. Returns nullopt when it makes no sense, such as more free memory than there is.
std::optional<NvmlAnswer> from_text(std::string_view text) {
  const auto parsed = parse_json(text);
  if (!parsed) return std::nullopt;
  const json& object = *parsed;
  if (!object.is_object() || !object.contains("error") || !object["error"].is_number_integer())
    return std::nullopt;
  std::string problem;
  Fields fields(object, "", problem);
  NvmlAnswer answer;
  answer.loaded = fields.flag("loaded");
  answer.error = object["error"].get<int>();
  answer.error_text = fields.text("error_text");
  for (Fields& gpu : fields.list("gpus")) {
    std::vector<GpuProcess> processes;
    for (Fields& process : gpu.list("processes"))
      processes.push_back({process.count("pid"), process.bytes("used_bytes")});
    auto address = gpu.maybe("pci_address", &Fields::text);
    auto instance = gpu.maybe("instance", &Fields::text);
    const bool draws = gpu.flag("draws");
    Gpu& card = answer.gpus.emplace_back(parse_gpu(std::move(gpu)));
    card.pci_address = std::move(address);
    card.instance = std::move(instance);
    card.draws = draws;
    card.processes = std::move(processes);
  }
  if (!problem.empty()) return std::nullopt;
  return answer;
}

std::string what_to_do(int error) {
  switch (error) {
    case kNvmlDriverNotLoaded: return "load or reinstall NVIDIA's driver";
    case kNvmlVersionMismatch: return "restart the machine: the driver was updated while it ran";
    case kNvmlNoPermission: return "give this user access to /dev/nvidia*";
    case kNoInstance: return "make one with nvidia-smi mig, or switch MIG off";
    default: return "see what nvidia-smi says, and reinstall NVIDIA's driver if it fails too";
  }
}

std::string without_library(const PciCard& card) {
  if (card.driver == "vfio-pci")
    return fmt::format("the NVIDIA card at {} is handed to a virtual machine (vfio-pci)", card.address);
  if (!card.driver.empty() && card.driver != "nvidia")
    return fmt::format(
        "the NVIDIA card at {} runs with the driver {}, which cannot compute: install NVIDIA's driver",
        card.address, card.driver);
  return fmt::format(
      "there is an NVIDIA card at {} and no NVIDIA driver that answers: install NVIDIA's driver",
      card.address);
}

std::optional<std::string> problem_of(const NvmlAnswer& answer, const std::vector<PciCard>& cards) {
  if (!answer.loaded) return cards.empty() ? std::nullopt : std::optional(without_library(cards.front()));
  if (answer.error == 0) return std::nullopt;
  if (answer.error == kNvmlDriverNotLoaded) {  // The library may be installed on a machine without a card.
    if (cards.empty()) return std::nullopt;
    if (cards.front().driver != "nvidia") return without_library(cards.front());
  }
  return fmt::format("NVIDIA's driver answers '{}'{}: {}", answer.error_text,
                     answer.gpus.empty() ? "" : " for one of the cards", what_to_do(answer.error));
}

std::string failure(const ChildEnd& end, std::chrono::milliseconds limit) {
  constexpr std::string_view kAdvice = "restart the machine, or reinstall NVIDIA's driver";
  switch (end.how) {
    case ChildEnd::How::kTimedOut:
      return fmt::format("NVIDIA's driver did not answer within {:.3g} s: {}",
                         std::chrono::duration<double>(limit).count(), kAdvice);
    case ChildEnd::How::kKilled:
      return fmt::format("NVIDIA's driver crashed when asked for its cards (signal {}): {}", end.signal,
                         kAdvice);
    case ChildEnd::How::kNotStarted:
      return "no process could be started to ask NVIDIA's driver: see whether the machine is out of memory "
             "or processes";
    default: return fmt::format("NVIDIA's driver gave an answer that cannot be read: {}", kAdvice);
  }
}

/// Whether Linux runs inside Windows (WSL), and shares the cards with it.
bool is_inside_windows(const fs::path& root) {
  const auto release = read_text(root / "proc/sys/kernel/osrelease");
  return release &&
         (release->find("microsoft") != std::string::npos || release->find("Microsoft") != std::string::npos);
}

}  // namespace

Gpus read_gpus(const GpuQuery& query) {
  const ChildEnd end = run_in_child([&] { return to_text(ask_nvml(query.library)); }, query.limit);
  auto answer = end.how == ChildEnd::How::kReturned ? from_text(end.text) : std::nullopt;
  if (!answer) return {{}, failure(end, query.limit)};
  if (is_inside_windows(query.root)) {  // Windows draws, too.
    for (Gpu& gpu : answer->gpus) gpu.draws = gpu.managed_by_windows = true;
  }
  auto problem = problem_of(*answer, read_nvidia_cards(query.root));
  return {std::move(answer->gpus), std::move(problem)};
}

std::vector<PciCard> read_nvidia_cards(const fs::path& root) {
  std::vector<PciCard> cards;
  std::error_code error;
  for (fs::directory_iterator device(root / "sys/bus/pci/devices", error);
       !error && device != fs::directory_iterator(); device.increment(error)) {
    const auto vendor = read_text(device->path() / "vendor");
    const auto kind = read_text(device->path() / "class");
    if (!vendor || !kind || trim(*vendor) != "0x10de" || !kind->starts_with("0x03")) continue;
    std::error_code none;
    const fs::path driver = fs::read_symlink(device->path() / "driver", none);
    cards.push_back({device->path().filename().string(), none ? std::string() : driver.filename().string()});
  }
  std::ranges::sort(cards, {}, &PciCard::address);
  return cards;
}

}  // namespace brimful::hardware
