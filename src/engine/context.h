#pragma once

#include <llama-cpp.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "engine/context_sizer.h"
#include "engine/gpu_tier.h"
#include "engine/opened_model.h"
#include "engine/options.h"

namespace brimful::engine {

/// The context of an opened model, and the passes in it. With a draft model, it makes that model's context,
/// too. Threading: one thread at a time; abort() may be called by any thread and in a signal handler.
class Context {
 public:
  /// Makes no context yet. Both arguments outlive this.
  Context(OpenedModel& model, GpuTier& gpus) : model_(model), gpus_(gpus) {}
  ~Context() { free(); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  /// Makes a context instead of the one that there was, and shows all graphs that it can have to the devices.
  /// Computes nothing. Errors: kInvalidArgument for a context that llama.cpp refuses; kUnsupported for a
  /// model that cannot be used in this way, also when only drafts are impossible; kBudgetExceeded on a GPU.
  [[nodiscard]] Status make(const ContextOptions& options, ContextShape shape);
  /// Frees the context, and the draft model's. Does nothing without one.
  void free();
  /// Null when there is no context.
  [[nodiscard]] llama_context* get() const { return context_.get(); }

  /// Appends `tokens` to sequence 0. If `logits`, the context has the logits of the last token afterwards.
  /// Errors: kInvalidArgument when the context is full; those of the tier; kCancelled after abort().
  [[nodiscard]] Status decode(std::span<const llama_token> tokens, bool logits = true);
  /// Computes one pass of tokens of several sequences. The context has the outputs that the batch asks for
  /// afterwards. Errors: as above. No sequence has moved on then, but recurrent states may be lost. Requires:
  /// the batch has at most a ubatch of tokens.
  [[nodiscard]] Status decode(const llama_batch& batch);
  /// Computes a token and the draft behind it in one pass. The context has the logits of all tokens
  /// afterwards. They are bit for bit the same as after decode() of one token after the other. Requires: at
  /// most room_for_draft() tokens behind the first one. Errors: as decode().
  [[nodiscard]] Status verify(std::span<const llama_token> tokens);
  /// Does the same for a batch that asks for the outputs of all its tokens, which belong to one sequence.
  [[nodiscard]] Status verify(const llama_batch& batch);
  /// Tells how many of the tokens of the last verify() stay in the text: these are the first ones. Call it
  /// before the next pass. Errors: those of the host's reads.
  [[nodiscard]] Status keep_verified(std::size_t tokens) { return gpus_.settle_experts(tokens); }

  /// The largest number of drafted tokens in a pass.
  [[nodiscard]] std::uint32_t longest_draft() const { return longest_draft_; }
  /// How many of `drafted` tokens a pass may have: where devices compute, drafts have few lengths.
  [[nodiscard]] std::size_t draft_within(std::size_t drafted) const;
  /// Measures the kernels of the devices, and then compares, bit for bit, what the devices compute in
  /// verify() with what they compute in decode() of the same tokens. The host's part is not computed. Returns
  /// whether all of it is equal; if not, there are no drafts from now on. True where no device computes or
  /// there are no drafts. The context is empty afterwards. Requires: all weights are in their places. Errors:
  /// as decode().
  [[nodiscard]] Result<bool> check_drafts();
  /// Computes the devices' part of a pass of each length of a draft, `times` times, behind the tokens that
  /// the context has. Removes the tokens of these passes. Errors: as decode().
  [[nodiscard]] Status warm_up_drafts(std::size_t times);
  /// Number of drafted tokens that verify() can compute behind the next token of a text, of which `computed`
  /// tokens lie in the context's first cells; 0: there is no room for drafts.
  [[nodiscard]] std::size_t room_for_draft(std::size_t computed) const;

  /// Sets whether later calls of decode() keep the hidden states of their outputs.
  void keep_hidden_states(bool on);
  /// The hidden state of the `nth` output of the last decode(), after the last norm. Requires:
  /// keep_hidden_states(true) before that call. Errors: kUnsupported when the model's graph has no such
  /// tensor.
  [[nodiscard]] Result<std::vector<float>> hidden_state(std::size_t nth) const;

  /// Makes the running decode() and all later ones fail with kCancelled, until resume(). Safe in a signal
  /// handler.
  void abort() { aborted_ = true; }
  void resume() { aborted_ = false; }

 private:
  [[nodiscard]] llama_context_params params_for(const ContextOptions& options, ContextShape shape);
  [[nodiscard]] Status record_verification();
  [[nodiscard]] Status record_passes_of_one_and_several();
  static bool observe(ggml_tensor* node, bool ask, void* context);
  void token_by_token(bool on);
  void pretend(bool on);
  [[nodiscard]] Result<bool> devices_compute_the_same();
  [[nodiscard]] std::optional<Error> take_device_error();

  OpenedModel& model_;
  GpuTier& gpus_;
  llama_context_ptr context_;
  std::uint32_t longest_draft_ = 0;
  NodeObserver observer_;
  bool recording_ = false;  // graphs are not computed now
  bool keeps_hidden_states_ = false;
  std::vector<float> hidden_states_;   // hidden states of the outputs of the last batch
  std::size_t outputs_ = 0;            // number of outputs in the last batch
  std::atomic<bool> aborted_ = false;  // libllama's callback reads it between the nodes of a graph
  // Otherwise abort() would not be safe in a signal handler.
  static_assert(std::atomic<bool>::is_always_lock_free);
};

}  // namespace brimful::engine
