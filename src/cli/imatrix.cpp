#include "cli/imatrix.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/standard_error.h"
#include "base/standard_output.h"
#include "cli/chunk_run.h"
#include "cli/eval_output.h"
#include "cli/exit_code.h"
#include "cli/model_choice.h"
#include "cli/start.h"
#include "eval/importance_matrix.h"

namespace brimful::cli {
namespace {

constexpr std::size_t kRowsAtOnce = 32;

struct ImatrixOptions {
  ChunkOptions chunks;
  std::string output = "imatrix.gguf";
  bool process_output = false;
  bool no_perplexity = false;
};

/// Computes a text, and collects what the model's matrices are multiplied with.
class Collection {
 public:
  explicit Collection(const ImatrixOptions& options) : options_(options), matrix_(options.process_output) {}

  Status execute() {
    BRIMFUL_TRY(text_, open_text(options_.chunks, nullptr));
    const std::string identity =
        fmt::format("imatrix {} {} {}", text_.identity, options_.process_output, options_.no_perplexity);
    BRIMFUL_TRY(eval::Checkpoint checkpoint,
                open_checkpoint(options_.chunks, options_.output + ".partial", identity));
    if (!checkpoint.load([&](std::istream& in) { return load(in); })) {
      done_ = 0;
      shape_ = {};
      perplexity_ = {};
      matrix_.clear();
    }
    BRIMFUL_TRY_VOID(start());
    if (done_ > 0) tell_note(fmt::format("going on behind chunk {} of {}", done_, text_.chunks));
    BRIMFUL_TRY_VOID(compute(checkpoint));
    if (matrix_.empty())
      return fail(
          ErrorCode::kUnsupported,
          fmt::format(
              "{}: no matrix of a layer was multiplied with {} tokens or more: use a larger -c or -ub",
              options_.chunks.run.model, eval::ImportanceMatrix::kFewestTokens));
    BRIMFUL_TRY_VOID(matrix_.write(options_.output, *options_.chunks.run.prompt_file, text_.chunk_tokens));
    BRIMFUL_TRY_VOID(tell_result());
    checkpoint.remove();
    return {};
  }

 private:
  Status start() {
    engine::Engine& engine = *text_.engine;
    threads_ = scoring_threads(options_.chunks);
    const bool copies = options_.chunks.run.vram.has_value();
    // The number of tokens in a pass is chosen later: what is copied from devices is reserved for the
    // largest.
    const Bytes reserve = eval::ImportanceMatrix::memory(engine.profile(), eval::kLargestUbatch, copies) +
                          memory_of_rows(threads_) + kMiB;
    BRIMFUL_TRY(engine::ContextOptions context, chunk_context(options_.chunks, reserve));
    context.observer = matrix_.observer();
    std::optional<eval::ChunkShape> before;
    if (done_ > 0) before = shape_;
    BRIMFUL_TRY(shape_, eval::prepare_chunks(engine, context, text_.chunk_tokens, text_.chunks,
                                             eval::Outputs::kAll, wanted_shape(options_.chunks, before)));
    stop_.emplace(engine);
    BRIMFUL_TRY_VOID(start_and_show(engine, StopOnSignal::stopped));
    tell("{} chunks of {} tokens, {} together, {} tokens in a pass: {} passes\n", text_.chunks,
         shape_.chunk_tokens, shape_.sequences, shape_.ubatch, shape_.passes(text_.chunks));
    return {};
  }

  Status compute(const eval::Checkpoint& checkpoint) {
    eval::ChunkPasses passes(*text_.engine, text_.tokens, shape_, eval::Outputs::kAll);
    ChunkProgress progress("computed", done_, text_.chunks);
    eval::ChunkPasses::OnLogits on_logits;
    if (!options_.no_perplexity) {
      on_logits = [&](auto chunk, auto position, auto rows, auto values) -> Status {
        return score(chunk, position, rows, values);
      };
    }
    while (done_ < text_.chunks) {
      const std::uint32_t count = std::min(shape_.sequences, text_.chunks - done_);
      const Status computed = passes.compute(done_, count, on_logits);
      if (auto error = matrix_.take_error()) return std::unexpected(std::move(*error));
      BRIMFUL_TRY_VOID(computed);
      done_ += count;
      BRIMFUL_TRY_VOID(checkpoint.save([&](std::ostream& out) { save(out); }));
      progress.show(done_);
    }
    if (!options_.no_perplexity && !options_.chunks.json) BRIMFUL_TRY_VOID(write_standard_output("\n"));
    return {};
  }

