#include "cli/eval.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <filesystem>
#include <utility>

#include "base/hash.h"
#include "base/standard_error.h"
#include "base/standard_output.h"
#include "base/user_folders.h"
#include "cli/chunk_run.h"
#include "cli/eval_output.h"
#include "cli/exit_code.h"
#include "cli/model_choice.h"
#include "cli/start.h"
#include "eval/logits_file.h"
#include "model/file_fingerprint.h"

namespace brimful::cli {
namespace {

// Number of tokens whose packed log-probabilities are in memory at once.
constexpr std::size_t kRowsAtOnce = 32;

struct EvalOptions {
  ChunkOptions chunks;
  std::optional<std::string> save_logits;
  std::optional<std::string> reference;
};

/// The state of an evaluation between two passes.
struct State {
  std::uint32_t done = 0;
  eval::ChunkShape shape;
  eval::PerplexitySums perplexity;
  eval::DivergenceSums divergence;
  TokenValues values;
};

/// Computes one text with one model, to its end.
class Evaluation {
 public:
  /// `reference` may be null. `final`: whether its result is what the user asked for.
  Evaluation(const ChunkOptions& options, std::optional<std::string> save_logits,
             eval::LogitsReader* reference, bool final)
      : options_(options), save_logits_(std::move(save_logits)), reference_(reference), final_(final) {}

  Status execute() {
    std::optional<GivenTokens> given;
    if (reference_ != nullptr) given = {reference_->header().chunk_tokens, reference_->header().tokens};
    BRIMFUL_TRY(text_, open_text(options_, given ? &*given : nullptr));
    given.reset();
    vocabulary_ = static_cast<std::uint32_t>(llama_vocab_n_tokens(text_.engine->vocab()));
    BRIMFUL_TRY_VOID(check_reference());
    BRIMFUL_TRY(eval::Checkpoint checkpoint, open_checkpoint(options_, "", identity()));
    const bool resumes = checkpoint.load([&](std::istream& in) { return load(in); });
    if (!resumes) state_ = {};
    BRIMFUL_TRY_VOID(open_logits());
    BRIMFUL_TRY_VOID(start());
    if (state_.done > 0) tell_note(fmt::format("going on behind chunk {} of {}", state_.done, text_.chunks));
    BRIMFUL_TRY_VOID(compute(checkpoint));
    if (logits_) BRIMFUL_TRY_VOID(logits_->finish());
    BRIMFUL_TRY_VOID(tell_result());
    checkpoint.remove();
    return {};
  }

 private:
  [[nodiscard]] std::string identity() const {
    std::string out = "eval " + text_.identity;
    if (save_logits_) {
      std::error_code ignored;
      out += " logits " + std::filesystem::absolute(*save_logits_, ignored).string();
    }
    if (reference_ != nullptr) out += " reference " + reference_->fingerprint();
    return out;
  }

  Status check_reference() const {
    if (reference_ == nullptr || reference_->header().vocabulary == vocabulary_) return {};
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("the reference has a vocabulary of {} tokens, and {} one of {}: they cannot be compared",
                    reference_->header().vocabulary, options_.run.model, vocabulary_));
  }

  Status open_logits() {
    if (!save_logits_) return {};
    const eval::LogitsHeader header{text_.chunk_tokens, vocabulary_, text_.chunks, text_.tokens};
    auto opened = eval::LogitsWriter::open(*save_logits_, header, state_.done);
    if (!opened && opened.error().code == ErrorCode::kCorrupt && state_.done > 0) {
      tell_note(fmt::format("{}; the evaluation begins again", opened.error().message));
      state_ = {};
      return open_logits();
    }
    if (!opened) return std::unexpected(opened.error());
    logits_.emplace(std::move(*opened));
    return {};
  }

  /// Bytes that are allocated beside the engine.
  [[nodiscard]] Bytes reserve(int threads) const {
    const std::uint64_t packed = save_logits_ || reference_ != nullptr
                                     ? kRowsAtOnce * eval::packed_words(vocabulary_) * sizeof(std::uint16_t)
                                     : 0;
    const std::uint64_t scored = std::uint64_t{text_.chunks} * eval::scored_tokens(text_.chunk_tokens);
    // In a vector that grows, and in the page cache as the old state and the new one.
    const std::uint64_t values = reference_ != nullptr ? 4 * 2 * sizeof(float) * scored : 0;
    return Bytes{packed + values} + memory_of_rows(threads) +
           (save_logits_ ? eval::LogitsWriter::kUnwritten * 2 : Bytes{}) + kMiB;
  }

