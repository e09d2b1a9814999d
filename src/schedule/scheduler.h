#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <vector>

#include "engine/engine.h"
#include "schedule/kv_cells.h"
#include "schedule/pieces.h"
#include "schedule/request.h"

namespace brimful::schedule {

struct Statistics {
  std::uint64_t passes = 0;
  std::uint64_t prompt_tokens = 0;   ///< computed
  std::uint64_t shared_tokens = 0;   ///< of prompts, not computed because others had
  std::uint64_t tokens = 0;          ///< written
  std::uint64_t preempted = 0;       ///< times that a sequence was put aside
  std::uint32_t most_sequences = 0;  ///< in one pass
  double seconds = 0;                ///< of passes
  double prompt_seconds = 0;         ///< of each sequence, in passes with tokens of its prompt
  double answer_seconds = 0;         ///< of each sequence, in passes with a token that it wrote
  std::uint64_t parts = 0;           ///< sequences, of all passes
  struct {
    std::uint64_t passes = 0;
    std::uint64_t tokens = 0;
    double seconds = 0;
  } decodes;  ///< passes of nothing but next tokens, one for each sequence
};

/// Computes many requests in one context, as many at once as its cells hold. See docs/design-batch.md.
/// Threading: one thread calls everything. Lifetime: within the engine's, whose context is its own.
class Scheduler {
 public:
  /// How requests share passes. Together: as many as the cells hold, in each pass. One by one: a request is
  /// computed from its first to its last token before the next one begins (a more urgent one preempts it), so
  /// that each one, repeatable or not, gets the tokens that it gets alone.
  enum class Company { kTogether, kOneByOne };
  struct Options {
    /// Requests that run at once; common prefixes take places of the context beside these.
    std::size_t most_running = SIZE_MAX;
    /// Tokens that a request may have with its answer, even where the context has room for more.
    std::size_t longest_text = SIZE_MAX;
    Company company = Company::kTogether;
  };
  /// Requires: the engine has started, with ContextOptions::shared_cells.
  Scheduler(engine::Engine& engine, const Options& options);
  ~Scheduler();

  /// Whether a context of this model lets texts share any part of their beginnings.
  [[nodiscard]] static bool can_share_parts(const llama_model* model);

  using Id = std::uint64_t;
  /// Tokens of the longest prompt that can be computed.
  [[nodiscard]] std::size_t longest_prompt() const;
  /// Whether a prompt of so many tokens can be computed. Errors: kInvalidArgument, with both numbers.
  [[nodiscard]] Status check_length(std::size_t prompt) const;
  /// Puts the request into the queue. Errors: kInvalidArgument for a prompt that is empty, or longer than the
  /// context or, of a model that only embeds, than a pass; and for a text that such a model is to write.
  [[nodiscard]] Result<Id> submit(Request request, Callbacks callbacks);
  /// Ends it with kCancelled, wherever it stands; nothing where it has ended.
  void cancel(Id id);

  /// One pass, with all that comes before and behind it. False: there is nothing to do. Errors: those of
  /// Engine::decode; nothing is lost then, and step() may be called again.
  [[nodiscard]] Result<bool> step();

  /// Leaves the context empty: what runs is preempted, and common prefixes go. step() brings it back, in a
  /// context of the same size that may be another one by then.
  void evict();

  [[nodiscard]] std::size_t running() const { return running_.size(); }
  [[nodiscard]] std::size_t waiting() const { return waiting_.size(); }
  [[nodiscard]] const Statistics& statistics() const { return statistics_; }
  [[nodiscard]] std::uint32_t free_cells() const { return cells_.free(); }

 private:
  /// In the order in which they are admitted, and against which they are preempted.
  struct QueueKey {
    Priority priority;
    Id id;
    auto operator<=>(const QueueKey&) const = default;
  };
  struct TokenHistory;
  struct Sequence;
  struct Prefix;
  class Pass;
  using Sequences = std::map<QueueKey, std::unique_ptr<Sequence>>;

  /// Later: it waits for what is being computed, and who comes behind it may go first.
  enum class Admission { kRuns, kLater, kNoRoom };

  void admit();
  [[nodiscard]] Admission admit(const QueueKey& key, Sequence& sequence);
  [[nodiscard]] Admission start(const QueueKey& key, Sequence& sequence);
  [[nodiscard]] bool resume(Sequence& sequence);
  struct Source {
    TokenHistory* text = nullptr;  // null: there is none
    std::size_t count = 0;         // its tokens, from the first
    bool later = false;            // more of them, once they are computed
  };
  [[nodiscard]] Source source_for(const QueueKey& key, const Sequence& sequence);
  [[nodiscard]] Source frozen_for(const Sequence& sequence);
  [[nodiscard]] bool begins_alone(const Sequence& sequence) const;
  [[nodiscard]] Source keep_prefix_of(const Sequence& sequence);
  void empty_context();
  [[nodiscard]] std::size_t worth_keeping(const Sequence& sequence) const;
  void remember(Sequence& sequence);
  enum class Drop { kUnwanted, kComplete, kAny };
  [[nodiscard]] bool drop_prefix(Drop which);
  [[nodiscard]] std::size_t cells_in_use(const Sequence& sequence) const;
  [[nodiscard]] bool is_wanted(const Prefix& prefix) const;
  [[nodiscard]] llama_seq_id take_free_seq_id();
  [[nodiscard]] bool take_seq_id(Sequence& sequence);
  [[nodiscard]] bool grammar_fits(const Sequence& sequence) const;
  [[nodiscard]] bool reserve(Sequence& sequence, std::size_t count);
  [[nodiscard]] bool make_room(const Sequence& for_whom);
  bool preempt_for(const Sequence& sequence);
  void grow();
  void preempt(Sequences::iterator at);
  void leave_seq_id(std::optional<llama_seq_id>& seq_id);
  void release(Sequence& sequence);
  void begin_again();
  void advance(const Pass& pass, std::chrono::duration<double> took);
  void write(Sequence& sequence, std::int32_t output);
  void embed(Sequence& sequence, std::size_t nth);
  [[nodiscard]] Result<bool> embed_some();
  void end(Sequence& sequence, Result<engine::StopReason> reason);
  void remove_ended();

  engine::Engine& engine_;
  const std::size_t most_running_;
  const std::size_t longest_text_;
  const Company company_;
  const Pieces pieces_;
  const bool shares_parts_;  // the context can copy a part of a sequence
  KvCells cells_;
  std::vector<llama_seq_id> free_seq_ids_;  // free ones
  Id next_ = 0;
  Sequences waiting_;
  Sequences running_;
  std::vector<std::unique_ptr<Prefix>> prefixes_;
  std::uint64_t used_ = 0;  // times that some prefix was
  Statistics statistics_;
};

}  // namespace brimful::schedule
