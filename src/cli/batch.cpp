#include "cli/batch.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <csignal>
#include <filesystem>

#include "base/counted.h"
#include "base/standard_error.h"
#include "batch/job.h"
#include "batch/shard.h"
#include "batch/stream_file.h"
#include "cli/answer_settings.h"
#include "cli/batch_files.h"
#include "cli/exit_code.h"
#include "cli/model_choice.h"
#include "cli/run_options.h"
#include "cli/run_report.h"
#include "cli/start.h"
#include "session/context_choice.h"
#include "session/live_control.h"

namespace brimful::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kPatience{200};  // The longest time until a signal is noticed.
// The number of tokens for which the longest prompt must leave room.
constexpr std::uint64_t kLeastAnswer = 256;
// The name under which a batch keeps the chosen type of the KV cache.
constexpr const char* kCacheType = "-ctk";
constexpr std::chrono::milliseconds kBetweenLooks{200};  // The time between two updates on a terminal.
constexpr std::chrono::seconds kBetweenLines{60};        // The time between two lines in a log.

std::atomic<int> stops{0};

void on_stop(int) {
  // With the second signal the program ends at once, because the orderly end takes too long. No answer is
  // lost.
  if (++stops > 1) std::_Exit(130);
}

struct BatchOptions {
  RunOptions run;
  std::string input;
  std::string output;
  std::string errors;
  std::string served_name;
  std::uint32_t sequences = 128;
  std::optional<std::string> stats_file;
  std::string shard = "0/1";
  std::uint32_t merge = 0;  // The number of parts to merge; 0: none.
  bool batch_invariant = false;
};