  Status start() {
    engine::Engine& engine = *text_.engine;
    threads_ = scoring_threads(options_);
    std::optional<eval::ChunkShape> before;
    if (state_.done > 0) before = state_.shape;
    BRIMFUL_TRY(const engine::ContextOptions context, chunk_context(options_, reserve(threads_)));
    BRIMFUL_TRY(state_.shape,
                eval::prepare_chunks(engine, context, text_.chunk_tokens, text_.chunks,
                                     eval::Outputs::kSecondHalf, wanted_shape(options_, before)));
    stop_.emplace(engine);
    BRIMFUL_TRY_VOID(start_and_show(engine, StopOnSignal::stopped));
    const eval::ChunkShape& shape = state_.shape;
    tell("{} chunks of {} tokens, {} together, {} tokens in a pass: {} passes\n", text_.chunks,
         shape.chunk_tokens, shape.sequences, shape.ubatch, shape.passes(text_.chunks));
    return {};
  }

  Status compute(const eval::Checkpoint& checkpoint) {
    eval::ChunkPasses passes(*text_.engine, text_.tokens, state_.shape, eval::Outputs::kSecondHalf);
    ChunkProgress progress(final_ ? "computed" : "reference: computed", state_.done, text_.chunks);
    if (reference_ != nullptr && shows_chunks())
      BRIMFUL_TRY_VOID(write_standard_output(divergence_heading()));
    while (state_.done < text_.chunks) {
      const std::uint32_t count = std::min(state_.shape.sequences, text_.chunks - state_.done);
      BRIMFUL_TRY_VOID(
          passes.compute(state_.done, count, [&](auto chunk, auto position, auto rows, auto values) {
            return score(chunk, position, rows, values);
          }));
      if (logits_) BRIMFUL_TRY_VOID(logits_->flush());
      state_.done += count;
      BRIMFUL_TRY_VOID(checkpoint.save([&](std::ostream& out) { save(out); }));
      progress.show(state_.done);
    }
    if (reference_ == nullptr && shows_chunks()) BRIMFUL_TRY_VOID(write_standard_output("\n"));
    return {};
  }

  /// Adds tokens of a chunk. The logits of a token say what they expect behind it.
  Status score(std::uint32_t chunk, std::uint32_t position, std::uint32_t rows, const float* values) {
    const std::span<const llama_token> tokens =
        std::span(text_.tokens).subspan(std::size_t{chunk} * text_.chunk_tokens, text_.chunk_tokens);
    const bool ends = position + rows == text_.chunk_tokens;
    const std::uint32_t scored = rows - (ends ? 1 : 0);  // behind the last token comes none
    const auto logits = [&](std::size_t row) { return std::span(values + row * vocabulary_, vocabulary_); };
    const auto next = [&](std::size_t row) { return tokens[position + row + 1]; };
    for (std::size_t begin = 0; begin < scored; begin += kRowsAtOnce) {
      const std::size_t count = std::min<std::size_t>(kRowsAtOnce, scored - begin);
      const auto first = static_cast<std::uint32_t>(position - text_.chunk_tokens / 2 + begin);
      BRIMFUL_TRY_VOID(score_rows(
          chunk, first, count, [&](std::size_t row) { return logits(begin + row); },
          [&](std::size_t row) { return next(begin + row); }));
    }
    if (!ends || !shows_chunks()) return {};
    return write_standard_output(reference_ != nullptr ? divergence_of_chunk(chunk, state_.divergence)
                                                       : perplexity_of_chunk(chunk, state_.perplexity));
  }

