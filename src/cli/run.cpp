#include "cli/run.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include "base/progress.h"
#include "base/standard_error.h"
#include "base/visible_text.h"
#include "chat/chat_format.h"
#include "cli/chat.h"
#include "cli/exit_code.h"
#include "cli/line_reader.h"
#include "cli/memory_map.h"
#include "cli/model_choice.h"
#include "cli/run_options.h"
#include "cli/run_report.h"
#include "cli/start.h"
#include "cli/terminal_mode.h"
#include "engine/sampler.h"
#include "engine/tokenize.h"
#include "model/gguf_reader.h"
#include "session/client_reserve.h"
#include "session/conversation.h"
#include "session/live_control.h"

namespace brimful::cli {
namespace {

std::atomic<engine::Engine*> interruptible{nullptr};
std::atomic<int> interrupts{0};
std::atomic<bool> chatting{false};

void on_interrupt(int) {
  // The second Ctrl-C ends the program at once, because the first one takes too long. In a chat, Ctrl-C ends
  // the answer and never the program.
  if (++interrupts > 1 && !chatting) {
    TerminalMode::restore_before_exit();
    std::_Exit(130);
  }
  if (engine::Engine* const engine = interruptible.load()) engine->abort();
}

/// Runs one model for a completion, for one turn of a chat, or for a chat on the terminal.
class Run {
 public:
  explicit Run(RunOptions options) : options_(std::move(options)) {}
  ~Run() {
    interruptible = nullptr;
    chatting = false;
  }
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  Status execute() {
    // A reader of stdout that goes away ends the generation, and not the program.
    std::signal(SIGPIPE, SIG_IGN);
    struct sigaction action {};
    action.sa_handler = on_interrupt;  // Without SA_RESTART, Ctrl-C ends the wait for a line.
    ::sigaction(SIGINT, &action, nullptr);
    if (options_.plan_file) BRIMFUL_TRY_VOID(apply_plan(*options_.plan_file, options_));
    BRIMFUL_TRY(std::optional<std::string> prompt, read_prompt(options_));
    for (const auto& file : {options_.stats_file, options_.trace_file}) {
      if (file) BRIMFUL_TRY_VOID(check_writable(*file));
    }
    if (!prompt) BRIMFUL_TRY_VOID(open_lines());
    BRIMFUL_TRY_VOID(open());
    if (!format_ && (!prompt || options_.system)) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}: {}", options_.raw ? "--raw" : "this model has no chat template",
                              prompt ? "--system has no place in a plain text: leave it out"
                                     : "give a text to complete with -p or -f"));
    }

    std::vector<llama_token> tokens;
    if (prompt) {
      BRIMFUL_TRY(tokens, first_tokens(*prompt));
      if (const auto note = chat::two_beginnings(engine_->vocab(), tokens)) tell("note: {}\n", *note);
    }
    BRIMFUL_TRY_VOID(start(tokens));
    if (options_.display_prompt && prompt) print(*prompt);
    const Status status = prompt ? turn(std::move(tokens)) : talk();
    lines_.reset();  // This restores the terminal.
    if (!status && report_.total.prompt_computed == 0) return status;
    tell("\n{}", describe(report_, *engine_));
    if (options_.stats_file)
      BRIMFUL_TRY_VOID(write_stats(*options_.stats_file, report_, *engine_, options_.model));
    if (trace_) BRIMFUL_TRY_VOID(trace_->write(*options_.trace_file));
    return status;
  }

 private:
  Status open() {
    BRIMFUL_TRY(engine::OpenOptions open, open_options(options_));
    if (options_.trace_file) open.trace = &trace_.emplace();
    BRIMFUL_TRY(sampling_, sampling_params(options_));
    BRIMFUL_TRY(engine_, engine::Engine::open(std::move(open)));
    common_params_sampling tried = sampling_;  // Errors are told before the weights are read.
    BRIMFUL_TRY_VOID(engine::make_sampler(*engine_, tried));
    BRIMFUL_TRY_VOID(engine::try_grammar(*engine_, sampling_));
    BRIMFUL_TRY(const std::string chat_template, cli::chat_template(options_));
    if (options_.raw || (engine_->profile().chat_template.empty() && chat_template.empty())) return {};
    auto format = chat::ChatFormat::create(*engine_, chat_template);
    if (!format) {
      return fail(format.error().code,
                  fmt::format("{}: {}; --raw completes plain text", options_.model, format.error().message));
    }
    format_.emplace(std::move(*format));
    if (options_.system) add_message("system", *options_.system);
    return {};
  }

  Status start(const std::vector<llama_token>& prompt) {
    BRIMFUL_TRY(engine::ContextOptions context, context_options(options_));
    context.prompt_tokens = static_cast<std::uint32_t>(prompt.size());
    const std::size_t wanted = prompt.size() + static_cast<std::size_t>(std::max(options_.limit, 1));
    context.least_context = static_cast<std::uint32_t>(std::min<std::size_t>(wanted, 1U << 20));
    session::shape_for_conversation(context);
    context.client_reserve = session::client_reserve(
        *engine_, sampling_, format_.has_value(),
        (trace_ ? tier::Trace::bytes() : Bytes{}) + (lines_ ? LineReader::memory(longest_line_) : Bytes{}));

    std::optional<ProgressBar> bar;
    const auto progress = [&](Bytes done, Bytes total) {
      if (!bar) bar.emplace("loading", total);
      bar->update(done);
      return interrupts == 0;
    };
    interruptible = engine_.get();
    BRIMFUL_TRY_VOID(engine_->prepare(context));
    live_.emplace(*engine_, options_.model, [this](const std::string& note) {
      ++notes_;
      tell_note_below(note);
    });  // This comes after the measuring, which its thread would disturb.
    BRIMFUL_TRY_VOID(engine_->start(progress));
    if (interrupts > 0) return fail(ErrorCode::kCancelled, "interrupted before the first token");
    if (bar) bar->finish();
    live_->started();
    conversation_.emplace(*engine_);
    report_.load_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
    for (const std::string& note : engine_->notes()) tell("note: {}\n", note);
    for (const engine::DeviceUse& device : engine_->devices()) tell("{}", draw_device_map(device.share));
    tell("{}\n", draw_memory_map(engine_->memory_map()));
    return {};
  }

  Result<std::vector<llama_token>> first_tokens(const std::string& prompt) {
    if (!format_) return engine::tokenize_bounded(*engine_, prompt, true, true);
    add_message("user", prompt);
    return chat_tokens();
  }

  Result<std::vector<llama_token>> chat_tokens() {
    auto prompt = format_->apply({.messages = messages_});
    if (!prompt)
      return fail(prompt.error().code, fmt::format("{}; --raw completes plain text", prompt.error().message));
    stops_ = std::move(prompt->stops);
    sampling_.preserved_tokens = std::move(prompt->rules.preserved_tokens);
    // With --special, the marks of the template are shown like other text.
    parser_ = options_.special ? chat::ChatParser() : std::move(prompt->parser);
    return std::move(prompt->tokens);
  }

  /// Prints a piece of the answer. Returns whether it was written. On a terminal, characters that would
  /// control it become symbols.
  bool print(std::string_view piece) {
    if (!terminal_out_) return write(piece);
    const std::string visible = visible_.add(piece);
    return visible.empty() || write(visible);
  }

  bool write(std::string_view piece) {
    const bool written =
        std::fwrite(piece.data(), 1, piece.size(), stdout) == piece.size() && std::fflush(stdout) == 0;
    if (!written && output_error_ == 0) output_error_ = errno;
    return written;
  }

  /// Prints the model's thoughts to stderr, dimmed on a terminal, and its answer to stdout. Returns false
  /// when stdout accepts no more.
  bool print(const std::vector<chat::ChatDelta>& deltas) {
    bool written = true;
    for (const chat::ChatDelta& delta : deltas) {
      if (!delta.reasoning.empty()) {
        if (!std::exchange(thinks_, true) && dims_) tell("\033[2m");
        tell("{}", thoughts_.add(delta.reasoning));
      } else {
        end_thoughts();
        written = print(delta.content) && written;
      }
    }
    return written;
  }

  void end_thoughts() {
    if (std::exchange(thinks_, false)) tell("{}\n\n", dims_ ? "\033[0m" : "");
  }

  Status turn(std::vector<llama_token> tokens) {
    schedule::Request request{.prompt = std::move(tokens),
                              .sampling = sampling_,
                              .limit = options_.limit,
                              .stop_strings = stops_,
                              .show_special = options_.special};
    chat::ChatStream stream(parser_);
    BRIMFUL_TRY(const session::Turn done,
                conversation_->answer(
                    std::move(request), [this](const auto& so_far) { return live_->before_pass(so_far); },
                    [&](auto piece) { return print(stream.add(piece)); }));
    print(stream.end());
    if (terminal_out_) write(visible_.rest());
    end_thoughts();
    print("\n");
    report_.add(done);
    live_->finished(done);
    if (output_error_ != 0 && output_error_ != EPIPE) {  // A reader that has closed the pipe is no error.
      return fail(ErrorCode::kIo,
                  fmt::format("the text cannot be written to stdout: {}", std::strerror(output_error_)));
    }
    if (format_) {
      add_message("assistant", stream.told().content);
      // The template itself decides which thoughts the model sees again.
      if (!stream.told().reasoning.empty()) messages_.back()["reasoning_content"] = stream.told().reasoning;
    }
    return {};
  }

  /// Opens the input of a chat: a terminal, or a pipe with one message in each line.
  Status open_lines() {
    const bool terminal = ::isatty(STDIN_FILENO) != 0;
    longest_line_ = LineReader::longest_line(options_.context.value_or(0));
    BRIMFUL_TRY(lines_, LineReader::create([this] { return wait_for_input(); }, longest_line_));
    if (terminal) return {};
    // The model is not loaded when there is no message.
    BRIMFUL_TRY(first_line_, lines_->read(""));
    if (first_line_->kind != LineReader::Line::Kind::kEnd) return {};
    return fail(ErrorCode::kInvalidArgument,
                "no prompt: give one with -p or -f, or messages on standard input, one in a line");
  }

  /// Waits until standard input has something to read. Returns false after Ctrl-C.
  Result<bool> wait_for_input() {
    if (!live_) return interrupts == 0;
    std::size_t notes = notes_;
    BRIMFUL_TRY(const bool readable, live_->wait_for_input([&] {
      lines_->redraw_if_asked();
      if (std::exchange(notes, notes_) != notes) lines_->redraw();
      return interrupts > 0;
    }));
    if (!readable) next_answer();
    return readable;
  }

  /// Forgets earlier interrupts, so that they do not end the next answer.
  void next_answer() {
    interrupts = 0;
    engine_->resume();
  }

  Status talk() {
    chatting = lines_->is_terminal();
    return chat(*lines_, {.name = model::in_quotes(engine_->profile().name),
                          .first_line = std::move(first_line_),
                          .answer = [this](const std::string& message) { return answer(message); },
                          .clear = [this] { clear(); },
                          .set_system = [this](const std::string& text) { set_system(text); },
                          .system = [this] { return options_.system.value_or(""); },
                          .statistics = [this] { return describe(report_, *engine_); }});
  }

  Status answer(const std::string& message) {
    if (chatting && interrupts > 0) {  // Ctrl-C and Enter were pressed before the line was read.
      next_answer();
      return {};
    }
    add_message("user", message);
    auto tokens = chat_tokens();
    if (!tokens) {  // The template refuses this conversation. Another message may be accepted.
      tell("note: {}\n", tokens.error().message);
      messages_.erase(messages_.size() - 1);
      return {};
    }
    BRIMFUL_TRY_VOID(make_room(*tokens));
    if (tokens->size() >= llama_n_ctx(engine_->context())) {
      tell("note: this message alone is longer than the context: start with a larger -c\n");
      messages_.erase(messages_.size() - 1);
      return {};
    }
    Status done = turn(std::move(*tokens));
    // After Ctrl-C before the first token of the answer, the question stays and the chat goes on.
    if (!done && done.error().code == ErrorCode::kCancelled && chatting) done = Status();
    // With a pipe there is no person who goes on.
    if (!lines_->is_terminal() && interrupts > 0) return done;
    next_answer();
    return done;
  }

  void clear() {
    messages_.clear();
    if (options_.system) add_message("system", *options_.system);
  }

  /// Sets the system message in front of the conversation, which stays.
  void set_system(const std::string& text) {
    const nlohmann::ordered_json before = std::exchange(messages_, nlohmann::ordered_json::array());
    const std::size_t begin = options_.system ? 1 : 0;
    options_.system = text;
    add_message("system", text);
    for (std::size_t i = begin; i < before.size(); ++i) messages_.push_back(before[i]);
  }

  /// Forgets the oldest turns until the history leaves room for an answer.
  Status make_room(std::vector<llama_token>& tokens) {
    const std::size_t context = llama_n_ctx(engine_->context());
    const std::size_t answer = std::min<std::size_t>(256, context / 4);
    const std::ptrdiff_t oldest = options_.system ? 1 : 0;
    std::size_t forgotten = 0;
    while (tokens.size() + answer > context && messages_.size() > static_cast<std::size_t>(oldest) + 1) {
      const auto first = messages_.begin() + oldest;
      messages_.erase(first, first + 2);  // A question and its answer.
      ++forgotten;
      BRIMFUL_TRY(tokens, chat_tokens());
    }
    if (forgotten > 0) tell("note: the context is full: the oldest turns are forgotten ({})\n", forgotten);
    return {};
  }

  void add_message(const std::string& role, const std::string& content) {
    messages_.push_back({{"role", role}, {"content", content}});
  }

  RunOptions options_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::optional<tier::Trace> trace_;  // Declared before the engine, because it must outlive it.
  std::unique_ptr<engine::Engine> engine_;
  common_params_sampling sampling_;
  std::optional<session::Live> live_;
  std::optional<session::Conversation> conversation_;  // Set when the model is loaded.
  std::optional<chat::ChatFormat> format_;             // Unset when prompts are plain text.
  nlohmann::ordered_json messages_ = nlohmann::ordered_json::array();
  std::vector<std::string> stops_;
  chat::ChatParser parser_;
  bool thinks_ = false;  // Whether thoughts are being printed.
  const bool dims_ = ::isatty(STDERR_FILENO) != 0;
  std::size_t longest_line_ = 0;       // The limit for a line in bytes.
  std::unique_ptr<LineReader> lines_;  // The input of a chat.
  // The first line of a pipe, read before the model was opened.
  std::optional<LineReader::Line> first_line_;
  std::size_t notes_ = 0;  // The number of notes that were written below the line that a person types.
  RunReport report_;
  const bool terminal_out_ = ::isatty(STDOUT_FILENO) != 0;
  VisibleStream visible_;   // Makes the answer visible for a terminal.
  VisibleStream thoughts_;  // Makes thoughts visible. Standard error is always for people.
  int output_error_ = 0;    // The errno of the first write that failed; 0 when none failed.
};

}  // namespace

void add_run_command(CLI::App& app, int& exit_code) {
  auto* const command = app.add_subcommand("run", "complete a prompt, or chat, within memory budgets");
  auto options = std::make_shared<RunOptions>();
  add_run_flags(*command, *options);
  command->callback([options, &exit_code] {
    if (options->model.empty() && options->hub.empty() && !options->plan_file)
      throw CLI::RequiredError("-m FILE, or --plan FILE that names a model, or -hf NAME,");
    const Status chosen = choose_model(*options);
    exit_code = chosen ? report(Run(*options).execute()) : report(chosen);
  });
}

}  // namespace brimful::cli
