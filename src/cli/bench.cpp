#include "cli/bench.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <ctime>
#include <memory>
#include <random>
#include <utility>

#include "base/progress.h"
#include "base/standard_error.h"
#include "base/standard_output.h"
#include "cli/bench_output.h"
#include "cli/chunk_run.h"
#include "cli/exit_code.h"
#include "cli/flag_names.h"
#include "cli/model_choice.h"
#include "cli/run_options.h"
#include "engine/engine.h"
#include "hardware/compute_threads.h"

namespace brimful::cli {
namespace {

constexpr std::uint32_t kMostSequences = 256;  // llama.cpp's
constexpr std::uint64_t kLargestContext = 1ULL << 30;
constexpr std::uint32_t kMostSamples = 10000;

struct BenchOptions {
  RunOptions run;
  std::vector<std::string> models;
  std::string prompts = "512";
  std::string generated = "128";
  std::vector<std::string> both;
  std::string depths = "0";
  std::string batches = "2048";
  std::string ubatches = "512";
  std::string threads;
  std::string sequences = "1";
  std::uint32_t repetitions = 5;
  bool no_warmup = false;
  std::string format = "md";
};

/// One test: a prompt, generated tokens, or both, behind `depth` tokens.
struct Test {
  std::uint32_t prompt = 0;
  std::uint32_t generated = 0;
  std::uint32_t depth = 0;
  [[nodiscard]] std::uint64_t context() const { return std::uint64_t{prompt} + generated + depth; }
};

/// What needs an engine of its own.
struct Setup {
  std::string model;
  std::uint32_t batch = 0;
  std::uint32_t ubatch = 0;
  std::optional<int> threads;
  std::uint32_t sequences = 1;
};

struct Matrix {
  std::vector<Setup> setups;
  std::vector<Test> tests;
};

Result<std::vector<std::pair<std::uint32_t, std::uint32_t>>> pairs_of(const std::vector<std::string>& given) {
  std::vector<std::pair<std::uint32_t, std::uint32_t>> out;
  for (const std::string& text : given) {
    BRIMFUL_TRY(const auto numbers, bench_numbers("-pg", text));
    if (numbers.size() != 2 || numbers[0] == 0 || numbers[1] == 0)
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format(
              "-pg {}: give the length of a prompt and the number of generated tokens, such as 512,128",
              text));
    out.emplace_back(numbers[0], numbers[1]);
  }
  return out;
}

Result<Matrix> matrix_of(const BenchOptions& o) {
  Matrix out;
  BRIMFUL_TRY(const auto prompts, bench_numbers("-p", o.prompts));
  BRIMFUL_TRY(const auto generated, bench_numbers("-n", o.generated));
  BRIMFUL_TRY(const auto both, pairs_of(o.both));
  BRIMFUL_TRY(const auto depths, bench_numbers("-d", o.depths));
  BRIMFUL_TRY(const auto batches, bench_numbers("-b", o.batches));
  BRIMFUL_TRY(const auto ubatches, bench_numbers("-ub", o.ubatches));
  BRIMFUL_TRY(const auto sequences, bench_numbers("-np", o.sequences));
  std::vector<std::optional<int>> threads{std::nullopt};
  if (!o.threads.empty()) {
    BRIMFUL_TRY(const auto numbers, bench_numbers("-t", o.threads));
    threads.clear();
    for (const std::uint32_t number : numbers) {
      if (number == 0 || number > 512)
        return fail(ErrorCode::kInvalidArgument, fmt::format("-t {}: give 1 to 512 threads", number));
      threads.emplace_back(static_cast<int>(number));
    }
  }
  for (const std::uint32_t depth : depths) {
    for (const std::uint32_t prompt : prompts)
      if (prompt > 0) out.tests.push_back({prompt, 0, depth});
    for (const std::uint32_t count : generated)
      if (count > 0) out.tests.push_back({0, count, depth});
    for (const auto& [prompt, count] : both) out.tests.push_back({prompt, count, depth});
  }
  if (out.tests.empty()) return fail(ErrorCode::kInvalidArgument, "nothing to measure: give -p, -n or -pg");
  for (const std::string& model : o.models)
    for (const std::uint32_t batch : batches)
      for (const std::uint32_t ubatch : ubatches)
        for (const auto& count : threads)
          for (const std::uint32_t sequence : sequences) {
            if (batch == 0 || ubatch == 0)
              return fail(ErrorCode::kInvalidArgument, "-b and -ub: a batch has at least one token");
            if (sequence == 0 || sequence > kMostSequences)
              return fail(ErrorCode::kInvalidArgument,
                          fmt::format("-np {}: give 1 to {} sequences", sequence, kMostSequences));
            out.setups.push_back({model, batch, std::min(batch, ubatch), count, sequence});
          }
  return out;
}

std::string now_in_utc() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  char text[32];
  return {text, std::strftime(text, sizeof text, "%FT%TZ", &parts)};
}

