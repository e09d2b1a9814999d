#include "engine/generator.h"

#include <common.h>
#include <fmt/format.h>

#include <algorithm>

#include "engine/llama_log.h"

namespace strata::engine {
namespace {

using Clock = std::chrono::steady_clock;

/// Holds back text that may be the beginning of a stop string.
class StopFilter {
 public:
  explicit StopFilter(const std::vector<std::string>& stops) : stops_(stops) {}

  /// What of `piece` can be shown now.
  std::string add(const std::string& piece) {
    held_ += piece;
    std::size_t cut = std::string::npos;
    for (const std::string& stop : stops_) cut = std::min(cut, held_.find(stop));
    if (cut != std::string::npos) {
      stopped_ = true;
      held_.resize(cut);
      return std::exchange(held_, {});
    }
    std::size_t keep = 0;
    for (const std::string& stop : stops_) {
      for (std::size_t n = std::min(stop.size(), held_.size()); n > keep; --n) {
        if (held_.ends_with(std::string_view(stop).substr(0, n))) keep = n;
      }
    }
    std::string shown = held_.substr(0, held_.size() - keep);
    held_.erase(0, shown.size());
    return shown;
  }

  std::string rest() { return std::exchange(held_, {}); }
  [[nodiscard]] bool stopped() const { return stopped_; }

