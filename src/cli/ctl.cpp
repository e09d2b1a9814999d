#include "cli/ctl.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>

#include "base/standard_error.h"
#include "base/standard_output.h"
#include "cli/exit_code.h"
#include "cli/flag_names.h"
#include "cli/ram_budget.h"
#include "cli/status_text.h"
#include "cli/watch.h"
#include "control/client.h"
#include "hub/hub_cache.h"
#include "session/devices.h"

namespace brimful::cli {
namespace {

// The longest time for an answer. A change waits until the current pass is computed, and reads weights
// again.
constexpr std::chrono::hours kPatience{1};

struct Options {
  std::optional<pid_t> pid;
  /// What `brimful stop` names: a process, or a model of the cache.
  std::string which;
  std::optional<std::string> ram;
  std::optional<std::string> vram;
  bool json = false;
};

Result<nlohmann::json> request_of(const Options& options) {
  nlohmann::json request{{"ask", "budgets"}};
  if (options.ram) {
    BRIMFUL_TRY(const Bytes ram, parse_ram(*options.ram));
    request["ram"] = ram.value;
  }
  if (options.vram) {
    BRIMFUL_TRY(const std::vector<session::VramPart> parts,
                session::parse_vram(*options.vram, flag_names().vram));
    request["vram"] = nlohmann::json::array();
    for (const session::VramPart& part : parts) {
      if (!part.size)
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("--vram {}: give a running model a size, as in 8GiB", part.text));
      nlohmann::json& budget = request["vram"].emplace_back(nlohmann::json{{"bytes", part.size->value}});
      if (part.name) budget["name"] = *part.name;
    }
  }
  return request;
}

/// Returns the status of each process.
nlohmann::json statuses_of(const std::vector<pid_t>& pids) {
  nlohmann::json out = nlohmann::json::array();
  for (const pid_t pid : pids) {
    auto status = control::ask(pid, {{"ask", "status"}}, Watch::kPatience);
    out.push_back(status ? std::move(*status) : nlohmann::json{{"pid", pid}});
  }
  return out;
}

Result<std::vector<pid_t>> running() {
  BRIMFUL_TRY(std::vector<pid_t> pids, control::running());
  if (pids.empty()) return fail(ErrorCode::kNotFound, kNothingRuns);
  return pids;
}

/// Adds the names that models have in the cache.
nlohmann::json with_names(nlohmann::json statuses) {
  for (nlohmann::json& status : statuses) {
    if (std::string name = hub::cached_name(status.value("model", "")); !name.empty())
      status["name"] = std::move(name);
  }
  return statuses;
}

/// Lists the running models. That there is none is no error, as people know it of `ps`.
Status list_running(const Options& options) {
  BRIMFUL_TRY(const std::vector<pid_t> pids, control::running());
  const nlohmann::json statuses = with_names(statuses_of(pids));
  const auto replace = nlohmann::json::error_handler_t::replace;
  if (options.json) return write_standard_output(statuses.dump(2, ' ', false, replace) + '\n');
  return write_standard_output(pids.empty() ? "no model is running\n" : running_text(statuses));
}

/// Lists the running models. `brimful ctl` does this when there is nothing to change.
Status list(const Options& options) {
  std::vector<pid_t> pids;
  if (options.pid) {
    pids = {*options.pid};
    BRIMFUL_TRY_VOID(control::ask(*options.pid, {{"ask", "status"}}, Watch::kPatience));
  } else {
    BRIMFUL_TRY(pids, running());
  }
  const nlohmann::json statuses = with_names(statuses_of(pids));
  if (options.json) {
    const auto replace = nlohmann::json::error_handler_t::replace;
    return write_standard_output(statuses.dump(2, ' ', false, replace) + '\n');
  }
  const std::string example =
      pids.size() > 1 ? fmt::format(", such as: brimful ctl {} --ram 6GiB", pids.front()) : "";
  return write_standard_output(
      fmt::format("{}change a budget with --ram SIZE or --vram SIZE{}\n", running_text(statuses), example));
}

/// Returns the only process that runs a model. When there are several, they are listed on stderr, and the
/// result is an error.
Result<pid_t> only_one() {
  BRIMFUL_TRY(const std::vector<pid_t> pids, running());
  if (pids.size() == 1) return pids.front();
  tell("{}", running_text(statuses_of(pids)));
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("{} models are running: name the process of one, as in: brimful ctl {} --ram 6GiB",
                          pids.size(), pids.front()));
}