  /// `first`: number of the first row among the scored ones of its chunk.
  template <typename Logits, typename Next>
  Status score_rows(std::uint32_t chunk, std::uint32_t first, std::size_t count, const Logits& logits,
                    const Next& next) {
    const std::size_t words = eval::packed_words(vocabulary_);
    if (logits_ || reference_ != nullptr) packed_.resize(kRowsAtOnce * words);
    const auto packed = [&](std::size_t row) { return std::span(packed_).subspan(row * words, words); };
    if (reference_ != nullptr) {
      for (std::size_t row = 0; row < count; ++row)
        BRIMFUL_TRY_VOID(reference_->read(chunk, first + static_cast<std::uint32_t>(row), packed(row)));
      std::array<eval::Divergence, kRowsAtOnce> found;
      for_rows(count, threads_,
               [&](std::size_t row) { found[row] = eval::divergence(logits(row), packed(row), next(row)); });
      for (const eval::Divergence& token : std::span(found).first(count)) {
        state_.divergence.add(token);
        state_.values.kl.push_back(static_cast<float>(token.kl));
        state_.values.p_difference.push_back(token.p_difference);
      }
      return {};
    }
    std::array<double, kRowsAtOnce> found{};
    for_rows(count, threads_, [&](std::size_t row) {
      found[row] = logits_ ? eval::pack_log_probabilities(logits(row), next(row), packed(row))
                           : eval::negative_log_likelihood(logits(row), next(row));
    });
    for (const double nll : std::span(found).first(count)) state_.perplexity.add(nll);
    return logits_ ? logits_->append(std::span(packed_).first(count * words)) : Status{};
  }

  [[nodiscard]] bool shows_chunks() const { return final_ && !options_.json; }

