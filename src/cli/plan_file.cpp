#include <fmt/format.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/json_text.h"
#include "cli/run_options.h"
#include "model/header_fingerprint.h"

namespace brimful::cli {
namespace {

/// Sets an option to the plan's value. Refuses when the user gave another value with the flag.
template <typename T>
Status take(std::string_view flag, std::optional<T>& given, const T& value) {
  if (given && *given != value)
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("{} has another value than in the plan: leave the flag out, or plan again", flag));
  given = value;
  return {};
}

/// Sets the model to that of the plan, unless -m names one. That one may lie in another place, but must have
/// the same header.
Status take_model(const nlohmann::json& json, RunOptions& o) {
  const nlohmann::json& run = json.at("run");
  const auto name = json.at("model").get<std::string>();
  if (o.model.empty() && !run.contains("model")) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("the plan is for {}, of which only the header was fetched: download the model "
                            "and name its file with -m",
                            name));
  }
  if (o.model.empty()) o.model = run.at("model").get<std::string>();
  BRIMFUL_TRY(const model::ModelProfile profile, model::read_model(o.model, model::Weights::kMayBeMissing));
  BRIMFUL_TRY(const std::string header, model::header_fingerprint(profile.files));
  if (header == run.at("model_header").get<std::string>()) return {};
  return fail(
      ErrorCode::kInvalidArgument,
      fmt::format(
          "the plan is for {}, and {} has another header: plan again, or name the model of the plan with -m",
          name, o.model));
}

Status take_over(const nlohmann::json& json, RunOptions& o) {
  if (!json.value("fits", false))
    return fail(ErrorCode::kInvalidArgument,
                "the plan says that the model does not fit: plan again with larger budgets");
  if (json.at("budget_bytes").size() > 1)
    return fail(ErrorCode::kUnsupported,
                "the plan uses a GPU, and such a plan is only a forecast: use brimful run --vram, which "
                "makes its own plan");
  BRIMFUL_TRY_VOID(take_model(json, o));
  if (json.at("workload").at("sequences") != 1)
    return fail(ErrorCode::kUnsupported,
                "the plan is for a batch, and brimful run computes one sequence: plan with --for chat");
  const nlohmann::json& run = json.at("run");
  BRIMFUL_TRY_VOID(take("--ram", o.ram, fmt::format("{}", run.at("ram_bytes").get<std::uint64_t>())));
  BRIMFUL_TRY_VOID(take("-c", o.context, run.at("context").get<std::uint32_t>()));
  BRIMFUL_TRY_VOID(take("-ub", o.ubatch, run.at("ubatch").get<std::uint32_t>()));
  BRIMFUL_TRY_VOID(take("-t", o.threads, run.at("threads").get<int>()));
  BRIMFUL_TRY_VOID(take("--spec-draft-n-max", o.longest_draft, run.at("longest_draft").get<std::uint32_t>()));
  o.type_k = run.at("cache_type_k").get<std::string>();
  o.type_v = run.at("cache_type_v").get<std::string>();
  o.flash_attention = run.at("flash_attention").get<std::string>();
  o.for_weights = Bytes{run.at("weights_budget_bytes").get<std::uint64_t>()};
  return {};
}

}  // namespace

Status apply_plan(const std::string& file, RunOptions& options) {
  std::ifstream in(file);
  if (!in)
    return fail(ErrorCode::kNotFound, fmt::format("{}: the plan cannot be read: check the path", file));
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const auto plan = parse_json(text);
  if (!plan)
    return fail(ErrorCode::kCorrupt,
                fmt::format("{}: is not a plan of `brimful plan --json`: {}", file, plan.error().message));
  try {
    Status status = take_over(*plan, options);
    if (!status) status.error().message = fmt::format("{}: {}", file, status.error().message);
    return status;
  } catch (const nlohmann::json::exception& error) {
    return fail(ErrorCode::kCorrupt,
                fmt::format("{}: is not a plan of `brimful plan --json` ({})", file, error.what()));
  }
}

}  // namespace brimful::cli
