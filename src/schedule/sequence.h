#pragma once

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <vector>

#include "engine/sampler.h"
#include "engine/saved_sequence.h"
#include "engine/stop_filter.h"
#include "schedule/scheduler.h"

namespace brimful::schedule {

/// A text as tokens. The context holds the first `computed` ones. Invariant: the cells of `before`, and then
/// `cells`, hold the computed tokens.
struct TokenHistory {
  std::vector<llama_token> tokens;
  std::size_t computed = 0;
  std::optional<llama_seq_id> seq_id;
  KvCells::Reservation cells;
  std::shared_ptr<KvCells::SharedPrefix> before;  // cells that this text shares with others
  /// Number of first tokens, in whole Pieces, whose cells are the context's first ones and hold the bits that
  /// a request computes when it runs alone in an empty context.
  std::size_t repeatable = 0;

  [[nodiscard]] std::size_t held() const { return cells.count() + (before ? before->size() : 0); }
  /// Returns the cells of the first `count` tokens, for sharing with other texts. Requires: these tokens are
  /// computed.
  [[nodiscard]] std::shared_ptr<KvCells::SharedPrefix> share(std::size_t count) {
    const std::size_t in_front = before ? before->size() : 0;
    if (count > in_front) {
      auto more = cells.split(static_cast<std::uint32_t>(count - in_front));
      before = std::make_shared<KvCells::SharedPrefix>(std::move(more), before);
    }
    return KvCells::first_of(before, static_cast<std::uint32_t>(count));
  }
  /// How many first tokens this text and a prompt have in common. At least one token of the prompt is left
  /// over, because its logits are needed.
  [[nodiscard]] std::size_t alike(const std::vector<llama_token>& prompt) const {
    const auto differ = std::ranges::mismatch(tokens, prompt).in2 - prompt.begin();
    return std::min(static_cast<std::size_t>(differ), prompt.size() - 1);
  }
};

/// A request that was submitted and has not ended. Its tokens are the prompt, followed by the generated
/// tokens.
struct Sequence : TokenHistory {
  Sequence(Request wanted, Callbacks who)
      : TokenHistory{.tokens = std::move(wanted.prompt)},
        request(std::move(wanted)),
        callbacks(std::move(who)),
        filter(request.stop_strings) {}

  const std::chrono::steady_clock::time_point submitted = std::chrono::steady_clock::now();
  Request request;  // without its prompt
  std::size_t prompt_tokens = tokens.size();
  Callbacks callbacks;
  Answer answer;
  engine::SamplerPtr sampler;
  Bytes grammar_memory;  // bytes that the grammar holds; zero until the sampler was made once
  engine::StopFilter filter;
  std::optional<engine::SavedSequence> preempted;
  bool ended = false;
  /// True while nothing was computed beside this request, and everything that it is computed from is
  /// repeatable.
  bool alone = false;

  /// Number of tokens in the next pass of a request that runs alone. The prompt is computed piece by piece.
  /// The generated tokens are computed one by one, as they were generated, even when they are all known and
  /// are computed again.
  [[nodiscard]] std::size_t next_alone(const Pieces& pieces) const {
    return computed < prompt_tokens ? pieces.next(prompt_tokens - computed) : 1;
  }
  /// Time since submit().
  [[nodiscard]] AnswerTimes::Seconds age() const { return std::chrono::steady_clock::now() - submitted; }
  /// Counts a pass that has computed tokens of this sequence. Called before they count as computed.
  void count_pass(AnswerTimes::Seconds took) {
    AnswerTimes& times = answer.times;
    (decodes() ? times.decode : times.prompt) += took;
    if (decodes()) ++times.decode_passes;
  }
  /// Whether only the newest token is left to compute, and the sequence generated it.
  [[nodiscard]] bool decodes() const { return !answer.token_ids.empty() && computed + 1 == tokens.size(); }
  /// How many tokens the request may still generate.
  [[nodiscard]] std::size_t left() const {
    if (request.embed) return 0;
    const std::size_t limit = request.limit < 0 ? SIZE_MAX : static_cast<std::size_t>(request.limit);
    return limit - std::min(limit, answer.token_ids.size());
  }
  /// Number of cells that may be reserved ahead: at most `most`, at least 1.
  [[nodiscard]] std::uint32_t stretch(std::size_t most) const {
    return static_cast<std::uint32_t>(std::max<std::size_t>(std::min(left(), most), 1));
  }
  [[nodiscard]] bool needs_cells() const { return tokens.size() > held(); }

  /// Adds a piece of text, and passes on what can be shown of it. Returns false when the receiver wants no
  /// more.
  bool show(const std::string& piece) { return show_now(filter.add(piece)); }
  /// Passes on the text that was held back. Called when the answer has ended.
  void show_rest() { show_now(filter.rest()); }

 private:
  bool show_now(std::string text) {
    if (text.empty() || !callbacks.on_piece) return true;
    const auto first = answer.logprobs.begin() + static_cast<std::ptrdiff_t>(shown_logprobs_);
    shown_logprobs_ = answer.logprobs.size();
    return callbacks.on_piece({std::move(text), {first, answer.logprobs.end()}});
  }

  std::size_t shown_logprobs_ = 0;
};

/// A text at the start of prompts: either the common beginning of several waiting prompts, or a text that has
/// ended (the next question of a conversation begins with it). It does not change any more once it is
/// computed.
struct Prefix : TokenHistory {
  Priority priority = Priority::kBatch;  // the highest priority of the requests that wait for it
  std::uint64_t used = 0;                // the value of Scheduler::used_ at its last use

