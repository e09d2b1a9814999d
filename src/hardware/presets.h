#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "hardware/profile.h"

/// Profiles of machines that are not at hand, made from the figures of public specifications
/// (hardware/README.md).
namespace brimful::hardware {

/// One hardware part that machine_like() knows by name.
struct Preset {
  /// The kind of part: `gpu`, `memory`, `disk` or `cpu`.
  std::string kind;
  /// The name, such as `rtx-3060-12gb`.
  std::string name;
  /// The figures for people, such as `12.00 GiB at 360 GB/s, PCIe 4.0 x16`.
  std::string figures;
  /// The source of the figures.
  std::string source;
};

/// Returns all presets, grouped by kind. For memory and CPUs they are examples: other sizes have names by
/// rule.
[[nodiscard]] std::vector<Preset> list_presets();

/// Makes the profile of a machine from the names of its parts, such as `rtx-3060-12gb, 64gb-ddr4-3600,
/// nvme-gen3, 8c16t`. The names come in any order and case: any number of GPUs, one memory, one disk, and at
/// most one CPU. Without a CPU, a usual one is assumed.
/// Errors: kInvalidArgument for an unknown name (the message has similar ones), and for a part that is
/// missing or named twice.
[[nodiscard]] Result<Profile> machine_like(std::string_view spec);

/// Reads a profile from a file: JSON, as brimful probe --json writes it, or TOML in the form of the presets
/// with a line `machine = "..."`.
/// Errors: kNotFound, kIo; kCorrupt, kUnsupported and kInvalidArgument, naming the file and the field or
/// line.
[[nodiscard]] Result<Profile> read_hardware_file(const std::filesystem::path& path);

}  // namespace brimful::hardware
