// Replaces NVIDIA's management library in tests. The macro FAKE_NVML says how it behaves. Environment
// variables change the first card, also while a test runs:
//   FAKE_NVML_ALLOCATED, FAKE_NVML_RESERVED   MiB that programs hold, and that the driver keeps
//   FAKE_NVML_OWN                             MiB that the list has for the process that asks; 0: no entry
//   FAKE_NVML_LIST                            the list of that entry: compute, mps; none: there are no lists
//   FAKE_NVML_SCREEN                          1: a screen is in use, and no process is listed as drawing
//   FAKE_NVML_INSTANCES                       the number of instances of a divided card
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <string>
#include <string_view>

#include <unistd.h>

namespace {

enum Behaviour { good, older, divided, broken, not_loaded, crashing, hanging, lying, leaving };

constexpr unsigned long long kMiB = 1 << 20;

struct Card {
  const char* name;
  unsigned long long total, allocated, reserved;
  unsigned generation, width;
  unsigned bits, megahertz;  // of its memory
};
constexpr Card kCards[] = {
    {"NVIDIA GeForce RTX 3060", 12288 * kMiB, 768 * kMiB, 256 * kMiB, 4, 16, 192, 7501},
    {"NVIDIA GeForce GTX 1080", 8192 * kMiB, 512 * kMiB, 0, 3, 4, 256, 0},
};
/// What the first card consists of when it is divided. There is none at the index 1.
constexpr Card kInstances[] = {
    {"NVIDIA RTX 3060 MIG 1g.3gb", 3072 * kMiB, 64 * kMiB, 32 * kMiB, 4, 16, 0, 0},
    {},
    {"NVIDIA RTX 3060 MIG 2g.6gb", 6144 * kMiB, 512 * kMiB, 64 * kMiB, 4, 16, 0, 0},
};
struct Memory {
  unsigned long long total, free, used;
};
struct MemoryV2 {
  unsigned version;
  unsigned long long total, reserved, free, used;
};
constexpr int kInvalidArgument = 2;
constexpr int kNotSupported = 3;
constexpr int kNotFound = 6;
constexpr int kVersionMismatch = 25;

const Card* card(void* device) { return static_cast<const Card*>(device); }

unsigned long long mib_of(const char* variable, unsigned long long usual) {
  const char* const value = std::getenv(variable);
  return value != nullptr ? std::strtoull(value, nullptr, 10) * kMiB : usual;
}
std::string_view list() {
  const char* const value = std::getenv("FAKE_NVML_LIST");
  return value != nullptr ? value : "compute";
}
unsigned long long reserved(void* device) {
  return device == &kCards[0] ? mib_of("FAKE_NVML_RESERVED", kCards[0].reserved) : card(device)->reserved;
}
unsigned long long allocated(void* device) {
  return device == &kCards[0] ? mib_of("FAKE_NVML_ALLOCATED", kCards[0].allocated) : card(device)->allocated;
}
unsigned long long free_of(void* device) {
  return card(device)->total - allocated(device) - reserved(device);
}
bool is_instance(void* device) { return device >= std::begin(kInstances) && device < std::end(kInstances); }

}  // namespace

