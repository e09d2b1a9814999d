#pragma once

#include <llama-cpp.h>
#include <speculative.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "engine/drafts/drafter.h"
#include "tier/host/host_device.h"

namespace brimful::engine {

/// The last layers of a model, trained to predict further tokens from the hidden states of the others
/// (multi-token prediction). They have a second context of the same model, whose graphs hold only these
/// layers. Their weights are a part of the model's placement, and their buffers are among the host's: so all
/// of it is planned with the rest. The host computes them, wherever the other layers are.
/// llama-common drafts (`draft-mtp`). It sees only passes whose tokens have all a result: the hidden states
/// of a prompt would need another graph, with other last bits. Functions are called in this order:
/// make_context, connect, draft. Without a context there are no drafts. Threading: as Engine.
class ModelHeads final : public Drafter {
 public:
  /// `model` has all its layers on `host`, and was loaded with these layers. Both outlive this.
  ModelHeads(llama_model* model, tier::HostDevice& host) : model_(model), host_(host) {}

  /// Makes the second context, for the target's `context` tokens and drafts of up to `longest` tokens. Call
  /// it before the target's context is made: the device computes for the newest one. Errors: kUnsupported.
  [[nodiscard]] Status make_context(const llama_context_params& like_target, std::uint32_t context,
                                    std::uint32_t longest);
  /// Lets the target's passes keep their hidden states. Call it before the target's graphs are recorded.
  static void watch(llama_context* target);
  /// Records the graphs of the second context. Call it when the target's graphs are recorded. The target's
  /// context outlives the second one: call free_context() first. Errors: kUnsupported.
  [[nodiscard]] Status connect(llama_context* target);
  void free_context();
  /// Whether there is a context.
  [[nodiscard]] bool used() const { return context_ != nullptr; }

  /// Heap that drafting takes, beside the buffers.
  [[nodiscard]] Bytes runtime_bytes() const;

  void begin() override;
  [[nodiscard]] Result<Draft> draft(const std::vector<llama_token>& text, llama_token last,
                                    std::size_t most) override;
  [[nodiscard]] Status computed(std::span<const llama_token> tokens, std::size_t position) override;

 private:
  [[nodiscard]] Status record();
  [[nodiscard]] Status draft_up_to(std::uint32_t tokens);
  [[nodiscard]] Status take_error();

  llama_model* const model_;
  tier::HostDevice& host_;
  llama_context* target_ = nullptr;
  llama_context_ptr context_;
  std::uint32_t longest_ = 0;
  // llama-common drafts as many tokens as it was told when it was made: for another number it is made anew.
  common_speculative_ptr speculative_;
  std::uint32_t length_ = 0;
  std::uint32_t wanted_ = 0;
  // Whether llama-common has the hidden state of the token before next_.
  bool has_state_ = false;
  // The position behind the last token that was given to computed().
  std::size_t next_ = 0;
};

}  // namespace brimful::engine
