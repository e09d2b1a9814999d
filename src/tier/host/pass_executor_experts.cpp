#include <fmt/format.h>

#include <algorithm>

#include "tier/host/pass_executor.h"

namespace brimful::tier {
namespace {

/// Makes a shadow of a weight show a row tile.
void show(ggml_tensor& weight, const ExpertRows& rows) {
  weight.data = rows.data;
  weight.ne[1] = rows.rows;
  weight.ne[2] = rows.count;
  weight.nb[2] = rows.stride;
  weight.nb[3] = rows.stride * rows.count;
}

}  // namespace

Status PassExecutor::begin_step(ggml_backend_t inner, const CompiledPass& program, std::size_t number,
                                bool again) {
  const ExpertStep& step = program.steps()[number];
  BRIMFUL_TRY_VOID(experts_->begin(step.group, *step.ids, step.parts, again));
  step.numbered->data = experts_->ids();
  predict(program, number);
  const auto begin = std::chrono::steady_clock::now();
  BRIMFUL_TRY_VOID(experts_->finish());
  expert_stalls_ += std::chrono::steady_clock::now() - begin;
  if (trace_ != nullptr) {
    const plan::ExpertGroup& group = table_.placement().groups[step.group];
    const std::string_view name = table_.profile().tensors[group.parts.front().tensor].name;
    trace_->span(Trace::kWaits, "wait for experts", begin);
    trace_->span(Trace::kExperts, name, begin, 0, experts_->used());
  }
  BRIMFUL_TRY_VOID(repack(inner, experts_->fresh()));
  experts_->settle();
  return {};
}

Status PassExecutor::multiply(ggml_backend_t inner, const ggml_cgraph& graph, bool again) {
  return checked(run(inner, graph, nullptr, again));
}

Status PassExecutor::bring(ggml_backend_t inner, std::span<const std::uint32_t> tensors,
                           std::span<const std::uint32_t> experts, const ExpertCache::TakeBytes& take) {
  if (const auto part = table_.expert_part(tensors.front())) {
    const auto rearrange = [&](std::span<const FreshRows> fresh) { return repack(inner, fresh); };
    return checked(experts_->bring(part->group, experts, rearrange, take));
  }
  for (const std::uint32_t tensor : tensors) {
    const model::TensorInfo& info = table_.profile().tensors[tensor];
    const std::uint64_t size = plan::expert_bytes(info).value;
    const std::byte* const all = table_.resident(tensor);
    if (all == nullptr)
      return fail(ErrorCode::kInternal, fmt::format("the experts of '{}' have no place", info.name));
    for (const std::uint32_t expert : experts)
      BRIMFUL_TRY_VOID(take({tensor, expert, 0, {all + expert * size, size}, true}));
  }
  return {};
}

/// Starts to read the experts that the next step will almost certainly choose.
void PassExecutor::predict(const CompiledPass& program, std::size_t number) {
  // More than a few tokens choose nearly every expert: then there is nothing to guess.
  constexpr std::int64_t kMostTokens = 4;

  const ExpertStep& step = program.steps()[number];
  predictor_.observe(step.group, experts_->used());
  if (number + 1 == program.steps().size() || step.ids->ne[1] > kMostTokens || step.input == nullptr) return;
  const ExpertStep& next = program.steps()[number + 1];
  const std::span<const float> weights = router_weights(next);
  if (weights.empty() || !ggml_is_contiguous(step.input) ||
      weights.size() % static_cast<std::size_t>(step.input->ne[0]) != 0) {
    return;
  }
  const std::span states(static_cast<const float*>(step.input->data),
                         static_cast<std::size_t>(ggml_nelements(step.input)));
  const auto experts =
      static_cast<std::uint32_t>(weights.size() / static_cast<std::size_t>(step.input->ne[0]));
  std::vector<ExpertPredictor::Guess> missing;
  std::vector<std::uint32_t> sure;
  for (const auto& guess :
       predictor_.guess(weights, states, experts, static_cast<std::uint32_t>(next.ids->ne[0]))) {
    if (experts_->has(next.group, guess.expert)) continue;
    missing.push_back(guess);
    if (predictor_.sure(guess.rank)) sure.push_back(guess.expert);
  }
  predictor_.expect(next.group, std::move(missing));
  experts_->prefetch(next.group, sure);
}

std::span<const float> PassExecutor::router_weights(const ExpertStep& step) const {
  if (!step.router) return {};
  const model::TensorInfo& router = table_.profile().tensors[*step.router];
  const auto* const weights = reinterpret_cast<const float*>(table_.resident(*step.router));
  if (weights == nullptr || router.type != GGML_TYPE_F32) return {};
  return {weights, static_cast<std::size_t>(router.shape[0] * router.shape[1])};
}

Status PassExecutor::repack(ggml_backend_t inner, std::span<const FreshRows> fresh) {
  if (std::ranges::none_of(fresh, [&](const FreshRows& rows) { return table_.repacked(rows.tensor); }))
    return {};
  const auto begin = Trace::Clock::now();
  threads_.again(inner);
  const Status status = layout_.repack(inner, table_, fresh);
  if (trace_ != nullptr) trace_->span(Trace::kSegments, "repack experts", begin);
  return status;
}

Status PassExecutor::execute_in_slots(ggml_backend_t inner, const ggml_cgraph& graph,
                                      const Segment& segment) {
  for (const ExpertNode& expert : segment.experts) show(*expert.weight, experts_->rows(expert.part));
  return execute(inner, graph, segment.nodes);
}

Status PassExecutor::execute_in_tiles(ggml_backend_t inner, const ggml_cgraph& graph,
                                      const Segment& segment) {
  const std::span nodes(segment.nodes);
  std::vector<FreshRows> fresh;
  std::size_t done = 0;
  for (const ExpertNode& expert : segment.experts) {
    BRIMFUL_TRY_VOID(execute(inner, graph, nodes.subspan(done, expert.node - done)));
    const ggml_tensor* const node = nodes[expert.node];
    do {
      fresh.clear();
      BRIMFUL_TRY(const ExpertRows rows, experts_->tiles().next(fresh));
      BRIMFUL_TRY_VOID(repack(inner, fresh));
      show(*expert.weight, rows);
      ggml_tensor part = *node;
      part.ne[0] = rows.rows;  // the strides stay: the part is a stretch of each row of the result
      part.data = static_cast<char*>(node->data) + static_cast<std::size_t>(rows.first_row) * part.nb[0];
      ggml_tensor* const only[] = {&part};
      BRIMFUL_TRY_VOID(execute(inner, graph, only));
    } while (!experts_->tiles().part_ends());
    done = expert.node + 1;
  }
  return execute(inner, graph, nodes.subspan(done));
}

}  // namespace brimful::tier