std::string descriptions(std::initializer_list<enum ggml_backend_dev_type> types) {
  std::string out;
  for (std::size_t i = 0; i < ggml_backend_dev_count(); ++i) {
    ggml_backend_dev_t const device = ggml_backend_dev_get(i);
    if (std::ranges::find(types, ggml_backend_dev_type(device)) == types.end()) continue;
    out.append(out.empty() ? "" : ", ").append(ggml_backend_dev_description(device));
  }
  return out;
}

/// Measures all tests with one engine.
class Bench {
 public:
  Bench(const BenchOptions& options, const Setup& setup) : options_(options), setup_(setup) {}

  Status start(const std::vector<Test>& tests) {
    RunOptions run = options_.run;
    run.model = setup_.model;
    run.threads = setup_.threads;
    run.batch = setup_.batch;
    run.ubatch = setup_.ubatch;
    run.longest_draft = 0;
    std::uint64_t context = 0;
    std::uint64_t prompt = 1;
    for (const Test& test : tests) {
      context = std::max(context, test.context());
      prompt = std::max<std::uint64_t>({prompt, test.prompt, test.depth});
    }
    context = align_up(context, 256) * setup_.sequences;
    if (context > kLargestContext)
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("{} tokens of context are too many: use smaller -p, -n, -d or -np", context));
    run.context = static_cast<std::uint32_t>(context);
    BRIMFUL_TRY(engine::OpenOptions open, open_options(run));
    open.heads = engine::Heads::kNone;
    threads_ = open.threads;
    BRIMFUL_TRY(engine_, engine::Engine::open(std::move(open)));
    if (engine_->only_embeds())
      return fail(ErrorCode::kUnsupported, fmt::format("{}: it only makes embeddings", setup_.model));
    BRIMFUL_TRY(engine::ContextOptions shape, context_options(run));
    shape.sequences = setup_.sequences;
    if (setup_.sequences > 1) {
      shape.outputs = setup_.sequences;
      shape.sequence_tokens = static_cast<std::uint32_t>(prompt);
    }
    BRIMFUL_TRY_VOID(engine_->prepare(shape));
    type_k_ = ggml_type_name(shape.type_k);
    type_v_ = ggml_type_name(shape.type_v);
    stop_.emplace(*engine_);
    std::optional<ProgressBar> bar;
    return engine_->start([&](Bytes done, Bytes total) {
      if (!bar) bar.emplace("loading", total);
      bar->update(done);
      return !StopOnSignal::stopped();
    });
  }

  Result<BenchResult> measure(const Test& test) {
    BenchResult out = describe(test);
    if (!options_.no_warmup) {
      clear(0);
      if (test.prompt > 0) BRIMFUL_TRY_VOID(prompt(test.prompt, 0));
      if (test.generated > 0) BRIMFUL_TRY_VOID(generate(1, test.prompt));
      clear(0);
    }
    bool at_depth = false;
    for (std::uint32_t i = 0; i < options_.repetitions; ++i) {
      // What a sample has added is removed again; where the model's state cannot do that, all is computed
      // anew.
      at_depth = at_depth && clear(test.depth);
      if (!at_depth) {
        clear(0);
        if (test.depth > 0) BRIMFUL_TRY_VOID(prompt(test.depth, 0));
        at_depth = true;
      }
      const Bytes before = engine_->pass_statistics().read;
      const auto begin = std::chrono::steady_clock::now();
      if (test.prompt > 0) BRIMFUL_TRY_VOID(prompt(test.prompt, test.depth));
      if (test.generated > 0) BRIMFUL_TRY_VOID(generate(test.generated, test.depth + test.prompt));
      const auto took = std::chrono::steady_clock::now() - begin;
      out.samples_ns.push_back(static_cast<std::uint64_t>(std::chrono::nanoseconds(took).count()));
      out.disk_read += engine_->pass_statistics().read - before;
    }
    out.ram_peak = engine_->peak_bytes();
    return out;
  }

 private:
  [[nodiscard]] BenchResult describe(const Test& test) const {
    BenchResult out;
    out.cpu_info = descriptions({GGML_BACKEND_DEVICE_TYPE_CPU, GGML_BACKEND_DEVICE_TYPE_ACCEL});
    out.gpu_info = descriptions({GGML_BACKEND_DEVICE_TYPE_GPU, GGML_BACKEND_DEVICE_TYPE_IGPU});
    for (const engine::DeviceUse& device : engine_->devices())
      out.backends.append(out.backends.empty() ? "" : ",").append(device.share.name);
    if (out.backends.empty()) out.backends = "CPU";
    out.model_filename = setup_.model;
    char text[128];
    llama_model_desc(engine_->model(), text, sizeof text);
    out.model_type = text;
    out.model_size = llama_model_size(engine_->model());
    out.model_n_params = llama_model_n_params(engine_->model());
    out.n_batch = setup_.batch;
    out.n_ubatch = setup_.ubatch;
    out.n_threads = threads_;
    out.type_k = type_k_;
    out.type_v = type_v_;
    out.n_prompt = test.prompt;
    out.n_gen = test.generated;
    out.n_depth = test.depth;
    out.n_seqs = setup_.sequences;
    out.test_time = now_in_utc();
    out.ram_budget = engine_->memory_map().budget;
    return out;
  }

  /// Removes all tokens from `position` on. Returns whether it could.
  bool clear(std::uint32_t position) {
    llama_memory_t const memory = llama_get_memory(engine_->context());
    if (position == 0) {
      llama_memory_clear(memory, false);
      return true;
    }
    bool removed = true;
    for (std::uint32_t s = 0; s < setup_.sequences; ++s)
      removed =
          llama_memory_seq_rm(memory, static_cast<llama_seq_id>(s), static_cast<llama_pos>(position), -1) &&
          removed;
    return removed;
  }

  llama_token random_token() {
    return static_cast<llama_token>(random_() %
                                    static_cast<std::uint32_t>(llama_vocab_n_tokens(engine_->vocab())));
  }

  Status prompt(std::uint32_t tokens, std::uint32_t position) {
    const std::uint32_t step = std::max(1U, setup_.batch / setup_.sequences);
    for (std::uint32_t done = 0; done < tokens; done += step)
      BRIMFUL_TRY_VOID(decode(std::min(step, tokens - done), position + done));
    return {};
  }

  Status generate(std::uint32_t tokens, std::uint32_t position) {
    for (std::uint32_t i = 0; i < tokens; ++i) BRIMFUL_TRY_VOID(decode(1, position + i));
    return {};
  }

  /// Computes `count` tokens of each sequence.
  Status decode(std::uint32_t count, std::uint32_t position) {
    const std::size_t size = std::size_t{count} * setup_.sequences;
    tokens_.resize(size);
    positions_.resize(size);
    sequences_.resize(size);
    pointers_.resize(size);
    counts_.assign(size, 1);
    outputs_.assign(size, 0);
    for (std::size_t i = 0; i < size; ++i) {
      const std::size_t nth = i % count;
      const bool begins = position + nth == 0 && llama_vocab_get_add_bos(engine_->vocab());
      tokens_[i] = begins ? llama_vocab_bos(engine_->vocab()) : random_token();
      positions_[i] = static_cast<llama_pos>(position + nth);
      sequences_[i] = static_cast<llama_seq_id>(i / count);
      pointers_[i] = &sequences_[i];
      outputs_[i] = nth + 1 == count ? 1 : 0;
    }
    return engine_->decode(llama_batch{.n_tokens = static_cast<std::int32_t>(size),
                                       .token = tokens_.data(),
                                       .embd = nullptr,
                                       .pos = positions_.data(),
                                       .n_seq_id = counts_.data(),
                                       .seq_id = pointers_.data(),
                                       .logits = outputs_.data()});
  }

  const BenchOptions& options_;
  const Setup& setup_;
  std::unique_ptr<engine::Engine> engine_;
  std::optional<StopOnSignal> stop_;
  int threads_ = 1;
  std::string type_k_;
  std::string type_v_;
  std::minstd_rand random_{1};
  std::vector<llama_token> tokens_;
  std::vector<llama_pos> positions_;
  std::vector<llama_seq_id> sequences_;
  std::vector<llama_seq_id*> pointers_;
  std::vector<std::int32_t> counts_;
  std::vector<std::int8_t> outputs_;
};

