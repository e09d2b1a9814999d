// The CUDA runtime: kernels and how they are launched, also as the compiler's code does it.
#include <vector>

#include "kernels.h"
#include "runtime.h"
#include "settings.h"

namespace stand_in {
namespace {

struct Configuration {
  dim3 blocks, threads;
  std::size_t shared;
  void* stream;
};
thread_local std::vector<Configuration> configurations;

cudaError_t launch(const void* function, dim3 blocks, void** arguments, cudaStream_t handle) {
  const Lock lock(all());
  if (const cudaError_t code = start("a launch"); code != cudaSuccess) return code;
  Stream& queue = stream(handle);
  if (queue.card != current_card()) {
    broken("cards", "a kernel is launched on a stream of another card than the thread's");
    return error(cudaErrorInvalidResourceHandle);
  }
  if (!load_kernel(queue.card, function)) return error(cudaErrorMemoryAllocation);
  if (!queue.records) {
    ++totals().kernels;
    ++launches();
  }
  run(queue, work_of({function, {blocks.x, blocks.y, blocks.z}, arguments}));
  return cudaSuccess;
}

}  // namespace
}  // namespace stand_in

using namespace stand_in;

STAND_IN_EXPORT void** __cudaRegisterFatBinary(void*) {
  static void* module = nullptr;
  return &module;
}
STAND_IN_EXPORT void __cudaRegisterFatBinaryEnd(void**) {}
STAND_IN_EXPORT void __cudaUnregisterFatBinary(void**) {}
STAND_IN_EXPORT char __cudaInitModule(void**) { return 1; }
STAND_IN_EXPORT void __cudaRegisterVar(void**, char*, char*, const char*, int, std::size_t, int, int) {}
STAND_IN_EXPORT void __cudaRegisterFunction(void**, const char* function, char*, const char* name, int,
                                            uint3*, uint3*, dim3*, dim3*, int*) {
  const Lock lock(all());
  register_kernel(function, name);
}
STAND_IN_EXPORT unsigned __cudaPushCallConfiguration(dim3 blocks, dim3 threads, std::size_t shared,
                                                     void* handle) {
  configurations.push_back({blocks, threads, shared, handle});
  return 0;
}
STAND_IN_EXPORT cudaError_t __cudaPopCallConfiguration(dim3* blocks, dim3* threads, std::size_t* shared,
                                                       void* handle) {
  if (configurations.empty()) return cudaErrorMissingConfiguration;
  const Configuration& last = configurations.back();
  *blocks = last.blocks;
  *threads = last.threads;
  *shared = last.shared;
  *static_cast<void**>(handle) = last.stream;
  configurations.pop_back();
  return cudaSuccess;
}
STAND_IN_EXPORT cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* function) {
  *kernel = reinterpret_cast<cudaKernel_t>(const_cast<void*>(function));
  return cudaSuccess;
}
STAND_IN_EXPORT cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 blocks, dim3, void** arguments,
                                               std::size_t, cudaStream_t handle) {
  return launch(kernel, blocks, arguments, handle);
}
STAND_IN_EXPORT cudaError_t cudaLaunchKernel(const void* function, dim3 blocks, dim3, void** arguments,
                                             std::size_t, cudaStream_t handle) {
  return launch(function, blocks, arguments, handle);
}
STAND_IN_EXPORT cudaError_t cudaLaunchCooperativeKernel(const void* function, dim3 blocks, dim3,
                                                        void** arguments, std::size_t, cudaStream_t handle) {
  return launch(function, blocks, arguments, handle);
}
STAND_IN_EXPORT cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* shape, const void* function,
                                                void** arguments) {
  return launch(function, shape->gridDim, arguments, shape->stream);
}

STAND_IN_EXPORT cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute, int) {
  const Lock lock(all());
  if (const cudaError_t code = start("cudaFuncSetAttribute"); code != cudaSuccess) return code;
  return load_kernel(current_card(), function) ? cudaSuccess : error(cudaErrorMemoryAllocation);
}
STAND_IN_EXPORT cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* out, const void* function) {
  const Lock lock(all());
  if (const cudaError_t code = start("cudaFuncGetAttributes"); code != cudaSuccess) return code;
  if (!load_kernel(current_card(), function)) return error(cudaErrorMemoryAllocation);
  *out = {};
  out->maxThreadsPerBlock = 1024;
  out->numRegs = 64;
  out->ptxVersion = out->binaryVersion = static_cast<int>(settings().capability);
  return cudaSuccess;
}
STAND_IN_EXPORT cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void*, int,
                                                                          std::size_t) {
  *blocks = 2;
  return cudaSuccess;
}
STAND_IN_EXPORT cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void*,
                                                                                   int, std::size_t,
                                                                                   unsigned) {
  *blocks = 2;
  return cudaSuccess;
}
