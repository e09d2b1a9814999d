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

struct Generation {
  std::string text;
  std::vector<llama_token> prompt_ids;
  std::vector<llama_token> token_ids;  ///< generated, the end-of-text token included
  std::uint32_t prompt_computed = 0;   ///< prompt tokens that were not in the KV cache already
  std::chrono::nanoseconds prompt_time{0};
  std::chrono::nanoseconds decode_time{0};
  std::uint64_t decode_tokens = 0;     ///< from passes after the prompt
  std::vector<double> decode_seconds;  ///< of each pass after the prompt
  Bytes decode_read;                   ///< from disk, during decode
  tier::ExpertStatistics decode_experts;
  std::uint64_t drafted = 0;   ///< tokens computed as drafts
  std::uint64_t accepted = 0;  ///< of these, the ones that the text went on with
  std::chrono::nanoseconds draft_time{0};
  StopReason reason = StopReason::kLimit;
};

/// How far a generation has come.
struct GenerationProgress {
  std::size_t prompt = 0;           ///< tokens
  std::size_t prompt_cached = 0;    ///< of these, found in the KV cache
  std::size_t prompt_computed = 0;  ///< and those that were computed
  std::size_t written = 0;          ///< tokens
};

struct GenerationOptions {
  int limit = -1;                         ///< tokens; negative: until the model ends or the context is full
  bool show_special = false;              ///< special tokens become text
  std::set<llama_token> shown_tokens;     ///< These special tokens become text in any case.
  std::vector<std::string> stop_strings;  ///< generation ends before the first of them
  /// Called before each pass. Budgets may be changed then. An error ends the generation.
  std::function<Status(const GenerationProgress&)> before_pass;
};

/// Samples tokens from an Engine with llama-common's sampler chain.
/// Threading: as Engine.
class Generator {
 public:
  /// Errors: kInvalidArgument when the sampler refuses its parameters (a grammar that does not parse).
  /// `engine` outlives it. May be made before Engine::start(), so that its memory is counted.
  [[nodiscard]] static Result<std::unique_ptr<Generator>> create(Engine& engine,
                                                                 common_params_sampling params);

  /// Errors: kUnsupported when the model's vocabulary cannot express the text.
  [[nodiscard]] Result<std::vector<llama_token>> tokenize(const std::string& text, bool add_special) const;

  /// What sampling allocates at most while it runs, beside what the sampler holds already; and what the chat
  /// template takes, where a history is rendered while the model runs.
  [[nodiscard]] Bytes working_bytes(bool with_template) const;

  /// Called with each piece of text; returning false stops the generation.
  using OnText = std::function<bool(std::string_view piece)>;

  /// Continues `prompt`. What the KV cache holds of it already is not computed again.
  /// Errors: those of Engine::decode, kInvalidArgument for a prompt that is empty or longer than the context.
  /// A cancelled generation is no error: it ends with kCancelled and what there is.
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
  std::vector<llama_token> cached_;  // what the KV cache holds, beside drafts
  std::optional<Speculation> speculation_;
};

}  // namespace brimful::engine