  [[nodiscard]] bool complete() const { return computed == tokens.size(); }
  /// Whether the prompt begins with all tokens of this prefix.
  [[nodiscard]] bool begins(const std::vector<llama_token>& prompt) const {
    return alike(prompt) == tokens.size();
  }
};

// The smallest number of common tokens that are shared. Fewer are not worth a sequence id.
constexpr std::size_t kWorthSharing = 32;

/// The number of first tokens that `sequence` has in common with all those waiting prompts that have at least
/// kWorthSharing tokens in common with it; 0 when there is no such prompt.
template <typename Sequences>
[[nodiscard]] std::size_t common_prefix(const auto& sequence, const Sequences& waiting) {
  constexpr std::size_t kCompared = 64;  // the largest number of waiting prompts to compare
  std::size_t common = 0;
  std::size_t compared = 0;
  for (const auto& [key, other] : waiting) {
    if (other.get() == &sequence || other->computed > 0) continue;
    const std::size_t alike = std::min(sequence.alike(other->tokens), sequence.tokens.size() - 1);
    if (alike >= kWorthSharing) common = common == 0 ? alike : std::min(common, alike);
    if (++compared == kCompared) break;
  }
  return common;
}

/// The tokens of one pass, and the sequences and prefixes that they belong to.
class Pass {
 public:
  struct Part {
    Sequence* sequence = nullptr;  // null when the part belongs to a prefix
    Prefix* prefix = nullptr;      // null when the part belongs to a sequence
    std::size_t count = 0;         // number of tokens
    // Index of the token in the batch whose output is wanted. Unset: the end of the text is not in this pass.
    std::optional<std::int32_t> output;
  };

  explicit Pass(std::uint32_t size) : size_(size) {}

  /// Adds the tokens of the sequence that are not computed, at most `most`, as far as there is room.
  void add(Sequence& sequence, std::size_t most = SIZE_MAX) {
    const std::size_t count = add(sequence.tokens, sequence.computed, sequence.seq_id, most);
    if (count == 0) return;
    Part& part = parts_.emplace_back(Part{&sequence, nullptr, count, std::nullopt});
    if (sequence.computed + count < sequence.tokens.size()) return;
    outputs_.back() = 1;
    part.output = static_cast<std::int32_t>(outputs_.size() - 1);
  }
  /// Adds the newest token of the sequence, and a draft behind it. The output of each token is wanted.
  void add_draft(Sequence& sequence, const std::vector<llama_token>& draft) {
    add(sequence.tokens, sequence.computed, sequence.seq_id, 1);
    for (const llama_token token : draft) {
      tokens_.push_back(token);
      positions_.push_back(positions_.back() + 1);
      sequences_.push_back(*sequence.seq_id);
      outputs_.push_back(1);
    }
    outputs_.front() = 1;
  }
  void add(Prefix& prefix) {
    const std::size_t count = add(prefix.tokens, prefix.computed, prefix.seq_id, SIZE_MAX);
    if (count > 0) parts_.push_back({nullptr, &prefix, count, std::nullopt});
  }

  [[nodiscard]] bool empty() const { return tokens_.empty(); }
  [[nodiscard]] const std::vector<Part>& parts() const { return parts_; }
  /// Number of tokens that still fit into the pass.
  [[nodiscard]] std::size_t room() const { return size_ - tokens_.size(); }
  [[nodiscard]] bool embeds() const {
    return std::ranges::any_of(parts_,
                               [](const Part& part) { return part.output && part.sequence->request.embed; });
  }
  [[nodiscard]] bool only_decodes() const {
    return std::ranges::all_of(parts_, [](const Part& part) { return part.output && part.count == 1; });
  }
  [[nodiscard]] llama_batch batch() {
    seq_ids_.clear();
    for (llama_seq_id& seq_id : sequences_) seq_ids_.push_back(&seq_id);
    ones_.assign(tokens_.size(), 1);
    return {.n_tokens = static_cast<std::int32_t>(tokens_.size()),
            .token = tokens_.data(),
            .embd = nullptr,
            .pos = positions_.data(),
            .n_seq_id = ones_.data(),
            .seq_id = seq_ids_.data(),
            .logits = outputs_.data()};
  }

 private:
  /// Adds the tokens that are not computed, at most `most`, as far as there is room. Returns how many it has
  /// added.
  std::size_t add(const std::vector<llama_token>& tokens, std::size_t computed,
                  std::optional<llama_seq_id> seq_id, std::size_t most) {
    const std::size_t count = std::min({tokens.size() - computed, size_ - tokens_.size(), most});
    for (std::size_t i = computed; i < computed + count; ++i) {
      tokens_.push_back(tokens[i]);
      positions_.push_back(static_cast<llama_pos>(i));
      sequences_.push_back(seq_id.value());
      outputs_.push_back(0);
    }
    return count;
  }

  const std::size_t size_;
  std::vector<Part> parts_;
  std::vector<llama_token> tokens_;
  std::vector<llama_pos> positions_;
  std::vector<llama_seq_id> sequences_;
  std::vector<llama_seq_id*> seq_ids_;
  std::vector<std::int32_t> ones_;
  std::vector<std::int8_t> outputs_;
};

}  // namespace brimful::schedule
