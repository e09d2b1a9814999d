#include "schedule/scheduler.h"

#include <common.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "schedule/prompt_length.h"
#include "schedule/sequence.h"

namespace brimful::schedule {
namespace {

/// Log softmax of the logits. The largest logit is subtracted first, so that nothing overflows.
WrittenLogprobs logprobs_of(std::span<const float> logits, llama_token written, int top) {
  const float largest = *std::ranges::max_element(logits);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit - largest));
  const double log_sum = std::log(sum) + largest;
  const auto of = [&](llama_token token) {
    return Logprob{token, static_cast<double>(logits[static_cast<std::size_t>(token)]) - log_sum};
  };
  std::vector<llama_token> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto count = std::min<std::ptrdiff_t>(top, std::ssize(order));
  std::ranges::partial_sort(order, order.begin() + count, [&](llama_token a, llama_token b) {
    return logits[static_cast<std::size_t>(a)] > logits[static_cast<std::size_t>(b)];
  });
  WrittenLogprobs out{of(written), {}};
  for (auto at = order.begin(); at != order.begin() + count; ++at) out.top.push_back(of(*at));
  return out;
}

}  // namespace

Scheduler::Scheduler(engine::Engine& engine, const Options& options)
    : engine_(engine),
      most_running_(options.company == Company::kTogether ? options.most_running : 1),
      longest_text_(options.longest_text),
      company_(options.company),
      pieces_(llama_n_ubatch(engine.context()),
              options.company == Company::kConversation ? SIZE_MAX : Pieces::kWhole),
      shares_parts_(can_share_parts(engine.model())),
      cells_(llama_n_ctx(engine.context())) {
  llama_memory_clear(llama_get_memory(engine.context()), false);
  for (auto seq_id = static_cast<llama_seq_id>(llama_n_seq_max(engine.context())); seq_id > 0; --seq_id)
    free_seq_ids_.push_back(seq_id - 1);
  const engine::DraftOptions& drafts = engine.draft_options();
  if (engine.longest_draft() > 0)
    speculation_.emplace(
        engine::Speculation::Options{engine.longest_draft(), drafts.ngrams, engine.drafter(), drafts.always});
}

Scheduler::~Scheduler() = default;

std::size_t Scheduler::longest_prompt() const {
  const std::size_t context = std::min<std::size_t>(cells_.capacity(), longest_text_);
  return engine_.only_embeds() ? std::min<std::size_t>(context, llama_n_ubatch(engine_.context())) : context;
}

Status Scheduler::check_length(std::size_t prompt) const {
  const std::size_t most = longest_prompt();
  if (prompt <= most) return {};
  return std::unexpected(prompt_too_long({prompt, most}));
}

Result<Scheduler::Id> Scheduler::submit(Request request, Callbacks callbacks) {
  if (request.prompt.empty()) return fail(ErrorCode::kInvalidArgument, "the prompt is empty");
  if (engine_.only_embeds() && !request.embed)
    return fail(ErrorCode::kInvalidArgument, "this model writes no text: it only makes embeddings");
  BRIMFUL_TRY_VOID(check_length(request.prompt.size()));
  const Id id = next_++;
  const QueueKey key{request.priority, id};
  waiting_.emplace(key, std::make_unique<Sequence>(std::move(request), std::move(callbacks)));
  return id;
}

void Scheduler::cancel(Id id) {
  for (Sequences* const sequences : {&waiting_, &running_}) {
    for (const Priority priority : {Priority::kInteractive, Priority::kBatch}) {
      const auto at = sequences->find({priority, id});
      if (at == sequences->end()) continue;
      end(*at->second, engine::StopReason::kCancelled);
      sequences->erase(at);
    }
  }
}

