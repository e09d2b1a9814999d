#include "memory/program_pages.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>

namespace strata::memory {

void populate_program_pages() {
#ifdef MADV_POPULATE_READ
  constexpr int kPopulateRead = MADV_POPULATE_READ;
#else
  constexpr int kPopulateRead = 22;  // Linux 5.14
#endif
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    std::uintptr_t begin = 0;
    std::uintptr_t end = 0;
    char readable = '-';
    if (line.find(" /") == std::string::npos) continue;  // no file behind it
    if (std::sscanf(line.c_str(), "%lx-%lx %c", &begin, &end, &readable) != 3 || readable != 'r') continue;
    ::madvise(reinterpret_cast<void*>(begin), end - begin, kPopulateRead);
  }
}

}  // namespace strata::memory
