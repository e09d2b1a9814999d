#include "cli/top.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <atomic>
#include <csignal>
#include <thread>
#include <utility>

#include "base/standard_error.h"
#include "base/standard_output.h"
#include "cli/exit_code.h"
#include "cli/status_text.h"
#include "cli/terminal_mode.h"
#include "cli/watch.h"
#include "control/client.h"

namespace brimful::cli {
namespace {

using nlohmann::json;

constexpr const char* kHasEnded = "the model's process has ended";
constexpr std::chrono::seconds kBetweenSamples{1};
// Control sequences that switch to the alternate screen, hide the cursor and switch off line wrapping, and
// those that undo it.
constexpr const char* kEnterScreen = "\033[?1049h\033[?25l\033[?7l";
constexpr const char* kLeaveScreen = "\033[?7h\033[?25h\033[?1049l";

struct Options {
  std::optional<pid_t> pid;
  bool json = false;
  bool once = false;
};

std::atomic<bool> interrupted{false};

/// The alternate screen on which samples are drawn again and again. The usual screen comes back at the end.
class Screen {
 public:
  static Result<Screen> enter() {
    struct sigaction action {};
    action.sa_handler = [](int) { interrupted = true; };
    ::sigaction(SIGINT, &action, nullptr);
    BRIMFUL_TRY(auto mode, TerminalMode::enter(kEnterScreen, kLeaveScreen));
    return Screen(std::move(mode));
  }

  /// Draws as many lines of `text` as the window has rows for.
  [[nodiscard]] static Status draw(const std::string& text) {
    winsize size{};
    const bool known = ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 1;
    return write_standard_output(screen_text(text, known ? size.ws_row : kUsualRows));
  }

  /// Waits until the next sample is due. Returns false when the person wants to leave.
  static bool wait() {
    const auto due = std::chrono::steady_clock::now() + kBetweenSamples;
    while (!interrupted) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(due - std::chrono::steady_clock::now());
      pollfd keys{STDIN_FILENO, POLLIN, 0};
      const int ready = left.count() > 0 ? ::poll(&keys, 1, static_cast<int>(left.count())) : 0;
      if (ready == 0) return true;
      if (ready < 0) continue;
      std::array<char, 64> typed{};
      const ssize_t got = ::read(STDIN_FILENO, typed.data(), typed.size());
      if (got <= 0) return false;  // The terminal is gone.
      const std::string_view pressed(typed.data(), static_cast<std::size_t>(got));
      if (pressed.find_first_of("qQ\x04") != std::string_view::npos || pressed == "\033") return false;
    }
    return false;
  }

 private:
  static constexpr std::size_t kUsualRows = 24;
  explicit Screen(std::unique_ptr<TerminalMode> mode) : mode_(std::move(mode)) {}
  std::unique_ptr<TerminalMode> mode_;
};

/// Shows one sample, which covers a second.
Status show_once(Watch& watch, const std::vector<pid_t>& pids, bool as_json) {
  std::this_thread::sleep_for(kBetweenSamples);
  const json all = watch.sample(pids);
  if (all["processes"].empty()) return fail(ErrorCode::kNotFound, kHasEnded);
  return write_standard_output(as_json ? all.dump(2, ' ', false, json::error_handler_t::replace) + '\n'
                                       : sample_text(all));
}

/// Shows samples until the person leaves, or until nothing runs any more.
Status show_again(Watch& watch, std::vector<pid_t> pids, bool find_others) {
  BRIMFUL_TRY(std::optional<Screen> screen, Screen::enter());
  while (Screen::wait()) {
    if (find_others) {
      BRIMFUL_TRY(pids, control::running());
    }
    const json all = watch.sample(pids);
    if (all["processes"].empty()) {
      screen.reset();
      tell("{}\n", kHasEnded);
      return {};
    }
    BRIMFUL_TRY_VOID(Screen::draw(sample_text(all)));
  }
  return {};
}

Status show(const Options& options) {
  std::vector<pid_t> pids;
  if (options.pid) {
    pids = {*options.pid};
    BRIMFUL_TRY_VOID(control::ask(*options.pid, {{"ask", "status"}}, Watch::kPatience));
  } else {
    BRIMFUL_TRY(pids, control::running());
  }
  if (pids.empty()) return fail(ErrorCode::kNotFound, kNothingRuns);
  Watch watch;
  (void)watch.sample(pids);
  const bool person = ::isatty(STDOUT_FILENO) == 1 && ::isatty(STDIN_FILENO) == 1;
  if (options.json || options.once || !person) return show_once(watch, pids, options.json);
  return show_again(watch, std::move(pids), !options.pid);
}

}  // namespace

void add_top_command(CLI::App& app, int& exit_code) {
  auto* const command = app.add_subcommand("top", "watch running models live: memory, speed, VRAM, swapping");
  auto options = std::make_shared<Options>();
  command->add_option("pid", options->pid, "process that runs a model (default: all)");
  command->add_flag("--once", options->once, "print one sample, taken over a second, and exit");
  command->add_flag("--json", options->json, "print one sample, taken over a second, as JSON, and exit");
  command->callback([options, &exit_code] { exit_code = report(show(*options)); });
}

}  // namespace brimful::cli
