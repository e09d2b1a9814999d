// The CUDA runtime: memory of cards, and pinned memory of the host.
#include <sys/mman.h>

#include <map>

#include "memory.h"
#include "runtime.h"
#include "vram.h"

namespace stand_in {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kEntry = 8;  // of a page table of the card, for a page of the host

struct Range {
  std::uint64_t size = 0;
  bool may_write = true;
  std::vector<int> cards;  // whose page tables name it
};
std::map<std::uint64_t, Range>& ranges() {
  static auto* const map = new std::map<std::uint64_t, Range>;
  return *map;
}

std::uint64_t number(const void* address) { return reinterpret_cast<std::uint64_t>(address); }
std::uint64_t tables(std::uint64_t size) { return (size + kPage - 1) / kPage * kEntry; }

cudaError_t pin(const void* begin, std::size_t size, bool may_write, const char* function) {
  if (!may_allocate(function)) return error(cudaErrorMemoryAllocation);
  if (pinned(begin, 1) != Pinned::no) return error(cudaErrorHostMemoryAlreadyRegistered);
  Range range{size, may_write, {}};
  for (const int card : contexts()) {
    if (!take(card, Kind::page_tables, tables(size), function, false)) {
      for (const int taken : range.cards) give(taken, Kind::page_tables, tables(size), function);
      return error(cudaErrorMemoryAllocation);
    }
    range.cards.push_back(card);
  }
  ranges()[number(begin)] = std::move(range);
  return cudaSuccess;
}

cudaError_t unpin(const void* begin, const char* function) {
  const auto found = ranges().find(number(begin));
  if (found == ranges().end()) return error(cudaErrorHostMemoryNotRegistered);
  for (const int card : found->second.cards)
    give(card, Kind::page_tables, tables(found->second.size), function);
  ranges().erase(found);
  return cudaSuccess;
}

}  // namespace

Pinned pinned(const void* begin, std::size_t size) {
  auto at = ranges().upper_bound(number(begin));
  if (at == ranges().begin()) return Pinned::no;
  --at;
  if (number(begin) + size > at->first + at->second.size) return Pinned::no;
  return at->second.may_write ? Pinned::to_read_and_write : Pinned::to_read;
}

}  // namespace stand_in

using namespace stand_in;

STAND_IN_EXPORT cudaError_t cudaMalloc(void** out, std::size_t size) {
  const Lock lock(all());
  *out = nullptr;
  if (const cudaError_t code = start("cudaMalloc"); code != cudaSuccess) return code;
  if (size == 0) return cudaSuccess;
  if (!take(current_card(), kind_of(size), size, "cudaMalloc")) return error(cudaErrorMemoryAllocation);
  const std::uint64_t begin = reserve_addresses(size);
  map_memory({begin, size, current_card()});
  *out = reinterpret_cast<void*>(begin);
  return cudaSuccess;
}
STAND_IN_EXPORT cudaError_t cudaFree(void* memory) {
  const Lock lock(all());
  if (const cudaError_t code = start("cudaFree"); code != cudaSuccess) return code;
  if (memory == nullptr) return cudaSuccess;
  const Block* const block = block_of(number(memory));
  if (block == nullptr || block->begin != number(memory)) {
    broken("bounds", "cudaFree gets an address that no allocation has");
    return error(cudaErrorInvalidValue);
  }
  host_waits_for_card(block->card);
  unmap_memory(block->begin, block->size,
               [](const Block& gone) { give(gone.card, kind_of(gone.size), gone.size, "cudaFree"); });
  return cudaSuccess;
}
STAND_IN_EXPORT cudaError_t cudaMallocManaged(void**, std::size_t, unsigned) {
  broken("managed", "memory that the driver moves between card and host has no budget");
  return error(cudaErrorNotSupported);
}

STAND_IN_EXPORT cudaError_t cudaHostAlloc(void** out, std::size_t size, unsigned) {
  const Lock lock(all());
  *out = nullptr;
  if (const cudaError_t code = start("cudaHostAlloc"); code != cudaSuccess) return code;
  void* const memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return error(cudaErrorMemoryAllocation);
  if (const cudaError_t code = pin(memory, size, true, "cudaHostAlloc"); code != cudaSuccess) {
    ::munmap(memory, size);
    return code;
  }
  *out = memory;
  return cudaSuccess;
}
STAND_IN_EXPORT cudaError_t cudaMallocHost(void** out, std::size_t size) {
  return cudaHostAlloc(out, size, 0);
}
STAND_IN_EXPORT cudaError_t cudaFreeHost(void* memory) {
  const Lock lock(all());
  if (const cudaError_t code = start("cudaFreeHost"); code != cudaSuccess) return code;
  const auto found = ranges().find(number(memory));
  if (found == ranges().end()) return error(cudaErrorInvalidValue);
  const std::uint64_t size = found->second.size;
  host_waits_for_card(current_card());
  static_cast<void>(unpin(memory, "cudaFreeHost"));
  ::munmap(memory, size);
  return cudaSuccess;
}
STAND_IN_EXPORT cudaError_t cudaHostRegister(void* memory, std::size_t size, unsigned flags) {
  const Lock lock(all());
  if (const cudaError_t code = start("cudaHostRegister"); code != cudaSuccess) return code;
  return pin(memory, size, (flags & cudaHostRegisterReadOnly) == 0, "cudaHostRegister");
}
STAND_IN_EXPORT cudaError_t cudaHostUnregister(void* memory) {
  const Lock lock(all());
  if (const cudaError_t code = start("cudaHostUnregister"); code != cudaSuccess) return code;
  host_waits_for_card(current_card());
  return unpin(memory, "cudaHostUnregister");
}
STAND_IN_EXPORT cudaError_t cudaHostGetDevicePointer(void** out, void* memory, unsigned) {
  *out = memory;
  return cudaSuccess;
}