Status run_bench(BenchOptions options) {
  std::vector<std::string> models;
  for (const std::string& given : options.models) {
    RunOptions one = options.run;
    one.model = given;
    BRIMFUL_TRY_VOID(choose_model(one));
    models.push_back(one.model);
  }
  options.models = std::move(models);
  if (options.repetitions == 0 || options.repetitions > kMostSamples)
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("-r {}: give 1 to {} repetitions", options.repetitions, kMostSamples));
  BRIMFUL_TRY(const BenchFormat format, bench_format(options.format));
  BRIMFUL_TRY(const Matrix matrix, matrix_of(options));
  bool first = true;
  for (const Setup& setup : matrix.setups) {
    Bench bench(options, setup);
    BRIMFUL_TRY_VOID(bench.start(matrix.tests));
    for (const Test& test : matrix.tests) {
      BRIMFUL_TRY(const BenchResult result, bench.measure(test));
      // Only now: an error before the first result leaves standard output empty.
      BRIMFUL_TRY_VOID(
          write_standard_output((first ? bench_header(format) : "") + bench_row(format, result, first)));
      first = false;
    }
  }
  return write_standard_output(bench_footer(format));
}

}  // namespace

void add_bench_command(CLI::App& app, int& exit_code) {
  auto* const command =
      app.add_subcommand("bench", "measure the speed of models inside budgets, as llama-bench does");
  const auto options = std::make_shared<BenchOptions>();
  RunOptions& run = options->run;
  command
      ->add_option("-m,--model,model", options->models,
                   "GGUF files, or names of models in the cache, separated by commas or spaces")
      ->delimiter(',')
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command
      ->add_option("-p,--n-prompt", options->prompts,
                   "lengths of prompts in tokens, such as 128,512 or 128-512*2 (0: none)")
      ->capture_default_str();
  command->add_option("-n,--n-gen", options->generated, "numbers of generated tokens (0: none)")
      ->capture_default_str();
  command
      ->add_option("--pg", options->both,
                   "a prompt with generated tokens behind it, such as 512,128; may be repeated")
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command->add_option("-d,--n-depth", options->depths, "numbers of tokens that the context has before")
      ->capture_default_str();
  command->add_option("-r,--repetitions", options->repetitions, "samples of each test")
      ->capture_default_str();
  command->add_flag("--no-warmup", options->no_warmup, "do not compute each test once before it is measured");
  command->add_option("-o,--output", options->format, "format of the result: md, json, jsonl or csv")
      ->capture_default_str();
  const std::string memory = "Memory";
  command
      ->add_option(
          "--ram", run.ram,
          "RAM budget for the whole process, such as 11.5GiB (default: the free RAM, less a reserve)")
      ->group(memory);
  command->add_option("-b,--batch-size", options->batches, "tokens given to llama.cpp at once")
      ->group(memory)
      ->capture_default_str();
  command->add_option("--ubatch-size,--ub", options->ubatches, "tokens computed in one pass")
      ->group(memory)
      ->capture_default_str();
  command
      ->add_option("--parallel,--np", options->sequences, "numbers of sequences that are computed together")
      ->group(memory)
      ->capture_default_str();
  command->add_option("--cache-type-k,--ctk", run.type_k, "data type of the K cache")
      ->group(memory)
      ->capture_default_str();
  command->add_option("--cache-type-v,--ctv", run.type_v, "data type of the V cache")
      ->group(memory)
      ->capture_default_str();
  command->add_option("--flash-attn,--fa", run.flash_attention, "flash attention")
      ->group(memory)
      ->check(CLI::IsMember({"on", "off", "auto"}))
      ->capture_default_str();
  command->add_option("-t,--threads", options->threads, "numbers of threads (default: physical cores)")
      ->group("Speed");
  command->add_option("--io", run.io, "how to read from disk: with io_uring or with threads")
      ->group("Speed")
      ->check(CLI::IsMember({"auto", "uring", "threads"}))
      ->capture_default_str();
  add_device_flags(*command, run);
  command->callback([options, &exit_code] {
    if (options->models.empty()) throw CLI::RequiredError("-m FILE");
    exit_code = report(run_bench(*options));
  });
}

}  // namespace brimful::cli
