#include <llama.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <span>
#include <sstream>
#include <string>

#include "base/standard_output.h"
#include "cli/arguments.h"
#include "cli/batch.h"
#include "cli/ctl.h"
#include "cli/exit_code.h"
#include "cli/plan.h"
#include "cli/probe.h"
#include "cli/run.h"
#include "cli/serve.h"
#include "cli/show.h"
#include "cli/synth.h"
#include "cli/top.h"

namespace {

/// What --help and --version print. Returns the exit code.
int answer(const CLI::App& app, const CLI::Success& call) {
  std::ostringstream text;
  const int code = app.exit(call, text, text);
  const strata::Status written = strata::write_standard_output(text.str());
  return written ? code : strata::cli::report(written);
}

}  // namespace

int main(int argc, char** argv) {
  int exit_code = 0;
  CLI::App app("Strata runs any GGUF model inside exact byte budgets.", "strata");
  app.set_version_flag("--version", std::string("strata " STRATA_VERSION "\nllama.cpp ") + llama_version() +
                                        "\nggml " + ggml_version());
  app.require_subcommand(1);
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);  // as in llama.cpp
  strata::cli::add_run_command(app, exit_code);
  strata::cli::add_batch_command(app, exit_code);
  strata::cli::add_serve_command(app, exit_code);
  strata::cli::add_ctl_command(app, exit_code);
  strata::cli::add_top_command(app, exit_code);
  strata::cli::add_plan_command(app, exit_code);
  strata::cli::add_probe_command(app, exit_code);
  strata::cli::add_show_command(app, exit_code);
  strata::cli::add_synth_command(app, exit_code);
  auto* const help = app.add_subcommand("help", "show this help, or that of a command");
  std::string topic;
  help->add_option("command", topic, "command to explain");
  help->callback([&] {
    const CLI::App* const about = topic.empty() ? &app : app.get_subcommand(topic);  // throws, naming it
    exit_code = strata::cli::report(strata::write_standard_output(about->help()));
  });

  const auto commands = app.get_subcommands([](const CLI::App*) { return true; });
  const auto named = [&](const CLI::App* command) { return argc > 1 && command->check_name(argv[1]); };
  const auto command = std::find_if(commands.begin(), commands.end(), named);
  if (argc > 1 && argv[1][0] != '-' && command == commands.end()) {
    std::fprintf(stderr, "strata: there is no command '%s'; see 'strata help'\n", argv[1]);
    return 2;
  }
  auto arguments = strata::cli::parser_arguments(command == commands.end() ? app : **command,
                                                 std::span(argv, static_cast<std::size_t>(argc)).subspan(1));
  if (!arguments) {
    std::fprintf(stderr, "strata: %s; see 'strata help'\n", arguments.error().message.c_str());
    return 2;
  }
  try {
    app.parse(std::move(*arguments));
  } catch (const CLI::Success& call) {
    return answer(app, call);
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "strata: %s; see 'strata help'\n", error.what());
    return 2;
  } catch (const std::exception& error) {  // a library's, or no memory: still one line, and no abort
    std::fprintf(stderr, "strata: unexpected error: %s\n", error.what());
    return 1;
  }
  return exit_code;
}
