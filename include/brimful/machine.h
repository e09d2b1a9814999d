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
  std::string name{};    ///< As its driver calls it.
  Bytes memory{};        ///< All of its memory.
};

/// A machine as data: its parts, and how fast they are. Forecasts are made from it. A Machine never changes: copies
/// share their content. Threading: any thread, where nothing else is said.
class BRIMFUL_API Machine {
 public:
  /// Called before each step of a measurement: a name of the step for people, the number of steps that are done, and
  /// the number of all steps.
  using OnStep = std::function<void(std::string_view what, int done, int steps)>;

  /// This machine as it was measured before, by measure() or by `brimful probe` of the same user. Unset: it was not
  /// measured for the disk of `model` and this number of threads, or only while other programs used the processors.
  /// `threads` are those of ContextOptions::threads. Nothing is measured.
  /// Threading: GPUs are looked for in a forked process, which is ended after five seconds. Where another thread of
  /// the program holds a lock of the dynamic linker meanwhile, it may take that long, and give no GPUs.
  [[nodiscard]] static std::optional<Machine> known(const Model& model, std::optional<std::uint32_t> threads = {});
  /// This machine. Rates that are not known yet are measured, and kept in the user's cache folder
  /// (`$XDG_CACHE_HOME/brimful`), where `brimful` and later processes find them. Blocks: a minute to some minutes the
  /// first time, less for another type of weights, and hardly at all when everything is known. It computes with all
  /// `threads` and reads the disk meanwhile; whatever else runs makes the rates too low.
  /// Errors: kIo, kInternal; kBudgetExceeded where there is not enough memory to measure in.
  /// Threading: as known(). It takes memory that no budget counts: call it while there is no session.
  [[nodiscard]] static Result<Machine> measure(const Model& model, std::optional<std::uint32_t> threads = {},
                                               const OnStep& on_step = {});
  /// A machine that is not here, by the names of its parts: `rtx-3060-12gb, 64gb-ddr4-3600, nvme-gen3, 8c16t`. These
  /// are the names that `brimful plan --like` takes. Errors: kInvalidArgument; the message has similar names.
  [[nodiscard]] static Result<Machine> like(std::string_view parts);
  /// A machine that is described in a file: JSON that to_json() or `brimful probe --json` wrote, or TOML as presets
  /// have it. Errors: kNotFound, kIo, kCorrupt, kUnsupported, kInvalidArgument.
  [[nodiscard]] static Result<Machine> read(const std::filesystem::path& file);

  [[nodiscard]] const std::string& name() const;      ///< `this machine`, or the names of its parts.
  [[nodiscard]] bool is_this_machine() const;         ///< True for known() and measure().
  [[nodiscard]] const std::string& measured() const;  ///< The time in ISO 8601. Empty: rates come from presets.
  [[nodiscard]] std::vector<MachineGpu> gpus() const;
  /// Everything that is known of the machine, as JSON for read() and `brimful plan --hardware`.
  [[nodiscard]] std::string to_json() const;

 private:
  friend class Model;
  friend class Session;
  explicit Machine(std::shared_ptr<const session::MachineFacts> facts);
  std::shared_ptr<const session::MachineFacts> facts_;
};

}  // namespace brimful
