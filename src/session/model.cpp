#include <brimful/model.h>

#include "model/model_profile.h"
#include "session/account.h"
#include "session/open_engine.h"

namespace brimful {

struct Model::Content {
  std::filesystem::path path;
  model::ModelProfile profile;
};

Model::Model(std::shared_ptr<const Content> content) : content_(std::move(content)) {}

Result<Model> Model::open(const std::filesystem::path& gguf) {
  BRIMFUL_TRY(model::ModelProfile profile, model::read_model(gguf));
  return Model(std::make_shared<const Content>(Content{gguf, std::move(profile)}));
}

const std::filesystem::path& Model::path() const { return content_->path; }
const std::string& Model::name() const { return content_->profile.name; }
const std::string& Model::architecture() const { return content_->profile.architecture; }
std::uint32_t Model::layers() const { return content_->profile.layers; }
std::uint64_t Model::train_context() const { return content_->profile.train_context; }
Bytes Model::weights() const { return content_->profile.weight_bytes(); }
bool Model::has_chat_template() const { return !content_->profile.chat_template.empty(); }

Result<Plan> Model::plan(const Budgets& budgets, const ContextOptions& context) const {
  Plan out;
  BRIMFUL_TRY(const session::PreparedEngine prepared,
              session::open_and_prepare(path(), budgets, context, session::notes_into(out.notes)));
  const engine::Engine& engine = *prepared.engine;
  const plan::HostPlan& plan = engine.plan();
  out.context = plan.context;
  out.ubatch = plan.ubatch;
  out.sequences = prepared.at_once;
  out.key_cache = ggml_type_name(engine.prepared().type_k);
  out.value_cache = ggml_type_name(engine.prepared().type_v);
  out.weights_budget = plan.demand.for_weights(plan.budget);
  out.account = session::planned_account_of(engine);
  out.weights = out.account.weights;
  out.streamed_per_pass = out.account.streamed_per_pass;
  for (const std::string& one : engine.notes()) out.notes.push_back(one);
  return out;
}

}  // namespace brimful
