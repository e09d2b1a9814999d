#include "cli/run.h"

#include <chat.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>
#include <iostream>

#include "base/progress.h"
#include "cli/memory_map.h"
#include "cli/run_options.h"
#include "cli/run_report.h"

namespace strata::cli {
namespace {

std::atomic<engine::Engine*> interruptible{nullptr};
std::atomic<int> interrupts{0};

void on_interrupt(int) {
  if (++interrupts > 1) std::_Exit(130);  // a second Ctrl-C: the first one is taking too long
  if (engine::Engine* const engine = interruptible.load()) engine->abort();
}

/// Runs one model: a completion, one turn of a chat, or a chat on the terminal.
class Run {
 public:
  explicit Run(const RunOptions& options) : options_(options) {}
  ~Run() { interruptible = nullptr; }
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  Status execute() {
    STRATA_TRY(std::optional<std::string> prompt, read_prompt(options_));
    const bool terminal = ::isatty(STDIN_FILENO) != 0;
    if (options_.stats_file) STRATA_TRY_VOID(check_writable(*options_.stats_file));
    if (!prompt && !terminal) return fail(ErrorCode::kInvalidArgument, "no prompt: give one with -p or -f");
    STRATA_TRY_VOID(open());
    if (!prompt && templates_ == nullptr) {
      return fail(ErrorCode::kInvalidArgument,
                  "this model has no chat template: give a text to complete with -p or -f");
    }

    std::vector<llama_token> tokens;
    if (prompt) {
      STRATA_TRY(tokens, first_tokens(*prompt));
    }
    STRATA_TRY_VOID(start(tokens));
    struct sigaction action {};
    action.sa_handler = on_interrupt;  // without SA_RESTART: Ctrl-C ends the wait for a line, too
    ::sigaction(SIGINT, &action, nullptr);
    STRATA_TRY_VOID(prompt ? turn(std::move(tokens)) : chat());
    fmt::print(stderr, "\n{}", describe(report_, *engine_));
    if (options_.stats_file)
      STRATA_TRY_VOID(write_stats(*options_.stats_file, report_, *engine_, options_.model));
    return {};
  }

 private:
  Status open() {
    STRATA_TRY(engine::OpenOptions open, open_options(options_));
    STRATA_TRY(common_params_sampling sampling, sampling_params(options_));
    STRATA_TRY(engine_, engine::Engine::open(std::move(open)));
    STRATA_TRY(generator_, engine::Generator::create(*engine_, std::move(sampling)));
    if (options_.raw || engine_->profile().chat_template.empty()) return {};
    try {
      templates_ = common_chat_templates_init(engine_->model(), "");
    } catch (const std::exception& error) {
      return fail(ErrorCode::kUnsupported,
                  fmt::format("{}: its chat template cannot be read ({}); --raw completes plain text",
                              options_.model, error.what()));
    }
    if (options_.system) add_message("system", *options_.system);
    return {};
  }

  Status start(const std::vector<llama_token>& prompt) {
    STRATA_TRY(engine::ContextOptions context, context_options(options_));
    if (context.context && *context.context > 0 && prompt.size() > *context.context) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("the prompt has {} tokens and the context holds {}: use -c {} or more",
                              prompt.size(), *context.context, align_up(prompt.size() + 1, 256)));
    }
    context.prompt_tokens = static_cast<std::uint32_t>(prompt.size());
    const std::size_t wanted = prompt.size() + static_cast<std::size_t>(std::max(options_.limit, 1));
    context.least_context = static_cast<std::uint32_t>(std::min<std::size_t>(wanted, 1U << 20));
    // The sampler's candidates: one of 12 bytes for each token of the vocabulary.
    context.client_reserve = Bytes{static_cast<std::uint64_t>(llama_vocab_n_tokens(engine_->vocab())) * 12};

    std::optional<ProgressBar> bar;
    const auto progress = [&](Bytes done, Bytes total) {
      if (!bar) bar.emplace("loading", total);
      bar->update(done);
      return interrupts == 0;
    };
    interruptible = engine_.get();
    STRATA_TRY_VOID(engine_->start(context, progress));
    if (bar) bar->finish();
    report_.load_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
    for (const std::string& note : engine_->notes()) fmt::print(stderr, "note: {}\n", note);
    fmt::print(stderr, "{}\n", draw_memory_map(engine_->memory_map()));
    return {};
  }

  Result<std::vector<llama_token>> first_tokens(const std::string& prompt) {
    if (templates_ == nullptr) return generator_->tokenize(prompt, true);
    add_message("user", prompt);
    return chat_tokens();
  }

  Result<std::vector<llama_token>> chat_tokens() {
    try {
      common_chat_templates_inputs inputs;
      inputs.messages = messages_;
      const common_chat_params params = common_chat_templates_apply(templates_.get(), inputs);
      stops_ = params.additional_stops;
      return generator_->tokenize(params.prompt, true);
    } catch (const std::exception& error) {
      return fail(
          ErrorCode::kUnsupported,
          fmt::format("the model's chat template fails: {}; --raw completes plain text", error.what()));
    }
  }

  Status turn(std::vector<llama_token> tokens) {
    const engine::GenerationOptions generation{options_.limit, options_.special, stops_};
    const auto print = [](std::string_view piece) {
      std::fwrite(piece.data(), 1, piece.size(), stdout);
      return std::fflush(stdout) == 0;  // a reader that went away ends the generation
    };
    STRATA_TRY(const engine::Generation done, generator_->generate(std::move(tokens), generation, print));
    print("\n");
    report_.add(done);
    if (templates_ != nullptr) add_message("assistant", done.text);
    return {};
  }

  Status chat() {
    fmt::print(stderr, "Chat with {}. Ctrl-C stops an answer, Ctrl-D ends.\n", engine_->profile().name);
    for (;;) {
      fmt::print(stderr, "\n> ");
      std::string line;
      if (!std::getline(std::cin, line) || interrupts > 0) return {};
      if (line.empty()) continue;
      add_message("user", line);
      STRATA_TRY(std::vector<llama_token> tokens, chat_tokens());
      STRATA_TRY_VOID(turn(std::move(tokens)));
      interrupts = 0;
      engine_->resume();
    }
  }

  void add_message(std::string role, std::string content) {
    common_chat_msg message;
    message.role = std::move(role);
    message.content = std::move(content);
    messages_.push_back(std::move(message));
  }

  const RunOptions& options_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<engine::Generator> generator_;
  common_chat_templates_ptr templates_;
  std::vector<common_chat_msg> messages_;
  std::vector<std::string> stops_;
  RunReport report_;
};

}  // namespace

void add_run_command(CLI::App& app, int& exit_code) {
  auto* const command = app.add_subcommand("run", "complete a prompt or chat, inside a memory budget");
  auto options = std::make_shared<RunOptions>();
  add_run_flags(*command, *options);
  command->callback([options, &exit_code] {
    if (const Status status = Run(*options).execute(); !status) {
      fmt::print(stderr, "strata: {}\n", status.error().message);
      exit_code = 1;
    }
  });
}

}  // namespace strata::cli
