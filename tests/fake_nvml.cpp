// Replaces NVIDIA's management library in tests. The variable FAKE_NVML says how it behaves.
#include <csignal>
#include <cstring>
#include <iterator>

#include <unistd.h>

namespace {

enum Behaviour { good, broken, not_loaded, crashing, hanging, lying, leaving };

struct Card {
  const char* name;
  unsigned long long total, free, used;
  unsigned generation, width;
};
constexpr Card kCards[] = {
    {"NVIDIA GeForce RTX 3060", 12884901888, 11811160064, 1073741824, 4, 16},
    {"NVIDIA GeForce GTX 1080", 8589934592, 8053063680, 536870912, 3, 4},
};
struct Memory {
  unsigned long long total, free, used;
};
constexpr int kNotFound = 6;
constexpr int kNotSupported = 3;

const Card* card(void* device) { return static_cast<const Card*>(device); }

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
  *memory = {card(device)->total, card(device)->free, card(device)->used};
  if (FAKE_NVML == lying) memory->free = memory->total * 2;
  return 0;
}
struct Process {
  unsigned pid;
  unsigned long long memory;
  unsigned instance, compute_instance;
};
int nvmlDeviceGetComputeRunningProcesses_v3(void* device, unsigned* count, Process* processes) {
  if (device != &kCards[0]) return kNotSupported;
  if (*count < 3) return kNotSupported;
  *count = 3;
  processes[0] = {4711, 805306368, ~0U, ~0U};
  processes[1] = {4712, ~0ULL, ~0U, ~0U};  // The memory of this process is not known.
  // The process that started the one which asks.
  processes[2] = {static_cast<unsigned>(getppid()), 268435456, ~0U, ~0U};
  return 0;
}
int nvmlDeviceGetGraphicsRunningProcesses_v3(void* device, unsigned* count, Process* processes) {
  if (device != &kCards[0]) return kNotSupported;
  if (*count < 2) return kNotSupported;
  *count = 2;
  processes[0] = {4711, 805306368, ~0U, ~0U};  // This process also computes.
  processes[1] = {4713, 1048576, ~0U, ~0U};
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

}  // extern "C"
