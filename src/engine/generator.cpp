#include "engine/generator.h"

#include <common.h>
#include <fmt/format.h>

#include <algorithm>

#include "engine/sampler.h"
#include "engine/stop_filter.h"
#include "engine/tokenize.h"

namespace brimful::engine {
namespace {

using Clock = std::chrono::steady_clock;

/// With top_k above this number, a chain sorts its whole vocabulary.
constexpr std::int32_t kMostPartlySorted = 128;

SamplerWork work_of(const Engine& engine, const common_params_sampling& params) {
  return {.vocabulary = static_cast<std::size_t>(llama_vocab_n_tokens(engine.vocab())),
          .at_once = 0,  // the only sampler was allocated before the budget was planned
          .sorts_all = params.temp > 0 && (params.top_k <= 0 || params.top_k > kMostPartlySorted),
          .log_probabilities = false,
          .grammars = !params.grammar.empty(),
          .templates = false};
}

}  // namespace

/// The generated text, as far as it can be shown.
class Generator::Text {
 public:
  Text(const std::vector<std::string>& stops, const OnText& on_text, std::string& all)
      : filter_(stops), on_text_(on_text), all_(all) {}

  /// Adds a piece. Returns false when the receiver wants no more.
  bool add(const std::string& piece) { return show(filter_.add(piece)); }
  void finish() { show(filter_.rest()); }
  [[nodiscard]] bool stopped() const { return filter_.stopped(); }

 private:
  bool show(const std::string& text) {
    all_ += text;
    return text.empty() || !on_text_ || on_text_(text);
  }

  StopFilter filter_;
  const OnText& on_text_;
  std::string& all_;
};

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
  BRIMFUL_TRY(auto sampler, make_sampler(engine, params));
  return std::unique_ptr<Generator>(new Generator(engine, std::move(sampler), work_of(engine, params)));
}

Result<std::vector<llama_token>> Generator::tokenize(const std::string& text, bool add_special) const {
  return tokenize_bounded(engine_, text, add_special, true);
}

Status Generator::prefill(const GenerationOptions& options, Generation& out) {
  const auto& prompt = out.prompt_ids;
  llama_memory_t const memory = llama_get_memory(engine_.context());
  std::size_t common = 0;
  while (common < prompt.size() && common < cached_.size() && prompt[common] == cached_[common]) ++common;
  common = std::min(common, prompt.size() - 1);  // the last token gives the logits
  if (common < cached_.size() && !llama_memory_seq_rm(memory, 0, static_cast<llama_pos>(common), -1)) {
    llama_memory_clear(memory, false);  // a recurrent state cannot be shortened
    common = 0;
  }
  cached_.resize(common);
  out.prompt_computed = static_cast<std::uint32_t>(prompt.size() - common);
  const auto begin = Clock::now();
  const auto compute = [&]() -> Status {
    const std::size_t batch = llama_n_batch(engine_.context());
    const std::size_t ubatch = llama_n_ubatch(engine_.context());
    std::size_t end = common;
    for (std::size_t at = common; at < prompt.size(); at = end) {
      if (options.before_pass) BRIMFUL_TRY_VOID(options.before_pass({prompt.size(), common, at - common, 0}));
      const std::size_t batch_end =
          common + align_down(at - common, batch) + batch;  // libllama would cut it in the same way
      end = std::min({at + ubatch, batch_end, prompt.size()});
      BRIMFUL_TRY_VOID(engine_.decode(std::span(prompt).subspan(at, end - at), end == prompt.size()));
    }
    return {};
  };
  const Status status = compute();
  out.prompt_time = Clock::now() - begin;
  if (status) cached_ = prompt;
  return status;
}

/// Computes `id`, and drafted tokens that may follow it, in one pass. Returns the drafted tokens.
Result<std::vector<llama_token>> Generator::decode(llama_token id, std::size_t most_drafted,
                                                   Generation& out) {
  const auto begin = Clock::now();
  BRIMFUL_TRY(std::vector<llama_token> batch,
              speculation_->draft(cached_, id, std::min(most_drafted, engine_.room_for_draft())));
  const auto drafted = Clock::now();
  const auto stalled = engine_.pass_statistics().stalled;
  batch.insert(batch.begin(), id);
  BRIMFUL_TRY_VOID(batch.size() > 1 ? engine_.verify(batch) : engine_.decode(batch));
  const auto took = Clock::now() - drafted;
  out.draft_time += drafted - begin;
  out.decode_time += took;
  out.decode_seconds.push_back(std::chrono::duration<double>(took).count());
  out.drafted += batch.size() - 1;
  speculation_->pass_took(batch.size(), out.decode_seconds.back(),
                          std::chrono::duration<double>(engine_.pass_statistics().stalled - stalled).count());
  cached_.push_back(id);
  batch.erase(batch.begin());
  return batch;
}

