#pragma once

#include <optional>

#include "tier/io/disk_reader.h"

namespace brimful::tier {

/// A block in flight: the state that both kinds of readers keep of it.
struct BlockState {
  BlockRead read;
  /// Bytes that are in place already; a multiple of the block size.
  std::uint64_t done = 0;
  /// Retries since the last progress.
  int retries = 0;
};

/// Applies the result of one system call to `state`: `result` is a number of bytes, or a negative errno.
/// Returns how the block ended, or nothing when the caller must submit it again from state.done.
[[nodiscard]] std::optional<Status> finish_block(const DiskFiles::File& file, BlockState& state,
                                                 std::int64_t result);

/// Makes a reader that uses io_uring. Errors: kUnsupported where the kernel refuses it.
[[nodiscard]] Result<std::unique_ptr<DiskReader>> make_uring_reader(const DiskFiles& files,
                                                                    std::size_t depth);
/// Makes a reader that uses threads. Errors: kInternal where the system gives no thread.
[[nodiscard]] Result<std::unique_ptr<DiskReader>> make_thread_reader(const DiskFiles& files,
                                                                     std::size_t depth);

}  // namespace brimful::tier
