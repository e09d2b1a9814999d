// A library that is preloaded into the program. Just before the Nth call that changes a file of a folder, it
// ends the process as kill -9 does, or lets this one call fail. With ENOMEM, the Nth C++ allocation finds no
// memory. With count, it prints the number of such calls at the end. Environment:
// BRIMFUL_INTERFERE=WHAT:N:FOLDER, where WHAT is kill, EIO, ENOSPC, ENOMEM or count.
#include <dlfcn.h>
#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>

namespace {

struct Order {
  std::string what;
  long at = 0;
  std::string folder;

  Order() {
    const char* const text = std::getenv("BRIMFUL_INTERFERE");
    if (text == nullptr) return;
    const std::string all = text;
    const std::size_t first = all.find(':');
    const std::size_t second = all.find(':', first + 1);
    what = all.substr(0, first);
    at = std::atol(all.substr(first + 1, second - first - 1).c_str());
    folder = all.substr(second + 1);
  }
};

const Order& order() {
  static const Order value;
  return value;
}

std::atomic<long> calls{0};
std::atomic<long> allocations{0};
std::atomic<bool> watches_allocations{false};
bool fails_one = false;

__attribute__((constructor)) void begin() {
  fails_one = order().what == "ENOMEM";
  watches_allocations = fails_one || order().what == "count";
}

__attribute__((destructor)) void say_count() {
  watches_allocations = false;
  if (order().what == "count")
    std::fprintf(stderr, "calls: %ld allocations: %ld\n", calls.load(), allocations.load());
}

/// Returns whether the call has to fail; errno says why.
bool refuses(const char* path) {
  const Order& wanted = order();
  if (wanted.what.empty() || std::strncmp(path, wanted.folder.c_str(), wanted.folder.size()) != 0)
    return false;
  if (++calls != wanted.at || wanted.what == "count" || fails_one) return false;
  if (wanted.what == "kill") ::kill(::getpid(), SIGKILL);
  errno = wanted.what == "EIO" ? EIO : ENOSPC;
  return true;
}

bool refuses(int file) {
  char link[64];
  char path[PATH_MAX + 1];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  const ssize_t size = ::readlink(link, path, PATH_MAX);
  if (size <= 0) return false;
  path[size] = '\0';
  return refuses(path);
}

template <typename Function>
Function next(Function, const char* name) {
  return reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

void* operator new(std::size_t size) {
  if (watches_allocations && ++allocations == order().at && fails_one) throw std::bad_alloc();
  if (void* const memory = std::malloc(size > 0 ? size : 1)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

extern "C" {

int fsync(int file) {
  static const auto real = next(&fsync, "fsync");
  return refuses(file) ? -1 : real(file);
}
int fdatasync(int file) {
  static const auto real = next(&fdatasync, "fdatasync");
  return refuses(file) ? -1 : real(file);
}
ssize_t write(int file, const void* bytes, size_t size) {
  static const auto real = next(&write, "write");
  return refuses(file) ? -1 : real(file, bytes, size);
}
ssize_t pwrite(int file, const void* bytes, size_t size, off_t offset) {
  static const auto real = next(&pwrite, "pwrite");
  return refuses(file) ? -1 : real(file, bytes, size, offset);
}
ssize_t pwrite64(int file, const void* bytes, size_t size, off64_t offset) {
  static const auto real = next(&pwrite64, "pwrite64");
  return refuses(file) ? -1 : real(file, bytes, size, offset);
}
int rename(const char* from, const char* to) noexcept {
  static const auto real = next(&rename, "rename");
  return refuses(to) ? -1 : real(from, to);
}
int unlink(const char* path) noexcept {
  static const auto real = next(&unlink, "unlink");
  return refuses(path) ? -1 : real(path);
}

}  // extern "C"
