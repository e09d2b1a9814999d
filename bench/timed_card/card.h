#pragma once

#include <cstdint>
#include <string>

namespace brimful::timed_card {

/// A card that is simulated: what it has, and how fast it is. Rates are in bytes or operations per second of
/// this machine's clock: bench/card divides those of the real card by one factor, so that they stand to this
/// machine's cores as the real card's rates stand to the cores beside it (docs/timed-card.md).
struct Card {
  std::string description = "timed card";
  std::uint64_t memory = std::uint64_t{1} << 30;  ///< bytes
  double memory_rate = 1e11;                      ///< reads of its own memory, bytes/s
  double flops = 1e12;                            ///< operations/s in matrix products
  double link_rate = 1e10;          ///< copies from and to pinned memory, bytes/s in each direction
  double pageable_rate = 5e9;       ///< copies from and to other memory of the host, bytes/s
  double copy_latency = 1e-5;       ///< seconds that each copy takes beside its bytes
  double launch = 4e-6;             ///< seconds for each kernel of a graph that is not recorded
  double recorded_launch = 1.5e-6;  ///< seconds for each kernel of a recorded graph
  double cores_rate = 0;            ///< bytes/s that the busy cores read; 0: cores and link do not share RAM
  double together_rate = 0;         ///< bytes/s that cores and link read together
  int cores = 1;                    ///< the number of threads that compute on the host
  bool computes = false;            ///< whether it computes everything, for its results; then times are wrong
  std::string report;               ///< the file that gets the account at the end; empty: none
};

/// Reads the description of a card: `key=value` with the names above, separated by commas. Throws
/// std::invalid_argument for a key that is not known or a value that is no number.
[[nodiscard]] Card read_card(const std::string& text);

}  // namespace brimful::timed_card
