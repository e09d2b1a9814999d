#pragma once

#include <brimful/bytes.h>
#include <brimful/export.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace brimful {

/// The part of a machine that a pass keeps busy for the longest time.
enum class Bound {
  kCompute,  ///< The cores.
  kRam,      ///< The cores, which wait for main memory more than they compute.
  kDisk,     ///< Reads of weights.
  kGpu,      ///< The GPUs.
  kLink,     ///< Copies between main memory and GPUs.
};

/// The name of the part, such as `RAM bandwidth`. The text lives as long as the program.
[[nodiscard]] BRIMFUL_API std::string_view to_string(Bound bound);

/// How long one or more passes over the weights take. Each part is the time that it would take alone. Parts overlap, so
/// they may add up to more than `total`.
struct PassForecast {
  using Seconds = std::chrono::duration<double>;

  Seconds total{};
  Seconds compute{};  ///< The cores compute.
  Seconds disk{};     ///< Weights are read that every pass needs.
  Seconds experts{};  ///< Chosen experts are read that are not in memory.
  Seconds gpu{};      ///< The GPUs compute.
  Seconds link{};     ///< Weights and values cross between main memory and GPUs.
  Bytes read{};       ///< Bytes that are expected to be read from disk.
  /// The part that takes longest. Both kinds of reads count as the disk's.
  Bound bound_by = Bound::kCompute;
};

/// How fast a session is expected to be, while nothing else runs on the machine.
struct Forecast {
  std::uint32_t requests = 1;          ///< Requests that are answered together.
  std::uint32_t prompt_tokens = 0;     ///< Tokens of each prompt.
  double answer_tokens_per_second = 0; ///< Tokens of answers, of all requests together.
  double prompt_tokens_per_second = 0; ///< Tokens of prompts.
  std::chrono::duration<double> first_token{};  ///< From the beginning of one prompt to the first token of its answer.
  std::chrono::duration<double> load{};         ///< From the beginning of Session::start() to its end.
  PassForecast pass{};    ///< The pass that gives each request one token.
  PassForecast prompt{};  ///< All passes over one prompt.
};

/// A change that would make a plan faster. It is never another model.
struct PlanChange {
  /// What to change, in words or as a flag of `brimful`: `quantisation Q4_K_M`, `-c 2048`, `32.00 GiB of RAM`.
  std::string what{};
  std::string note{};  ///< The price of the change, for people. Empty: none is known.
  double answer_tokens_per_second = 0;  ///< Tokens of answers after the change, of all requests together.
  double factor = 0;  ///< The rate after the change, divided by the rate before.
  Bytes weights{};    ///< All weights of the model in the other quantisation. 0: `what` is another change.
};

}  // namespace brimful
