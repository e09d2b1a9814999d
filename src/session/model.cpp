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
  BRIMFUL_TRY(const auto engine,
              session::open_and_prepare(path(), budgets, context, session::notes_into(out.notes)));
  const plan::MemoryMap map = engine->memory_map();
  out.context = engine->plan().context;
  out.ubatch = engine->plan().ubatch;
  out.account = session::account_of(*engine);
  out.weights = map.total_weights;
  out.streamed_per_pass = map.streamed_per_pass;
  for (const std::string& one : engine->notes()) out.notes.push_back(one);
  return out;
}

}  // namespace brimful
