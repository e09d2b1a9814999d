#pragma once

#include <brimful/bytes.h>
#include <brimful/export.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace brimful {

/// What limits the speed of a pass: the work that takes the longest time.
enum class Bound {
  kCompute,  ///< The processor computes.
  kRam,      ///< The processor waits for main memory more than it computes.
  kDisk,     ///< The computation waits for weights that are read from disk, longer than for anything else.
  kGpu,      ///< The GPUs compute.
  kLink,     ///< Data is copied between main memory and GPUs.
};

/// The name of the value, such as `RAM bandwidth`. The text lives as long as the program.
[[nodiscard]] BRIMFUL_API std::string_view to_string(Bound bound);

/// How long one pass, or several, are expected to take. A pass evaluates the model once, for a batch of tokens of all
/// requests that run. The five fields from `compute` to `link` say how long each kind of work would take alone. They
/// overlap, so their sum may be larger than `total`.
struct PassForecast {
  using Seconds = std::chrono::duration<double>;

  Seconds total{};    ///< From the beginning of the first pass to the end of the last one.
  Seconds compute{};  ///< Computation on the processor.
  Seconds disk{};     ///< Reading the weights that every pass needs.
  Seconds experts{};  ///< Reading the experts that are used and are not in memory.
  Seconds gpu{};      ///< Computation on all GPUs, added up.
  Seconds link{};     ///< Copying weights and activations between main memory and GPUs.
  Bytes read{};       ///< Bytes that are expected to be read from disk.
  /// The work that takes longest. `disk` and `experts` both count as Bound::kDisk.
  Bound bound_by = Bound::kCompute;
};

/// How fast a session is expected to be if no other program runs on the machine.
struct Forecast {
  std::uint32_t requests = 1;          ///< Requests that are computed at the same time.
  std::uint32_t prompt_tokens = 0;     ///< Tokens of each prompt: PlanOptions::prompt_tokens, or its default.
  double answer_tokens_per_second = 0; ///< The sum over all requests.
  double prompt_tokens_per_second = 0; ///< While prompts are computed.
  std::chrono::duration<double> first_token{};  ///< From submission to the first token: one prompt of `prompt_tokens`, alone.
  std::chrono::duration<double> load{};         ///< The duration of Session::start().
  PassForecast pass{};    ///< One pass that computes one token of each request.
  PassForecast prompt{};  ///< All passes over one prompt of `prompt_tokens`, while nothing else is computed.
};

/// A change that would make a plan faster. It may be another quantisation of the model, and is never another model.
struct PlanChange {
  /// What to change, in words or as a field and its value: `quantisation Q4_K_M`, `context.tokens 2048`,
  /// `32.00 GiB of RAM`.
  std::string what{};
  std::string note{};  ///< The disadvantage of the change, as text for the user. Empty: none is known.
  double answer_tokens_per_second = 0;  ///< After the change. The sum over all requests.
  double factor = 0;  ///< The rate after the change, divided by the rate before.
  Bytes weights{};    ///< All weights of the model in the other quantisation. 0: the change is no quantisation.
};

}  // namespace brimful
