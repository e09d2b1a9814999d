// NVML: what another process sees of the cards. It takes no lock, because brimful asks it in a child of
// fork().
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "journal.h"
#include "settings.h"
#include "vram.h"

#define STAND_IN_EXPORT extern "C" __attribute__((visibility("default")))

namespace stand_in {
namespace {

constexpr int kNotFound = 6;
constexpr int kTooSmall = 7;

struct Memory {
  unsigned long long total, free, used;
};
struct Process {
  unsigned pid;
  unsigned long long memory;
  unsigned instance, compute_instance;
};
struct PciInfo {
  char legacy_id[16];
  unsigned domain, bus, device, device_id, subsystem_id;
  char id[32];
};

/// A handle is the card's number, counted from 1.
int card_of(void* handle) { return static_cast<int>(reinterpret_cast<std::uintptr_t>(handle)) - 1; }

}  // namespace
}  // namespace stand_in

using namespace stand_in;

STAND_IN_EXPORT int nvmlInit_v2() { return 0; }
STAND_IN_EXPORT int nvmlShutdown() { return 0; }
STAND_IN_EXPORT const char* nvmlErrorString(int) { return "an error of the stand-in"; }
STAND_IN_EXPORT int nvmlSystemGetDriverVersion(char* version, unsigned size) {
  std::snprintf(version, size, "580.0");
  return 0;
}
STAND_IN_EXPORT int nvmlDeviceGetCount_v2(unsigned* count) {
  *count = static_cast<unsigned>(settings().cards);
  return 0;
}
STAND_IN_EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** device) {
  if (index >= settings().cards) return kNotFound;
  *device = reinterpret_cast<void*>(static_cast<std::uintptr_t>(index) + 1);
  return 0;
}
STAND_IN_EXPORT int nvmlDeviceGetName(void*, char* name, unsigned size) {
  std::snprintf(name, size, "NVIDIA stand-in");
  return 0;
}
STAND_IN_EXPORT int nvmlDeviceGetMemoryInfo(void* device, Memory* memory) {
  const std::uint64_t free = free_bytes(card_of(device));
  *memory = {settings().total, free, settings().total - free};
  return 0;
}
STAND_IN_EXPORT int nvmlDeviceGetComputeRunningProcesses_v3(void* device, unsigned* count,
                                                            Process* processes) {
  Line("nvml");
  const std::vector<Holder> found = holders(card_of(device));
  const unsigned room = *count;
  *count = static_cast<unsigned>(found.size());
  if (found.size() > room) return kTooSmall;
  for (std::size_t i = 0; i < found.size(); ++i) processes[i] = {found[i].pid, found[i].bytes, ~0U, ~0U};
  return 0;
}
STAND_IN_EXPORT int nvmlDeviceGetGraphicsRunningProcesses_v3(void*, unsigned* count, Process*) {
  *count = 0;
  return 0;
}
STAND_IN_EXPORT int nvmlDeviceGetPciInfo_v3(void* device, PciInfo* pci) {
  std::memset(pci, 0, sizeof *pci);
  pci->bus = static_cast<unsigned>(card_of(device)) + 1;
  return 0;
}
STAND_IN_EXPORT int nvmlDeviceGetMaxPcieLinkGeneration(void*, unsigned* generation) {
  *generation = 4;
  return 0;
}
STAND_IN_EXPORT int nvmlDeviceGetMaxPcieLinkWidth(void*, unsigned* width) {
  *width = 16;
  return 0;
}