/// Shows the progress, the speed and the time left: in one line on a terminal, or with a line each minute.
class Progress {
 public:
  explicit Progress(std::int64_t done) : before_(done), terminal_(::isatty(STDERR_FILENO) != 0) {}
  ~Progress() { wipe(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void show(const batch::Job& job, const schedule::Scheduler& scheduler) {
    const auto now = Clock::now();
    if (now - shown_ < (terminal_ ? kBetweenLooks : kBetweenLines)) return;
    shown_ = now;
    const std::chrono::duration<double> took = now - begin_;
    const auto& counts = job.counts();
    const std::int64_t done = counts.lines - counts.left();
    const double rate = static_cast<double>(done - before_) / took.count();
    const std::string left =
        rate > 0 ? fmt::format(", {:.0f} s left", static_cast<double>(counts.left()) / rate) : "";
    wipe();
    tell("{} of {} requests answered, {} running, {:.1f} tokens/s{}{}", done, counts.lines,
         scheduler.running(), static_cast<double>(scheduler.statistics().tokens) / took.count(), left,
         terminal_ ? "" : "\n");
    std::fflush(stderr);
  }
  void wipe() {
    if (terminal_) tell("\r\033[K");
  }

 private:
  const std::int64_t before_;
  const bool terminal_;
  const Clock::time_point begin_ = Clock::now();
  Clock::time_point shown_ = terminal_ ? Clock::time_point() : begin_;
};

class Batch {
 public:
  explicit Batch(BatchOptions options) : options_(std::move(options)) {}

  Status execute() {
    batch::JobFiles files{options_.input, options_.output, options_.errors};
    if (options_.errors.empty())
      files.errors = batch::is_stream(files.output) ? files.output : errors_beside(files.output);
    BRIMFUL_TRY(const batch::Shard shard, batch::parse_shard(options_.shard));
    BRIMFUL_TRY_VOID(check_files(files.of(shard)));
    if (options_.merge > 0) return merge(files);
    if (options_.run.model.empty()) return fail(ErrorCode::kInvalidArgument, "name the model with -m or -hf");
    BRIMFUL_TRY_VOID(refuse_drafts(options_.run));
    BRIMFUL_TRY(engine::OpenOptions open, open_options(options_.run));
    open.heads = engine::Heads::kNone;
    BRIMFUL_TRY(settings_, answer_settings(options_.run, open, options_.served_name));
    settings_.push_back({"--batch-invariant", options_.batch_invariant ? "on" : "", ""});
    // This happens when a job that has finished is queued again.
    BRIMFUL_TRY(const auto there,
                batch::finished(files, shard, open.model.filename().string(), batch::fingerprint(settings_)));
    if (there) {
      tell("already complete: ");
      say_what_is_there(files.of(shard), there->answers, there->failed);
      return {};
    }
    watch_for_stops();
    BRIMFUL_TRY(const BatchFiles prepared,
                BatchFiles::prepare(files.of(shard), shard, batch::fingerprint(settings_), watch_));
    return compute(prepared.get(), shard, std::move(open));
  }

 private:
  Status check_files(const batch::JobFiles& files) const {
    std::vector<NamedFile> read = {{"-i", files.input}, {"-m", options_.run.model}};
    std::vector<NamedFile> written;
    for (const std::string& file : options_.run.loras) read.push_back({"--lora", file});
    for (const std::string& file : options_.run.control_vectors) read.push_back({"--control-vector", file});
    if (options_.run.chat_template_file)
      read.push_back({"--chat-template-file", *options_.run.chat_template_file});
    if (options_.stats_file) written.push_back({"--stats", *options_.stats_file});
    return check_distinct(files, read, written);
  }

  Status merge(const batch::JobFiles& files) {
    BRIMFUL_TRY(const batch::Merged merged, batch::merge_parts(files, options_.merge));
    say_what_is_there(files, merged.answers, merged.failed);
    return {};
  }

  static void say_what_is_there(const batch::JobFiles& files, std::int64_t answers, std::int64_t failed) {
    tell("{}: {}", batch::output_name(files.output), counted(static_cast<std::uint64_t>(answers), "answer"));
    if (failed > 0)
      tell("; {}: {}", batch::output_name(files.errors),
           counted(static_cast<std::uint64_t>(failed), "failed request"));
    tell("\n");
  }

  void watch_for_stops() {
    // When the reader of standard output goes away, a write fails with an error.
    std::signal(SIGPIPE, SIG_IGN);
    struct sigaction action {};
    action.sa_handler = on_stop;
    ::sigaction(SIGINT, &action, nullptr);
    ::sigaction(SIGTERM, &action, nullptr);
    watch_ = {
        .stopped = [] { return stops > 0; },
        .on_progress = {},
        .on_pause =
            [](const Error& error) { tell("paused: {}; continues when there is room\n", error.message); }};
  }

  Status compute(const batch::JobFiles& files, batch::Shard shard, engine::OpenOptions open) {
    if (options_.stats_file) BRIMFUL_TRY_VOID(check_writable(*options_.stats_file));
    BRIMFUL_TRY(engine_, engine::Engine::open(std::move(open)));
    BRIMFUL_TRY(const std::string chat_template, cli::chat_template(options_.run));
    BRIMFUL_TRY(const auto reader, openai::ApiReader::create(*engine_, chat_template));
    const std::string name = options_.served_name.empty() ? engine_->profile().name : options_.served_name;
    std::unique_ptr<batch::Job> opened;
    BRIMFUL_TRY_VOID(batch::patiently(watch_, [&]() -> Status {
      BRIMFUL_TRY(opened,
                  batch::Job::open(
                      files, reader,
                      {.model = name, .answers = settings_, .shard = shard, .most_context = most_context()}));
      return {};
    }));
    batch::Job& job = *opened;
    if (!job.difference().empty()) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{}: this batch was started with other settings, which give other answers: {}; "
                              "use the settings from before, or remove this file to start again",
                              files.journal_path().string(), job.difference()));
    }
    BRIMFUL_TRY_VOID(check_lines(job));
    if (batch::is_stream(files.output))
      tell(
          "note: {} gets the answers when all are complete; until then {} keeps them, and the same command "
          "continues\n",
          batch::output_name(files.output), files.journal_path().string());
    if (job.resumed())
      tell("continuing: {} of {} requests are answered\n", job.counts().lines - job.counts().left(),
           job.counts().lines);
    if (job.counts().left() > 0) BRIMFUL_TRY_VOID(answer(job));
    BRIMFUL_TRY_VOID(job.write_out(watch_));
    say_what_is_there(files, job.counts().completed, job.counts().failed);
    return {};
  }

  /// An upper bound for the context in tokens, as far as it is known before the context is prepared.
  [[nodiscard]] std::optional<std::uint64_t> most_context() const {
    const std::uint32_t given = options_.run.context.value_or(0);
    const std::uint32_t trained = engine_->profile().train_context;
    if (given == 0 && trained == 0) return std::nullopt;
    return given > 0 ? given : trained;
  }

  /// The most tokens of a request with its answer. Without a flag for the size of the context, it is the
  /// number of tokens that the model was trained on; the context itself holds many requests.
  [[nodiscard]] std::uint64_t longest_text() const {
    const std::uint32_t trained = engine_->profile().train_context;
    return trained > 0 && !options_.run.context ? trained : SIZE_MAX;
  }

  static std::filesystem::path errors_beside(std::filesystem::path output) {
    const std::string extension = output.extension().string();
    return output.replace_extension(".errors" + extension);
  }

  Status check_lines(batch::Job& job) const {
    for (bool checked = false; !checked;) {
      if (stops > 0) return fail(ErrorCode::kCancelled, "stopped before any request was answered");
      BRIMFUL_TRY_VOID(batch::patiently(watch_, [&]() -> Status {
        BRIMFUL_TRY(checked, job.check(kPatience));
        return {};
      }));
    }
    if (job.unreadable_count() == 0) return {};
    std::string which;
    for (const batch::WrongLine& line : job.unreadable_lines())
      which += fmt::format("{}line {}: {}", which.empty() ? "" : "; ", line.number, line.what);
    tell("note: {} cannot be read and {}: {}{}\n", counted(job.unreadable_count(), "line"),
         job.unreadable_count() == 1 ? "fails" : "fail", which,
         job.unreadable_count() > job.unreadable_lines().size() ? "; and more" : "");
    return {};
  }

  Status answer(batch::Job& job) {
    const auto at_once = start(job);
    if (!at_once) {
      // Nothing was computed. The options did not fit, and the user may try others, so the journal is
      // removed.
      if (!job.resumed() && at_once.error().code != ErrorCode::kCancelled)
        BRIMFUL_TRY_VOID(job.remove_journal());
      return std::unexpected(at_once.error());
    }
    schedule::Scheduler scheduler(
        *engine_, {.most_running = *at_once,
                   .longest_text = longest_text(),
                   .company = options_.batch_invariant ? schedule::Scheduler::Company::kOneByOne
                                                       : schedule::Scheduler::Company::kTogether});
    const auto begin = Clock::now();
    BatchReport report{.load_seconds = std::chrono::duration<double>(begin - begin_).count()};
    Status status;
    Status lives;
    {
      Progress progress(job.counts().lines - job.counts().left());
      batch::Job::Watch watch = watch_;
      watch.on_progress = [&](const batch::Job& now) {
        progress.show(now, scheduler);
        const schedule::Statistics& did = scheduler.statistics();
        lives =
            live_->between_passes({did.prompt_tokens, did.tokens, true}, [&] { return scheduler.evict(); });
      };
      watch.stopped = [&] { return stops > 0 || !lives; };
      status = job.run(scheduler, watch);
    }
    if (!lives) status = lives;
    report.took = Clock::now() - begin;
    report.did = scheduler.statistics();
    tell("{}", describe(report));
    if (options_.stats_file)
      BRIMFUL_TRY_VOID(write_stats(*options_.stats_file, report, *engine_, options_.run.model));
    if (!status && status.error().code == ErrorCode::kCancelled) {
      return fail(
          ErrorCode::kCancelled,
          fmt::format("stopped: {} of {} requests are answered; the same command continues with the rest",
                      job.counts().lines - job.counts().left(), job.counts().lines));
    }
    return status;
  }

  /// Starts the context. Returns how many requests may run in it at once.
  Result<std::uint32_t> start(batch::Job& job) {
    BRIMFUL_TRY(const std::uint32_t at_once, prepare(job));
    live_.emplace(*engine_, options_.run.model, tell_note_below);
    BRIMFUL_TRY_VOID(start_and_show(*engine_, [] { return stops > 0; }));
    live_->started();
    return at_once;
  }

  Result<std::uint32_t> prepare(batch::Job& job) {
    const bool chooses_cache = chooses_cache_type(options_.run);
    // It is chosen once for the whole batch, because another type would give other answers.
    if (chooses_cache) {
      BRIMFUL_TRY(const auto before, job.store().choice(kCacheType));
      if (before) options_.run.type_k = options_.run.type_v = *before;
    }
    BRIMFUL_TRY(engine::ContextOptions context, context_options(options_.run));
    context.drafts = {};
    BRIMFUL_TRY(const std::uint64_t longest, longest_prompt(job.store(), context));
    BRIMFUL_TRY(const session::ExpectedRequests expected, expected_requests(job.store(), longest));
    BRIMFUL_TRY(const std::uint32_t at_once,
                session::prepare_shared(*engine_, context, expected,
                                        known_machine(options_.run, engine_->profile()), tell_note));
    if (chooses_cache)
      BRIMFUL_TRY_VOID(job.store().keep_choice(kCacheType, ggml_type_name(engine_->prepared().type_k)));
    const std::uint64_t holds = std::min<std::uint64_t>(engine_->plan().context, longest_text());
    BRIMFUL_TRY(const batch::Store::Work all, job.store().work(kLeastAnswer));
    BRIMFUL_TRY(const batch::Store::Work fits, job.store().work(kLeastAnswer, holds));
    if (!engine_->only_embeds() && fits.lines < all.lines)
      tell("note: {} of {} requests fail because their prompts are longer than the context of {} tokens{}\n",
           all.lines - fits.lines, all.lines, holds,
           context.context ? "" : "; use a larger -c, and a larger --ram if needed");
    return at_once;
  }

  Result<session::ExpectedRequests> expected_requests(const batch::Store& store,
                                                      std::uint64_t longest) const {
    BRIMFUL_TRY(const batch::Store::Work work, store.work(kLeastAnswer, longest));
    const auto wanted =
        static_cast<std::uint32_t>(std::clamp<std::int64_t>(work.lines, 1, std::int64_t{options_.sequences}));
    // When every prompt is too long, any context leads to that message.
    const std::uint64_t some = work.lines > 0 ? 0 : kLeastAnswer;
    const auto at_most_longest = [&](std::uint64_t tokens) { return std::min(tokens, longest_text()); };
    const auto mean_tokens = static_cast<double>(at_most_longest(work.mean_tokens));
    return session::ExpectedRequests{
        .work = {wanted, static_cast<double>(work.mean_prompt),
                 std::max(mean_tokens - static_cast<double>(work.mean_prompt), 0.0)},
        .lengths_known = true,
        .most_tokens = at_most_longest(work.most_tokens + some),
        .least_tokens = at_most_longest(work.least_tokens + some),
        .chooses_cache = chooses_cache_type(options_.run)};
  }

  /// Returns the length in tokens of the longest prompt for which the context is made, when no flag says how
  /// large it is: the longest one that the model was trained for and that the budget holds. Longer prompts
  /// fail, each alone.
  Result<std::uint64_t> longest_prompt(const batch::Store& store, const engine::ContextOptions& context) {
    constexpr std::uint64_t kAny = INT64_MAX;
    if (context.context || engine_->only_embeds()) return kAny;
    BRIMFUL_TRY(std::vector<std::uint64_t> lengths, store.prompt_lengths());
    if (const std::uint32_t trained = engine_->profile().train_context; trained > 0)
      std::erase_if(lengths, [&](std::uint64_t length) { return length > trained; });
    if (lengths.size() < 2) return lengths.empty() ? 0 : lengths.back();
    const auto fits = [&](std::uint64_t length) -> Result<bool> {
      BRIMFUL_TRY(const session::ExpectedRequests expected, expected_requests(store, length));
      return session::holds_least(*engine_, context, expected);
    };
    // Lengths before the index `first` fit; lengths from the index `end` on do not.
    std::size_t first = 0;
    std::size_t end = lengths.size();
    for (std::size_t next = end - 1; first < end; next = (first + end) / 2) {
      BRIMFUL_TRY(const bool fit, fits(lengths[next]));
      (fit ? first : end) = fit ? next + 1 : next;
    }
    return lengths[first > 0 ? first - 1 : 0];
  }

  const Clock::time_point begin_ = Clock::now();
  BatchOptions options_;
  batch::Settings settings_;
  batch::Job::Watch watch_;
  std::unique_ptr<engine::Engine> engine_;
  std::optional<session::Live> live_;
};

}  // namespace