Status change(const Options& options) {
  if (!options.ram && !options.vram) return list(options);
  BRIMFUL_TRY(const nlohmann::json request, request_of(options));
  pid_t pid = options.pid.value_or(0);
  if (!options.pid) {
    BRIMFUL_TRY(pid, only_one());
  }
  BRIMFUL_TRY(const nlohmann::json answer, control::ask(pid, request, kPatience));
  if (options.json) return write_standard_output(answer.dump(2) + '\n');
  std::string text = draw_tiers(answer.value("tiers", nlohmann::json::array()));
  for (const nlohmann::json& note : answer.value("notes", nlohmann::json::array())) {
    if (note.is_string()) text += fmt::format("note: {}\n", note.get<std::string>());
  }
  text += fmt::format("budgets changed in {:.1f} s; the model continues\n", answer.value("seconds", 0.0));
  return write_standard_output(text);
}

/// Returns the only process that runs a model of the cache. `name` may leave its quantisation out.
Result<pid_t> process_of(const std::string& name) {
  BRIMFUL_TRY(const std::vector<pid_t> pids, running());
  const nlohmann::json statuses = with_names(statuses_of(pids));
  nlohmann::json found = nlohmann::json::array();
  for (const nlohmann::json& status : statuses) {
    const std::string has = status.value("name", "");
    if (has == name || has.substr(0, has.find(':')) == name || status.value("model", "") == name)
      found.push_back(status);
  }
  if (found.size() == 1) return found.front().value("pid", 0);
  tell("{}", running_text(found.empty() ? statuses : found));
  return fail(found.empty() ? ErrorCode::kNotFound : ErrorCode::kInvalidArgument,
              fmt::format("{}: {} process runs it: name the process, as in: brimful stop {}", name,
                          found.empty() ? "no" : "more than one", pids.front()));
}

/// Asks a running model to end, as Ctrl-C does at a server: `brimful serve` and `brimful batch` finish what
/// they have begun.
Status stop(const Options& options) {
  pid_t pid = 0;
  const char* const end = options.which.data() + options.which.size();
  const auto [stop, error] = std::from_chars(options.which.data(), end, pid);
  if (options.which.empty()) {
    BRIMFUL_TRY(pid, only_one());
  } else if (error == std::errc{} && stop == end) {
    // The answer says that this process of this user runs a model.
    BRIMFUL_TRY_VOID(control::ask(pid, {{"ask", "status"}}, Watch::kPatience));
  } else {
    BRIMFUL_TRY(pid, process_of(options.which));
  }
  if (::kill(pid, SIGTERM) != 0)
    return fail(ErrorCode::kIo, fmt::format("process {} cannot be stopped: {}", pid, std::strerror(errno)));
  return write_standard_output(fmt::format("asked process {} to end\n", pid));
}

}  // namespace

void add_ps_command(CLI::App& app, int& exit_code) {
  auto* const command = app.add_subcommand("ps", "list running models");
  auto options = std::make_shared<Options>();
  command->add_flag("--json", options->json, "print the list as JSON");
  command->callback([options, &exit_code] { exit_code = report(list_running(*options)); });
}

void add_stop_command(CLI::App& app, int& exit_code) {
  auto* const command = app.add_subcommand("stop", "end a running model");
  auto options = std::make_shared<Options>();
  command->add_option(
      "which", options->which,
      "process that runs the model, or the model's name in the cache (default: the only one)");
  command->callback([options, &exit_code] { exit_code = report(stop(*options)); });
}

void add_ctl_command(CLI::App& app, int& exit_code) {
  auto* const command = app.add_subcommand("ctl", "list running models, or change the memory budgets of one");
  auto options = std::make_shared<Options>();
  command->add_option("pid", options->pid, "process that runs the model (default: the only one)");
  command->add_option("--ram", options->ram, "new RAM budget for the whole process, such as 11.5GiB");
  command->add_option("--vram", options->vram,
                      "new VRAM budget, such as 8GiB; several GPUs: CUDA0=8GiB,CUDA1=6GiB");
  command->add_flag("--json", options->json, "print the result as JSON");
  command->callback([options, &exit_code] { exit_code = report(change(*options)); });
}

}  // namespace brimful::cli
