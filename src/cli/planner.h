#pragma once

#include <optional>
#include <string>

#include "cli/run_options.h"
#include "probe/probe.h"
#include "session/planner.h"

namespace brimful::cli {

/// The flags of `brimful plan`.
struct PlanOptions {
  RunOptions run;
  /// The value of -hf; empty when the flag was not given.
  std::string hub;
  /// The value of --vram, such as `11.5GiB` or `CUDA0=8GiB,CUDA1=6GiB`. Unset: no GPU of this machine, or
  /// with --like and --hardware all GPUs of that machine.
  std::optional<std::string> vram;
  /// The value of --hardware: a file with a profile, or with presets of the user's own.
  std::optional<std::string> hardware;
  /// The value of --like: the names of presets.
  std::optional<std::string> like;
  /// The value of --for: `chat`, `batch` or `batch:N`.
  std::string purpose = "chat";
  /// The number of tokens in a prompt. Unset: 512, or half of the context when that is less.
  std::optional<std::uint32_t> prompt_tokens;
  /// Whether this machine is measured when it was not measured before. If not, the report's machine is then a
  /// made-up one (Profile::measured is empty): only what fits is known.
  bool measure = true;
  /// What is measured then.
  probe::Refresh refresh = probe::Refresh::kNever;
  /// Whether the report says what would be better.
  bool advice = true;
  /// Whether the report is printed as JSON.
  bool json = false;
  /// The file for a picture of the tiers. Unset: none.
  std::optional<std::string> svg;
};

/// A plan, with everything that `brimful plan` says about it.
struct PlanReport : session::PlanReport {
  /// The model as the user named it.
  std::string model;
  /// The absolute path of the model's file; empty when only a header was fetched.
  std::string model_file;
  /// The fingerprint of the model's headers (model::header_fingerprint).
  std::string model_header;
};

/// Makes the whole report, and reads no weight. Measures this machine first, when that was not done before.
/// Errors: kInfeasible when the model does not fit; kNotFound when the machine was not
/// measured, may not be measured now, and a GPU is asked for; all others mean that it could not be found out.
/// Blocks: for up to a minute when it measures; on the network when it fetches a header.
[[nodiscard]] Result<PlanReport> make_report(const PlanOptions& options);

}  // namespace brimful::cli
