// cuBLAS: handles that take memory, and products that are noted as work of their stream.
#include <cublas_v2.h>

#include "memory.h"
#include "runtime.h"
#include "settings.h"
#include "tensors.h"
#include "vram.h"

namespace stand_in {
namespace {

struct Handle {
  int card;
  cudaStream_t stream = nullptr;
};

Handle& of(cublasHandle_t handle) { return *reinterpret_cast<Handle*>(handle); }

std::uint64_t number(const void* address) { return reinterpret_cast<std::uint64_t>(address); }

/// Only the first byte is certain where no tensor begins; workspaces of pools are used by one stream alone.
Use use(const void* address, bool writes) {
  return {number(address), number(address) + tensor_at(number(address)).value_or(Extent{1}).bytes, writes};
}

cublasStatus_t product(cublasHandle_t handle, const char* name, const void* a, const void* b, void* c) {
  const Lock lock(all());
  if (start(name) != cudaSuccess) return CUBLAS_STATUS_ALLOC_FAILED;
  Stream& queue = stream_of(of(handle).stream, of(handle).card);
  if (!queue.records) {
    ++totals().kernels;
    ++launches();
  }
  Work work{name, {}, {}, {}};
  for (const void* source : {a, b}) {
    if (is_card_memory(source)) work.uses.push_back(use(source, false));
  }
  if (is_card_memory(c)) work.uses.push_back(use(c, true));
  run(queue, std::move(work));
  return CUBLAS_STATUS_SUCCESS;
}

}  // namespace
}  // namespace stand_in

using namespace stand_in;

STAND_IN_EXPORT cublasStatus_t cublasCreate_v2(cublasHandle_t* out) {
  const Lock lock(all());
  *out = nullptr;
  if (start("cublasCreate") != cudaSuccess) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (!take(current_card(), Kind::driver, settings().blas, "cublasCreate")) return CUBLAS_STATUS_ALLOC_FAILED;
  *out = reinterpret_cast<cublasHandle_t>(new Handle{current_card()});
  return CUBLAS_STATUS_SUCCESS;
}
STAND_IN_EXPORT cublasStatus_t cublasDestroy_v2(cublasHandle_t handle) {
  const Lock lock(all());
  host_waits_for_card(of(handle).card);
  give(of(handle).card, Kind::driver, settings().blas, "cublasDestroy");
  delete &of(handle);
  return CUBLAS_STATUS_SUCCESS;
}
STAND_IN_EXPORT cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t queue) {
  of(handle).stream = queue;
  return CUBLAS_STATUS_SUCCESS;
}
STAND_IN_EXPORT cublasStatus_t cublasSetMathMode(cublasHandle_t, cublasMath_t) {
  return CUBLAS_STATUS_SUCCESS;
}
STAND_IN_EXPORT cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t, void*, std::size_t) {
  return CUBLAS_STATUS_SUCCESS;
}
STAND_IN_EXPORT const char* cublasGetStatusString(cublasStatus_t code) {
  return code == CUBLAS_STATUS_ALLOC_FAILED ? "the resource allocation failed" : "an error of the stand-in";
}
STAND_IN_EXPORT cublasStatus_t cublasSgemm_v2(cublasHandle_t handle, cublasOperation_t, cublasOperation_t,
                                              int, int, int, const float*, const float* a, int,
                                              const float* b, int, const float*, float* c, int) {
  return product(handle, "cublasSgemm", a, b, c);
}
STAND_IN_EXPORT cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t, cublasOperation_t, int,
                                            int, int, const void*, const void* a, cudaDataType, int,
                                            const void* b, cudaDataType, int, const void*, void* c,
                                            cudaDataType, int, cublasComputeType_t, cublasGemmAlgo_t) {
  return product(handle, "cublasGemmEx", a, b, c);
}
STAND_IN_EXPORT cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t,
                                                          cublasOperation_t, int, int, int, const void*,
                                                          const void* a, cudaDataType, int, long long,
                                                          const void* b, cudaDataType, int, long long,
                                                          const void*, void* c, cudaDataType, int, long long,
                                                          int, cublasComputeType_t, cublasGemmAlgo_t) {
  return product(handle, "cublasGemmStridedBatchedEx", a, b, c);
}
STAND_IN_EXPORT cublasStatus_t cublasSgemmStridedBatched(cublasHandle_t handle, cublasOperation_t,
                                                         cublasOperation_t, int, int, int, const float*,
                                                         const float* a, int, long long, const float* b, int,
                                                         long long, const float*, float* c, int, long long,
                                                         int) {
  return product(handle, "cublasSgemmStridedBatched", a, b, c);
}
// Those below take tables of pointers that a kernel writes, so that the matrices are not known here.
STAND_IN_EXPORT cublasStatus_t cublasGemmBatchedEx(cublasHandle_t handle, cublasOperation_t,
                                                   cublasOperation_t, int, int, int, const void*,
                                                   const void* const a[], cudaDataType, int,
                                                   const void* const b[], cudaDataType, int, const void*,
                                                   void* const c[], cudaDataType, int, int,
                                                   cublasComputeType_t, cublasGemmAlgo_t) {
  return product(handle, "cublasGemmBatchedEx", a, b, const_cast<void**>(c));
}
STAND_IN_EXPORT cublasStatus_t cublasSgemmBatched(cublasHandle_t handle, cublasOperation_t, cublasOperation_t,
                                                  int, int, int, const float*, const float* const a[], int,
                                                  const float* const b[], int, const float*, float* const c[],
                                                  int, int) {
  return product(handle, "cublasSgemmBatched", a, b, const_cast<float**>(c));
}
STAND_IN_EXPORT cublasStatus_t cublasStrsmBatched(cublasHandle_t handle, cublasSideMode_t, cublasFillMode_t,
                                                  cublasOperation_t, cublasDiagType_t, int, int, const float*,
                                                  const float* const a[], int, float* const b[], int, int) {
  return product(handle, "cublasStrsmBatched", a, b, nullptr);
}