  Status tell_result() {
    const auto peak = text_.engine->peak_bytes();
    const Bytes budget = text_.engine->memory_map().budget;
    tell("peak memory {} of {}, {} read\n", peak ? format_bytes(*peak) : "unknown", format_bytes(budget),
         format_bytes(text_.engine->pass_statistics().read));
    if (!final_) return {};
    if (!options_.json) {
      return write_standard_output(reference_ != nullptr
                                       ? "\n" + divergence_text(state_.divergence, state_.values)
                                       : final_perplexity(state_.perplexity));
    }
    nlohmann::ordered_json json;
    json["model"] = options_.run.model;
    json["chunk_tokens"] = text_.chunk_tokens;
    json["chunks"] = text_.chunks;
    json["scored_tokens"] = reference_ != nullptr ? state_.divergence.tokens : state_.perplexity.tokens;
    if (reference_ != nullptr) {
      json.update(divergence_json(state_.divergence, state_.values));
    } else {
      json["perplexity"] = perplexity_json(state_.perplexity);
    }
    if (save_logits_) json["logits"] = *save_logits_;
    json["sequences"] = state_.shape.sequences;
    json["batch"] = state_.shape.batch;
    json["ubatch"] = state_.shape.ubatch;
    json["passes"] = state_.shape.passes(text_.chunks);
    json["budget_bytes"] = budget.value;
    if (peak) json["peak_bytes"] = peak->value;
    json["disk_bytes"] = text_.engine->pass_statistics().read.value;
    return write_standard_output(json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  }

  void save(std::ostream& out) const {
    const std::uint64_t tokens = state_.values.kl.size();
    eval::put(out, std::span(&state_.done, 1));
    eval::put(out, std::span(&state_.shape, 1));
    eval::put(out, std::span(&state_.perplexity, 1));
    eval::put(out, std::span(&state_.divergence, 1));
    eval::put(out, std::span(&tokens, 1));
    eval::put(out, state_.values.kl);
    eval::put(out, state_.values.p_difference);
  }

  bool load(std::istream& in) {
    std::uint64_t tokens = 0;
    const bool right =
        eval::take(in, std::span(&state_.done, 1)) && eval::take(in, std::span(&state_.shape, 1)) &&
        eval::take(in, std::span(&state_.perplexity, 1)) &&
        eval::take(in, std::span(&state_.divergence, 1)) && eval::take(in, std::span(&tokens, 1)) &&
        state_.done <= text_.chunks && tokens <= text_.tokens.size() &&
        (state_.done == 0 || state_.shape.is_for(text_.chunk_tokens));
    if (!right) return false;
    state_.values.kl.resize(tokens);
    state_.values.p_difference.resize(tokens);
    return eval::take(in, state_.values.kl) && eval::take(in, state_.values.p_difference);
  }

  const ChunkOptions& options_;
  const std::optional<std::string> save_logits_;
  eval::LogitsReader* const reference_;
  const bool final_;
  ChunkText text_;
  std::uint32_t vocabulary_ = 0;
  int threads_ = 1;
  State state_;
  std::optional<eval::LogitsWriter> logits_;
  std::vector<std::uint16_t> packed_;
  std::optional<StopOnSignal> stop_;
};

/// Computes the logits of a reference model to a file, if it does not lie there already.
Status compute_reference(const EvalOptions& options, const std::string& file) {
  const auto vocabulary = [](const std::string& path) -> Result<std::uint32_t> {
    BRIMFUL_TRY(const model::ModelProfile profile, model::read_model(path));
    return profile.vocabulary;
  };
  BRIMFUL_TRY(const std::uint32_t wanted, vocabulary(options.chunks.run.model));
  BRIMFUL_TRY(const std::uint32_t there, vocabulary(*options.reference));
  if (wanted != there)
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format(
            "--reference {}: its vocabulary has {} tokens, and that of {} {}: they cannot be compared",
            *options.reference, there, options.chunks.run.model, wanted));
  ChunkOptions of_reference = options.chunks;
  of_reference.run.model = *options.reference;
  of_reference.run.loras.clear();
  of_reference.run.control_vectors.clear();
  of_reference.checkpoint.reset();
  return Evaluation(of_reference, file, nullptr, false).execute();
}

/// The file for the logits of a reference model. Its name says what they are computed from, so that the same
/// command finds them again after an interruption, and another one does not.
Result<std::string> file_for_reference(const EvalOptions& options) {
  const ChunkOptions& o = options.chunks;
  if (!o.run.prompt_file || *o.run.prompt_file == "-")
    return fail(ErrorCode::kInvalidArgument,
                "name the text with -f FILE: with a reference model, it is read twice");
  BRIMFUL_TRY(const model::ModelProfile profile, model::read_model(*options.reference));
  BRIMFUL_TRY(const std::string model, model::model_fingerprint(profile.files));
  BRIMFUL_TRY(const std::optional<std::string> text, read_prompt(o.run));
  Hash64 hash;
  for (const std::string& part :
       {model, *text, fmt::format("{} {} {}", o.run.context.value_or(0), o.chunks, o.parse_special)})
    hash.add(part + "\n");
  const std::filesystem::path file = state_folder() / "eval" / fmt::format("{:016x}.logits", hash.value());
  std::error_code error;
  std::filesystem::create_directories(file.parent_path(), error);
  return file.string();
}

Status run_eval(const EvalOptions& options) {
  if (!options.reference) return Evaluation(options.chunks, options.save_logits, nullptr, true).execute();
  std::error_code error;
  if (!std::filesystem::exists(*options.reference, error))
    return fail(ErrorCode::kNotFound,
                fmt::format("--reference {}: there is no such file", *options.reference));
  if (options.save_logits)
    return fail(ErrorCode::kInvalidArgument,
                "--save-logits saves the logits of an evaluation without --reference: leave one of both out");
  if (eval::LogitsReader::is_one(*options.reference)) {
    BRIMFUL_TRY(eval::LogitsReader reference, eval::LogitsReader::open(*options.reference));
    return Evaluation(options.chunks, {}, &reference, true).execute();
  }
  BRIMFUL_TRY(const std::string file, file_for_reference(options));
  if (options.chunks.restart) std::filesystem::remove(file, error);
  if (!eval::LogitsReader::is_one(file)) BRIMFUL_TRY_VOID(compute_reference(options, file));
  BRIMFUL_TRY(eval::LogitsReader reference, eval::LogitsReader::open(file));
  BRIMFUL_TRY_VOID(Evaluation(options.chunks, {}, &reference, true).execute());
  std::filesystem::remove(file, error);
  return {};
}

}  // namespace

void add_eval_command(CLI::App& app, int& exit_code) {
  auto* const command = app.add_subcommand(
      "eval", "measure a model on a text: perplexity, and how far its probabilities are from a reference");
  const auto options = std::make_shared<EvalOptions>();
  add_chunk_flags(*command, options->chunks);
  command->add_option("--save-logits", options->save_logits,
                      "file for the log-probabilities of all tokens, for --reference and llama-perplexity");
  command->add_option(
      "--reference", options->reference,
      "compare with these log-probabilities (a file of --save-logits or llama-perplexity), or with "
      "this GGUF model");
  command->callback([options, &exit_code] {
    if (options->chunks.run.model.empty() && options->chunks.run.hub.empty())
      throw CLI::RequiredError("-m FILE, or -hf NAME,");
    const Status chosen = choose_model(options->chunks.run);
    exit_code = report(chosen ? run_eval(*options) : chosen);
  });
}

}  // namespace brimful::cli
