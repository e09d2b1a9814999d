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

/// One read of whole blocks. `offset`, `size` and `target` are multiples of DiskFiles::kBlock. A read that
/// reaches past the end of the file stops there and still succeeds.
struct BlockRead {
  /// Index into DiskFiles::files() of the files that the reader was made for.
  std::uint32_t file = 0;
  /// Bytes from the start of the file.
  std::uint64_t offset = 0;
  /// Bytes.
  std::uint32_t size = 0;
  /// The reader writes `size` bytes here. The memory must stay valid until the read has ended.
  std::byte* target = nullptr;
  /// The caller chooses this number; BlockDone returns it unchanged.
  std::uint64_t tag = 0;
};

/// A read that has ended. With an error in `status`, the contents of the target are undefined.
struct BlockDone {
  /// BlockRead::tag of the read.
  std::uint64_t tag = 0;
  Status status;
};

/// Reads blocks of a model's files asynchronously. The reads are direct: they bypass the page cache where the
/// file system can.
/// Threading: one thread at a time may use a reader. Lifetime: its destructor waits for the reads in flight.
/// Errors: the error of a single read comes with its completion. By then the reader has retried transient
/// errors (EINTR, EAGAIN, EIO) and short reads, up to 4 times without progress.
class DiskReader {
 public:
  virtual ~DiskReader() = default;

  /// Starts a read. Requires: in_flight() < depth().
  virtual void submit(const BlockRead& read) = 0;
  /// Blocks until a read has ended; reads may end in any order. Requires: in_flight() > 0.
  virtual BlockDone wait() = 0;
  /// Whether wait() would return at once, as far as the reader can tell. Requires: in_flight() > 0.
  [[nodiscard]] virtual bool has_ended() const { return false; }

  /// The number of reads that were submitted and that wait() has not returned yet.
  [[nodiscard]] virtual std::size_t in_flight() const = 0;
  /// The largest number of reads in flight.
  [[nodiscard]] virtual std::size_t depth() const = 0;
  /// How the reader reads, for people: `io_uring` or `threads`.
  [[nodiscard]] virtual std::string_view name() const = 0;
};

/// The files of a model. They are opened once and stay open: when another file takes the name of one of them,
/// reads still get the old file's bytes.
class DiskFiles {
 public:
  /// Bytes. Offsets, sizes and addresses of direct reads are multiples of this; every Linux file system
  /// accepts that.
  static constexpr std::uint64_t kBlock = 4096;

  /// Opens all files of `profile`, in its order. Errors: kNotFound, kIo. kIo also when a file is not the one
  /// that the profile was made from (another size, inode, device or modification time).
  [[nodiscard]] static Result<DiskFiles> open(const model::ModelProfile& profile);

  DiskFiles(DiskFiles&&) noexcept;
  DiskFiles& operator=(DiskFiles&&) noexcept;
  ~DiskFiles();

  /// An open file, and what check_unchanged() compares with.
  struct File {
    int fd = -1;
    /// Whether the file was opened with O_DIRECT. Without it, reads go through the page cache, and the reader
    /// drops each block from the cache once it has read it.
    bool direct = false;
    /// Bytes.
    std::uint64_t size = 0;
    std::string path;
    /// Time of the last modification, in nanoseconds since 1970.
    std::int64_t modified_ns = 0;
  };
  [[nodiscard]] const std::vector<File>& files() const { return files_; }

  /// Errors: kIo when a file was written to or cut since open(): the weights that were read may be wrong
  /// then.
  [[nodiscard]] Status check_unchanged() const;

 private:
  DiskFiles() = default;
  std::vector<File> files_;
};

/// How a reader reads. kAuto: with io_uring where the kernel allows it, otherwise with threads.
enum class ReaderKind { kAuto, kUring, kThreads };

/// Makes a reader for up to `depth` reads in flight. `files` must outlive it. Errors: kUnsupported when
/// `kind` is kUring and the kernel refuses it; kInternal when no thread can be started.
[[nodiscard]] Result<std::unique_ptr<DiskReader>> make_reader(const DiskFiles& files, ReaderKind kind,
                                                              std::size_t depth);

/// Makes readers. Tests pass a factory here whose readers inject faults.
using ReaderFactory =
    std::function<Result<std::unique_ptr<DiskReader>>(const DiskFiles& files, std::size_t depth)>;

}  // namespace brimful::tier
