#pragma once

#include <mutex>
#include <nlohmann/json.hpp>
#include <string>

#include "schedule/scheduler.h"

namespace brimful::serve {

/// What the scheduler's thread last said of itself, for the server's threads to tell. Threading: any.
class MetricsSnapshot {
 public:
  struct Figures {
    schedule::Statistics did;
    std::size_t running = 0;
    std::size_t waiting = 0;
    std::uint32_t cells = 0;  ///< of the KV cache, tokens
    std::uint32_t free_cells = 0;
    std::uint64_t ended = 0;     ///< requests
    double request_seconds = 1;  ///< that one took lately, waiting included
    tier::PassStatistics passes;
    nlohmann::ordered_json tiers;  ///< session::tiers_json()
    std::optional<Bytes> peak;     ///< of the host's memory
  };

  void publish(Figures figures);
  [[nodiscard]] Figures read() const;

 private:
  mutable std::mutex mutex_;
  Figures figures_;
};

/// Prometheus' text format, 0.0.4. What llama-server tells as well has its names.
[[nodiscard]] std::string metrics_text(const MetricsSnapshot::Figures& figures);

}  // namespace brimful::serve