/// Removes the drafted tokens from the KV cache that are not part of the text.
void Generator::forget_drafts() {
  llama_memory_t const memory = llama_get_memory(engine_.context());
  const auto end = static_cast<llama_pos>(cached_.size());
  if (llama_memory_seq_pos_max(memory, 0) >= end) llama_memory_seq_rm(memory, 0, end, -1);
}

Status Generator::begin(Generation& out) {
  const std::size_t context = llama_n_ctx(engine_.context());
  const auto& prompt = out.prompt_ids;
  if (prompt.empty())
    return fail(ErrorCode::kInvalidArgument, "the prompt is empty: give some text with -p or -f");
  if (prompt.size() > context) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("the prompt has {} tokens and the context holds {}: use -c {} or more",
                            prompt.size(), context, align_up(prompt.size() + 1, 256)));
  }
  BRIMFUL_TRY_VOID(sampler_->reset());
  for (const llama_token id : prompt) sampler_->accept_prompt(id);
  if (!speculation_) {
    const DraftOptions& drafts = engine_.draft_options();
    speculation_.emplace(
        Speculation::Options{engine_.longest_draft(), drafts.ngrams, engine_.draft_model(), drafts.always});
  }
  speculation_->begin();
  return {};
}

/// Samples and computes, token by token, until there is a reason to end.
Status Generator::write(const GenerationOptions& options, Text& text, Generation& out) {
  const auto end = [&](StopReason reason) {
    out.reason = reason;
    return Status{};
  };
  const auto left = [&] {
    const std::size_t limit = options.limit < 0 ? SIZE_MAX : static_cast<std::size_t>(options.limit);
    return limit - std::min(limit, out.token_ids.size());
  };
  std::vector<llama_token> draft;  // computed in the same pass as the newest token
  std::size_t right = 0;           // number of its tokens that were right so far
  while (left() > 0) {
    const bool from_prompt = out.decode_seconds.empty();
    BRIMFUL_TRY(const llama_token id, sampler_->sample(from_prompt ? -1 : static_cast<std::int32_t>(right)));
    out.token_ids.push_back(id);
    if (!from_prompt) ++out.decode_tokens;
    speculation_->wrote(id);
    const bool ended = llama_vocab_is_eog(engine_.vocab(), id);
    const bool special = options.show_special || options.shown_tokens.contains(id);
    const bool go_on = (ended && !special) || text.add(common_token_to_piece(engine_.vocab(), id, special));
    if (ended) return end(StopReason::kEndOfText);
    if (text.stopped()) return end(StopReason::kStopString);
    if (!go_on) return end(StopReason::kCancelled);
    if (cached_.size() >= llama_n_ctx(engine_.context())) return end(StopReason::kContextFull);
    if (left() == 0) break;
    if (right < draft.size() && draft[right] == id) {  // the last pass has computed this token
      cached_.push_back(id);
      ++right;
      ++out.accepted;
      continue;
    }
    forget_drafts();
    right = 0;
    if (options.before_pass)
      BRIMFUL_TRY_VOID(
          options.before_pass({out.prompt_ids.size(), out.prompt_ids.size() - out.prompt_computed,
                               out.prompt_computed, out.token_ids.size()}));
    BRIMFUL_TRY(draft, decode(id, left() - 1, out));
  }
  return end(StopReason::kLimit);
}

Result<Generation> Generator::generate(std::vector<llama_token> prompt, const GenerationOptions& options,
                                       const OnText& on_text) {
  Generation out;
  out.prompt_ids = std::move(prompt);
  BRIMFUL_TRY_VOID(begin(out));
  Text text(options.stop_strings, on_text, out.text);
  Status status = prefill(options, out);
  const tier::PassStatistics before = engine_.pass_statistics();
  if (status) status = write(options, text, out);
  forget_drafts();
  const tier::PassStatistics after = engine_.pass_statistics();
  out.decode_read = after.read - before.read;
  out.decode_experts = after.experts.since(before.experts);
  text.finish();
  if (!status) {
    cached_.clear();  // the KV cache may hold half a pass
    if (!engine_.can_go_on()) return std::unexpected(std::move(status).error());
    llama_memory_clear(llama_get_memory(engine_.context()), false);
    if (status.error().code != ErrorCode::kCancelled) return std::unexpected(std::move(status).error());
    out.reason = StopReason::kCancelled;
  }
  return out;
}

}  // namespace brimful::engine
