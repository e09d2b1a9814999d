#pragma once

#include <compare>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hardware/profile.h"

namespace brimful::hardware {

/// The kernel's number of a device.
struct DeviceNumber {
  /// 0 for a file system without a block device, whose minor number the kernel chooses freely.
  std::uint32_t major = 0;
  std::uint32_t minor = 0;
  auto operator<=>(const DeviceNumber&) const = default;
};

/// One line of /proc/self/mountinfo.
struct Mount {
  DeviceNumber device;
  std::string mount_point;
  /// The type of the file system, such as `ext4`.
  std::string file_system;
  /// The mounted device or export, such as `/dev/sda1` or `server:/export`, or any other word.
  std::string source;
  /// The options of the file system, separated by commas.
  std::string options;
};

/// Parses the text of /proc/self/mountinfo. Lines of another form are left out. Pure.
[[nodiscard]] std::vector<Mount> parse_mountinfo(std::string_view text);

/// Returns the mount that `path` lies in, or null when there is none. `path` is absolute and without
/// symbolic links. Among the mounts above the path it is the nearest one with the device number `device`, or
/// else the nearest of all. When two mounts have the same place, the later one hides the other. Pure.
/// Lifetime: that of `mounts`.
[[nodiscard]] const Mount* find_mount(std::span<const Mount> mounts, const std::filesystem::path& path,
                                      std::optional<DeviceNumber> device = {});

/// Reads the facts about the disk that `path` lies on, without rates. The path need not exist yet. `root`
/// stands before /proc and /sys, and before `path`. A kind that cannot be found out is `unknown`.
[[nodiscard]] Disk read_disk(const std::filesystem::path& path, const std::filesystem::path& root = "/");

}  // namespace brimful::hardware
