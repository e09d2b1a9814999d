#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "hardware/profile.h"

/// Machines that are not here, from figures of public specifications: hardware/README.md.
namespace brimful::hardware {

struct Preset {
  std::string kind;     ///< `gpu`, `memory`, `disk` or `cpu`
  std::string name;     ///< `rtx-3060-12gb`
  std::string figures;  ///< for people: `12.00 GiB at 360 GB/s, PCIe 4.0 x16`
  std::string source;
};

/// All that are listed; memory and CPUs also come in other sizes, by rule. Grouped by kind.
[[nodiscard]] std::vector<Preset> list_presets();

/// `rtx-3060-12gb, 64gb-ddr4-3600, nvme-gen3, 8c16t`, in any order and case: any number of GPUs, one memory,
/// one disk, and at most one CPU (without it, the usual one).
/// Errors: kInvalidArgument: an unknown name, with those near it; something missing or twice, with what there
/// is.
[[nodiscard]] Result<Profile> machine_like(std::string_view spec);

/// A profile in JSON, as brimful probe --json writes it, or a TOML file of the presets' form with a
/// `machine`. Errors: kNotFound, kIo; kCorrupt and kInvalidArgument, naming the file and the field or line.
[[nodiscard]] Result<Profile> read_hardware_file(const std::filesystem::path& path);

}  // namespace brimful::hardware
