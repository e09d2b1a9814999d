// The CUDA driver: the functions of virtual memory management, with which ggml's pools grow.
#include <cuda.h>

#include "memory.h"
#include "runtime.h"
#include "settings.h"
#include "vram.h"

namespace stand_in {
namespace {

constexpr std::size_t kGranularity = 2 << 20;

/// Memory that has no address yet. The driver keeps it for as long as it is mapped or has a handle.
struct Handle {
  std::uint64_t size;
  int card;
};

}  // namespace
}  // namespace stand_in

using namespace stand_in;

STAND_IN_EXPORT CUresult cuInit(unsigned) { return CUDA_SUCCESS; }
STAND_IN_EXPORT CUresult cuDeviceGet(CUdevice* out, int card) {
  *out = card;
  return card < static_cast<int>(settings().cards) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}
STAND_IN_EXPORT CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice) {
  if (attribute != CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED) {
    broken("attributes", "the stand-in's driver does not know attribute " + std::to_string(attribute));
    return CUDA_ERROR_INVALID_VALUE;
  }
  *value = 1;
  return CUDA_SUCCESS;
}
STAND_IN_EXPORT CUresult cuGetErrorString(CUresult code, const char** text) {
  *text = code == CUDA_ERROR_OUT_OF_MEMORY ? "out of memory" : "an error of the stand-in";
  return CUDA_SUCCESS;
}
STAND_IN_EXPORT CUresult cuMemGetAllocationGranularity(std::size_t* out, const CUmemAllocationProp*,
                                                       CUmemAllocationGranularity_flags) {
  *out = kGranularity;
  return CUDA_SUCCESS;
}
STAND_IN_EXPORT CUresult cuMemAddressReserve(CUdeviceptr* out, std::size_t size, std::size_t, CUdeviceptr,
                                             unsigned long long) {
  const Lock lock(all());
  *out = reserve_addresses(size);
  return CUDA_SUCCESS;
}
STAND_IN_EXPORT CUresult cuMemAddressFree(CUdeviceptr, std::size_t) { return CUDA_SUCCESS; }
STAND_IN_EXPORT CUresult cuMemCreate(CUmemGenericAllocationHandle* out, std::size_t size,
                                     const CUmemAllocationProp* properties, unsigned long long) {
  const Lock lock(all());
  const int card = properties->location.id;
  if (size % kGranularity != 0) return CUDA_ERROR_INVALID_VALUE;
  if (start_context(card, "cuMemCreate") && take(card, Kind::large, size, "cuMemCreate")) {
    *out = reinterpret_cast<CUmemGenericAllocationHandle>(new Handle{size, card});
    return CUDA_SUCCESS;
  }
  return CUDA_ERROR_OUT_OF_MEMORY;
}
STAND_IN_EXPORT CUresult cuMemMap(CUdeviceptr begin, std::size_t size, std::size_t,
                                  CUmemGenericAllocationHandle handle, unsigned long long) {
  const Lock lock(all());
  map_memory({begin, size, reinterpret_cast<Handle*>(handle)->card});
  return CUDA_SUCCESS;
}
STAND_IN_EXPORT CUresult cuMemRelease(CUmemGenericAllocationHandle handle) {
  const Lock lock(all());
  delete reinterpret_cast<Handle*>(handle);  // ggml maps each handle before it lets it go
  return CUDA_SUCCESS;
}
STAND_IN_EXPORT CUresult cuMemSetAccess(CUdeviceptr, std::size_t, const CUmemAccessDesc*, std::size_t) {
  return CUDA_SUCCESS;
}
STAND_IN_EXPORT CUresult cuMemUnmap(CUdeviceptr begin, std::size_t size) {
  const Lock lock(all());
  expect_unused(begin, size, "cuMemUnmap");
  unmap_memory(begin, size, [](const Block& gone) { give(gone.card, Kind::large, gone.size, "cuMemUnmap"); });
  return CUDA_SUCCESS;
}
