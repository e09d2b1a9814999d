#include <brimful/process.h>
#include <fmt/format.h>
#include <llama.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <span>
#include <sstream>
#include <string>

#include "base/standard_error.h"
#include "base/standard_output.h"
#include "cli/arguments.h"
#include "cli/batch.h"
#include "cli/bench.h"
#include "cli/cache_commands.h"
#include "cli/ctl.h"
#include "cli/eval.h"
#include "cli/exit_code.h"
#include "cli/help.h"
#include "cli/imatrix.h"
#include "cli/plan.h"
#include "cli/probe.h"
#include "cli/quantize.h"
#include "cli/run.h"
#include "cli/serve.h"
#include "cli/show.h"
#include "cli/split.h"
#include "cli/synth.h"
#include "cli/tokenize.h"
#include "cli/top.h"

namespace brimful::cli {
namespace {

constexpr int kWrongFlags = 2;

int wrong_flags(std::string_view message) {
  tell("brimful: {}\n", message);
  return kWrongFlags;
}

/// Prints the text of --help or --version. Returns the exit code.
int answer(const CLI::App& app, const CLI::Success& call) {
  std::ostringstream text;
  const int code = app.exit(call, text, text);
  const Status written = write_standard_output(text.str());
  return written ? code : report(written);
}

void add_commands(CLI::App& app, int& exit_code) {
  add_run_command(app, exit_code);
  add_serve_command(app, exit_code);
  add_batch_command(app, exit_code);
  add_top_command(app, exit_code);
  add_ps_command(app, exit_code);
  add_stop_command(app, exit_code);
  add_ctl_command(app, exit_code);
  add_cache_commands(app, exit_code);
  add_plan_command(app, exit_code);
  add_probe_command(app, exit_code);
  add_show_command(app, exit_code);
  add_quantize_command(app, exit_code);
  add_synth_command(app, exit_code);
  add_eval_command(app, exit_code);
  add_imatrix_command(app, exit_code);
  add_bench_command(app, exit_code);
  add_tokenize_command(app, exit_code);
  add_split_commands(app, exit_code);
  auto* const help = app.add_subcommand("help", "show this help, or the help of a command");
  const auto topic = std::make_shared<std::string>();
  help->add_option("command", *topic, "command to explain");
  help->callback([topic, &app, &exit_code] {
    const HelpText help_text = help_on(app, *topic);
    exit_code = help_text.found ? report(write_standard_output(help_text.text)) : wrong_flags(help_text.text);
  });
  arrange_help(app);
}

/// Returns the command that the arguments name. It is `app` itself when the first argument is a flag, and
/// null when there is no such command.
const CLI::App* named_command(const CLI::App& app, std::span<char* const> arguments) {
  if (arguments.empty() || arguments.front()[0] == '-') return &app;
  const auto commands =
      app.get_subcommands([&](const CLI::App* command) { return command->check_name(arguments.front()); });
  return commands.empty() ? nullptr : commands.front();
}

/// Returns a hint for people who write a command's flags in front of the command, or forget the command;
/// empty where nothing is known to help.
std::string hint_of_command(const CLI::App& app, std::span<char* const> arguments) {
  for (std::size_t i = 1; i < arguments.size(); ++i) {
    const CLI::App* const command = named_command(app, arguments.subspan(i));
    if (command != nullptr && command != &app)
      return fmt::format("; write the flags of '{0}' after it: brimful {0} {1} ...", command->get_name(),
                         arguments.front());
  }
  const std::string flag = arguments.empty() ? "" : arguments.front();
  const CLI::App* const run = app.get_subcommand("run");
  if (run->get_option_no_throw(is_flag_with_one_dash(flag) ? '-' + flag : flag) != nullptr)
    return fmt::format("; name a command before it, as in: brimful run {} ...", flag);
  return {};
}

int run_program(std::span<char* const> given) {
  int exit_code = 0;
  CLI::App app("Brimful runs any GGUF model inside exact byte budgets.", "brimful");
  app.formatter(std::make_shared<HelpFormatter>(help_width()));
  app.set_version_flag("--version", std::string("brimful " BRIMFUL_VERSION "\nllama.cpp ") + llama_version() +
                                        "\nggml " + ggml_version());
  app.require_subcommand(1);
  // Of a flag that is given twice, the last value counts, as in llama.cpp.
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  add_commands(app, exit_code);

  if (given.empty()) {
    tell("{}", help_on(app, "").text);
    return kWrongFlags;
  }
  const CLI::App* const command = named_command(app, given);
  if (command == nullptr) return wrong_flags(help_on(app, given.front()).text);
  const std::string more_help = command == &app ? "brimful help" : "brimful help " + command->get_name();
  auto arguments = parser_arguments(*command, given);
  if (!arguments && command == &app)
    return wrong_flags(with_help(arguments.error().message + hint_of_command(app, given), more_help));
  if (!arguments) return wrong_flags(with_help(arguments.error().message, more_help));
  try {
    app.parse(std::move(*arguments));
  } catch (const CLI::Success& call) {
    return answer(app, call);
  } catch (const CLI::ParseError& error) {
    return wrong_flags(with_help(error.what(), more_help));
  } catch (const std::exception& error) {
    // A library threw, or memory has run out. Even then the program prints one line and does not abort.
    tell("brimful: unexpected error: {}\n", error.what());
    return 1;
  }
  return exit_code;
}

}  // namespace
}  // namespace brimful::cli

int main(int argc, char** argv) {
  brimful::hold_standard_streams();
  brimful::adjust_process(brimful::all_process_settings());
  const std::span<char* const> arguments(argv, static_cast<std::size_t>(argc));
  return brimful::cli::run_program(arguments.subspan(argc > 0 ? 1 : 0));
}
