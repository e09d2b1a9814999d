#include "cli/top.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <thread>

#include "base/standard_output.h"
#include "cli/exit_code.h"
#include "cli/status_text.h"
#include "cli/watch.h"
#include "control/client.h"

namespace strata::cli {
namespace {

using nlohmann::json;

constexpr std::chrono::seconds kBetweenSamples{1};
constexpr const char* kHome = "\033[H\033[J";  // of the screen, which is wiped from there on

struct Options {
  std::optional<pid_t> pid;
  bool json = false;
};

Status show(const Options& options) {
  std::vector<pid_t> pids;
  const auto find = [&]() -> Status {
    if (options.pid) {
      pids = {*options.pid};
      return {};
    }
    STRATA_TRY(pids, control::running());
    return {};
  };
  STRATA_TRY_VOID(find());
  if (pids.empty()) return fail(ErrorCode::kNotFound, "no strata of this user runs a model");
  Watch watch;
  if (options.pid) STRATA_TRY_VOID(control::ask(*options.pid, {{"ask", "status"}}, Watch::kPatience));
  (void)watch.sample(pids);
  const bool again = !options.json && ::isatty(STDOUT_FILENO) == 1;
  do {
    std::this_thread::sleep_for(kBetweenSamples);
    if (again) STRATA_TRY_VOID(find());
    const json all = watch.sample(pids);
    if (all["processes"].empty()) {
      if (!again) return fail(ErrorCode::kNotFound, "the model's process has ended");
      fmt::print(stderr, "the model's process has ended\n");
      return {};
    }
    STRATA_TRY_VOID(write_standard_output(options.json
                                              ? all.dump(2, ' ', false, json::error_handler_t::replace) + '\n'
                                              : (again ? kHome : "") + sample_text(all)));
  } while (again);
  return {};
}

}  // namespace

void add_top_command(CLI::App& app, int& exit_code) {
  auto* const command = app.add_subcommand("top", "watch the models that run: tiers, rates, VRAM, swapping");
  auto options = std::make_shared<Options>();
  command->add_option("pid", options->pid, "process that runs a model (default: all of them)");
  command->add_flag("--json", options->json, "write one sample, of a second, as JSON");
  command->callback([options, &exit_code] { exit_code = report(show(*options)); });
}

}  // namespace strata::cli
