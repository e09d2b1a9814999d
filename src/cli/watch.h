#pragma once

#include <sys/types.h>

#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "hardware/activity.h"

namespace brimful::cli {

/// What `brimful top` and `brimful ctl` say where there is nothing to show.
inline constexpr const char* kNothingRuns =
    "no brimful of this user runs a model: start one with brimful run or brimful serve";

/// Follows running models from one sample to the next: docs/control.md has the fields.
/// Call it while this process has no other threads (hardware::read_gpus).
class Watch {
 public:
  static constexpr std::chrono::milliseconds kPatience{2000};  ///< with a process that is asked

  /// Of everything, now; rates since the sample before. Processes that have ended are left out.
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

/// The number at `pointer`; 0 where there is none.
[[nodiscard]] double number_at(const nlohmann::json& object, const char* pointer);

}  // namespace brimful::cli
