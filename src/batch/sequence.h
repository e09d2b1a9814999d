#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include "batch/executor.h"
#include "engine/saved_sequence.h"
#include "engine/stop_filter.h"

namespace strata::batch {

/// A request on its way. Invariant: cells hold what is computed and not shared.
struct Executor::Sequence {
  Sequence(Request wanted, Listener who)
      : request(std::move(wanted)),
        listener(std::move(who)),
        tokens(request.prompt),
        filter(request.stop_strings) {}

  Request request;
  Listener listener;
  Answer answer;
  std::vector<llama_token> tokens;  // the prompt, then what was written
  std::size_t computed = 0;         // of these, in the context
  common_sampler_ptr sampler;
  engine::StopFilter filter;
  std::optional<llama_seq_id> place;
  Cells::Reservation cells;
  std::shared_ptr<Cells::Reservation> prefix_cells;  // and those that it shares
  std::optional<engine::SavedSequence> parked;
  bool ended = false;

  /// All but its newest token is computed, and that one it wrote itself.
  [[nodiscard]] bool decodes() const { return !answer.token_ids.empty() && computed + 1 == tokens.size(); }
  [[nodiscard]] std::size_t left() const {
    if (request.embed) return 0;
    const std::size_t limit = request.limit < 0 ? SIZE_MAX : static_cast<std::size_t>(request.limit);
    return limit - std::min(limit, answer.token_ids.size());
  }
  /// Cells that may be reserved ahead.
  [[nodiscard]] std::uint32_t stretch(std::size_t most) const {
    return static_cast<std::uint32_t>(std::max<std::size_t>(std::min(left(), most), 1));
  }
  [[nodiscard]] bool needs_cells() const {
    return tokens.size() > cells.count() + (prefix_cells ? prefix_cells->count() : 0);
  }

  bool show(const std::string& piece) { return show_now(filter.add(piece)); }
  void show_rest() { show_now(filter.rest()); }

 private:
  bool show_now(const std::string& text) {
    return text.empty() || !listener.on_text || listener.on_text(text);
  }
};

/// What several prompts begin with. Frozen once it is computed.
struct Executor::Prefix {
  std::vector<llama_token> tokens;
  std::size_t computed = 0;
  std::optional<llama_seq_id> place;
  std::shared_ptr<Cells::Reservation> cells;  // held by those, too, that started from it

  [[nodiscard]] bool complete() const { return computed == tokens.size(); }
  /// And something is left of them, to get logits from.
  [[nodiscard]] bool begins(const std::vector<llama_token>& prompt) const {
    return tokens.size() < prompt.size() &&
           std::ranges::equal(tokens, std::span(prompt).first(tokens.size()));
  }
};

/// What `sequence` has in common with some that wait behind it, as many tokens as all of those have that have
/// enough; 0: nothing worth it.
template <typename Sequences>
[[nodiscard]] std::size_t common_beginning(const auto& sequence, const Sequences& waiting) {
  constexpr std::size_t kLeast = 32;     // tokens: less is not worth a place
  constexpr std::size_t kCompared = 64;  // of those that wait
  std::size_t common = 0;
  std::size_t compared = 0;
  for (const auto& [turn, other] : waiting) {
    if (other.get() == &sequence || other->computed > 0) continue;
    const auto differ = std::ranges::mismatch(sequence.tokens, other->tokens).in1;
    const auto shorter = std::min(sequence.tokens.size(), other->tokens.size());
    const std::size_t alike =
        std::min(static_cast<std::size_t>(differ - sequence.tokens.begin()), shorter - 1);
    if (alike >= kLeast) common = common == 0 ? alike : std::min(common, alike);
    if (++compared == kCompared) break;
  }
  return common;
}

/// One batch of tokens, and whose they are.
class Executor::Pass {
 public:
  struct Part {
    Sequence* sequence = nullptr;
    Prefix* prefix = nullptr;  // or this
    std::size_t count = 0;
    std::optional<std::int32_t> output;  // where its logits are, if it has some
  };

  explicit Pass(std::uint32_t size) : size_(size) {}

  void add(Sequence& sequence) {
    const std::size_t count = add(sequence.tokens, sequence.computed, sequence.place);
    if (count == 0) return;
    Part& part = parts_.emplace_back(Part{&sequence, nullptr, count, std::nullopt});
    if (sequence.computed + count < sequence.tokens.size()) return;
    outputs_.back() = 1;
    part.output = static_cast<std::int32_t>(outputs_.size() - 1);
  }
  void add(Prefix& prefix) {
    const std::size_t count = add(prefix.tokens, prefix.computed, prefix.place);
    if (count > 0) parts_.push_back({nullptr, &prefix, count, std::nullopt});
  }

  [[nodiscard]] bool empty() const { return tokens_.empty(); }
  [[nodiscard]] const std::vector<Part>& parts() const { return parts_; }
  /// Tokens that it still takes.
  [[nodiscard]] std::size_t room() const { return size_ - tokens_.size(); }
  [[nodiscard]] bool embeds() const {
    return std::ranges::any_of(parts_,
                               [](const Part& part) { return part.output && part.sequence->request.embed; });
  }
  [[nodiscard]] bool only_decodes() const {
    return std::ranges::all_of(parts_, [](const Part& part) { return part.output && part.count == 1; });
  }
  [[nodiscard]] llama_batch batch() {
    places_.clear();
    for (llama_seq_id& place : sequences_) places_.push_back(&place);
    ones_.assign(tokens_.size(), 1);
    return {.n_tokens = static_cast<std::int32_t>(tokens_.size()),
            .token = tokens_.data(),
            .embd = nullptr,
            .pos = positions_.data(),
            .n_seq_id = ones_.data(),
            .seq_id = places_.data(),
            .logits = outputs_.data()};
  }

 private:
  /// As many of the tokens that are not computed as there is room for.
  std::size_t add(const std::vector<llama_token>& tokens, std::size_t computed,
                  std::optional<llama_seq_id> place) {
    const std::size_t count = std::min(tokens.size() - computed, size_ - tokens_.size());
    for (std::size_t i = computed; i < computed + count; ++i) {
      tokens_.push_back(tokens[i]);
      positions_.push_back(static_cast<llama_pos>(i));
      sequences_.push_back(place.value());
      outputs_.push_back(0);
    }
    return count;
  }

  const std::size_t size_;
  std::vector<Part> parts_;
  std::vector<llama_token> tokens_;
  std::vector<llama_pos> positions_;
  std::vector<llama_seq_id> sequences_;
  std::vector<llama_seq_id*> places_;
  std::vector<std::int32_t> ones_;
  std::vector<std::int8_t> outputs_;
};

}  // namespace strata::batch
