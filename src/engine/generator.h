#pragma once

#include <sampling.h>

#include <chrono>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "engine/drafts/speculation.h"
#include "engine/engine.h"
#include "engine/sampler.h"
#include "engine/sampler_memory.h"

namespace brimful::engine {

enum class StopReason { kEndOfText, kLimit, kContextFull, kStopString, kCancelled };

[[nodiscard]] std::string_view to_string(StopReason reason);

/// The result of one generation.
struct Generation {
  std::string text;
  std::vector<llama_token> prompt_ids;
  /// The generated tokens, including the end-of-text token.
  std::vector<llama_token> token_ids;
  /// Number of prompt tokens that were computed, because the KV cache did not hold them.
  std::uint32_t prompt_computed = 0;
  std::chrono::nanoseconds prompt_time{0};
  std::chrono::nanoseconds decode_time{0};
  /// Number of generated tokens that were sampled after the first decode pass.
  std::uint64_t decode_tokens = 0;
  /// The duration of each decode pass.
  std::vector<double> decode_seconds;
  /// Bytes read from disk while decoding.
  Bytes decode_read;
  tier::ExpertStatistics decode_experts;
  /// Number of tokens that were computed as drafts.
  std::uint64_t drafted = 0;
  /// Number of drafted tokens that were right.
  std::uint64_t accepted = 0;
  std::chrono::nanoseconds draft_time{0};
  StopReason reason = StopReason::kLimit;
};

/// How far a generation has come. All numbers are tokens.
struct GenerationProgress {
  /// Length of the prompt.
  std::size_t prompt = 0;
  /// Number of prompt tokens that were found in the KV cache.
  std::size_t prompt_cached = 0;
  /// Number of prompt tokens that were computed so far.
  std::size_t prompt_computed = 0;
  /// Number of tokens that were generated so far.
  std::size_t written = 0;
};

struct GenerationOptions {
  /// The largest number of tokens to generate. Negative: no limit; the model ends the text, or the context is
  /// full.
  int limit = -1;
  /// True: special tokens become text.
  bool show_special = false;
  /// These special tokens become text in any case.
  std::set<llama_token> shown_tokens;
  /// The generation ends before the first of these strings.
  std::vector<std::string> stop_strings;
  /// Called before each pass. It may change the budgets. An error ends the generation with that error.
  std::function<Status(const GenerationProgress&)> before_pass;
};

/// Generates text with an Engine, by llama-common's samplers. Threading: as Engine.
class Generator {
 public:
  /// Errors: kInvalidArgument when the sampling parameters are refused, for example a grammar that does not
  /// parse. `engine` outlives the generator. A generator that is made before Engine::start() has its memory
  /// counted in the plan.
  [[nodiscard]] static Result<std::unique_ptr<Generator>> create(Engine& engine,
                                                                 common_params_sampling params);

  /// Tokenizes a text, see tokenize_bounded(). `add_special`: with the tokens that the model wants around a
  /// text. Errors: kUnsupported when the vocabulary cannot express the text; kInvalidArgument when it is too
  /// long.
  [[nodiscard]] Result<std::vector<llama_token>> tokenize(const std::string& text, bool add_special) const;

  /// What decides how many bytes sampling allocates while it runs, beside what the sampler holds already: see
  /// sampler_memory().
  [[nodiscard]] const SamplerWork& sampler_work() const { return work_; }

  /// Called with each piece of text. Returning false ends the generation with kCancelled.
  using OnText = std::function<bool(std::string_view piece)>;

  /// Generates the text that follows `prompt`. The tokens that the KV cache holds already are not computed
  /// again. `on_text` may be unset. Errors: those of Engine::decode and of the sampler; kInvalidArgument for
  /// a prompt that is empty or longer than the context. A cancelled generation is no error: it returns the
  /// text so far, with kCancelled.
  [[nodiscard]] Result<Generation> generate(std::vector<llama_token> prompt, const GenerationOptions& options,
                                            const OnText& on_text);

 private:
  Generator(Engine& engine, SamplerPtr sampler, SamplerWork work)
      : engine_(engine), sampler_(std::move(sampler)), work_(work) {}
  class Text;
  [[nodiscard]] Status begin(Generation& out);
  [[nodiscard]] Status prefill(const GenerationOptions& options, Generation& out);
  [[nodiscard]] Status write(const GenerationOptions& options, Text& text, Generation& out);
  [[nodiscard]] Result<std::vector<llama_token>> decode(llama_token id, std::size_t most_drafted,
                                                        Generation& out);
  void forget_drafts();

  Engine& engine_;
  SamplerPtr sampler_;
  const SamplerWork work_;
  std::vector<llama_token> cached_;  // the tokens in the KV cache, without drafts
  std::optional<Speculation> speculation_;
};

}  // namespace brimful::engine
