#pragma once

#include <mutex>
#include <nlohmann/json.hpp>
#include <string>

#include "schedule/scheduler.h"

namespace brimful::serve {

/// The latest figures of the scheduler's thread, for the server's threads to report. Threading: any number
/// of threads.
class MetricsSnapshot {
 public:
  /// The figures at one moment; counters count since the start.
  struct Figures {
    schedule::Statistics did;
    /// The number of requests that are computed.
    std::size_t running = 0;
    /// The number of requests that wait.
    std::size_t waiting = 0;
    /// The size of the KV cache in cells, one for each token.
    std::uint32_t cells = 0;
    /// The number of cells that can still be reserved.
    std::uint32_t free_cells = 0;
    /// The number of requests that have ended.
    std::uint64_t ended = 0;
    /// The recent mean time of a request in seconds, waiting included.
    double request_seconds = 1;
    tier::PassStatistics passes;
    /// The tiers with their budgets, as session::tiers_json() returns them.
    nlohmann::ordered_json tiers;
    /// The most host memory that the process held. Unset when the kernel does not tell.
    std::optional<Bytes> peak;
  };

  /// Replaces the figures.
  void publish(Figures figures);
  /// Returns the latest figures.
  [[nodiscard]] Figures read() const;

 private:
  mutable std::mutex mutex_;
  Figures figures_;
};

/// Writes the figures in the text format of Prometheus, version 0.0.4. Figures that llama-server reports,
/// too, have its names. Pure.
[[nodiscard]] std::string metrics_text(const MetricsSnapshot::Figures& figures);

}  // namespace brimful::serve
