// Kernels: known by the name that the compiler registered, from which their parameters follow. A launch is
// noted and not computed, but for the few that choose experts: these write numbers that a router could have
// written.
#pragma once

#include <cstdint>

#include "streams.h"

namespace stand_in {

void register_kernel(const void* function, const char* mangled_name);

/// What is known at a launch, as the runtime gets it.
struct Launch {
  const void* function = nullptr;
  unsigned blocks[3] = {1, 1, 1};
  void** arguments = nullptr;
};
/// The work of a launch: its name, the tensors that its pointers name, and what it writes, if it is computed.
/// Other parameters are not looked into.
Work work_of(const Launch& launch);

/// Loads the kernel on the card, where it is not loaded yet. False: no memory.
bool load_kernel(int card, const void* function);

}  // namespace stand_in
