// What the functions of the CUDA runtime share: the error that is kept for a thread, and its card.
#pragma once

#include <cuda_runtime_api.h>

#include "journal.h"
#include "streams.h"

namespace stand_in {

/// Keeps the error for cudaGetLastError(), and returns it.
cudaError_t error(cudaError_t code);
/// The card that this thread has chosen; the first one where it has chosen none.
int current_card();
/// Starts the driver on this thread's card, as nearly every function does first.
cudaError_t start(const char* function);
/// The stream of a handle, for this thread's card.
Stream& stream(cudaStream_t handle);

/// Totals for the end of the journal.
struct Totals {
  std::uint64_t kernels = 0, graph_launches = 0, captures = 0, instantiations = 0;
  std::uint64_t pinned_copies = 0, pageable_copies = 0, blocking_copies = 0, waits = 0;
  std::uint64_t to_card = 0, from_card = 0;
};
Totals& totals();

/// Whether all of this memory of the host is pinned, and what for.
enum class Pinned { no, to_read, to_read_and_write };
Pinned pinned(const void* begin, std::size_t size);

}  // namespace stand_in

#define STAND_IN_EXPORT extern "C" __attribute__((visibility("default")))