 private:
  const std::vector<std::string>& stops_;
  std::string held_;
  bool stopped_ = false;
};

/// For each token of the vocabulary: a candidate; two more places of it where all are sorted; and where a
/// grammar refuses the first choice, what llama.cpp's grammar keeps of every token (src/llama-grammar.cpp).
Bytes bytes_per_token(const common_params_sampling& params) {
  constexpr std::uint64_t kCandidate = sizeof(llama_token_data);
  constexpr std::uint64_t kGrammarCandidates = 256;
  if (!params.grammar.empty()) return Bytes{3 * kCandidate + kGrammarCandidates};
  const bool sorts_all = params.temp > 0 && (params.top_k <= 0 || params.top_k > 128);
  return Bytes{(sorts_all ? 3 : 1) * kCandidate};
}

}  // namespace

std::string_view to_string(StopReason reason) {
  switch (reason) {
    case StopReason::kEndOfText: return "end of text";
    case StopReason::kLimit: return "limit";
    case StopReason::kContextFull: return "context full";
    case StopReason::kStopString: return "stop string";
    case StopReason::kCancelled: return "cancelled";
  }
  return "unknown";
}

Result<std::unique_ptr<Generator>> Generator::create(Engine& engine, common_params_sampling params) {
  // A grammar says where the text ends: without that end, nothing would be left to choose.
  if (params.ignore_eos && params.grammar.empty()) {
    for (llama_token id = 0; id < llama_vocab_n_tokens(engine.vocab()); ++id) {
      if (llama_vocab_is_eog(engine.vocab(), id)) params.logit_bias.push_back({id, -INFINITY});
    }
  }
  const CapturedStderr captured;
  std::string why;
  try {
    common_sampler_ptr sampler(common_sampler_init(engine.model(), params));
    if (sampler != nullptr)
      return std::unique_ptr<Generator>(new Generator(engine, std::move(sampler), bytes_per_token(params)));
    why = captured.first_line();
  } catch (const std::exception& error) {
    why = captured.first_line();
    if (why.empty()) why = error.what();
  }
  return fail(
      ErrorCode::kInvalidArgument,
      fmt::format("the {} cannot be used: {}", params.grammar.empty() ? "sampling flags" : "grammar", why));
}

Result<std::vector<llama_token>> Generator::tokenize(const std::string& text, bool add_special) const {
  try {
    return common_tokenize(engine_.vocab(), text, add_special, true);
  } catch (const std::exception&) {  // a vocabulary without byte tokens
    return fail(ErrorCode::kUnsupported, "the model's vocabulary cannot express this text");
  }
}

Bytes Generator::working_bytes() const {
  return bytes_per_token_ * static_cast<std::uint64_t>(llama_vocab_n_tokens(engine_.vocab()));
}

Status Generator::prefill(Generation& out) {
  const auto& prompt = out.prompt_ids;
  llama_memory_t const memory = llama_get_memory(engine_.context());
  std::size_t common = 0;
  while (common < prompt.size() && common < cached_.size() && prompt[common] == cached_[common]) ++common;
  common = std::min(common, prompt.size() - 1);  // the last one gives the logits
  if (common < cached_.size() && !llama_memory_seq_rm(memory, 0, static_cast<llama_pos>(common), -1)) {
    llama_memory_clear(memory, false);  // a recurrent state cannot be cut
    common = 0;
  }
  cached_.resize(common);
  out.prompt_computed = static_cast<std::uint32_t>(prompt.size() - common);
  const auto begin = Clock::now();
  const Status status = engine_.decode(std::span(prompt).subspan(common));
  out.prompt_time = Clock::now() - begin;
  if (status) cached_ = prompt;
  return status;
}

Result<llama_token> Generator::sample() {
  try {
    const llama_token id = common_sampler_sample(sampler_.get(), engine_.context(), -1);
    common_sampler_accept(sampler_.get(), id, true);
    return id;
  } catch (const std::exception& error) {  // a grammar that contradicts itself
    return fail(ErrorCode::kUnsupported, fmt::format("llama.cpp cannot choose a token: {}", error.what()));
  }
}

Result<Generation> Generator::generate(std::vector<llama_token> prompt, const GenerationOptions& options,
                                       const OnText& on_text) {
  const std::size_t context = llama_n_ctx(engine_.context());
  if (prompt.empty())
    return fail(ErrorCode::kInvalidArgument, "the prompt is empty: give some text with -p or -f");
  if (prompt.size() > context) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("the prompt has {} tokens and the context holds {}: use -c {} or more",
                            prompt.size(), context, align_up(prompt.size() + 1, 256)));
  }
  Generation out;
  out.prompt_ids = std::move(prompt);
  common_sampler_reset(sampler_.get());
  for (const llama_token id : out.prompt_ids) common_sampler_accept(sampler_.get(), id, false);

  StopFilter filter(options.stop_strings);
  const auto show = [&](const std::string& text) {
    out.text += text;
    return text.empty() || !on_text || on_text(text);
  };
  Status status = prefill(out);
  const tier::PassStatistics before = engine_.pass_statistics();
  while (status) {
    if (options.limit >= 0 && out.token_ids.size() >= static_cast<std::size_t>(options.limit)) {
      out.reason = StopReason::kLimit;
      break;
    }
    STRATA_TRY(const llama_token id, sample());
    out.token_ids.push_back(id);
    const bool ended = llama_vocab_is_eog(engine_.vocab(), id);
    bool go_on = true;
    if (!ended || options.show_special) {
      go_on = show(filter.add(common_token_to_piece(engine_.vocab(), id, options.show_special)));
    }
    if (ended || filter.stopped() || !go_on) {
      out.reason = ended              ? StopReason::kEndOfText
                   : filter.stopped() ? StopReason::kStopString
                                      : StopReason::kCancelled;
      break;
    }
    if (cached_.size() >= context) {
      out.reason = StopReason::kContextFull;
      break;
    }
    if (options.limit >= 0 && out.token_ids.size() >= static_cast<std::size_t>(options.limit)) continue;
    const auto begin = Clock::now();
    status = engine_.decode(std::span(&id, 1));
    if (!status) break;
    const auto took = Clock::now() - begin;
    out.decode_time += took;
    out.decode_seconds.push_back(std::chrono::duration<double>(took).count());
    cached_.push_back(id);
  }
  const tier::PassStatistics after = engine_.pass_statistics();
  out.decode_read = after.read - before.read;
  out.decode_experts = after.experts.since(before.experts);
  show(filter.rest());
  if (!status) {
    cached_.clear();  // the cache may hold half a pass
    llama_memory_clear(llama_get_memory(engine_.context()), false);
    if (status.error().code != ErrorCode::kCancelled) return std::unexpected(std::move(status).error());
    out.reason = StopReason::kCancelled;
  }
  return out;
}

}  // namespace strata::engine
