#include "hardware/block_device.h"

#include <algorithm>
#include <array>
#include <set>
#include <string_view>

#include "hardware/system_text.h"

namespace brimful::hardware {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 9> kSlowestFirst{"unknown",      "hard disk", "memory card",
                                                        "USB disk",     "network",   "SATA SSD",
                                                        "virtual disk", "NVMe SSD",  "memory"};

std::string_view slower(std::string_view a, std::string_view b) {
  const auto rank = [](std::string_view kind) { return std::ranges::find(kSlowestFirst, kind); };
  return rank(a) < rank(b) ? a : b;
}

std::string first_line(const fs::path& path) {
  const auto text = read_text(path);
  return text ? std::string(trim(*text)) : std::string();
}

/// Returns whether the disk is a hypervisor's behind a SCSI controller, which its vendor or model name says.
bool is_virtual(const fs::path& dir) {
  const std::string vendor = first_line(dir / "device/vendor");
  const std::string model = first_line(dir / "device/model");
  return vendor == "QEMU" || vendor == "VMware" || vendor == "Msft" || vendor == "Google" ||
         vendor == "VBOX" || model.starts_with("QEMU") || model.starts_with("VMware") ||
         model.starts_with("VBOX");
}

std::string_view kind_of(const fs::path& dir) {
  const std::string name = dir.filename();
  const auto begins = [&](auto... prefixes) { return (name.starts_with(prefixes) || ...); };
  if (begins("nvme")) return "NVMe SSD";
  if (begins("vd", "xvd")) return "virtual disk";
  if (begins("mmcblk")) return "memory card";
  if (begins("nbd", "rbd", "drbd")) return "network";
  if (begins("zram", "ram")) return "memory";
  if (!begins("sd", "hd")) return "unknown";
  if (is_virtual(dir)) return "virtual disk";
  if (dir.string().find("/usb") != std::string::npos) return "USB disk";
  const std::string rotational = first_line(dir / "queue/rotational");
  if (rotational == "1") return "hard disk";
  return rotational == "0" ? "SATA SSD" : "unknown";
}

/// Adds the disks below the device `dir` to `disks`, or the device itself when there are none below it.
void collect_disks(fs::path dir, int depth, std::set<fs::path>& disks) {
  constexpr int kDeepest = 8;
  std::error_code error;
  if (fs::exists(dir / "partition", error)) dir = dir.parent_path();
  bool stands_on_others = false;
  if (depth < kDeepest) {
    for (fs::directory_iterator slave(dir / "slaves", error); !error && slave != fs::directory_iterator();
         slave.increment(error)) {
      std::error_code dangling;
      const fs::path below = fs::canonical(slave->path(), dangling);
      if (dangling) continue;
      stands_on_others = true;
      collect_disks(below, depth + 1, disks);
    }
  }
  if (!stands_on_others) disks.insert(dir);
}

}  // namespace

std::optional<BlockDevice> read_block_device(const fs::path& sys_entry) {
  std::error_code error;
  const fs::path dir = fs::canonical(sys_entry, error);
  if (error) return std::nullopt;
  std::set<fs::path> disks;
  collect_disks(dir, 0, disks);
  BlockDevice device;
  for (const fs::path& disk : disks) {
    const std::string_view kind = kind_of(disk);
    device.kind = device.name.empty() ? kind : slower(device.kind, kind);
    if (!device.name.empty()) device.name += '+';
    device.name += disk.filename().string();
  }
  return device;
}

}  // namespace brimful::hardware
