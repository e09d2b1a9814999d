#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace brimful::hardware {

/// What a block device is made of.
struct BlockDevice {
  std::string name;  ///< `nvme0n1`; several as `sda+sdb`
  std::string kind;  ///< as in Disk; of several the slowest
};

/// `sys_entry`: the device's folder under /sys, or a link to it. A partition is its disk; what stands on
/// other devices (device mapper, RAID) is those. Nothing where the folder is not there.
[[nodiscard]] std::optional<BlockDevice> read_block_device(const std::filesystem::path& sys_entry);

}  // namespace brimful::hardware
