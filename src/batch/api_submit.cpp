#include "batch/api_submit.h"

#include <memory>
#include <optional>

namespace strata::batch {
namespace {

/// The inputs of a request for embeddings, until all have their vector.
struct Inputs {
  Listener listener;
  Answer answer;
  std::optional<Error> error;
  std::size_t left = 0;
  bool withdrawn = false;

  void ended(std::size_t index, Result<Answer> one) {
    if (!one) {
      error = one.error();
    } else if (!one->vectors.empty()) {
      answer.vectors[index] = std::move(one->vectors.front());
      answer.prompt_shared += one->prompt_shared;
    } else {
      answer.reason = one->reason;
    }
    if (--left > 0 || withdrawn) return;
    if (error) return listener.on_end(std::unexpected(*error));
    listener.on_end(std::move(answer));
  }
};

}  // namespace

Result<std::vector<Executor::Id>> submit(Executor& executor, const ApiRequest& request, Priority priority,
                                         Listener listener) {
  std::vector<Executor::Id> ids;
  if (request.endpoint != Endpoint::kEmbeddings) {
    Request one = request.request;
    one.priority = priority;
    STRATA_TRY(const Executor::Id id, executor.submit(std::move(one), std::move(listener)));
    ids.push_back(id);
    return ids;
  }
  const auto inputs = std::make_shared<Inputs>();
  const auto& texts = request.embeddings.inputs;
  inputs->listener = std::move(listener);
  inputs->left = texts.size();
  inputs->answer.reason = engine::StopReason::kEndOfText;
  inputs->answer.vectors.resize(texts.size());
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const auto id = executor.submit({.prompt = texts[i], .embed = true, .priority = priority},
                                    {.on_text = {}, .on_end = [inputs, i](Result<Answer> answer) {
                                       inputs->ended(i, std::move(answer));
                                     }});
    if (!id) {
      inputs->withdrawn = true;
      for (const Executor::Id one : ids) executor.cancel(one);
      return std::unexpected(id.error());
    }
    ids.push_back(*id);
  }
  return ids;
}

}  // namespace strata::batch
