#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/run_options.h"
#include "engine/generator.h"
#include "plan/advice.h"

namespace brimful::cli {

/// What `brimful plan` is asked.
struct PlanOptions {
  RunOptions run;
  std::string hub;                             ///< -hf
  std::optional<std::string> vram;             ///< `11.5GiB`, or `CUDA0=8GiB,CUDA1=6GiB`
  std::optional<std::string> hardware;         ///< file: a profile, or presets of one's own
  std::optional<std::string> like;             ///< presets' names
  std::string purpose = "chat";                ///< `chat`, `batch`, `batch:N`
  std::optional<std::uint32_t> prompt_tokens;  ///< unset: 512, or half of the context where that is less
  bool json = false;
  std::optional<std::string> svg;
};

/// A plan and all that is to be said about it.
struct PlanReport {
  std::string model;  ///< as it was named
  /// Where the file lies, from the root; empty where only a header was fetched.
  std::string model_file;
  std::string model_header;  ///< its fingerprint
  plan::Inputs inputs;
  plan::Plan plan;
  std::vector<std::string> notes;        ///< what was adapted to the budget
  std::vector<std::string> diagnostics;  ///< about the machine
  std::vector<plan::Change> changes;
  int threads = 1;         ///< that compute
  bool elsewhere = false;  ///< of a machine other than this one
};

/// Sees everything through, and reads no weight. Measures this machine first, where that was not done before.
/// Errors: kInfeasible: the plan's answer; all others: it could not be found out.
[[nodiscard]] Result<PlanReport> make_report(const PlanOptions& options);

/// Bytes that `brimful run` itself will allocate, beside the engine.
[[nodiscard]] Bytes client_reserve(const engine::Generator& generator, bool with_template);

}  // namespace brimful::cli
