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

struct DeviceNumber {
  std::uint32_t major = 0;  ///< 0: not a block device: the kernel numbers such file systems as it likes
  std::uint32_t minor = 0;
  auto operator<=>(const DeviceNumber&) const = default;
};

/// One line of /proc/self/mountinfo.
struct Mount {
  DeviceNumber device;
  std::string mount_point;
  std::string file_system;
  std::string source;   ///< `/dev/sda1`, `server:/export`, or any word
  std::string options;  ///< of the file system
};

/// Lines that are not of the kernel's form are left out. Pure.
[[nodiscard]] std::vector<Mount> parse_mountinfo(std::string_view text);

/// The mount that `path`, absolute and without links, lies in: of those above it the nearest with that device
/// number, or the nearest of all. Of two at one place the later one hides the other. Pure.
[[nodiscard]] const Mount* find_mount(std::span<const Mount> mounts, const std::filesystem::path& path,
                                      std::optional<DeviceNumber> device = {});

/// The disk under `path` (which need not exist yet), without rates. `root` stands before /proc and /sys, and
/// before `path`. What cannot be found out stays `unknown`.
[[nodiscard]] Disk read_disk(const std::filesystem::path& path, const std::filesystem::path& root = "/");

}  // namespace brimful::hardware
