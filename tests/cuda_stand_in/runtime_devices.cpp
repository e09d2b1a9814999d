// The CUDA runtime: cards, and errors.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <utility>

#include "runtime.h"
#include "settings.h"
#include "tensors.h"
#include "vram.h"

namespace stand_in {
namespace {

thread_local cudaError_t last_error = cudaSuccess;
thread_local int card_of_thread = 0;

/// The last line of the journal. A process that ggml ends does not come here.
struct AtEnd {
  ~AtEnd() {
    const Totals& t = totals();
    Line line("end");
    line.with("kernels", t.kernels).with("graph_launches", t.graph_launches).with("captures", t.captures);
    line.with("instantiations", t.instantiations).with("waits", t.waits);
    line.with("pinned_copies", t.pinned_copies).with("pageable_copies", t.pageable_copies);
    line.with("blocking_copies", t.blocking_copies).with("to_card", t.to_card).with("from_card", t.from_card);
    line.with("allocations", allocations());
    for (int card = 0; card < static_cast<int>(settings().cards); ++card)
      line.with("peak" + std::to_string(card), peak(card));
  }
} at_end;

bool exists(int card) { return card >= 0 && card < static_cast<int>(settings().cards); }

}  // namespace

cudaError_t error(cudaError_t code) {
  if (code != cudaSuccess) last_error = code;
  return code;
}
int current_card() { return card_of_thread; }
cudaError_t start(const char* function) {
  return start_context(card_of_thread, function) ? cudaSuccess : error(cudaErrorMemoryAllocation);
}
Stream& stream(cudaStream_t handle) { return stream_of(handle, card_of_thread); }
Totals& totals() {
  static Totals counts;
  return counts;
}

}  // namespace stand_in

using namespace stand_in;

STAND_IN_EXPORT cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }
STAND_IN_EXPORT cudaError_t cudaPeekAtLastError() { return last_error; }
STAND_IN_EXPORT const char* cudaGetErrorString(cudaError_t code) {
  switch (code) {
    case cudaSuccess: return "no error";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorInvalidResourceHandle: return "invalid resource handle";
    default: return "an error of the stand-in";
  }
}
STAND_IN_EXPORT const char* cudaGetErrorName(cudaError_t code) { return cudaGetErrorString(code); }

STAND_IN_EXPORT cudaError_t cudaGetDeviceCount(int* count) {
  const Lock lock(all());
  static const bool watched = (watch_plug_in(), true);
  static_cast<void>(watched);
  *count = static_cast<int>(settings().cards);
  return *count > 0 ? cudaSuccess : error(cudaErrorNoDevice);
}
STAND_IN_EXPORT cudaError_t cudaGetDevice(int* card) {
  *card = card_of_thread;
  return cudaSuccess;
}
STAND_IN_EXPORT cudaError_t cudaSetDevice(int card) {
  const Lock lock(all());
  if (!exists(card)) return error(cudaErrorInvalidDevice);
  card_of_thread = card;
  return start("cudaSetDevice");  // since CUDA 12
}
STAND_IN_EXPORT cudaError_t cudaSetDeviceFlags(unsigned) { return cudaSuccess; }

STAND_IN_EXPORT cudaError_t cudaGetDeviceProperties(cudaDeviceProp* out, int card) {
  if (!exists(card)) return error(cudaErrorInvalidDevice);
  const Settings& now = settings();
  std::memset(out, 0, sizeof *out);
  std::strcpy(out->name, "NVIDIA stand-in");
  out->totalGlobalMem = now.total;
  out->major = static_cast<int>(now.capability / 10);
  out->minor = static_cast<int>(now.capability % 10);
  out->multiProcessorCount = 28;
  out->sharedMemPerBlock = 49152;
  out->sharedMemPerBlockOptin = 101376;
  out->sharedMemPerMultiprocessor = 102400;
  out->warpSize = 32;
  out->maxThreadsPerBlock = 1024;
  out->maxThreadsPerMultiProcessor = 1536;
  out->regsPerBlock = out->regsPerMultiprocessor = 65536;
  out->unifiedAddressing = 1;
  return cudaSuccess;
}
STAND_IN_EXPORT cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int card) {
  cudaDeviceProp prop;
  if (const cudaError_t code = cudaGetDeviceProperties(&prop, card); code != cudaSuccess) return code;
  switch (attribute) {
    case cudaDevAttrCooperativeLaunch: *value = 1; break;
    case cudaDevAttrComputeCapabilityMajor: *value = prop.major; break;
    case cudaDevAttrComputeCapabilityMinor: *value = prop.minor; break;
    case cudaDevAttrMultiProcessorCount: *value = prop.multiProcessorCount; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = static_cast<int>(prop.sharedMemPerBlock); break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(prop.sharedMemPerBlockOptin);
      break;
    case cudaDevAttrWarpSize: *value = 32; break;
    case cudaDevAttrMaxGridDimX: *value = 2147483647; break;
    case cudaDevAttrMaxGridDimY:
    case cudaDevAttrMaxGridDimZ: *value = 65535; break;
    default:
      broken("attributes",
             "the stand-in does not know attribute " + std::to_string(static_cast<int>(attribute)));
      return error(cudaErrorInvalidValue);
  }
  return cudaSuccess;
}
STAND_IN_EXPORT cudaError_t cudaDeviceGetPCIBusId(char* text, int size, int card) {
  if (!exists(card)) return error(cudaErrorInvalidDevice);
  std::snprintf(text, static_cast<std::size_t>(size), "0000:%02X:00.0", card + 1);
  return cudaSuccess;
}
STAND_IN_EXPORT cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) {
  *can = 0;
  return cudaSuccess;
}
STAND_IN_EXPORT cudaError_t cudaDeviceEnablePeerAccess(int, unsigned) {
  return error(cudaErrorInvalidDevice);
}
STAND_IN_EXPORT cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
STAND_IN_EXPORT cudaError_t cudaRuntimeGetVersion(int* version) { return cudaDriverGetVersion(version); }

STAND_IN_EXPORT cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  const Lock lock(all());
  if (const cudaError_t code = start("cudaMemGetInfo"); code != cudaSuccess) return code;
  *free = free_bytes(card_of_thread);
  *total = settings().total;
  return cudaSuccess;
}
STAND_IN_EXPORT cudaError_t cudaDeviceSynchronize() {
  const Lock lock(all());
  if (const cudaError_t code = start("cudaDeviceSynchronize"); code != cudaSuccess) return code;
  ++totals().waits;
  host_waits_for_card(card_of_thread);
  return cudaSuccess;
}
