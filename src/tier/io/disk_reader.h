#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "model/model_profile.h"

namespace brimful::tier {

/// One block to read. `offset`, `size` and `target` are multiples of DiskFiles::kBlock; a read that
/// reaches past the end of the file stops there.
struct BlockRead {
  std::uint32_t file = 0;  ///< index into the files the reader was opened with
  std::uint64_t offset = 0;
  std::uint32_t size = 0;
  std::byte* target = nullptr;
  std::uint64_t tag = 0;  ///< handed back with the completion
};

struct BlockDone {
  std::uint64_t tag = 0;
  Status status;
};

/// Direct, asynchronous reads from a model's files, bypassing the page cache where the file system can.
/// One thread at a time may use a reader. Errors of a single read come with its completion: transient ones
/// (EINTR, EAGAIN, a short read, EIO) have by then been retried a few times.
class DiskReader {
 public:
  virtual ~DiskReader() = default;

  /// Requires: in_flight() < depth().
  virtual void submit(const BlockRead& read) = 0;
  /// Blocks until a read has ended. Requires: in_flight() > 0.
  virtual BlockDone wait() = 0;

  [[nodiscard]] virtual std::size_t in_flight() const = 0;
  [[nodiscard]] virtual std::size_t depth() const = 0;
  [[nodiscard]] virtual std::string_view name() const = 0;
};

/// The model's files, opened once and kept: a file replaced by another of the same name goes on being read
/// as it was. Blocks are multiples of `kBlock`, which every Linux file system accepts for direct reads.
class DiskFiles {
 public:
  static constexpr std::uint64_t kBlock = 4096;

  /// Errors: kNotFound, kIo; kIo also when a file is no longer the one that was profiled.
  [[nodiscard]] static Result<DiskFiles> open(const model::ModelProfile& profile);

  DiskFiles(DiskFiles&&) noexcept;
  DiskFiles& operator=(DiskFiles&&) noexcept;
  ~DiskFiles();

  struct File {
    int fd = -1;
    bool direct = false;  ///< O_DIRECT; else buffered, and the cache is dropped behind the reads
    std::uint64_t size = 0;
    std::string path;
    std::int64_t modified_ns = 0;
  };
  [[nodiscard]] const std::vector<File>& files() const { return files_; }

  /// Fails with kIo when a file's contents were changed or cut since open(): the weights would be wrong.
  [[nodiscard]] Status check_unchanged() const;

 private:
  DiskFiles() = default;
  std::vector<File> files_;
};

/// How a read is done, for one reader. kAuto: io_uring where the kernel allows it, else threads.
enum class ReaderKind { kAuto, kUring, kThreads };

/// Errors: kUnsupported when kUring was asked for and the kernel refuses it. `files` must outlive the reader.
[[nodiscard]] Result<std::unique_ptr<DiskReader>> make_reader(const DiskFiles& files, ReaderKind kind,
                                                              std::size_t depth);

/// Makes readers; tests put one here that injects faults.
using ReaderFactory =
    std::function<Result<std::unique_ptr<DiskReader>>(const DiskFiles& files, std::size_t depth)>;

}  // namespace brimful::tier
