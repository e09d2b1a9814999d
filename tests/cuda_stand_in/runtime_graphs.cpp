// The CUDA runtime: work that is recorded once and launched as a whole.
#include <cstdio>
#include <functional>

#include "runtime.h"
#include "settings.h"
#include "vram.h"

namespace stand_in {
namespace {

struct Executable {
  std::shared_ptr<Graph> graph;
  int card;
  std::uint64_t bytes;
};

std::shared_ptr<Graph>& graph(cudaGraph_t handle) {
  return *reinterpret_cast<std::shared_ptr<Graph>*>(handle);
}
Executable& executable(cudaGraphExec_t handle) { return *reinterpret_cast<Executable*>(handle); }

/// A number that two graphs have in common when they do the same with the same memory.
std::string mark_of(const Graph& recorded) {
  std::uint64_t mark = 1469598103934665603ULL;
  const auto mix = [&](std::uint64_t value) { mark = (mark ^ value) * 1099511628211ULL; };
  for (const Work& work : recorded.nodes) {
    mix(std::hash<std::string>()(work.name));
    for (const Use& use : work.uses) {
      mix(use.begin);
      mix(use.end);
    }
  }
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(mark));
  return text;
}

bool same_nodes(const Graph& one, const Graph& other) {
  if (one.nodes.size() != other.nodes.size()) return false;
  for (std::size_t i = 0; i < one.nodes.size(); ++i) {
    if (one.nodes[i].name != other.nodes[i].name) return false;
  }
  return true;
}

}  // namespace
}  // namespace stand_in

using namespace stand_in;

STAND_IN_EXPORT cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode) {
  const Lock lock(all());
  if (const cudaError_t code = start("cudaStreamBeginCapture"); code != cudaSuccess) return code;
  Stream& recording = stream(handle);
  if (recording.records) return error(cudaErrorIllegalState);
  recording.records = std::make_shared<Graph>();
  return cudaSuccess;
}
STAND_IN_EXPORT cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* out) {
  const Lock lock(all());
  Stream& recording = stream(handle);
  if (!recording.records) return error(cudaErrorIllegalState);
  const std::shared_ptr<Graph> recorded = recording.records;
  end_recording(recorded);
  ++totals().captures;
  Line("captured").with("nodes", recorded->nodes.size()).with("mark", mark_of(*recorded));
  *out = reinterpret_cast<cudaGraph_t>(new std::shared_ptr<Graph>(recorded));
  return cudaSuccess;
}
STAND_IN_EXPORT cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* out) {
  const Lock lock(all());
  *out = stream(handle).records ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
STAND_IN_EXPORT cudaError_t cudaGraphInstantiate(cudaGraphExec_t* out, cudaGraph_t handle,
                                                 unsigned long long) {
  const Lock lock(all());
  *out = nullptr;
  if (const cudaError_t code = start("cudaGraphInstantiate"); code != cudaSuccess) return code;
  const std::uint64_t bytes = graph(handle)->nodes.size() * settings().graph_node;
  if (!take(current_card(), Kind::driver, bytes, "cudaGraphInstantiate"))
    return error(cudaErrorMemoryAllocation);
  ++totals().instantiations;
  *out = reinterpret_cast<cudaGraphExec_t>(new Executable{graph(handle), current_card(), bytes});
  return cudaSuccess;
}
STAND_IN_EXPORT cudaError_t cudaGraphExecUpdate(cudaGraphExec_t handle, cudaGraph_t other,
                                                cudaGraphExecUpdateResultInfo* info) {
  const Lock lock(all());
  *info = {};
  Executable& updated = executable(handle);
  if (!same_nodes(*updated.graph, *graph(other))) {
    info->result = cudaGraphExecUpdateErrorTopologyChanged;
    return error(cudaErrorGraphExecUpdateFailure);
  }
  updated.graph = graph(other);
  return cudaSuccess;
}
STAND_IN_EXPORT cudaError_t cudaGraphLaunch(cudaGraphExec_t handle, cudaStream_t queue) {
  const Lock lock(all());
  if (const cudaError_t code = start("cudaGraphLaunch"); code != cudaSuccess) return code;
  ++totals().graph_launches;
  ++launches();
  for (const Work& work : executable(handle).graph->nodes) run(stream(queue), work);
  return cudaSuccess;
}
STAND_IN_EXPORT cudaError_t cudaGraphExecDestroy(cudaGraphExec_t handle) {
  const Lock lock(all());
  const Executable& gone = executable(handle);
  give(gone.card, Kind::driver, gone.bytes, "cudaGraphExecDestroy");
  delete &gone;
  return cudaSuccess;
}
STAND_IN_EXPORT cudaError_t cudaGraphDestroy(cudaGraph_t handle) {
  const Lock lock(all());
  delete &graph(handle);
  return cudaSuccess;
}
