#pragma once

#include <cstdio>
#include <cstdlib>

/// Stops the program when an invariant of our own code is broken. Never for input, I/O or memory state:
/// those are a Result.
#define BRIMFUL_CHECK(cond)                                                                       \
  do {                                                                                            \
    if (!(cond)) {                                                                                \
      std::fprintf(stderr, "brimful: broken invariant: %s (%s:%d)\n", #cond, __FILE__, __LINE__); \
      std::abort();                                                                               \
    }                                                                                             \
  } while (0)
