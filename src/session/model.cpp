#include "session/library_plan.h"
#include "session/model_content.h"

namespace brimful {

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

Result<Plan> Model::plan(const Budgets& budgets, const ContextOptions& context,
                         const PlanOptions& options) const {
  const session::MachineFacts* const machine = context.machine ? context.machine->facts_.get() : nullptr;
  return session::library_plan(path(), content_->profile, budgets, context, machine, options);
}

}  // namespace brimful
