#include "hardware/nvml.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

namespace brimful::hardware {
namespace {

// NVML's documented ABI: https://docs.nvidia.com/deploy/nvml-api
using Code = int;
using Device = struct nvmlDevice_st*;
struct Memory {
  unsigned long long total, free, used;
};
struct Process {
  unsigned pid;
  unsigned long long memory;  // All bits are set when it is not known.
  unsigned instance, compute_instance;
};
struct PciInfo {
  char legacy_id[16];
  unsigned domain, bus, device, device_id, subsystem_id;
  char id[32];
};
constexpr Code kSuccess = 0;
constexpr unsigned kMostProcesses = 256;
constexpr unsigned kNameSize = 96;
constexpr unsigned kVersionSize = 80;

using Numbers = Code (*)(Device, unsigned*);

/// The functions of NVML that are called. Those that only some versions have may be null.
struct Nvml {
  Code (*init)() = nullptr;
  Code (*shutdown)() = nullptr;
  Code (*count)(unsigned*) = nullptr;
  Code (*handle)(unsigned, Device*) = nullptr;
  Code (*name)(Device, char*, unsigned) = nullptr;
  Code (*memory)(Device, Memory*) = nullptr;
  Code (*pci)(Device, PciInfo*) = nullptr;
  // For processes that compute, and for those that draw.
  std::array<Code (*)(Device, unsigned*, Process*), 2> processes{};
  Numbers max_generation = nullptr;
  Numbers max_width = nullptr;
  Numbers current_generation = nullptr;
  Numbers current_width = nullptr;
  Code (*driver)(char*, unsigned) = nullptr;
  const char* (*error_string)(Code) = nullptr;
};

template <typename Function>
bool bind(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(::dlsym(library, name));
  return function != nullptr;
}

std::optional<Nvml> load(void* library) {
  Nvml nvml;
  bind(library, "nvmlDeviceGetPciInfo_v3", nvml.pci);
  bind(library, "nvmlDeviceGetComputeRunningProcesses_v3", nvml.processes[0]);
  bind(library, "nvmlDeviceGetGraphicsRunningProcesses_v3", nvml.processes[1]);
  bind(library, "nvmlDeviceGetMaxPcieLinkGeneration", nvml.max_generation);
  bind(library, "nvmlDeviceGetMaxPcieLinkWidth", nvml.max_width);
  bind(library, "nvmlDeviceGetCurrPcieLinkGeneration", nvml.current_generation);
  bind(library, "nvmlDeviceGetCurrPcieLinkWidth", nvml.current_width);
  bind(library, "nvmlSystemGetDriverVersion", nvml.driver);
  bind(library, "nvmlErrorString", nvml.error_string);
  bind(library, "nvmlShutdown", nvml.shutdown);
  if (bind(library, "nvmlInit_v2", nvml.init) && bind(library, "nvmlDeviceGetCount_v2", nvml.count) &&
      bind(library, "nvmlDeviceGetHandleByIndex_v2", nvml.handle) &&
      bind(library, "nvmlDeviceGetName", nvml.name) && bind(library, "nvmlDeviceGetMemoryInfo", nvml.memory))
    return nvml;
  return std::nullopt;
}

/// Returns the best value that the link can have, because cards slow the link down while they idle; else the
/// present one. Nullopt when neither is known.
std::optional<std::uint32_t> link(Numbers most, Numbers now, Device device) {
  for (const Numbers ask : {most, now}) {
    unsigned value = 0;
    if (ask != nullptr && ask(device, &value) == kSuccess && value > 0) return value;
  }
  return std::nullopt;
}

/// Returns the processes on the device. Empty when the driver does not tell, or when there are too many. A
/// process that computes and draws is in both of the driver's lists, each time with all of its memory.
std::vector<GpuProcess> processes(const Nvml& nvml, Device device) {
  std::vector<GpuProcess> out;
  for (const auto ask : nvml.processes) {
    std::vector<Process> found(kMostProcesses);
    auto count = kMostProcesses;
    if (ask == nullptr || ask(device, &count, found.data()) != kSuccess) continue;
    found.resize(std::min(count, kMostProcesses));
    for (const Process& process : found) {
      if (process.memory == ~0ULL) continue;
      const auto known = std::ranges::find(out, process.pid, &GpuProcess::pid);
      if (known == out.end()) {
        out.push_back({process.pid, Bytes{process.memory}});
      } else {
        known->used = std::max(known->used, Bytes{process.memory});
      }
    }
  }
  return out;
}

Code describe(const Nvml& nvml, unsigned index, const std::optional<std::string>& driver, Gpu& gpu) {
  Device device = nullptr;
  if (const Code code = nvml.handle(index, &device); code != kSuccess) return code;
  std::array<char, kNameSize + 1> name{};
  if (nvml.name(device, name.data(), kNameSize) == kSuccess) gpu.name = name.data();
  Memory memory{};
  if (const Code code = nvml.memory(device, &memory); code != kSuccess) return code;
  gpu.total = Bytes{memory.total};
  gpu.free = Bytes{memory.free};
  gpu.used = Bytes{memory.used};
  gpu.pcie_generation = link(nvml.max_generation, nvml.current_generation, device);
  gpu.pcie_width = link(nvml.max_width, nvml.current_width, device);
  gpu.driver = driver;
  PciInfo pci{};
  if (nvml.pci != nullptr && nvml.pci(device, &pci) == kSuccess)
    gpu.pci_address = fmt::format("{:04x}:{:02x}:{:02x}.0", pci.domain, pci.bus, pci.device);
  gpu.processes = processes(nvml, device);
  return kSuccess;
}

}  // namespace

NvmlAnswer ask_nvml(const std::string& path) {
  NvmlAnswer answer;
  void* const library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return answer;
  answer.loaded = true;
  const auto nvml = load(library);
  const auto failed = [&](Code code) {
    answer.error = code;
    const char* text = nvml->error_string != nullptr ? nvml->error_string(code) : nullptr;
    answer.error_text = text != nullptr ? text : "error " + std::to_string(code);
  };
  if (!nvml) {
    answer.error = -1;
    answer.error_text = "it lacks functions that brimful needs";
    return answer;
  }
  if (const Code code = nvml->init(); code != kSuccess) {
    failed(code);
    return answer;
  }
  std::array<char, kVersionSize + 1> version{};
  std::optional<std::string> driver;
  if (nvml->driver != nullptr && nvml->driver(version.data(), kVersionSize) == kSuccess)
    driver = version.data();
  unsigned count = 0;
  if (const Code code = nvml->count(&count); code != kSuccess) failed(code);
  for (unsigned i = 0; i < count; ++i) {
    Gpu gpu;
    if (const Code code = describe(*nvml, i, driver, gpu); code == kSuccess)
      answer.gpus.push_back(std::move(gpu));
    else
      failed(code);
  }
  if (nvml->shutdown != nullptr) nvml->shutdown();
  return answer;
}

}  // namespace brimful::hardware
