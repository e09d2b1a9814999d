#include "cli/ctl.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "base/standard_output.h"
#include "cli/device_options.h"
#include "cli/exit_code.h"
#include "cli/status_text.h"
#include "control/client.h"

namespace strata::cli {
namespace {

// A change waits for the pass that is computed, and reads weights again.
constexpr std::chrono::hours kPatience{1};

struct Options {
  std::optional<pid_t> pid;
  std::optional<std::string> ram;
  std::optional<std::string> vram;
  bool json = false;
};

Result<nlohmann::json> request_of(const Options& options) {
  nlohmann::json request{{"ask", "budgets"}};
  if (options.ram) {
    const auto ram = parse_bytes(*options.ram);
    if (!ram) return fail(ErrorCode::kInvalidArgument, fmt::format("--ram: {}", ram.error().message));
    request["ram"] = ram->value;
  }
  if (options.vram) {
    STRATA_TRY(const std::vector<VramPart> parts, parse_vram(*options.vram));
    request["vram"] = nlohmann::json::array();
    for (const VramPart& part : parts) {
      nlohmann::json& budget = request["vram"].emplace_back(nlohmann::json{{"bytes", part.size.value}});
      if (part.name) budget["name"] = *part.name;
    }
  }
  if (!options.ram && !options.vram)
    return fail(ErrorCode::kInvalidArgument,
                "say what to change: --ram, --vram; strata top shows what there is");
  return request;
}

/// The one that there is.
Result<pid_t> only_one() {
  STRATA_TRY(const std::vector<pid_t> pids, control::running());
  if (pids.empty()) return fail(ErrorCode::kNotFound, "no strata of this user runs a model");
  if (pids.size() > 1) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("{} models run: name one of the processes {}",
                                                         pids.size(), fmt::join(pids, ", ")));
  }
  return pids.front();
}

Status change(const Options& options) {
  STRATA_TRY(const nlohmann::json request, request_of(options));
  pid_t pid = options.pid.value_or(0);
  if (!options.pid) {
    STRATA_TRY(pid, only_one());
  }
  STRATA_TRY(const nlohmann::json answer, control::ask(pid, request, kPatience));
  if (options.json) return write_standard_output(answer.dump(2) + '\n');
  std::string text = draw_tiers(answer.value("tiers", nlohmann::json::array()));
  for (const nlohmann::json& note : answer.value("notes", nlohmann::json::array())) {
    if (note.is_string()) text += fmt::format("note: {}\n", note.get<std::string>());
  }
  text += fmt::format("changed in {:.1f} s; the text goes on\n", answer.value("seconds", 0.0));
  return write_standard_output(text);
}

}  // namespace

void add_ctl_command(CLI::App& app, int& exit_code) {
  auto* const command = app.add_subcommand("ctl", "change the budgets of a model that runs");
  auto options = std::make_shared<Options>();
  command->add_option("pid", options->pid, "process that runs it (default: the only one)");
  command->add_option("--ram", options->ram, "host budget for everything, such as 11.5GiB");
  command->add_option("--vram", options->vram, "budget of the GPU, or of each: CUDA0=8GiB,CUDA1=6GiB");
  command->add_flag("--json", options->json, "write the answer as JSON");
  command->callback([options, &exit_code] { exit_code = report(change(*options)); });
}

}  // namespace strata::cli
