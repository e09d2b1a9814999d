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

/// What a name such as `64gb-ddr4-3600` says.
struct MemoryName {
  std::uint32_t gb = 0;
  std::string kind;  ///< `ddr4`
  std::uint32_t mega_transfers_per_s = 0;
};
/// The form alone; such a kind need not exist. Pure.
[[nodiscard]] std::optional<MemoryName> parse_memory_name(std::string_view name);

/// What `8c16t` or `16-threads` (two a core) says; or the name of a CPU that is listed.
struct CpuName {
  std::uint32_t cores = 1;
  std::uint32_t threads = 1;
  std::string listed = {};  ///< `i9-14900k`: then its figures count, not those above
};
/// Nothing unless each core has one or two threads, or some have one and some two. Pure.
[[nodiscard]] std::optional<CpuName> parse_cpu_name(std::string_view name);

/// Groups of figures by name, as hardware/README.md describes them: the built-in ones, and a user's own.
/// Errors of all: kCorrupt, naming the group and field.
class Catalogue {
 public:
  [[nodiscard]] static Result<Catalogue> built_in();

  /// Adds `groups`, field by field: what is there already is replaced.
  void add(const nlohmann::json& groups) { groups_.merge_patch(groups); }

  [[nodiscard]] bool has(std::string_view group, std::string_view name) const;
  /// Those listed, and examples of those made by rule. `group`: `gpu`, `memory`, `disk` or `cpu`.
  [[nodiscard]] std::vector<std::string> names(std::string_view group) const;
  /// Where the figures are from.
  [[nodiscard]] std::string source(std::string_view group, std::string_view name) const;

  /// Requires for these two: has().
  [[nodiscard]] Result<Gpu> gpu(std::string_view name) const;
  [[nodiscard]] Result<Disk> disk(std::string_view name) const;
  /// Also kInvalidArgument: no such kind, or a size or speed that it does not come in.
  [[nodiscard]] Result<Ram> ram(const MemoryName& name) const;
  [[nodiscard]] Result<Cpu> cpu(const CpuName& name) const;
  /// The CPU that is called so: listed, or by rule. Nothing where there is none.
  [[nodiscard]] std::optional<CpuName> find_cpu(std::string_view name) const;
  /// What a CPU can read from any memory, where its own connections are what limits it.
  [[nodiscard]] Result<std::optional<double>> most_read_bytes_per_s(const CpuName& name) const;
  /// What those cores compute beside that RAM.
  [[nodiscard]] Result<Compute> compute(std::uint32_t cores, const Ram& ram) const;
  /// The CPU of a machine that names none.
  [[nodiscard]] Result<CpuName> usual_cpu() const;

 private:
  [[nodiscard]] Result<Cpu> listed_cpu(std::string_view name) const;

  nlohmann::json groups_ = nlohmann::json::object();
};

}  // namespace brimful::hardware