Result<bool> Scheduler::step() {
  if (engine_.only_embeds()) return embed_some();
  admit();
  grow();
  remove_ended();
  if (running_.size() > 1) {
    for (auto& [key, sequence] : running_) sequence->alone = false;
  }
  if (Sequence* const sequence = drafts_for()) {
    BRIMFUL_TRY_VOID(decode_with_draft(*sequence));
    return !running_.empty() || !waiting_.empty();
  }
  Pass pass(llama_n_ubatch(engine_.context()));
  for (auto& [key, sequence] : running_) {
    if (sequence->decodes()) pass.add(*sequence);
  }
  for (const Priority priority : {Priority::kInteractive, Priority::kBatch}) {
    for (const auto& prefix : prefixes_) {
      if (prefix->priority == priority) pass.add(*prefix);
    }
    for (auto& [key, sequence] : running_) {
      if (key.priority != priority || sequence->decodes()) continue;
      pass.add(*sequence, sequence->alone ? sequence->next_alone(pieces_) : SIZE_MAX);
    }
  }
  if (pass.empty()) return !waiting_.empty();
  engine_.keep_hidden_states(pass.embeds());
  const auto begin = std::chrono::steady_clock::now();
  if (const Status decoded = engine_.decode(pass.batch()); !decoded) {
    begin_again();
    return std::unexpected(decoded.error());
  }
  advance(pass, std::chrono::steady_clock::now() - begin);
  remove_ended();
  return !running_.empty() || !waiting_.empty();
}

/// Called when a pass has failed. libllama removes the pass's tokens from its KV cache, but it cannot do that
/// for recurrent states: texts with such a state are computed again.
void Scheduler::begin_again() {
  llama_memory_t const memory = llama_get_memory(engine_.context());
  const auto is_broken = [&](const TokenHistory& text) {
    return text.seq_id &&
           llama_memory_seq_pos_max(memory, *text.seq_id) + 1 != static_cast<llama_pos>(text.computed);
  };
  for (auto at = running_.begin(); at != running_.end();) {
    const auto next = std::next(at);
    Sequence& sequence = *at->second;
    if (is_broken(sequence)) {
      release(sequence);
      sequence.computed = 0;
      waiting_.insert(running_.extract(at));
    }
    at = next;
  }
  std::erase_if(prefixes_, [&](const auto& prefix) {
    if (!is_broken(*prefix)) return false;
    leave_seq_id(prefix->seq_id);
    return true;
  });
}

void Scheduler::advance(const Pass& pass, std::chrono::duration<double> took) {
  ++statistics_.passes;
  statistics_.seconds += took.count();
  if (pass.only_decodes()) {
    ++statistics_.decodes.passes;
    statistics_.decodes.tokens += pass.parts().size();
    statistics_.decodes.seconds += took.count();
  }
  statistics_.most_sequences =
      std::max(statistics_.most_sequences, static_cast<std::uint32_t>(running_.size()));
  std::size_t outputs = 0;
  for (const Pass::Part& part : pass.parts()) {
    ++statistics_.parts;
    if (part.prefix != nullptr) {
      statistics_.prompt_seconds += took.count();
      part.prefix->computed += part.count;
      statistics_.prompt_tokens += part.count;
      continue;
    }
    const bool decodes = part.sequence->decodes();
    (decodes ? statistics_.answer_seconds : statistics_.prompt_seconds) += took.count();
    if (!decodes) statistics_.prompt_tokens += part.count;
    part.sequence->count_pass(took);
    part.sequence->computed += part.count;
    if (part.sequence->alone && part.count == pieces_.whole() &&
        part.sequence->computed <= part.sequence->prompt_tokens)
      part.sequence->repeatable = part.sequence->computed;
    if (!part.output) continue;
    if (part.sequence->request.embed) {
      embed(*part.sequence, outputs);
    } else {
      write(*part.sequence, *part.output);
    }
    ++outputs;
  }
}

