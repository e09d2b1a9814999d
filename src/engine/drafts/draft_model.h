#pragma once

#include <speculative.h>

#include <filesystem>
#include <memory>
#include <vector>

#include "engine/model_loader.h"
#include "memory/pool.h"
#include "plan/placement.h"
#include "tier/host/host_device.h"

namespace brimful::engine {

/// A small model that guesses what a large one will write. All of it is resident, inside the same budget.
/// Used as an Engine uses its own model: open, make_context, bytes_to_place, place, draft.
/// Threading: as Engine.
class DraftModel {
 public:
  struct Draft {
    std::vector<llama_token> tokens;
    double seconds = 0;  ///< of drafting, without reading a long text first
  };

  /// Errors: those of read_model; kUnsupported when libllama refuses the model.
  /// `host` and the device whose threads it shares outlive it.
  [[nodiscard]] static Result<std::unique_ptr<DraftModel>> open(const std::filesystem::path& path,
                                                                memory::Pool& host,
                                                                tier::DeviceOptions options);

  /// Makes a context as long as the target's, and records its graphs.
  /// Errors: kInvalidArgument where the two vocabularies are not the same; kUnsupported where the model
  /// cannot forget what it drafted. The target's context outlives this one: free_context() first.
  [[nodiscard]] Status make_context(llama_context* target, const llama_context_params& like_target);
  void free_context();

  /// What place() will reserve, after the pages that recording touched were given back.
  [[nodiscard]] Result<Bytes> bytes_to_place();
  /// Reserves, and reads the weights. Errors: those of tier::HostDevice::place.
  [[nodiscard]] Status place();
  /// Gives all of that back, and the context. Errors: those of tier::HostDevice::displace.
  [[nodiscard]] Status displace();

  /// What may follow `last`, which follows `text`: at most `most` tokens, fewer where the model is cancelled.
  /// Errors: those of the tier.
  [[nodiscard]] Result<Draft> draft(const std::vector<llama_token>& text, llama_token last, std::size_t most);

  [[nodiscard]] const model::ModelProfile& profile() const { return profile_; }

 private:
  struct ContextFree {
    void operator()(llama_context* c) const { llama_free(c); }
  };
  DraftModel(model::ModelProfile profile, memory::Pool& host)
      : profile_(std::move(profile)), pool_("draft model's", host, memory::Tag::kDraft) {}
  [[nodiscard]] Status record();
  [[nodiscard]] Result<plan::Placement> placement() const;
  [[nodiscard]] Bytes runtime_bytes(const plan::Placement& placement) const;
  [[nodiscard]] Result<std::size_t> catch_up(const std::vector<llama_token>& text);
  [[nodiscard]] Status take_error();

  const model::ModelProfile profile_;
  memory::Pool pool_;
  memory::Reservation runtime_;
  std::unique_ptr<tier::HostDevice> device_;  // outlives model and context
  ModelPtr model_;
  std::unique_ptr<llama_context, ContextFree> context_;
  common_speculative_ptr speculative_;
  std::vector<llama_token> cached_;  // what its KV cache holds
  std::int32_t target_vocabulary_ = 0;
};

}  // namespace brimful::engine