void add_batch_command(CLI::App& app, int& exit_code) {
  auto* const command =
      app.add_subcommand("batch", "compute a file of requests, in the format of OpenAI's batch API");
  auto options = std::make_shared<BatchOptions>();
  command->add_option("-m,--model", options->run.model,
                      "GGUF file (of a split model: the first part), or the name of a model in the cache");
  add_hub_flag(*command, options->run);
  command
      ->add_option("-i,--input-file", options->input,
                   "file of requests, JSON Lines in the format of OpenAI's batch API ('-': standard input)")
      ->required();
  command
      ->add_option("-o,--output-file", options->output,
                   "file for the answers; appears when all are complete ('-': standard output)")
      ->required();
  command->add_option(
      "--error-file", options->errors,
      "file for failed requests (default: OUTPUT with .errors in its name; with '-o -': standard output)");
  command->add_option(
      "--shard", options->shard,
      "I/N: compute shard I (0 to N-1) of N, which is every Nth request; writes a part of the output");
  command
      ->add_option("--merge", options->merge,
                   "merge the parts of this many shards into the output; needs no model")
      ->check(CLI::Range(1, 100'000));
  command->add_option("--served-model-name", options->served_name, "name of the model in answers");
  command
      ->add_option("--max-num-seqs", options->sequences,
                   "most requests computed at the same time (the plan may choose fewer)")
      ->capture_default_str()
      ->check(CLI::Range(1, 248));
  command->add_option("--stats", options->stats_file, "file for statistics, as JSON");
  command->add_flag(
      "--batch-invariant", options->batch_invariant,
      "give a request the same tokens whatever other requests run: computes one request after the other");
  add_chat_flags(*command, options->run);
  add_shape_flags(*command, options->run);
  add_device_flags(*command, options->run);
  command->callback([options, &exit_code] {
    const Status chosen = choose_model(options->run);
    exit_code = chosen ? report(Batch(*options).execute()) : report(chosen);
  });
}

}  // namespace brimful::cli
