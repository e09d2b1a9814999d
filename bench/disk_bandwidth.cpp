// How fast this disk can hand out this file: sequential O_DIRECT reads, the best of a few settings. The
// benchmark's yardstick, so it shares no code with Brimful's own reader.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace {

constexpr std::size_t kHugePage = 2 * 1024 * 1024;
constexpr std::size_t kRingBytes = 64 << 20;

struct Setting {
  int threads;
  std::size_t block_bytes;
};
constexpr Setting kSettings[] = {{4, 4 << 20}, {2, 4 << 20}, {4, 1 << 20}};

[[noreturn]] void fail(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

class File {
 public:
  explicit File(const std::string& path) : fd_(open(path.c_str(), O_RDONLY | O_DIRECT)) {
    if (fd_ < 0) fail("cannot open " + path + " for direct reads");
    struct stat info {};
    if (fstat(fd_, &info) != 0) fail(path);
    bytes_ = static_cast<std::uint64_t>(info.st_size);
  }
  ~File() { close(fd_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  int fd() const { return fd_; }
  std::uint64_t bytes() const { return bytes_; }

 private:
  int fd_;
  std::uint64_t bytes_ = 0;
};

/// Memory in huge pages: with 4 KiB pages a direct read is split into so many pieces that it takes twice as
/// long.
class Buffer {
 public:
  explicit Buffer(std::size_t bytes) {
    bytes = (bytes + kHugePage - 1) / kHugePage * kHugePage;
    data_ = std::aligned_alloc(kHugePage, bytes);
    if (data_ == nullptr) throw std::bad_alloc();
    madvise(data_, bytes, MADV_HUGEPAGE);
    std::fill_n(static_cast<std::byte*>(data_), bytes, std::byte{1});
  }
  ~Buffer() { std::free(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  void* data() const { return data_; }

 private:
  void* data_ = nullptr;
};

/// Reads block after block for `seconds`, from `next_block` on and round the file's end. Returns bytes a
/// second.
double measure(const File& file, Setting setting, double seconds, std::atomic<std::uint64_t>& next_block) {
  using Clock = std::chrono::steady_clock;
  const std::uint64_t blocks = file.bytes() / setting.block_bytes;
  if (blocks == 0) throw std::runtime_error("the file is smaller than one block");
  // Every block has its own place for a while, as in a ring: a few small buffers would stay in the
  // processor's cache, and reading into those is up to a third faster than reading into memory.
  const Buffer ring(kRingBytes);
  const std::uint64_t places = kRingBytes / setting.block_bytes;

  std::atomic<std::uint64_t> bytes_read = 0;
  std::atomic<int> error = 0;
  const auto start = Clock::now();
  const auto end = start + std::chrono::duration<double>(seconds);
  {
    std::vector<std::jthread> readers;
    for (int i = 0; i < setting.threads; ++i) {
      readers.emplace_back([&] {
        while (Clock::now() < end && error == 0) {
          const auto block = next_block.fetch_add(1);
          auto* const place = static_cast<std::byte*>(ring.data()) + block % places * setting.block_bytes;
          const auto offset = block % blocks * setting.block_bytes;
          const auto n = pread(file.fd(), place, setting.block_bytes, static_cast<off_t>(offset));
          if (n < 0)
            error = errno;
          else
            bytes_read += static_cast<std::uint64_t>(n);
        }
      });
    }
  }
  const double elapsed = std::chrono::duration<double>(Clock::now() - start).count();
  if (error != 0) throw std::system_error(error, std::generic_category(), "read");
  return static_cast<double>(bytes_read) / elapsed;
}

}  // namespace

int main(int argc, char** argv) {
  std::string path;
  double seconds = 1.5;
  CLI::App app{"measures sequential direct-read bandwidth of a file"};
  app.add_option("file", path)->required();
  app.add_option("--seconds", seconds, "per setting")->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  try {
    const File file(path);
    nlohmann::ordered_json settings = nlohmann::ordered_json::array();
    double best = 0;
    std::uint64_t position = 0;
    for (const auto& setting : kSettings) {
      // Each setting goes on where the one before stopped: a hypervisor's cache must not serve the later
      // ones.
      std::atomic<std::uint64_t> next_block = position / setting.block_bytes;
      const double rate = measure(file, setting, seconds, next_block);
      position = next_block * setting.block_bytes;
      best = std::max(best, rate);
      settings.push_back(
          {{"threads", setting.threads}, {"block_bytes", setting.block_bytes}, {"bytes_per_second", rate}});
    }
    std::cout << nlohmann::ordered_json{{"file", path}, {"bytes_per_second", best}, {"settings", settings}}
              << '\n';
  } catch (const std::exception& error) {
    std::cerr << "brimful-disk-bandwidth: " << error.what() << '\n';
    return 1;
  }
}