  /// Adds tokens of the second half of a chunk to the perplexity.
  Status score(std::uint32_t chunk, std::uint32_t position, std::uint32_t rows, const float* values) {
    const std::size_t vocabulary = static_cast<std::size_t>(llama_vocab_n_tokens(text_.engine->vocab()));
    const auto tokens =
        std::span(text_.tokens).subspan(std::size_t{chunk} * text_.chunk_tokens, text_.chunk_tokens);
    const std::uint32_t begin = std::max(position, text_.chunk_tokens / 2);
    const std::uint32_t end = std::min(position + rows, text_.chunk_tokens - 1);
    for (std::uint32_t at = begin; at < end; at += kRowsAtOnce) {
      const std::size_t count = std::min<std::size_t>(kRowsAtOnce, end - at);
      std::array<double, kRowsAtOnce> found{};
      for_rows(count, threads_, [&](std::size_t row) {
        found[row] = eval::negative_log_likelihood(
            std::span(values + (at - position + row) * vocabulary, vocabulary), tokens[at + row + 1]);
      });
      for (const double nll : std::span(found).first(count)) perplexity_.add(nll);
    }
    if (position + rows < text_.chunk_tokens || options_.chunks.json) return {};
    return write_standard_output(perplexity_of_chunk(chunk, perplexity_));
  }

  Status tell_result() const {
    const auto peak = text_.engine->peak_bytes();
    const Bytes budget = text_.engine->memory_map().budget;
    tell("peak memory {} of {}, {} read\n", peak ? format_bytes(*peak) : "unknown", format_bytes(budget),
         format_bytes(text_.engine->pass_statistics().read));
    if (matrix_.incomplete() > 0)
      tell_note(fmt::format("{} of {} matrices have experts that no token of this text has used",
                            matrix_.incomplete(), matrix_.matrices()));
    if (!options_.chunks.json) {
      const std::string perplexity = options_.no_perplexity ? "" : final_perplexity(perplexity_);
      return write_standard_output(
          fmt::format("{}wrote {}: {} matrices\n", perplexity, options_.output, matrix_.matrices()));
    }
    nlohmann::ordered_json json;
    json["model"] = options_.chunks.run.model;
    json["output"] = options_.output;
    json["matrices"] = matrix_.matrices();
    json["matrices_with_unused_experts"] = matrix_.incomplete();
    json["chunk_tokens"] = text_.chunk_tokens;
    json["chunks"] = text_.chunks;
    if (!options_.no_perplexity) json["perplexity"] = perplexity_json(perplexity_);
    json["sequences"] = shape_.sequences;
    json["batch"] = shape_.batch;
    json["ubatch"] = shape_.ubatch;
    json["passes"] = shape_.passes(text_.chunks);
    json["budget_bytes"] = budget.value;
    if (peak) json["peak_bytes"] = peak->value;
    json["disk_bytes"] = text_.engine->pass_statistics().read.value;
    return write_standard_output(json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  }

  void save(std::ostream& out) const {
    eval::put(out, std::span(&done_, 1));
    eval::put(out, std::span(&shape_, 1));
    eval::put(out, std::span(&perplexity_, 1));
    matrix_.save(out);
  }

  bool load(std::istream& in) {
    return eval::take(in, std::span(&done_, 1)) && eval::take(in, std::span(&shape_, 1)) &&
           eval::take(in, std::span(&perplexity_, 1)) && done_ <= text_.chunks &&
           (done_ == 0 || shape_.is_for(text_.chunk_tokens)) && matrix_.load(in);
  }

  const ImatrixOptions& options_;
  eval::ImportanceMatrix matrix_;  // the engine's context refers to it
  ChunkText text_;
  int threads_ = 1;
  std::uint32_t done_ = 0;
  eval::ChunkShape shape_;
  eval::PerplexitySums perplexity_;
  std::optional<StopOnSignal> stop_;
};

}  // namespace

void add_imatrix_command(CLI::App& app, int& exit_code) {
  auto* const command = app.add_subcommand(
      "imatrix",
      "write the importance matrix of a model, for quantising: what a text makes its matrices multiply");
  const auto options = std::make_shared<ImatrixOptions>();
  add_chunk_flags(*command, options->chunks);
  command
      ->add_option("-o,--output-file,--output", options->output,
                   "GGUF file to write, as llama-imatrix writes it")
      ->capture_default_str();
  command->add_flag("--process-output", options->process_output, "also for the output matrix");
  command->add_flag("--no-ppl", options->no_perplexity, "do not compute the perplexity");
  command->callback([options, &exit_code] {
    if (options->chunks.run.model.empty() && options->chunks.run.hub.empty())
      throw CLI::RequiredError("-m FILE, or -hf NAME,");
    const Status chosen = choose_model(options->chunks.run);
    exit_code = report(chosen ? Collection(*options).execute() : chosen);
  });
}

}  // namespace brimful::cli
