#pragma once

#include <llama.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "constraint/first_characters.h"
#include "engine/adapters.h"
#include "engine/context_sizer.h"
#include "engine/drafts/draft_model.h"
#include "engine/drafts/model_heads.h"
#include "engine/model_loader.h"
#include "engine/options.h"
#include "engine/ram_budget.h"
#include "model/model_profile.h"
#include "tier/host/host_device.h"

namespace brimful::engine {

/// A model whose header and vocabulary are read, and no weight: libllama's model, the host's device that will
/// compute it, its adapters and its draft model. Threading: one thread at a time, where a function does not
/// say otherwise. Lifetime: it must outlive every context of the model.
class OpenedModel {
 public:
  /// Opens the model that `profile` was read from. `ram` outlives the model. Errors: those of Adapters::load
  /// and DraftModel::open; kUnsupported when libllama refuses the model, or it cannot be run here.
  [[nodiscard]] static Result<std::unique_ptr<OpenedModel>> open(OpenOptions options,
                                                                 model::ModelProfile profile, RamBudget& ram);
  /// Remembers which experts were used, where OpenOptions::expert_heat is set. A file that cannot be written
  /// is ignored: the next start is slower for a while, and nothing else.
  ~OpenedModel();
  OpenedModel(const OpenedModel&) = delete;
  OpenedModel& operator=(const OpenedModel&) = delete;

  [[nodiscard]] const OpenOptions& options() const { return options_; }
  [[nodiscard]] const model::ModelProfile& profile() const { return profile_; }
  /// The device that computes with RAM.
  [[nodiscard]] tier::HostDevice& host() const { return *host_; }
  /// The model with all its layers on the host. The same object as long as this lives.
  [[nodiscard]] llama_model* get() const { return model_.get(); }
  [[nodiscard]] const llama_vocab* vocab() const { return llama_model_get_vocab(model_.get()); }
  [[nodiscard]] const Adapters& adapters() const { return adapters_; }
  /// Why the host keeps weights in the file's layout.
  [[nodiscard]] const std::vector<std::string>& notes_on_layout() const { return host_layout_.notes; }
  /// Why it is not known which experts earlier starts used, where that is a fault.
  [[nodiscard]] const std::optional<std::string>& note_on_heat() const { return note_on_heat_; }
  /// The draft model; null when there is none.
  [[nodiscard]] DraftModel* draft_model() const { return draft_model_.get(); }
  /// The model's own layers for drafts; null when they are not asked for, or it has none.
  [[nodiscard]] ModelHeads* heads() const { return heads_.get(); }
  /// The draft model, or the heads; null when there is neither.
  [[nodiscard]] Drafter* drafter() const {
    if (draft_model_ != nullptr) return draft_model_.get();
    return heads_.get();
  }
  /// What decides which shapes a context may have.
  [[nodiscard]] SizedModel sized() const;

  /// Whether the model writes no text. Such a model has no KV cache; the tokens of one text see each other,
  /// and libllama pools them into one vector.
  [[nodiscard]] bool only_embeds() const { return only_embeds_; }
  /// Whether the model can give vectors of texts. Errors: kUnsupported, with the reason.
  [[nodiscard]] Status can_embed() const;
  /// A note for a model whose file does not say how its vocabulary splits text: llama.cpp only logs that.
  [[nodiscard]] std::optional<std::string> note_on_vocabulary() const;

  /// The first characters of the vocabulary's tokens. The first call makes them. Thread-safe.
  [[nodiscard]] const constraint::FirstCharacters& first_characters() const;
  /// A buffer for the candidates of one token. Each sampler fills it anew.
  [[nodiscard]] std::vector<llama_token_data>& candidates() const { return candidates_; }

 private:
  OpenedModel(OpenOptions options, model::ModelProfile profile)
      : options_(std::move(options)), profile_(std::move(profile)) {}
  [[nodiscard]] Status load(RamBudget& ram);
  [[nodiscard]] Status load_model();
  void read_expert_heat();
  [[nodiscard]] Status load_adapters(const RamBudget& ram);
  [[nodiscard]] std::string metadata(std::string_view key) const;
  [[nodiscard]] bool pools() const;

  const OpenOptions options_;
  const model::ModelProfile profile_;
  plan::HostLayout host_layout_;
  std::unique_ptr<tier::HostDevice> host_;  // must be destroyed after the models
  ModelPtr model_;
  Adapters adapters_;                        // the model owns their weights
  std::unique_ptr<DraftModel> draft_model_;  // computes with the threads of the host's device
  std::unique_ptr<ModelHeads> heads_;        // a context of model_
  std::optional<std::string> note_on_heat_;
  bool only_embeds_ = false;
  mutable std::once_flag first_characters_once_;
  mutable std::optional<constraint::FirstCharacters> first_characters_;
  mutable std::vector<llama_token_data> candidates_;
};

}  // namespace brimful::engine
