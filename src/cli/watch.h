#pragma once

#include <sys/types.h>

#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "hardware/activity.h"

namespace brimful::cli {

/// The message of `brimful top` and `brimful ctl` when no model runs.
inline constexpr const char* kNothingRuns =
    "no process of this user runs a model: start one with brimful run or brimful serve";

/// Takes samples of running models, of the GPUs and of swapping (docs/control.md has the fields).
/// Threading: use it while this process has no other threads (see hardware::read_gpus()).
class Watch {
 public:
  /// The longest time in which a process may answer.
  static constexpr std::chrono::milliseconds kPatience{2000};

  /// Takes a sample of the processes `pids` and of the machine. Rates are those since the sample before.
  /// Processes that do not answer are left out. Blocks: at most kPatience for each process, and the time of
  /// hardware::read_gpus().
  [[nodiscard]] nlohmann::json sample(const std::vector<pid_t>& pids);

 private:
  struct Seen {
    nlohmann::json status;
    nlohmann::json rates = nlohmann::json::object();
  };
  [[nodiscard]] std::optional<nlohmann::json> process(pid_t pid);
  [[nodiscard]] nlohmann::json swap();

  std::map<pid_t, Seen> seen_;
  std::optional<hardware::SwapTraffic> swap_;
  std::chrono::steady_clock::time_point swap_at_;
};

/// Returns the number at the JSON pointer `pointer`; 0 when there is none.
[[nodiscard]] double number_at(const nlohmann::json& object, const char* pointer);

}  // namespace brimful::cli