extern "C" {

int nvmlInit_v2() {
  switch (FAKE_NVML) {
    case broken: return 18;
    case not_loaded: return 9;
    case crashing: std::raise(SIGSEGV); break;
    case hanging:
      for (;;) pause();
    case leaving: _exit(0);
    default: break;
  }
  return 0;
}
int nvmlShutdown() { return 0; }
const char* nvmlErrorString(int code) {
  return code == 18 ? "Driver/library version mismatch" : code == 9 ? "Driver Not Loaded" : "Not Found";
}
int nvmlSystemGetDriverVersion(char* version, unsigned size) {
  std::strncpy(version, "550.54.14", size);
  return 0;
}
int nvmlDeviceGetCount_v2(unsigned* count) {
  *count = std::size(kCards);
  return 0;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** device) {
  if (index >= std::size(kCards)) return kNotFound;
  *device = const_cast<Card*>(&kCards[index]);
  return 0;
}
int nvmlDeviceGetName(void* device, char* name, unsigned size) {
  std::strncpy(name, card(device)->name, size);
  return 0;
}
int nvmlDeviceGetMemoryInfo(void* device, Memory* memory) {
  *memory = {card(device)->total, free_of(device), allocated(device) + reserved(device)};
  if (FAKE_NVML == lying) memory->free = memory->total * 2;
  return 0;
}
int nvmlDeviceGetMemoryInfo_v2(void* device, MemoryV2* memory) {
  if (FAKE_NVML == older || FAKE_NVML == lying || device == &kCards[1]) return kNotSupported;
  if (memory->version != (sizeof(MemoryV2) | 2U << 24U)) return kVersionMismatch;
  *memory = {memory->version, card(device)->total, reserved(device), free_of(device), allocated(device)};
  return 0;
}
struct Process {
  unsigned pid;
  unsigned long long memory;
  unsigned instance, compute_instance;
};
/// The entry of the process that asks, which has started the one that calls this library.
Process own() { return {static_cast<unsigned>(getppid()), mib_of("FAKE_NVML_OWN", 256 * kMiB), ~0U, ~0U}; }
int nvmlDeviceGetComputeRunningProcesses_v3(void* device, unsigned* count, Process* processes) {
  if (is_instance(device) && *count > 0) {
    *count = 1;
    processes[0] = own();
    return 0;
  }
  if (device != &kCards[0] || list() == "none" || *count < 3) return kNotSupported;
  *count = 2;
  processes[0] = {4711, 768 * kMiB, ~0U, ~0U};
  processes[1] = {4712, ~0ULL, ~0U, ~0U};  // The memory of this process is not known.
  if (list() == "compute" && own().memory > 0) processes[(*count)++] = own();
  return 0;
}
int nvmlDeviceGetMPSComputeRunningProcesses_v3(void* device, unsigned* count, Process* processes) {
  if (device != &kCards[0] || list() != "mps" || *count < 1) return kNotSupported;
  *count = 1;
  processes[0] = own();
  return 0;
}
int nvmlDeviceGetGraphicsRunningProcesses_v3(void* device, unsigned* count, Process* processes) {
  if (device != &kCards[0] || list() == "none" || std::getenv("FAKE_NVML_SCREEN") != nullptr)
    return kNotSupported;
  if (*count < 2) return kNotSupported;
  *count = 2;
  processes[0] = {4711, 768 * kMiB, ~0U, ~0U};  // This process also computes.
  processes[1] = {4713, 1 * kMiB, ~0U, ~0U};
  return 0;
}
int nvmlDeviceGetDisplayActive(void* device, unsigned* active) {
  const char* const screen = std::getenv("FAKE_NVML_SCREEN");
  *active = device == &kCards[0] && screen != nullptr && std::string_view(screen) == "1" ? 1 : 0;
  return 0;
}
int nvmlDeviceGetMigMode(void* device, unsigned* now, unsigned* after_reset) {
  if (device == &kCards[1]) return kNotSupported;
  *now = *after_reset = FAKE_NVML == divided ? 1 : 0;
  return 0;
}
int nvmlDeviceGetMaxMigDeviceCount(void*, unsigned* count) {
  *count = std::size(kInstances);
  return 0;
}
int nvmlDeviceGetMigDeviceHandleByIndex(void* device, unsigned index, void** instance) {
  if (device != &kCards[0] || index >= std::size(kInstances)) return kInvalidArgument;
  const char* const number = std::getenv("FAKE_NVML_INSTANCES");
  const unsigned long there = number != nullptr ? std::strtoul(number, nullptr, 10) : 2;
  if (index / 2 >= there || kInstances[index].name == nullptr) return kNotFound;
  *instance = const_cast<Card*>(&kInstances[index]);
  return 0;
}
int nvmlDeviceGetUUID(void* device, char* uuid, unsigned size) {
  const std::string text = is_instance(device) ? std::string("MIG-instance-of-") +
                                                     (card(device)->total > 4096 * kMiB ? "6" : "3") + "-gib"
                                               : "GPU-whole";
  std::strncpy(uuid, text.c_str(), size);
  return 0;
}
struct PciInfo {
  char legacy_id[16];
  unsigned domain, bus, device, device_id, subsystem_id;
  char id[32];
};
int nvmlDeviceGetPciInfo_v3(void* device, PciInfo* pci) {
  if (device != &kCards[0]) return kNotSupported;
  pci->domain = 0;
  pci->bus = 0xc1;
  pci->device = 2;
  return 0;
}
int nvmlDeviceGetMaxPcieLinkGeneration(void* device, unsigned* generation) {
  *generation = card(device)->generation;
  return 0;
}
int nvmlDeviceGetMaxPcieLinkWidth(void*, unsigned*) { return kNotSupported; }
int nvmlDeviceGetCurrPcieLinkGeneration(void*, unsigned* generation) {
  *generation = 1;
  return 0;
}
int nvmlDeviceGetCurrPcieLinkWidth(void* device, unsigned* width) {
  *width = card(device)->width;
  return 0;
}
int nvmlDeviceGetMemoryBusWidth(void* device, unsigned* bits) {
  *bits = card(device)->bits;
  return 0;
}
int nvmlDeviceGetMaxClockInfo(void* device, int clock, unsigned* megahertz) {
  *megahertz = card(device)->megahertz;
  return clock == 2 && *megahertz > 0 ? 0 : kNotSupported;
}

}  // extern "C"
