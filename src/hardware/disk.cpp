#include "hardware/disk.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "hardware/block_device.h"
#include "hardware/system_text.h"

namespace brimful::hardware {
namespace {

namespace fs = std::filesystem;

/// Decodes the kernel's `\040` and the like for spaces, tabs, newlines and backslashes.
std::string unescape(std::string_view text) {
  std::string out;
  const auto octal = [&](std::size_t i) { return text[i] >= '0' && text[i] <= '7'; };
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && octal(i + 1) && octal(i + 2) && octal(i + 3)) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::optional<DeviceNumber> parse_device(std::string_view text) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const auto major = parse_number(text.substr(0, colon));
  const auto minor = parse_number(text.substr(colon + 1));
  if (!major || !minor) return std::nullopt;
  return DeviceNumber{static_cast<std::uint32_t>(*major), static_cast<std::uint32_t>(*minor)};
}

std::optional<Mount> parse_mount(std::string_view line) {
  next_word(line);  // The mount's number.
  next_word(line);  // The number of its parent.
  const auto device = parse_device(next_word(line));
  next_word(line);  // The part of the file system that is mounted.
  Mount mount;
  mount.mount_point = unescape(next_word(line));
  // The mount's own options, and then optional fields up to a dash.
  std::string_view word = next_word(line);
  while (!word.empty() && word != "-") word = next_word(line);
  mount.file_system = next_word(line);
  mount.source = unescape(next_word(line));
  mount.options = unescape(next_word(line));
  if (!device || !mount.mount_point.starts_with('/') || mount.file_system.empty()) return std::nullopt;
  mount.device = *device;
  return mount;
}

bool lies_in(const fs::path& path, const fs::path& directory) {
  const auto [end, rest] = std::ranges::mismatch(directory, path);
  return end == directory.end();
}

/// Returns the kind of disk for file systems without a block device of their own; empty for all others.
std::string_view kind_without_device(std::string_view file_system) {
  constexpr std::array<std::string_view, 14> kNetwork{"nfs",  "nfs4", "cifs",      "smb3", "smbfs",
                                                      "9p",   "ceph", "glusterfs", "afs",  "lustre",
                                                      "fuse", "gpfs", "beegfs",    "ncpfs"};
  const bool network = std::ranges::find(kNetwork, file_system) != kNetwork.end();
  if (network || file_system.starts_with("fuse.")) return "network";
  if (file_system == "tmpfs" || file_system == "ramfs" || file_system == "devtmpfs") return "memory";
  if (file_system == "virtiofs") return "virtual disk";
  return {};
}

/// Finds the block device of a mount. btrfs and some others number their volumes themselves; their source is
/// a device under /dev.
std::optional<BlockDevice> device_of(const Mount& mount, const fs::path& root) {
  if (mount.device.major != 0) {
    if (auto found = read_block_device(
            root / fmt::format("sys/dev/block/{}:{}", mount.device.major, mount.device.minor)))
      return found;
  }
  if (!mount.source.starts_with("/dev/")) return std::nullopt;
  std::error_code error;
  const fs::path node = fs::weakly_canonical(root / fs::path(mount.source).relative_path(), error);
  if (error) return std::nullopt;
  return read_block_device(root / "sys/class/block" / node.filename());
}

/// Returns the folder that takes the writes of an overlay, as the host names it; empty when the options have
/// none.
fs::path upper_folder(std::string_view options) {
  constexpr std::string_view kKey = "upperdir=";
  while (!options.empty()) {
    const std::size_t comma = std::min(options.find(','), options.size());
    if (options.starts_with(kKey)) return options.substr(kKey.size(), comma - kKey.size());
    options.remove_prefix(std::min(comma + 1, options.size()));
  }
  return {};
}

/// Returns whether the file can be opened for direct reads. True when it does not exist.
bool can_read_directly(const fs::path& file) {
  std::error_code error;
  if (!fs::is_regular_file(file, error)) return true;
  const int fd = ::open(file.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
  if (fd < 0) return errno != EINVAL;
  ::close(fd);
  return true;
}

/// A path as it looks from `root`, with its device number if that is known.
struct Place {
  fs::path path;
  std::optional<DeviceNumber> device;
};

Place place_of(const fs::path& path, const fs::path& root) {
  std::error_code error;
  if (root != "/") {  // In a recorded tree the device numbers of this machine mean nothing.
    const fs::path base = fs::canonical(root, error);
    return {"/" / fs::weakly_canonical(base / path.relative_path(), error).lexically_relative(base), {}};
  }
  Place place{fs::weakly_canonical(fs::absolute(path, error), error), {}};
  if (error) place.path = fs::absolute(path, error).lexically_normal();
  struct stat status {};
  if (::stat(place.path.c_str(), &status) == 0)
    place.device = DeviceNumber{::major(status.st_dev), ::minor(status.st_dev)};
  return place;
}

void describe(const Place& place, std::span<const Mount> mounts, const fs::path& root, Disk& disk) {
  const Mount* mount = find_mount(mounts, place.path, place.device);
  if (mount == nullptr) return;
  disk.file_system = mount->file_system;
  if (mount->file_system == "overlay") {
    // In a container the upper folder is the host's and not visible. Then the disk stays unknown.
    const fs::path upper = upper_folder(mount->options);
    std::error_code error;
    if (!upper.is_absolute() || !fs::is_directory(root / upper.relative_path(), error)) return;
    const Mount* below = find_mount(mounts, upper, place_of(upper, root).device);
    if (below == nullptr || below->file_system == "overlay") return;
    mount = below;
  }
  const std::string_view kind = kind_without_device(mount->file_system);
  if (!kind.empty()) {
    disk.device = mount->source;
    disk.kind = kind;
    return;
  }
  if (auto device = device_of(*mount, root)) {
    disk.device = std::move(device->name);
    disk.kind = std::move(device->kind);
  }
}

}  // namespace

std::vector<Mount> parse_mountinfo(std::string_view text) {
  std::vector<Mount> mounts;
  while (!text.empty()) {
    if (auto mount = parse_mount(next_line(text))) mounts.push_back(std::move(*mount));
  }
  return mounts;
}

const Mount* find_mount(std::span<const Mount> mounts, const fs::path& path,
                        std::optional<DeviceNumber> device) {
  const Mount* nearest = nullptr;
  const Mount* nearest_of_device = nullptr;
  for (const Mount& mount : mounts) {
    if (!lies_in(path, mount.mount_point)) continue;
    const auto nearer = [&](const Mount* than) {
      return than == nullptr || mount.mount_point.size() >= than->mount_point.size();
    };
    if (nearer(nearest)) nearest = &mount;
    if (device == mount.device && nearer(nearest_of_device)) nearest_of_device = &mount;
  }
  return nearest_of_device != nullptr ? nearest_of_device : nearest;
}

Disk read_disk(const fs::path& path, const fs::path& root) {
  Disk disk;
  const auto text = read_text(root / "proc/self/mountinfo");
  if (!text) return disk;
  const Place place = place_of(path, root);
  describe(place, parse_mountinfo(*text), root, disk);
  disk.direct = can_read_directly(root / place.path.relative_path());
  return disk;
}

}  // namespace brimful::hardware
