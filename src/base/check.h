#pragma once

#include <cstdio>
#include <cstdlib>

/// Prints the condition and its place to stderr and aborts the process when `cond` is false. It is only for
/// invariants of our own code. What input, I/O or a lack of memory can cause is reported as a Result.
#define BRIMFUL_CHECK(cond)                                                                       \
  do {                                                                                            \
    if (!(cond)) {                                                                                \
      std::fprintf(stderr, "brimful: broken invariant: %s (%s:%d)\n", #cond, __FILE__, __LINE__); \
      std::abort();                                                                               \
    }                                                                                             \
  } while (0)
