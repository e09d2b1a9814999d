#pragma once

#include <optional>

#include "tier/io/disk_reader.h"

namespace brimful::tier {

/// A block on its way: what both readers keep of it.
struct BlockState {
  BlockRead read;
  std::uint64_t done = 0;  ///< bytes already in place; a multiple of the block size
  int retries = 0;
};

/// Takes the result of one system call (bytes, or -errno) into `state`.
/// Returns the block's end, or nothing when it has to be submitted again from state.done.
[[nodiscard]] std::optional<Status> finish_block(const DiskFiles::File& file, BlockState& state,
                                                 std::int64_t result);

[[nodiscard]] Result<std::unique_ptr<DiskReader>> make_uring_reader(const DiskFiles& files,
                                                                    std::size_t depth);
[[nodiscard]] Result<std::unique_ptr<DiskReader>> make_thread_reader(const DiskFiles& files,
                                                                     std::size_t depth);

}  // namespace brimful::tier