/// Samples the next token of a sequence from an output of the last pass.
void Scheduler::write(Sequence& sequence, std::int32_t output) {
  if (sequence.left() == 0) return end(sequence, engine::StopReason::kLimit);
  const auto id = sequence.sampler->sample(output);
  if (!id) return end(sequence, std::unexpected(id.error()));
  sequence.tokens.push_back(*id);
  sequence.answer.token_ids.push_back(*id);
  if (sequence.answer.token_ids.size() == 1) sequence.answer.times.first_token = sequence.age();
  if (const int top = sequence.request.top_logprobs; top >= 0) {
    const auto size = static_cast<std::size_t>(llama_vocab_n_tokens(engine_.vocab()));
    sequence.answer.logprobs.push_back(
        logprobs_of({llama_get_logits_ith(engine_.context(), output), size}, *id, top));
  }
  ++statistics_.tokens;
  if (drafting_ == &sequence) speculation_->wrote(*id);
  const bool ended = llama_vocab_is_eog(engine_.vocab(), *id);
  const bool special =
      sequence.request.show_special || sequence.request.sampling.preserved_tokens.contains(*id);
  const bool wanted =
      (ended && !special) || sequence.show(common_token_to_piece(engine_.vocab(), *id, special));
  using engine::StopReason;
  if (ended) return end(sequence, StopReason::kEndOfText);
  if (sequence.filter.stopped()) return end(sequence, StopReason::kStopString);
  if (!wanted) return end(sequence, StopReason::kCancelled);
  if (sequence.left() == 0) return end(sequence, StopReason::kLimit);
  if (sequence.tokens.size() > std::min<std::size_t>(cells_.capacity(), longest_text_))
    return end(sequence, StopReason::kContextFull);
}

/// Takes the vector of a sequence from the `nth` output of the last pass.
void Scheduler::embed(Sequence& sequence, std::size_t nth) {
  auto vector = engine_.hidden_state(nth);
  if (!vector) return end(sequence, std::unexpected(vector.error()));
  sequence.answer.vectors.push_back(std::move(*vector));
  end(sequence, engine::StopReason::kEndOfText);
}

/// The same as step() for models that only embed. They have no KV cache: a pass holds as many whole texts as
/// fit.
Result<bool> Scheduler::embed_some() {
  Pass pass(llama_n_ubatch(engine_.context()));
  while (!waiting_.empty() && running_.size() < most_running_) {
    const auto first = waiting_.begin();
    Sequence& sequence = *first->second;
    if (sequence.tokens.size() > pass.room()) break;
    if (free_seq_ids_.empty()) break;
    sequence.seq_id = take_free_seq_id();
    pass.add(sequence);
    running_.insert(waiting_.extract(first));
  }
  if (pass.empty()) return false;
  const auto begin = std::chrono::steady_clock::now();
  if (const Status computed = engine_.decode(pass.batch()); !computed) {
    for (auto& [key, sequence] : running_) leave_seq_id(sequence->seq_id);
    waiting_.merge(running_);
    return std::unexpected(computed.error());
  }
  const auto size = static_cast<std::size_t>(llama_model_n_embd_out(engine_.model()));
  for (const Pass::Part& part : pass.parts()) {
    const float* const vector = llama_get_embeddings_seq(engine_.context(), part.sequence->seq_id.value());
    if (vector != nullptr) part.sequence->answer.vectors.emplace_back(vector, vector + size);
  }
  statistics_.most_sequences =
      std::max(statistics_.most_sequences, static_cast<std::uint32_t>(running_.size()));
  ++statistics_.passes;
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  statistics_.seconds += took.count();
  for (const Pass::Part& part : pass.parts()) {
    ++statistics_.parts;
    statistics_.prompt_seconds += took.count();
    statistics_.prompt_tokens += part.count;
    part.sequence->count_pass(took);
    if (part.sequence->answer.vectors.empty()) {
      end(*part.sequence, fail(ErrorCode::kInternal, "llama.cpp gave no embedding for this text"));
    } else {
      end(*part.sequence, engine::StopReason::kEndOfText);
    }
  }
  remove_ended();
  return !waiting_.empty();
}

void Scheduler::end(Sequence& sequence, Result<engine::StopReason> reason) {
  sequence.ended = true;
  if (drafting_ == &sequence) drafting_ = nullptr;
  if (reason) {
    forget_drafts(sequence);
    remember(sequence);
  }
  release(sequence);
  if (!reason) return sequence.callbacks.on_end(std::unexpected(reason.error()));
  sequence.show_rest();
  sequence.answer.reason = *reason;
  sequence.answer.times.whole = sequence.age();
  sequence.callbacks.on_end(std::move(sequence.answer));
}

void Scheduler::remove_ended() {
  std::erase_if(running_, [](const auto& entry) { return entry.second->ended; });
}

}  // namespace brimful::schedule
