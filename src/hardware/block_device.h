#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace brimful::hardware {

/// The disk, or the disks, that a block device consists of.
struct BlockDevice {
  /// The kernel's name, such as `nvme0n1`. Several disks are written as `sda+sdb`.
  std::string name;
  /// The kind of disk, in the words of Disk::kind. With several disks it is the slowest kind.
  std::string kind;
};

/// Finds the disks of a block device. `sys_entry` is the device's folder under /sys, or a link to it. For a
/// partition the function returns its disk; for a device on top of others (device mapper, RAID) it returns
/// the disks below. Returns nullopt when the folder does not exist.
[[nodiscard]] std::optional<BlockDevice> read_block_device(const std::filesystem::path& sys_entry);

}  // namespace brimful::hardware
