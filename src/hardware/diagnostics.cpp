#include "hardware/diagnostics.h"

#include <fmt/format.h>

#include <algorithm>

#include "hardware/gpu_room.h"

namespace brimful::hardware {
namespace {

using Sentences = std::vector<std::string>;

double number(Bytes bytes) { return static_cast<double>(bytes.value); }

std::string rate(double bytes_per_s) {
  return bytes_per_s < 1e9 ? fmt::format("{:.3g} MB/s", bytes_per_s / 1e6)
                           : fmt::format("{:.3g} GB/s", bytes_per_s / 1e9);
}

std::string duration(double seconds) {
  if (seconds < 1) return fmt::format("{:.2g} s", seconds);
  return seconds < 120 ? fmt::format("{:.3g} s", seconds) : fmt::format("{:.3g} minutes", seconds / 60);
}

/// Returns the rate at which weights stream while the model computes; 0 when it was not measured.
double streaming_rate(const Disk& disk) {
  return disk.beside_compute_bytes_per_s > 0 ? disk.beside_compute_bytes_per_s : disk.best_bytes_per_s();
}

Bytes usable_ram(const Ram& ram) {
  return ram.cgroup_limit ? std::min(ram.available, *ram.cgroup_limit) : ram.available;
}

/// Returns the bytes that one token reads from the disk when memory lacks `rest` bytes of the model. Every
/// expert is equally likely, and experts are the first weights for which memory has no place.
Bytes read_for_a_token(const ModelSize& model, Bytes rest) {
  const Bytes experts = std::min(rest, model.experts);
  return rest - experts + Bytes{static_cast<std::uint64_t>(number(experts) * model.share_used)};
}

void about_the_model(const Profile& profile, const ModelSize& model, Sentences& all) {
  const Bytes ram = usable_ram(profile.ram);
  Bytes vram;
  for (const Gpu& gpu : profile.gpus) vram += saturating_sub(gpu.free, gpu.runtime.value_or(Bytes{}));
  if (model.weights <= ram + vram) return;
  const Bytes reads = read_for_a_token(model, model.weights - ram - vram);
  std::string sentence =
      fmt::format("The model has {} of weights, and {} of RAM{} are free: a token reads {}{} from the disk",
                  format_bytes(model.weights), format_bytes(ram),
                  vram > Bytes{} ? fmt::format(" and {} of VRAM", format_bytes(vram)) : "",
                  model.experts > Bytes{} ? "about " : "at least ", format_bytes(reads));
  const double disk = streaming_rate(profile.disk);
  if (disk > 0)
    sentence += fmt::format(", which takes {} at this disk's {}", duration(number(reads) / disk), rate(disk));
  all.push_back(sentence + ".");
}

void about_swap(const Ram& ram, Sentences& all) {
  constexpr Bytes kNegligible = kMiB * 64;
  if (ram.swap_used < kNegligible) return;
  all.push_back(fmt::format("{} are swapped out: close programs, or what you do next waits for the disk.",
                            format_bytes(ram.swap_used)));
}

void about_the_cgroup(const Ram& ram, Sentences& all) {
  if (!ram.cgroup_limit || *ram.cgroup_limit >= ram.total) return;
  all.push_back(
      fmt::format("A cgroup (a container's or service's limit) allows {} of the {} of RAM: raise its "
                  "limit to use more.",
                  format_bytes(*ram.cgroup_limit), format_bytes(ram.total)));
}

void about_memory_speed(const Ram& ram, Sentences& all) {
  if (ram.mega_transfers_per_s && ram.rated_mega_transfers_per_s &&
      *ram.mega_transfers_per_s < *ram.rated_mega_transfers_per_s)
    all.push_back(
        fmt::format("The memory runs at {} MT/s and is made for {}: switch on its profile (XMP or EXPO) "
                    "in the firmware's setup.",
                    *ram.mega_transfers_per_s, *ram.rated_mega_transfers_per_s));
  const auto transfers = ram.mega_transfers_per_s ? ram.mega_transfers_per_s : ram.rated_mega_transfers_per_s;
  if (!transfers || ram.read_bytes_per_s <= 0) return;
  constexpr double kBytesPerTransfer = 8;
  constexpr double kChannels = 2;
  const double of_two_channels = 1e6 * *transfers * kBytesPerTransfer * kChannels;
  if (ram.read_bytes_per_s >= of_two_channels / 2) return;
  const std::string_view why =
      ram.modules == 1U ? "there is one module: a second one beside it doubles the rate"
                        : "is only one of two channels in use? See which sockets the board's manual names";
  all.push_back(
      fmt::format("Memory reads at {}, less than half of what {} MT/s give on two channels ({}); {}.",
                  rate(ram.read_bytes_per_s), *transfers, rate(of_two_channels), why));
}

void about_the_disk(const Disk& disk, Sentences& all) {
  constexpr double kSlow = 500e6;
  const double best = disk.best_bytes_per_s();
  const std::string at = best > 0 ? fmt::format(" ({})", rate(best)) : std::string();
  if (disk.kind == "hard disk")
    all.push_back(
        fmt::format("The model lies on a hard disk{}: on an SSD streaming is many times faster.", at));
  else if (disk.kind == "network")
    all.push_back(
        fmt::format("The model lies on a network file system, {}{}: copy it to a disk of this machine.",
                    disk.file_system.empty() ? disk.device : disk.file_system, at));
  else if (disk.kind == "USB disk" || disk.kind == "memory card")
    all.push_back(
        fmt::format("The model lies on a {}{}: copy it to a disk inside this machine.", disk.kind, at));
  else if (disk.kind == "memory")
    all.push_back(
        fmt::format("The model lies in memory ({}), which is then missing to run it: move it to a disk.",
                    disk.file_system));
  else if (best > 0 && best < kSlow)
    all.push_back(fmt::format("The disk reads at {}: an NVMe SSD streams several times faster.", rate(best)));
  if (!disk.direct)
    all.push_back(
        fmt::format("The file system{} cannot read past the page cache, which then takes memory from the "
                    "model: keep the model on ext4, xfs or btrfs.",
                    disk.file_system.empty() ? "" : fmt::format(" {}", disk.file_system)));
}

void about_gpus(const Profile& profile, Sentences& all) {
  constexpr Bytes kNoticeable = kMiB * 512;
  constexpr std::uint32_t kNarrow = 8;
  if (profile.gpu_problem)
    all.push_back(fmt::format("{} not used: {}.", profile.gpus.empty() ? "A GPU is" : "One GPU is",
                              *profile.gpu_problem));
  for (const Gpu& gpu : profile.gpus) {
    const Bytes others = held_by_programs(gpu);
    if (others >= kNoticeable)
      all.push_back(
          fmt::format("{} of the {} on {} are used by other programs: close them to fit more of the model.",
                      format_bytes(others), format_bytes(gpu.total), gpu.name));
    if (gpu.pcie_width && *gpu.pcie_width < kNarrow)
      all.push_back(
          fmt::format("{} has {} PCIe lane{}: weights that do not fit its memory reach it slowly; another "
                      "slot may have 16.",
                      gpu.name, *gpu.pcie_width, *gpu.pcie_width == 1 ? "" : "s"));
  }
}

}  // namespace

std::vector<std::string> diagnostics(const Profile& profile, const std::optional<ModelSize>& model) {
  Sentences all;
  if (profile.disturbed_by)
    all.push_back(fmt::format(
        "While the rates were measured, other programs used {:.1f} of the {} processors: the rates "
        "are too low, and so is every forecast. `brimful probe` measures again when they are done.",
        *profile.disturbed_by, profile.cpu.threads));
  if (model) about_the_model(profile, *model, all);
  about_swap(profile.ram, all);
  about_the_disk(profile.disk, all);
  about_gpus(profile, all);
  about_the_cgroup(profile.ram, all);
  about_memory_speed(profile.ram, all);
  return all;
}

}  // namespace brimful::hardware
