// The CUDA runtime: streams and events.
#include "runtime.h"
#include "settings.h"
#include "vram.h"

namespace stand_in {
namespace {

Event& event(cudaEvent_t handle) { return *reinterpret_cast<Event*>(handle); }

}  // namespace
}  // namespace stand_in

using namespace stand_in;

STAND_IN_EXPORT cudaError_t cudaStreamCreateWithFlags(cudaStream_t* out, unsigned flags) {
  const Lock lock(all());
  *out = nullptr;
  if (const cudaError_t code = start("cudaStreamCreateWithFlags"); code != cudaSuccess) return code;
  if (!take(current_card(), Kind::driver, settings().stream, "cudaStreamCreateWithFlags"))
    return error(cudaErrorMemoryAllocation);
  *out = reinterpret_cast<cudaStream_t>(&make_stream(current_card(), (flags & cudaStreamNonBlocking) == 0));
  return cudaSuccess;
}
STAND_IN_EXPORT cudaError_t cudaStreamDestroy(cudaStream_t handle) {
  const Lock lock(all());
  Stream& gone = stream(handle);
  give(gone.card, Kind::driver, settings().stream, "cudaStreamDestroy");
  drop_stream(gone);
  return cudaSuccess;
}
STAND_IN_EXPORT cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  const Lock lock(all());
  if (const cudaError_t code = start("cudaStreamSynchronize"); code != cudaSuccess) return code;
  Stream& waited = stream(handle);
  if (waited.records) {
    broken("graphs", "the host waits for a stream that records a graph");
    return error(cudaErrorStreamCaptureUnsupported);
  }
  ++totals().waits;
  host_waits(waited);
  return cudaSuccess;
}
STAND_IN_EXPORT cudaError_t cudaStreamQuery(cudaStream_t handle) {
  const Lock lock(all());
  return has_ended(stream(handle)) ? cudaSuccess : cudaErrorNotReady;
}
STAND_IN_EXPORT cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t awaited, unsigned) {
  const Lock lock(all());
  if (const cudaError_t code = start("cudaStreamWaitEvent"); code != cudaSuccess) return code;
  wait(stream(handle), event(awaited));
  return cudaSuccess;
}

STAND_IN_EXPORT cudaError_t cudaEventCreateWithFlags(cudaEvent_t* out, unsigned) {
  const Lock lock(all());
  *out = nullptr;
  if (const cudaError_t code = start("cudaEventCreateWithFlags"); code != cudaSuccess) return code;
  if (!may_allocate("cudaEventCreateWithFlags")) return error(cudaErrorMemoryAllocation);
  *out = reinterpret_cast<cudaEvent_t>(new Event);
  return cudaSuccess;
}
STAND_IN_EXPORT cudaError_t cudaEventCreate(cudaEvent_t* out) { return cudaEventCreateWithFlags(out, 0); }
STAND_IN_EXPORT cudaError_t cudaEventDestroy(cudaEvent_t handle) {
  const Lock lock(all());
  delete &event(handle);
  return cudaSuccess;
}
STAND_IN_EXPORT cudaError_t cudaEventRecord(cudaEvent_t handle, cudaStream_t recorded) {
  const Lock lock(all());
  if (const cudaError_t code = start("cudaEventRecord"); code != cudaSuccess) return code;
  record(event(handle), stream(recorded));
  return cudaSuccess;
}
STAND_IN_EXPORT cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
  const Lock lock(all());
  if (const cudaError_t code = start("cudaEventSynchronize"); code != cudaSuccess) return code;
  ++totals().waits;
  host_waits(event(handle));
  return cudaSuccess;
}
STAND_IN_EXPORT cudaError_t cudaEventQuery(cudaEvent_t) { return cudaSuccess; }
STAND_IN_EXPORT cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t, cudaEvent_t) {
  *ms = 1;
  return cudaSuccess;
}
