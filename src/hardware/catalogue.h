#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "hardware/profile.h"

namespace brimful::hardware {

/// The parts of a memory's name, such as `64gb-ddr4-3600`.
struct MemoryName {
  std::uint32_t gb = 0;
  /// The kind in lower case, such as `ddr4`.
  std::string kind;
  std::uint32_t mega_transfers_per_s = 0;
};
/// Takes a memory's name to pieces. Returns nullopt for a text of another form. It does not look whether the
/// kind exists. Pure.
[[nodiscard]] std::optional<MemoryName> parse_memory_name(std::string_view name);

/// The meaning of a CPU's name: numbers of cores and threads, such as `8c16t` or `16-threads` (two threads
/// for each core), or a CPU of the catalogue.
struct CpuName {
  std::uint32_t cores = 1;
  std::uint32_t threads = 1;
  /// The name of a CPU in the catalogue, such as `i9-14900k`. When it is set, `cores` and `threads` mean
  /// nothing. Empty for a CPU that is given by its numbers.
  std::string listed = {};
};
/// Parses `8c16t` or `16-threads`. Returns nullopt for another form, and unless every core has one or two
/// threads.
/// Pure.
[[nodiscard]] std::optional<CpuName> parse_cpu_name(std::string_view name);

/// The figures of known hardware parts by group and name, as hardware/README.md describes them: the built-in
/// presets, and the parts that a user adds. `group` is `gpu`, `memory`, `disk` or `cpu` everywhere.
/// Errors of all functions: kCorrupt; the message names the group and the field.
class Catalogue {
 public:
  /// Returns the presets that were built into the program.
  [[nodiscard]] static Result<Catalogue> built_in();

  /// Adds `groups` field by field. A field that exists already is replaced.
  void add(const nlohmann::json& groups) { groups_.merge_patch(groups); }

  /// Whether the catalogue lists an entry called `name` in the group. For `memory` the name is a kind, such
  /// as `ddr4`.
  [[nodiscard]] bool has(std::string_view group, std::string_view name) const;
  /// The names of a group's entries. For memory and CPUs, which also have names made by rule (`8c16t`), the
  /// result holds examples of those names.
  [[nodiscard]] std::vector<std::string> names(std::string_view group) const;
  /// The source of an entry's figures, for people.
  [[nodiscard]] std::string source(std::string_view group, std::string_view name) const;

  /// The GPU with that name. Requires: has("gpu", name).
  [[nodiscard]] Result<Gpu> gpu(std::string_view name) const;
  /// The disk with that name. Requires: has("disk", name).
  [[nodiscard]] Result<Disk> disk(std::string_view name) const;
  /// The memory with that name, with its rates. Errors: also kInvalidArgument for an unknown kind, and for a
  /// size or speed in which the kind does not exist.
  [[nodiscard]] Result<Ram> ram(const MemoryName& name) const;
  /// The CPU with that name. Errors: also kInvalidArgument for too many cores.
  [[nodiscard]] Result<Cpu> cpu(const CpuName& name) const;
  /// Looks for a CPU with that name in the catalogue, and then parses the name by rule. Returns nullopt when
  /// it is neither.
  [[nodiscard]] std::optional<CpuName> find_cpu(std::string_view name) const;
  /// The highest rate at which a CPU can read from any memory, in bytes/s. Unset when the CPU itself is no
  /// limit.
  [[nodiscard]] Result<std::optional<double>> most_read_bytes_per_s(const CpuName& name) const;
  /// The compute rates of so many physical cores with that RAM.
  [[nodiscard]] Result<Compute> compute(std::uint32_t cores, const Ram& ram) const;
  /// The CPU that is assumed when a machine's description names none.
  [[nodiscard]] Result<CpuName> usual_cpu() const;

 private:
  [[nodiscard]] Result<Cpu> listed_cpu(std::string_view name) const;

  nlohmann::json groups_ = nlohmann::json::object();
};

}  // namespace brimful::hardware
