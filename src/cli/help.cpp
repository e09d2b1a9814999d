#include "cli/help.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/suggest.h"
#include "cli/arguments.h"

namespace brimful::cli {
namespace {

constexpr std::size_t kNarrow = 40;
constexpr std::size_t kUsual = 80;
constexpr std::size_t kWide = 120;
constexpr std::size_t kLeftColumn = 28;   // The column in which a description begins.
constexpr std::size_t kSmallColumn = 12;  // The column in which the description of a command begins.

struct CommandHelp {
  const char* name;
  const char* group;
  const char* examples;
};

constexpr std::array kCommands{
    CommandHelp{
        "run", "Use a model",
        "Examples:\n"
        "  brimful run model.gguf                            chat on the terminal\n"
        "  brimful run -hf ggml-org/gemma-3-1b-it-GGUF       download it first, if the cache lacks it\n"
        "  brimful run -hf ggml-org/gemma-3-1b-it-GGUF --fit vram=8GiB,ram=12GiB\n"
        "  brimful run model.gguf -p \"Why is the sky blue?\"  one answer\n"
        "  brimful run model.gguf --ram 12GiB --vram 8GiB    within these budgets"},
    CommandHelp{"serve", "Use a model",
                "Examples:\n"
                "  brimful serve model.gguf                 OpenAI's API on http://127.0.0.1:8080/v1\n"
                "  brimful serve model.gguf --ram 12GiB --port 9000"},
    CommandHelp{"batch", "Use a model",
                "Example:\n"
                "  brimful batch -m model.gguf -i requests.jsonl -o answers.jsonl --ram 12GiB"},
    CommandHelp{"pull", "Models in the cache",
                "Examples:\n"
                "  brimful pull bartowski/Llama-3.3-70B-Instruct-GGUF:Q4_K_M\n"
                "  brimful pull ggml-org/gemma-3-1b-it-GGUF --limit-rate 5MiB\n"
                "  brimful pull bartowski/Llama-3.3-70B-Instruct-GGUF --fit ram=48GiB,vram=11.5GiB"},
    CommandHelp{"list", "Models in the cache", "Example:\n  brimful list"},
    CommandHelp{"verify", "Models in the cache",
                "Example:\n  brimful verify bartowski/Llama-3.3-70B-Instruct-GGUF:Q4_K_M"},
    CommandHelp{"cp", "Models in the cache",
                "Example:\n  brimful cp bartowski/Llama-3.3-70B-Instruct-GGUF:Q4_K_M me/assistant"},
    CommandHelp{"rm", "Models in the cache",
                "Example:\n  brimful rm bartowski/Llama-3.3-70B-Instruct-GGUF:Q4_K_M"},
    CommandHelp{"top", "Watch and change running models",
                "Examples:\n"
                "  brimful top           live, until you press q\n"
                "  brimful top --once    one sample, then exit"},
    CommandHelp{"ps", "Watch and change running models", "Example:\n  brimful ps"},
    CommandHelp{"stop", "Watch and change running models",
                "Examples:\n"
                "  brimful stop       the only running model\n"
                "  brimful stop 4711  the model of process 4711\n"
                "  brimful stop ggml-org/gemma-3-1b-it-GGUF"},
    CommandHelp{"ctl", "Watch and change running models",
                "Examples:\n"
                "  brimful ctl                   list running models\n"
                "  brimful ctl --ram 6GiB        change the only running model\n"
                "  brimful ctl 4711 --ram 12GiB  change the model of process 4711"},
    CommandHelp{"plan", "Before you run or download",
                "Examples:\n"
                "  brimful plan model.gguf --ram 12GiB\n"
                "  brimful plan -hf bartowski/Llama-3.3-70B-Instruct-GGUF:Q4_K_M --like \"rtx-3060-12gb, "
                "64gb-ddr4-3600\""},
    CommandHelp{"probe", "Before you run or download",
                "Examples:\n"
                "  brimful probe model.gguf          this machine, and the disk of this model\n"
                "  brimful probe model.gguf --quick  only what this model needs"},
    CommandHelp{"show", "Before you run or download", "Example:\n  brimful show model.gguf"},
    CommandHelp{"quantize", "Make a model",
                "Examples:\n"
                "  brimful quantize model-F16.gguf model.gguf Q4_K_M\n"
                "  brimful quantize model-F16.gguf model.gguf --to 12GiB --text sample.txt"},
    CommandHelp{"synth", "Before you run or download",
                "Example:\n  brimful synth --like llama-7b --type Q4_K_M -o random.gguf"},
    CommandHelp{
        "eval", "Measure models",
        "Examples:\n"
        "  brimful eval model.gguf -f text.txt --ram 12GiB              perplexity\n"
        "  brimful eval model-q4.gguf -f text.txt --reference model.gguf  what quantising has changed"},
    CommandHelp{"imatrix", "Measure models",
                "Example:\n  brimful imatrix model.gguf -f text.txt -o imatrix.gguf --ram 12GiB"},
    CommandHelp{"bench", "Measure models",
                "Examples:\n"
                "  brimful bench model.gguf --ram 12GiB\n"
                "  brimful bench a.gguf b.gguf -p 512,2048 -n 128 -o jsonl"},
    CommandHelp{"tokenize", "Measure models",
                "Examples:\n"
                "  brimful tokenize model.gguf \"Hello world\"\n"
                "  brimful tokenize model.gguf -f text.txt --ids"},
    CommandHelp{"split", "Model files", "Example:\n  brimful split model.gguf parts --split-max-size 4G"},
    CommandHelp{"merge", "Model files", "Example:\n  brimful merge parts-00001-of-00003.gguf model.gguf"},
    CommandHelp{"help", "Help", "Example:\n  brimful help run"},
};

constexpr const char* kExamples =
    "Examples:\n"
    "  brimful run model.gguf                      chat with a model\n"
    "  brimful run model.gguf --ram 12GiB          the same within 12 GiB of memory\n"
    "  brimful plan model.gguf --ram 12GiB         will it fit, and how fast will it be?\n"
    "  brimful serve model.gguf                    OpenAI's API on port 8080\n"
    "\n"
    "'brimful help COMMAND' explains a command and its flags. Exit codes: 0 success,\n"
    "1 error, 2 wrong flags, 3 the model does not fit the budgets.";

/// Returns the name of a flag as people write it: `-ub` for `--ub`.
std::string as_people_write_it(std::string name) {
  if (name.starts_with("--") && is_flag_with_one_dash(std::string_view(name).substr(1))) name.erase(0, 1);
  return name;
}

}  // namespace

std::string wrapped(std::string_view text, std::size_t indent, std::size_t width) {
  const std::size_t room = width > indent ? width - indent : 1;
  std::string out;
  std::size_t column = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find_first_of(" \n"), text.size());
    const std::string_view word = text.substr(0, end);
    const bool ends_line = end < text.size() && text[end] == '\n';
    if (!word.empty()) {
      if (column > 0 && column + 1 + word.size() > room) {
        out += '\n' + std::string(indent, ' ');
        column = 0;
      }
      if (column > 0) {
        out += ' ';
        ++column;
      }
      out += word;
      column += word.size();
    }
    if (ends_line) {
      out += '\n' + std::string(indent, ' ');
      column = 0;
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

std::size_t help_width() {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
    return std::clamp<std::size_t>(size.ws_col, kNarrow, kWide);
  std::size_t columns = 0;
  if (const char* const given = std::getenv("COLUMNS"); given != nullptr) {
    const char* const end = given + std::strlen(given);
    const auto [stop, error] = std::from_chars(given, end, columns);
    if (error == std::errc{} && stop == end && columns > 0) return std::clamp(columns, kNarrow, kWide);
  }
  return kUsual;
}

std::string HelpFormatter::row(std::string_view left, std::string_view right) const {
  const std::size_t column = width_ < kUsual - 10 ? 6 : kLeftColumn;
  std::string out = fmt::format("  {}", left);
  if (right.empty()) return out + '\n';
  if (out.size() + 2 > column) {
    out += '\n' + std::string(column, ' ');
  } else {
    out.resize(column, ' ');
  }
  return out + wrapped(right, column, width_) + '\n';
}

std::string HelpFormatter::make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const {
  std::string out = CLI::Formatter::make_help(app, std::move(name), mode);
  // CLI11 puts an empty line at the end of a group and another one at the beginning of the next.
  for (std::size_t at = 0; (at = out.find("\n\n\n", at)) != std::string::npos;) out.erase(at, 1);
  return out;
}

std::string HelpFormatter::make_option(const CLI::Option* option, bool is_positional) const {
  return row(make_option_name(option, is_positional) + make_option_opts(option), make_option_desc(option));
}

std::string HelpFormatter::make_option_name(const CLI::Option* option, bool is_positional) const {
  if (is_positional) return option->get_name(true, false);
  std::string out;
  for (const std::string& name : CLI::detail::split(option->get_name(false, true), ','))
    out += (out.empty() ? "" : ",") + as_people_write_it(name);
  return out;
}

std::string HelpFormatter::make_subcommand(const CLI::App* command) const {
  std::string out = fmt::format("  {:<{}}", command->get_name(), kSmallColumn - 2);
  return out + wrapped(command->get_description(), kSmallColumn, width_) + '\n';
}

std::string HelpFormatter::make_description(const CLI::App* app) const {
  return wrapped(app->get_description(), 0, width_) + "\n\n";
}

void arrange_help(CLI::App& app) {
  app.footer(kExamples);
  for (const CommandHelp& help : kCommands) {
    CLI::App* const command = app.get_subcommand(help.name);
    command->group(help.group);
    command->footer(help.examples);
  }
}

HelpText help_on(const CLI::App& app, const std::string& topic) {
  // App::help would show the command that was parsed last, which is `help`.
  if (topic.empty())
    return {app.get_formatter()->make_help(&app, app.get_name(), CLI::AppFormatMode::Normal)};
  const auto commands =
      app.get_subcommands([&](const CLI::App* command) { return command->check_name(topic); });
  if (commands.empty()) {
    return {with_help(fmt::format("there is no command '{}'{}", topic, suggestion(topic, command_names(app))),
                      "brimful help"),
            false};
  }
  const CLI::App* const about = commands.front();
  return {about->get_formatter()->make_help(about, app.get_name() + ' ' + topic, CLI::AppFormatMode::Normal)};
}

std::string with_help(std::string message, std::string_view command) {
  message += fmt::format("{} see '{}'", message.ends_with('?') ? "" : ";", command);
  return message;
}

std::vector<std::string> command_names(const CLI::App& app) {
  std::vector<std::string> out;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    out.push_back(command->get_name());
  return out;
}

}  // namespace brimful::cli
