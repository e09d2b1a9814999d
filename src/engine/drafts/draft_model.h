#pragma once

#include <llama-cpp.h>
#include <speculative.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "engine/drafts/drafter.h"
#include "engine/model_loader.h"
#include "memory/pool.h"
#include "plan/placement.h"
#include "tier/host/host_device.h"

namespace brimful::engine {

/// A small model that guesses what the large model will generate. All of it is resident, inside the same
/// budget. Its functions are called in the order in which the model it drafts for is loaded: open,
/// make_context, bytes_to_place, place, draft. Threading: as Engine.
class DraftModel final : public Drafter {
 public:
  /// Reads the header of the model, and no weight. Errors: those of read_model; kUnsupported when libllama
  /// refuses the model. `host` and the device in `options` that shares its threads outlive the draft model.
  /// `name` is what messages call the option that names the draft model.
  [[nodiscard]] static Result<std::unique_ptr<DraftModel>> open(const std::filesystem::path& path,
                                                                memory::Pool& host,
                                                                tier::DeviceOptions options,
                                                                std::string name);

  /// Makes a context of the same length as the target's, and records its graphs. Errors: kInvalidArgument
  /// when the two vocabularies differ; kUnsupported when the context cannot forget drafted tokens. The
  /// target's context outlives this one: call free_context() first.
  [[nodiscard]] Status make_context(llama_context* target, const llama_context_params& like_target);
  void free_context();

  /// Gives back the pages that recording the graphs has touched, and returns the bytes that place() will
  /// reserve.
  [[nodiscard]] Result<Bytes> bytes_to_place();
  /// Reserves the memory and reads the weights. Errors: those of tier::HostDevice::place.
  [[nodiscard]] Status place();
  /// Frees the context and gives back everything that place() has reserved. Errors: those of
  /// tier::HostDevice::displace.
  [[nodiscard]] Status displace();

  /// The KV cache keeps what the new text has in common with the last one.
  void begin() override {}
  [[nodiscard]] Result<Draft> draft(const std::vector<llama_token>& text, llama_token last,
                                    std::size_t most) override;
  /// Does nothing: draft() reads the text itself.
  [[nodiscard]] Status computed(std::span<const llama_token>, std::size_t) override { return {}; }

  [[nodiscard]] const model::ModelProfile& profile() const { return profile_; }

 private:
  DraftModel(model::ModelProfile profile, memory::Pool& host, std::string name)
      : profile_(std::move(profile)),
        name_(std::move(name)),
        pool_("draft model's", host, memory::Tag::kDraft) {}
  [[nodiscard]] Status record();
  [[nodiscard]] Result<plan::Placement> placement() const;
  [[nodiscard]] Bytes runtime_bytes(const plan::Placement& placement) const;
  [[nodiscard]] Result<std::size_t> catch_up(const std::vector<llama_token>& text);
  [[nodiscard]] Status take_error();

  const model::ModelProfile profile_;
  const std::string name_;
  memory::Pool pool_;
  memory::Reservation runtime_;
  std::unique_ptr<tier::HostDevice> device_;  // must be destroyed after the model and the context
  ModelPtr model_;
  llama_context_ptr context_;
  common_speculative_ptr speculative_;
  std::vector<llama_token> cached_;  // the tokens in its KV cache
  std::int32_t target_vocabulary_ = 0;
};

}  // namespace brimful::engine
