#include "memory/program_pages.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>

namespace brimful::memory {

void prefer_small_pages() {
  constexpr unsigned long kExceptAdvised = 2;  // PR_THP_DISABLE_EXCEPT_ADVISED, Linux 6.18
  if (::prctl(PR_SET_THP_DISABLE, 1, kExceptAdvised, 0, 0) == 0) return;
  pthread_attr_t attributes;
  if (::pthread_getattr_default_np(&attributes) != 0) return;
  ::pthread_attr_setstacksize(&attributes, 1 << 20);  // no room for a huge page
  ::pthread_setattr_default_np(&attributes);
  ::pthread_attr_destroy(&attributes);
}

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
    if (std::sscanf(line.c_str(), "%lx-%lx %c", &begin, &end, &readable) != 3 || readable != 'r') continue;
    void* const address = reinterpret_cast<void*>(begin);
    if (line.find(" /") != std::string::npos) {  // a file
      ::madvise(address, end - begin, kPopulateRead);
    } else if (line.ends_with("[heap]")) {
      ::madvise(address, end - begin, MADV_NOHUGEPAGE);  // the kernel would make huge pages of it later
    }
  }
}

}  // namespace brimful::memory
