#pragma once

#include <brimful/bytes.h>
#include <brimful/export.h>
#include <brimful/result.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace brimful {

class Model;
namespace session {
struct MachineFacts;
}

/// A GPU of a machine.
struct MachineGpu {
  std::string device{};  ///< The name for VramBudget::device: `CUDA0`.
  std::string name{};    ///< The name that its driver reports.
  Bytes memory{};        ///< The total memory of the GPU.
};

/// Describes a machine: its parts, and how fast they are (their rates). Forecasts are made from it. A Machine never
/// changes: copies share their content. Threading: any thread, unless a function says otherwise.
class BRIMFUL_API Machine {
 public:
  /// Called before each step of a measurement. `what`: the name of the step, for the user. `done`: the number of steps
  /// that are done. `steps`: the number of all steps.
  using OnStep = std::function<void(std::string_view what, int done, int steps)>;

  /// Returns what was measured of this machine before, by measure() or by `brimful probe` of the same user. It measures
  /// nothing. `threads` has the meaning of ContextOptions::threads. Returns nothing if something is missing that
  /// `model` needs (its disk, its types of weights, this number of threads), or if other programs used the processor
  /// during the measurement.
  /// Threading: any thread. The function looks for GPUs in a forked process, and ends that process if it takes more
  /// than five seconds. If another thread holds a lock of the dynamic linker during the fork, the call may take these
  /// five seconds and find no GPUs.
  [[nodiscard]] static std::optional<Machine> known(const Model& model, std::optional<std::uint32_t> threads = {});
  /// Measures the rates of this machine that are not known yet, and keeps them in the user's cache folder
  /// (`$XDG_CACHE_HOME/brimful`), where `brimful` and later processes find them. Blocks: one minute to several minutes
  /// the first time, less if only a new type of weights must be measured, and almost not at all if everything is known.
  /// It computes with all `threads` and reads the disk. Other programs that run at the same time make the rates too
  /// low.
  /// Errors: kIo, kInternal; kBudgetExceeded if there is not enough memory for the measurement.
  /// Threading: as known(). The memory of the measurement counts towards no budget, so call measure() only while there
  /// is no session.
  [[nodiscard]] static Result<Machine> measure(const Model& model, std::optional<std::uint32_t> threads = {},
                                               const OnStep& on_step = {});
  /// Describes another machine by the names of its parts, in any order, with commas between them:
  /// `rtx-3060-12gb, 64gb-ddr4-3600, nvme-gen3, 8c16t`. `brimful plan --like` takes the same names. Errors:
  /// kInvalidArgument for an unknown name; the message suggests similar ones.
  [[nodiscard]] static Result<Machine> like(std::string_view parts);
  /// Reads the description of a machine from a file: JSON from to_json() or `brimful probe --json`, or TOML in the form
  /// of the presets in `hardware/`. Errors: kNotFound, kIo, kCorrupt, kUnsupported, kInvalidArgument.
  [[nodiscard]] static Result<Machine> read(const std::filesystem::path& file);

  [[nodiscard]] const std::string& name() const;      ///< `this machine`, or for another one the names of its parts.
  [[nodiscard]] bool is_this_machine() const;         ///< True for known() and measure().
  [[nodiscard]] const std::string& measured() const;  ///< When, in ISO 8601. Empty: not measured here.
  [[nodiscard]] std::vector<MachineGpu> gpus() const;  ///< In the order of their names.
  /// All data about the machine, as JSON for read() and `brimful plan --hardware`.
  [[nodiscard]] std::string to_json() const;

 private:
  friend class Model;
  friend class Session;
  explicit Machine(std::shared_ptr<const session::MachineFacts> facts);
  std::shared_ptr<const session::MachineFacts> facts_;
};

}  // namespace brimful
