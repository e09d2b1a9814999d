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
struct MemoryV2 {
  unsigned version;
  unsigned long long total, reserved, free, used;
};
constexpr unsigned kMemoryV2 = sizeof(MemoryV2) | 2U << 24U;
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
constexpr unsigned kUuidSize = 96;
constexpr unsigned kEnabled = 1;
constexpr int kMemoryClock = 2;

using Numbers = Code (*)(Device, unsigned*);

/// The functions of NVML that are called. Those that only some versions have may be null.
struct Nvml {
  Code (*init)() = nullptr;
  Code (*shutdown)() = nullptr;
  Code (*count)(unsigned*) = nullptr;
  Code (*handle)(unsigned, Device*) = nullptr;
  Code (*name)(Device, char*, unsigned) = nullptr;
  Code (*memory)(Device, Memory*) = nullptr;
  Code (*memory_v2)(Device, MemoryV2*) = nullptr;
  Code (*pci)(Device, PciInfo*) = nullptr;
  // For processes that compute, for those whose contexts a server holds (MPS), and for those that draw.
  std::array<Code (*)(Device, unsigned*, Process*), 3> processes{};
  Numbers display_active = nullptr;
  Code (*mig_mode)(Device, unsigned* now, unsigned* after_reset) = nullptr;
  Numbers most_instances = nullptr;
  Code (*instance)(Device, unsigned, Device*) = nullptr;
  Code (*uuid)(Device, char*, unsigned) = nullptr;
  Numbers max_generation = nullptr;
  Numbers max_width = nullptr;
  Numbers current_generation = nullptr;
  Numbers current_width = nullptr;
  Numbers bus_width = nullptr;                          // of the memory, in bits
  Code (*max_clock)(Device, int, unsigned*) = nullptr;  // in MHz
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
  bind(library, "nvmlDeviceGetMemoryInfo_v2", nvml.memory_v2);
  bind(library, "nvmlDeviceGetComputeRunningProcesses_v3", nvml.processes[0]);
  bind(library, "nvmlDeviceGetMPSComputeRunningProcesses_v3", nvml.processes[1]);
  bind(library, "nvmlDeviceGetGraphicsRunningProcesses_v3", nvml.processes[2]);
  bind(library, "nvmlDeviceGetDisplayActive", nvml.display_active);
  bind(library, "nvmlDeviceGetMigMode", nvml.mig_mode);
  bind(library, "nvmlDeviceGetMaxMigDeviceCount", nvml.most_instances);
  bind(library, "nvmlDeviceGetMigDeviceHandleByIndex", nvml.instance);
  bind(library, "nvmlDeviceGetUUID", nvml.uuid);
  bind(library, "nvmlDeviceGetMaxPcieLinkGeneration", nvml.max_generation);
  bind(library, "nvmlDeviceGetMaxPcieLinkWidth", nvml.max_width);
  bind(library, "nvmlDeviceGetCurrPcieLinkGeneration", nvml.current_generation);
  bind(library, "nvmlDeviceGetCurrPcieLinkWidth", nvml.current_width);
  bind(library, "nvmlDeviceGetMemoryBusWidth", nvml.bus_width);
  bind(library, "nvmlDeviceGetMaxClockInfo", nvml.max_clock);
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

/// Sets the processes on the device, and whether one of them draws. There are none when the driver does not
/// tell, or when there are too many. A process that computes and draws is in both of the driver's lists, each
/// time with all of its memory.
void read_processes(const Nvml& nvml, Device device, Gpu& gpu) {
  for (const auto ask : nvml.processes) {
    std::vector<Process> found(kMostProcesses);
    auto count = kMostProcesses;
    if (ask == nullptr || ask(device, &count, found.data()) != kSuccess) continue;
    found.resize(std::min(count, kMostProcesses));
    if (ask == nvml.processes.back() && !found.empty()) gpu.draws = true;
    for (const Process& process : found) {
      if (process.memory == ~0ULL) continue;
      const auto known = std::ranges::find(gpu.processes, process.pid, &GpuProcess::pid);
      if (known == gpu.processes.end()) {
        gpu.processes.push_back({process.pid, Bytes{process.memory}});
      } else {
        known->used = std::max(known->used, Bytes{process.memory});
      }
    }
  }
}

/// Sets the memory. The two versions of the call disagree whether `used` includes what is reserved, so it is
/// taken to be what is not free.
Code read_memory(const Nvml& nvml, Device device, Gpu& gpu) {
  MemoryV2 memory{.version = kMemoryV2, .total = 0, .reserved = 0, .free = 0, .used = 0};
  if (nvml.memory_v2 != nullptr && nvml.memory_v2(device, &memory) == kSuccess) {
    gpu.reserved = Bytes{memory.reserved};
  } else {
    Memory older{};
    if (const Code code = nvml.memory(device, &older); code != kSuccess) return code;
    memory.total = older.total;
    memory.free = older.free;
  }
  gpu.total = Bytes{memory.total};
  gpu.free = Bytes{memory.free};
  gpu.used = saturating_sub(gpu.total, gpu.free);
  return kSuccess;
}

/// The rate at which a whole card reads its memory: two transfers in each cycle of the clock. Nullopt when
/// the driver does not say the clock or the width.
std::optional<double> memory_rate(const Nvml& nvml, Device card) {
  unsigned bits = 0;
  unsigned megahertz = 0;
  if (nvml.bus_width == nullptr || nvml.bus_width(card, &bits) != kSuccess || bits == 0) return std::nullopt;
  if (nvml.max_clock == nullptr || nvml.max_clock(card, kMemoryClock, &megahertz) != kSuccess ||
      megahertz == 0)
    return std::nullopt;
  return 2e6 * megahertz * bits / 8;
}

/// Describes a card, or with `card` an instance of that one.
Code describe(const Nvml& nvml, Device device, Device card, Gpu& gpu) {
  std::array<char, kNameSize + 1> name{};
  if (nvml.name(device, name.data(), kNameSize) == kSuccess) gpu.name = name.data();
  if (const Code code = read_memory(nvml, device, gpu); code != kSuccess) return code;
  gpu.pcie_generation = link(nvml.max_generation, nvml.current_generation, card);
  gpu.pcie_width = link(nvml.max_width, nvml.current_width, card);
  if (device == card) gpu.memory_bytes_per_s = memory_rate(nvml, card);
  PciInfo pci{};
  if (nvml.pci != nullptr && nvml.pci(card, &pci) == kSuccess)
    gpu.pci_address = fmt::format("{:04x}:{:02x}:{:02x}.0", pci.domain, pci.bus, pci.device);
  unsigned active = 0;
  gpu.draws =
      nvml.display_active != nullptr && nvml.display_active(card, &active) == kSuccess && active == kEnabled;
  read_processes(nvml, device, gpu);
  return kSuccess;
}

bool is_divided(const Nvml& nvml, Device card) {
  unsigned now = 0;
  unsigned after_reset = 0;
  return nvml.mig_mode != nullptr && nvml.most_instances != nullptr && nvml.instance != nullptr &&
         nvml.uuid != nullptr && nvml.mig_mode(card, &now, &after_reset) == kSuccess && now == kEnabled;
}

/// Adds the instances of a divided card to `gpus`. Returns kNoInstance when there is none.
Code describe_instances(const Nvml& nvml, Device card, std::vector<Gpu>& gpus) {
  unsigned most = 0;
  if (const Code code = nvml.most_instances(card, &most); code != kSuccess) return code;
  Code result = kNoInstance;
  for (unsigned i = 0; i < most; ++i) {
    Device device = nullptr;
    std::array<char, kUuidSize + 1> uuid{};
    Gpu gpu;
    if (nvml.instance(card, i, &device) != kSuccess) continue;  // The numbers have gaps.
    if (nvml.uuid(device, uuid.data(), kUuidSize) != kSuccess) continue;
    if (describe(nvml, device, card, gpu) != kSuccess) continue;
    gpu.instance = uuid.data();
    gpus.push_back(std::move(gpu));
    result = kSuccess;
  }
  return result;
}

/// Adds what is at this index to `gpus`: a card, or the instances of a divided one.
Code describe_card(const Nvml& nvml, unsigned index, std::vector<Gpu>& gpus) {
  Device card = nullptr;
  if (const Code code = nvml.handle(index, &card); code != kSuccess) return code;
  if (is_divided(nvml, card)) return describe_instances(nvml, card, gpus);
  Gpu gpu;
  const Code code = describe(nvml, card, card, gpu);
  if (code == kSuccess) gpus.push_back(std::move(gpu));
  return code;
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
    if (code == kNoInstance) {
      answer.error_text = "MIG is on, and no instance is visible";
      return;
    }
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
    if (const Code code = describe_card(*nvml, i, answer.gpus); code != kSuccess) failed(code);
  }
  for (Gpu& gpu : answer.gpus) gpu.driver = driver;
  if (nvml->shutdown != nullptr) nvml->shutdown();
  return answer;
}

}  // namespace brimful::hardware
