#include "cli/batch.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>
#include <filesystem>

#include "batch/job.h"
#include "batch/shard.h"
#include "cli/exit_code.h"
#include "cli/live.h"
#include "cli/run_options.h"
#include "cli/run_report.h"
#include "cli/shared_context.h"

namespace strata::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kPatience{200};      // until a signal is seen
constexpr std::uint64_t kLeastAnswer = 256;              // tokens that the longest prompt must leave room for
constexpr std::chrono::milliseconds kBetweenLooks{200};  // of who watches a terminal
constexpr std::chrono::seconds kBetweenLines{60};        // of who reads a log

std::atomic<int> stops{0};

void on_stop(int) {
  if (++stops > 1) std::_Exit(130);  // a second time: the first is taking too long. Nothing is lost
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
  std::uint32_t merge = 0;  // parts
  bool batch_invariant = false;
};

/// How far, how fast, how long still: one line of a terminal, or one a minute.
class Progress {
 public:
  explicit Progress(std::int64_t done) : before_(done), terminal_(::isatty(STDERR_FILENO) != 0) {}
  ~Progress() { wipe(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void show(const batch::Job& job, const batch::Executor& executor) {
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
    fmt::print(stderr, "{} of {} answered, {} at once, {:.1f} tokens/s{}{}", done, counts.lines,
               executor.running(), static_cast<double>(executor.statistics().tokens) / took.count(), left,
               terminal_ ? "" : "\n");
    std::fflush(stderr);
  }
  void wipe() {
    if (terminal_) fmt::print(stderr, "\r\033[K");
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
    if (options_.errors.empty()) files.errors = errors_beside(files.output);
    if (options_.merge > 0) return merge(files);
    if (options_.run.model.empty()) return fail(ErrorCode::kInvalidArgument, "-m is missing: the model");
    STRATA_TRY(const batch::Shard shard, batch::parse_shard(options_.shard));
    // As where a job is queued again that had come to its end.
    STRATA_TRY(const auto there, batch::finished(files, shard));
    if (there) {
      fmt::print(stderr, "finished before: ");
      say_what_is_there(files.of(shard), there->answers, there->failed);
      return {};
    }
    return compute(std::move(files), shard);
  }

 private:
  Status merge(const batch::JobFiles& files) {
    STRATA_TRY(const batch::Merged merged, batch::merge_parts(files, options_.merge));
    say_what_is_there(files, merged.answers, merged.failed);
    return {};
  }

  static void say_what_is_there(const batch::JobFiles& files, std::int64_t answers, std::int64_t failed) {
    fmt::print(stderr, "{}: {} answers", files.output.string(), answers);
    if (failed > 0) fmt::print(stderr, "; {}: {} requests that failed", files.errors.string(), failed);
    fmt::print(stderr, "\n");
  }

  Status compute(batch::JobFiles files, batch::Shard shard) {
    struct sigaction action {};
    action.sa_handler = on_stop;
    ::sigaction(SIGINT, &action, nullptr);
    ::sigaction(SIGTERM, &action, nullptr);
    STRATA_TRY_VOID(refuse_drafts(options_.run, "batch"));
    if (options_.stats_file) STRATA_TRY_VOID(check_writable(*options_.stats_file));
    STRATA_TRY(engine::OpenOptions open, open_options(options_.run));
    STRATA_TRY(engine_, engine::Engine::open(std::move(open)));
    STRATA_TRY(const std::string chat_template, cli::chat_template(options_.run));
    STRATA_TRY(const auto reader, batch::ApiReader::create(*engine_, chat_template));
    const std::string name = options_.served_name.empty() ? engine_->profile().name : options_.served_name;
    const batch::Job::Watch watch{.stopped = [] { return stops > 0; },
                                  .on_progress = {},
                                  .on_pause =
                                      [](const Error& error) {
                                        fmt::print(stderr, "paused: {}; it goes on when there is room\n",
                                                   error.message);
                                      }};
    std::unique_ptr<batch::Job> opened;
    STRATA_TRY_VOID(batch::patiently(watch, [&]() -> Status {
      STRATA_TRY(opened, batch::Job::open(files, reader, name, shard));
      return {};
    }));
    batch::Job& job = *opened;
    for (bool checked = false; !checked;) {
      if (stops > 0) return fail(ErrorCode::kCancelled, "stopped before anything was answered");
      STRATA_TRY_VOID(batch::patiently(watch, [&]() -> Status {
        STRATA_TRY(checked, job.check(kPatience));
        return {};
      }));
    }
    if (job.resumed())
      fmt::print(stderr, "going on: {} of {} requests are answered\n",
                 job.counts().lines - job.counts().left(), job.counts().lines);
    if (job.counts().left() > 0) STRATA_TRY_VOID(answer(job, watch));
    STRATA_TRY_VOID(job.write_out(watch));
    say_what_is_there(files.of(shard), job.counts().completed, job.counts().failed);
    return {};
  }

  static std::filesystem::path errors_beside(std::filesystem::path output) {
    const std::string extension = output.extension().string();
    return output.replace_extension(".errors" + extension);
  }

  Status answer(batch::Job& job, batch::Job::Watch watch) {
    STRATA_TRY(const std::uint32_t at_once, prepare(job.counts()));
    Live live(*engine_, options_.run.model);
    STRATA_TRY_VOID(start_and_show(*engine_, [] { return stops > 0; }));
    live.started();
    batch::Executor executor(
        *engine_, at_once, SIZE_MAX,
        options_.batch_invariant ? batch::Executor::Company::kOneByOne : batch::Executor::Company::kTogether);
    const auto begin = Clock::now();
    BatchReport report{.load_seconds = std::chrono::duration<double>(begin - begin_).count()};
    Status status;
    Status lives;
    {
      Progress progress(job.counts().lines - job.counts().left());
      watch.on_progress = [&](const batch::Job& now) {
        progress.show(now, executor);
        const batch::Statistics& did = executor.statistics();
        lives =
            live.between_passes({did.prompt_tokens, did.tokens, true}, [&] { return executor.put_aside(); });
      };
      watch.stopped = [&] { return stops > 0 || !lives; };
      status = job.run(executor, watch);
    }
    if (!lives) status = lives;
    report.took = Clock::now() - begin;
    report.did = executor.statistics();
    fmt::print(stderr, "{}", describe(report));
    if (options_.stats_file)
      STRATA_TRY_VOID(write_stats(*options_.stats_file, report, *engine_, options_.run.model));
    if (!status && status.error().code == ErrorCode::kCancelled) {
      return fail(
          ErrorCode::kCancelled,
          fmt::format("stopped: {} of {} requests are answered; the same command goes on with the rest",
                      job.counts().lines - job.counts().left(), job.counts().lines));
    }
    return status;
  }

  Result<std::uint32_t> prepare(const batch::Store::Counts& counts) {
    STRATA_TRY(const engine::ContextOptions context, context_options(options_.run));
    const auto wanted = static_cast<std::uint32_t>(std::min<std::int64_t>(options_.sequences, counts.left()));
    return prepare_shared(*engine_, context,
                          {.work = {wanted, static_cast<double>(counts.mean_prompt),
                                    static_cast<double>(counts.mean_tokens - counts.mean_prompt)},
                           .lengths_known = true,
                           .most_tokens = counts.most_tokens,
                           .least_tokens = counts.longest_prompt + kLeastAnswer,
                           .chooses_cache = chooses_cache_type(options_.run)},
                          known_machine(options_.run, engine_->profile()));
  }

  const Clock::time_point begin_ = Clock::now();
  BatchOptions options_;
  std::unique_ptr<engine::Engine> engine_;
};

}  // namespace

void add_batch_command(CLI::App& app, int& exit_code) {
  auto* const command = app.add_subcommand("batch", "answer a file of requests of OpenAI's batch API");
  auto options = std::make_shared<BatchOptions>();
  command->add_option("-m,--model", options->run.model, "GGUF file (of a split model: the first part)");
  command->add_option("-i,--input-file", options->input, "requests: JSON lines of OpenAI's batch API")
      ->required();
  command->add_option("-o,--output-file", options->output, "answers; appears when all are there")->required();
  command->add_option("--error-file", options->errors,
                      "requests that failed (default: OUTPUT with .errors in its name)");
  command->add_option("--shard", options->shard,
                      "I/N: every Nth request, from the Ith (from 0) on; into parts of the output");
  command->add_option("--merge", options->merge, "put the parts of so many shards together; needs no model")
      ->check(CLI::Range(1, 100'000));
  command->add_option("--served-model-name", options->served_name, "the model's name in answers");
  command
      ->add_option("--max-num-seqs", options->sequences,
                   "requests computed at once, at most: by the plan, fewer")
      ->capture_default_str()
      ->check(CLI::Range(1, 248));
  command->add_option("--stats", options->stats_file, "write statistics as JSON");
  command->add_flag(
      "--batch-invariant", options->batch_invariant,
      "the same request gets the same tokens whatever else the file holds: requests are computed "
      "one after the other");
  add_chat_flags(*command, options->run);
  add_shape_flags(*command, options->run);
  add_device_flags(*command, options->run);
  command->callback([options, &exit_code] { exit_code = report(Batch(*options).execute()); });
}

}  // namespace strata::cli
