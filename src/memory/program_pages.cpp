#include "memory/program_pages.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <set>
#include <string>

namespace brimful::memory {
namespace {

/// Drops the cached pages of a file that no process has mapped.
void drop_unmapped_pages(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (file < 0) return;
  ::posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
  ::close(file);
}

}  // namespace

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
  std::set<std::string> files;
  for (std::string line; std::getline(maps, line);) {
    std::uintptr_t begin = 0;
    std::uintptr_t end = 0;
    char readable = '-';
    if (std::sscanf(line.c_str(), "%lx-%lx %c", &begin, &end, &readable) != 3 || readable != 'r') continue;
    void* const address = reinterpret_cast<void*>(begin);
    if (const auto path = line.find(" /"); path != std::string::npos) {  // a file
      ::madvise(address, end - begin, kPopulateRead);
      files.insert(line.substr(path + 1));
    } else if (line.ends_with("[heap]")) {
      ::madvise(address, end - begin, MADV_NOHUGEPAGE);  // the kernel would make huge pages of it later
    }
  }
  // The kernel reads ahead, also what the program never maps, such as its symbols: 3 MiB of this program.
  for (const std::string& file : files) drop_unmapped_pages(file);
}

}  // namespace brimful::memory
